//! How long to wait before the next restart.

use std::time::Duration;

/// A service that was good for this many times the last pause starts again at the ladder's foot: what
/// failed a few times before its database was there is no crash loop a minute later.
const GOOD_FOR_PAUSES: u32 = 10;
/// But not for less than this: whatever ends sooner again and again climbs.
const GOOD_FOR_LEAST: Duration = Duration::from_secs(5);
/// And this is enough for any.
const GOOD_FOR_MOST: Duration = Duration::from_secs(60);

/// Pauses between restarts: doubling, up to a limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ladder {
    last: Duration,
}

impl Ladder {
    /// The pause that came before the present attempt; zero at the first.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.last
    }

    /// The service failed after it had been good for `good_for`: the pause before its next start.
    pub fn next(&mut self, good_for: Duration, first: Duration, longest: Duration) -> Duration {
        let longest = longest.max(first);
        let enough = (self.last * GOOD_FOR_PAUSES).clamp(GOOD_FOR_LEAST, GOOD_FOR_MOST);
        self.last = if self.last.is_zero() || good_for >= enough {
            first
        } else {
            (self.last * 2).clamp(first, longest)
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_limit_and_forgives_after_a_good_while() {
        let ms = Duration::from_millis;
        let mut ladder = Ladder::default();
        let mut next = |good_for| ladder.next(good_for, ms(200), ms(1000)).as_millis();
        assert_eq!([next(ms(0)), next(ms(0)), next(ms(0)), next(ms(0))], [200, 400, 800, 1000]);
        assert_eq!(next(ms(9_999)), 1000, "ten times the pause");
        assert_eq!(next(ms(10_000)), 200);
        assert_eq!(next(ms(4_999)), 400, "five seconds at least");
        assert_eq!(next(ms(5_000)), 200);
        // A reload may change the limits under it.
        assert_eq!(ladder.next(ms(0), ms(3000), ms(1000)).as_millis(), 3000);
        let mut long = |good_for| ladder.next(good_for, ms(20_000), ms(20_000)).as_millis();
        assert_eq!(long(ms(0)), 20_000);
        assert_eq!(ladder.next(ms(59_999), ms(100), ms(20_000)).as_millis(), 20_000);
        assert_eq!(
            ladder.next(ms(60_000), ms(100), ms(20_000)).as_millis(),
            100,
            "a minute is enough"
        );
    }
}
