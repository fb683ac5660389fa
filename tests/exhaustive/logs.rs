//! What a log holds: rows on branches. Who promotes begins a branch of its own.

use duotone::protocol::log::{Fork, Log};

/// The rows up to `end` of the newest branch, and of each earlier one up to where it was left.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rows {
    /// Each branch, and after which row it begins.
    branches: Vec<(u32, u32)>,
    pub end: u32,
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    branch: u32,
    number: u32,
}

impl Row {
    pub fn branch(self) -> u32 {
        self.branch
    }
}

impl Rows {
    pub fn new() -> Rows {
        Rows { branches: vec![(0, 0)], end: 1 }
    }

    pub fn last(&self) -> Row {
        let branch = self.branches.last().map_or(0, |(branch, _)| *branch);
        Row { branch, number: self.end }
    }

    pub fn begin_branch(&mut self, branch: u32) {
        self.branches.push((branch, self.end));
    }

    pub fn holds(&self, row: Row) -> bool {
        let Some(at) = self.branches.iter().position(|(branch, _)| *branch == row.branch) else {
            return false;
        };
        let left = self.branches.get(at + 1).map_or(self.end, |(_, from)| *from);
        row.number <= left
    }

    /// As the server tells it: by numbers. Names are the node's business.
    pub fn told(&self) -> Log {
        let forks = self.branches.iter().skip(1).enumerate().map(|(index, (_, from))| Fork {
            timeline: index as u32 + 1,
            at: u64::from(*from),
            branch: None,
        });
        let mut forks: Vec<Fork> = forks.collect();
        forks.drain(..forks.len().saturating_sub(Log::MAX_FORKS));
        Log {
            timeline: self.branches.len() as u32,
            position: u64::from(self.end),
            forks,
            branch: None,
            unfinished: false,
        }
    }
}
