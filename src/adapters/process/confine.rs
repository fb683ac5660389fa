//! What a command may use, set in the child before it becomes the command: its control group and
//! its limits (setrlimit(2)).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::cgroup::Cgroup;
use crate::config::Service;

/// Puts the command into `group` and under the service's limits when it is executed. Memory that
/// cannot be limited here is no reason to keep a PBX down: it is said.
///
/// # Errors
/// The group cannot be entered.
pub fn confine(command: &mut Command, service: &Service, group: Option<&Cgroup>) -> io::Result<()> {
    let limits = service.limits;
    if let Some(bytes) = limits.memory {
        let limited = match group {
            Some(group) if group.limits_memory() => group.limit_memory(bytes),
            Some(_) | None => Err(io::Error::other("there is no control group for it")),
        };
        if let Err(error) = limited {
            let name = &service.name;
            tracing::warn!(service = name, "runs without its limit of memory: {error}");
        }
    }
    let door = group.map(Cgroup::door).transpose()?;
    let numbers = [
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_CORE, limits.core),
    ];
    // SAFETY: between fork and exec only system calls on integers and on memory that the closure
    // owns; all async-signal-safe (signal-safety(7)), and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if let Some(door) = &door {
                check(libc::write(door.as_raw_fd(), b"0".as_ptr().cast(), 1))?;
            }
            for (which, limit) in numbers {
                if let Some(limit) = limit {
                    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                    check(libc::setrlimit(which, &raw const limit) as isize)?;
                }
            }
            Ok(())
        });
    }
    Ok(())
}

fn check(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
