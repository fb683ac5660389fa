//! What a command may use, set in the child before it becomes the command: its control group and
//! its limits (setrlimit(2)).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::cgroup::Cgroup;
use crate::config::Service;

/// Puts the command into `group` and under the service's limits when it is executed. A group that
/// cannot be entered, and memory that cannot be limited here, are no reason to keep a PBX down.
pub fn confine(command: &mut Command, service: &Service, group: Option<&Cgroup>) {
    let (limits, name) = (service.limits, &service.name);
    if let Some(bytes) = limits.memory {
        let limited = match group {
            Some(group) if group.limits_memory() => group.limit_memory(bytes),
            Some(_) | None => Err(io::Error::other("there is no control group for it")),
        };
        if let Err(error) = limited {
            tracing::warn!(service = name, "runs without its limit of memory: {error}");
        }
    }
    let door = group.and_then(|group| {
        let opened = group.door();
        opened.inspect_err(|error| tracing::warn!(service = name, "no control group: {error}")).ok()
    });
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
                // Refused, the service is watched by its session alone; who started it sees that.
                libc::write(door.as_raw_fd(), b"0".as_ptr().cast(), 1);
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
}

fn check(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_gone_does_not_keep_a_service_down() {
        let text = include_str!("../../../tests/made/pair.toml").to_owned()
            + "[[service]]\nname = \"sip\"\ncommand = [\"/bin/true\"]\n";
        let config = crate::config::Config::parse(&text, "duotone.toml", Some("pbx-a"));
        let config = config.map_err(|errors| errors.to_string()).unwrap();
        let mut command = Command::new("/bin/true");
        let gone = Cgroup::recorded("/sys/fs/cgroup/there-is-none".into());
        confine(&mut command, &config.services[0], Some(&gone));
        assert!(command.status().unwrap().success());
        // One whose door opens and lets nobody in.
        let full = std::env::temp_dir().join(format!("dts-full-{}", std::process::id()));
        std::fs::create_dir(&full).unwrap();
        std::os::unix::fs::symlink("/dev/full", full.join("cgroup.procs")).unwrap();
        let mut command = Command::new("/bin/true");
        confine(&mut command, &config.services[0], Some(&Cgroup::recorded(full.clone())));
        let ran = command.status();
        std::fs::remove_dir_all(&full).unwrap();
        assert!(ran.unwrap().success());
    }
}
