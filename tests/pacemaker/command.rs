//! Commands that end: each within its time, with what it said where it failed.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Runs a command with `input`; its standard output.
pub fn run_with(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {said} {}", output.status, complaint.trim());
    }
    Ok(said)
}

/// Asks again and again until it is so; how long that took.
pub fn soon(
    what: &str,
    patience: Duration,
    so: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        match so() {
            Ok(true) => return Ok(began.elapsed()),
            seen if began.elapsed() > patience => {
                bail!("not within {patience:?}: {what}: {seen:?}")
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
