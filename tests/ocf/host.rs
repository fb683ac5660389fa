//! A host of a cluster for one test: a network namespace, a scratch directory, a resource in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Ethernet;

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub const DUOTONE: &str = env!("CARGO_BIN_EXE_duotone");
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// A host "a" with a neighbour "b" on its LAN, and the resource that is tried.
pub struct Host {
    pub ethernet: Ethernet,
    /// The resource, whose name stands in the command line of all that belongs to it.
    pub name: String,
    pub directory: PathBuf,
    pub agent: String,
    pub parameters: BTreeMap<String, String>,
    /// Of the parameters that the cluster adds (`OCF_RESKEY_CRM_meta_…`).
    pub meta: BTreeMap<String, String>,
    pub program: String,
}

/// What an action answered.
pub struct Answered {
    pub code: i32,
    pub words: String,
}

impl Host {
    /// `None`, with a message, for anybody but root.
    pub fn new(agent: &str) -> Option<Host> {
        let ethernet = Ethernet::new(&["a", "b"])?;
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        // No name begins with another.
        let name = format!("dto-{}-{number}x", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        Some(Host {
            ethernet,
            name,
            directory,
            agent: agent.to_owned(),
            parameters: BTreeMap::new(),
            meta: BTreeMap::new(),
            program: DUOTONE.to_owned(),
        })
    }

    /// The same with parameters, `name=value`.
    pub fn with(agent: &str, parameters: &[(&str, &str)]) -> Option<Host> {
        let mut host = Host::new(agent)?;
        for (name, value) in parameters {
            let value = host.filled_in(value);
            host.parameters.insert((*name).to_owned(), value);
        }
        Some(host)
    }

    /// The words with what only this host knows.
    pub fn filled_in(&self, words: &str) -> String {
        words
            .replace("$SERVICE", &format!("{ROOT}/tests/ocf/service"))
            .replace("$NAME", &self.name)
            .replace("$DIR", &self.directory.display().to_string())
    }

    /// A command inside of the host `of` ("a", "b", or "lan", the switch).
    pub fn inside(&self, of: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ethernet.namespace(of)]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// A command on the host where the agents are installed: the directory of the others lies under
    /// ours.
    pub fn with_agents(&self, words: &[&str]) -> Command {
        let ours = self.directory.join("resource.d");
        std::fs::create_dir_all(ours.join("duotone")).unwrap();
        for entry in std::fs::read_dir(format!("{ROOT}/ocf")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, ours.join("duotone").join(path.file_name().unwrap())).unwrap();
        }
        let script = "mount -t overlay overlay -o \"lowerdir=$0:/usr/lib/ocf/resource.d\" \
                      /usr/lib/ocf/resource.d && exec \"$@\"";
        let ours = ours.display().to_string();
        let mut all = vec!["unshare", "--mount", "bash", "-c", script, &ours];
        all.extend(words);
        let mut command = self.inside("a", &all);
        command.env("DUOTONE", &self.program);
        command
    }

    /// One action, as the cluster's executor calls it.
    pub fn action(&self, action: &str) -> Command {
        self.action_of(&format!("{ROOT}/ocf/{}", self.agent), action)
    }

    pub fn action_of(&self, file: &str, action: &str) -> Command {
        let mut command = self.inside("a", &[file, action]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("OCF_ROOT", "/usr/lib/ocf").env("OCF_RESOURCE_INSTANCE", &self.name);
        command.env("DUOTONE", &self.program);
        for (name, value) in &self.parameters {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        for (name, value) in &self.meta {
            command.env(format!("OCF_RESKEY_CRM_meta_{name}"), value);
        }
        command
    }

    pub fn answers(&self, action: &str, depth: &str) -> Answered {
        let output = self.action(action).env("OCF_CHECK_LEVEL", depth).output().unwrap();
        Answered { code: output.status.code().unwrap_or(-1), words: text(&output.stderr) }
    }

    /// The processes that have the resource's name in their command line, oldest first; those of
    /// the test itself do not.
    pub fn processes(&self) -> Vec<i32> {
        let mut found: Vec<(u64, i32)> = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let started = duotone::adapters::process::session::seen(pid);
            if let Ok(Some(seen)) = started
                && !seen.dead
                && String::from_utf8_lossy(&line).contains(&self.name)
            {
                found.push((seen.started, pid));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    pub fn kill(&self, pids: &[i32]) {
        for pid in pids {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        crate::netns::eventually("what was killed is gone", || {
            let left = self.processes();
            !pids.iter().any(|pid| left.contains(pid))
        });
    }

    /// What the agents wrote down about this host's network namespace.
    pub fn records(&self) -> PathBuf {
        self.ethernet.within("a", || duotone::adapters::owner::directory().unwrap())
    }

    /// Nothing of the resource is in the kernel, runs, or is on record.
    pub fn nothing_is_left(&self) -> Result<(), String> {
        let addresses = self.ethernet.ip("a", "-o address show dev eth0");
        let processes = self.processes();
        let records: Vec<_> = std::fs::read_dir(self.records())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
            .filter(|path| is_record(path))
            .collect();
        let address = addresses.contains("192.0.2.1") || addresses.contains("2001:db8::1");
        if address || !processes.is_empty() || !records.is_empty() {
            return Err(format!("left: {addresses} {processes:?} {records:?}"));
        }
        Ok(())
    }
}

/// Of a resource that is started, not the empty file whose lock somebody tried.
fn is_record(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.len() > 0)
}

impl Drop for Host {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Ok(records) = self.ethernet_records() {
            let _ = std::fs::remove_dir_all(records);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Host {
    /// As [`Host::records`], and no panic while another one is under way.
    fn ethernet_records(&self) -> std::io::Result<PathBuf> {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.ethernet.enter("a");
                duotone::adapters::owner::directory()
            });
            entered.join().unwrap_or_else(|_| Err(std::io::ErrorKind::NotFound.into()))
        })
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command said, when it succeeded.
pub fn succeeds(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(text(&stdout)),
        false => Err(format!("{command:?}: {status}\n{}{}", text(&stdout), text(&stderr))),
    }
}
