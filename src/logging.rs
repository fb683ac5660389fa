//! Where the log goes: the journal when systemd started this process, else standard error with
//! milliseconds of the boot-time clock; and syslog as well when the configuration says so.
//!
//! Only the slow world logs. A syslog daemon that is gone or stuck never blocks or fails the
//! caller: what could not be sent is counted, and the count is logged when it is back.

use std::fmt::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as stderr};

/// The variable that says what is logged (`info` by default), in tracing's own notation.
const FILTER: &str = "DUOTONE_LOG";

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be understood.
    #[error("{FILTER}: {0}; write error, warn, info, debug or trace")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The journal cannot be reached although systemd promised it.
    #[error("the journal cannot be reached: {0}")]
    Journal(std::io::Error),
    /// It was set up before.
    #[error("the log is already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets the process's log up; `syslog` sends it there as well.
///
/// # Errors
/// The filter is wrong, the journal is unreachable, or the log was set up before.
pub fn start(syslog: bool) -> Result<(), Error> {
    let filter = match std::env::var(FILTER) {
        Ok(words) => EnvFilter::try_new(words)?,
        Err(_) => EnvFilter::new("info"),
    };
    let journal = match under_journal() {
        true => Some(tracing_journald::layer().map_err(Error::Journal)?.with_field_prefix(None)),
        false => None,
    };
    let lines = journal.is_none().then(|| {
        stderr::layer().with_writer(std::io::stderr).with_timer(BootTime).with_target(false)
    });
    let lines =
        lines.map(|lines| lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())));
    let syslog = syslog.then(|| Syslog::new(None));
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(lines)
        .with(syslog)
        .try_init()?;
    Ok(())
}

/// Whether standard error is the journal's: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)), and a child whose stderr was redirected inherits the variable all the same.
pub fn under_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(about) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", about.dev(), about.ino())
}

/// Milliseconds of the boot-time clock, the clock of every time in the program.
struct BootTime;

impl FormatTime for BootTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        write!(writer, "{}.{:03}", now.tv_sec, now.tv_nsec / 1_000_000)
    }
}

/// How bad it is what people are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// For programs; stable.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// A layer that sends every event to the local syslog daemon, and connects anew after an error.
pub struct Syslog {
    /// Another socket than the system's.
    path: Option<PathBuf>,
    facility: Facility,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logger: Option<Logger<LoggerBackend, Formatter3164>>,
    lost: u64,
}

impl Syslog {
    /// Sends to `path`, or to where the system's syslog daemon listens.
    pub fn new(path: Option<&Path>) -> Syslog {
        Syslog::with_facility(path, "daemon")
    }

    /// The same with a facility in the words of syslog(3); one that is none is `daemon`.
    pub fn with_facility(path: Option<&Path>, facility: &str) -> Syslog {
        let facility = facility.parse().unwrap_or(Facility::LOG_DAEMON);
        Syslog { path: path.map(Path::to_owned), facility, state: Mutex::default() }
    }

    /// Sends one alert; a lost connection is made once more.
    ///
    /// # Errors
    /// Nobody takes it, or not now.
    pub fn alert(&self, severity: Severity, line: &str) -> Result<(), syslog::Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let once = |state: &mut State| {
            let logger = match &mut state.logger {
                Some(logger) => logger,
                None => state.logger.insert(self.connection()?),
            };
            let sent = match severity {
                Severity::Info => logger.info(line),
                Severity::Warning => logger.warning(line),
                Severity::Critical => logger.crit(line),
            };
            sent.inspect_err(|_| state.logger = None)
        };
        once(&mut state).or_else(|_| once(&mut state))
    }

    fn connection(&self) -> Result<Logger<LoggerBackend, Formatter3164>, syslog::Error> {
        let formatter = Formatter3164 {
            facility: self.facility,
            // The local daemon adds the host itself.
            hostname: None,
            process: "duotone".to_owned(),
            pid: std::process::id(),
        };
        let logger = match &self.path {
            Some(path) => syslog::unix_custom(formatter, path),
            None => syslog::unix(formatter),
        }?;
        // A stuck syslog daemon must not stop the caller.
        match &logger.backend {
            LoggerBackend::Unix(socket) => socket.set_nonblocking(true)?,
            LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(true)?,
            LoggerBackend::Udp(..) | LoggerBackend::Tcp(_) => {}
        }
        Ok(logger)
    }

    /// Sends one line; a lost connection is made once more, then the line counts as lost.
    fn send(&self, level: Level, line: &str) {
        // A panic while it was held left at worst half a connection.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            if state.logger.is_none() {
                state.logger = self.connection().ok();
            }
            let lost = state.lost;
            let Some(logger) = &mut state.logger else { break };
            let told = match lost {
                0 => Ok(()),
                _ => logger.warning(format!("{lost} messages could not be sent to syslog")),
            };
            if told.and_then(|()| sent(logger, level, line)).is_ok() {
                state.lost = 0;
                return;
            }
            state.logger = None;
        }
        state.lost += 1;
    }
}

fn sent(
    logger: &mut Logger<LoggerBackend, Formatter3164>,
    level: Level,
    line: &str,
) -> Result<(), syslog::Error> {
    match level {
        Level::ERROR => logger.err(line),
        Level::WARN => logger.warning(line),
        Level::INFO => logger.info(line),
        Level::DEBUG | Level::TRACE => logger.debug(line),
    }
}

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.send(*event.metadata().level(), &line.0);
    }
}

/// An event in one line: its message first, then its fields.
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => {
                let rest = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{rest}")
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn listen(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        socket
    }

    #[test]
    fn syslog_is_connected_anew_and_told_what_was_lost() {
        let path = std::env::temp_dir().join(format!("duotone-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let first = listen(&path);
        let subscriber = tracing_subscriber::registry().with(Syslog::new(Some(&path)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(term = "5a", "one");
            // Facility daemon (3), severity warning (4).
            let line = received(&first);
            assert!(line.starts_with("<28>") && line.ends_with(": one term=\"5a\""), "{line}");
            drop(first);
            std::fs::remove_file(&path).expect("removed");
            tracing::info!("two");
            let second = listen(&path);
            tracing::info!("three");
            assert!(received(&second).ends_with(": 1 messages could not be sent to syslog"));
            assert!(received(&second).ends_with(": three"));
        });
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_stuck_syslog_daemon_does_not_block() {
        let path = std::env::temp_dir().join(format!("duotone-stuck-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _never_read = listen(&path);
        let layer = Syslog::new(Some(&path));
        for _ in 0..10_000 {
            layer.send(Level::INFO, "filling the queue");
        }
        assert!(layer.state.lock().expect("not poisoned").lost > 0);
        std::fs::remove_file(&path).expect("removed");
    }
}
