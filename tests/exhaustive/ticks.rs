//! Time in ticks, and the times of a pair that fit them: as short as the inequalities allow.

use std::time::Duration;

use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;

/// The kernel's slack with lifetimes (400 ms) fits into one.
pub const TICK: Duration = Duration::from_millis(500);

/// Releasing the address and stopping the database take this long, and may take no longer.
pub const RELEASE: u32 = 1;

/// A floating address that nobody renews is gone after this.
pub const LIFETIME: u32 = 2;

pub fn ticks(many: u32) -> Duration {
    TICK * many
}

/// The clock begins where there is room for what was before.
pub fn instant(tick: u32) -> Instant {
    Instant::ZERO + TICK * (tick + 1_000)
}

/// The times of a pair whose messages take up to `delay` ticks.
pub fn timing(delay: u32) -> Timing {
    let round = 2 * (1 + delay);
    let (arbiter, short_window, long_window, grant) = (2, 4, 5, 4);
    let late = round + 1;
    let lost = late + arbiter + RELEASE;
    let first_attempt = short_window + round;
    let lan_window = LIFETIME + long_window + arbiter;
    Timing {
        interval: ticks(1),
        delay: ticks(delay),
        late_after: ticks(late),
        lost_after: ticks(lost),
        start_grace: ticks(lost + round),
        drift_ppm: 0,
        release: ticks(RELEASE),
        arbiter: ticks(arbiter),
        probe_interval: ticks(1),
        probes: 3,
        short_window: ticks(short_window),
        long_window: ticks(long_window),
        short_validity: ticks(2),
        long_validity: ticks(3),
        first_attempt: ticks(first_attempt),
        short_validity_for: ticks(first_attempt + RELEASE + delay + 1),
        address_lifetime: ticks(1),
        lan_window: ticks(lan_window),
        certificate: ticks(round + lost + lan_window),
        grant: ticks(grant),
        grant_renewal: ticks(1),
        fence: ticks(0),
        fence_delay: ticks(0),
        replication_stall: ticks(3),
        step_deadline: ticks(20),
        critical_down: ticks(4),
    }
}
