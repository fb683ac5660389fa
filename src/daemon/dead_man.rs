//! The dead man: a small process that outlives the daemon just long enough to stop its database.
//!
//! Services die with the daemon, addresses expire in the kernel; a server that outlived both would
//! go on acknowledging local writes while the peer takes over (rule 24, C9). The dead man waits on a
//! pipe whose other end only the daemon holds; when it closes and no new daemon has locked the state
//! directory within the address lifetime, it stops the server at once.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Source;
use crate::adapters::postgres::Database;
use crate::adapters::state_file::{OpenError, StateFile};
use crate::config::Config;
use crate::protocol::action::DatabaseDeed;
use crate::protocol::plan::not_writable;

/// The verb of the command line that is the dead man; not for people.
pub const VERB: &str = "dead-man";

/// The watching process; dropping this is what it waits for.
#[derive(Debug)]
pub struct DeadMan {
    child: Option<Child>,
}

/// Starts it, if there is a database to stop.
///
/// # Errors
/// The process could not be started: the promise of rule 24 could not be kept.
pub fn post(config: &Config, source: &Source) -> io::Result<DeadMan> {
    if config.postgres.is_none() {
        return Ok(DeadMan { child: None });
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VERB).arg("--config").arg(&source.path).args(["--node", config.name()]);
    // A signal to the daemon's group is not meant for it.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    Ok(DeadMan { child: Some(command.spawn()?) })
}

impl Drop for DeadMan {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // An orderly end: the daemon has seen to the database itself.
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                tracing::error!("the dead man could not be dismissed: {error}");
            }
        }
    }
}

/// Is the dead man: returns when nothing is left to watch.
///
/// # Errors
/// The server could not be seen stopped.
pub fn watch(config: &Config) -> Result<(), String> {
    let mut daemon = io::stdin().lock();
    let mut byte = [0];
    while daemon.read(&mut byte).is_ok_and(|read| read > 0) {}
    let Some(postgres) = &config.postgres else { return Ok(()) };
    let end = Instant::now() + config.timing.address_lifetime;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        match StateFile::open(&config.state_dir) {
            // A new daemon is there: it joins, and sees to the database first of all.
            Err(OpenError::InUse(_)) => return Ok(()),
            Ok(_) | Err(OpenError::Io { .. }) => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut database = Database::new(postgres, &config.timing, &config.names, config.me);
    runtime.block_on(async {
        let seen = database.look().await;
        if not_writable(seen.state) {
            return Ok(());
        }
        let seen = database.perform(DatabaseDeed::StopNow).await;
        if not_writable(seen.state) {
            Ok(())
        } else {
            Err(format!("the database is still {:?}", seen.state))
        }
    })
}
