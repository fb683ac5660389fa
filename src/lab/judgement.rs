//! Whether a scenario's statement was kept. Who owned what and which rows are there is judged as it
//! was seen; every time limit is stretched by what the machine itself did meanwhile (`yardstick`),
//! and a role that moved while the whole machine stood still proves nothing about the pair.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Preset;
use super::outcome::Outcome;
use super::ownership::Ownership;
use super::scenario::{Contestant, Owners, Role, Statement};
use super::yardstick::Waits;
use crate::protocol::arbiter::Arbitration;

/// Of which kind a breach is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Owners, rows, what a node may not do at any time: no machine excuses it.
    Safety,
    /// What came late, moved or was refused: any pair's lot on a machine that stands still.
    Service,
}

/// What was not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// Of which kind.
    pub kind: Kind,
    /// In words.
    pub words: String,
}

impl Breach {
    /// One that no machine excuses.
    pub fn of_safety(words: impl Into<String>) -> Self {
        Breach { kind: Kind::Safety, words: words.into() }
    }

    /// One that a machine which stands still excuses.
    pub fn of_service(words: impl Into<String>) -> Self {
        Breach { kind: Kind::Service, words: words.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Serialize for Breach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.words)
    }
}

/// How long the machine may stand still before that alone moves a role or fails a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bearable {
    /// The whole machine: what the pair's times tolerate (`config check` prints it).
    pub still: Duration,
    /// An ordinary process or its disk: the SIP probe of the lab's configuration waits so long.
    pub slow: Duration,
}

impl Bearable {
    /// Under a preset.
    pub fn of(preset: Preset) -> Self {
        let (with_peer, alone) = preset.timing().stall_tolerated(Arbitration::LAN);
        Bearable { still: with_peer.min(alone), slow: Duration::from_millis(500) }
    }

    /// Why breaches of service prove nothing, if they do not.
    fn excuse(self, machine: &Waits) -> Option<String> {
        let told = |what: &str, seen: Duration, most: Duration| {
            format!("the machine itself {what} for {seen:.0?}, and {most:.0?} is borne")
        };
        if machine.still() > self.still {
            Some(told("stood still", machine.still(), self.still))
        } else if machine.slow() > self.slow {
            Some(told("kept processes or their disk waiting", machine.slow(), self.slow))
        } else {
            None
        }
    }
}

/// Why the scenario is to be played again: all that was not kept is of service, and the machine
/// itself stood still. Nothing is excused to the floor, which promises nothing.
pub fn excuse(outcome: &Outcome, bearable: Bearable) -> Option<String> {
    let service = outcome.broken.iter().all(|breach| breach.kind == Kind::Service);
    let promised = outcome.contestant == Contestant::Duotone && !outcome.broken.is_empty();
    (promised && service).then(|| bearable.excuse(&outcome.machine)).flatten()
}

/// What is judged.
pub struct Case<'a> {
    /// The story's statement.
    pub statement: Statement,
    /// Who served before.
    pub was: usize,
    /// Who serves after.
    pub is: Option<usize>,
    /// A call was answered after the fault.
    pub answered: bool,
    /// Who had the addresses.
    pub ownership: &'a Ownership,
    /// Calls that were never answered.
    pub calls_lost: usize,
    /// The longest silence that a caller heard, milliseconds.
    pub outage_ms: f64,
    /// The longest time without a commit, milliseconds.
    pub stall_ms: f64,
    /// What the machine did.
    pub machine: Waits,
}

/// What of a statement was not kept.
pub fn judge(case: &Case<'_>) -> Vec<Breach> {
    let mut broken = owners(case);
    let mut must = |kept: bool, words: String| {
        if !kept {
            broken.push(Breach::of_service(words));
        }
    };
    must(case.is.is_some(), "nobody serves at the end".to_owned());
    must(case.answered, "no call was answered after the fault".to_owned());
    let moves = case.ownership.moves;
    match case.statement.role {
        Role::Untouched => {
            must(case.is == Some(case.was), "the role moved".to_owned());
            must(moves == 0, format!("an address was touched {moves} times"));
        }
        Role::Moved => must(case.is == Some(1 - case.was), "the other does not serve".to_owned()),
        Role::Either => {}
    }
    let lost = case.calls_lost;
    must(case.statement.calls_lost || lost == 0, format!("{lost} calls were lost"));
    let mut within = |what: &str, ms: f64, limit: Duration| {
        let most = case.machine.stretch(limit);
        let words = format!("{what} took {ms:.0} ms, more than {most:.1?}");
        must(ms <= most.as_secs_f64() * 1000.0, words);
    };
    within("a caller's outage", case.outage_ms, case.statement.outage);
    within("a commit", case.stall_ms, case.statement.stall);
    broken
}

/// No machine excuses a second owner. How long a thawed host holds on is a time like any other.
fn owners(case: &Case<'_>) -> Vec<Breach> {
    let overlap = case.ownership.overlap_ms;
    let two = Breach::of_safety(format!("the address had two owners for {overlap:.1} ms"));
    let mut broken = Vec::new();
    match case.statement.owners {
        Owners::One if overlap > 0.0 => broken.push(two),
        Owners::Wake(most) if overlap > case.machine.stretch(most).as_secs_f64() * 1000.0 => {
            broken.push(two);
        }
        Owners::Split if overlap == 0.0 => {
            broken.push(Breach::of_service("the LAN was not split"));
        }
        Owners::One | Owners::Wake(_) | Owners::Split => {}
    }
    let claims = case.ownership.false_claims;
    if claims > 0 {
        let words = format!("a host claimed the address {claims} times without having it");
        broken.push(Breach::of_safety(words));
    }
    broken
}

#[cfg(test)]
mod tests;
