//! What a look sees.

use std::time::{Duration, Instant};

use duotone::adapters::postgres::Finding;
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;

use crate::cluster::{Lab, runtime, signal, until};

#[test]
fn an_existing_pair_is_adopted() {
    let Some(lab) = Lab::new("adopt") else { return };
    // Not the name that duotone would give it.
    let (a, b) = lab.pair("old_standby");
    runtime().block_on(async {
        let (mut at_a, mut at_b) = (a.database(), b.database());
        // Loaded machines: a checkpointer that is busy leaves `synchronous` unknown for a look, and
        // a standby that answers may not be streaming yet.
        let (mut seen_a, mut seen_b) = (at_a.look().await, at_b.look().await);
        for _ in 0..50 {
            let known = seen_a.synchronous.is_some() && seen_b.synchronous.is_some();
            if known && seen_a.replica.is_some() && seen_b.streaming {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            (seen_a, seen_b) = (at_a.look().await, at_b.look().await);
        }
        assert_eq!(seen_a.state, DatabaseState::Writable, "{:?}", at_a.trouble());
        assert_eq!(seen_b.state, DatabaseState::Standby, "{:?}", at_b.trouble());
        assert!(at_a.trouble().is_none(), "{:?}", at_a.trouble());
        assert!(at_b.trouble().is_none(), "{:?}", at_b.trouble());
        assert_eq!((seen_a.synchronous, seen_b.synchronous), (Some(false), Some(false)));
        assert!(seen_b.streaming && !seen_a.streaming);
        assert!(seen_a.system_id.is_some());
        assert_eq!(seen_a.system_id, seen_b.system_id);
        let log_a = seen_a.log.expect("a's log");
        let log_b = seen_b.log.expect("b's log");
        assert_eq!((log_a.timeline, log_b.timeline), (1, 1));
        assert!(log_a.forks.is_empty());
        let replica = seen_a.replica.expect("the standby, found by its address");
        assert!(!replica.synchronous);
        assert!(replica.flush <= log_a.position && log_b.position <= log_a.position);
        assert!(seen_b.replica.is_none());

        let seen = at_a.perform(DatabaseDeed::SetSynchronous(true)).await;
        assert_eq!(seen.synchronous, Some(true), "{:?}", at_a.trouble());
        assert_eq!(a.sql("SHOW synchronous_standby_names"), "FIRST 1 (\"old_standby\")");
        until("the standby is synchronous", || {
            a.sql("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") == "sync"
        });
        assert!(at_a.look().await.replica.expect("standby").synchronous);
    });
}

#[test]
fn looks_share_one_warm_connection() {
    let Some(lab) = Lab::new("cheap") else { return };
    let a = lab.primary();
    let sessions = || a.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'duotone'");
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        let first = sessions();
        assert!(first.parse::<u32>().is_ok(), "one session: {first:?}");
        for _ in 0..25 {
            assert_eq!(database.look().await.state, DatabaseState::Writable);
        }
        assert_eq!(sessions(), first, "the same server process all the time");
    });
}

#[test]
fn a_server_that_never_ran_or_stopped_is_stopped() {
    let Some(lab) = Lab::new("stopped") else { return };
    let a = lab.primary();
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        a.kill_all();
        assert!(a.data().join("postmaster.pid").exists(), "left behind by the kill");
        let seen = database.look().await;
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", database.trouble());
        assert_eq!((seen.synchronous, &seen.log, seen.streaming), (None, &None, false));
        assert!(seen.system_id.is_some(), "read from the control file");
        // The stale file may name a living process that has nothing to do with it.
        let pid_file = a.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&pid_file).expect("read");
        let rest = text.split_once('\n').expect("lines").1;
        std::fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).expect("write");
        assert_eq!(a.database().look().await.state, DatabaseState::Stopped);

        let b = lab.server(duotone::protocol::identity::NodeId::B);
        assert_eq!(b.database().look().await.state, DatabaseState::Stopped, "no directory");
    });
}

#[test]
fn backends_that_outlive_their_postmaster_are_not_stopped() {
    let Some(lab) = Lab::new("orphans") else { return };
    let a = lab.primary();
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        // A backend that cannot notice: it is stopped while its postmaster is killed.
        let mut client = a.sql_in_background("SELECT pg_sleep(600)");
        until("the client's backend runs", || {
            a.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
        });
        let backend = a.process_titled("SELECT");
        signal(backend, "STOP");
        signal(a.postmaster(), "KILL");
        until("the rest noticed", || a.processes() == [backend]);
        let seen = database.look().await;
        assert_eq!(seen.state, DatabaseState::Unknown, "{:?}", database.trouble());

        let seen = database.perform(DatabaseDeed::StopNow).await;
        assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", database.trouble());
        assert!(a.processes().is_empty());
        let _ = client.wait();
    });
}

