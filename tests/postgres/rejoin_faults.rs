//! A rejoin that is ended anywhere goes on where it was, and loses nothing; and the traps.

use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;
use std::time::Duration;

use duotone::adapters::postgres::{Database, Phase};
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;

use crate::cluster::{BIN, Lab, Server, runtime, signal, timing, until};
use crate::rejoin::{assert_back, parted, salvages, values};

/// Rejoins until this phase is reached, then drops the future and kills everything on the host, as
/// `kill -9` of the daemon or a power cut does. True if the phase was reached.
async fn until_phase(server: &Server, phase: Phase) -> bool {
    let database = server.database();
    let mut progress = database.progress();
    let reached = async {
        let seen = progress.wait_for(|now| now.is_some_and(|now| now.phase == phase)).await;
        assert!(seen.is_ok());
    };
    ended_when(server, database, reached).await
}

/// The same, until the mark beside the data directory says that the files were fetched.
async fn until_fetched(server: &Server) -> bool {
    let mark = server.data().with_file_name("data.rejoin").join("mark");
    let reached = async {
        while !std::fs::read_to_string(&mark).is_ok_and(|mark| mark.contains("etched")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    ended_when(server, server.database(), reached).await
}

async fn ended_when(
    server: &Server,
    mut database: Database,
    reached: impl Future<Output = ()>,
) -> bool {
    // As the node does: it wants a standby before anything else.
    let reached = tokio::select! {
        () = reached => true,
        _ = async {
            database.perform(DatabaseDeed::StartAsStandby).await;
            database.perform(DatabaseDeed::Rejoin { common: None }).await
        } => false,
    };
    drop(database);
    server.kill_all();
    reached
}

fn programs_at(server: &Server) -> usize {
    let path = server.dir.display().to_string();
    let pattern = format!("pg_(rewind|basebackup).*{path}");
    let output = Command::new("pgrep").args(["-f", &pattern]).output().expect("pgrep");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[test]
fn ended_in_every_phase_it_goes_on_and_loses_nothing() {
    let Some(lab) = Lab::new("phases") else { return };
    runtime().block_on(async {
        let alone = ["INSERT INTO calls SELECT generate_series(11, 20)"];
        let (a, b) =
            parted(&lab, &["INSERT INTO calls SELECT generate_series(1, 10)"], &alone).await;
        let rows: Vec<String> = (11..21).map(|n: u32| n.to_string()).collect();
        for phase in [
            Phase::Comparing,
            Phase::ReadingLog,
            Phase::Recovering,
            Phase::Salvaging,
            Phase::Checkpoint,
            Phase::Rewinding,
            Phase::Copying,
            Phase::Copying,
            Phase::Starting,
        ] {
            assert!(until_phase(&a, phase).await, "{phase:?} was not reached");
            assert_eq!(programs_at(&a), 0, "{phase:?}: what it ran has ended");
            if matches!(phase, Phase::Rewinding) {
                // Half rewound: whoever starts it as a primary again is refused.
                let mut at_a = a.database();
                let seen = at_a.perform(DatabaseDeed::StartInPlace).await;
                assert_eq!(seen.state, DatabaseState::Stopped);
                let trouble = at_a.trouble().expect("refused").to_string();
                assert!(trouble.contains("not finished"), "{trouble}");
            }
            if !matches!(
                phase,
                Phase::Comparing | Phase::ReadingLog | Phase::Recovering | Phase::Salvaging
            ) {
                let found = salvages(&a);
                assert_eq!(found.len(), 1, "{phase:?}: salvaged once, and before any change");
                assert_eq!(values(&found[0], "calls", "n"), rows, "{phase:?}");
            }
        }
        let mut at_a = a.database();
        at_a.perform(DatabaseDeed::StartAsStandby).await;
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        let found = salvages(&a);
        assert_eq!(found.len(), 1);
        assert_eq!(values(&found[0], "calls", "n"), rows);
    });
}

#[test]
fn ended_at_any_moment_it_goes_on() {
    let Some(lab) = Lab::new("moments") else { return };
    runtime().block_on(async {
        let alone = ["INSERT INTO calls VALUES (41)"];
        let (a, b) = parted(&lab, &[], &alone).await;
        let mut at_a = a.database();
        for (number, milliseconds) in [3, 40, 110, 230, 350, 480, 620, 800].into_iter().enumerate()
        {
            let limit = Duration::from_millis(milliseconds);
            let rejoin = at_a.perform(DatabaseDeed::Rejoin { common: None });
            let _ = tokio::time::timeout(limit, rejoin).await;
            match number % 3 {
                // A new daemon.
                0 => at_a = a.database(),
                // Its host's power.
                1 => a.kill_all(),
                // Another order.
                _ => {
                    let seen = at_a.perform(DatabaseDeed::StopNow).await;
                    assert_eq!(seen.state, DatabaseState::Stopped, "{:?}", at_a.trouble());
                    assert!(a.processes().is_empty());
                }
            }
        }
        // The adapter never tries again; the node does.
        for _ in 0..3 {
            if at_a.perform(DatabaseDeed::Rejoin { common: None }).await.streaming {
                break;
            }
            at_a.perform(DatabaseDeed::StartAsStandby).await;
        }
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["41"]);
        assert_eq!(salvages(&a).len(), 1);
    });
}

#[test]
fn what_is_half_copied_is_not_started_while_the_peer_is_away() {
    let Some(lab) = Lab::new("torn") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &[], &["INSERT INTO calls VALUES (51)"]).await;
        assert!(until_phase(&a, Phase::Rewinding).await);
        b.kill_all();
        let mut at_a = a.database();
        let seen = at_a.perform(DatabaseDeed::StartAsStandby).await;
        assert_eq!(seen.state, DatabaseState::Stopped);
        let trouble = at_a.trouble().expect("why").to_string();
        assert!(trouble.contains("pg_basebackup failed"), "{trouble}");
        let mut at_b = b.database();
        at_b.perform(DatabaseDeed::StartInPlace).await;
        at_b.perform(DatabaseDeed::SetSynchronous(false)).await;
        let seen = at_a.perform(DatabaseDeed::StartAsStandby).await;
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", at_a.trouble());
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["51"]);
    });
}

