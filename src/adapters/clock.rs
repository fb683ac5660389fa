//! The boot-time clock, read for the protocol.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::protocol::time::Instant;

/// `CLOCK_BOOTTIME` now (`clock_gettime(2)`; it exists since Linux 2.6.39).
///
/// Should the call ever fail, the clock reads zero: everything that carries such a time is too old
/// to count, which is the safe side.
pub fn now() -> Instant {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .map_or(Instant::ZERO, |span| Instant::ZERO + span)
}
