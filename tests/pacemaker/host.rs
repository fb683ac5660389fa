//! One host: network, mount, process, name and IPC namespaces of its own. Everything on it dies
//! with its init, as on a machine that loses power.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::network::NODES;

/// Longer than anything that is asked of a host takes.
const COMMAND_S: u32 = 120;

/// A running host.
pub struct Host {
    unshare: Child,
    init: u32,
}

impl Host {
    /// Boots it in an existing network namespace; `files` is its disk, `lab` what is installed.
    pub fn boot(node: usize, namespace: &str, files: &Path, lab: &Path) -> anyhow::Result<Host> {
        let init = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pacemaker/host-init");
        // A test that is killed takes its hosts with it.
        let mut unshare = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter", &format!("--net=/run/netns/{namespace}")])
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"])
            .args([init, NODES[node]])
            .args([files, lab])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(files.join("init.log"))?)
            .spawn()
            .context("start a host (package util-linux)")?;
        let stdout = unshare.stdout.take().context("standard output was piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children).unwrap_or_default().trim().parse();
        let host = Host { unshare, init: init.unwrap_or_default() };
        let said = fs::read_to_string(files.join("init.log")).unwrap_or_default();
        ensure!(line.trim() == "ready" && host.init > 1, "{} did not boot: {said}", NODES[node]);
        Ok(host)
    }

    /// A command inside, as root, with nothing of the caller's environment; it ends in bounded time.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", &COMMAND_S.to_string()])
            .args(["nsenter", "-t", &self.init.to_string(), "-m", "-u", "-i", "-n", "-p", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C")
            .current_dir("/");
        command
    }

    /// The processes of this command name, seen from outside.
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space(self.init);
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| own.is_some() && space(pid) == own)
            .filter(|pid| {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
                comm.is_ok_and(|comm| comm.trim() == name)
            })
            .collect()
    }
}

impl Drop for Host {
    /// Its end is seen: the init is reaped after the last of its processes.
    fn drop(&mut self) {
        let init = nix::unistd::Pid::from_raw(self.init as i32);
        if self.init > 1 {
            let _ = nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL);
        } else {
            let _ = self.unshare.kill();
        }
        let _ = self.unshare.wait();
    }
}
