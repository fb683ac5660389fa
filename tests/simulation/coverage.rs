//! What the runs have reached: every decision that the table names, every deed and how it ended.
//! A batch that never got somewhere proves nothing about it.

use std::collections::BTreeSet;

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseState;
use duotone::protocol::lead::{Authority, Reason, Why};
use duotone::protocol::node::Node;
use duotone::protocol::table::table;

/// From what, to what, and why: one or more rows of the table.
pub type Decision = (Authority, Authority, Why);

/// Decisions of the table that the batch cannot reach, each with its reason.
const UNREACHED: [(Decision, &str); 2] = [
    (
        (Authority::Giving, Authority::Joining, Why::PeerHands),
        "two nodes hand over to each other only if both had the role",
    ),
    (
        (Authority::Taking, Authority::Joining, Why::PeerTakes),
        "the peer begins to take in the moment in which the offer is withdrawn",
    ),
];

const AUTHORITIES: usize = Authority::ALL.len();
/// More than there are reasons.
const WHYS: usize = 64;

#[derive(Clone)]
pub struct Coverage {
    decisions: [[u64; AUTHORITIES]; AUTHORITIES],
    /// Deeds that ended as they were meant to, and those that did not.
    deeds: [[u64; 2]; DEEDS.len()],
}

const DEEDS: [&str; 9] = [
    "start as standby",
    "follow",
    "rejoin",
    "promote",
    "start in place",
    "stop now",
    "stop cleanly",
    "checkpoint",
    "set synchronous",
];

impl Coverage {
    pub fn new() -> Coverage {
        Coverage { decisions: [[0; AUTHORITIES]; AUTHORITIES], deeds: [[0; 2]; DEEDS.len()] }
    }

    /// After a tick of a node that had this authority before.
    pub fn decided(&mut self, before: Authority, node: &Node) {
        let mut from = before;
        for &(then, why) in node.path() {
            self.note(from, then, why);
            from = then;
        }
        let (then, why) = node.authority();
        self.note(from, then, why);
    }

    fn note(&mut self, from: Authority, then: Authority, why: Why) {
        self.decisions[from as usize][then as usize] |= 1 << number(why);
    }

    pub fn ended(&mut self, deed: DatabaseDeed, seen: DatabaseState, clean: bool) {
        let (index, wanted) = match deed {
            DatabaseDeed::StartAsStandby => (0, seen == DatabaseState::Standby),
            DatabaseDeed::Follow => (1, seen == DatabaseState::Standby),
            DatabaseDeed::Rejoin { .. } => (2, seen == DatabaseState::Standby),
            DatabaseDeed::Promote => (3, seen == DatabaseState::Writable),
            DatabaseDeed::StartInPlace => (4, seen == DatabaseState::Writable),
            DatabaseDeed::StopNow => (5, seen == DatabaseState::Stopped),
            DatabaseDeed::StopCleanly => (6, seen == DatabaseState::Stopped && clean),
            DatabaseDeed::Checkpoint => (7, seen == DatabaseState::Writable),
            DatabaseDeed::SetSynchronous(_) => (8, seen == DatabaseState::Writable),
        };
        self.deeds[index][usize::from(!wanted)] += 1;
    }

    pub fn add(&mut self, other: &Coverage) {
        for (mine, theirs) in
            self.decisions.iter_mut().flatten().zip(other.decisions.iter().flatten())
        {
            *mine |= theirs;
        }
        for (mine, theirs) in self.deeds.iter_mut().flatten().zip(other.deeds.iter().flatten()) {
            *mine += theirs;
        }
    }

    fn has(&self, (from, then, why): Decision) -> bool {
        self.decisions[from as usize][then as usize] & (1 << number(why)) != 0
    }

    /// What the table names and no run has reached, and what should not have been reached.
    pub fn gaps(&self) -> Vec<String> {
        let named = named();
        let mut gaps = Vec::new();
        for &(from, then, why) in &named {
            let known = UNREACHED.iter().find(|(decision, _)| *decision == (from, then, why));
            match (self.has((from, then, why)), known) {
                (false, None) => gaps.push(format!("never {from} -> {then}: {why}")),
                // A fresh seed may get there once.
                (true, Some((_, reason))) => {
                    println!("reached: {from} -> {then}: {why}, although {reason}");
                }
                (true, None) | (false, Some(_)) => {}
            }
        }
        for (name, [done, failed]) in DEEDS.iter().zip(self.deeds) {
            if done == 0 {
                gaps.push(format!("no run saw the deed succeed: {name}"));
            }
            // How a checkpoint ends says nothing, only a running standby is told to follow, and a
            // server that cannot be stopped within the release time is beyond what the protocol is
            // made for.
            if failed == 0 && !["checkpoint", "follow", "stop now"].contains(name) {
                gaps.push(format!("no run saw the deed fail: {name}"));
            }
        }
        gaps
    }

    pub fn summary(&self) -> String {
        let named = named();
        let reached = named.iter().filter(|decision| self.has(**decision)).count();
        let deeds: Vec<String> = DEEDS
            .iter()
            .zip(self.deeds)
            .map(|(name, [done, failed])| format!("{name} {done}+{failed}"))
            .collect();
        format!(
            "{reached} of {} decisions of the table; deeds done+failed: {}",
            named.len(),
            deeds.join(", ")
        )
    }
}

/// Every decision that the table names.
fn named() -> Vec<Decision> {
    let mut seen = BTreeSet::new();
    let mut named = Vec::new();
    for section in table() {
        for row in &section.rows {
            let decision = (section.authority, row.then, row.why);
            if seen.insert((section.authority as usize, row.then as usize, number(row.why))) {
                named.push(decision);
            }
        }
    }
    named
}

/// Each reason's own number.
fn number(why: Why) -> usize {
    let number = match why {
        Why::Started => 0,
        Why::Preparing => 1,
        Why::Listening => 2,
        Why::PeerServes => 3,
        Why::PeerTakes => 4,
        Why::PeerMustYield => 5,
        Why::ComparingLogs => 6,
        Why::AwaitingPromise => 7,
        Why::PeerHasTheLog => 8,
        Why::Agreed => 9,
        Why::PeerSilent => 10,
        Why::MayLackRows => 11,
        Why::DamagedState => 12,
        Why::HasLeft => 13,
        Why::PeerIdle => 14,
        Why::Woke => 15,
        Why::ToldToLeave => 16,
        Why::DatabaseNotReady => 17,
        Why::PeerHeard => 18,
        Why::AwaitingConsent => 19,
        Why::AddressAnswered => 20,
        Why::Consent => 21,
        Why::Establishing => 22,
        Why::Superseded => 23,
        Why::PromiseLapsed => 24,
        Why::StepFailed => 25,
        Why::ConsentLost => 26,
        Why::Serving => 27,
        Why::NotEntitled => 28,
        Why::NoLongerHeld => 29,
        Why::PeerHands => 30,
        Why::Offered => 31,
        Why::HandingOver(Reason::Ordered) => 32,
        Why::HandingOver(Reason::Leaving) => 33,
        Why::HandingOver(Reason::PeerIsBetter) => 34,
        Why::HandingOver(Reason::Failback) => 35,
        Why::LettingGo => 36,
        Why::AwaitingTaker => 37,
        Why::HandedOver => 38,
        Why::HandoverUndone => 39,
        Why::TakingBack => 40,
    };
    assert!(number < WHYS);
    number
}
