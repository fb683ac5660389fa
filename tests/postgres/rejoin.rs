//! A log that has left the peer's comes back, and what it alone had is kept.

use std::time::Instant;

use duotone::adapters::postgres::{Database, Phase};
use duotone::adapters::salvage::{self, Line, Salvage};
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;

use crate::cluster::{Lab, Server, runtime, signal, timing, until};

/// Two servers whose logs have parted: `a` was the primary, has rows that `b` never got, and is
/// dead; `b` serves.
pub async fn parted(lab: &Lab, replicated: &[&str], alone: &[&str]) -> (Server, Server) {
    let (a, b) = lab.pair("pbx-b");
    for statement in replicated {
        a.sql(statement);
    }
    let position = a.sql("SELECT pg_current_wal_flush_lsn()");
    until("replayed", || b.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")) == "t");
    signal(b.process_titled("walreceiver"), "STOP");
    for statement in alone {
        a.sql(statement);
    }
    a.kill_all();
    signal(b.process_titled("walreceiver"), "KILL");
    until("b is back after its crash", || b.is_ready());
    let mut at_b = b.database();
    at_b.perform(DatabaseDeed::Promote).await;
    let seen = at_b.perform(DatabaseDeed::SetSynchronous(false)).await;
    assert_eq!(seen.state, DatabaseState::Writable, "{:?}", at_b.trouble());
    (a, b)
}

/// The salvages of a server's node.
pub fn salvages(server: &Server) -> Vec<Salvage> {
    salvage::list(&server.config().salvage_dir).expect("salvages")
}

/// The values of one column of a salvaged table.
pub fn values(salvage: &Salvage, table: &str, column: &str) -> Vec<String> {
    let found = salvage.manifest.tables.iter().find(|found| found.table == table);
    let Some(found) = found else { return Vec::new() };
    let rows: Vec<Line> = salvage.rows(found).expect("rows").map(|row| row.expect("row")).collect();
    assert_eq!(rows.len() as u64, found.rows);
    let mut values: Vec<String> = rows
        .iter()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line.row.get()).expect("JSON");
            row[column].to_string()
        })
        .collect();
    values.sort();
    values
}

/// `a` streams from `b`, as a standby with its history.
pub async fn assert_back(at_a: &mut Database, a: &Server, b: &Server) {
    let seen = at_a.look().await;
    assert!(seen.streaming, "{seen:?} {:?}", at_a.trouble());
    assert_eq!(seen.state, DatabaseState::Standby);
    assert!(!seen.diverged);
    b.sql("CREATE TABLE IF NOT EXISTS later (n int)");
    b.sql("INSERT INTO later VALUES (1)");
    let position = b.sql("SELECT pg_current_wal_flush_lsn()");
    until("a follows", || {
        a.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")) == "t"
    });
    let rows = "SELECT string_agg(n::text, ',' ORDER BY n) FROM calls";
    assert_eq!(a.sql(rows), b.sql(rows));
    // Its own configuration, not the peer's.
    assert_eq!(a.sql("SHOW listen_addresses"), a.address(a.node));
    for suffix in ["new", "old"] {
        assert!(!a.dir.join(format!("data.{suffix}")).exists(), "{suffix} is left");
    }
}

