//! The server's processes as the kernel shows them: who is there, start one, end them all.
//!
//! A process belongs to the cluster when it is called `postgres` and works in the data directory:
//! the postmaster goes there first thing (`ChangeToDataDir`) and every child inherits it. So a
//! stale `postmaster.pid` deceives nobody, and a backend that outlives its postmaster is found. The
//! programs that bring a cluster back are started there too, and count as much: nothing else may
//! be done to it before they have ended.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User, getgrouplist};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::trouble::Trouble;
use crate::config::Postgres;

/// What works on a cluster from inside its directory: the server, and what brings it back.
const PROGRAMS: [&[u8]; 4] = [b"postgres", b"postmaster", b"pg_rewind", b"pg_basebackup"];

/// One process of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pid: i32,
    /// In clock ticks after boot: with the pid it names one process for ever.
    started: u64,
}

impl Process {
    pub(super) fn pid(self) -> i32 {
        self.pid
    }
}

/// Every process of the cluster in `data_dir`, those being born or ending included, zombies not.
///
/// An error means that nothing can be said.
pub(super) fn scan(data_dir: &Path) -> io::Result<Vec<Process>> {
    let home = match fs::metadata(data_dir) {
        Ok(home) => home,
        // Nobody can work in a directory that is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if belongs(pid, &home)? {
            found.extend(read(pid));
        }
    }
    Ok(found)
}

fn belongs(pid: i32, home: &fs::Metadata) -> io::Result<bool> {
    let Ok(name) = fs::read(format!("/proc/{pid}/comm")) else { return Ok(false) };
    if !PROGRAMS.iter().any(|program| name.starts_with(program)) {
        return Ok(false);
    }
    match fs::metadata(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => Ok((cwd.dev(), cwd.ino()) == (home.dev(), home.ino())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Another user's server cannot work on this cluster: the server checks the owner.
            let owner = fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
            match owner {
                Ok(uid) if uid == home.uid() => Err(error),
                Ok(_) | Err(_) => Ok(false),
            }
        }
        // Gone, or a zombie.
        Err(_) => Ok(false),
    }
}

/// The process with this pid as it is now; `None` when it is gone or a zombie.
pub(super) fn read(pid: i32) -> Option<Process> {
    // proc(5): the name may hold anything, so the fields count from the last parenthesis.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid, started })
}

/// It has not ended yet.
pub(super) fn is_alive(process: Process) -> bool {
    read(process.pid) == Some(process)
}

/// A child that was not waited for keeps its pid, so the pid names it.
pub(super) fn is_pid_alive(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| read(pid).is_some())
}

/// This process works in the data directory.
pub(super) fn is_in(pid: u32, data_dir: &Path) -> bool {
    is_same(Path::new(&format!("/proc/{pid}/cwd")), data_dir)
}

/// Sends a signal to exactly this process; `Ok` also when it has ended.
pub(super) fn signal(process: Process, signal: Signal) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The pid may have been given to another process before the descriptor was opened.
    if !is_alive(process) {
        return Ok(());
    }
    match pidfd_send_signal(descriptor, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What `postmaster.pid` says: the postmaster's pid and its state (`src/include/utils/pidfile.h`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PidFile {
    pub(super) pid: i32,
    /// `starting`, `stopping`, `ready` or `standby`.
    pub(super) state: String,
}

/// Reads `postmaster.pid`; `None` when there is none or it is not complete.
pub(super) fn pid_file(data_dir: &Path) -> Option<PidFile> {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let state = lines.nth(6).unwrap_or_default().trim().to_owned();
    Some(PidFile { pid, state })
}

/// Removes lock files that would keep the server from starting although nobody works in the data
/// directory: their pid belongs to a zombie, or since a reboot to another server.
///
/// The server itself must refuse there, as it cannot look into other processes; this can.
pub(super) fn remove_stale_locks(postgres: &Postgres) -> io::Result<()> {
    let home = postgres.data_dir.as_path();
    let socket_lock = postgres.socket_dir.join(format!(".s.PGSQL.{}.lock", postgres.port));
    for path in [home.join("postmaster.pid"), socket_lock] {
        let content = match fs::read_to_string(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // Another cluster's socket is not ours to clear away.
        let is_ours = content.lines().nth(1).is_some_and(|dir| is_same(Path::new(dir), home));
        // Read again, so that the file of a server that started meanwhile stays.
        if is_ours && scan(home)?.is_empty() && fs::read_to_string(&path)? == content {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Both paths lead to one directory.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// How a process sleeps: equal values before and after something mean one unbroken sleep between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sleep {
    switches: Vec<String>,
}

/// The sleep that a process is in, unless it runs, waits for a disk, or has SIGHUP pending.
pub(super) fn sleep_without_hangup(pid: i32) -> io::Result<Option<Sleep>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut asleep = false;
    let mut hangup = false;
    let mut switches = Vec::new();
    for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key {
            "State" => asleep = value.starts_with('S'),
            // SIGHUP is the lowest bit of both masks (signal(7)); an unreadable mask may hold it.
            "SigPnd" | "ShdPnd" => {
                hangup |= u64::from_str_radix(value, 16).map_or(true, |mask| mask & 1 != 0);
            }
            "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
                switches.push(value.to_owned());
            }
            _ => {}
        }
    }
    Ok((asleep && !hangup && switches.len() == 2).then_some(Sleep { switches }))
}

