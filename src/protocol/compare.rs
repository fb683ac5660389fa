//! Which of two nodes that do not serve takes the role (rules 13, 14 and 22).

use super::durable::Standing;
use super::heartbeat::{Heartbeat, Promise};
use super::identity::NodeId;
use super::lead::Comparison;
use super::log::{Log, Relation};
use super::node::Durability;

/// This node's side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Mine<'a> {
    /// This node.
    pub node: NodeId,
    /// The pair has a database.
    pub database: bool,
    /// Its database.
    pub system_id: Option<u64>,
    /// Where its log stands; `None` when that is not known.
    pub log: Option<&'a Log>,
    /// (lone term, served term).
    pub standing: Standing,
    /// Whether a log that may lack rows may be promoted.
    pub durability: Durability,
}

/// The peer's (lone term, served term).
pub fn standing(heartbeat: &Heartbeat) -> Standing {
    Standing { lone: heartbeat.lone, served: heartbeat.served }
}

/// The peer's standing is higher than `mine`, and its log can still be served (rule 22).
pub fn has_higher_standing(peer: &Heartbeat, mine: Standing) -> bool {
    standing(peer) > mine && !peer.log.as_ref().is_some_and(|log| log.unfinished)
}

/// Does the log of `mine` contain everything that the peer's does? `None` when not known.
pub fn contains(mine: &Mine<'_>, peer: &Heartbeat) -> Option<bool> {
    if !mine.database {
        return Some(true);
    }
    let (log, other) = (mine.log?, peer.log.as_ref()?);
    Some(matches!(log.relation(other), Relation::Longer | Relation::Equal))
}

/// Does the peer's log contain everything that the log of `mine` does? `None` when not known.
pub fn contained(mine: &Mine<'_>, peer: &Heartbeat) -> Option<bool> {
    if !mine.database {
        return Some(true);
    }
    let (log, other) = (mine.log?, peer.log.as_ref()?);
    Some(matches!(log.relation(other), Relation::Shorter | Relation::Equal))
}

/// Who takes the role? Both nodes come to opposite answers from the same two logs.
pub fn compare(mine: &Mine<'_>, peer: &Heartbeat) -> Comparison {
    let standings = mine.standing.cmp(&standing(peer));
    let by_standing = match standings {
        core::cmp::Ordering::Greater => Comparison::Win,
        core::cmp::Ordering::Less => Comparison::Lose,
        core::cmp::Ordering::Equal if mine.node < peer.node => Comparison::Win,
        core::cmp::Ordering::Equal => Comparison::Lose,
    };
    let peer_left = peer.promise == Promise::Leaving;
    if !mine.database {
        return if peer_left { Comparison::Win } else { by_standing };
    }
    let (Some(log), Some(other)) = (mine.log, peer.log.as_ref()) else {
        return Comparison::Unknown;
    };
    if mine.system_id != peer.system_id {
        return Comparison::Unknown;
    }
    match (log.unfinished, other.unfinished) {
        (true, true) => return Comparison::Unknown,
        (true, false) => return Comparison::Lose,
        (false, true) => return Comparison::Win,
        (false, false) => {}
    }
    // Whoever leaves never takes; the other may, if it is allowed to promote what it has.
    if peer_left && mine.durability != Durability::Strict {
        return Comparison::Win;
    }
    match log.relation(other) {
        Relation::Longer => Comparison::Win,
        Relation::Shorter => Comparison::Lose,
        Relation::Equal if peer_left || mine.node < peer.node => Comparison::Win,
        Relation::Equal => Comparison::Lose,
        Relation::Diverged => by_standing,
    }
}
