//! The demo's scenarios with the real daemons, by the command that a person types. Each is played
//! once; the quick ones in both modes, the others in the one or the other by turns. The times are
//! those of a machine that others use too: what shorter ones give is measured by `make demo`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use duotone::lab::Scenario;
use serde_json::Value;

/// One lab at a time: two would wait for each other anyway.
static LAB: Mutex<()> = Mutex::new(());

/// What the pair's lab needs is here; a word why if not.
fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (network namespaces)");
        return false;
    }
    for program in [
        "/usr/bin/sipp",
        "/usr/sbin/kamailio",
        "/usr/lib/postgresql/15/bin/initdb",
        "/usr/sbin/nft",
    ] {
        if !Path::new(program).exists() {
            eprintln!("skipped: needs {program} (make setup)");
            return false;
        }
    }
    true
}

fn play(mode: &str, scenarios: &[Scenario]) {
    if !ready() {
        return;
    }
    let _lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name()).collect();
    let file =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pair-{mode}-{}.json", names[0]));
    let output = Command::new(env!("CARGO_BIN_EXE_duotone"))
        .args(["demo", "--no-floor", "--runs", "1", "--mode", mode, "--preset", "virtual"])
        .args(["--scenario", &names.join(","), "--json"])
        .arg(&file)
        .output()
        .expect("the demo runs");
    let words = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{words}\n{}", cause(&words, &complaints));
    let text = std::fs::read_to_string(&file).expect("the report is written");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_eq!(report["kept"], true);
    assert_eq!(report["mode"], mode);
    let runs = report["runs"].as_array().expect("runs");
    let played: Vec<&str> =
        runs.iter().map(|run| run["scenario"].as_str().expect("a name")).collect();
    assert_eq!(played, names);
    for run in runs {
        let name = &run["scenario"];
        assert_eq!(run["contestant"], "duotone", "{name}");
        assert!(run["calls"]["answered"].as_u64() > Some(20), "{name}: {run}");
        if name != "split-lan" {
            assert_eq!(run["records"]["missing"], 0, "{name}: {run}");
        }
        if name == "power-off" {
            let whole = serde_json::json!({
                "registered": 20, "reachable": 20, "calls": 10, "changed": 10, "ended": 10
            });
            assert_eq!(run["survived"], whole, "phones and calls of before: {run}");
        }
        if !["split-lan", "freeze", "pause"].iter().any(|one| name == one) {
            assert_eq!(run["ownership"]["overlap_ms"], 0.0, "{name}: {run}");
        }
    }
}

/// Why a demo failed, in a few lines: what it says last of each scenario that was not kept, or why
/// it could not be played at all. They come last, where the end of a long log shows them.
fn cause(words: &str, complaints: &str) -> String {
    let broken: Vec<&str> = words.lines().filter(|line| line.starts_with("NOT KEPT ")).collect();
    if broken.is_empty() {
        let last: Vec<&str> = complaints.lines().rev().take(5).collect();
        return format!(
            "the lab failed: {}",
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    broken.join("\n")
}

#[test]
fn a_failure_ends_with_its_cause() {
    let words = "  BROKEN: x\ntable\nNOT KEPT power-off: nobody serves at the end (played once)\n";
    let told = "NOT KEPT power-off: nobody serves at the end (played once)";
    assert_eq!(cause(words, "--- a log"), told);
    assert_eq!(cause("table", "--- a log\nno sipp"), "the lab failed: --- a log\nno sipp");
}

/// Every other one of those that are not quick.
fn by_turns(first: usize) -> Vec<Scenario> {
    // Ten takeovers in a row are what the demo shows; a test of one says as much.
    let rest = Scenario::ALL.into_iter().filter(|scenario| {
        !Scenario::QUICK.contains(scenario) && *scenario != Scenario::TenTakeovers
    });
    rest.skip(first).step_by(2).collect()
}

#[test]
fn the_quick_scenarios_keep_the_promise_with_addresses() {
    play("address", &Scenario::QUICK);
}

#[test]
fn the_quick_scenarios_keep_the_promise_with_the_interface() {
    play("interface", &Scenario::QUICK);
}

#[test]
fn half_of_the_faults_end_as_stated_with_addresses() {
    play("address", &by_turns(0));
}

#[test]
fn the_other_half_ends_as_stated_with_the_interface() {
    play("interface", &by_turns(1));
}

#[test]
fn every_scenario_is_played() {
    let mut played = [&by_turns(0)[..], &by_turns(1), &Scenario::QUICK].concat();
    played.push(Scenario::TenTakeovers);
    played.sort();
    assert_eq!(played, {
        let mut all = Scenario::ALL.to_vec();
        all.sort();
        all
    });
}
