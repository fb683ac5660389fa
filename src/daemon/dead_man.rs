//! The dead man: a small process that outlives the daemon just long enough to stop what it ran.
//!
//! Addresses expire in the kernel, and a service's first process is told of the daemon's death; a
//! server that outlived both would go on acknowledging local writes while the peer takes over (rule
//! 24, C9), and a service's other processes may go on as well. The dead man waits on a pipe whose
//! other end only the daemon holds; when it closes and no new daemon has locked the state directory
//! within the address lifetime, it stops the server at once, and what is left of the services.
//!
//! Units are not in the daemon's control group, so systemd does not end them with it. Under systemd
//! `duotone release`, the unit's `ExecStopPost=`, stops them whatever ended the daemon; the dead man
//! does it where nobody calls that. Both go by the daemon's records, so a file that does not read
//! any more is no hindrance. A unit that runs on both nodes goes on: nobody else starts it.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{RECORDS, Source};
use crate::adapters::postgres::Database;
use crate::adapters::process;
use crate::adapters::state_file::{OpenError, StateFile};
use crate::adapters::systemd::{self, Systemd};
use crate::config::Config;
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::DatabaseState;

/// The verb of the command line that is the dead man; not for people.
pub const VERB: &str = "dead-man";

/// What is left of a service has had the whole lifetime to end in order.
const GRACE: Duration = Duration::from_millis(100);
/// A process that cannot be killed is no reason to stay for ever.
const SERVICES_WITHIN: Duration = Duration::from_secs(10);

/// The watching process. Dropping this, as every end of the daemon does, is what it waits for.
#[derive(Debug)]
pub struct DeadMan {
    child: Child,
}

/// Starts it.
///
/// # Errors
/// The process could not be started: the promise of rule 24 could not be kept.
pub fn post(config: &Config, source: &Source) -> io::Result<DeadMan> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VERB).arg("--config").arg(&source.path).args(["--node", config.name()]);
    // A signal to the daemon's group is not meant for it.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    Ok(DeadMan { child: command.spawn()? })
}

impl DeadMan {
    /// For an orderly end: the daemon has seen everything stopped itself.
    pub fn dismiss(mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::error!("the dead man could not be dismissed: {error}");
        }
    }
}

/// Is the dead man: returns when nothing is left to watch.
///
/// # Errors
/// Something could not be seen stopped.
pub fn watch(config: &Config) -> Result<(), String> {
    let mut daemon = io::stdin().lock();
    let mut byte = [0];
    while daemon.read(&mut byte).is_ok_and(|read| read > 0) {}
    let end = Instant::now() + config.timing.address_lifetime;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        match StateFile::open(&config.state_dir) {
            // A new daemon is there: it joins, and sees to all of it first of all.
            Err(OpenError::InUse(_)) => return Ok(()),
            Ok(_) | Err(OpenError::Io { .. }) => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (database, services) =
        runtime.block_on(async { tokio::join!(stop_database(config), stop_services(config)) });
    database.and(services)
}

async fn stop_database(config: &Config) -> Result<(), String> {
    let Some(postgres) = &config.postgres else { return Ok(()) };
    let mut database = Database::new(postgres, &config.timing, &config.names, config.me);
    // A standby, too: a promotion may be on its way.
    match database.perform(DatabaseDeed::StopNow).await.state {
        DatabaseState::Stopped => Ok(()),
        state => Err(format!("the database is not seen stopped: {state:?}")),
    }
}

async fn stop_services(config: &Config) -> Result<(), String> {
    let records = config.state_dir.join(RECORDS);
    let left = process::leftovers(&records).map_err(|error| error.to_string())?;
    let mut obstacles = Vec::new();
    let stopped = tokio::time::timeout(SERVICES_WITHIN, async {
        for name in &left {
            let obstacle = |text| obstacles.push(format!("{name}: {text}"));
            process::stop_leftover(&records, name, GRACE, obstacle).await;
        }
    });
    let stopped = stopped.await.is_ok();
    let processes = if stopped { Ok(()) } else { Err(obstacles.join("; ")) };
    let units = systemd::stop_recorded(&Systemd::default(), &records, GRACE, SERVICES_WITHIN).await;
    let failed = [processes.err(), units.err()].into_iter().flatten().collect::<Vec<_>>();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Stops the units that must not outlive the daemon of this state directory, unless one runs; their
/// names.
///
/// # Errors
/// Which were not seen stopped, and why.
pub fn stop_units(state_dir: &Path) -> Result<Vec<String>, String> {
    if held_by_a_daemon(state_dir) {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (systemd, records) = (Systemd::default(), state_dir.join(RECORDS));
    runtime.block_on(systemd::stop_recorded(&systemd, &records, GRACE, SERVICES_WITHIN))
}

/// A daemon has the lock for good, a dead man that looks for one only for a moment.
fn held_by_a_daemon(state_dir: &Path) -> bool {
    (0..5).all(|_| {
        let held = matches!(StateFile::open(state_dir), Err(OpenError::InUse(_)));
        if held {
            std::thread::sleep(Duration::from_millis(10));
        }
        held
    })
}
