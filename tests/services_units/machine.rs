//! A real systemd as process 1 of namespaces of its own, made for one test and gone after it. The
//! test runs inside: systemd does not speak with a process whose number it cannot see.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static MACHINES: AtomicUsize = AtomicUsize::new(0);
/// Set for the test binary that runs inside.
const INSIDE: &str = "DTU_INSIDE";
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
cd /run/systemd/system
for target in sysinit basic shutdown; do
    printf '[Unit]\nDefaultDependencies=no\n' > $target.target
done
printf '[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n' > quiet.target
printf '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n' \
    > dbus.socket
printf '[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\nAfter=dbus.socket\n[Service]\n' \
    > dbus.service
printf 'Type=notify\nExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork' \
    >> dbus.service
printf ' --nopidfile --systemd-activation --syslog-only\n' >> dbus.service
exec env -i container=duotone-tests PATH="$PATH" SYSTEMD_UNIT_PATH=/run/systemd/system \
    SYSTEMD_GENERATOR_PATH=/run/none /lib/systemd/systemd --system --unit=quiet.target \
    --log-target=null --show-status=no --crash-reboot=no
"#;

/// The host that the test runs in.
pub struct Machine(());

impl Machine {
    /// Runs the test of this name inside a new one, where this gives the host itself; `None` outside,
    /// when that is done, or, with the reason, where it is refused.
    pub fn boot(test: &str) -> Option<Machine> {
        if std::env::var_os(INSIDE).is_some() {
            return Some(Machine(()));
        }
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (namespaces)");
            return None;
        }
        for program in ["/lib/systemd/systemd", "/usr/bin/dbus-daemon"] {
            if !Path::new(program).exists() {
                eprintln!("skipped: there is no {program} here");
                return None;
            }
        }
        match Namespaces::boot() {
            Ok(namespaces) => namespaces.run(test),
            Err(why) => eprintln!("skipped: systemd does not run in namespaces here: {why}"),
        }
        None
    }

    /// Writes a unit; systemd reads it when it is first asked for.
    pub fn unit(&self, name: &str, text: &str) {
        let text = format!("[Unit]\nDefaultDependencies=no\n{text}");
        fs::write(Path::new("/run/systemd/system").join(name), text).unwrap();
    }

    /// What systemctl says, and whether it succeeded.
    pub fn systemctl(&self, words: &[&str]) -> (bool, String) {
        let done = Command::new("systemctl").args(words).output().unwrap();
        let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&done.stderr));
        (done.status.success(), said.trim().to_owned())
    }

    /// One property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.systemctl(&["show", "--value", "--property", property, unit]).1
    }

    /// Systemd stands still, or goes on: nobody in its namespace could stop it by a signal.
    pub fn freeze(&self, frozen: bool) {
        let frozen = if frozen { "1" } else { "0" };
        fs::write("/sys/fs/cgroup/init.scope/cgroup.freeze", frozen).unwrap();
    }
}

struct Namespaces {
    unshare: Child,
    /// Process 1, as the host numbers it.
    init: i32,
    group: PathBuf,
}

impl Namespaces {
    fn run(&self, test: &str) {
        let target = self.init.to_string();
        let mut inside = Command::new("nsenter");
        inside
            .args(["--target", &target, "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net"]);
        inside.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
        let done = inside.env(INSIDE, "1").output().unwrap();
        eprint!("{}", String::from_utf8_lossy(&done.stdout));
        eprint!("{}", String::from_utf8_lossy(&done.stderr));
        let ran = String::from_utf8_lossy(&done.stdout).contains("1 passed");
        assert!(done.status.success() && ran, "inside: {}", done.status);
    }

    fn boot() -> Result<Namespaces, String> {
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
        let mut machine = Namespaces { unshare, init: 0, group };
        let end = Instant::now() + PATIENCE;
        loop {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = machine.unshare.try_wait() {
                return Err(format!("{status}: {}", said()));
            }
            let id = machine.unshare.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            machine.init = children.ok().and_then(|all| all.trim().parse().ok()).unwrap_or(0);
            if machine.init > 0
                && Path::new(&format!("/proc/{}/root/run/dbus/system_bus_socket", machine.init))
                    .exists()
            {
                return Ok(machine);
            }
            if Instant::now() >= end {
                return Err(format!("it does not listen: {}", said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Namespaces {
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
    std::env::temp_dir().join(format!("{}.log", group.file_name().unwrap().to_string_lossy()))
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

/// The lines of a file; none of one that is not there.
pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
