//! A command that runs to its end, within a limit and without leaving anybody behind: for agents,
//! checks, hooks and lists, as `process` is for services.
//!
//! Its whole process group is killed when it has ended, when time is up, and when nobody waits for
//! it any more. A child that left the group is not found, and is not waited for either.

use std::io;
use std::os::fd::OwnedFd;
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

pub use super::starter::Errand;

/// As much of what a program says is kept, of each of its two outputs.
const KEPT: usize = 4 << 10;
/// Longest line of a command that is shown.
const WORDS: usize = 200;
/// For what it said last to be read when it has ended; a child outside of its group may hold the
/// pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: it was killed because time was up.
    pub exit: Option<Exit>,
    /// The end of what it said on standard output.
    pub out: String,
    /// The end of what it said on standard error.
    pub err: String,
    /// Everything that it said was read; false when somebody outside of its group holds its pipes.
    pub whole: bool,
}

impl Ended {
    /// The last line of what it said, errors before output, after a colon and fit for a log; empty
    /// when it said nothing. `secret` is left out of it.
    #[must_use]
    pub fn words(&self, secret: Option<&str>) -> String {
        let last = |text: &str| {
            let text = secret.map_or(text.to_owned(), |secret| text.replace(secret, "***"));
            text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
        };
        let shown = |line: String| line.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        let line: Option<String> = last(&self.err).or_else(|| last(&self.out)).map(shown);
        line.map_or(String::new(), |line| format!(": {line}"))
    }
}

/// Runs it; `input` is what it reads. Dropping the future kills it.
///
/// # Errors
/// It could not be started, or not be watched.
pub async fn run(errand: Errand, input: &[u8], limit: Duration) -> Result<Ended, StartError> {
    let mut out = Tail::default();
    let ended = read(errand, input, limit, |bytes| out.push(bytes)).await?;
    Ok(Ended { out: out.text(), ..ended })
}

/// The same, with standard output as it comes; `out` stays empty.
///
/// # Errors
/// As [`run`].
pub async fn read(
    errand: Errand,
    input: &[u8],
    limit: Duration,
    out: impl FnMut(&[u8]),
) -> Result<Ended, StartError> {
    let mut err = Tail::default();
    let ended = to_its_end(errand, input, out, |bytes| err.push(bytes));
    let (exit, whole) = match timeout(limit, ended).await {
        Ok(ended) => ended.map(|(exit, whole)| (Some(exit), whole))?,
        Err(_time_is_up) => (None, false),
    };
    Ok(Ended { exit, out: String::new(), err: err.text(), whole })
}

async fn to_its_end(
    errand: Errand,
    input: &[u8],
    out: impl FnMut(&[u8]),
    err: impl FnMut(&[u8]),
) -> Result<(Exit, bool), StartError> {
    let Child { pid, stdout, stderr, stdin } = starter::start_errand(errand).await?;
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
    let whole = silent || timeout(LAST_WORDS, talk).await.is_ok();
    Ok((exit, whole))
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

async fn keep(mut pipe: Receiver, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    // A pipe that cannot be read says no more than one that is closed.
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        each(&buffer[..read]);
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
    fn the_last_words_hold_no_password() {
        let words = |out: &str, err: &str, secret| {
            let (out, err) = (out.into(), err.into());
            Ended { exit: None, out, err, whole: true }.words(secret)
        };
        let said = words("Status: ON\n", "login\nbad s3cret!\x1b\n\n", Some("s3cret"));
        assert_eq!(said, ": bad ***!");
        assert_eq!(words("Status: ON\n", "", None), ": Status: ON");
        assert_eq!(words("", "\n", None), "");
    }

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
