//! The isolated server: the cluster as the primary that it was, for nobody but the salvage.
//!
//! It listens on a socket of its own in a directory that only its owner and root may enter, on no
//! network; it sends no log, archives none, waits for no standby, and runs nothing by itself. What
//! it writes (its recovery, a checkpoint) is on the losing branch and goes with it.

use tokio::time::{Instant as Deadline, sleep};
use tokio_postgres::error::SqlState;

use super::mark::{Mark, Places};
use super::process::{self, Owner};
use super::progress::Phase;
use super::trouble::Trouble;
use super::{Database, files};
use crate::adapters::salvage::branch::Branch;
use crate::adapters::salvage::rows::Reader;
use crate::adapters::salvage::session::Session;
use crate::adapters::salvage::{Kept, Manifest, Part};
use crate::config::Postgres;

/// Settings of the isolated server, after all others.
const SETTINGS: [&str; 18] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "unix_socket_group=",
    "bonjour=off",
    "cluster_name=isolated",
    // Nothing runs by itself, and nothing of the branch leaves the host.
    "autovacuum=off",
    "max_wal_senders=0",
    "max_worker_processes=0",
    "max_logical_replication_workers=0",
    "archive_mode=off",
    "primary_conninfo=",
    "restore_command=",
    "synchronous_standby_names=",
    "default_transaction_read_only=on",
    "restart_after_crash=off",
    "session_preload_libraries=",
    // Its checkpoints remove nothing that the rewind needs.
    "wal_keep_size=1TB",
    "max_slot_wal_keep_size=-1",
];

const POLL: std::time::Duration = std::time::Duration::from_millis(10);

impl Database {
    /// Starts the stopped cluster isolated, and waits for the end of its recovery.
    pub(super) async fn start_isolated(
        &mut self,
        places: &Places,
        owner: &Owner,
    ) -> Result<(), Trouble> {
        self.report(Phase::Recovering, 0, None);
        self.warm.discard();
        let (there, for_files, postgres) = (places.clone(), owner.clone(), self.postgres.clone());
        self.change_long(move |data_dir| {
            there.set_mark(&Mark::Salvaging, &for_files)?;
            there.make_empty(&there.socket(), &for_files)?;
            files::remove_signals(data_dir)?;
            Ok(process::remove_stale_locks(&postgres)?)
        })
        .await?;
        let mut more: Vec<String> =
            SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
        let socket = places.socket().display().to_string().replace('"', "\"\"");
        more.extend(["-c".to_owned(), format!("unix_socket_directories=\"{socket}\"")]);
        // Elsewhere it would tell others that the cluster is there.
        let pid_file = places.socket().join("pid").display().to_string();
        more.extend(["-c".to_owned(), format!("external_pid_file={pid_file}")]);
        self.started =
            Some(process::start(&self.postgres, owner, &more, true, self.output.as_ref())?);
        loop {
            let Postgres { port, user, database, .. } = &self.postgres;
            match Session::open(&places.socket(), *port, user, database).await {
                Ok(_) => return Ok(()),
                Err(error) => match error.code() {
                    None | Some(&SqlState::CANNOT_CONNECT_NOW) => {}
                    // It runs and refuses: waiting changes nothing.
                    Some(_) => return Err(Trouble::Server { doing: "isolated", error }),
                },
            }
            if let Some(status) = self.started.as_mut().and_then(|child| child.try_wait().ok()?) {
                self.started = None;
                return Err(Trouble::Ended(status));
            }
            sleep(POLL).await;
        }
    }

    /// Writes the rows of the branch to the salvage directory, from the isolated server.
    pub(super) async fn write_salvage(
        &mut self,
        places: &Places,
        branch: &Branch,
        mut manifest: Manifest,
    ) -> Result<(), Trouble> {
        self.report(Phase::Salvaging, 0, None);
        let home = self.postgres.salvage_dir.clone();
        let part = self.blocking(move || Part::begin(&home)).await??;
        let socket = places.socket();
        let reader = Reader {
            socket_dir: &socket,
            port: self.postgres.port,
            user: &self.postgres.user,
            database: &self.postgres.database,
            exclude: &self.postgres.salvage_exclude,
        };
        manifest.tables =
            reader.read(branch, &part, |rows| self.report(Phase::Salvaging, rows, None)).await?;
        manifest.complete = true;
        // Only the server's own upkeep was committed: there is nothing to keep.
        let empty = manifest.tables.is_empty();
        let written =
            self.blocking(move || if empty { part.discard() } else { part.finish(&manifest) });
        Ok(written.await??)
    }

    /// Says in the salvage directory that a whole data directory is kept instead of its rows.
    pub(super) async fn write_kept(
        &mut self,
        places: &Places,
        mut manifest: Manifest,
        why: &Trouble,
    ) -> Result<(), Trouble> {
        let directory = places.kept(&manifest.id);
        manifest.kept = Some(Kept { directory, why: why.to_string() });
        let home = self.postgres.salvage_dir.clone();
        self.blocking(move || Part::begin(&home)?.finish(&manifest)).await??;
        Ok(())
    }

    /// Stops the isolated server in order: `pg_rewind` wants that, and so does a log to be read.
    pub(super) async fn stop_isolated(&mut self) -> Result<(), Trouble> {
        self.stop_cleanly(Deadline::now() + super::rejoin::LONG).await
    }
}
