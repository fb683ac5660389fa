//! Starting, stopping, cancelling.

use std::time::{Duration, Instant};

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;

use crate::cluster::{Lab, runtime, settled, signal, timing, until};

const INSERT: &str = "INSERT INTO calls DEFAULT VALUES";

#[test]
fn stopping_at_once_leaves_nothing() {
    let Some(lab) = Lab::new("stop") else { return };
    let a = lab.primary();
    let mut client = a.sql_in_background("SELECT pg_sleep(600)");
    until("the client is served", || {
        a.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    });
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        let begun = Instant::now();
        let seen = database.perform(DatabaseDeed::StopNow).await;
        eprintln!("stopped in {:?}", begun.elapsed());
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", database.trouble());
        assert!(a.processes().is_empty());
        let seen = database.perform(DatabaseDeed::StopNow).await;
        assert_eq!(seen.state, DatabaseState::Stopped, "stopped already");
        assert!(database.trouble().is_none());
    });
    assert!(!client.wait().expect("wait").success());
}

#[test]
fn a_frozen_server_is_stopped_too() {
    let Some(lab) = Lab::new("hung") else { return };
    let a = lab.primary();
    // Acknowledging goes on without the postmaster.
    runtime().block_on(async {
        let mut database = a.database();
        signal(a.postmaster(), "STOP");
        let begun = Instant::now();
        let seen = database.perform(DatabaseDeed::StopNow).await;
        eprintln!("stopped a frozen postmaster in {:?}", begun.elapsed());
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", database.trouble());
        assert!(a.processes().is_empty());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_crashed_primary_comes_back_as_a_standby_with_its_whole_log() {
    let Some(lab) = Lab::new("crash") else { return };
    let a = lab.primary();
    for _ in 0..20 {
        a.sql(INSERT);
    }
    let end: u64 = a
        .sql("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')")
        .parse()
        .expect("a position");
    a.kill_all();
    runtime().block_on(async {
        let mut database = a.database();
        let begun = Instant::now();
        let seen = database.perform(DatabaseDeed::StartAsStandby).await;
        eprintln!("standby in {:?}", begun.elapsed());
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", database.trouble());
        let log = seen.log.expect("log");
        assert!(log.position >= end, "{} < {end}", log.position);
        assert_eq!(log.timeline, 1);
        assert!(!seen.streaming && !seen.diverged);
        let synchronous = settled(&mut database).await.synchronous;
        assert_eq!(synchronous, Some(true), "commits will wait after a promotion");
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "20");
        // It was a primary: it follows when the logs were compared, not before.
        assert_eq!(a.sql("SHOW primary_conninfo"), "");
        database.perform(DatabaseDeed::Follow).await;
        let conninfo = a.sql("SHOW primary_conninfo");
        assert!(conninfo.contains("host=127.0.0.1 "), "{conninfo}");
        assert!(conninfo.contains("application_name='pbx-a'"), "{conninfo}");

        let again = database.perform(DatabaseDeed::StartAsStandby).await;
        assert_eq!(again.state, DatabaseState::Standby, "it is one");
        // A standby is never made a primary by a start in place.
        let seen = database.perform(DatabaseDeed::StartInPlace).await;
        assert_eq!(seen.state, DatabaseState::Standby);
        assert!(database.trouble().is_some());
        database.perform(DatabaseDeed::StopNow).await;
        let seen = database.perform(DatabaseDeed::StartInPlace).await;
        assert_eq!(seen.state, DatabaseState::Stopped);
        let trouble = database.trouble().expect("refused").to_string();
        assert!(trouble.contains("standby.signal"), "{trouble}");
    });
}

#[test]
fn a_running_primary_is_made_a_standby() {
    let Some(lab) = Lab::new("demote") else { return };
    let a = lab.primary();
    a.sql(INSERT);
    runtime().block_on(async {
        let mut database = a.database();
        let seen = database.perform(DatabaseDeed::StartAsStandby).await;
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", database.trouble());
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "1");
    });
}

#[test]
fn a_primary_starts_in_place_with_commits_waiting() {
    let Some(lab) = Lab::new("place") else { return };
    let a = lab.primary();
    a.sql(INSERT);
    a.kill_all();
    runtime().block_on(async {
        let mut database = a.database();
        let seen = database.perform(DatabaseDeed::StartInPlace).await;
        assert_eq!(seen.state, DatabaseState::Writable, "{:?}", database.trouble());
        assert_eq!(seen.log.expect("log").timeline, 1, "the primary that it was");
        assert_eq!(settled(&mut database).await.synchronous, Some(true));
        assert_eq!(a.sql("SELECT count(*) FROM calls"), "1");
        let seen = database.perform(DatabaseDeed::StartInPlace).await;
        assert_eq!(seen.state, DatabaseState::Writable, "it runs already");
    });
}

#[test]
fn a_start_that_is_given_up_does_not_come_alive_behind_a_stop() {
    let Some(lab) = Lab::new("giveup") else { return };
    let a = lab.primary();
    a.kill_all();
    runtime().block_on(async {
        // Given up at many points of its way.
        for milliseconds in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
            let mut database = a.database();
            let start = database.perform(DatabaseDeed::StartInPlace);
            let _ = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
            let seen = database.perform(DatabaseDeed::StopNow).await;
            assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", database.trouble());
            assert!(a.processes().is_empty());
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(a.processes().is_empty(), "came alive after {milliseconds} ms");
        }
    });
}

