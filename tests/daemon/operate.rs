//! What an administrator orders, and what is remembered of it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{self, sql};
use crate::pair::{DUOTONE, PATIENT, Pair, V4, V6, Wanted, said};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, soon};

/// Refused, with this in the reason.
#[track_caller]
fn refused(pair: &Pair, node: usize, words: &[&str], why: &str) {
    let said = pair.ask(node, words);
    assert!(said.code == 6 && said.err.contains(why), "{words:?}: {said:?}");
}

#[track_caller]
fn done(pair: &Pair, node: usize, words: &[&str], text: &str) {
    let said = pair.ask(node, words);
    assert!(said.code == 0 && said.out.contains(text), "{words:?}: {said:?}\n{}", pair.log(node));
}

fn offers(pair: &Pair, node: usize) -> Vec<String> {
    let status = pair.status(node);
    let offers = status["offers"].as_array().into_iter().flatten();
    offers.filter_map(|offer| offer["command"].as_str().map(str::to_owned)).collect()
}

fn history(pair: &Pair, node: usize) -> Vec<Value> {
    let said = pair.ask(node, &["history", "--json", "-n", "100"]);
    let data: Value = serde_json::from_str(&said.out).unwrap_or_default();
    data["entries"].as_array().cloned().unwrap_or_default()
}

/// Waits for an entry; the newest of this kind.
#[track_caller]
pub fn entry(pair: &Pair, node: usize, kind: &str) -> Value {
    let mut found = Value::Null;
    soon(&format!("{kind} is in the history"), || {
        let all = history(pair, node);
        found = all.iter().rfind(|entry| entry["kind"] == kind).cloned().unwrap_or_default();
        !found.is_null()
    });
    found
}

