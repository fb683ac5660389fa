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
    /// One of the server's programs could not be run.
    #[error("{program}: {error}: correct bin_dir in [postgres]")]
    NoProgram {
        /// Which.
        program: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// One of the server's programs failed.
    #[error("{program} failed ({status}): {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last words.
        said: String,
    },
    /// The peer's server belongs to another cluster.
    #[error("the peer's cluster has system identifier {peer}, the local one {local}")]
    OtherSystem {
        /// Here.
        local: u64,
        /// There.
        peer: u64,
    },
    /// A rejoin was begun on a server that does not come up.
    #[error("the log's end cannot be seen: the server does not come up as a standby")]
    NotUp,
    /// The files of a losing branch are not all here any more.
    #[error("the log since {0} is not complete any more: raise wal_keep_size")]
    BranchIncomplete(String),
    /// Both logs have the same timelines.
    #[error("both logs have the same timelines; where they parted cannot be seen")]
    SameTimeline,
    /// `pg_rewind` ended well and the directory is not what it should be.
    #[error("pg_rewind ended without error, and the cluster is {0}")]
    NotRewound(&'static str),
    /// The files of the cluster are being replaced.
    #[error("a rejoin of {0} is not finished: it has to be finished first")]
    Unfinished(PathBuf),
    /// The rows could not be salvaged.
    #[error(transparent)]
    Salvage(#[from] crate::adapters::salvage::rows::ReadError),
    /// The salvage could not be written.
    #[error(transparent)]
    SalvageFiles(#[from] crate::adapters::salvage::FilesError),
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
