//! One run of a hook: started as its user, told what happened in its environment, waited for within
//! its time.

use std::time::{Duration, Instant};

use super::process::once::{self, Ended, Errand};
use super::process::{Exit, StartError};
use crate::config::Hook;

/// Of what it printed, so many lines are kept ...
const LINES: usize = 8;
/// ... and of each so many characters.
const WIDTH: usize = 300;

/// What came of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub result: Ending,
    /// The last lines of what it printed, of its errors before its other output.
    pub output: Vec<String>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By itself.
    Exited(Exit),
    /// It was killed when this time was up.
    TimedOut(Duration),
    /// It did not begin, and why.
    NotStarted(String),
}

impl Ending {
    /// It said that all is well.
    pub fn is_good(&self) -> bool {
        *self == Ending::Exited(Exit::Code(0))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Exited(exit) => write!(f, "{exit}"),
            Ending::TimedOut(limit) => write!(f, "not done within {limit:?}: killed"),
            Ending::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}

/// Runs the hook to its end; `variables` are added to its environment. Dropping the future kills it.
pub async fn run(hook: &Hook, variables: &[(String, String)]) -> Ran {
    let started = Instant::now();
    let errand = Errand {
        command: hook.command.clone(),
        user: Some(hook.user.clone()),
        capabilities: hook.capabilities.clone(),
        environment: variables.iter().chain(&hook.environment).cloned().collect(),
    };
    let (result, output) = match once::run(errand, &[], hook.timeout).await {
        Ok(Ended { exit, out, err, .. }) => {
            let ending = exit.map_or(Ending::TimedOut(hook.timeout), Ending::Exited);
            (ending, lines(&err, &out))
        }
        Err(error) => (Ending::NotStarted(advice(hook, &error)), Vec::new()),
    };
    Ran { took: started.elapsed(), result, output }
}

fn advice(hook: &Hook, error: &StartError) -> String {
    let denied = matches!(error, StartError::Execute { source, .. }
        if source.kind() == std::io::ErrorKind::PermissionDenied);
    match denied {
        // Of the user and of the file: the kernel says the same of both.
        true => format!("{error}; may {} execute it, and may this process become {0}?", hook.user),
        false => error.to_string(),
    }
}

/// The last lines, errors first, fit for a log and a terminal.
fn lines(err: &str, out: &str) -> Vec<String> {
    let last = |text: &str, most: usize| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let skipped = lines.len().saturating_sub(most);
        lines[skipped..].iter().map(|line| shown(line)).collect::<Vec<_>>()
    };
    let mut kept = last(err, LINES);
    kept.extend(last(out, LINES - kept.len()));
    kept
}

fn shown(line: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    line.trim_end().chars().take(WIDTH).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_errors_first() {
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(lines("", &many)[LINES - 1], "line 99");
        assert_eq!(lines("no\x1b[2J\n\n", "one\ntwo\n"), ["no [2J", "one", "two"]);
        assert_eq!(lines(&many, "lost").len(), LINES);
        assert_eq!(shown(&"x".repeat(1000)).len(), WIDTH);
    }
}
