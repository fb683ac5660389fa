//! Running one of the server's own programs to its end.

use std::process::ExitStatus;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use super::trouble::Trouble;

/// As much of what a program says about itself is kept.
const SAID_MAX: usize = 16 << 10;

/// How a program ended, and the end of what it said on standard error.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) said: String,
}

impl Ended {
    /// The failure as trouble, in the program's own last words.
    pub(super) fn succeeded(self, program: &'static str) -> Result<String, Trouble> {
        match self.status.success() {
            true => Ok(self.said),
            false => Err(self.trouble(program)),
        }
    }

    /// The failure as trouble, in the program's own last words.
    pub(super) fn trouble(&self, program: &'static str) -> Trouble {
        let said = self.said.lines().rev().find(|line| !line.trim().is_empty());
        let said = said.unwrap_or_default().trim().to_owned();
        Trouble::Program { program, status: self.status, said }
    }
}

/// Runs it; every line of its output and of its messages is shown to whom it may concern. Dropping
/// the future kills it.
pub(super) async fn run(
    mut command: Command,
    program: &'static str,
    mut out: impl FnMut(&str),
    mut message: impl FnMut(&str),
) -> Result<Ended, Trouble> {
    let started = command.spawn().map_err(|error| Trouble::NoProgram { program, error });
    let mut child = started?;
    let mut said = String::new();
    let keep = |line: &str| {
        message(line);
        said.push_str(line);
        said.push('\n');
        if said.len() > SAID_MAX {
            let cut = said.len() - SAID_MAX;
            let cut = (cut..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(cut);
            said.drain(..cut);
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (one, other) = tokio::join!(lines(stdout, &mut out), lines(stderr, keep));
    one.and(other)?;
    let status = child.wait().await?;
    Ok(Ended { status, said })
}

/// Progress is told with carriage returns on a terminal only, so lines end as lines do.
async fn lines(
    pipe: Option<impl AsyncRead + Unpin>,
    mut each: impl FnMut(&str),
) -> Result<(), Trouble> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        for part in String::from_utf8_lossy(&line).split(['\r', '\n']) {
            if !part.is_empty() {
                each(part);
            }
        }
        line.clear();
    }
    Ok(())
}
