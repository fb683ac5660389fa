//! A program that runs to its end, within a limit and without leaving anybody behind: for agents,
//! which are told something on standard input, and for hooks, as `process` is for services.
//!
//! Its whole process group is killed when it has ended, when time is up, and when nobody waits for
//! it any more. A child that left the group is not found, and is not waited for either.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;

use super::starter::{self, Child};
use super::{Exit, StartError, exited};
use crate::config::Capability;

/// As much of what a program says is kept, of each of its two outputs.
const KEPT: usize = 4 << 10;
/// For what it said last to be read when it has ended; a child outside of its group may hold the
/// pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: it was killed because time was up.
    pub exit: Option<Exit>,
    /// The end of what it said on standard output.
    pub out: String,
    /// The end of what it said on standard error.
    pub err: String,
}

/// Runs `program` without arguments and with an empty environment but for `PATH`, `LC_ALL` and
/// `HOME`; `input` is what it reads. Dropping the future kills it.
///
/// # Errors
/// It could not be started, or not be watched.
pub async fn run(program: &Path, input: &[u8], limit: Duration) -> Result<Ended, StartError> {
    within(limit, starter::start_agent(program), input).await
}

/// A command, and who runs it.
#[derive(Clone, Debug)]
pub struct As<'a, E> {
    /// Program and arguments.
    pub command: &'a [String],
    /// Operating-system user, with all its groups.
    pub user: &'a str,
    /// What it may do although it is not root; it and its children, and nothing else.
    pub capabilities: &'a [Capability],
    /// Added to an environment of `PATH`, `LC_ALL`, `HOME`, `USER` and `LOGNAME`.
    pub environment: E,
}

/// Runs a command as a user, with nothing on standard input. Dropping the future kills it.
///
/// # Errors
/// It could not be started, or not be watched.
pub async fn run_as<'a, E>(run_as: As<'a, E>, limit: Duration) -> Result<Ended, StartError>
where
    E: Iterator<Item = &'a (String, String)>,
{
    let order = starter::Order {
        command: run_as.command.to_vec(),
        user: run_as.user.to_owned(),
        capabilities: run_as.capabilities.to_vec(),
        environment: run_as.environment.cloned().collect(),
    };
    within(limit, starter::start_as(order), &[]).await
}

async fn within(
    limit: Duration,
    start: impl Future<Output = Result<Child, StartError>>,
    input: &[u8],
) -> Result<Ended, StartError> {
    let (mut out, mut err) = (Tail::default(), Tail::default());
    let exit = match timeout(limit, to_its_end(start, input, &mut out, &mut err)).await {
        Ok(exit) => Some(exit?),
        Err(_time_is_up) => None,
    };
    Ok(Ended { exit, out: out.text(), err: err.text() })
}

async fn to_its_end(
    start: impl Future<Output = Result<Child, StartError>>,
    input: &[u8],
    out: &mut Tail,
    err: &mut Tail,
) -> Result<Exit, StartError> {
    let Child { pid, stdout, stderr, stdin } = start.await?;
    let group = Group(pid);
    let watched = || -> io::Result<_> {
        let stdin = stdin.map(Sender::from_owned_fd).transpose()?;
        let pipes = (Receiver::from_owned_fd(stdout)?, Receiver::from_owned_fd(stderr)?);
        Ok((group.leader()?, stdin, pipes))
    };
    let (leader, stdin, (stdout, stderr)) = watched().map_err(StartError::Watch)?;
    let mut talk = std::pin::pin!(async {
        tokio::join!(tell(stdin, input), keep(stdout, out), keep(stderr, err));
    });
    let mut silent = false;
    let exit = loop {
        tokio::select! {
            exit = exited(&leader) => break exit,
            () = talk.as_mut(), if !silent => silent = true,
        }
    };
    // What it left running goes with it, and so do their ends of the pipes.
    drop(group);
    if !silent {
        let _not_closed = timeout(LAST_WORDS, talk).await;
    }
    Ok(exit)
}

/// Runs a command that judges a service, with nothing on standard input, an empty environment as
/// above, and as `user`, if one is named. Dropping the future kills it.
///
/// # Errors
/// It could not be started, or not be watched.
pub async fn run_check(
    command: &[String],
    user: Option<&str>,
    limit: Duration,
) -> Result<Ended, StartError> {
    within(limit, starter::start_check(command, user), &[]).await
}

/// The process group of a child that is not reaped yet, so that its number is certainly its own.
/// Dropping it kills all of it.
struct Group(i32);

impl Group {
    fn leader(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let pid = Pid::from_raw(self.0).ok_or(rustix::io::Errno::SRCH)?;
        starter::watch(pidfd_open(pid, PidfdFlags::empty())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(pid) = Pid::from_raw(self.0) else { return };
        // It may be empty but for its leader, who waits to be reaped.
        let _ = kill_process_group(pid, Signal::KILL);
        let reap = move |options| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | options);
        if let Ok(None) = reap(WaitIdOptions::NOHANG) {
            // Killed a moment ago; one that hangs in the kernel is waited for where it holds
            // nobody up. Without a thread it stays a zombie, which harms nobody.
            let _ = std::thread::Builder::new()
                .name("reaper".into())
                .spawn(move || reap(WaitIdOptions::empty()));
        }
    }
}

/// It may end without having read everything: its exit code tells what came of it.
async fn tell(stdin: Option<Sender>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

async fn keep(mut pipe: Receiver, tail: &mut Tail) {
    let mut buffer = [0; 4096];
    // A pipe that cannot be read says no more than one that is closed.
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        tail.push(&buffer[..read]);
    }
}

/// The end of a stream, in whole lines: half a line could be half a password.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
            self.cut = true;
        }
    }

    fn text(&self) -> String {
        let first = self.bytes.iter().position(|&byte| byte == b'\n');
        let whole = match (self.cut, first) {
            (false, _) => &self.bytes[..],
            (true, Some(end)) => &self.bytes[end + 1..],
            (true, None) => &[],
        };
        String::from_utf8_lossy(whole).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_a_flood_are_kept() {
        let mut tail = Tail::default();
        tail.push(b"one\ntwo");
        assert_eq!(tail.text(), "one\ntwo");
        for _ in 0..10_000 {
            tail.push(b"password s3cret\n");
            assert!(tail.bytes.len() <= 2 * KEPT + 16);
        }
        assert!(tail.text().lines().all(|line| line == "password s3cret"), "{}", tail.text());
        let mut tail = Tail::default();
        tail.push(&[b'x'; 3 * KEPT]);
        assert_eq!(tail.text(), "", "a line without an end is no whole line");
        tail.push(b"\nlast");
        assert_eq!(tail.text(), "last");
    }
}
