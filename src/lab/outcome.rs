//! What one run of a scenario showed, and whether that is what was promised.

use std::time::Duration;

use serde::Serialize;

use super::clock::ms_between;
use super::node::Status;
use super::ownership::{self, Ownership};
use super::scenario::{Contestant, Scenario};
use super::watch::Seen;
use super::world::{NODES, World};
use super::{floor, postgres};
use crate::protocol::time::Instant;

/// What one run of a scenario showed.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The story.
    pub scenario: Scenario,
    /// Whose.
    pub contestant: Contestant,
    /// What broke the expectation; empty when it was kept.
    pub broken: Vec<String>,
    /// Who served before, and who after.
    pub active: (String, String),
    /// In the words of the node that serves.
    pub why: String,
    /// Steps, milliseconds relative to the fault.
    pub timeline: Vec<(f64, String)>,
    /// Last answered call before → first answered call after, milliseconds (the longest silence
    /// between two answers from the fault on).
    pub outage_ms: f64,
    /// Calls placed, answered, and never answered.
    pub calls: Calls,
    /// Call records.
    pub records: RecordCount,
    /// Ownership of the floating addresses.
    pub ownership: Ownership,
    /// The daemon of the active node: resident KiB.
    pub rss_kib: Option<u64>,
    /// Its share of one core while nothing happens, percent.
    pub cpu_percent: Option<f64>,
    /// What the serving node's `status` said at the end.
    pub status: serde_json::Value,
}

/// Calls of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calls {
    /// INVITEs sent.
    pub placed: usize,
    /// 200s received.
    pub answered: usize,
    /// Never answered.
    pub lost: usize,
}

/// Records of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RecordCount {
    /// "stored" was said.
    pub acknowledged: usize,
    /// In the serving database at the end.
    pub present: usize,
    /// Acknowledged and not present.
    pub missing: usize,
    /// Longest time without an acknowledgement from the fault on, milliseconds.
    pub longest_wait_ms: f64,
}

/// What was done and what was seen.
pub struct Evidence {
    /// The story.
    pub scenario: Scenario,
    /// Whose.
    pub contestant: Contestant,
    /// When it was struck.
    pub fault: Instant,
    /// Until when calls count.
    pub end: Instant,
    /// Who served before.
    pub was: usize,
    /// The wire and the kernels.
    pub seen: Seen,
    /// Every acknowledged record, and when.
    pub acknowledged: Vec<(u64, Instant)>,
}

/// Puts one run together and judges it.
///
/// # Errors
/// The surviving database cannot be asked.
pub fn gather(world: &World, evidence: &Evidence) -> anyhow::Result<Outcome> {
    let Evidence { scenario, contestant, fault, end, was, seen, acknowledged } = evidence;
    let said = |node: usize| world.hosts[node].as_ref().map(Status::of).unwrap_or_default();
    let statuses = [said(0), said(1)];
    let is = match contestant {
        Contestant::Duotone => [0, 1].into_iter().find(|&node| statuses[node].serves()),
        Contestant::BareFloor => [0, 1].into_iter().find(|&node| world.hosts[node].is_some()),
    };
    let answers: Vec<Instant> = seen.calls.values().filter_map(|call| call.answered).collect();
    let settled = seen.calls.values().filter(|call| call.invited <= *end).count();
    let lost = seen.calls.values().filter(|c| c.invited <= *end && c.answered.is_none()).count();
    let calls = Calls { placed: settled, answered: settled - lost, lost };
    let present = match is.and_then(|node| world.hosts[node].as_ref()) {
        Some(host) => postgres::records_present(&host.files.join("socket"))?,
        None => Default::default(),
    };
    let missing = acknowledged.iter().filter(|(number, _)| !present.contains(number)).count();
    let stored: Vec<Instant> = acknowledged.iter().map(|&(_, at)| at).collect();
    let records = RecordCount {
        acknowledged: acknowledged.len(),
        present: present.len(),
        missing,
        longest_wait_ms: longest_silence(&stored, *fault, *end),
    };
    let off = (*scenario == Scenario::PowerOff).then_some((*was, *fault));
    let ownership = ownership::judge(seen, off, *fault, *end);
    let (why, steps) = match (contestant, is) {
        (Contestant::Duotone, Some(node)) => {
            (statuses[node].text("why").to_owned(), statuses[node].timeline())
        }
        (Contestant::BareFloor, Some(node)) => (
            "silence".to_owned(),
            world.hosts[node].as_ref().map(floor::journal).unwrap_or_default(),
        ),
        (_, None) => ("nobody serves".to_owned(), Vec::new()),
    };
    let name = |node: Option<usize>| node.map_or("nobody", |node| NODES[node]).to_owned();
    let mut outcome = Outcome {
        scenario: *scenario,
        contestant: *contestant,
        broken: Vec::new(),
        active: (name(Some(*was)), name(is)),
        why,
        timeline: timeline(steps, seen, &ownership, *fault),
        outage_ms: longest_silence(&answers, *fault, *end),
        calls,
        records,
        ownership,
        rss_kib: None,
        cpu_percent: None,
        status: is.map(|node| statuses[node].value().clone()).unwrap_or_default(),
    };
    outcome.broken = judge(&outcome, *was, is, seen.blind, answers.iter().any(|at| at > fault));
    Ok(outcome)
}

