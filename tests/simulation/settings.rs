//! What a run is made of: times, durability, paths, clocks, and how long the world takes.

use std::time::Duration;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::moves::Policy;
use duotone::protocol::node::Durability;
use duotone::protocol::timing::Timing;

use crate::clock::{MICRO, MILLI, Nanos, SECOND};

#[derive(Clone)]
pub struct Settings {
    pub arbitration: Arbitration,
    pub durability: Durability,
    /// Which moves need no order.
    pub policy: Policy,
    pub timing: Timing,
    pub eth0_path: bool,
    /// The standby asks the active node's services over the LAN.
    pub remote_checks: bool,
    /// Everything takes as long as the times allow.
    pub worst: bool,
    /// Each host's clock against true time, in parts per million.
    pub ppm: [i64; 2],
    /// The witness's clock, likewise.
    pub witness_ppm: i64,
    /// Promotions may take this long.
    pub promotion: (Nanos, Nanos),
    /// Rewinds and copies may take this long.
    pub copy: (Nanos, Nanos),
    /// A host that its fence has powered off is powered on again after this.
    pub fenced_returns: Option<(Nanos, Nanos)>,
    /// Between two commits.
    pub commits: (Nanos, Nanos),
    /// After every turn the node goes on as its own record tells it.
    pub recorded: bool,
}

impl Settings {
    /// When somebody looks after a host that was powered off.
    pub const RETURNS: (Nanos, Nanos) = (300 * MILLI, 6 * SECOND);

    pub fn plain() -> Settings {
        Settings {
            arbitration: Arbitration::LAN,
            durability: Durability::Available,
            policy: Policy::DEFAULT,
            timing: voice(),
            eth0_path: true,
            remote_checks: false,
            worst: false,
            ppm: [0, 0],
            witness_ppm: 0,
            promotion: (20 * MILLI, 120 * MILLI),
            copy: (200 * MILLI, 2 * SECOND),
            fenced_returns: None,
            commits: (8 * MILLI, 40 * MILLI),
            recorded: false,
        }
    }

    /// Under another arbiter; the times are the same, but what the fence needs.
    pub fn under(mut self, arbitration: Arbitration) -> Settings {
        self.arbitration = arbitration;
        if arbitration.fence {
            self.timing.certificate = Duration::from_millis(4500);
        }
        self
    }

    fn span(&self, low: Nanos, high: Nanos) -> (Nanos, Nanos) {
        if self.worst { (high, high) } else { (low, high) }
    }

    /// How late the pulse wakes.
    pub fn lateness(&self) -> (Nanos, Nanos) {
        self.span(20 * MICRO, LATENESS)
    }

    /// A heartbeat's way; with the lateness of both ends it stays below D.
    pub fn link(&self) -> (Nanos, Nanos) {
        self.span(80 * MICRO, nanos(self.timing.delay) - 2 * LATENESS - 200 * MICRO)
    }

    /// One way on the LAN.
    pub fn lan(&self) -> (Nanos, Nanos) {
        self.span(60 * MICRO, 1_500 * MICRO)
    }

    /// Releasing an address or stopping the database; with the lateness it stays below R.
    pub fn release(&self) -> (Nanos, Nanos) {
        self.span(300 * MICRO, nanos(self.timing.release) - LATENESS - MILLI)
    }

    /// One of the three parts of a fence's run.
    pub fn fence_part(&self) -> (Nanos, Nanos) {
        self.span(MILLI, nanos(self.timing.fence) * 3 / 10)
    }

    /// The kernel's lifetime of an address, with its rounding.
    pub fn lifetime(&self) -> (Nanos, Nanos) {
        (nanos(self.timing.address_lifetime), nanos(self.timing.lifetime_worst()) - MILLI)
    }
}

/// The pulse's worst lateness when nothing is frozen.
pub const LATENESS: Nanos = 2 * MILLI;

pub fn nanos(span: Duration) -> Nanos {
    span.as_nanos() as Nanos
}

/// The pair that the product is for: 50 ms heartbeats, lost after 250 ms.
pub fn voice() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        interval: ms(50),
        delay: ms(10),
        late_after: ms(175),
        lost_after: ms(250),
        start_grace: ms(400),
        drift_ppm: 200,
        release: ms(30),
        arbiter: ms(40),
        probe_interval: ms(12),
        probes: 4,
        short_window: ms(65),
        long_window: ms(300),
        short_validity: ms(30),
        long_validity: ms(250),
        first_attempt: ms(190),
        short_validity_for: ms(285),
        address_lifetime: ms(2000),
        lan_window: ms(2800),
        certificate: ms(3200),
        grant: ms(250),
        grant_renewal: ms(40),
        fence: ms(1000),
        fence_delay: ms(1130),
        replication_stall: ms(1000),
        step_deadline: ms(5000),
        critical_down: ms(2000),
    }
}

/// The same with clocks so bad that every drift margin shows: 2 % each.
pub fn drifty() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        drift_ppm: 20_000,
        lost_after: ms(260),
        short_validity_for: ms(300),
        certificate: ms(3350),
        ..voice()
    }
}

#[test]
fn the_times_of_the_tests_are_safe() {
    for timing in [voice(), drifty()] {
        for arbitration in [
            Arbitration::LAN,
            Arbitration::WITNESS,
            Arbitration::FENCE,
            Arbitration::WITNESS_AND_FENCE,
        ] {
            let settings = Settings { timing, ..Settings::plain() }.under(arbitration);
            assert_eq!(settings.timing.violations(arbitration), Vec::new());
        }
    }
}
