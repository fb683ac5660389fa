//! Running the administrator's own command to its end: its output as it comes, its complaint when it
//! fails. It and what it started are killed when time is up and when nobody waits any more.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Of what it says on standard error the last so many bytes are kept.
const WORDS: usize = 400;
/// What the daemon's environment has and the command finds; the rest is the daemon's own.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];

/// Why a command told nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{program} cannot be started: {error}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// Its output could not be read.
    #[error("{program} cannot be read: {error}")]
    Read {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// It was killed.
    #[error("{program} did not end within {limit:?}, and was killed")]
    TooLong {
        /// The program.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It ended badly.
    #[error("{program} failed ({status}){words}")]
    Failed {
        /// The program.
        program: String,
        /// How.
        status: ExitStatus,
        /// Its own last words.
        words: String,
    },
}

pub(super) async fn run(
    command: &[String],
    input: &[u8],
    limit: Duration,
    out: impl FnMut(&[u8]),
) -> Result<(), CommandError> {
    let program = command.first().cloned().unwrap_or_default();
    match timeout(limit, to_its_end(command, &program, input, out)).await {
        Ok(ended) => ended,
        Err(_time_is_up) => Err(CommandError::TooLong { program, limit }),
    }
}

async fn to_its_end(
    command: &[String],
    program: &str,
    input: &[u8],
    mut out: impl FnMut(&[u8]),
) -> Result<(), CommandError> {
    let child = Command::new(program)
        .args(command.get(1..).unwrap_or_default())
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| CommandError::Start { program: program.to_owned(), error })?;
    let mut group = Group(child);
    let child = &mut group.0;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut words = Vec::new();
    let tell = async {
        if let Some(mut stdin) = stdin {
            // It may end without having read everything: its exit code tells what came of it.
            let _ = stdin.write_all(input).await;
        }
    };
    let keep = |bytes: &[u8]| {
        words.extend_from_slice(bytes);
        if words.len() > WORDS {
            words.drain(..words.len() - WORDS);
        }
    };
    let ((), said, complained) = tokio::join!(tell, pieces(stdout, &mut out), pieces(stderr, keep));
    let read = |error| CommandError::Read { program: program.to_owned(), error };
    said.and(complained).map_err(read)?;
    let status = child.wait().await.map_err(read)?;
    if status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&words);
    let last = words.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let words =
        last.map_or(String::new(), |line| format!(": {}", line.replace(char::is_control, " ")));
    Err(CommandError::Failed { program: program.to_owned(), status, words })
}

async fn pieces(
    pipe: Option<impl AsyncRead + Unpin>,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut buffer = vec![0; 16 << 10];
    loop {
        match pipe.read(&mut buffer).await? {
            0 => return Ok(()),
            read => each(&buffer[..read]),
        }
    }
}

/// Dropping it kills the whole group. Its leader is not reaped before that, unless it has ended by
/// itself and closed its outputs: then nobody of the group is to be expected.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Gone already is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
