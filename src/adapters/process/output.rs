//! What a service prints, as log lines: bounded in length and in number, so that a chatty service
//! hurts neither the daemon nor the journal. It is always read, so that the service never blocks.
//! Where the daemon logs to the journal, it is there under the service's own name
//! (`journalctl -t NAME`); elsewhere in the daemon's log.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Longest line that is passed on, in bytes.
const LINE: usize = 1000;
/// Most lines that are passed on in one [`WINDOW`].
const LINES: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// Where the journal takes streams of lines.
pub const JOURNAL: &str = "/run/systemd/journal/stdout";

/// A stream into the journal under this name (sd_journal_stream_fd(3)).
///
/// # Errors
/// There is no journal, or it takes none.
pub fn journal(name: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(JOURNAL)?;
    stream.shutdown(Shutdown::Read)?;
    // Name, unit, priority 6 (informational), no prefixes, not to syslog, not to the kernel's log,
    // not to the console.
    write!(stream, "{name}\n\n6\n0\n0\n0\n0\n")?;
    Ok(stream)
}

/// Logs everything that comes out of `pipe`: to the journal under the service's name, or with
/// target `duotone::service` and field `service`.
///
/// # Errors
/// The pipe could not be watched.
pub fn log(pipe: OwnedFd, service: String) -> io::Result<()> {
    let mut pipe = Receiver::from_owned_fd(pipe)?;
    let stream = || {
        let stream = journal(&service)?;
        // A journal that stands still must not hold anybody up: what it does not take is lost.
        stream.set_nonblocking(true).map(|()| stream)
    };
    let mut journal = crate::logging::under_journal().then(stream).and_then(Result::ok);
    tokio::spawn(async move {
        let mut lines = Lines::new(Instant::now());
        let mut buffer = [0; 4096];
        loop {
            let (read, ended) = match pipe.read(&mut buffer).await {
                Ok(0) => (0, true),
                Ok(read) => (read, false),
                Err(error) => {
                    tracing::warn!(target: "duotone::service", service, %error, "output lost");
                    (0, true)
                }
            };
            let mut out = lines.push(&buffer[..read], Instant::now());
            if ended {
                out.extend(lines.end());
            }
            for line in out {
                let whole = format!("{line}\n");
                match journal.as_mut().map(|journal| journal.write_all(whole.as_bytes())) {
                    Some(Ok(())) => {}
                    Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // One that is gone does not come back on this stream.
                    Some(Err(_)) | None => {
                        journal = None;
                        tracing::info!(target: "duotone::service", service, "{line}");
                    }
                }
            }
            if ended {
                return;
            }
        }
    });
    Ok(())
}

/// Cuts a stream of bytes into lines fit for a log.
struct Lines {
    line: Vec<u8>,
    cut: bool,
    window: Instant,
    passed: u32,
    dropped: u64,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Lines { line: Vec::new(), cut: false, window: now, passed: 0, dropped: 0 }
    }

    fn push(&mut self, bytes: &[u8], now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        if now.duration_since(self.window) >= WINDOW {
            out.extend(self.confess());
            (self.window, self.passed) = (now, 0);
        }
        for &byte in bytes {
            if byte == b'\n' {
                out.extend(self.finish());
            } else if self.line.len() < LINE {
                self.line.push(byte);
            } else {
                self.cut = true;
            }
        }
        out
    }

    fn end(&mut self) -> Vec<String> {
        let last = if self.line.is_empty() { None } else { self.finish() };
        last.into_iter().chain(self.confess()).collect()
    }

    fn finish(&mut self) -> Option<String> {
        let (line, cut) = (std::mem::take(&mut self.line), std::mem::take(&mut self.cut));
        if self.passed >= LINES {
            self.dropped += 1;
            return None;
        }
        self.passed += 1;
        let mut text = String::new();
        for c in String::from_utf8_lossy(&line).trim_end_matches('\r').chars() {
            // A service must not be able to move the reader's cursor.
            if c.is_control() && c != '\t' { text.extend(c.escape_default()) } else { text.push(c) }
        }
        if cut {
            text.push('…');
        }
        Some(text)
    }

    fn confess(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| format!("({dropped} lines dropped)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_cleaned_and_counted() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        assert_eq!(lines.push(b"one\r\ntw", start), ["one"]);
        assert_eq!(lines.push(b"o \x1b[2J\n", start), ["two \\u{1b}[2J"]);

        let long = lines.push(&[b'x'; 5000], start);
        assert!(long.is_empty());
        let long = lines.push(b"\n", start);
        assert_eq!(long[0].chars().count(), LINE + 1);

        let flood = lines.push(&b"y\n".repeat(1000), start);
        assert_eq!(flood.len(), LINES as usize - 3);
        let later = lines.push(b"z\n", start + WINDOW);
        assert_eq!(later, ["(803 lines dropped)", "z"]);
        assert_eq!(lines.push(b"unfinished", start + WINDOW), Vec::<String>::new());
        assert_eq!(lines.end(), ["unfinished"]);
    }
}
