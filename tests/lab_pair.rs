//! The demo's scenarios with the real daemons, in both modes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every scenario, by the command that a person types.
fn play(mode: &str) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pair-{mode}.json"));
    let output = Command::new(env!("CARGO_BIN_EXE_duotone"))
        .args(["demo", "--mode", mode, "--json"])
        .arg(&file)
        .output()
        .expect("the demo runs");
    let words = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{words}\n{complaints}", output.status);
    let text = std::fs::read_to_string(&file).expect("the report is written");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_eq!(report["kept"], true);
    let runs = report["runs"].as_array().expect("runs");
    for scenario in ["power-off", "cut-eth1", "kill-pbx"] {
        let mut played = runs
            .iter()
            .filter(|run| run["scenario"] == scenario && run["contestant"] == "duotone")
            .peekable();
        assert!(played.peek().is_some(), "{scenario} was not played");
        for run in played {
            assert_eq!(run["ownership"]["overlap_ms"], 0.0, "{scenario}: {run}");
            assert_eq!(run["records"]["missing"], 0, "{scenario}: {run}");
            assert!(run["calls"]["answered"].as_u64() > Some(100), "{scenario}: {run}");
        }
    }
}

/// One test: two labs would wait for each other anyway.
#[test]
fn every_scenario_keeps_the_promise_in_both_modes() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (network namespaces)");
        return;
    }
    for program in ["/usr/bin/sipp", "/usr/sbin/kamailio", "/usr/lib/postgresql/15/bin/initdb"] {
        if !Path::new(program).exists() {
            eprintln!("skipped: needs {program} (make setup)");
            return;
        }
    }
    play("address");
    play("interface");
}
