//! What one run of a scenario showed, and whether that is what was promised.

use std::time::Duration;

use serde::Serialize;

use super::clock::{ms_between, wait_until};
use super::history::{self, Account, Client, History, Loss};
use super::judgement::{Breach, Case, judge};
use super::node::Status;
use super::ownership::{self, Ownership};
use super::recovery::Struck;
use super::scenario::{Contestant, Figure, Owners, Scenario};
use super::stage::Stage;
use super::survival::Survived;
use super::watch::Seen;
use super::world::NODES;
use super::yardstick::Waits;
use super::{Durability, floor, postgres, salvage};
use crate::protocol::time::Instant;

/// How long a pair may take to tell how it ended.
const SETTLED: Duration = Duration::from_secs(15);

/// What one run of a scenario showed.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The story.
    pub scenario: Scenario,
    /// Whose.
    pub contestant: Contestant,
    /// What broke the promise; empty when it was kept.
    pub broken: Vec<Breach>,
    /// What the machine itself did meanwhile.
    pub machine: Waits,
    /// Earlier plays of it that proved nothing, because the machine itself stood still.
    pub played_again: Vec<String>,
    /// Who served before, and who after.
    pub active: (String, String),
    /// In the words of the node that serves.
    pub why: String,
    /// Steps, milliseconds relative to the fault.
    pub timeline: Vec<(f64, String)>,
    /// Last answered call before → first answered call after, milliseconds (the longest silence
    /// between two answers from the fault on).
    pub outage_ms: f64,
    /// Measured besides, milliseconds.
    pub figures: Vec<(Figure, f64)>,
    /// Calls placed, answered, and never answered.
    pub calls: Calls,
    /// What of before the fault was answered after it, where that was tried.
    pub survived: Option<Survived>,
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

/// Records since the world was made: a later run must not lose what an earlier one was told.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RecordCount {
    /// "stored" was said.
    pub acknowledged: usize,
    /// In the serving database at the end.
    pub present: usize,
    /// Acknowledged and not present.
    pub missing: usize,
    /// In a salvage and not present.
    pub salvaged: usize,
    /// On a log that was left behind and not present.
    pub left_behind: usize,
    /// Longest time without an acknowledgement from the fault on, milliseconds.
    pub longest_wait_ms: f64,
}

/// What was done, and what is known besides.
pub struct Evidence {
    /// The story.
    pub scenario: Scenario,
    /// What a commit waits for.
    pub durability: Durability,
    /// What was done.
    pub struck: Struck,
    /// Since when calls count.
    pub began: Instant,
    /// Until when calls count.
    pub end: Instant,
    /// Who served before.
    pub was: usize,
}

/// Puts one run together and judges it.
///
/// # Errors
/// A database or a log cannot be read.
pub fn gather(stage: &mut Stage, evidence: Evidence) -> anyhow::Result<Outcome> {
    let Evidence { scenario, ref struck, began, end, was, .. } = evidence;
    let fault = struck.fault;
    let machine = stage.yardstick.since(began);
    let statuses = settled(stage)?;
    let is = match stage.contestant {
        Contestant::Duotone => [0, 1].into_iter().find(|&node| statuses[node].serves()),
        Contestant::BareFloor => [0, 1].into_iter().find(|&node| stage.world.hosts[node].is_some()),
    };
    let history = history(stage, is, &statuses, &evidence)?;
    let account = history::check(&history);
    let seen = stage.watch.seen();
    let answers: Vec<Instant> = seen.calls.values().filter_map(|call| call.answered).collect();
    let stored: Vec<Instant> = history.clients[0].acknowledged.iter().map(|line| line.at).collect();
    let ownership = ownership::judge(&seen, was, fault, end, machine.still());
    let (why, steps) = match (stage.contestant, is) {
        (Contestant::Duotone, Some(node)) => {
            (statuses[node].text("why").to_owned(), statuses[node].timeline())
        }
        (Contestant::BareFloor, Some(node)) => (
            "silence".to_owned(),
            stage.world.hosts[node].as_ref().map(floor::journal).unwrap_or_default(),
        ),
        (_, None) => ("nobody serves".to_owned(), Vec::new()),
    };
    let name = |node: Option<usize>| node.map_or("nobody", |node| NODES[node]).to_owned();
    let mut figures = struck.figures.clone();
    if matches!(scenario.statement().owners, Owners::Wake(_)) {
        figures.push((Figure::WakeWindow, ownership.overlap_ms));
    }
    let mut outcome = Outcome {
        scenario,
        contestant: stage.contestant,
        broken: struck.broken.clone(),
        machine,
        played_again: Vec::new(),
        active: (name(Some(was)), name(is)),
        why,
        timeline: timeline(steps, &seen, &ownership, fault),
        outage_ms: longest_silence(&answers, fault, end),
        figures,
        calls: calls(&seen, began, end),
        survived: struck.survived,
        records: records(&account, longest_silence(&stored, fault, end)),
        ownership,
        rss_kib: stage.idle.rss_kib,
        cpu_percent: stage.idle.cpu_percent,
        status: is.map(|node| statuses[node].value().clone()).unwrap_or_default(),
    };
    let found = judge(&Case {
        statement: scenario.statement().under(evidence.durability),
        was,
        is,
        answered: answers.iter().any(|at| *at > fault),
        ownership: &outcome.ownership,
        calls_lost: outcome.calls.lost,
        outage_ms: outcome.outage_ms,
        stall_ms: outcome.records.longest_wait_ms,
        machine,
    });
    outcome.broken.extend(found);
    // Where nobody serves there is no table that a row could be missing from.
    if is.is_some() {
        outcome.broken.extend(first_few(&account).into_iter().map(Breach::of_safety));
    }
    if seen.blind {
        outcome.broken.push(Breach::of_safety("a watcher missed something"));
    }
    Ok(outcome)
}

