//! A command as a process: started in a session of its own, watched by pidfd, stopped for certain.
//!
//! The leader is reaped only after its whole session was seen gone. Until then the kernel cannot
//! give its number away, so no signal can reach a stranger. The daemon's death sends the leader
//! SIGTERM; what an earlier life left behind is found by its record and stopped. Where the host
//! allows it, a service has a control group of its own, in which nobody can hide.

pub mod cgroup;
mod confine;
pub mod once;
pub mod output;
pub mod record;
pub mod session;
mod starter;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::unix::AsyncFd;

use self::cgroup::Cgroup;
use self::session::Session;
use crate::config::Service;

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration names no program.
    #[error("the command is empty")]
    NoCommand,
    /// The user cannot be looked up.
    #[error("user {name:?}: {source}")]
    User {
        /// Whom the configuration names.
        name: String,
        /// What the user database said.
        source: io::Error,
    },
    /// The kernel refused to start it (no such program, directory, permission, memory).
    #[error("cannot execute {program:?}: {source}")]
    Execute {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread to start it from.
    #[error("cannot start processes: {0}")]
    NoThread(#[source] io::Error),
    /// It was started and cannot be watched; it was killed.
    #[error("cannot watch the new process: {0}")]
    Watch(#[source] io::Error),
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel did not say.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
            Exit::Unknown => f.write_str("ended"),
        }
    }
}

/// A running command. Dropping it without [`Process::stop`] kills its process group.
#[derive(Debug)]
pub struct Process {
    session: Session,
    leader: AsyncFd<OwnedFd>,
    name: String,
    records: PathBuf,
    gone: bool,
}

impl Process {
    /// Starts the service's command and records it in `records` (a directory; made when missing).
    ///
    /// # Errors
    /// Names what failed; nothing runs then.
    pub async fn start(service: &Service, records: &Path) -> Result<Process, StartError> {
        let group = Cgroup::make(&service.name);
        let child = match starter::start(service, group.clone()).await {
            Ok(child) => child,
            Err(error) => {
                group.iter().for_each(remove);
                return Err(error);
            }
        };
        if let Some(group) = group.as_ref().filter(|group| !group.has(child.pid)) {
            let (service, group) = (&service.name, group.path().display());
            tracing::warn!(service, %group, "not in its control group: watched by its session alone");
        }
        match Process::watch(service, &child, group.clone(), records) {
            Ok(process) => {
                for pipe in [child.stdout, child.stderr] {
                    output::log(pipe, service.name.clone()).map_err(StartError::Watch)?;
                }
                Ok(process)
            }
            Err(error) => {
                kill_and_reap(child.pid);
                group.iter().for_each(remove);
                Err(StartError::Watch(error))
            }
        }
    }

    fn watch(
        service: &Service,
        child: &starter::Child,
        group: Option<Cgroup>,
        records: &Path,
    ) -> io::Result<Process> {
        // Not reaped by anyone but us, so it is there to be seen even when it has ended already.
        let seen = session::seen(child.pid)?.ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
        let session = Session { id: child.pid, started: seen.started, group };
        let leader = session::open(session.id, session.started)?;
        let leader = starter::watch(leader)?;
        if let Err(error) = record::write(records, &service.name, &session) {
            // A full disk must not keep the PBX down. What is lost is only that a later daemon
            // finds this process if it should survive its death signal.
            tracing::warn!(service = service.name, %error, "cannot record the process");
        }
        let (name, records) = (service.name.clone(), records.to_owned());
        Ok(Process { session, leader, name, records, gone: false })
    }

