//! The lab itself, on the real kernel, PostgreSQL and SIP server: it takes a host's power, it sees
//! a broken promise (the bare floor breaks it), and it leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use duotone::lab::{DemoOptions, ExitKind, Scenario, demo};
use serde_json::Value;

/// One lab at a time.
static LAB: Mutex<()> = Mutex::new(());

/// The lab for this test, or `None` with a word why.
fn lab() -> Option<MutexGuard<'static, ()>> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (network namespaces)");
        return None;
    }
    for program in ["/usr/bin/sipp", "/usr/sbin/kamailio", "/usr/lib/postgresql/15/bin/initdb"] {
        if !Path::new(program).exists() {
            eprintln!("skipped: needs {program} (make setup)");
            return None;
        }
    }
    Some(LAB.lock().unwrap_or_else(PoisonError::into_inner))
}

fn play_floor(scenario: Scenario, name: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let options = DemoOptions {
        scenarios: vec![scenario],
        json: Some(file.clone()),
        floor_only: true,
        runs: 1,
        program: PathBuf::from(env!("CARGO_BIN_EXE_duotone")),
        ..DemoOptions::default()
    };
    assert_eq!(demo(&options).expect("the lab works"), ExitKind::Kept);
    let text = std::fs::read_to_string(&file).expect("the report is written");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_nothing_left();
    report["runs"][0].clone()
}

fn assert_nothing_left() {
    for name in ["dt-sw", "dt-a", "dt-b", "dt-phone"] {
        assert!(!Path::new("/run/netns").join(name).exists(), "{name} is left");
    }
    let state: Vec<_> = std::fs::read_dir("/run/duotone-demo")
        .expect("the state directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(state, ["lock"], "recorded things are left");
    let own = format!("duotone-demo-{}", std::process::id());
    assert!(!Path::new("/var/tmp").join(own).exists(), "files are left");
}

/// The README's table of faults is the one that the scenarios are judged by.
#[test]
fn the_readme_says_what_the_scenarios_show() {
    let readme = include_str!("../README.md");
    let table = duotone::lab::faults();
    assert!(table.lines().count() > 15, "{table}");
    assert!(
        readme.contains(&table),
        "the README's table of faults is not what `duotone demo --faults` prints:\n{table}"
    );
}

#[test]
fn the_floor_takes_over_real_calls() {
    let Some(_lab) = lab() else { return };
    let run = play_floor(Scenario::PowerOff, "floor-power-off.json");
    let figure = |value: &Value| value.as_f64().expect("a figure");
    let outage = figure(&run["outage_ms"]);
    let waits = ["still_ms", "ordinary_ms", "disk_ms"].map(|kind| figure(&run["machine"][kind]));
    let most = 5000.0 + 10.0 * waits.into_iter().fold(0.0, f64::max);
    assert!((200.0..most).contains(&outage), "silence of 250 ms, then service: {outage} ms");
    assert!(run["calls"]["answered"].as_u64() > Some(40), "{}", run["calls"]);
    assert!(run["calls"]["lost"].as_u64() > Some(0), "a host died in the middle of calls");
    assert_eq!(run["active"], serde_json::json!(["pbx-a", "pbx-b"]));
    let words = run["timeline"].to_string();
    for step in ["last heartbeat", "lost", "promoted", "address", "announced"] {
        assert!(words.contains(step), "no {step:?} in {words}");
    }
}

#[test]
fn two_owners_and_lost_records_are_seen() {
    let Some(_lab) = lab() else { return };
    // Without safety a cut link makes two owners; a lab that does not see it would see nothing.
    let run = play_floor(Scenario::CutEth1, "floor-cut-eth1.json");
    assert!(run["ownership"]["overlap_ms"].as_f64() > Some(1000.0), "{}", run["ownership"]);
    assert!(run["records"]["missing"].as_u64() > Some(0), "{}", run["records"]);
    let broken = run["broken"].to_string();
    for word in ["two owners", "is lost", "was touched"] {
        assert!(broken.contains(word), "{word:?} is not among what was broken: {broken}");
    }
}

#[test]
fn a_killed_demo_is_cleared_by_the_next_and_an_interrupted_one_by_itself() {
    let Some(_lab) = lab() else { return };
    for signal in ["KILL", "INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_duotone"))
            .args(["demo", "--scenario", "kill-pbx"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let pid = child.id().to_string();
        let files = Path::new("/var/tmp").join(format!("duotone-demo-{pid}"));
        let up = files.join("run-0/pbx-b/duotone.toml");
        // Another demo on this machine may be under way: then this one waits.
        for _ in 0..6000 {
            if up.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(up.exists(), "the demo built no world");
        let told = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
        assert!(told.success(), "the demo had ended by itself");
        child.wait().expect("the demo ends");
        // The second round's start clears what the first one's SIGKILL left.
        assert_eq!(files.exists(), signal == "KILL", "after SIG{signal}");
        assert_eq!(Path::new("/run/netns/dt-b").exists(), signal == "KILL", "after SIG{signal}");
    }
    assert_nothing_left();
}
