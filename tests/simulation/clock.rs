//! A host's boot-time clock: it drifts, and a hidden freeze stops it.

use duotone::protocol::time::Instant;

/// Nanoseconds of the world's true time.
pub type Nanos = u64;

pub const MICRO: Nanos = 1_000;
pub const MILLI: Nanos = 1_000_000;
pub const SECOND: Nanos = 1_000_000_000;

pub struct Clock {
    true_base: Nanos,
    local_base: u64,
    ppm: i64,
    stopped_at: Option<u64>,
}

impl Clock {
    pub fn booted(now: Nanos, local: u64, ppm: i64) -> Clock {
        Clock { true_base: now, local_base: local, ppm, stopped_at: None }
    }

    pub fn read(&self, now: Nanos) -> u64 {
        self.stopped_at.unwrap_or_else(|| self.running(now))
    }

    fn running(&self, now: Nanos) -> u64 {
        let elapsed = now - self.true_base;
        self.local_base + elapsed.saturating_add_signed(scaled(elapsed, self.ppm))
    }

    pub fn instant(&self, now: Nanos) -> Instant {
        Instant::from_nanos(self.read(now))
    }

    /// The first true time at which this clock reads `local` or later, if it runs until then.
    pub fn when(&self, local: u64) -> Nanos {
        let ahead = local.saturating_sub(self.local_base);
        let guess = self.true_base + ahead.saturating_add_signed(-scaled(ahead, self.ppm));
        // The inverse of the rate is only near to its negative: step to the exact tick.
        let mut at = guess;
        let mut missing = local.saturating_sub(self.running(at));
        while missing > 0 {
            at += missing;
            missing = local.saturating_sub(self.running(at));
        }
        at
    }

    pub fn stop(&mut self, now: Nanos) {
        self.stopped_at = Some(self.read(now));
    }

    pub fn go_on(&mut self, now: Nanos) {
        if let Some(local) = self.stopped_at.take() {
            self.true_base = now;
            self.local_base = local;
        }
    }
}

fn scaled(span: u64, ppm: i64) -> i64 {
    // A run takes minutes: the product of nanoseconds and a few percent fits.
    span as i64 * ppm / 1_000_000
}
