//! The boot-time clock, common to every namespace of one machine, and waiting that Ctrl-C ends.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::protocol::time::Instant;

/// `CLOCK_BOOTTIME` now.
pub fn now() -> Instant {
    Instant::from_nanos(nanos(clock_gettime(ClockId::Boottime)))
}

/// A kernel stamp of `CLOCK_REALTIME`, on the boot-time clock; never later than now.
pub fn from_realtime(stamp_ns: u64) -> Instant {
    let age = nanos(clock_gettime(ClockId::Realtime)).saturating_sub(stamp_ns);
    now().before(Duration::from_nanos(age))
}

/// Milliseconds from `from` to `to`, negative when `to` is earlier.
pub fn ms_between(from: Instant, to: Instant) -> f64 {
    (to.as_nanos() as f64 - from.as_nanos() as f64) / 1e6
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The user asked to stop (SIGINT, SIGTERM, SIGHUP).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Turns the signals that end a program into [`Interrupted`] at the next wait, so that everything
/// is cleaned up on the way out.
pub fn catch_signals() -> std::io::Result<()> {
    let flag = STOP.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(flag))?;
    Ok(())
}

/// Sleeps, unless interrupted.
pub fn pause(span: Duration) -> Result<(), Interrupted> {
    let end = now() + span;
    loop {
        if STOP.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Interrupted);
        }
        let left = end.since(now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Asks `done` every `every` until it says so (`true`), `patience` is over (`false`), or the user
/// interrupts.
pub fn wait_until(
    patience: Duration,
    every: Duration,
    mut done: impl FnMut() -> bool,
) -> Result<bool, Interrupted> {
    let end = now() + patience;
    loop {
        if done() {
            return Ok(true);
        }
        if now() >= end {
            return Ok(false);
        }
        pause(every)?;
    }
}