/// What of the expectation was not kept.
fn judge(
    outcome: &Outcome,
    was: usize,
    is: Option<usize>,
    blind: bool,
    answered: bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    let mut must = |kept: bool, words: String| {
        if !kept {
            broken.push(words);
        }
    };
    must(is.is_some(), "nobody serves at the end".to_owned());
    must(answered, "no call was answered after the fault".to_owned());
    let missing = outcome.records.missing;
    must(missing == 0, format!("{missing} acknowledged records are missing"));
    let overlap = outcome.ownership.overlap_ms;
    must(overlap == 0.0, format!("the address had two owners for {overlap:.1} ms"));
    let late = outcome.ownership.late_claims;
    must(late == 0, format!("the old owner claimed the address {late} times after the new one"));
    must(!blind, "a watcher missed something".to_owned());
    let moved = outcome.ownership.moves;
    let lost = outcome.calls.lost;
    match outcome.scenario {
        Scenario::PowerOff => must(is == Some(1 - was), "the standby did not take over".to_owned()),
        Scenario::CutEth1 => {
            must(is == Some(was) && moved == 0, "the role or an address moved".to_owned());
            must(lost == 0, format!("{lost} calls were lost"));
        }
        Scenario::KillPbx => {
            must(is == Some(was) && moved == 0, "the role or an address moved".to_owned());
        }
    }
    broken
}

/// The steps of the node that serves, with what the wire and the kernel showed among them.
fn timeline(
    mut steps: Vec<(Instant, String)>,
    seen: &Seen,
    ownership: &Ownership,
    fault: Instant,
) -> Vec<(f64, String)> {
    let since = fault.before(Duration::from_millis(500));
    steps.retain(|(at, _)| *at >= since);
    let first = seen.calls.values().filter_map(|call| call.answered).filter(|at| *at > fault).min();
    let last = seen.calls.values().filter_map(|call| call.answered).filter(|at| *at <= fault).max();
    let mut note = |at: Option<Instant>, words: &str| {
        if let Some(at) = at {
            steps.push((at, words.to_owned()));
        }
    };
    note(last, "(wire) last call answered before");
    note(first, "(wire) first call answered after");
    note(ownership.held_at, "(kernel) address held by the new owner");
    note(ownership.claimed_at, "(wire) new owner announced");
    steps.sort();
    steps.into_iter().map(|(at, words)| (ms_between(fault, at), words)).collect()
}

/// The longest time between two successes, from the last one before `from` to `until`.
fn longest_silence(successes: &[Instant], from: Instant, until: Instant) -> f64 {
    let mut times: Vec<Instant> = successes.to_vec();
    times.sort();
    let start = times.iter().rposition(|at| *at <= from).unwrap_or(0);
    let mut previous = times.get(start).copied().unwrap_or(from);
    let mut longest: f64 = 0.0;
    for at in times.into_iter().skip(start + 1).chain([until]) {
        longest = longest.max(ms_between(previous, at));
        previous = previous.max(at);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn silence_spans_the_fault_and_counts_to_the_end() {
        let answers = [at(10), at(30), at(250), at(260)];
        assert_eq!(longest_silence(&answers, at(40), at(270)), 220.0);
        assert_eq!(longest_silence(&answers, at(40), at(900)), 640.0, "no answer since is silence");
        assert_eq!(longest_silence(&[], at(40), at(90)), 50.0);
    }
}
