//! Who may be promoted, and what a promotion leaves behind.

use crate::cluster::until;
use crate::pair::{A, B, Pair};
use crate::roles::kill_group;

#[test]
fn a_switchover_loses_nothing() {
    let Some(pair) = Pair::served("switch", "strict") else { return };
    pair.a.sql("INSERT INTO calls VALUES (2)");
    assert_eq!(pair.demote(A).code, 0);
    let ended = pair.promote(B);
    assert_eq!(ended.code, 0, "{ended:?}");
    // Nobody has to be told: the one that was demoted follows, and the commit ends.
    pair.b.sql("INSERT INTO calls VALUES (3)");
    pair.until_code(B, 8);
    pair.until_code(A, 0);
    assert_eq!((pair.score(A), pair.score(B)), (100, 1000));
    assert!(pair.waits(B));
    until("a has it", || pair.rows(A) == "1,2,3");
    assert_eq!(pair.demote(B).code, 0);
    assert_eq!(pair.promote(A).code, 0);
    pair.a.sql("INSERT INTO calls VALUES (4)");
    assert_eq!(pair.rows(A), "1,2,3,4");
}

#[test]
fn who_is_behind_is_not_promoted() {
    let Some(pair) = Pair::served("behind", "available") else { return };
    pair.power_off(B);
    pair.a.sql("INSERT INTO calls VALUES (2)");
    assert_eq!(pair.demote(A).code, 0);
    // It comes up while there is no primary, and does not follow.
    let address = [("OCF_RESKEY_hosts", "pbx-a=127.0.0.9 pbx-b=127.0.0.1")];
    assert_eq!(pair.act_with(B, "start", &address).code, 0);
    pair.set_running(B, true);
    let ended = pair.promote(B);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.reason.contains("on pbx-a, which is now preferred"), "{ended:?}");
    assert!(pair.score(A) > pair.score(B), "{} {}", pair.score(A), pair.score(B));
    assert_eq!(pair.b.sql("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(pair.promote(A).code, 0);
    pair.until_code(B, 0);
    pair.a.sql("INSERT INTO calls VALUES (3)");
    until("b has it", || pair.rows(B) == "1,2,3");
}

/// The other one is gone for good; what remains was its synchronous standby, or was not.
#[test]
fn a_lone_server_is_promoted_by_its_mark_or_the_durability() {
    for (durability, whole, code) in [
        ("strict", true, 0),
        ("strict", false, 1),
        ("available", true, 0),
        ("available", false, 0),
        ("async", false, 0),
    ] {
        let name = format!("lone-{durability}-{whole}");
        let Some(pair) = Pair::served(&name, durability) else { return };
        if !whole {
            assert_eq!(pair.stop(B).code, 0);
            pair.a.sql("INSERT INTO calls VALUES (2)");
            pair.power_off(A);
            let ended = pair.start(B);
            assert_eq!(ended.code, 0, "{ended:?}");
        } else {
            pair.power_off(A);
        }
        let ended = pair.promote(B);
        assert_eq!(ended.code, code, "{name}: {ended:?}");
        if code == 0 {
            assert_eq!(pair.score(B), 1000, "{name}");
            assert!(!pair.waits(B), "{name}: nobody is there to wait for");
            pair.b.sql("INSERT INTO calls VALUES (9)");
            let says_loss = ended.log.contains("nobody knows that it holds every row");
            assert_eq!(says_loss, !whole, "{name}: {ended:?}");
        } else {
            assert!(ended.reason.contains("durability=strict"), "{ended:?}");
            assert!(pair.score(B) < 0, "it is not tried again");
            assert_eq!(pair.b.sql("SELECT pg_is_in_recovery()"), "t");
        }
    }
}

#[test]
fn a_promotion_that_was_killed_is_gone_on_with() {
    for after in [5, 60, 150] {
        let Some(pair) = Pair::served(&format!("mid-{after}"), "strict") else { return };
        pair.power_off(A);
        let child = pair.begin(B, "promote", &[]);
        std::thread::sleep(std::time::Duration::from_millis(after));
        kill_group(child);
        // As the cluster does: it is demoted, stopped, started, promoted.
        assert_eq!(pair.demote(B).code, 0);
        assert_eq!(pair.stop(B).code, 0);
        assert_eq!(pair.start(B).code, 0);
        let ended = pair.promote(B);
        assert_eq!(ended.code, 0, "after {after} ms: {ended:?}");
        pair.b.sql("INSERT INTO calls VALUES (2)");
        assert_eq!(pair.rows(B), "1,2");
    }
}

#[test]
fn a_dead_primary_is_restarted_in_its_place() {
    let Some(pair) = Pair::served("in-place", "strict") else { return };
    pair.a.sql("INSERT INTO calls VALUES (2)");
    pair.a.kill_all();
    assert_eq!(pair.code(A), 7);
    assert_eq!(pair.stop(A).code, 0);
    assert_eq!(pair.start(A).code, 0);
    assert!(pair.score(A) > pair.score(B), "{} {}", pair.score(A), pair.score(B));
    let ended = pair.promote(A);
    assert_eq!(ended.code, 0, "{ended:?}");
    pair.a.sql("INSERT INTO calls VALUES (3)");
    pair.until_code(B, 0);
    until("b has it", || pair.rows(B) == "1,2,3");
}
