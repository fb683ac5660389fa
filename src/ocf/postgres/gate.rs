//! Whether a promotion may go ahead. Pure; `promote.rs` asks and waits.

use super::cluster::Position;
use super::score::Mark;
use crate::protocol::node::Durability;

/// The other server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Other {
    /// The cluster has stopped it, or fenced its host.
    Gone,
    /// It runs, and its log ends here.
    At(Position),
    /// It runs, and has not said where its log ends.
    Silent,
}

/// What may be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It holds every acknowledged row.
    Promote,
    /// It may lack rows, and the durability prefers that to no database.
    PromoteWithLoss,
    /// The other one has more.
    Behind(Position),
    /// Nobody knows that it holds everything, and the other one cannot be asked.
    Held,
    /// The other one has to say first where its log ends.
    Wait,
}

/// Every acknowledged row is on the last primary. So a log that is compared with the only other one
/// needs no mark, and one that cannot be compared does.
pub(super) fn decide(mine: Position, other: Other, mark: Mark, durability: Durability) -> Verdict {
    match (other, mark, durability) {
        (Other::At(theirs), _, _) if theirs > mine => Verdict::Behind(theirs),
        (Other::At(_), _, _) | (Other::Gone, Mark::Whole, _) => Verdict::Promote,
        (Other::Gone, Mark::Lacking | Mark::Unknown, Durability::Strict) => Verdict::Held,
        (Other::Gone, Mark::Lacking | Mark::Unknown, Durability::Available | Durability::Async) => {
            Verdict::PromoteWithLoss
        }
        (Other::Silent, _, _) => Verdict::Wait,
    }
}
