//! What commits wait for, and who is said to hold everything.

use crate::cluster::until;
use crate::pair::{A, B, Pair};

#[test]
fn commits_wait_until_the_standby_is_stopped() {
    let Some(pair) = Pair::served("waits", "available") else { return };
    assert!(pair.waits(A));
    assert_eq!((pair.mark(A).as_deref(), pair.mark(B).as_deref()), (Some("yes"), Some("yes")));
    assert_eq!((pair.score(A), pair.score(B)), (1000, 100));
    // Its server is dead, and the cluster has not seen it.
    pair.b.kill_all();
    assert_eq!(pair.code(A), 191);
    assert!(pair.waits(A), "the cluster takes it for running");
    let mut client = pair.a.sql_in_background("INSERT INTO calls VALUES (2)");
    assert_eq!(pair.stop(B).code, 0);
    assert!(client.wait().expect("it ends").success());
    assert_eq!((pair.mark(B).as_deref(), pair.score(B)), (Some("no"), 10));
    assert!(!pair.waits(A));
    assert_eq!(pair.start(B).code, 0);
    assert_eq!((pair.mark(B).as_deref(), pair.score(B)), (Some("yes"), 100), "at once");
    assert!(pair.waits(A));
    until("b has it", || pair.rows(B) == "1,2");
}

/// A notification that was killed is made up for by the monitor.
#[test]
fn the_monitor_does_what_a_notification_left() {
    let Some(pair) = Pair::served("missed", "strict") else { return };
    pair.b.kill_all();
    pair.set_running(B, false);
    assert_eq!(pair.code(A), 191);
    assert!(!pair.waits(A));
    assert_eq!((pair.mark(B).as_deref(), pair.score(B)), (Some("no"), -1000));
    let lists = [("OCF_RESKEY_CRM_meta_notify_start_uname", "pbx-b")];
    assert_eq!(pair.act_with(B, "start", &lists).code, 0);
    pair.set_running(B, true);
    pair.until_code(A, 8);
    assert!(pair.waits(A));
    assert_eq!((pair.mark(B).as_deref(), pair.score(B)), (Some("yes"), 100));
}

/// Commits go on without the standby only after everybody knows that it will lack them.
#[test]
fn the_mark_comes_before_the_first_commit_alone() {
    let Some(pair) = Pair::served("first", "available") else { return };
    pair.lose_marks();
    assert_eq!(pair.stop(B).code, 0);
    assert_eq!(pair.mark(B).as_deref(), Some("yes"));
    assert!(pair.waits(A), "nobody would know that b lacks what is acknowledged now");
}

#[test]
fn async_waits_for_nobody() {
    let Some(pair) = Pair::served("async", "async") else { return };
    assert!(!pair.waits(A));
    pair.b.kill_all();
    pair.a.sql("INSERT INTO calls VALUES (2)");
    assert_eq!(pair.mark(B).as_deref(), Some("no"));
    assert_eq!(pair.score(B), 10);
}