fn steps(entry: &Value) -> Vec<&str> {
    entry["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| step["what"].as_str())
        .collect()
}

#[test]
fn the_role_is_handed_over_on_order_and_back() {
    let wanted = Wanted { pair: "preferred = \"pbx-a\"", ..Wanted::patient() };
    let Some((pair, active)) = Pair::settled(wanted) else { return };
    assert_eq!(active, 0);
    assert_eq!(offers(&pair, 0), ["duotone switchover"]);
    assert_eq!(offers(&pair, 1), ["duotone maintenance on --for 2h --reason TEXT"]);
    refused(
        &pair,
        1,
        &["switchover"],
        "pbx-a serves, not this node; run there: duotone switchover",
    );
    refused(&pair, 0, &["failback"], "the preferred node is this one, and it serves");
    refused(&pair, 0, &["maintenance", "on", "--for", "1h", "--reason", "x"], "switch over first");
    refused(&pair, 0, &["failover"], "duotone switchover");

    done(
        &pair,
        0,
        &["switchover", "--reason", "new memory"],
        "pbx-b serves: the role was handed over",
    );
    assert_eq!(pair.settle(), 1);
    assert!(offers(&pair, 1).contains(&"duotone failback".to_owned()));
    refused(&pair, 0, &["failback"], "run there: duotone failback");
    done(&pair, 1, &["failback"], "pbx-a serves");
    assert_eq!(pair.settle(), 0);
    pair.ownership.assert_never_two();
    views(&pair);
}

/// Each node tells what it saw, and both together are one story.
fn views(pair: &Pair) {
    let given = entry(pair, 0, "handover-given");
    let taken = entry(pair, 1, "handover-taken");
    assert_eq!(given["order"], "switchover by user id 0: new memory");
    assert_eq!(given["outcome"], "handed-over");
    assert_eq!((&given["from"], &given["to"]), (&"pbx-a".into(), &"pbx-b".into()));
    assert_eq!(given["term"], taken["term"]);
    assert_eq!(taken["outcome"], "serves");
    for what in ["giving", "released", "offered", "peer-serves"] {
        assert!(steps(&given).contains(&what), "{what}: {given}");
    }
    for what in ["peer-lets-go", "consent", "address", "active", "announced"] {
        assert!(steps(&taken).contains(&what), "{what}: {taken}");
    }
    let list = pair.ask(0, &["history"]).out;
    assert!(
        list.lines().next().is_some_and(|line| line.contains("pbx-a took over what pbx-b")),
        "{list}"
    );
    assert!(list.contains("pbx-a handed the role to pbx-b"), "{list}");

    let mut merged = Command::new(DUOTONE);
    merged.args(["timeline", "2", "--peer", "-", "--socket"]).arg(pair.socket(0));
    merged.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut merged = merged.spawn().unwrap();
    let theirs = pair.ask(1, &["history", "--json"]).out;
    merged.stdin.take().unwrap().write_all(theirs.as_bytes()).unwrap();
    let picture = String::from_utf8(merged.wait_with_output().unwrap().stdout).unwrap();
    assert!(
        picture.contains("as pbx-a saw it") && picture.contains("as pbx-b saw it"),
        "{picture}"
    );
    assert!(picture.contains("giving") && picture.contains("announced"), "{picture}");
    assert!(picture.is_ascii());
    let nonsense = pair.ask(0, &["timeline", "77"]);
    assert!(nonsense.code == 2 && nonsense.err.contains("not 77"), "{nonsense:?}");
}

#[test]
fn a_takeover_is_remembered_by_both_also_without_a_daemon() {
    on_a_steady_machine(PAIR_BEARS, takeover_is_remembered);
}

fn takeover_is_remembered() {
    let Some((mut pair, active)) = Pair::settled(Wanted::default()) else { return };
    let standby = 1 - active;
    pair.power_off(active);
    pair.serves_soon(standby);
    let takeover = entry(&pair, standby, "takeover");
    assert_eq!(takeover["outcome"], "serves");
    assert_eq!(takeover["reason"], "the peer is silent");
    assert_eq!(steps(&takeover)[0], "last-heartbeat");
    assert!(takeover["took_ms"].as_f64().is_some_and(|ms| ms >= 250.0), "{takeover}");
    // What its kernel had went with the power.
    for address in [V4, V6] {
        pair.world.ip(HOSTS[active], &format!("addr flush dev eth0 to {address}"));
    }
    pair.ownership.power(active, true);
    pair.world.mend(HOSTS[active], "eth0");
    pair.world.mend(HOSTS[active], "eth1");
    pair.start(active);
    assert_eq!(pair.settle(), standby);
    soon("the old one has seen who serves", || {
        let seen = entry(&pair, active, "peer-serves");
        seen["term"] == takeover["term"]
    });
    // A restart adds nothing.
    let before = history(&pair, active).len();
    pair.terminate(active);
    let file = pair.world.files(HOSTS[active]).join("state/history.jsonl");
    let mut torn = fs::read(&file).unwrap();
    torn.extend(b"{\"kind\": \"take");
    fs::write(&file, torn).unwrap();
    let alone = said(&mut pair.duotone(active, &["history"]));
    assert_eq!(alone.code, 0, "{alone:?}");
    assert!(alone.out.contains("1 damaged line(s)"), "{alone:?}");
    pair.start(active);
    assert_eq!(pair.settle(), standby);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(history(&pair, active).len(), before);
}

#[test]
fn maintenance_lasts_over_a_restart_and_ends_by_itself() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let on = |span: &'static str| ["maintenance", "on", "--for", span, "--reason", "new disk"];
    refused(&pair, standby, &on("2 weeks"), "--for: ");
    refused(&pair, standby, &["maintenance", "on", "--for", "1h", "--reason", " "], "--reason");
    done(&pair, standby, &on("1h"), "this node has left the pair until 20");
    let status = pair.status(standby);
    assert_eq!(status["doing"], "in maintenance");
    assert_eq!(status["maintenance"]["reason"], "new disk");
    assert_eq!(offers(&pair, standby), ["duotone maintenance off"]);
    soon("the active node is told", || pair.status(active)["peer_seen"]["maintenance"] == true);
    assert!(pair.ask(standby, &["status"]).out.contains("is in MAINTENANCE"));
    assert!(pair.ask(active, &["status"]).out.contains("NO GOOD standby: it is in maintenance"));
    assert!(pair.ask(standby, &["explain"]).out.contains("in maintenance until"));
    soon("it has left", || pair.status(active)["peer_seen"]["left"] == true);
    refused(&pair, active, &["switchover"], "the peer has left the pair");

    // Neither the end of the active node nor a restart makes it serve.
    pair.kill(standby);
    pair.start(standby);
    soon("it is still in maintenance", || pair.status(standby)["doing"] == "in maintenance");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pair.status(standby)["role"], "held");
    assert_eq!(pair.status(active)["peer_seen"]["left"], true);

    done(&pair, standby, &["maintenance", "off"], "takes part in the pair again");
    assert_eq!(pair.settle(), active);
    done(&pair, standby, &on("3s"), "comes back by itself");
    soon("it comes back", || pair.status(standby)["maintenance"].is_null());
    assert_eq!(pair.settle(), active);
    assert_eq!(pair.status(active)["peer_seen"]["maintenance"], false);

    done(&pair, standby, &["leave"], "duotone return");
    assert_eq!(offers(&pair, standby), ["duotone return"]);
    done(&pair, standby, &["recover"], "takes part in the pair again");
    done(&pair, standby, &["recover"], "nothing is held");
    assert_eq!(pair.settle(), active);
    pair.ownership.assert_never_two();
}

