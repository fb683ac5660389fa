//! The orderly stop: where its log ends, and what a standby that hangs makes of it.

use std::time::{Duration, Instant};

use duotone::adapters::postgres::Database;
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::{DatabaseSeen, DatabaseState};
use duotone::protocol::log::Relation;

use crate::cluster::{Lab, Server, runtime, signal, timing, until};

/// Puts the end of the log so close to `boundary` (a power of two) that the shutdown checkpoint,
/// of 120 bytes, ends on it or crosses it.
fn approach(server: &Server, boundary: u64, distance: u64) {
    let at = || -> u64 {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')";
        server.sql(sql).parse().expect("a position")
    };
    // A message record: 24 bytes of header, 2 or 5 of data header, and these of its own.
    let message = |length: u64| {
        server.sql(&format!("SELECT pg_logical_emit_message(false, 'x', repeat('y', {length}))"));
    };
    for _ in 0..200 {
        let left = boundary - at() % boundary;
        match left.checked_sub(distance) {
            Some(0) => return,
            Some(room) if room > 6000 => message(room.min(900_000) - 5000),
            // Aligned to eight; the record has 24 + 2 or 5 + 22 bytes beside the text.
            Some(room) if room > 400 => message(room - 56),
            Some(room) if room >= 64 => message(room - 50),
            Some(_) | None => message(200),
        }
    }
    panic!("not within 200 records of {boundary:#x}");
}

async fn equals_the_standbys(seen: &DatabaseSeen, standby: &mut Database) -> bool {
    let Some(log) = &seen.log else { return false };
    let theirs = standby.look().await.log.expect("the standby's log");
    log.relation(&theirs) == Relation::Equal && log.position == theirs.position
}

#[test]
fn a_clean_stop_ends_where_the_standby_is() {
    let Some(lab) = Lab::new("clean") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let (mut at_a, mut at_b) = (a.database(), b.database());
        // 120 bytes: ends on the page; less: crosses it; the first of a segment has a longer
        // header; elsewhere at random.
        let near = |boundary: u64| [160, 120, 112, 64, 24, 8].map(|distance| (boundary, distance));
        let places = near(8192).into_iter().chain(near(1 << 20)).map(Some).chain([None; 4]);
        let mut crossed = 0;
        for place in places {
            until("a is there", || a.is_ready());
            match place {
                Some((boundary, distance)) => approach(&a, boundary, distance),
                None => drop(a.sql("INSERT INTO calls DEFAULT VALUES")),
            }
            let seen = at_a.perform(DatabaseDeed::StopCleanly).await;
            assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", at_a.trouble());
            assert!(a.processes().is_empty());
            let log = seen.log.clone().expect("the end of its log");
            assert!(equals_the_standbys(&seen, &mut at_b).await, "{place:?}: {log:x?}");
            if let Some((boundary, _)) = place {
                crossed += u32::from(log.position % boundary < 200);
            }
            // It stays so, and a look is cheap.
            let begun = Instant::now();
            assert_eq!(at_a.look().await.log, Some(log));
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            a.boot();
            until("the standby streams again", || {
                a.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
            });
        }
        assert!(crossed >= 6, "boundaries were met {crossed} times");
    });
}

#[test]
fn an_unclean_end_has_no_log() {
    let Some(lab) = Lab::new("unclean") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let (mut at_a, mut at_b) = (a.database(), b.database());
        let seen = at_a.perform(DatabaseDeed::StopNow).await;
        assert_eq!((seen.state, seen.log), (DatabaseState::Stopped, None));
        // A standby's end says nothing about a primary's log.
        let seen = at_b.perform(DatabaseDeed::StopCleanly).await;
        assert_eq!((seen.state, seen.log), (DatabaseState::Stopped, None));
    });
}

#[test]
fn a_standby_that_hangs_delays_a_clean_stop_and_its_deadline_shows_it() {
    let Some(lab) = Lab::new("hanging") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        let short =
            duotone::protocol::timing::Timing { step_deadline: Duration::from_secs(4), ..timing() };
        let mut at_a = Database::new(&a.config(), &short, &Lab::names(), a.node);
        signal(b.process_titled("walreceiver"), "STOP");
        a.sql("INSERT INTO calls DEFAULT VALUES");
        let seen = at_a.perform(DatabaseDeed::StopCleanly).await;
        assert_eq!(seen.state, DatabaseState::Unknown, "it may still be writable");
        assert_eq!(seen.log, None);
        let trouble = at_a.trouble().expect("said").to_string();
        assert!(trouble.contains("waits for its standby"), "{trouble}");
        let seen = at_a.perform(DatabaseDeed::StopNow).await;
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", at_a.trouble());
        // The shutdown checkpoint was on the disk before: a clean end that the standby lacks.
        let log = seen.log.expect("the end of its log");
        let theirs = b.database().look().await.log.expect("the standby's log");
        assert_eq!(log.relation(&theirs), Relation::Longer);
        signal(b.process_titled("walreceiver"), "CONT");
    });
}
