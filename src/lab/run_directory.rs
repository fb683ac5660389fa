//! What one run of the lab leaves on the machine, written down before it is made, so that the next
//! run can clear away what a crash left: processes by recorded id and start time, namespaces by
//! exact name, one data directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock;

const STATE: &str = "/run/duotone-demo";
const DATA: &str = "/var/tmp";
const LOCK_PATIENCE_S: u64 = 300;

/// The one lab that may be up on this machine.
#[derive(Debug)]
pub struct RunDirectory {
    data: PathBuf,
    keep: bool,
    /// Released last.
    _lock: Flock<File>,
}

impl RunDirectory {
    /// Takes the machine's lab, clears what an earlier run left, and makes a fresh data directory.
    ///
    /// # Errors
    /// Another lab is running, or the state cannot be written.
    pub fn open() -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(STATE)
            .with_context(|| format!("create {STATE}"))?;
        let lock = take_lock()?;
        let cleared = clear_remains();
        if cleared > 0 {
            println!("cleared the remains of an earlier run ({cleared} processes)");
        }
        let data = PathBuf::from(DATA).join(format!("duotone-demo-{}", std::process::id()));
        write_state("data", data.to_string_lossy().as_bytes())?;
        fs::DirBuilder::new().mode(0o755).create(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
        Ok(RunDirectory { data, keep: false, _lock: lock })
    }

    /// Where this run keeps its files (on a real disk, so that an fsync costs what it costs).
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Leaves everything as it is; the next run clears it.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.keep {
            clear_remains();
        }
    }
}

/// Waits for another lab to end: its namespaces have the same names.
fn take_lock() -> anyhow::Result<Flock<File>> {
    let path = Path::new(STATE).join("lock");
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    for round in 0..LOCK_PATIENCE_S {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, _)) => file = back,
        }
        if round == 0 {
            println!("another demo is running on this machine; waiting for it");
        }
        clock::pause(Duration::from_secs(1))?;
    }
    bail!("another demo is running on this machine (it holds {STATE}/lock)")
}

/// Records a process of this run.
pub fn record_process(pid: u32) -> std::io::Result<()> {
    let Some(start) = start_time(pid) else { return Ok(()) };
    append("processes", &format!("{pid} {start}\n"))
}

/// Records a network namespace of this run.
pub fn record_namespace(name: &str) -> std::io::Result<()> {
    append("namespaces", &format!("{name}\n"))
}

fn append(name: &str, line: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(Path::new(STATE).join(name))?
        .write_all(line.as_bytes())
}

fn write_state(name: &str, content: &[u8]) -> std::io::Result<()> {
    fs::write(Path::new(STATE).join(name), content)
}

/// Kills, deletes and removes what the state directory names; returns how many processes lived.
fn clear_remains() -> usize {
    let read = |name: &str| fs::read_to_string(Path::new(STATE).join(name)).unwrap_or_default();
    let mut killed = Vec::new();
    for line in read("processes").lines() {
        let mut fields = line.split_whitespace().filter_map(|field| field.parse::<u64>().ok());
        if let (Some(pid), Some(start)) = (fields.next(), fields.next())
            && start_time(pid as u32) == Some(start)
            && kill(Pid::from_raw(pid as i32), Signal::SIGKILL).is_ok()
        {
            killed.push((pid as u32, start));
        }
    }
    for _ in 0..200 {
        // A zombie of our own is gone for this purpose; `start_time` says None for it.
        if killed.iter().all(|(pid, start)| start_time(*pid) != Some(*start)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for name in read("namespaces").lines().filter(|name| name.starts_with("dt-")) {
        if Path::new("/run/netns").join(name).exists() {
            let _ = std::process::Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
    let data = read("data");
    if data.starts_with(&format!("{DATA}/duotone-demo-")) {
        let _ = fs::remove_dir_all(data.trim());
    }
    for name in ["processes", "namespaces", "data"] {
        let _ = fs::remove_file(Path::new(STATE).join(name));
    }
    killed.len()
}

/// When a living process started (clock ticks since boot, proc(5) field 22): with the id it names
/// a process for good. `None` when there is none, or only its zombie.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_its_start() {
        let me = start_time(std::process::id());
        assert!(me.is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(u32::MAX), None);
    }
}
