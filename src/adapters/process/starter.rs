//! Forking and executing a command with a clean start: own session, own user, no inherited
//! scheduling, signals or credentials, and a death signal tied to the daemon's life. A service has
//! the daemon's environment; an errand (an agent, a check, a hook, a list) has none of it.
//!
//! A service of the cluster outlives who started it; so it has no death signal.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, not the process, so one thread that
//! never ends forks everything.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, User, getgrouplist};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::StartError;
use super::cgroup::Cgroup;
use super::confine::confine;
use crate::config::{Capability, Service};

/// A child that was just executed.
pub struct Child {
    /// Its process id, which is also the id of its session.
    pub pid: i32,
    /// What it prints.
    pub stdout: OwnedFd,
    /// What it complains about.
    pub stderr: OwnedFd,
    /// Where it reads, when something is to be told.
    pub stdin: Option<OwnedFd>,
}

/// What an errand finds in its environment: where the distribution's programs are, and messages in
/// one language.
const ERRAND_ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C"), ("HOME", "/root")];

/// Variables that speak to the daemon alone (sd_notify(3), sd_watchdog_enabled(3),
/// sd_listen_fds(3), systemd.exec(5)).
const NOT_INHERITED: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
];

/// Long enough for the kernel to forget a thread, however busy the host is.
const THREAD_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What the cluster says to its agents alone.
const OF_THE_CLUSTER: [&str; 4] = ["OCF_", "HA_", "PCMK_", "__OCF_"];

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread that forks; it is made at the first use and never ends.
static STARTER: Mutex<Option<mpsc::Sender<Job>>> = Mutex::new(None);

/// Executes the service's command, in a control group of its own if there is one.
///
/// # Errors
/// Names what could not be done; nothing runs then.
pub async fn start(service: &Service, group: Option<Cgroup>) -> Result<Child, StartError> {
    let service = service.clone();
    forked(move || fork(&service, group.as_ref())).await
}

/// A command that is run to its end: an agent, a check, a hook, a list.
#[derive(Clone, Debug, Default)]
pub struct Errand {
    /// Program (a whole path) and arguments.
    pub command: Vec<String>,
    /// Operating-system user, with all its groups; root only by that name. `None`: the daemon's own.
    pub user: Option<String>,
    /// What it may do although it is not root; it and its children, and nothing else.
    pub capabilities: Vec<Capability>,
    /// Added to an environment of `PATH`, `LC_ALL` and `HOME`, with a user also `USER` and `LOGNAME`.
    pub environment: Vec<(String, String)>,
}

/// Executes an errand.
///
/// # Errors
/// As [`start`].
pub async fn start_errand(errand: Errand) -> Result<Child, StartError> {
    forked(move || fork_errand(&errand)).await
}

async fn forked(
    fork: impl FnOnce() -> Result<Child, StartError> + Send + 'static,
) -> Result<Child, StartError> {
    let (answer, child) = oneshot::channel();
    let job: Job = Box::new(move || {
        // Whoever waited may be gone: the answer is dropped then, here or in the channel.
        drop(answer.send(fork().map(|child| Unclaimed(Some(child)))));
    });
    enqueue(job).map_err(StartError::NoThread)?;
    let ended = || StartError::NoThread(io::Error::other("the starting thread ended"));
    child.await.map_err(|_| ended())??.0.take().ok_or_else(ended)
}

