//! A session (setsid(2)) of processes as `/proc` shows it: who is in it, signalling all of it, and
//! seeing it gone.
//!
//! A session, not a process group: a server that moves its children into groups of their own is
//! still found. A child that leaves the session as well (a daemon in the classic sense) is found
//! only where the session has a control group of its own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::Instant;

use super::cgroup::Cgroup;

/// One process as `proc_pid_stat(5)` describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Process id.
    pub pid: i32,
    /// Id of its session.
    pub session: i32,
    /// When it was started, in clock ticks since boot; with the id this names one process for good.
    pub started: u64,
    /// It has ended and only waits to be reaped.
    pub dead: bool,
}

/// A session that this daemon, or an earlier life of it, began, with its control group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The leader's process id, which names the session too.
    pub id: i32,
    /// When the leader was started, in clock ticks since boot.
    pub started: u64,
    /// The control group that it was put into, if it has one of its own.
    pub group: Option<Cgroup>,
}

/// Pause between two looks while waiting for a session to end: first, and longest.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

impl Session {
    /// Who is alive in it.
    ///
    /// # Errors
    /// `/proc` could not be read: the answer is not known.
    pub async fn members(&self) -> io::Result<Vec<Seen>> {
        let all = self.clone();
        // Reading /proc takes milliseconds on a busy host; the runtime has one thread.
        tokio::task::spawn_blocking(move || all.look()).await.map_err(io::Error::other)?
    }

    fn look(&self) -> io::Result<Vec<Seen>> {
        let mut members = self.of_group()?;
        match seen(self.id)? {
            // The kernel does not give a number away while it names a session; so if it names
            // another process now, this session has ended.
            Some(leader) if leader.started != self.started => return Ok(members),
            Some(_) | None => {}
        }
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ended since the directory was read is simply no member.
            if let Some(process) = seen(pid)?
                && process.session == self.id
                && process.started >= self.started
                && !process.dead
                && !members.contains(&process)
            {
                members.push(process);
            }
        }
        Ok(members)
    }

    fn of_group(&self) -> io::Result<Vec<Seen>> {
        let Some(group) = &self.group else { return Ok(Vec::new()) };
        let mut members = Vec::new();
        for pid in group.members()? {
            members.extend(seen(pid)?.filter(|process| !process.dead));
        }
        Ok(members)
    }

    /// Sends `signal` to every member that was seen, by a descriptor that cannot name a stranger.
    ///
    /// # Errors
    /// `/proc` could not be read, or a signal was refused; the others were signalled all the same.
    pub async fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut refused = Ok(());
        for member in self.members().await? {
            match signal_one(member, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => refused = Err(error.into()),
            }
        }
        refused
    }

    /// Waits until nobody is left in it, at most `limit`; returns who still is.
    ///
    /// # Errors
    /// `/proc` could not be read: whether somebody is left is not known.
    pub async fn gone_within(&self, limit: Duration) -> io::Result<Vec<Seen>> {
        let end = Instant::now() + limit;
        let mut pause = LOOK_EVERY.0;
        loop {
            let mut members = self.members().await?;
            if members.is_empty() {
                // A reading of /proc is not atomic: a process that forked and ended meanwhile can
                // hide its child from one look.
                members = self.members().await?;
            }
            if members.is_empty() || Instant::now() >= end {
                return Ok(members);
            }
            tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LOOK_EVERY.1);
        }
    }
}

/// A descriptor of the process, if the number still names the one that was started then.
///
/// # Errors
/// `ESRCH` when it is gone.
pub fn open(pid: i32, started: u64) -> rustix::io::Result<OwnedFd> {
    let number = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    let descriptor = pidfd_open(number, PidfdFlags::empty())?;
    // After opening: now the descriptor is fixed, and the look tells which process it is.
    match seen(pid) {
        Ok(Some(process)) if process.started == started => Ok(descriptor),
        Ok(_) => Err(rustix::io::Errno::SRCH),
        Err(error) => {
            Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        }
    }
}

fn signal_one(process: Seen, signal: Signal) -> rustix::io::Result<()> {
    pidfd_send_signal(open(process.pid, process.started)?.as_fd(), signal)
}

/// Looks at one process; `None` when there is none of that number.
///
/// # Errors
/// It could not be looked at.
pub fn seen(pid: i32) -> io::Result<Option<Seen>> {
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(line) => parse(pid, &line)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown /proc/PID/stat")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Ended between opening and reading.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The fields of `proc_pid_stat(5)` after the command name, which may itself hold spaces and `)`.
fn parse(pid: i32, line: &[u8]) -> Option<Seen> {
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?; // field 3
    let session = fields.nth(2)?.parse().ok()?; // field 6, after parent and group
    let started = fields.nth(15)?.parse().ok()?; // field 22
    Some(Seen { pid, session, started, dead: matches!(state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_full_of_traps() {
        let line = b"7 (a) S 1 (b)) R 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9\n";
        assert_eq!(parse(7, line), Some(Seen { pid: 7, session: 3, started: 4711, dead: false }));
        assert_eq!(parse(7, b"7 (short) R 1 2"), None);
        assert_eq!(parse(7, b""), None);
    }

    #[test]
    fn sees_itself() {
        let me = i32::try_from(std::process::id()).unwrap();
        let process = seen(me).unwrap().unwrap();
        assert!(!process.dead);
        assert!(process.started > 0);
        assert!(open(me, process.started).is_ok());
        assert_eq!(open(me, process.started + 1).unwrap_err(), rustix::io::Errno::SRCH);
        assert_eq!(seen(i32::MAX).unwrap(), None);
    }
}
