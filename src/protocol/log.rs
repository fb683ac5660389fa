//! Where a database's log stands, and how two logs relate (PROTOCOL rule 22).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::identity::Term;

/// The end of one timeline: the next one begins at `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// The timeline that ended.
    pub timeline: u32,
    /// The position at which it ended, in bytes of write-ahead log.
    pub at: u64,
    /// The served term that had begun it, when the node knows it.
    pub branch: Option<Term>,
}

/// The end of a write-ahead log, with the branches it came through.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

    /// Up to which position the two logs are certainly the same. A timeline whose name only one of
    /// them knows may be another one.
    pub fn common(&self, peer: &Log) -> Option<u64> {
        let mut common = None;
        for mine in self.segments() {
            let Some(theirs) = peer.segments().find(|theirs| theirs.timeline == mine.timeline)
            else {
                continue;
            };
            if mine.branch != theirs.branch {
                return common;
            }
            common = Some(mine.at.min(theirs.at));
            if mine.at != theirs.at {
                return common;
            }
        }
        common
    }

    /// Is `other` a prefix of `self`? The branches must agree, not only the positions: after two
    /// promotions of the same timeline both logs name the same number for different branches, and
    /// still do when one of them has gone on to a later timeline.
    fn contains(&self, other: &Log) -> bool {
        let here = self.segments().find(|segment| segment.timeline == other.timeline);
        here.is_some_and(|here| other.position <= here.at && same_branch(here.branch, other.branch))
            && self.same_forks(other)
    }

    /// The timelines that it came through, and the one that it is on, which ends at its position.
    pub(super) fn segments(&self) -> impl Iterator<Item = Fork> + '_ {
        let last = Fork { timeline: self.timeline, at: self.position, branch: self.branch };
        self.forks.iter().copied().chain([last])
    }

    fn same_forks(&self, other: &Log) -> bool {
        other.forks.iter().all(|fork| {
            match self.forks.iter().find(|mine| mine.timeline == fork.timeline) {
                Some(mine) => mine.at == fork.at && same_branch(mine.branch, fork.branch),
                // A part of the history that has scrolled out says nothing against it.
                None => self.forks.first().is_some_and(|oldest| fork.timeline < oldest.timeline),
            }
        })
    }
}

/// Names that are both known must agree; who does not know a name has nothing against it.
fn same_branch(mine: Option<Term>, theirs: Option<Term>) -> bool {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine == theirs,
        (None, _) | (_, None) => true,
    }
}

/// Which served term began which timeline: the newest [`Branches::REMEMBERED`], oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Branches([Option<(u32, Term)>; Branches::REMEMBERED]);

impl Branches {
    /// Nothing is known.
    pub const NONE: Branches = Branches([None; Branches::REMEMBERED]);

    /// As many as a heartbeat tells, and the one that is being written.
    pub const REMEMBERED: usize = Log::MAX_FORKS + 1;

    /// The term that began `timeline`.
    pub fn name(&self, timeline: u32) -> Option<Term> {
        self.iter().find(|(known, _)| *known == timeline).map(|(_, term)| term)
    }

    /// `term` began `timeline`; what was known of it and of later ones is no longer so.
    #[must_use]
    pub fn with(self, timeline: u32, term: Term) -> Branches {
        let mut kept: Vec<(u32, Term)> =
            self.iter().filter(|(known, _)| *known < timeline).collect();
        kept.push((timeline, term));
        let newest = kept.len().saturating_sub(Self::REMEMBERED);
        kept[newest..].iter().copied().collect()
    }

    /// What the peer's log says of its timelines.
    pub fn of(log: &Log) -> Branches {
        log.segments()
            .filter_map(|segment| segment.branch.map(|term| (segment.timeline, term)))
            .fold(Branches::default(), |branches, (timeline, term)| branches.with(timeline, term))
    }

    /// Each timeline with its term, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Term)> + '_ {
        self.0.iter().copied().flatten()
    }
}

impl FromIterator<(u32, Term)> for Branches {
    /// The first [`Branches::REMEMBERED`] pairs, in their order.
    fn from_iter<I: IntoIterator<Item = (u32, Term)>>(pairs: I) -> Self {
        let mut branches = Branches::default();
        for (slot, pair) in branches.0.iter_mut().zip(pairs) {
            *slot = Some(pair);
        }
        branches
    }
}
