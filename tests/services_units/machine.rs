//! A real systemd as process 1 of namespaces of its own, made for one test and gone after it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static MACHINES: AtomicUsize = AtomicUsize::new(0);
/// A busy host is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing of the host can be changed from within but `/tmp`: the rest is read-only, or private.
const BEGIN: &str = r#"
set -e
mount --make-rprivate /
mount --bind /tmp /tmp
mount -o remount,bind,ro /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs -o mode=755 dev /run
mkdir -p /run/dev /run/systemd/system
for device in null zero full random urandom tty; do
    : > /run/dev/$device
    mount --bind /dev/$device /run/dev/$device
done
mount --rbind /run/dev /dev
mkdir /dev/shm /dev/pts
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup
printf '[Unit]\nDefaultDependencies=no\n' > /run/systemd/system/quiet.target
exec env -i container=duotone-tests PATH="$PATH" SYSTEMD_UNIT_PATH=/run/systemd/system \
    SYSTEMD_GENERATOR_PATH=/run/none /lib/systemd/systemd --system --unit=quiet.target \
    --log-target=null --show-status=no --crash-reboot=no
"#;

pub struct Machine {
    unshare: Child,
    /// Process 1, as the host numbers it.
    pub init: i32,
    group: PathBuf,
}

impl Machine {
    /// `None`, with the reason, where this host refuses one.
    pub fn boot() -> Option<Machine> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (namespaces)");
            return None;
        }
        if !Path::new("/lib/systemd/systemd").exists() {
            eprintln!("skipped: there is no /lib/systemd/systemd here");
            return None;
        }
        match Machine::try_boot() {
            Ok(machine) => Some(machine),
            Err(why) => {
                eprintln!("skipped: systemd does not run in namespaces here: {why}");
                None
            }
        }
    }

    fn try_boot() -> Result<Machine, String> {
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let base = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let base = base.into_iter().find(|base| base.join("cgroup.procs").exists());
        let base = base.ok_or("no control groups of version 2")?;
        let group = base.join(format!("dtu{}x{number}", std::process::id()));
        fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let log = group_log(&group);
        let output = File::create(&log).map_err(|error| error.to_string())?;
        let procs = group.join("cgroup.procs");
        let mut unshare = Command::new("unshare");
        let namespaces =
            ["--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net", "--mount-proc"];
        unshare.args(["--fork", "--kill-child"]).args(namespaces).args(["bash", "-c", BEGIN]);
        unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).process_group(0);
        // SAFETY: there is no unsafe code in tests but this: the child moves itself, before exec,
        // with plain system calls.
        #[allow(unsafe_code)]
        unsafe {
            unshare.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                fs::write(&procs, "0")
            });
        }
        let unshare = unshare.spawn().map_err(|error| error.to_string())?;
        let mut machine = Machine { unshare, init: 0, group };
        let end = Instant::now() + PATIENCE;
        loop {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = machine.unshare.try_wait() {
                return Err(format!("{status}: {}", said()));
            }
            let id = machine.unshare.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            machine.init = children.ok().and_then(|all| all.trim().parse().ok()).unwrap_or(0);
            if machine.init > 0 && machine.path("run/systemd/private").exists() {
                return Ok(machine);
            }
            if Instant::now() >= end {
                return Err(format!("it does not listen: {}", said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its root directory, as the host sees it.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.init).into()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// Writes a unit; systemd reads it when it is first asked for.
    pub fn unit(&self, name: &str, text: &str) {
        let text = format!("[Unit]\nDefaultDependencies=no\n{text}");
        fs::write(self.path("run/systemd/system").join(name), text).unwrap();
    }

    /// What systemctl says inside, and whether it succeeded.
    pub fn systemctl(&self, words: &[&str]) -> (bool, String) {
        let target = self.init.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &target, "--mount", "--pid", "--cgroup", "systemctl"]);
        let done = command.args(words).output().unwrap();
        let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&done.stderr));
        (done.status.success(), said.trim().to_owned())
    }

    /// One property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.systemctl(&["show", "--value", "--property", property, unit]).1
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.init), signal).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.init > 0 {
            // It takes everything inside along.
            let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let _ = fs::remove_file(group_log(&self.group));
        let end = Instant::now() + PATIENCE;
        while !remove(&self.group) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn group_log(group: &Path) -> PathBuf {
    std::env::temp_dir().join(format!("{}.log", group.file_name().unwrap().display()))
}

/// Control groups go from the leaves to the root, once nobody is left in them.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}

/// Numbers of processes, one in a line, that a script has written down.
pub fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    text.lines().map(str::to_owned).collect()
}