/// What fails each time is not tried for ever, and costs no row: the whole directory is kept.
#[test]
fn a_salvage_that_fails_again_and_again_keeps_the_directory_and_comes_back() {
    let Some(lab) = Lab::new("again") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &[], &["INSERT INTO calls VALUES (81)"]).await;
        // Everything of PostgreSQL's, but a program that always fails and counts.
        let bin = a.dir.join("bin");
        std::fs::create_dir(&bin).expect("bin");
        for program in std::fs::read_dir(BIN).expect(BIN).flatten() {
            let link = bin.join(program.file_name());
            std::os::unix::fs::symlink(program.path(), link).expect("link");
        }
        let (waldump, asked) = (bin.join("pg_waldump"), a.dir.join("asked"));
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {}\necho 'no memory' >&2\nexit 1\n",
            asked.display()
        );
        std::fs::remove_file(&waldump).expect("the link");
        std::fs::write(&waldump, text).expect("pg_waldump");
        std::fs::write(&asked, "").expect("asked");
        for (path, mode) in [(&waldump, 0o755), (&asked, 0o666)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .expect("mode");
        }
        let mut config = a.config();
        config.bin_dir = bin;
        let node = a.node;
        // Its failures are remembered by a daemon that is started again.
        for attempt in 1..=5 {
            let mut at_a = Database::new(&config, &timing(), &Lab::names(), node);
            let seen = at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
            if attempt < 5 {
                let trouble = at_a.trouble().expect("why").to_string();
                assert!(trouble.contains("pg_waldump failed"), "{attempt}: {trouble}");
                assert!(!seen.streaming && salvages(&a).is_empty(), "{attempt}: {seen:?}");
            }
        }
        let mut at_a = a.database();
        assert_back(&mut at_a, &a, &b).await;
        let found = salvages(&a);
        assert_eq!(found.len(), 1);
        let kept = found[0].manifest.kept.clone().expect("kept");
        assert!(!found[0].manifest.complete && kept.why.contains("pg_waldump"), "{kept:?}");
        assert!(kept.directory.join("PG_VERSION").exists(), "{kept:?}");
        let asked = std::fs::read_to_string(asked).expect("asked");
        assert_eq!(asked.lines().filter(|line| !line.contains("-n 1")).count(), 5, "{asked}");
    });
}

