//! The demo's stories: what is done to the pair, and what is expected.

use std::time::Duration;

use serde::Serialize;

use super::clock::{self, ms_between, pause};
use super::node;
use super::outcome::{Evidence, Outcome, gather};
use super::phone::Phone;
use super::records::Records;
use super::watch::Watch;
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
        let unhealed = match (contestant, scenario) {
            (Contestant::Duotone, Scenario::CutEth1 | Scenario::KillPbx) => self.heal(say)?,
            _ => None,
        };
        let end = clock::now();
        pause(ANSWER_PATIENCE)?;
        self.phone.hang_up();
        let acknowledged = self.records.stop();
        let seen = self.watch.seen();
        drop(self.watch);
        let mut outcome = gather(
            &self.world,
            &Evidence { scenario, contestant, fault, end, was: self.active, seen, acknowledged },
        )?;
        outcome.broken.extend(unhealed);
        (outcome.rss_kib, outcome.cpu_percent) = (self.rss_kib, self.cpu_percent);
        Ok((outcome, self.world))
    }

    /// After the fault: one serves, the other stands by, certified. Says what is wrong if not.
    fn heal(&mut self, say: &Say) -> anyhow::Result<Option<String>> {
        match node::wait_settled(&mut self.world, Duration::from_secs(15)) {
            Ok(_) => {
                say.line("the standby is certified");
                Ok(None)
            }
            Err(error) if error.is::<clock::Interrupted>() => Err(error),
            Err(error) => Ok(Some(error.to_string())),
        }
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
