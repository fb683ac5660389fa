//! A log that has left the peer's comes back, and what it alone had is kept.

use std::time::{Duration, Instant};

use duotone::adapters::postgres::Database;
use duotone::adapters::salvage::{self, Line, Salvage};
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;

use crate::cluster::{Lab, Server, runtime, signal, until};

/// Two servers whose logs have parted: `a` was the primary, has rows that `b` never got, and is
/// dead; `b` serves.
pub async fn parted(lab: &Lab, replicated: &str, alone: &[&str]) -> (Server, Server) {
    let (a, b) = lab.pair("pbx-b");
    a.sql(replicated);
    let position = a.sql("SELECT pg_current_wal_flush_lsn()");
    until("replayed", || {
        b.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")) == "t"
    });
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
            "CREATE TABLE notes (t text); CREATE DATABASE other; \
             CREATE TABLE keyed (a int, \"B\" text, v numeric, PRIMARY KEY (\"B\", a)); \
             CREATE TABLE untouched (n int); INSERT INTO untouched VALUES (1); \
             INSERT INTO calls SELECT generate_series(1, 100); \
             INSERT INTO notes VALUES ('replicated'); INSERT INTO keyed VALUES (1, 'x', 1)",
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
        at_a.perform(DatabaseDeed::Rejoin).await;
        eprintln!("rejoined in {:?} ({:?})", begun.elapsed(), at_a.trouble().map(|t| t.to_string()));
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
