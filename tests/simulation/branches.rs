//! Every row that any database ever wrote: one tree of log branches.
//!
//! A database's log is a place in this tree. Each branch has one writer, so that a row is named by
//! its branch and the position of its end.

use duotone::protocol::identity::NodeId;
use duotone::protocol::log::{Fork, Log};

pub type BranchId = usize;

/// The end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub branch: BranchId,
    pub position: u64,
}

pub struct Branch {
    pub parent: Option<Place>,
    pub timeline: u32,
    pub by: Option<NodeId>,
    /// Promoted without a certificate, as the taker's heartbeat had said before.
    pub stale: bool,
    /// Promoted on an operator's word.
    pub forced: bool,
    /// The end of the last acknowledged row; acknowledgements of one branch come in order.
    pub acknowledged: u64,
    /// Rows up to here are known to be lost, and that was counted.
    pub forgiven: u64,
    pub salvaged: u64,
}

pub struct Branches(pub Vec<Branch>);

impl Branches {
    pub const ROOT: Place = Place { branch: 0, position: 1_000 };

    pub fn new() -> Branches {
        Branches(vec![Branch::new(None, 1, None)])
    }

    /// A promotion at the end of `parent`.
    pub fn fork(&mut self, parent: Place, by: NodeId) -> Place {
        let timeline = self.0[parent.branch].timeline + 1;
        self.0.push(Branch::new(Some(parent), timeline, Some(by)));
        // The end-of-recovery record.
        Place { branch: self.0.len() - 1, position: parent.position + 64 }
    }

    /// How far `log` goes on `branch`; `None` when it never came through it.
    fn reach(&self, log: Place, branch: BranchId) -> Option<u64> {
        let mut here = log;
        while here.branch != branch {
            here = self.0[here.branch].parent?;
        }
        Some(here.position)
    }

    /// Is `other` a prefix of `log`?
    pub fn contains(&self, log: Place, other: Place) -> bool {
        self.reach(log, other.branch).is_some_and(|reached| reached >= other.position)
    }

    /// How far two logs are the same.
    pub fn common(&self, one: Place, other: Place) -> u64 {
        let mut here = Some(one);
        while let Some(place) = here {
            if let Some(reached) = self.reach(other, place.branch) {
                return reached.min(place.position);
            }
            here = self.0[place.branch].parent;
        }
        0
    }

    /// Branches with acknowledged rows that `log` lacks and that nobody has accounted for.
    pub fn missing(&self, log: Place) -> impl Iterator<Item = BranchId> + '_ {
        (0..self.0.len()).filter(move |&branch| {
            let acknowledged = self.0[branch].acknowledged;
            acknowledged > self.0[branch].forgiven
                && self.reach(log, branch).is_none_or(|reached| reached < acknowledged)
        })
    }

    /// Was `log` promoted with the consent to lose rows, after it left `branch`?
    pub fn left_knowingly(&self, log: Place, branch: BranchId, forced_only: bool) -> bool {
        let mut here = Some(log);
        while let Some(place) = here {
            if self.reach_of(branch).contains(&place.branch) {
                return false;
            }
            let one = &self.0[place.branch];
            if one.forced || (one.stale && !forced_only) {
                return true;
            }
            here = one.parent;
        }
        false
    }

    /// A branch and those that it grew from.
    fn reach_of(&self, branch: BranchId) -> Vec<BranchId> {
        let mut line = vec![branch];
        while let Some(parent) = self.0[line[line.len() - 1]].parent {
            line.push(parent.branch);
        }
        line
    }

    pub fn forgive(&mut self, branch: BranchId) {
        self.0[branch].forgiven = self.0[branch].acknowledged;
    }

    /// As the server tells it.
    pub fn as_log(&self, place: Place) -> Log {
        let mut forks = Vec::new();
        let mut here = &self.0[place.branch];
        while let Some(parent) = here.parent {
            here = &self.0[parent.branch];
            forks.push(Fork { timeline: here.timeline, at: parent.position, branch: None });
        }
        forks.truncate(Log::MAX_FORKS);
        forks.reverse();
        Log {
            timeline: self.0[place.branch].timeline,
            position: place.position,
            forks,
            branch: None,
            unfinished: false,
        }
    }
}

impl Branch {
    fn new(parent: Option<Place>, timeline: u32, by: Option<NodeId>) -> Branch {
        Branch {
            parent,
            timeline,
            by,
            stale: false,
            forced: false,
            acknowledged: 0,
            forgiven: 0,
            salvaged: 0,
        }
    }
}
