//! How much the cluster should want to promote an instance. Scores only propose: whether a
//! promotion may go ahead is decided in `gate.rs`, from marks and logs.

use crate::protocol::node::Durability;

/// Whether a server is known to hold every row that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// The primary's agent says so, before it relies on it.
    Whole,
    /// The primary's agent said, before it went on alone, that it does not.
    Lacking,
    /// Nobody has said anything since the node joined the cluster.
    Unknown,
}

/// The primary itself.
pub(super) const PRIMARY: i32 = 1000;
/// It has more than the one that was to be promoted, as that one has just found out; or it was the
/// primary when it last ran, and there is none now.
pub(super) const AHEAD: i32 = 500;
/// A server that holds everything.
const WHOLE: i32 = 100;
/// A server that may lack rows: wanted only where nobody better is.
const PERHAPS: i32 = 10;
/// It has less than another one.
pub(super) const BEHIND: i32 = 1;
/// Not to be promoted.
pub(super) const NEVER: i32 = -1000;

/// Of a server that is not the primary.
pub(super) fn standby(mark: Mark, durability: Durability) -> i32 {
    match (mark, durability) {
        (Mark::Whole, Durability::Strict | Durability::Available | Durability::Async) => WHOLE,
        (Mark::Lacking, Durability::Strict) => NEVER,
        // After a cold start of both nobody knows anything, and their logs are compared.
        (Mark::Unknown, Durability::Strict) => PERHAPS,
        (Mark::Lacking | Mark::Unknown, Durability::Available | Durability::Async) => PERHAPS,
    }
}