#[test]
fn a_server_that_cannot_start_is_reported_at_once() {
    let Some(lab) = Lab::new("broken") else { return };
    let a = lab.primary();
    a.kill_all();
    let file = a.data().join("pair.conf");
    let settings = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, settings + "no_such_setting = 1\n").expect("write");
    runtime().block_on(async {
        let mut database = a.database();
        let begun = Instant::now();
        let seen = database.perform(DatabaseDeed::StartInPlace).await;
        assert_eq!(seen.state, DatabaseState::Stopped);
        assert!(begun.elapsed() < timing().step_deadline, "{:?}", begun.elapsed());
        let trouble = database.trouble().expect("said").to_string();
        assert!(trouble.contains("ended while starting"), "{trouble}");
    });
}

#[test]
fn a_recovery_without_consistency_is_starting() {
    let Some(lab) = Lab::new("starting") else { return };
    let a = lab.primary();
    runtime().block_on(async {
        let mut database = a.database();
        // A hot standby that is not to be asked: it runs and never answers.
        a.sql("ALTER SYSTEM SET hot_standby = off");
        database.perform(DatabaseDeed::StopNow).await;
        let start = database.perform(DatabaseDeed::StartAsStandby);
        assert!(tokio::time::timeout(Duration::from_secs(3), start).await.is_err());
        let mut seen = database.look().await;
        for _ in 0..100 {
            if seen.state == DatabaseState::Starting {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            seen = database.look().await;
        }
        assert_eq!(seen.state, DatabaseState::Starting, "{:?}", database.trouble());
        assert!(!a.processes().is_empty());
        let seen = database.perform(DatabaseDeed::StopNow).await;
        assert_eq!(seen.state, DatabaseState::Stopped);
    });
}

#[test]
fn what_a_dropped_look_left_running_is_cancelled_first() {
    let Some(lab) = Lab::new("cancel") else { return };
    let a = lab.primary();
    let hung = "SELECT count(*) FROM pg_stat_activity \
                WHERE application_name = 'duotone' AND wait_event_type = 'Lock'";
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        let session = a.session_named("duotone");
        let mut holder = a.sql_in_background(
            "BEGIN; LOCK TABLE pg_stat_wal_receiver IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)",
        );
        until("the lock is held", || {
            a.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted")
                != "0"
        });
        {
            let mut look = std::pin::pin!(database.look());
            for _ in 0..600 {
                let ended = tokio::time::timeout(Duration::from_millis(50), &mut look).await;
                assert!(ended.is_err(), "it waits for the lock");
                if a.sql(hung) == "1" {
                    break;
                }
            }
        }
        assert_eq!(a.sql(hung), "1", "dropping a future cancels nothing");

        let begun = Instant::now();
        assert!(database.check().await.is_empty());
        eprintln!("after a dropped look: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(a.sql(hung), "0");
        assert_eq!(a.session_named("duotone"), session, "the connection stays");
        let _ = holder.kill();
        let _ = holder.wait();
    });
}

#[test]
fn a_later_deed_is_not_undone_by_a_dropped_one() {
    let Some(lab) = Lab::new("later") else { return };
    let a = lab.primary();
    runtime().block_on(async {
        for thaw_first in [true, false] {
            let mut database = a.database();
            assert_eq!(database.look().await.state, DatabaseState::Writable);
            let backend = a.session_named("duotone");
            signal(backend, "STOP");
            let deed = database.perform(DatabaseDeed::SetSynchronous(true));
            assert!(tokio::time::timeout(Duration::from_millis(100), deed).await.is_err());
            if thaw_first {
                signal(backend, "CONT");
            }
            let seen = database.perform(DatabaseDeed::SetSynchronous(false)).await;
            assert_eq!(seen.synchronous, Some(false), "{:?}", database.trouble());
            signal(backend, "CONT");
            tokio::time::sleep(Duration::from_millis(300)).await;
            let setting = a.sql(
                "SELECT setting FROM pg_file_settings WHERE name = 'synchronous_standby_names'",
            );
            assert_eq!(
                setting, "",
                "what the next reload would bring (thawed first: {thaw_first})"
            );
        }
    });
}