    /// The leader's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.session.id
    }

    /// Waits until the leader has ended (others of its session may go on). Safe to cancel.
    pub async fn exited(&self) -> Exit {
        exited(&self.leader).await
    }

    /// SIGTERM to the whole session, SIGKILL after `grace`; returns when all of it was **seen**
    /// gone, however long that takes. `obstacle` is told what is in the way.
    pub async fn stop(&mut self, grace: Duration, obstacle: impl FnMut(String)) {
        end(&self.session, grace, obstacle).await;
        let reaped = waitid(
            WaitId::PidFd(self.leader.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        if let Err(error) = reaped {
            tracing::warn!(service = self.name, %error, "cannot reap");
        }
        forget(&self.records, &self.name);
        self.gone = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.gone {
            kill_and_reap(self.session.id);
            if let Some(group) = &self.session.group {
                // As above: nothing is claimed.
                let _ = group.kill().and_then(|()| group.remove());
            }
        }
    }
}

/// Waits until the process of this descriptor has ended; it is not reaped.
async fn exited(process: &AsyncFd<OwnedFd>) -> Exit {
    let status = match process.readable().await {
        Ok(_ready) => waitid(
            WaitId::PidFd(process.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG,
        ),
        // The runtime is shutting down.
        Err(_) => return std::future::pending().await,
    };
    match status {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        },
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

/// Only for a child that was not reaped yet: its number is certainly its own.
fn kill_and_reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // No answer is possible here, and none is claimed: the record stays for the next life.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Starts the service's command so that it outlives this process, on record in `records` before it
/// begins; both its outputs go to `output`.
///
/// # Errors
/// Names what failed; nothing runs then.
pub fn start_lasting(
    service: &Service,
    records: &Path,
    output: File,
) -> Result<std::process::Child, StartError> {
    let (name, records) = (service.name.clone(), records.to_owned());
    starter::start_lasting(service, output, move || {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let seen = session::seen(me)?.ok_or(io::ErrorKind::NotFound)?;
        let session = Session { id: me, started: seen.started, group: None };
        record::write(&records, &name, &session)
    })
}

/// The services that an earlier life of the daemon recorded, by name.
///
/// # Errors
/// The records could not be read.
pub fn leftovers(records: &Path) -> io::Result<Vec<String>> {
    record::names(records)
}

/// Removes the control groups of services whose host is gone as a whole, with whoever would have.
///
/// # Errors
/// The records could not be read, or somebody is still in one.
pub fn remove_groups(records: &Path) -> io::Result<()> {
    record::groups(records)?.iter().try_for_each(Cgroup::remove)
}

/// Stops what an earlier life of the daemon left running under this name, as
/// [`Process::stop`] does; returns when it was seen gone, or was never there.
pub async fn stop_leftover(
    records: &Path,
    name: &str,
    grace: Duration,
    mut obstacle: impl FnMut(String),
) {
    match record::read(records, name) {
        Ok(Some(session)) => {
            tracing::info!(service = name, pid = session.id, "left over from an earlier life");
            end(&session, grace, obstacle).await;
            forget(records, name);
        }
        Ok(None) => forget(records, name),
        // It names nobody, so nothing can be done about it; said aloud, and replaced at the start.
        Err(error) => obstacle(format!("the record of an earlier life is damaged: {error}")),
    }
}

fn forget(records: &Path, name: &str) {
    if let Err(error) = record::remove(records, name) {
        tracing::warn!(service = name, %error, "cannot remove the record of a stopped process");
    }
}

fn remove(group: &Cgroup) {
    if let Err(error) = group.remove() {
        tracing::warn!(group = %group.path().display(), %error, "cannot remove a control group");
    }
}

/// How long to look on after a SIGKILL before saying that something is still there.
const AFTER_KILL: Duration = Duration::from_secs(1);

async fn end(session: &Session, grace: Duration, mut obstacle: impl FnMut(String)) {
    let mut signal = Signal::TERM;
    let mut limit = grace;
    loop {
        let signalled = match session.signal(signal).await {
            // A stopped process cannot act on SIGTERM.
            Ok(()) if signal == Signal::TERM => session.signal(Signal::CONT).await,
            done => done,
        };
        if let Err(error) = signalled {
            obstacle(format!("cannot signal it: {error}"));
        }
        if signal == Signal::KILL
            && let Some(Err(error)) = session.group.as_ref().map(Cgroup::kill)
        {
            obstacle(format!("cannot kill its control group: {error}"));
        }
        match session.gone_within(limit).await {
            Ok(left) if left.is_empty() => return session.group.iter().for_each(remove),
            Ok(left) if signal == Signal::KILL => {
                let pids: Vec<_> = left.iter().map(|process| process.pid).collect();
                obstacle(format!("still there after SIGKILL: {pids:?}"));
            }
            Ok(left) => obstacle(format!("{} ignored SIGTERM: SIGKILL", left.len())),
            Err(error) => {
                obstacle(format!("cannot see whether it is gone: {error}"));
                tokio::time::sleep(limit.min(AFTER_KILL)).await;
            }
        }
        (signal, limit) = (Signal::KILL, AFTER_KILL);
    }
}
