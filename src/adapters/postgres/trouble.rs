//! Why something could not be seen or done.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// Why the last look or deed fell short; for the log, never for a decision (the node decides by
/// what was seen).
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The log has left the peer's, and bringing it back is not in this version.
    #[error("the log has left the peer's; rebuild this standby from the peer")]
    CannotRejoin,
    /// The server's socket does not accept.
    #[error("cannot connect to {socket}: {error}")]
    Connect {
        /// The Unix socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The server refused the connection or a statement, or closed the connection.
    #[error("PostgreSQL, {doing}: {}", said(.error))]
    Server {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        error: tokio_postgres::Error,
    },
    /// The server did not answer in time.
    #[error("PostgreSQL did not answer within {} ms, {doing}", .after.as_millis())]
    Overdue {
        /// What was asked.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server's answer lacks something.
    #[error("PostgreSQL's answer lacks a valid {0}")]
    Answer(&'static str),
    /// The socket leads to another server.
    #[error(
        "the server behind the socket has data directory {found}, not {expected}: correct \
         socket_dir, port or data_dir in [postgres]"
    )]
    OtherServer {
        /// Its data directory.
        found: String,
        /// The configured one.
        expected: PathBuf,
    },
    /// A setting was written and the server goes on with another value.
    #[error(
        "{0} was written to postgresql.auto.conf and does not come into force: it is set on the \
         server's command line, or the server cannot reload its configuration"
    )]
    NotApplied(&'static str),
    /// A file of the cluster could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Processes could not be looked at or signalled.
    #[error("server processes: {0}")]
    Processes(#[from] io::Error),
    /// The server still has processes after it was stopped and killed.
    #[error("{0} server processes are still there after SIGKILL (a hung disk?)")]
    StillRunning(usize),
    /// An orderly shutdown is under way.
    #[error(
        "the server is shutting down in order and has {0} processes left: it waits for its standby \
         to receive the rest of the log"
    )]
    StillStopping(usize),
    /// The server ended instead of answering.
    #[error("the server ended while starting: {0}; its own log says why")]
    Ended(ExitStatus),
    /// There is no such user.
    #[error("os_user {0} does not exist")]
    NoUser(String),
    /// Starting it in place would make a standby a primary.
    #[error("{0} is there: this cluster was last a standby and is not started as a primary")]
    WasStandby(PathBuf),
    /// It is a standby, and was to be started as the primary that it was.
    #[error("the server runs as a standby: it is promoted, not started in place")]
    IsStandby,
    /// A blocking thread was lost.
    #[error("a blocking thread did not finish")]
    Thread,
}

impl Trouble {
    /// The server said that it is starting up or shutting down.
    pub(super) fn is_cannot_connect_now(&self) -> bool {
        match self {
            Trouble::Server { error, .. } => error.code() == Some(&SqlState::CANNOT_CONNECT_NOW),
            _ => false,
        }
    }

    /// The connection was lost, which says nothing yet about the server.
    pub(super) fn is_lost_connection(&self) -> bool {
        match self {
            Trouble::Server { error, .. } => error.is_closed() || error.code().is_none(),
            _ => false,
        }
    }
}

/// The server's own words, which `tokio_postgres::Error` leaves to its source.
fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{}: {}", answer.severity(), answer.message()),
        None => error.to_string(),
    }
}
