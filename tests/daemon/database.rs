//! The pair with a real database, and with one that is wrong.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{self, sql};
use crate::pair::{Pair, V4, said};
use crate::world::{HOSTS, signal, soon};

fn started(mut pair: Pair) -> (Pair, usize) {
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    (pair, active)
}

#[test]
fn a_dead_daemon_s_database_stops_and_the_other_has_every_row() {
    if cluster::is_missing() {
        return;
    }
    let Some(pair) = cluster::pair("available") else { return };
    let (mut pair, active) = started(pair);
    let standby = 1 - active;
    for node in 0..2 {
        let log = pair.log(node);
        // A busy server may be slow to answer; wrong is something else.
        let told = log.lines().filter(|line| line.contains("WARN database:"));
        let wrong: Vec<&str> = told.filter(|line| !line.contains("did not answer")).collect();
        assert!(wrong.is_empty(), "nothing is wrong with it: {wrong:#?}");
    }
    let check = said(&mut pair.duotone(active, &["config", "check"]));
    assert_eq!(check.code, 0, "{check:?}");
    sql(&pair, active, "INSERT INTO calls SELECT generate_series(1, 100)");
    assert_eq!(pair.status(active)["database"]["synchronous"], true);
    assert_eq!(pair.status(standby)["database"]["state"], "standby");

    pair.kill(active);
    // Rule 24: not long after its address has gone.
    soon("the dead daemon's server has stopped", || pair.world.processes(HOSTS[active]).is_empty());
    pair.serves_soon(standby);
    assert_eq!(sql(&pair, standby, "SELECT count(*) FROM calls"), "100");
    soon("commits do not wait any more", || pair.status(standby)["alone"] == true);
    sql(&pair, standby, "INSERT INTO calls VALUES (101)");
    pair.ownership.assert_never_two();

    // Nothing was written alone there: it follows.
    pair.start(active);
    assert_eq!(pair.settle(), standby);
    assert_eq!(sql(&pair, active, "SELECT count(*) FROM calls"), "101");

    // An orderly end leaves nothing that writes.
    assert_eq!(pair.terminate(standby), Some(0));
    pair.serves_soon(active);
    assert_eq!(sql(&pair, active, "SELECT count(*) FROM calls"), "101");
    assert_ne!(pair.status(standby)["database"]["state"], "writable");
    pair.ownership.assert_never_two();
}

#[test]
fn a_node_that_may_lack_rows_is_held_until_it_is_told_otherwise() {
    if cluster::is_missing() {
        return;
    }
    let Some(pair) = cluster::pair("strict") else { return };
    let (mut pair, active) = started(pair);
    let standby = 1 - active;
    // Its certificate is of this life: the next has none.
    pair.power_off(active);
    signal(pair.pid(standby), Signal::SIGKILL);
    pair.end(standby);
    pair.start(standby);
    soon("it is held", || pair.status(standby)["role"] == "held");
    let status = pair.status(standby);
    let why = "the peer is silent and this node may lack acknowledged rows";
    assert_eq!(status["why"], why);
    assert!(status["advice"].as_str().is_some_and(|advice| advice.contains("--force --reason")));
    let refused = pair.ask(standby, &["failover"]);
    assert!(refused.code == 6 && refused.err.contains("may lack acknowledged rows"), "{refused:?}");
    assert!(refused.err.contains("you state that the peer is off"), "{refused:?}");
    let refused = pair.ask(standby, &["recover"]);
    for words in ["start pbx-", "which has them", "its last rows may be lost", "--force --reason"] {
        assert!(refused.code == 6 && refused.err.contains(words), "{words:?} in {refused:?}");
    }
    assert!(!pair.world.has(HOSTS[standby], V4));

    let reason = "the other stands here in pieces";
    let forced = pair.ask(standby, &["failover", "--force", "--reason", reason]);
    assert_eq!((forced.code, forced.out.as_str()), (0, "this node serves\n"), "{}", forced.err);
    assert!(pair.serves(standby) && pair.world.has(HOSTS[standby], V4));
    assert!(pair.log(standby).contains(&format!("forced failover by user id 0: {reason}")));
    assert_eq!(sql(&pair, standby, "SELECT pg_is_in_recovery()"), "f");
}

#[test]
fn a_database_that_cannot_be_reached_is_named() {
    if cluster::is_missing() {
        return;
    }
    let Some(mut pair) = cluster::pair("available") else { return };
    // Stopped, as it is when a pair is set up.
    let check = said(&mut pair.duotone(0, &["config", "check"]));
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.out.contains("note: PostgreSQL is not running"), "{check:?}");

    pair.wanted.postgres = pair.wanted.postgres.replace("/sock\"", "/elsewhere\"");
    pair.configure();
    let check = said(&mut pair.duotone(0, &["config", "check"]));
    assert_eq!(check.code, 3, "{check:?}");
    assert!(check.out.contains("unix_socket_directories of the server is "), "{check:?}");
    assert!(check.out.contains("/elsewhere: correct one"), "{check:?}");
    pair.start(0);
    soon("the log says it", || {
        pair.log(0).contains("WARN database: cannot connect to ")
            && pair.log(0).contains("/elsewhere/.s.PGSQL.5432")
    });
    assert!(!pair.serves(0), "no hollow service");
    std::thread::sleep(Duration::from_secs(2));
    let lines = pair.log(0).matches("cannot connect").count();
    assert!(lines < 10, "not one line for every look: {lines}");
    let status = pair.status(0);
    assert_ne!(status["database"]["state"], "writable", "{status:#}");
    assert!(!pair.world.has(HOSTS[0], V4));
}

#[test]
fn a_replica_of_another_cluster_is_named_and_never_certified() {
    if cluster::is_missing() {
        return;
    }
    let Some(mut pair) = cluster::strangers() else { return };
    pair.start(0);
    pair.start(1);
    for node in 0..2 {
        soon("both say it", || pair.status(node)["peer_seen"]["same_database"] == false);
        let said = "they are not copies of one cluster; make the standby anew with pg_basebackup";
        soon("the log says it", || pair.log(node).contains(said));
        let advice = pair.status(node)["advice"].as_str().unwrap_or_default().to_owned();
        assert!(advice.contains("not copies of one cluster"), "{advice}");
        assert_eq!(pair.log(node).matches(said).count(), 1);
    }
    std::thread::sleep(Duration::from_secs(2));
    for node in 0..2 {
        assert_eq!(pair.status(node)["certificate"]["held"], false);
        assert_eq!(pair.status(node)["certificate"]["certifying"], false);
    }
    // As advised.
    assert_eq!(pair.terminate(1), Some(0));
    soon("the other serves", || pair.serves(0));
    pair.ownership.assert_never_two();
}
