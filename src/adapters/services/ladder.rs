//! How long to wait before the next restart.

use std::time::Duration;

/// A service that was good for this long starts again at the ladder's foot.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Pauses between restarts: doubling, up to a limit.
///
/// What does not come up climbs with every attempt, and what comes up and fails soon climbs with
/// every failure. But once it is up, the attempts that it took are forgotten: a service that waited
/// for its database while the host came back is no crash loop when it is killed a little later.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ladder {
    last: Duration,
    /// The pause after the last failure of one that had been up.
    crashed: Duration,
}

impl Ladder {
    /// The pause that came before the present attempt; zero at the first.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.last
    }

    /// The service failed after it had been good for `good_for`, zero if never: the pause before its
    /// next start.
    pub fn next(&mut self, good_for: Duration, first: Duration, longest: Duration) -> Duration {
        let climb = |from: Duration| {
            if from.is_zero() { first } else { (from * 2).clamp(first, longest.max(first)) }
        };
        if good_for.is_zero() {
            self.last = climb(self.last);
        } else {
            let from = if good_for >= GOOD_FOR { Duration::ZERO } else { self.crashed };
            self.crashed = climb(from);
            self.last = self.crashed;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn doubles_to_the_limit_and_forgives_after_a_good_minute() {
        for good in [0, 1, 59_999] {
            let mut ladder = Ladder::default();
            let mut next = |good_for| ladder.next(ms(good_for), ms(200), ms(1000)).as_millis();
            let pauses = [next(good), next(good), next(good), next(good), next(good)];
            assert_eq!(pauses, [200, 400, 800, 1000, 1000], "good for {good} ms each time");
            assert_eq!(next(60_000), 200);
            // A reload may change the limits under it.
            assert_eq!(ladder.next(ms(0), ms(3000), ms(1000)).as_millis(), 3000);
        }
    }

    #[test]
    fn attempts_that_it_took_to_come_up_are_forgotten_and_crashes_are_not() {
        let mut ladder = Ladder::default();
        let mut next = |good_for| ladder.next(ms(good_for), ms(200), ms(10_000)).as_millis();
        assert_eq!([next(0), next(0), next(0), next(0), next(0)], [200, 400, 800, 1600, 3200]);
        assert_eq!(next(2000), 200, "it was up");
        // A loop climbs, whether it is seen good each time or not.
        assert_eq!([next(2000), next(0), next(0), next(2000)], [400, 800, 1600, 800]);
    }
}
