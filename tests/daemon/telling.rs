//! What a pair tells others: hooks and alerts around a takeover.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::pair::{Pair, Wanted, service};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, signal, soon};

/// `hang`, when it is let, holds up every event until it is killed; `line` tells what it was told.
const TOLD: &str = r#"
[[hook]]
name = "hang"
on = ["before-takeover"]
command = ["/bin/sh", "-c", "[ -e HERE/told/go ] || exit 0; trap '' TERM; echo $$ > HERE/told/hang; sleep 1000; sleep 1000"]
timeout = "10min"
user = "nobody"

[[hook]]
name = "line"
on = ["before-takeover", "after-takeover", "before-standby", "after-standby"]
command = ["/bin/sh", "-c", "echo $DUOTONE_EVENT $DUOTONE_NODE $DUOTONE_TERM ${DUOTONE_OUTAGE_MS:-none} $DUOTONE_REASON >> HERE/told/line"]
user = "nobody"

[alerts]
[alerts.syslog]
socket = "HERE/told/syslog"
"#;

#[test]
fn hooks_and_people_are_told_of_a_takeover_and_none_of_it_delays_the_address() {
    on_a_steady_machine(PAIR_BEARS, are_told);
}

fn are_told() {
    let wanted = Wanted {
        services: service("pbx", "both", "before-address", "exec sleep 600") + TOLD,
        ..Wanted::default()
    };
    let Some(mut pair) = Pair::new(wanted) else { return };
    let sockets = HOSTS.map(|host| {
        let directory = pair.world.files(host).join("told");
        fs::create_dir(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("its mode");
        let socket = UnixDatagram::bind(directory.join("syslog")).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        socket
    });
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    let standby = 1 - active;
    let lines = |pair: &Pair, node: usize| -> Vec<Vec<String>> {
        let told = pair.file(node, "told/line").unwrap_or_default();
        told.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    };
    soon("the standby is told that it is one, at boot too", || {
        lines(&pair, standby).last().is_some_and(|line| line[0] == "after-standby")
    });
    let before = lines(&pair, standby).len();
    fs::write(pair.world.files(HOSTS[standby]).join("told/go"), "").expect("written");

    pair.power_off(active);
    pair.serves_soon(standby);
    let hook = |pair: &Pair, index: usize| pair.status(standby)["hooks"]["list"][index].clone();
    soon("a hook hangs, and the node serves", || {
        hook(&pair, 0)["running"] == "before-takeover" && pair.serves(standby)
    });
    assert_eq!(lines(&pair, standby).len(), before, "the order is kept");
    // The shell may not have come as far as to write it down.
    let mut pid = None;
    soon("the hook that hangs has begun", || {
        pid = pair.file(standby, "told/hang").and_then(|text| text.trim().parse::<i32>().ok());
        pid.is_some()
    });
    signal(pid.expect("just seen"), Signal::SIGKILL);
    soon("the others are told", || lines(&pair, standby).len() == before + 2);
    let status = pair.status(standby);
    let told = lines(&pair, standby).split_off(before);
    let words: Vec<&str> = told.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(words, ["before-takeover", "after-takeover"]);
    let term = status["term"].as_str().expect("a term");
    for line in &told {
        assert_eq!(line[1..3], [status["node"].as_str().expect("a name"), term], "{line:?}");
        assert_eq!(line[4..].join(" "), "the peer is silent", "{line:?}");
    }
    assert_eq!(told[0][3], "none", "nobody serves yet");
    let mark = |what: &str| {
        let marks = status["timeline"].as_array().expect("a timeline");
        let found = marks.iter().find(|mark| mark["what"] == what).expect(what);
        found["at_ns"].as_u64().expect("a time")
    };
    let outage = (mark("active") - mark("last-heartbeat")) / 1_000_000;
    assert_eq!(told[1][3], outage.to_string());
    let hung = hook(&pair, 0);
    assert_eq!(hung["last"]["result"], "killed by signal 9", "{hung}");
    assert!(
        said(&pair, standby).contains("FAILED: killed by signal 9"),
        "{}",
        said(&pair, standby)
    );

    let heard = |about: &str| {
        let mut bytes = [0; 2048];
        loop {
            let length = sockets[standby].recv(&mut bytes).expect(about);
            let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if line.contains(about) {
                return line;
            }
        }
    };
    let name = |key: &str| status[key].as_str().expect(key);
    let silent = heard("is silent");
    assert!(silent.contains(&format!("{}: {} is silent", name("node"), name("peer"))), "{silent}");
    let took = format!(
        "took the role from {}: the peer is silent, nobody served for {outage} ms, term {term}",
        name("peer")
    );
    let told = heard("took the role");
    assert!(told.contains(&took), "{told}");
    heard("hook hang failed at before-takeover: killed by signal 9");
    let alerts: Value = pair.status(standby)["alerts"].clone();
    assert_eq!(alerts["channels"][0]["works"], true, "{alerts}");

    // In order, and to the end: what a stop leads to is told before the daemon has ended.
    assert_eq!(pair.terminate(standby), Some(0));
    let last = lines(&pair, standby).pop().expect("lines");
    assert_eq!(last[0], "before-standby");
    heard("GAVE THE ROLE UP");
}

/// `status` as people read it.
fn said(pair: &Pair, node: usize) -> String {
    pair.ask(node, &["status"]).out
}
