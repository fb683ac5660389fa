//! What the exit status says. Scripts rely on these numbers; they do not change.

use std::fmt;
use std::process::ExitCode;

use crate::config::Errors;
use crate::config::key::KeyError;

/// The exit status of every verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done; or, of a question: yes.
    Ok = 0,
    /// Of a question (`is-active`, `fence status`, `demo`): no; `salvage merge`: not every row;
    /// `hooks run`, `alerts test`: it failed; `--when-idle`: calls were still up.
    No = 1,
    /// The command line is wrong (also clap's own status).
    Usage = 2,
    /// The configuration or the key file is wrong; everything wrong was printed.
    Configuration = 3,
    /// The daemon does not run, or does not answer.
    NotRunning = 4,
    /// This user may not do that.
    Permission = 5,
    /// The daemon refused; its reason was printed.
    Refused = 6,
    /// Anything else.
    Internal = 7,
}

impl Exit {
    /// Every status with its meaning, for the help text.
    pub const ALL: [(Exit, &'static str); 8] = [
        (Exit::Ok, "done; yes"),
        (
            Exit::No,
            "no (is-active: this node is not active; fence status: a device does not work; demo: a \
             promise was broken; salvage merge: some rows could not be put in; replay --compare: not \
             as recorded; hooks run: it failed; alerts test: one was not sent; switchover --when-idle: \
             calls were still up)",
        ),
        (Exit::Usage, "wrong command line"),
        (Exit::Configuration, "wrong configuration or key file"),
        (Exit::NotRunning, "the daemon does not run or does not answer"),
        (Exit::Permission, "permission missing"),
        (Exit::Refused, "refused by the daemon; the reason is printed"),
        (Exit::Internal, "anything else"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a verb failed; its text is what the user reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is wrong.
    #[error(transparent)]
    Configuration(#[from] Errors),
    /// A key file is wrong, or could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What the file says does not fit this host; the findings were printed.
    #[error("{0} finding(s) on this host; the file itself is valid (--file-only looks no further)")]
    Host(usize),
    /// Nobody listens.
    #[error(
        "the daemon is not running (nobody listens on {0}); start it with `systemctl start \
         duotone`, or pass --socket PATH"
    )]
    NotRunning(String),
    /// The same, of a witness.
    #[error(
        "the witness is not running (nobody listens on {0}); start it with `systemctl start \
         duotone-witness`, or pass --socket PATH"
    )]
    NoWitness(String),
    /// It listens and does not answer.
    #[error("the daemon does not answer on {0}: {1}; see `journalctl -u duotone`")]
    Silent(String, String),
    /// The socket, or the daemon, does not let this user do that.
    #[error("permission missing: {0}; run this as root (sudo)")]
    Denied(String),
    /// The daemon can be asked for it and says no.
    #[error("refused: {0}")]
    Refused(String),
    /// The daemon answered something that this version does not understand.
    #[error("the daemon's answer cannot be understood: {0}; do the versions match?")]
    Answer(String),
    /// The command line names something that is not there.
    #[error("{0}")]
    Usage(String),
    /// This binary was built without it.
    #[error("`{0}` is not built in")]
    NotBuiltIn(&'static str),
    /// Standard output could not be written.
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
    /// Whatever else a part of the program reports.
    #[error("{0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps the error of a part that has no place of its own here.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// The exit status that it means.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Key(KeyError::Denied(_)) | Error::Denied(_) => Exit::Permission,
            Error::Configuration(_) | Error::Key(_) | Error::Host(_) => Exit::Configuration,
            Error::NotRunning(_) | Error::NoWitness(_) | Error::Silent(..) => Exit::NotRunning,
            Error::Refused(_) => Exit::Refused,
            Error::Usage(_) => Exit::Usage,
            Error::Answer(_) | Error::NotBuiltIn(_) | Error::Output(_) | Error::Other(_) => {
                Exit::Internal
            }
        }
    }
}

/// The meanings of the exit status, as the help text shows them.
pub(super) struct Table;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exit status:")?;
        Exit::ALL.iter().try_for_each(|(exit, meaning)| write!(f, "\n  {}  {meaning}", *exit as u8))
    }
}