/// Makes the checkpointer (or any one server process) read its configuration again.
pub(super) fn hang_up(pid: i32) -> io::Result<()> {
    match read(pid) {
        Some(process) => signal(process, Signal::HUP),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The user that owns the cluster, with what a process needs to become that user.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<libc::gid_t>,
    home: PathBuf,
}

impl Owner {
    /// Looks the user up.
    pub(super) fn of(postgres: &Postgres) -> Result<Owner, Trouble> {
        let unknown = || Trouble::NoUser(postgres.os_user.clone());
        let user = User::from_name(&postgres.os_user).ok().flatten().ok_or_else(unknown)?;
        let name = CString::new(user.name.as_bytes()).map_err(|_| unknown())?;
        // The supplementary groups too: Debian's server reads its TLS key as a member of ssl-cert.
        let groups = getgrouplist(&name, user.gid).map_err(|_| unknown())?;
        Ok(Owner {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
            home: user.dir,
        })
    }
}

/// Starts the server as its owner, in a session of its own; its early messages go to `output`, or
/// else where the daemon's do. It outlives the daemon unless it is `isolated`.
pub(super) fn start(
    postgres: &Postgres,
    owner: &Owner,
    more: &[String],
    isolated: bool,
    output: Option<&File>,
) -> Result<Child, Trouble> {
    let program = postgres.bin_dir.join("postgres");
    // An immediate shutdown, should the daemon end before it does.
    let farewell = isolated.then_some(libc::SIGQUIT);
    let mut command = as_owner(&program, owner, farewell);
    command.arg("-D").arg(&postgres.data_dir).args(&postgres.options).args(more).current_dir("/");
    if let Some(output) = output {
        command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    }
    command.spawn().map_err(|error| Trouble::File { path: program, error })
}

/// One of the server's programs as its owner, working in `directory`; it dies with whoever starts
/// it, and its messages are in English and UTC.
pub(super) fn tool(
    postgres: &Postgres,
    owner: &Owner,
    name: &str,
    directory: &Path,
) -> tokio::process::Command {
    let mut command = as_owner(&postgres.bin_dir.join(name), owner, Some(libc::SIGKILL));
    command.current_dir(directory).env("LC_ALL", "C").env("TZ", "UTC");
    if let Some(passfile) = &postgres.passfile {
        command.env("PGPASSFILE", passfile);
    }
    let mut command = tokio::process::Command::from(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn as_owner(program: &Path, owner: &Owner, farewell: Option<libc::c_int>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env("HOME", &owner.home);
    // The daemon's own notifications, and client settings that would stand in for absent ones.
    let foreign = |key: &str| {
        key.starts_with("PG")
            || key.starts_with("LISTEN_")
            || key.starts_with("WATCHDOG_")
            || key == "NOTIFY_SOCKET"
    };
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(foreign) {
            command.env_remove(key);
        }
    }
    let become_user = Uid::effective().is_root();
    let (uid, gid, groups) = (owner.uid, owner.gid, owner.groups.clone());
    let parent = std::process::id();
    let detach = move || {
        become_owner(become_user.then_some((uid, gid, &groups)))?;
        farewell.map_or(Ok(()), |signal| die_with(parent, signal))
    };
    // SAFETY: between fork and exec the closure makes only system calls through functions that
    // are async-signal-safe or thin wrappers (setsid, setgroups, setgid, setuid, prctl, getppid);
    // it neither allocates nor takes a lock, and `groups` was made before the fork.
    unsafe { command.pre_exec(detach) };
    command
}

/// Last of all: a change of the user takes the signal away again (prctl(2), PR_SET_PDEATHSIG).
fn die_with(parent: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // It may have died before.
    // SAFETY: no arguments.
    match u32::try_from(unsafe { libc::getppid() }) {
        Ok(now) if now == parent => Ok(()),
        Ok(_) | Err(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn become_owner(user: Option<(u32, u32, &Vec<libc::gid_t>)>) -> io::Result<()> {
    let done = |result: libc::c_int| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: no arguments. (It fails only for a process group leader, which a new child is not.)
    done(unsafe { libc::setsid() })?;
    if let Some((uid, gid, groups)) = user {
        // SAFETY: pointer and length describe one living vector.
        done(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
        // SAFETY: plain numbers.
        done(unsafe { libc::setgid(gid) })?;
        // SAFETY: plain numbers; last, because it gives the other rights away.
        done(unsafe { libc::setuid(uid) })?;
    }
    Ok(())
}
