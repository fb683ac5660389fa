//! What the daemons recorded goes through the same core again, and comes out the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pair::{DUOTONE, Pair, Said, Wanted, said};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, soon};

fn recordings(pair: &Pair, node: usize) -> Vec<PathBuf> {
    let folder = pair.world.files(HOSTS[node]).join("state/recordings");
    let found = fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn named(pair: &Pair, node: usize, why: &str) -> Option<PathBuf> {
    let ending = format!("-{why}.rec");
    recordings(pair, node).into_iter().find(|path| path.to_string_lossy().ends_with(&ending))
}

/// Replays it and demands that it came out as recorded; the story.
fn same_again(path: &Path) -> String {
    let replayed = replay(path);
    assert_eq!(replayed.code, 0, "{}\n{}", replayed.err, replayed.out);
    assert!(replayed.out.contains("decided and done as recorded"), "{}", replayed.out);
    replayed.out
}

fn replay(path: &Path) -> Said {
    said(Command::new(DUOTONE).args(["replay", "--compare"]).arg(path))
}

/// These lines, in this order.
fn tells(story: &str, wanted: &[&str]) {
    let mut lines = story.lines();
    for what in wanted {
        assert!(lines.any(|line| line.contains(what)), "no {what:?} in its place in\n{story}");
    }
}

#[test]
fn a_takeover_is_recorded_and_replays_the_same() {
    on_a_steady_machine(PAIR_BEARS, takeover);
}

fn takeover() {
    let Some((mut pair, active)) = Pair::settled(Wanted::default()) else { return };
    let standby = 1 - active;
    pair.power_off(active);
    pair.serves_soon(standby);

    let ordered = pair.ask(standby, &["record"]);
    assert_eq!(ordered.code, 0, "{ordered:?}");
    let path = named(&pair, standby, "ordered").expect("what was ordered is there");
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(ordered.out.starts_with("recorded: ") && ordered.out.contains(&name), "{ordered:?}");
    let steps = [
        "joining  (the daemon has just started)",
        "standby  (the peer serves)",
        "hears Active",
        "the peer is silent",
        "taking  (",
        "do save term",
        "do hold address",
        "seen address Held",
        "active  (serving)",
    ];
    tells(&same_again(&path), &steps);

    // By itself, some time after the change, with what came of it.
    soon("the takeover is recorded", || named(&pair, standby, "takeover").is_some());
    let path = named(&pair, standby, "takeover").expect("just seen");
    let mut story = String::new();
    soon("the recording is whole", || {
        let replayed = replay(&path);
        story = replayed.out;
        replayed.code == 0
    });
    tells(&story, &steps);
    damaged(&path);

    // A node that is told to stop has its own view of the handover on disk when it has ended.
    pair.world.mend(HOSTS[active], "eth0");
    pair.world.mend(HOSTS[active], "eth1");
    pair.ownership.power(active, true);
    for address in [crate::pair::V4, crate::pair::V6] {
        pair.world.ip(HOSTS[active], &format!("addr flush dev eth0 to {address}"));
    }
    pair.start(active);
    assert_eq!(pair.settle(), standby);
    assert_eq!(pair.terminate(standby), Some(0));
    let path = named(&pair, standby, "handover-given").unwrap_or_else(|| {
        panic!("not written before the end:\n{}", pair.log(standby));
    });
    tells(&same_again(&path), &["active", "orders Leave", "giving", "do release address"]);
}

fn damaged(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let torn = path.with_extension("torn");
    fs::write(&torn, &bytes[..bytes.len() - 5]).unwrap();
    let replayed = replay(&torn);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert!(replayed.out.contains("left out"), "{}", replayed.out);

    let middle = (bytes.len() / 2..).find(|at| bytes[*at].is_ascii_digit()).unwrap();
    let line = bytes[..middle].iter().filter(|byte| **byte == b'\n').count() + 1;
    bytes[middle] ^= 1;
    fs::write(&torn, &bytes).unwrap();
    let replayed = replay(&torn);
    assert_eq!(replayed.code, 7, "{replayed:?}");
    assert!(replayed.err.contains(&format!("line {line}: ")), "{line}: {}", replayed.err);
}
