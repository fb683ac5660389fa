//! One PBX host: network, mount, process, name and IPC namespaces of its own, with an init that
//! only reaps. Everything on it dies with that init, as on a machine that loses power.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, User};
use serde::{Deserialize, Serialize};

use crate::adapters::process;

use super::namespaces::run_with_input;
use super::run_directory::record_process;

/// Where a host finds its own files.
pub const INSIDE: &str = "/run/pbx";
/// The database's Unix socket, where libpq looks by default.
pub const DATABASE_SOCKET: &str = "/run/postgresql";

/// What the init of a host is told.
#[derive(Serialize, Deserialize)]
pub struct InitOrder {
    name: String,
    files: PathBuf,
}

/// A running host.
pub struct Host {
    /// `pbx-a` or `pbx-b`.
    pub name: String,
    /// Its files, as seen from outside.
    pub files: PathBuf,
    program: PathBuf,
    init: u32,
    processes: Vec<Child>,
}

impl Host {
    /// Boots a host in an existing network namespace; `files` becomes its `/run/pbx`.
    pub fn boot(name: &str, namespace: &str, files: &Path, program: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(files.join("socket"))?;
        let order = InitOrder { name: name.to_owned(), files: files.to_owned() };
        let mut unshare = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"])
            .arg(program)
            .args(["lab-host", &serde_json::to_string(&order)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Not the terminal's: a host may outlive the demo (a crash, --keep).
            .stderr(File::create(files.join("init.log"))?)
            .process_group(0)
            .spawn()
            .context("start a host with nsenter and unshare (package util-linux)")?;
        record_process(unshare.id())?;
        let stdout = unshare.stdout.take().context("standard output was piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let init = children_of(unshare.id()).first().copied();
        let mut host = Host {
            name: name.to_owned(),
            files: files.to_owned(),
            program: program.to_owned(),
            init: 0,
            processes: vec![unshare],
        };
        match (line.trim(), init) {
            ("ready", Some(init)) => {
                record_process(init)?;
                host.init = init;
                Ok(host)
            }
            (said, _) => bail!("the host {name} did not come up: {said}"),
        }
    }

    /// The `duotone` binary, the same inside and outside.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command inside the host, as root.
    pub fn command(&self, program: &str) -> Command {
        self.enter(&[], program)
    }

    /// A command inside the host, as the database's user.
    pub fn command_as_postgres(&self, program: &str) -> anyhow::Result<Command> {
        let user = postgres_user()?;
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        Ok(self.enter(&["-S", &uid, "-G", &gid], program))
    }

    fn enter(&self, options: &[&str], program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-u", "-i", "-n", "-p"]);
        command.args(options).arg("--").arg(program);
        // Nothing of the caller's environment reaches the host.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C");
        command.current_dir("/");
        command
    }

    /// Starts a lasting process; its output goes to `<files>/<log>`.
    pub fn start(&mut self, mut command: Command, log: &str) -> anyhow::Result<()> {
        let output = File::options().create(true).append(true).open(self.files.join(log))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        record_process(child.id())?;
        self.processes.push(child);
        Ok(())
    }

    /// Every process of the host, seen from outside: (id, name).
    pub fn processes(&self) -> Vec<(u32, String)> {
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space(self.init);
        all_pids()
            .filter(|&pid| own.is_some() && space(pid) == own)
            .map(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                (pid, name.trim().to_owned())
            })
            .collect()
    }

    /// Sends a signal to every process of this name; returns how many there were.
    pub fn signal_all(&self, name: &str, what: Signal) -> usize {
        let found = self.processes().into_iter().filter(|(_, comm)| comm == name);
        found.filter(|(pid, _)| signal(*pid, what)).count()
    }

    /// Stops every process where it stands, until no new one appears. The kernel goes on: it
    /// answers for the addresses as long as they live.
    pub fn freeze(&self) {
        let mut stopped = 0;
        for _ in 0..5 {
            let all = self.processes();
            if all.len() == stopped {
                break;
            }
            stopped = all.len();
            for (pid, _) in all {
                signal(pid, Signal::SIGSTOP);
            }
        }
    }

    /// Lets every process go on.
    pub fn thaw(&self) {
        for (pid, _) in self.processes() {
            signal(pid, Signal::SIGCONT);
        }
    }

    /// Stops every process where it stands, then kills the init and with it all of them: none has a
    /// moment to say goodbye.
    pub fn freeze_and_kill(&mut self) {
        self.freeze();
        if self.init != 0 {
            signal(self.init, Signal::SIGKILL);
            self.init = 0;
        }
        for mut child in self.processes.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.remove_groups();
    }

    /// A power-off leaves no control group behind, as a kernel that is gone would not; the dead leave
    /// theirs a moment later.
    fn remove_groups(&self) {
        let records = self.files.join("state").join("services");
        for _ in 0..100 {
            if process::remove_groups(&records).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.freeze_and_kill();
    }
}

/// The operating-system user that runs the database.
pub fn postgres_user() -> anyhow::Result<User> {
    User::from_name("postgres")?.context("there is no user postgres: install postgresql")
}

/// Empties what a machine keeps in memory alone: sockets, and what lies beside them.
pub fn clear_volatile(files: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(files.join("socket"))? {
        fs::remove_file(entry?.path())?;
    }
    match fs::remove_file(files.join("control.sock")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sends a signal to a process; false when there is none.
pub fn signal(pid: u32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid as i32), signal).is_ok()
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn children_of(parent: u32) -> Vec<u32> {
    all_pids()
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            after_name.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .collect()
}

/// The init of a host (hidden verb `lab-host`): its own mounts, name and settings, then reaping
/// until the power goes.
///
/// # Errors
/// A mount or a setting was refused.
pub fn init(order: &InitOrder) -> anyhow::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("private mounts")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mount /proc")?;
    for target in ["/dev/shm", "/run"] {
        mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .with_context(|| format!("mount {target}"))?;
    }
    let shared = fs::Permissions::from_mode(0o1777);
    fs::set_permissions("/dev/shm", shared)?;
    for (source, target) in
        [(order.files.clone(), INSIDE), (order.files.join("socket"), DATABASE_SOCKET)]
    {
        fs::create_dir_all(target)?;
        mount(Some(&source), target, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {target}"))?;
    }
    mount_name_files(order)?;
    nix::unistd::sethostname(&order.name)?;
    // SIP servers bind the floating address before it is there.
    for family in ["ipv4", "ipv6"] {
        fs::write(format!("/proc/sys/net/{family}/ip_nonlocal_bind"), "1")?;
    }
    run_with_input(Command::new("ip").args(["link", "set", "lo", "up"]), "")?;
    println!("ready");
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status.pid().is_none() {
                break;
            }
        }
        children.wait()?;
    }
}

/// Names of its own: what it does not know is refused at once. With the machine's resolver, a
/// program that looks up a name waits for an answer that cannot come (Kamailio: ten seconds).
fn mount_name_files(order: &InitOrder) -> anyhow::Result<()> {
    let hosts = format!("127.0.0.1 localhost {}\n::1 localhost\n", order.name);
    for (name, text) in [("hosts", hosts.as_str()), ("resolv.conf", "")] {
        let own = order.files.join(name);
        fs::write(&own, text)?;
        // A link into the old /run leads nowhere now: then there is no resolver already.
        if let Ok(target) = fs::canonicalize(Path::new("/etc").join(name)) {
            let none = None::<&str>;
            mount(Some(&own), &target, none, MsFlags::MS_BIND, none)
                .with_context(|| format!("mount {}", target.display()))?;
        }
    }
    Ok(())
}
