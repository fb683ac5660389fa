//! The pulse's clocks: boot time for everything, and wall time for one purpose, to find out how
//! old a receive stamp of the kernel is.

use rustix::time::{ClockId, clock_gettime};

use crate::protocol::time::{Duration, Instant};

/// The wall clock was set, or the reading was interrupted, when both clocks differ by more.
const MOVED: Duration = Duration::from_millis(1);

/// Now, on `CLOCK_BOOTTIME` (it goes on while the host is suspended).
pub fn now() -> Instant {
    Instant::from_nanos(nanos(ClockId::Boottime))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither clock is before its zero; a wall clock set before 1970 is read as zero.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Both clocks, read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Boot time.
    pub boot: Instant,
    /// Wall time, in nanoseconds since 1970.
    real: u64,
}

impl Reading {
    /// Reads them.
    pub fn now() -> Reading {
        Reading { boot: now(), real: nanos(ClockId::Realtime) }
    }
}

/// Dates what one socket delivers. Everything that it delivers arrived after it was last found
/// empty, whatever a stamp says.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    emptied: Reading,
}

impl Arrivals {
    /// Of a socket that is opened now.
    pub fn since(opened: Reading) -> Arrivals {
        Arrivals { emptied: opened }
    }

    /// The socket was found empty by a drain that began at `begun`.
    pub fn emptied(&mut self, begun: Reading) {
        self.emptied = begun;
    }

    /// When a datagram arrived that is read in a drain that began at `begun`. `stamp` is the
    /// kernel's (`SO_TIMESTAMPNS`, socket(7)), in nanoseconds of wall time. Never later than
    /// `begun.boot`; exactly that when the stamp cannot be trusted.
    pub fn at(&self, begun: Reading, stamp: Option<u64>) -> Instant {
        let waited = begun.boot.since(self.emptied.boot);
        let real_waited = i128::from(begun.real) - i128::from(self.emptied.real);
        let moved = (real_waited - waited.as_nanos() as i128).unsigned_abs() > MOVED.as_nanos();
        match stamp {
            Some(stamp) if !moved => {
                let age = Duration::from_nanos(begun.real.saturating_sub(stamp));
                begun.boot.before(age.min(waited))
            }
            Some(_) | None => begun.boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reading(boot_ms: u64, real_ms: u64) -> Reading {
        Reading { boot: Instant::from_nanos(boot_ms * MS), real: real_ms * MS }
    }

    /// Emptied at boot 100 ms, wall 5000 ms; then read at `begun` with a stamp.
    fn at(begun: Reading, stamp_ms: Option<u64>) -> u64 {
        let at = Arrivals::since(reading(100, 5000)).at(begun, stamp_ms.map(|ms| ms * MS));
        at.as_nanos() / MS
    }

    #[test]
    fn a_stamp_tells_when_a_datagram_arrived_while_we_slept() {
        assert_eq!(at(reading(150, 5050), Some(5010)), 110);
    }

    #[test]
    fn a_stamp_from_the_future_or_none_is_now() {
        assert_eq!(at(reading(150, 5050), Some(5051)), 150);
        assert_eq!(at(reading(150, 5050), None), 150);
    }

    #[test]
    fn nothing_is_older_than_the_last_time_the_socket_was_empty() {
        assert_eq!(at(reading(150, 5050), Some(1000)), 100);
    }

    #[test]
    fn a_stamp_is_not_believed_when_the_wall_clock_was_set() {
        for real in [5052, 5048, 1, 900_000] {
            assert_eq!(at(reading(150, real), Some(5010)), 150, "wall clock at {real}");
        }
    }

    #[test]
    fn boot_time_advances() {
        let first = Reading::now();
        let second = Reading::now();
        assert!(second.boot >= first.boot);
        assert!(first.boot > Instant::ZERO);
    }
}