/// Trap of PostgreSQL 15: until the new primary's first checkpoint `pg_rewind` finds nothing to do.
#[test]
fn the_peer_writes_a_checkpoint_before_the_rewind() {
    let Some(lab) = Lab::new("trap") else { return };
    runtime().block_on(async {
        let (a, b) = lab.pair("pbx-b");
        signal(b.process_titled("walreceiver"), "STOP");
        a.sql("INSERT INTO calls VALUES (61)");
        a.kill_all();
        signal(b.process_titled("walreceiver"), "KILL");
        until("b is back after its crash", || b.is_ready());
        let checkpointer = b.process_titled("checkpointer");
        let mut at_b = b.database();
        at_b.perform(DatabaseDeed::SetSynchronous(true)).await;
        // No checkpoint on the new timeline from here on.
        signal(checkpointer, "STOP");
        b.sql("SELECT pg_promote(wait => false)");
        until("promoted", || b.sql("SELECT pg_is_in_recovery()") == "f");
        assert_eq!(b.sql("SELECT timeline_id FROM pg_control_checkpoint()"), "1");

        let mut at_a = a.database();
        let mut progress = at_a.progress();
        let early = tokio::select! {
            _ = at_a.perform(DatabaseDeed::Rejoin { common: None }) => panic!("rewound without the checkpoint"),
            _ = progress.wait_for(|now| now.is_some_and(|now| now.phase == Phase::Rewinding)) => true,
            () = tokio::time::sleep(Duration::from_secs(4)) => false,
        };
        assert!(!early, "rewinding before the peer's checkpoint");
        // This is what it must not fall for.
        at_a.perform(DatabaseDeed::StopNow).await;
        let mut rewind = Command::new("setpriv");
        rewind.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
        rewind.arg(format!("{BIN}/pg_rewind")).arg("--dry-run").arg("--target-pgdata");
        rewind.arg(a.data()).arg("--no-ensure-shutdown").arg("--source-server").arg(format!(
            "host={} port={} user=replicator dbname=postgres",
            a.address(b.node),
            a.config().port
        ));
        let output = rewind.current_dir("/").output().expect("pg_rewind");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("no rewind required"), "{said}");

        signal(checkpointer, "CONT");
        b.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
        b.sql("SELECT pg_reload_conf()");
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["61"]);
    });
}

/// Rewound, and the power failed before the rest of the peer's log was there: it is no copy before it
/// has that, and nobody but the peer has it.
#[test]
fn what_was_fetched_is_started_as_one_that_follows() {
    let Some(lab) = Lab::new("fetched") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &[], &["INSERT INTO calls VALUES (61)"]).await;
        assert!(until_fetched(&a).await);
        let directory = std::fs::metadata(a.data()).expect("data").ino();
        let files = std::fs::read_dir(a.data().join("pg_wal")).expect("pg_wal").flatten();
        let mut removed = 0;
        for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("00000002"))
        {
            std::fs::remove_file(file.path()).expect("a file of the log");
            removed += 1;
        }
        assert!(removed > 0, "the peer's log was fetched with the files");
        let mut at_a = a.database();
        at_a.perform(DatabaseDeed::StartAsStandby).await;
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(std::fs::metadata(a.data()).expect("data").ino(), directory, "not copied");
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["61"]);
    });
}

/// A crashed primary that finds the peer's history at its start would drop its own rows silently.
#[test]
fn a_history_that_was_fetched_already_hides_nothing() {
    let Some(lab) = Lab::new("history") else { return };
    runtime().block_on(async {
        let (a, b) = parted(&lab, &[], &["INSERT INTO calls VALUES (71)"]).await;
        // As its walreceiver would have left them, had the power failed just then.
        let owner = std::fs::metadata(a.data()).expect("data");
        let files = std::fs::read_dir(b.data().join("pg_wal")).expect("pg_wal").flatten();
        let mut copied = 0;
        for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("00000002"))
        {
            let to = a.data().join("pg_wal").join(file.file_name());
            std::fs::copy(file.path(), &to).expect("copy");
            chown(&to, Some(owner.uid()), Some(owner.gid())).expect("chown");
            copied += 1;
        }
        assert!(copied >= 2, "its history and its log");
        let mut at_a: Database = a.database();
        let seen = at_a.perform(DatabaseDeed::StartAsStandby).await;
        assert_eq!(seen.state, DatabaseState::Standby, "{:?}", at_a.trouble());
        assert_eq!(seen.log.expect("log").timeline, 1, "its own log, to its end");
        assert_eq!(a.sql("SELECT string_agg(n::text, ',') FROM calls"), "71");
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;
        assert_eq!(values(&salvages(&a)[0], "calls", "n"), ["71"]);
    });
}
