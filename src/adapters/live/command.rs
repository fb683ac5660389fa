//! The administrator's own command, run to its end: its output as it comes, its complaint when it
//! fails.

use std::time::Duration;

use crate::adapters::process::once::{self, Errand};
use crate::adapters::process::{Exit, StartError};

/// Why a command told nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its output was not seen to end.
    #[error("{program} left somebody behind who holds its output")]
    Unread {
        /// The program.
        program: String,
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
    #[error("{program} {exit}{words}")]
    Failed {
        /// The program.
        program: String,
        /// How.
        exit: Exit,
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
    let errand = Errand { command: command.to_vec(), ..Errand::default() };
    let ended = once::read(errand, input, limit, out).await?;
    match ended.exit {
        Some(Exit::Code(0)) if ended.whole => Ok(()),
        Some(Exit::Code(0)) => Err(CommandError::Unread { program }),
        Some(exit) => Err(CommandError::Failed { program, exit, words: ended.words(None) }),
        None => Err(CommandError::TooLong { program, limit }),
    }
}
