//! Synchronous replication, promotion, logs that part.

use std::time::{Duration, Instant};

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;
use duotone::protocol::log::Relation;

use crate::cluster::{Lab, runtime, settled, signal, until};

const INSERT: &str = "INSERT INTO calls DEFAULT VALUES";

#[test]
fn a_commit_waits_for_the_standby_until_told_otherwise() {
    let Some(lab) = Lab::new("sync") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let mut database = a.database();
        let seen = database.perform(DatabaseDeed::SetSynchronous(true)).await;
        assert_eq!(seen.synchronous, Some(true), "{:?}", database.trouble());
        a.sql(INSERT);

        let receiver = b.process_titled("walreceiver");
        signal(receiver, "STOP");
        let mut waiting = a.sql_in_background(INSERT);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(waiting.try_wait().expect("wait").is_none(), "it must wait for the standby");
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "1");

        let seen = database.perform(DatabaseDeed::SetSynchronous(false)).await;
        assert_eq!(seen.synchronous, Some(false), "{:?}", database.trouble());
        a.sql(INSERT);
        // Released by the server itself: an error or warning would have ended psql otherwise.
        assert!(waiting.wait().expect("wait").success());
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "3");
        signal(receiver, "CONT");
    });
}

#[test]
fn not_synchronous_before_the_checkpointer_says_so() {
    let Some(lab) = Lab::new("busy") else { return };
    let a = lab.primary();
    let checkpointer = a.process_titled("checkpointer");
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(settled(&mut database).await.synchronous, Some(false));
        // As a checkpointer that waits for a slow disk: commits go on unwaited meanwhile.
        signal(checkpointer, "STOP");
        let deed = database.perform(DatabaseDeed::SetSynchronous(true));
        let deed = tokio::time::timeout(Duration::from_millis(700), deed).await;
        assert!(deed.is_err(), "nobody may call this synchronous: {deed:?}");
        a.sql(INSERT);
        let seen = database.look().await;
        assert_eq!(seen.state, DatabaseState::Writable);
        assert_eq!(seen.synchronous, None, "the setting is there and not in force");
        signal(checkpointer, "CONT");
        let seen = database.perform(DatabaseDeed::SetSynchronous(true)).await;
        assert_eq!(seen.synchronous, Some(true), "{:?}", database.trouble());
    });
}

#[test]
fn a_promotion_is_quick_and_commits_wait_afterwards() {
    let Some(lab) = Lab::new("promote") else { return };
    let (a, b) = lab.pair("pbx-b");
    a.sql(INSERT);
    runtime().block_on(async {
        let mut database = b.database();
        assert_eq!(database.look().await.state, DatabaseState::Standby);
        database.perform(DatabaseDeed::SetSynchronous(true)).await;
        let before = database.look().await;
        assert_eq!(before.synchronous, Some(true), "{:?}", database.trouble());
        a.kill_all();

        let begun = Instant::now();
        let seen = database.perform(DatabaseDeed::Promote).await;
        eprintln!("promoted in {:?}", begun.elapsed());
        assert_eq!(seen.state, DatabaseState::Writable, "{:?}", database.trouble());
        assert_eq!(seen.synchronous, Some(true));
        let log = seen.log.expect("log");
        assert_eq!(log.timeline, 2);
        assert_eq!(log.forks.len(), 1);
        assert_eq!(log.forks[0].timeline, 1);
        assert_eq!(log.relation(&before.log.expect("log")), Relation::Longer);

        let mut waiting = b.sql_in_background(INSERT);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(waiting.try_wait().expect("wait").is_none(), "no standby has it");
        database.perform(DatabaseDeed::SetSynchronous(false)).await;
        assert!(waiting.wait().expect("wait").success());
    });
}

#[test]
fn an_unprepared_standby_promotes_with_commits_waiting_too() {
    let Some(lab) = Lab::new("plain") else { return };
    let (_a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let mut database = b.database();
        let seen = database.perform(DatabaseDeed::Promote).await;
        assert_eq!(seen.state, DatabaseState::Writable, "{:?}", database.trouble());
        assert_eq!(seen.synchronous, Some(true));
        assert_eq!(b.sql("SHOW synchronous_standby_names"), "FIRST 1 (\"pbx-a\")");
    });
}

#[test]
fn the_old_primary_rejoins_if_its_log_is_part_of_the_new_one() {
    let Some(lab) = Lab::new("rejoin") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let (mut at_a, mut at_b) = (a.database(), b.database());
        at_a.perform(DatabaseDeed::SetSynchronous(true)).await;
        a.sql(INSERT);
        let position = a.sql("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')");
        until("replayed", || {
            b.sql("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')") == position
        });
        let seen = at_a.perform(DatabaseDeed::StopNow).await;
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", at_a.trouble());
        let promoted = at_b.perform(DatabaseDeed::Promote).await;
        assert_eq!(promoted.state, DatabaseState::Writable);

        let seen = at_a.perform(DatabaseDeed::Follow).await;
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", at_a.trouble());
        assert!(!seen.diverged);
        let mut seen = seen;
        for _ in 0..2000 {
            if seen.streaming && seen.log.as_ref().is_some_and(|log| log.timeline == 2) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen = at_a.look().await;
        }
        assert!(seen.streaming, "{seen:?}");
        // A commit on the new primary waits for the old one, and gets through.
        b.sql(INSERT);
        let seen = at_b.look().await;
        assert!(seen.replica.expect("the old primary").synchronous);
        let log = at_a.look().await.log.expect("log");
        assert_eq!((log.timeline, log.forks.len()), (2, 1));
        assert_eq!(log.relation(&promoted.log.expect("log")), Relation::Longer);
    });
}

#[test]
fn a_log_that_has_left_the_peers_is_reported_and_left_alone() {
    let Some(lab) = Lab::new("diverge") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let (mut at_a, mut at_b) = (a.database(), b.database());
        signal(b.process_titled("walreceiver"), "STOP");
        // A row that the standby never gets.
        a.sql(INSERT);
        a.kill_all();
        signal(b.process_titled("walreceiver"), "KILL");
        until("b is back after its crash", || b.is_ready());
        at_b.perform(DatabaseDeed::Promote).await;
        let seen_b = at_b.perform(DatabaseDeed::SetSynchronous(false)).await;
        assert_eq!(seen_b.state, DatabaseState::Writable, "{:?}", at_b.trouble());
        b.sql(INSERT);

        let mut seen = at_a.perform(DatabaseDeed::Follow).await;
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", at_a.trouble());
        for _ in 0..2000 {
            if seen.diverged {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen = at_a.look().await;
        }
        assert!(seen.diverged && !seen.streaming, "{seen:?}");
        let log = seen.log.expect("log");
        assert_eq!(log.timeline, 1, "never taken for the peer's branch");
        assert_eq!(log.relation(&seen_b.log.expect("log")), Relation::Diverged);
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "1", "nothing thrown away");
    });
}
