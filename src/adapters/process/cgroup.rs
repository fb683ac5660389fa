//! A control group (version 2) of a service's own, where the host lets the daemon make one: whoever
//! left the service's session is found in it, and killed with it.
//!
//! Under systemd only below a unit that says `Delegate=yes`, as systemd's rules for delegation
//! demand; elsewhere wherever the daemon may make a directory in its own group. No controller is
//! switched on: that would drive the daemon's own processes out of its group. So memory is limited
//! only where somebody else has switched that one on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// There while systemd is the host's service manager (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// What systemd sets on a group that it has given away.
const GIVEN_AWAY: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// A control group that the daemon, or an earlier life of it, has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a new one for a service; `None` where there is none to be had.
    #[must_use]
    pub fn make(service: &str) -> Option<Cgroup> {
        let own = own().filter(|own| is_ours(own))?;
        // Two daemons in containers may share a group, have the same number and run alike services.
        let group = own.join(format!("duotone-{service}-{:016x}", getrandom::u64().ok()?));
        fs::create_dir(&group).is_ok().then_some(Cgroup(group))
    }

    /// One that is on record.
    #[must_use]
    pub fn recorded(path: PathBuf) -> Cgroup {
        Cgroup(path)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a process that writes `0` enters it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn door(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.0.join("cgroup.procs"))
    }

    /// Whether memory can be limited in it.
    #[must_use]
    pub fn limits_memory(&self) -> bool {
        self.0.join("memory.max").exists()
    }

    /// Limits the memory of all of it together, in bytes.
    ///
    /// # Errors
    /// The kernel refused, or the controller is not switched on here.
    pub fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        fs::write(self.0.join("memory.max"), bytes.to_string())
    }

    /// The processes in it; nobody in one that is gone.
    ///
    /// # Errors
    /// It could not be read: who is in it is not known.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        let text = match fs::read_to_string(self.0.join("cgroup.procs")) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether a process is in it, though it may have ended and wait to be reaped.
    #[must_use]
    pub fn has(&self, pid: i32) -> bool {
        let name = self.0.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        groups.is_ok_and(|text| text.contains(&*name))
    }

    /// Kills everybody in it at once, whoever forks meanwhile.
    ///
    /// # Errors
    /// The kernel refused, or is older than 5.14.
    pub fn kill(&self) -> io::Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            // Without the file there is no group, or an old kernel, where each is killed by itself.
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        }
    }

    /// Removes it; one that somebody is still in stays.
    ///
    /// # Errors
    /// It is there and could not be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.0) {
            Err(error) if !is_gone(&error) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// The daemon's own group, by cgroups(7) and proc_pid_mountinfo(5).
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let tree = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })?;
    Some(tree.join(own))
}

fn is_ours(group: &Path) -> bool {
    if !Path::new(BOOTED).exists() {
        return true;
    }
    GIVEN_AWAY.iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, *name, &mut value[..]).is_ok_and(|read| value[..read] == *b"1")
    })
}