#[test]
fn a_switchover_with_a_database_loses_nothing_and_lags_are_refused() {
    if cluster::is_missing() {
        return;
    }
    let Some(mut pair) = cluster::pair("strict") else { return };
    pair.wanted.times = PATIENT;
    pair.configure();
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    let standby = 1 - active;
    sql(&pair, active, "INSERT INTO calls SELECT generate_series(1, 100)");
    // A disk that kept the machine waiting may have cost the certificate for a moment.
    let offered = || offers(&pair, active).iter().any(|offer| offer == "duotone switchover");
    soon("the switchover is offered", offered);
    done(&pair, active, &["switchover"], "the role was handed over in");
    assert_eq!(pair.settle(), standby);
    assert_eq!(sql(&pair, standby, "SELECT count(*) FROM calls"), "100");
    sql(&pair, standby, "INSERT INTO calls VALUES (101)");
    assert_eq!(sql(&pair, active, "SELECT pg_is_in_recovery()"), "t");
    let taken = entry(&pair, standby, "handover-taken");
    assert!(steps(&taken).contains(&"promoted"), "{taken}");

    // A standby that does not follow is no goal.
    // The database follows over eth1 alone; heartbeats go over the LAN as well.
    pair.world.cut(HOSTS[active], "eth1");
    soon("it is not certified", || pair.status(standby)["certificate"]["certifying"] == false);
    refused(&pair, standby, &["switchover"], "not certified");
    assert!(pair.serves(standby) && offers(&pair, standby).is_empty());
    assert!(pair.ask(standby, &["explain"]).out.contains("the role cannot be handed over"));
    pair.ownership.assert_never_two();
}

#[test]
fn a_damaged_memory_is_put_aside_on_order() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    pair.terminate(standby);
    let state = pair.world.files(HOSTS[standby]).join("state/state");
    fs::write(&state, "no state file").unwrap();
    pair.start(standby);
    soon("it is held", || pair.status(standby)["role"] == "held");
    assert_eq!(offers(&pair, standby), ["duotone recover"]);
    refused(&pair, standby, &["leave"], "duotone recover");
    done(&pair, standby, &["recover"], "state.damaged-1");
    assert_eq!(
        fs::read_to_string(state.with_file_name("state.damaged-1")).unwrap(),
        "no state file"
    );
    assert_eq!(pair.settle(), active);
    assert!(!pair.world.has(HOSTS[standby], V4));
}