/// What both say, once one serves and the other, if it has power, stands by: a machine that stood
/// still in the last moment has had no time to show what became of its rows.
fn settled(stage: &Stage) -> anyhow::Result<[Status; 2]> {
    let mut statuses = [stage.status(0), stage.status(1)];
    if stage.contestant == Contestant::Duotone {
        wait_until(SETTLED, Duration::from_millis(100), || {
            statuses = [stage.status(0), stage.status(1)];
            let active = [0, 1].into_iter().find(|&node| statuses[node].serves());
            active.is_some_and(|node| {
                let other = 1 - node;
                stage.world.hosts[other].is_none() || statuses[other].text("role") == "standby"
            })
        })?;
    }
    Ok(statuses)
}

/// Every log and table, each read before what must contain it.
fn history(
    stage: &mut Stage,
    is: Option<usize>,
    statuses: &[Status; 2],
    evidence: &Evidence,
) -> anyhow::Result<History> {
    let acknowledged = stage.records.acknowledged()?;
    let calls = history::read_calls(&std::fs::read_to_string(stage.files.join("calls.log"))?)
        .map_err(|torn| anyhow::anyhow!("{torn}"))?;
    let standby = is.map(|node| 1 - node).filter(|&node| statuses[node].text("role") == "standby");
    let last = acknowledged.last().map(|line| line.number);
    let mut copy = None;
    if let Some(node) = standby {
        let socket = stage.socket(node);
        // Received is not replayed yet.
        wait_until(Duration::from_secs(3), Duration::from_millis(50), || {
            copy = postgres::rows(&socket).ok();
            copy.as_ref().zip(last).is_some_and(|(rows, last)| rows.contains(&last))
        })?;
    }
    let mut serving = None;
    if let Some(node) = is {
        let socket = stage.socket(node);
        // A commit that waits for the standby may be seen there first.
        let covers = |rows: &[u64]| copy.iter().flatten().max() <= rows.iter().max();
        wait_until(Duration::from_secs(3), Duration::from_millis(50), || {
            serving = postgres::rows(&socket).ok();
            serving.as_deref().is_some_and(covers)
        })?;
    }
    let mut salvaged = Vec::new();
    for name in NODES {
        salvaged.extend(salvage::rows(&stage.world.files.join(name).join("state"))?);
        // A directory that was kept whole is a salvage too, if its rows can be read.
        salvaged.extend(stage.kept_rows(&stage.world.files.join(name))?);
    }
    let phone =
        Client { name: "the phone".to_owned(), asked: 1..=stage.records.asked(), acknowledged };
    let clients = std::iter::once(phone).chain(stage.jobs.iter().cloned()).collect();
    let stated = evidence.durability == Durability::Async
        || evidence.scenario.statement().owners == Owners::Split;
    let loss = if stated { Loss::Stated { returned: standby.is_some() } } else { Loss::Never };
    // A log whose host is not back yet cannot have been thrown away.
    let branches = if standby.is_some() { stage.branches()?.to_vec() } else { Vec::new() };
    Ok(History { clients, calls, serving, standby: copy, branches, salvaged, loss })
}

fn calls(seen: &Seen, began: Instant, end: Instant) -> Calls {
    let settled = seen.calls.values().filter(|call| call.invited >= began && call.invited <= end);
    let placed = settled.clone().count();
    let lost = settled.filter(|call| call.answered.is_none()).count();
    Calls { placed, answered: placed - lost, lost }
}

fn records(account: &Account, longest_wait_ms: f64) -> RecordCount {
    let &Account { acknowledged, present, missing, salvaged, left_behind, .. } = account;
    RecordCount { acknowledged, present, missing, salvaged, left_behind, longest_wait_ms }
}

/// The violations in words; many of one kind say no more than the first few.
fn first_few(account: &Account) -> Vec<String> {
    const SHOWN: usize = 5;
    let all = &account.violations;
    let mut words: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    if all.len() > SHOWN {
        words.push(format!("and {} more of the history", all.len() - SHOWN));
    }
    words
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
    let mut times: Vec<Instant> = successes.iter().copied().filter(|at| *at <= until).collect();
    times.sort();
    let before = times.partition_point(|at| *at <= from);
    let mut previous = times[..before].last().copied().unwrap_or(from);
    let mut longest: f64 = 0.0;
    for at in times.into_iter().skip(before).chain([until]) {
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
        assert_eq!(longest_silence(&answers, at(5), at(200)), 170.0, "from the fault on");
        assert_eq!(longest_silence(&answers, at(40), at(200)), 170.0, "what came later is later");
    }
}
