//! What does a command say of the service? 0: good; 1 to 125: bad. From 126 on it did not run or
//! was killed, as shells say it, and nothing is known; so with a command that cannot be started.
//!
//! One that does not end in time is bad: it ran, and waits for the service, as any other question
//! would. Its whole process group is killed then.

use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Bad, CouldNotRun};
use crate::adapters::process::Exit;
use crate::adapters::process::once::{self, Errand};
use crate::config::CommandProbe;

/// The greatest exit code that judges; 126 and 127 are the shell's "cannot".
const JUDGES_MAX: i32 = 125;

/// Runs it once.
pub async fn ask(probe: &CommandProbe, timeout: Duration) -> Answer {
    let asked = Instant::now();
    let errand =
        Errand { command: probe.command.clone(), user: probe.user.clone(), ..Errand::default() };
    let ended = match once::run(errand, &[], timeout).await {
        Ok(ended) => ended,
        Err(error) => return Answer::CouldNotRun(CouldNotRun::Command(error.to_string())),
    };
    match ended.exit {
        None => Answer::Bad(Bad::NoAnswer(timeout)),
        Some(Exit::Code(0)) => Answer::Good(asked.elapsed()),
        Some(Exit::Code(code @ 1..=JUDGES_MAX)) => {
            Answer::Bad(Bad::Exit { code, words: ended.words(None) })
        }
        Some(exit) => Answer::CouldNotRun(CouldNotRun::Command(format!(
            "the command {exit}{}",
            ended.words(None)
        ))),
    }
}
