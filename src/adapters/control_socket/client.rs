//! The other end of the control socket, for the command line: asks, waits, and tells apart why no
//! answer came. Blocking; it needs no runtime.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::message::{Reply, Verb};

/// Longest reply that is read, in bytes.
const REPLY: u64 = 16 * 1024 * 1024;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or nobody behind it.
    #[error(
        "the daemon is not running (nobody listens at {0}); start it with `systemctl start duotone`"
    )]
    NotRunning(PathBuf),
    /// The socket may not be opened.
    #[error("no permission to open {0}; use sudo, or be in the socket's group")]
    NoPermission(PathBuf),
    /// The daemon went away before it answered.
    #[error("the daemon ended before it answered")]
    Ended,
    /// Nothing came in time: the daemon hangs, or takes long.
    #[error("the daemon did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// What came is no reply.
    #[error("the daemon's answer is not understood; is it of another version?")]
    NotUnderstood,
    /// Something else.
    #[error("cannot talk to the daemon at {path}: {source}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Asks the daemon behind `socket`; `args` are the verb's arguments.
///
/// # Errors
/// No reply came, and why. A refusal or denial is a [`Reply`].
pub fn ask(
    socket: &Path,
    verb: Verb,
    mut args: Map<String, Value>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => AskError::NoPermission(socket.to_owned()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::NoAnswer(patience),
        io::ErrorKind::ConnectionReset => AskError::Ended,
        _ => AskError::System { path: socket.to_owned(), source },
    };
    args.insert("verb".into(), verb.word().into());
    let mut line = Value::Object(args).to_string().into_bytes();
    line.push(b'\n');
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    match stream.write_all(&line) {
        // It may have been refused unread (too many connections): the reply says so.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(failed)?,
    }
    let mut reply = Vec::new();
    BufReader::new(stream.take(REPLY)).read_until(b'\n', &mut reply).map_err(failed)?;
    if reply.is_empty() {
        return Err(AskError::Ended);
    }
    Reply::from_line(&reply).ok_or(AskError::NotUnderstood)
}
