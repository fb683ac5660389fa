//! How far a long deed has come.

use std::fmt;

/// What a rejoin is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Finding out where this log left the peer's.
    Comparing,
    /// Reading the transactions of the losing branch.
    ReadingLog,
    /// Recovering the isolated server.
    Recovering,
    /// Writing the rows of the losing branch; counted in rows.
    Salvaging,
    /// Having the peer's server write a checkpoint.
    Checkpoint,
    /// Rewinding; counted in kilobytes.
    Rewinding,
    /// Copying the whole cluster; counted in kilobytes.
    Copying,
    /// Starting, until it streams.
    Starting,
}

/// How far a long deed has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How much of that is done, in the phase's unit.
    pub done: u64,
    /// How much there is to do, when that is known.
    pub total: Option<u64>,
}

impl Progress {
    /// In percent, when the whole is known.
    pub fn percent(&self) -> Option<u64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((u128::from(self.done) * 100 / u128::from(total)).min(100) as u64)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Comparing => "comparing the logs",
            Phase::ReadingLog => "reading the losing branch",
            Phase::Recovering => "recovering, isolated",
            Phase::Salvaging => "salvage",
            Phase::Checkpoint => "checkpoint on the peer",
            Phase::Rewinding => "rewind",
            Phase::Copying => "base backup",
            Phase::Starting => "starting as standby",
        };
        match (self.percent(), self.done, self.phase) {
            (Some(percent), ..) => write!(f, "{phase} {percent} %"),
            (None, 0, _) => write!(f, "{phase}"),
            (None, rows, Phase::Salvaging) => write!(f, "{phase}, {rows} rows"),
            (None, kilobytes, _) => write!(f, "{phase}, {kilobytes} kB"),
        }
    }
}

/// Reads a line of `pg_rewind --progress` or `pg_basebackup --progress`: "12/345 kB (3%) …".
pub(super) fn kilobytes(line: &str) -> Option<(u64, u64)> {
    let (done, rest) = line.trim_start().split_once('/')?;
    let (total, _) = rest.trim_start().split_once(" kB (")?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Phase, Progress, kilobytes};

    #[test]
    fn lines_of_both_programs_are_understood() {
        assert_eq!(kilobytes("   16384/30127 kB (54%), 0/1 tablespace"), Some((16384, 30127)));
        assert_eq!(kilobytes("  1024/ 30127 kB (3%) copied"), Some((1024, 30127)));
        assert_eq!(kilobytes("pg_rewind: servers diverged at WAL location 0/3000060"), None);
        let progress = Progress { phase: Phase::Copying, done: 16384, total: Some(30127) };
        assert_eq!(progress.to_string(), "base backup 54 %");
    }
}