#[test]
fn exactly_what_it_alone_had_is_salvaged() {
    let Some(lab) = Lab::new("salvage") else { return };
    runtime().block_on(async {
        let (a, b) = parted(
            &lab,
            &[
                "CREATE DATABASE other",
                "CREATE TABLE notes (t text); \
             CREATE TABLE keyed (a int, \"B\" text, v numeric, PRIMARY KEY (\"B\", a)); \
             CREATE TABLE untouched (n int); INSERT INTO untouched VALUES (1); \
             INSERT INTO calls SELECT generate_series(1, 100); \
             INSERT INTO notes VALUES ('replicated'); INSERT INTO keyed VALUES (1, 'x', 1)",
            ],
            &[
                "INSERT INTO calls VALUES (101)",
                "INSERT INTO keyed VALUES (2, E'y\\'\\n', 12345678901234567890.123456789)",
                "UPDATE keyed SET v = 2 WHERE a = 1",
                "BEGIN; INSERT INTO calls VALUES (900); ROLLBACK",
                "BEGIN; INSERT INTO calls VALUES (102); SAVEPOINT s; \
                 INSERT INTO calls VALUES (901); ROLLBACK TO s; SAVEPOINT t; \
                 INSERT INTO calls VALUES (103); RELEASE t; COMMIT",
                "DELETE FROM calls WHERE n IN (1, 2)",
                "INSERT INTO notes VALUES ('alone'), ('alone')",
            ],
        )
        .await;
        b.sql("INSERT INTO calls VALUES (101), (5000)");
        let mut at_a = a.database();
        let begun = Instant::now();
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        eprintln!(
            "rejoined in {:?} ({:?})",
            begun.elapsed(),
            at_a.trouble().map(|t| t.to_string())
        );
        assert_back(&mut at_a, &a, &b).await;
        assert!(at_a.progress().borrow().is_none());

        let all = salvages(&a);
        assert_eq!(all.len(), 1);
        let manifest = &all[0].manifest;
        assert!(manifest.complete && manifest.kept.is_none());
        assert_eq!((manifest.timeline, manifest.fork_timeline, manifest.peer_timeline), (1, 1, 2));
        assert_eq!(values(&all[0], "calls", "n"), ["101", "102", "103"]);
        assert_eq!(values(&all[0], "notes", "t"), ["\"alone\"", "\"alone\""]);
        assert_eq!(values(&all[0], "keyed", "a"), ["1", "2"]);
        let tables: Vec<&str> = manifest.tables.iter().map(|table| &*table.table).collect();
        assert_eq!(tables, ["calls", "keyed", "notes"]);
        assert_eq!(manifest.tables[0].deleted, 2);
        assert_eq!(manifest.tables[1].key, ["B", "a"]);
        assert_eq!(manifest.transactions, 6);
        let keyed = all[0].rows(&manifest.tables[1]).expect("rows").flatten();
        let text: Vec<String> = keyed.map(|line| line.row.get().to_owned()).collect();
        assert!(
            text.iter().any(|row| row.contains("12345678901234567890.123456789")),
            "no digit is lost: {text:?}"
        );
        for line in all[0].rows(&manifest.tables[0]).expect("rows").flatten() {
            assert!(line.committed.ends_with("UTC") && line.lsn.contains('/'), "{line:?}");
        }
        // It was rewound, not copied: the directory is the same.
        assert!(a.data().join("pg_wal/00000002.history").exists());
    });
}

#[test]
fn excluded_tables_are_left_out() {
    let Some(lab) = Lab::new("exclude") else { return };
    runtime().block_on(async {
        let (a, b) = parted(
            &lab,
            &["CREATE SCHEMA cache; CREATE TABLE cache.one (n int); CREATE TABLE scratch (n int)"],
            &[
                "INSERT INTO calls VALUES (1)",
                "INSERT INTO cache.one VALUES (1)",
                "INSERT INTO scratch VALUES (1)",
            ],
        )
        .await;
        let mut config = a.config();
        config.salvage_exclude = vec!["*.cache.*".into(), "public.scratch".into()];
        let mut at_a = Database::new(&config, &timing(), &Lab::names(), a.node);
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        let all = salvages(&a);
        let tables: Vec<_> = all[0].manifest.tables.iter().map(|one| one.full_name()).collect();
        assert_eq!(tables, ["postgres.public.calls"]);
    });
}

#[test]
fn a_log_that_has_not_left_just_follows() {
    let Some(lab) = Lab::new("prefix") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &["INSERT INTO calls VALUES (1)"], &[]).await;
        let inode = |server: &Server| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(server.data()).expect("data").ino()
        };
        let before = inode(&a);
        let mut at_a = a.database();
        // What it wrote by itself after the standby was cut off may be nothing or a little; either
        // way there are no rows to salvage.
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        assert!(salvages(&a).is_empty(), "{:#?}", salvages(&a));
        assert_eq!(inode(&a), before);
        // Ordered again (the node's own mark was not taken back): nothing happens.
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        at_a.perform(DatabaseDeed::StopNow).await;
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        assert!(salvages(&a).is_empty(), "{:#?}", salvages(&a));
        assert_eq!(inode(&a), before, "and nothing was copied");
    });
}

