//! Network namespaces by name, threads inside them, and commands run to their end.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

use super::run_directory;

/// Makes an empty named network namespace (recorded first).
pub fn create(name: &str) -> anyhow::Result<()> {
    run_directory::record_namespace(name)?;
    run("ip", &["netns", "add", name])
}

/// Removes a named network namespace; its interfaces go when its last process has gone.
pub fn delete(name: &str) -> anyhow::Result<()> {
    run("ip", &["netns", "delete", name])
}

/// Runs `job` on a thread of its own inside a network namespace.
///
/// # Errors
/// The namespace does not exist or may not be entered.
pub fn thread_in(
    namespace: &str,
    job: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let file = File::open(format!("/run/netns/{namespace}"))
        .with_context(|| format!("open the network namespace {namespace}"))?;
    let (entered, seen) = mpsc::channel();
    let thread = std::thread::Builder::new().name(namespace.to_owned()).spawn(move || {
        let outcome = setns(&file, CloneFlags::CLONE_NEWNET);
        let inside = outcome.is_ok();
        if entered.send(outcome).is_ok() && inside {
            job();
        }
    })?;
    seen.recv().context("the thread ended early")?.context("enter the network namespace")?;
    Ok(thread)
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or it fails; its own words are in the message.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run_with_input(Command::new(program).args(arguments), "").map(drop)
}

/// Runs a command with `input` on its standard input; returns its standard output.
pub fn run_with_input(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
