//! What lives on a PBX, told to the standby; what a takeover cut of it; a move that waits for calls
//! to end. The PBX is a file on each host.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use crate::pair::{Pair, Wanted};
use crate::world::{HOSTS, soon};

const CALLS: &str = r#"[calls]
live = ["/bin/cat", "HERE/live"]
interval = "200ms"
endpoints = ["/bin/cat", "HERE/phones"]
endpoints_interval = "200ms"
settle = "2s"
close = ["/bin/sh", "-c", "test -e HERE/may-close && cat >> HERE/closed"]
"#;

fn entries(ids: &[&str]) -> String {
    ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"from\":\"sip:{id}@office\"}}\n")).collect()
}

/// What the PBX of a host has from now on.
fn put(pair: &Pair, node: usize, file: &str, text: &str) {
    let path = pair.world.files(HOSTS[node]).join(file);
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect()
}

fn told(pair: &Pair, node: usize, words: &[&str]) -> Value {
    serde_json::from_str(&pair.ask(node, words).out).unwrap_or_default()
}

/// A pair that serves, nobody in a call.
fn settled(wanted: Wanted) -> Option<(Pair, usize)> {
    let mut pair = Pair::new(Wanted { calls: CALLS, ..wanted })?;
    for node in [0, 1] {
        put(&pair, node, "live", "");
        put(&pair, node, "phones", "");
        pair.start(node);
    }
    let active = pair.settle();
    Some((pair, active))
}

#[test]
fn a_takeover_tells_what_it_cut_and_closes_its_records_once() {
    let Some((mut pair, active)) = settled(Wanted::default()) else { return };
    let standby = 1 - active;
    put(&pair, active, "live", &(entries(&["1", "2", "3"]) + "oops\n"));
    put(&pair, active, "phones", &entries(&["anna", "bert", "carl"]));
    // Strangers at the port, by the standby's own address, keep nobody from being told.
    let strangers = pair.world.within(HOSTS[standby], || {
        let to = format!("10.9.0.{}:7331", active + 1);
        let connect =
            || TcpStream::connect(&to).and_then(|mut one| one.write_all(b"nonsense").map(|()| one));
        (0..20).map(|_| connect()).collect::<Vec<_>>()
    });
    let known = || told(&pair, standby, &["calls", "--json"]);
    soon("the standby knows the calls", || ids(&known()["list"]) == ["1", "2", "3"]);
    assert_eq!(
        (&known()["broken_lines"], &known()["active"]),
        (&Value::from(1), &Value::from(false))
    );
    drop(strangers);
    let peers = || told(&pair, standby, &["endpoints", "--json"]);
    soon("and the phones", || ids(&peers()["list"]).len() == 3);
    // The other PBX knows one of the calls, as one does that keeps them in the database.
    put(&pair, standby, "live", &entries(&["2", "9"]));
    put(&pair, standby, "phones", &entries(&["bert"]));
    pair.power_off(active);
    pair.serves_soon(standby);
    let cut = |pair: &Pair| told(pair, standby, &["calls", "cut", "--json"])["takeover"].clone();
    soon("it is told what was cut", || {
        cut(&pair)["calls"] == "told" && !cut(&pair)["closed"].is_null()
    });
    let takeover = cut(&pair);
    assert_eq!(ids(&takeover["cut"]), ["1", "3"], "{takeover}");
    assert_eq!(takeover["cut"][0]["from"], "sip:1@office", "as the dead host listed it");
    assert_eq!((&takeover["were_up"], &takeover["go_on"]), (&Value::from(3), &Value::from(1)));
    assert_eq!(takeover["closed"]["done"], false, "{takeover}");
    let text = pair.ask(standby, &["calls", "cut"]).out;
    assert!(text.contains("1 go on here, 2 were cut") && text.contains("NOT closed"), "{text}");
    closed_once(&pair, standby);
    phones_come_back(&pair, standby);
    // A daemon that is started again knows it from the disk.
    pair.terminate(standby);
    pair.start(standby);
    soon("the daemon answers", || ids(&cut(&pair)["cut"]) == ["1", "3"]);
    assert_eq!(cut(&pair)["closed"]["done"], true);
    pair.ownership.assert_never_two();
}