#[test]
fn what_cannot_be_rewound_is_copied() {
    let Some(lab) = Lab::new("copy") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &[], &["INSERT INTO calls VALUES (7)"]).await;
        b.sql("REVOKE pg_checkpoint FROM replicator");
        let mut at_a = a.database();
        let mut progress = at_a.progress();
        let (seen, _) = tokio::join!(at_a.perform(DatabaseDeed::Rejoin { common: None }), async {
            progress
                .wait_for(|now| now.is_some_and(|now| now.phase == Phase::Copying))
                .await
                .is_ok()
        });
        assert!(seen.streaming, "{:?}", at_a.trouble());
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["7"]);
    });
}

#[test]
fn a_standby_that_was_away_too_long_is_copied() {
    let Some(lab) = Lab::new("away") else { return };
    let (a, b) = lab.pair("pbx-b");
    b.kill_all();
    a.sql("ALTER SYSTEM SET wal_keep_size = 0");
    a.sql("SELECT pg_reload_conf()");
    for _ in 0..4 {
        a.sql("INSERT INTO calls DEFAULT VALUES");
        a.sql("SELECT pg_switch_wal()");
        a.sql("CHECKPOINT");
    }
    runtime().block_on(async {
        // Replication alone tells that; no other right is needed.
        a.sql("REVOKE ALL ON FUNCTION pg_stat_file(text, boolean) FROM replicator");
        let mut at_b = b.database();
        at_b.perform(DatabaseDeed::StartAsStandby).await;
        // For a moment before each refusal its receiver streams, as far as anybody can see.
        let mut seen = at_b.perform(DatabaseDeed::Follow).await;
        for _ in 0..2 {
            if seen.diverged {
                break;
            }
            seen = at_b.perform(DatabaseDeed::Follow).await;
        }
        assert!(
            !seen.streaming && seen.diverged,
            "only a copy helps: {seen:?} {:?}",
            at_b.trouble()
        );
        let seen = at_b.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert!(seen.streaming && !seen.diverged, "{seen:?} {:?}", at_b.trouble());
        assert_back(&mut at_b, &b, &a).await;
        assert!(salvages(&b).is_empty());
    });
}

#[test]
fn rows_that_cannot_be_told_apart_are_kept_with_their_directory() {
    let Some(lab) = Lab::new("keep") else { return };
    let (a, b) = lab.pair("pbx-b");
    runtime().block_on(async {
        // Both are promoted at the same position: two timelines 2, and no way to see it.
        let (mut at_a, mut at_b) = (a.database(), b.database());
        at_a.perform(DatabaseDeed::StopCleanly).await;
        b.kill_all();
        at_a.perform(DatabaseDeed::StartAsStandby).await;
        at_a.perform(DatabaseDeed::Promote).await;
        at_a.perform(DatabaseDeed::SetSynchronous(false)).await;
        a.sql("INSERT INTO calls VALUES (31)");
        a.kill_all();
        at_b.perform(DatabaseDeed::StartAsStandby).await;
        at_b.perform(DatabaseDeed::Promote).await;
        let seen = at_b.perform(DatabaseDeed::SetSynchronous(false)).await;
        assert_eq!(seen.log.expect("log").timeline, 2);
        b.sql("INSERT INTO calls VALUES (32)");
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        let all = salvages(&a);
        let kept = all[0].manifest.kept.clone().expect("kept");
        assert!(!all[0].manifest.complete);
        assert!(kept.directory.join("PG_VERSION").exists(), "{kept:?}");
        assert!(kept.why.contains("same timelines"), "{kept:?}");
        assert_eq!(b.sql("SELECT string_agg(n::text, ',') FROM calls"), "32");
    });
}
