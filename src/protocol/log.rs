//! Where a database's log stands, and how two logs relate (PROTOCOL rule 22).

use alloc::vec::Vec;

use super::identity::Term;

/// The end of one timeline: the next one begins at `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fork {
    /// The timeline that ended.
    pub timeline: u32,
    /// The position at which it ended, in bytes of write-ahead log.
    pub at: u64,
}

/// The end of a write-ahead log, with the branches it came through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// The timeline that it is on.
    pub timeline: u32,
    /// Its end, in bytes of write-ahead log (PostgreSQL: the LSN).
    pub position: u64,
    /// The most recent timelines before this one, oldest first; at most [`Log::MAX_FORKS`].
    pub forks: Vec<Fork>,
    /// The served term that began this timeline, when the node knows it. Two nodes that promoted
    /// the same timeline apart give their branches the same number; this tells them apart.
    pub branch: Option<Term>,
    /// A copy or rewind was begun and is not finished: this log may not be relied on.
    pub unfinished: bool,
}

/// How my log relates to the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The same end of the same branch.
    Equal,
    /// Mine continues the peer's.
    Longer,
    /// The peer's continues mine.
    Shorter,
    /// Each holds what the other lacks, or the history is too long to tell.
    Diverged,
}

impl Log {
    /// A heartbeat carries this many forks; an older history counts as diverged.
    pub const MAX_FORKS: usize = 8;

    /// How `self` (mine) relates to `peer`.
    pub fn relation(&self, peer: &Log) -> Relation {
        match (self.contains(peer), peer.contains(self)) {
            (true, true) => Relation::Equal,
            (true, false) => Relation::Longer,
            (false, true) => Relation::Shorter,
            (false, false) => Relation::Diverged,
        }
    }

    /// Is `other` a prefix of `self`? The branches must agree, not only the positions: after two
    /// promotions of the same timeline both logs name the same number for different branches.
    fn contains(&self, other: &Log) -> bool {
        let end_here = if self.timeline == other.timeline {
            Some(self.position)
        } else {
            self.forks.iter().find(|fork| fork.timeline == other.timeline).map(|fork| fork.at)
        };
        end_here.is_some_and(|end| other.position <= end)
            && self.same_branches(other)
            && !self.same_number_for_another_branch(other)
    }

    fn same_number_for_another_branch(&self, other: &Log) -> bool {
        self.timeline == other.timeline
            && matches!((self.branch, other.branch), (Some(mine), Some(theirs)) if mine != theirs)
    }

    fn same_branches(&self, other: &Log) -> bool {
        let known = |log: &Log, timeline: u32| {
            log.forks.iter().find(|fork| fork.timeline == timeline).map(|fork| fork.at)
        };
        other.forks.iter().all(|fork| match known(self, fork.timeline) {
            Some(at) => at == fork.at,
            // A window of the history that has scrolled out on one side says nothing against it.
            None => self.forks.first().is_some_and(|oldest| fork.timeline < oldest.timeline),
        })
    }
}
