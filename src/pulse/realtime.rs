//! Asks the kernel to run the calling thread before others and to keep the daemon in memory.
//! What was achieved is reported; nothing here fails a start.
#![allow(unsafe_code)]

use nix::errno::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Above ordinary threads, below the kernel's own (interrupt threads run at 50).
const PRIORITY: libc::c_int = 20;

/// What the pulse thread was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Realtime {
    /// `SCHED_RR`, or why not (`EPERM`: no `CAP_SYS_NICE` and no `RLIMIT_RTPRIO`).
    pub scheduling: Result<(), Errno>,
    /// Memory is locked, or why not (`EPERM`: no `CAP_IPC_LOCK` and a limit on locked memory).
    pub memory: Result<(), Errno>,
}

/// Asks for both, for the calling thread and for the process.
pub fn acquire() -> Realtime {
    Realtime { scheduling: schedule(), memory: lock_memory() }
}

/// sched(7). Children and threads of this one start with ordinary scheduling.
fn schedule() -> Result<(), Errno> {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `sched_param` holds integers only, for which zero is a value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = PRIORITY;
    // The system call, not the library's function of this name: in musl that one always fails.
    // SAFETY: the kernel reads `parameters`, which lives until the call returns; 0 names the
    // calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &parameters) };
    Errno::result(answer).map(drop)
}

/// mlockall(2). `MCL_ONFAULT` keeps what is touched, instead of populating every thread's stack.
fn lock_memory() -> Result<(), Errno> {
    let capable =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    // Under a limit, later allocations of this process would fail: worse than a page fault.
    if !capable && getrlimit(Resource::Memlock).current.is_some() {
        return Err(Errno::EPERM);
    }
    // SAFETY: takes no pointers; changes only how pages of this process are kept.
    let answer =
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    Errno::result(answer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields 40 and 41 of /proc/thread-self/stat (proc(5)): real-time priority and policy.
    fn scheduling_of_this_thread() -> (u32, u32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[37].parse().unwrap(), fields[38].parse().unwrap())
    }

    #[test]
    fn what_is_reported_is_what_the_kernel_shows() {
        let reported = std::thread::spawn(|| {
            let scheduling = schedule();
            let (priority, policy) = scheduling_of_this_thread();
            match scheduling {
                Ok(()) => {
                    assert_eq!((priority, policy), (20, libc::SCHED_RR as u32));
                    let child = std::thread::spawn(scheduling_of_this_thread).join().unwrap();
                    assert_eq!(child, (0, libc::SCHED_OTHER as u32), "inherited");
                }
                Err(error) => {
                    assert_eq!((error, priority), (Errno::EPERM, 0));
                }
            }
            scheduling
        });
        let reported = reported.join().unwrap();
        if nix::unistd::geteuid().is_root() {
            eprintln!("real-time scheduling as root: {reported:?}");
        }
    }
}
