//! The demo's stories: what is done to the pair, what is expected, and what was measured.

use std::time::Duration;

use serde::Serialize;

use super::clock::{self, ms_between, pause};
use super::node::{self, Status};
use super::ownership::{self, Ownership};
use super::phone::Phone;
use super::records::Records;
use super::watch::{Seen, Watch};
use super::world::{NODES, World};
use super::{DemoOptions, Say, floor, pbx, postgres};
use crate::protocol::time::Instant;

/// How long calls flow before anything happens to the pair.
const STEADY: Duration = Duration::from_secs(3);
/// A call may take this long to be answered before it counts as lost.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);

/// A story.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The active host loses power.
    PowerOff,
    /// The dedicated link drops everything for five seconds.
    CutEth1,
    /// The SIP server on the active host is killed.
    KillPbx,
}

impl Scenario {
    /// All, in the order in which they are shown.
    pub const ALL: [Scenario; 3] = [Scenario::PowerOff, Scenario::CutEth1, Scenario::KillPbx];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::PowerOff => "power-off",
            Scenario::CutEth1 => "cut-eth1",
            Scenario::KillPbx => "kill-pbx",
        }
    }

    /// What must happen, in a sentence.
    pub fn expectation(self) -> &'static str {
        match self {
            Scenario::PowerOff => {
                "the standby takes over, calls are answered again, no acknowledged record is lost, \
                 the address never has two owners"
            }
            Scenario::CutEth1 => "nothing moves, no call is lost",
            Scenario::KillPbx => "restarted in place, nothing moves",
        }
    }
}

/// Who keeps the pair reachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// duotone.
    Duotone,
    /// The least that fails over at all.
    BareFloor,
}

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

/// A world with a contestant in it and calls flowing.
pub struct Stage {
    /// The world.
    pub world: World,
    watch: Watch,
    phone: Phone,
    records: Records,
    active: usize,
    rss_kib: Option<u64>,
    cpu_percent: Option<f64>,
}

impl Stage {
    /// Builds everything and lets calls flow for a while.
    pub fn set(
        options: &DemoOptions,
        contestant: Contestant,
        files: &std::path::Path,
        template: &std::path::Path,
        say: &Say,
    ) -> anyhow::Result<Self> {
        say.line("building the LAN, the link, two hosts and a phone");
        let mut world =
            World::build(files, options.mode == super::Mode::Address, &options.program)?;
        let watch = Watch::start(&files.join("calls.log"))?;
        let active = match contestant {
            Contestant::Duotone => start_pair(&mut world, options, template, say)?,
            Contestant::BareFloor => start_floor(&mut world, options, template, say)?,
        };
        say.line(&format!("{} serves; the phone registers and calls", NODES[active]));
        let mut phone = Phone::start(files)?;
        phone.register(Duration::from_secs(15))?;
        phone.call()?;
        let records = Records::start(&files.join("records.log"))?;
        let before = world.hosts[active].as_ref().and_then(node::cost);
        let began = clock::now();
        pause(STEADY)?;
        let after = world.hosts[active].as_ref().and_then(node::cost);
        let span_ms = ms_between(began, clock::now());
        let cpu_percent = before.zip(after).map(|(before, after)| {
            after.cpu_ms.saturating_sub(before.cpu_ms) as f64 / span_ms * 100.0
        });
        anyhow::ensure!(
            watch.last_answer().is_some(),
            "no call is answered; see {}",
            files.display()
        );
        anyhow::ensure!(records.count() > 0, "no record is stored; see {}", files.display());
        let rss_kib = after.map(|cost| cost.rss_kib);
        Ok(Stage { world, watch, phone, records, active, rss_kib, cpu_percent })
    }

    /// Does what the story says, looks on, and judges.
    pub fn play(
        mut self,
        scenario: Scenario,
        contestant: Contestant,
        say: &Say,
    ) -> anyhow::Result<(Outcome, World)> {
        let fault = self.strike(scenario, say)?;
        let end = clock::now();
        pause(ANSWER_PATIENCE)?;
        self.phone.hang_up();
        let acknowledged = self.records.stop();
        let seen = self.watch.seen();
        drop(self.watch);
        let outcome = gather(
            &self.world,
            &Evidence { scenario, contestant, fault, end, was: self.active, seen, acknowledged },
        )?;
        let outcome = Outcome { rss_kib: self.rss_kib, cpu_percent: self.cpu_percent, ..outcome };
        Ok((outcome, self.world))
    }

    fn strike(&mut self, scenario: Scenario, say: &Say) -> anyhow::Result<Instant> {
        let name = NODES[self.active];
        let fault = match scenario {
            Scenario::PowerOff => {
                let fault = self.world.power_off(self.active)?;
                say.line(&format!("{name} has no power"));
                fault
            }
            Scenario::CutEth1 => {
                let fault = self.world.cut_link(true)?;
                say.line("eth1 drops everything, silently");
                pause(Duration::from_secs(5))?;
                self.world.cut_link(false)?;
                say.line("eth1 works again");
                fault
            }
            Scenario::KillPbx => {
                let fault = clock::now();
                let killed = self.world.host(self.active)?.kill_all("kamailio");
                anyhow::ensure!(killed > 0, "there was no kamailio to kill on {name}");
                say.line(&format!("kamailio on {name} is killed"));
                fault
            }
        };
        let stored = self.records.count();
        let back = clock::wait_until(Duration::from_secs(15), Duration::from_millis(20), || {
            self.watch.last_answer().is_some_and(|at| at > fault) && self.records.count() > stored
        })?;
        say.line(if back { "calls are answered, records stored" } else { "no service" });
        pause(Duration::from_secs(2))?;
        Ok(fault)
    }
}

fn start_pair(
    world: &mut World,
    options: &DemoOptions,
    template: &std::path::Path,
    say: &Say,
) -> anyhow::Result<usize> {
    let key = node::make_key()?;
    for index in [0, 1] {
        let host = world.host(index)?;
        postgres::install(template, host, index, postgres::Signal::Standby)?;
        pbx::install(host)?;
        node::install(host, options, &key)?;
        node::start(host)?;
    }
    say.line("two daemons run; waiting for one to serve and the other to stand by");
    node::wait_settled(world, Duration::from_secs(40))
}

fn start_floor(
    world: &mut World,
    options: &DemoOptions,
    template: &std::path::Path,
    say: &Say,
) -> anyhow::Result<usize> {
    for (index, signal) in [(0, postgres::Signal::Primary), (1, postgres::Signal::Standby)] {
        let host = world.host(index)?;
        postgres::install(template, host, index, signal)?;
        postgres::start(host)?;
    }
    postgres::wait_streaming(world, 0)?;
    say.line("the bare floor runs: heartbeat, promote, address, one announcement; no safety");
    for index in [1, 0] {
        let host = world.host(index)?;
        pbx::install(host)?;
        let words = pbx::command();
        let mut kamailio = host.command(&words[0]);
        kamailio.args(&words[1..]);
        host.start(kamailio, "kamailio.log")?;
        floor::start(host, index, index == 0, options.preset.times())?;
    }
    Ok(0)
}

struct Evidence {
    scenario: Scenario,
    contestant: Contestant,
    fault: Instant,
    end: Instant,
    was: usize,
    seen: Seen,
    acknowledged: Vec<(u64, Instant)>,
}

fn gather(world: &World, evidence: &Evidence) -> anyhow::Result<Outcome> {
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
