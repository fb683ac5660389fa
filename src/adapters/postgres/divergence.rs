//! Where the local log left the peer's.

use super::mark::pairs;
use super::source::Source;
use crate::protocol::log::{Fork, Log};

/// How the local log relates to the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Divergence {
    /// It is a part of the peer's.
    None,
    /// It holds something else than the peer's after this position of this timeline.
    At { timeline: u32, position: u64 },
    /// The same, though the numbers and ends of the timelines do not show it: both nodes promoted
    /// one timeline apart, and gave their branches one number.
    Namesake { timeline: u32, position: u64 },
    /// Both are on a timeline of the same number and history, and nothing tells whether it is the
    /// same one.
    Unknown,
}

impl Divergence {
    /// With what the node knows beyond the numbers: up to `common` the logs are the same.
    pub(super) fn corrected(self, common: Option<u64>, forks: &[Fork], log: &Log) -> Divergence {
        let Some(position) = common.filter(|common| *common < log.position) else { return self };
        match self {
            Divergence::At { position: seen, .. } if seen <= position => self,
            Divergence::None
            | Divergence::At { .. }
            | Divergence::Namesake { .. }
            | Divergence::Unknown => {
                let fork = forks.iter().find(|fork| position <= fork.at);
                let timeline = fork.map_or(log.timeline, |fork| fork.timeline);
                Divergence::Namesake { timeline, position }
            }
        }
    }
}

/// Compares two histories: each timeline with its end, oldest first.
///
/// `trusted`: the local log was once made to follow the peer's on this very timeline.
pub(super) fn compare(
    forks: &[Fork],
    timeline: u32,
    position: u64,
    source: &Source,
    trusted: bool,
) -> Divergence {
    let here: Vec<(u32, u64)> = pairs(forks).into_iter().chain([(timeline, position)]).collect();
    let there = pairs(&source.forks);
    let there = there.into_iter().chain([(source.timeline, source.position)]);
    let mut common = None;
    let last = here.len() - 1;
    for (index, ((mine, my_end), (theirs, their_end))) in here.iter().zip(there).enumerate() {
        if *mine != theirs {
            break;
        }
        let ends = *my_end.min(&their_end);
        common = Some(Divergence::At { timeline: *mine, position: ends });
        let mine_is_last = index == last;
        let theirs_is_last = theirs == source.timeline;
        match (mine_is_last, theirs_is_last) {
            (true, true) if trusted => return Divergence::None,
            (true, true) => return Divergence::Unknown,
            (true, false) if *my_end <= their_end => return Divergence::None,
            (false, false) if *my_end == their_end => {}
            (true, false) | (false, true) | (false, false) => break,
        }
    }
    common.unwrap_or(Divergence::Unknown)
}

#[cfg(test)]
mod tests {
    use super::{Divergence, compare};
    use crate::adapters::postgres::source::Source;
    use crate::protocol::log::{Fork, Log};

    fn source(timeline: u32, position: u64, forks: &[(u32, u64)]) -> Source {
        Source { system_id: 1, timeline, position, forks: history(forks) }
    }

    fn history(forks: &[(u32, u64)]) -> Vec<Fork> {
        forks.iter().map(|&(timeline, at)| Fork { timeline, at, branch: None }).collect()
    }

    #[test]
    fn the_fork_is_where_the_shorter_of_two_branches_ended() {
        let at = |timeline, position| Divergence::At { timeline, position };
        let three = source(3, 900, &[(1, 100), (2, 500)]);
        for (forks, timeline, position, expected) in [
            (&[][..], 1, 100, Divergence::None),
            (&[], 1, 101, at(1, 100)),
            (&[(1, 100)], 2, 500, Divergence::None),
            (&[(1, 100)], 2, 600, at(2, 500)),
            // Promoted apart, sooner or later than the other.
            (&[(1, 90)], 2, 300, at(1, 90)),
            (&[(1, 120)], 2, 300, at(1, 100)),
            (&[(1, 100), (2, 450)], 3, 460, at(2, 450)),
            (&[(1, 100), (2, 500)], 4, 700, at(2, 500)),
            (&[(1, 100), (2, 500)], 3, 800, Divergence::Unknown),
            // Ahead of the whole of the peer's.
            (&[(1, 100), (2, 500), (3, 950)], 4, 960, at(3, 900)),
        ] {
            let seen = compare(&history(forks), timeline, position, &three, false);
            assert_eq!(seen, expected, "{forks:?} {timeline} {position}");
        }
        let log = |timeline, position| Log {
            timeline,
            position,
            forks: history(&[(1, 100), (2, 500)]),
            branch: None,
            unfinished: false,
        };
        let forks = history(&[(1, 100), (2, 500)]);
        let namesake = |timeline, position| Divergence::Namesake { timeline, position };
        for (seen, common, expected) in [
            (Divergence::None, None, Divergence::None),
            (Divergence::None, Some(800), Divergence::None),
            (Divergence::None, Some(500), namesake(2, 500)),
            (Divergence::Unknown, Some(100), namesake(1, 100)),
            (at(2, 450), Some(500), at(2, 450)),
            (at(3, 700), Some(500), namesake(2, 500)),
        ] {
            assert_eq!(seen.corrected(common, &forks, &log(3, 800)), expected, "{seen:?}");
        }
        let same = compare(&history(&[(1, 100), (2, 500)]), 3, 800, &three, true);
        assert_eq!(same, Divergence::None);
        assert_eq!(compare(&[], 1, 10, &source(2, 9, &[(1, 10)]), false), Divergence::None);
    }
}