/// A child on its way to who asked for it. Dropping it kills it: it would be nobody's.
struct Unclaimed(Option<Child>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            let _gone_already = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(child.pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

fn enqueue(job: Job) -> io::Result<()> {
    let mut starter = STARTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let queue = match &*starter {
        Some(queue) => queue,
        None => {
            let (queue, jobs) = mpsc::channel::<Job>();
            std::thread::Builder::new()
                .name("starter".into())
                .spawn(move || jobs.into_iter().for_each(|job| job()))?;
            starter.insert(queue)
        }
    };
    queue.send(job).map_err(|_| io::Error::other("the starting thread ended"))
}

/// Executes the service's command from a process that ends before it. In the child `record` writes
/// down who it is before anything of the service runs, so that whatever is killed meanwhile, what
/// runs is on record.
///
/// # Errors
/// As [`start`]; also when this process has several threads, of which fork(2) copies one.
pub fn start_lasting(
    service: &Service,
    output: File,
    record: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) -> Result<std::process::Child, StartError> {
    let threads = || std::fs::read_dir("/proc/self/task").map(Iterator::count);
    // One that was joined is listed for a moment more.
    let end = Instant::now() + THREAD_ENDS_WITHIN;
    while threads().map_err(StartError::NoThread)? != 1 {
        if Instant::now() >= end {
            return Err(StartError::NoThread(io::Error::other("this process has several threads")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut command, identity) = prepared(service)?;
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_THE_CLUSTER.iter().any(|of| name.starts_with(of))) {
            command.env_remove(name);
        }
    }
    let spawn = |source| StartError::Execute { program: service.command[0].clone(), source };
    command.stdin(Stdio::null()).stdout(output.try_clone().map_err(spawn)?).stderr(output);
    let parent = nix::unistd::getpid().as_raw();
    // SAFETY: there is one thread, as was seen above, so the child of fork(2) may do anything.
    unsafe {
        command.pre_exec(move || {
            own_session()?;
            record()?;
            become_user(identity.as_ref())?;
            ends_without(parent)
        });
    }
    command.spawn().map_err(spawn)
}

fn fork(service: &Service, group: Option<&Cgroup>) -> Result<Child, StartError> {
    let (mut command, identity) = prepared(service)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    confine(&mut command, service, group);
    execute(command, identity)
}

fn prepared(service: &Service) -> Result<(Command, Option<Identity>), StartError> {
    let Some((program, arguments)) = service.command.split_first() else {
        return Err(StartError::NoCommand);
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&service.directory);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    let identity = match &service.user {
        None => None,
        Some(name) => {
            let identity = Identity::of(name)?;
            command.env("HOME", &identity.home).env("USER", name).env("LOGNAME", name);
            Some(identity)
        }
    };
    command.envs(service.environment.iter().map(|(name, value)| (name, value)));
    Ok((command, identity))
}

fn fork_errand(errand: &Errand) -> Result<Child, StartError> {
    let Some((program, arguments)) = errand.command.split_first() else {
        return Err(StartError::NoCommand);
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear().envs(ERRAND_ENVIRONMENT);
    let identity = match &errand.user {
        None => None,
        Some(name) => {
            let mut identity = Identity::of(name)?;
            if identity.uid == 0 && name != "root" {
                let source =
                    io::Error::other("it has root's number; write \"root\" if root is meant");
                return Err(StartError::User { name: name.clone(), source });
            }
            identity.capabilities = errand.capabilities.iter().fold(0, |set, bit| set | 1 << bit.0);
            command.env("HOME", &identity.home).env("USER", name).env("LOGNAME", name);
            Some(identity)
        }
    };
    command.envs(errand.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    execute(command, identity)
}

fn execute(mut command: Command, identity: Option<Identity>) -> Result<Child, StartError> {
    let daemon = nix::unistd::getpid();
    // SAFETY: between fork and exec of a process with several threads only async-signal-safe work
    // is allowed (fork(2)); `prepare` makes plain system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || prepare(daemon.as_raw(), identity.as_ref()));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let spawn = |source| StartError::Execute { program: program.clone(), source };
    let mut child = command.spawn().map_err(spawn)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(spawn(io::Error::other("no pipe to the new process")));
    };
    // `std` neither reaps nor kills a child that is dropped.
    let pid = i32::try_from(child.id()).map_err(|error| spawn(io::Error::other(error)))?;
    let stdin = child.stdin.take().map(OwnedFd::from);
    Ok(Child { pid, stdout: stdout.into(), stderr: stderr.into(), stdin })
}

/// Who the service runs as.
struct Identity {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
    home: std::path::PathBuf,
    /// The daemon is that user already, and may be nobody else.
    is_ours: bool,
    /// What it keeps of root's rights, bit by bit (capabilities(7)).
    capabilities: u64,
}

impl Identity {
    fn of(name: &str) -> Result<Self, StartError> {
        let look = |errno: nix::Error| StartError::User { name: name.into(), source: errno.into() };
        let user = User::from_name(name).map_err(look)?.ok_or_else(|| look(nix::Error::ENOENT))?;
        let c_name = CString::new(name).map_err(|_| look(nix::Error::EINVAL))?;
        let groups = getgrouplist(&c_name, user.gid).map_err(look)?;
        Ok(Identity {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: user.dir,
            is_ours: user.uid == nix::unistd::geteuid() && !user.uid.is_root(),
            capabilities: 0,
        })
    }
}

/// In the child, after fork and before exec.
fn prepare(daemon: libc::pid_t, identity: Option<&Identity>) -> io::Result<()> {
    own_session()?;
    become_user(identity)?;
    // SAFETY: a system call on integers. Last, because a change of credentials clears it
    // (PR_SET_PDEATHSIG(2const)).
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
    }
    // The daemon may have died before the line above.
    ends_without(daemon)
}

fn own_session() -> io::Result<()> {
    // SAFETY: system calls on integers and on memory that outlives them; all async-signal-safe.
    // The signal set is initialised by sigemptyset before it is used.
    unsafe {
        check(libc::setsid())?;
        for signal in 1..=libc::SIGRTMAX() {
            // KILL, STOP and the numbers that the C library keeps to itself refuse: no matter.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
    }
    ordinary_scheduling()
}

fn become_user(identity: Option<&Identity>) -> io::Result<()> {
    let Some(identity) = identity else { return Ok(()) };
    let keeps = identity.capabilities != 0;
    if !identity.is_ours {
        // SAFETY: system calls on integers and on memory that outlives them; all
        // async-signal-safe.
        unsafe {
            if keeps {
                check(libc::prctl(libc::PR_SET_KEEPCAPS, 1 as libc::c_ulong))?;
            }
            check(libc::setgroups(identity.groups.len(), identity.groups.as_ptr()))?;
            check(libc::setgid(identity.gid))?;
            check(libc::setuid(identity.uid))?;
        }
    }
    if keeps { keep_only(identity.capabilities) } else { Ok(()) }
}

/// These capabilities and no others, also for what is executed (capabilities(7), "ambient").
fn keep_only(set: u64) -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let half = |bits: u64| {
        let bits = (bits & 0xffff_ffff) as u32;
        Half { effective: bits, permitted: bits, inheritable: bits }
    };
    let header = Header { version: VERSION, pid: 0 };
    let halves = [half(set), half(set >> 32)];
    // SAFETY: capset(2) reads one header and, of this version, two halves; both outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    const NONE: libc::c_ulong = 0;
    for bit in (0..64 as libc::c_ulong).filter(|bit| set >> bit & 1 == 1) {
        // SAFETY: a system call on integers (PR_CAP_AMBIENT(2const)).
        unsafe {
            check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, bit, NONE, NONE))?;
        }
    }
    Ok(())
}

/// Nobody waits for the child of a parent that has died.
fn ends_without(parent: libc::pid_t) -> io::Result<()> {
    // SAFETY: it takes nothing and cannot fail.
    match unsafe { libc::getppid() } == parent {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// A service never runs with the pulse's real-time priority, however the daemon got here. Raw
/// system calls: musl's wrappers only say ENOSYS.
fn ordinary_scheduling() -> io::Result<()> {
    // SAFETY: 0 names the calling thread; the parameter lives until the call returns.
    unsafe {
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0);
        if policy & 0xff == libc::c_long::from(libc::SCHED_FIFO)
            || policy & 0xff == libc::c_long::from(libc::SCHED_RR)
        {
            let mut parameter: libc::sched_param = std::mem::zeroed();
            parameter.sched_priority = 0;
            let done = libc::syscall(
                libc::SYS_sched_setscheduler,
                0,
                libc::SCHED_OTHER,
                &raw const parameter,
            );
            if done < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Makes a process descriptor awaitable: it turns readable when the process ends (pidfd_open(2)).
///
/// # Errors
/// The runtime cannot watch another descriptor.
pub fn watch(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped, and the `AsyncFd` owns it; nothing closes
    // it or swaps it for another underneath.
    let watched = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