/// By order, when what was in the way is out of it; and not again.
fn closed_once(pair: &Pair, node: usize) {
    let refused = pair.ask(node, &["calls", "close"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    put(pair, node, "may-close", "");
    let closed = pair.ask(node, &["calls", "close"]);
    assert_eq!(closed.code, 0, "{closed:?}");
    let again = pair.ask(node, &["calls", "close"]);
    assert!(again.code == 0 && again.out.contains("no record is open"), "{again:?}");
    assert_eq!(pair.file(node, "closed"), Some(sorted(&entries(&["1", "3"]))));
}

/// The members of an entry come in the order of their names.
fn sorted(lines: &str) -> String {
    let entry = |line: &str| serde_json::from_str::<Value>(line).unwrap().to_string() + "\n";
    lines.lines().map(entry).collect()
}

fn phones_come_back(pair: &Pair, node: usize) {
    let board = || told(pair, node, &["endpoints", "--json"])["takeover"].clone();
    soon("one is seen", || board()["seen"] == 1);
    assert_eq!((&board()["expected"], &board()["ms_to_100"]), (&Value::from(3), &Value::Null));
    assert_eq!(ids(&board()["stragglers"]), ["anna", "carl"]);
    let text = pair.ask(node, &["endpoints"]).out;
    assert!(text.contains("1 of 3 phones are seen") && text.contains("carl"), "{text}");
    put(pair, node, "phones", &entries(&["anna", "bert", "carl", "dora"]));
    soon("all are", || board()["seen"] == 3 && board()["ms_to_100"].is_u64());
}

#[test]
fn a_switchover_waits_until_no_call_is_up() {
    let Some((pair, active)) = settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    put(&pair, active, "live", &entries(&["1", "2"]));
    soon("the calls are known", || told(&pair, active, &["calls", "--json"])["live"] == 2);
    let given_up = pair.ask(active, &["switchover", "--when-idle", "--within", "2s"]);
    assert_eq!(given_up.code, 1, "{given_up:?}");
    assert!(given_up.out.contains("2 calls are up; nothing was moved"), "{given_up:?}");
    assert!(given_up.err.contains("waiting: 2 calls are up"), "{given_up:?}");
    assert!(pair.serves(active));
    let elsewhere = pair.ask(standby, &["switchover", "--when-idle"]);
    assert!(elsewhere.code == 6 && elsewhere.err.contains("does not serve"), "{elsewhere:?}");
    // A list that cannot be had is not an empty one.
    fs::remove_file(pair.world.files(HOSTS[active]).join("live")).unwrap();
    soon("that is seen", || told(&pair, active, &["calls", "--json"])["trouble"].is_string());
    soon("the list is old", || told(&pair, active, &["calls", "--json"])["fresh"] == false);
    let unknown = pair.ask(active, &["switchover", "--when-idle", "--within", "1s", "--json"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.out.lines().all(|line| line.contains("\"live\":null")), "{unknown:?}");
    let moved = std::thread::scope(|scope| {
        let order =
            scope.spawn(|| pair.ask(active, &["switchover", "--when-idle", "--within", "80s"]));
        put(&pair, active, "live", "");
        order.join().unwrap()
    });
    assert_eq!(moved.code, 0, "{moved:?}");
    pair.serves_soon(standby);
    // A handover cuts nothing, and from now on the lists go the other way.
    put(&pair, standby, "live", &entries(&["7"]));
    soon("the old active node is told", || {
        ids(&told(&pair, active, &["calls", "--json"])["list"]) == ["7"]
    });
    assert_eq!(
        told(&pair, standby, &["calls", "cut", "--json"])["takeovers"],
        serde_json::json!([])
    );
}

#[test]
fn without_lists_nothing_waits() {
    let Some((pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let refused = pair.ask(active, &["switchover", "--when-idle"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.err.contains("[calls]"), "{refused:?}");
    let said = pair.ask(active, &["calls"]);
    assert!(said.out.contains("calls are not followed"), "{said:?}");
}
