//! The client side of the control socket: one line of JSON each way (unix(7) stream).

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::Error;

/// An answer longer than this is not one.
const LONGEST_ANSWER: u64 = 4 << 20;

/// Asks the daemon; returns the answer's `data`.
///
/// # Errors
/// Nobody listens or answers, permission is missing, the daemon refuses, or answers nonsense.
pub(super) fn ask(socket: &Path, request: &Value, patience: Duration) -> Result<Value, Error> {
    let mut stream = connect(socket, patience)?;
    let silent = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                format!("nothing within {} s", patience.as_secs())
            }
            _ => error.to_string(),
        };
        Error::Silent(socket.display().to_string(), why)
    };
    stream.write_all(format!("{request}\n").as_bytes()).map_err(silent)?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream).take(LONGEST_ANSWER);
    match reader.read_line(&mut line) {
        Ok(0) => Err(silent(std::io::Error::other("it closed the connection"))),
        Ok(_) if line.ends_with('\n') => answer(&line),
        Ok(_) => Err(Error::Answer("it is cut off or too long".to_owned())),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(Error::Answer("it is not text".to_owned()))
        }
        Err(error) => Err(silent(error)),
    }
}

fn connect(path: &Path, patience: Duration) -> Result<UnixStream, Error> {
    let shown = || path.display().to_string();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NotRunning(shown()),
        ErrorKind::PermissionDenied => Error::Denied(format!("{} cannot be opened", shown())),
        _ => Error::Silent(shown(), error.to_string()),
    };
    let address = SockAddr::unix(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // The send timeout also bounds the connect (a full backlog would block it for ever).
    socket.set_write_timeout(Some(patience)).map_err(failed)?;
    socket.set_read_timeout(Some(patience)).map_err(failed)?;
    socket.connect(&address).map_err(failed)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
}

fn answer(line: &str) -> Result<Value, Error> {
    let mut answer: Value =
        serde_json::from_str(line).map_err(|error| Error::Answer(error.to_string()))?;
    let sentence = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    match answer.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(answer.get_mut("data").map_or(Value::Null, Value::take)),
        Some(false) => Err(match (sentence("denied"), sentence("refused")) {
            (Some(why), _) => Error::Denied(why),
            (None, Some(why)) => Error::Refused(why),
            (None, None) => Error::Refused("no reason given".to_owned()),
        }),
        None => Err(Error::Answer("\"ok\" is missing".to_owned())),
    }
}
