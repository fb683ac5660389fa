//! Agents that are killed at any moment, as the cluster does when their time is up: SIGKILL to the
//! process group, and then a stop. The stop succeeds and nothing is left.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::host::Host;

/// Moments of each action, spread over the time that it takes.
const MOMENTS: u32 = 15;

const FLOATING: &[(&str, &str)] = &[
    ("interface", "eth0"),
    ("addresses", "192.0.2.10/24 192.0.2.11/24 2001:db8::10/64"),
    ("gateways", "192.0.2.1"),
];
const PBX: &[(&str, &str)] = &[
    ("command", "$SERVICE 5060 $NAME stubborn"),
    ("probes", "tcp:127.0.0.1:5060"),
    ("stop_timeout", "100ms"),
];

#[test]
fn floating_leaves_nothing_half_done() {
    killed_and_stopped("floating", FLOATING);
}

#[test]
fn pbx_leaves_nothing_half_done() {
    killed_and_stopped("pbx", PBX);
}

fn killed_and_stopped(agent: &str, parameters: &[(&str, &str)]) {
    let Some(host) = Host::with(agent, parameters) else { return };
    let begun = Instant::now();
    assert_eq!(host.answers("start", "0").code, 0);
    let start_takes = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(host.answers("stop", "0").code, 0);
    let stop_takes = begun.elapsed();

    let mut unfinished = 0;
    for moment in 0..MOMENTS {
        unfinished += u32::from(cut(&host, "start", start_takes * moment / MOMENTS));
        let seen = host.answers("monitor", "0");
        assert!([0, 1, 7].contains(&seen.code), "moment {moment}: {} {}", seen.code, seen.words);
        stopped(&host, "start", moment);

        assert_eq!(host.answers("start", "0").code, 0, "moment {moment}");
        unfinished += u32::from(cut(&host, "stop", stop_takes * moment / MOMENTS));
        stopped(&host, "stop", moment);
    }
    // Else nothing was tried.
    assert!(unfinished > MOMENTS / 2, "{unfinished} actions were cut");
}

/// True when it had not ended by itself.
fn cut(host: &Host, action: &str, after: Duration) -> bool {
    let mut child = host.action(action).process_group(0).spawn().unwrap();
    std::thread::sleep(after);
    let unfinished = child.try_wait().unwrap().is_none();
    // Not reaped yet, or it would have no number; then the group is its own.
    if unfinished {
        killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
    unfinished
}

fn stopped(host: &Host, cut: &str, moment: u32) {
    let answered = host.answers("stop", "0");
    assert_eq!(answered.code, 0, "{cut} cut at {moment}/{MOMENTS}: {}", answered.words);
    let left = host.nothing_is_left();
    assert_eq!(left, Ok(()), "{cut} cut at {moment}/{MOMENTS}");
    assert_eq!(host.answers("monitor", "0").code, 7, "{cut} cut at {moment}/{MOMENTS}");
}