#[test]
fn a_frozen_server_is_unknown_in_bounded_time() {
    let Some(lab) = Lab::new("frozen") else { return };
    let a = lab.primary();
    runtime().block_on(async {
        let mut database = a.database();
        assert_eq!(database.look().await.state, DatabaseState::Writable);
        for pid in a.processes() {
            signal(pid, "STOP");
        }
        for kind in ["over the warm connection", "over a new one"] {
            let begun = Instant::now();
            let seen = database.look().await;
            assert_eq!(seen.state, DatabaseState::Unknown, "{kind}");
            assert_eq!((seen.synchronous, seen.log), (None, None), "{kind}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{kind}: {:?}", begun.elapsed());
            assert!(database.trouble().is_some());
        }
        for pid in a.processes() {
            signal(pid, "CONT");
        }
        assert_eq!(database.look().await.state, DatabaseState::Writable, "thawed");
    });
}

#[test]
fn a_wrong_data_directory_is_never_taken_for_the_server() {
    let Some(lab) = Lab::new("other") else { return };
    let a = lab.primary();
    let mut config = a.config();
    config.data_dir = lab.server(duotone::protocol::identity::NodeId::B).data();
    std::fs::create_dir_all(&config.data_dir).expect("an empty directory");
    runtime().block_on(async {
        let mut database = duotone::adapters::postgres::Database::new(
            &config,
            &crate::cluster::timing(),
            &Lab::names(),
            a.node,
        );
        let seen = database.look().await;
        assert_eq!(seen.log, None);
        assert_ne!(seen.state, DatabaseState::Writable);
        let trouble = database.trouble().expect("said").to_string();
        assert!(trouble.contains("data_dir in [postgres]"), "{trouble}");
    });
}

#[test]
fn the_check_says_what_is_missing() {
    let Some(lab) = Lab::new("check") else { return };
    let a = lab.primary();
    let said = |findings: &[Finding]| {
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    runtime().block_on(async {
        let mut database = a.database();
        let findings = database.check().await;
        assert!(findings.is_empty(), "{}", said(&findings));

        a.sql("ALTER ROLE replicator NOREPLICATION");
        a.sql("REVOKE pg_checkpoint FROM replicator");
        a.sql("ALTER SYSTEM SET synchronous_commit = 'local'");
        a.sql("ALTER SYSTEM SET wal_keep_size = 0");
        let rules = "local all all trust\nhost replication replicator 127.0.0.3/32 trust\n";
        std::fs::write(a.data().join("pg_hba.conf"), rules).expect("pg_hba.conf");
        a.sql("SELECT pg_reload_conf()");
        until("reloaded", || a.sql("SHOW wal_keep_size") == "0");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let findings = said(&database.check().await);
        for expected in [
            "role replicator cannot replicate: CREATE ROLE replicator REPLICATION",
            "synchronous_commit is local: set synchronous_commit = on",
            "wal_keep_size is 0",
            "add \"host replication replicator 127.0.0.1 ",
            "role replicator may not rewind the peer",
            "add \"host postgres replicator 127.0.0.1 ",
        ] {
            assert!(findings.contains(expected), "{expected} in:\n{findings}");
        }
        assert_eq!(findings.lines().count(), 6, "{findings}");
        assert!(Finding::systems(1, 1).is_none());
        assert!(Finding::systems(1, 2).expect("differ").to_string().contains("pg_basebackup"));

        let found = database.check_host().await;
        assert_eq!(said(&found), findings, "a running server is asked");

        // Stopped: only what its files say, and that it was stopped is no mistake.
        a.kill_all();
        assert!(said(&database.check().await).starts_with("database not reachable"));
        let found = database.check_host().await;
        let (notes, found): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|finding| finding.is_note());
        assert!(said(&notes).starts_with("PostgreSQL is not running"), "{}", said(&notes));
        let findings = said(&found);
        for expected in ["synchronous_commit is local", "wal_keep_size is 0"] {
            assert!(findings.contains(expected), "{expected} in:\n{findings}");
        }
        assert_eq!(findings.lines().count(), 2, "{findings}");

        // Files that the server itself would not start with.
        let auto = a.data().join("postgresql.auto.conf");
        std::fs::write(&auto, "wal_level = nonsense\n").expect("postgresql.auto.conf");
        let findings = said(&database.check_host().await);
        assert!(findings.contains("settings of the stopped server cannot be read"), "{findings}");

        // Somebody works there and lets nobody in: that is a mistake.
        std::fs::write(&auto, "").expect("postgresql.auto.conf");
        let rules = "local all all reject\n";
        std::fs::write(a.data().join("pg_hba.conf"), rules).expect("pg_hba.conf");
        a.boot();
        let found = database.check_host().await;
        assert!(!found.iter().any(Finding::is_note), "{}", said(&found));
        assert!(said(&found).starts_with("database not reachable"), "{}", said(&found));
    });
}
