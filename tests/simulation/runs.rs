//! Runs from seeds: break it, then heal it; leave it alone; or break one thing for good.

use std::fmt;
use std::time::Duration;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;
use duotone::protocol::moves::Policy;
use duotone::protocol::node::Durability;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::exceptions::Exceptions;
use crate::keys::KeyTrouble;
use crate::lasting::Lasting;
use crate::schedule::{Schedule, Trouble, storm};
use crate::settings::{Settings, drifty, nanos, voice};
use crate::trace::{Trace, seconds};
use crate::world::{Outside, What, World};

/// A freshly started pair is settled within this.
const SETTLED_WITHIN: Nanos = 10 * SECOND;

/// What a seed means.
pub struct Run {
    pub seed: u64,
    pub settings: Settings,
    pub kind: Kind,
    pub troubles: Vec<Trouble>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// Random trouble, then all is mended: one must serve and the other follow.
    Storm(Schedule),
    /// Nothing that matters: nothing moves, and commits go on.
    Quiet(Vec<Calm>),
    /// One thing breaks for good: there is service within the bound, and it stays.
    Lasting(Lasting, Option<Command>),
}

/// What must move nothing.
#[derive(Clone, Copy, Debug)]
pub enum Calm {
    Nothing,
    Eth1CutBesideEth0,
    Eth0PathCut,
    Hiccup { of_active: bool, nanos: Nanos },
    Copies,
}

/// How a run ended.
pub struct Ended {
    pub broken: Option<String>,
    pub exceptions: Exceptions,
    pub coverage: Coverage,
    pub handled: u64,
    /// Hosts powered off by a fence.
    pub fenced: u64,
    pub lines: Vec<String>,
}

impl Run {
    pub fn of(seed: u64) -> Run {
        let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(77));
        let mut settings = Settings::plain();
        settings.durability = match dice.below(10) {
            0 => Durability::Async,
            1..=4 => Durability::Strict,
            _ => Durability::Available,
        };
        settings.timing = if dice.chance(300) { drifty() } else { voice() };
        settings.eth0_path = dice.chance(400);
        settings.worst = dice.chance(150);
        let bound = i64::from(settings.timing.drift_ppm);
        settings.ppm = [(); 2].map(|()| match dice.below(3) {
            0 => bound,
            1 => -bound,
            _ => dice.span(0, 2 * bound as u64) as i64 - bound,
        });
        // A third of the seeds, so that the others stay what they were.
        if seed % 3 == 2 {
            settings.arbitration = Arbitration::WITNESS;
            settings.witness_ppm = dice.span(0, 2 * bound as u64) as i64 - bound;
        }
        // A sixth has a fence alone, a twelfth both.
        match seed % 12 {
            4 | 10 => settings = settings.under(Arbitration::FENCE),
            5 => settings = settings.under(Arbitration::WITNESS_AND_FENCE),
            _ => {}
        }
        if settings.arbitration.fence && dice.chance(600) {
            settings.fenced_returns = Some(Settings::RETURNS);
        }
        if dice.chance(200) {
            settings.policy.preferred = Some(dice.pick(&NodeId::ALL));
            settings.policy.failback_after =
                dice.chance(700).then(|| Duration::from_millis(dice.span(300, 6_000)));
        }
        if dice.chance(200) {
            settings.policy.moves = dice.below(3) as u32;
        }
        let mut troubles = Vec::new();
        let kind = match dice.below(20) {
            0 | 1 => {
                settings.policy.failback_after = None;
                if dice.chance(600) {
                    settings.worst = true;
                }
                Kind::Quiet(calm(&mut dice, &settings))
            }
            2..=5 => {
                settings.policy = Policy::DEFAULT;
                let glitch = dice.chance(400).then(|| glitch(&mut dice));
                Kind::Lasting(dice.pick(&Lasting::all(settings.arbitration)), glitch)
            }
            _ => {
                settings.remote_checks = seed % 5 == 0;
                let mut schedule = storm(&mut dice, settings.arbitration, &mut troubles);
                // Drawn last, so that the other seeds stay what they were.
                if seed % 7 == 6 {
                    let trouble = dice.pick(&KeyTrouble::ALL);
                    troubles.push(Trouble::Keys(trouble));
                    trouble.add(&mut dice, &mut schedule);
                }
                Kind::Storm(schedule)
            }
        };
        Run { seed, settings, kind, troubles }
    }

    pub fn go(&self, trace: Trace) -> Ended {
        let mut world = World::new(self.settings.clone(), Dice::new(self.seed), trace);
        let start = world.run_until_seen(SETTLED_WITHIN, World::settled);
        if !start {
            world.break_rule(format!("P6: a new pair is not settled within {SETTLED_WITHIN} ns"));
        } else {
            world.run_until(world.now + 300 * MILLI);
            match &self.kind {
                Kind::Storm(schedule) => world.storm(schedule),
                Kind::Quiet(calm) => world.quiet(calm),
                Kind::Lasting(lasting, glitch) => world.lasting(*lasting, glitch.as_ref()),
            }
        }
        Ended {
            broken: world.checker.broken,
            exceptions: world.checker.exceptions,
            coverage: world.coverage,
            handled: world.handled,
            fenced: world.checker.fenced,
            lines: world.trace.lines.unwrap_or_default(),
        }
    }

    /// Without what is not needed to break the same sentence.
    pub fn cut_down(mut self) -> Run {
        let Some(broken) = self.go(Trace::silent()).broken else { return self };
        let Kind::Storm(mut schedule) = self.kind.clone() else { return self };
        let mut at = 0;
        while at < schedule.len() {
            let mut fewer = schedule.clone();
            fewer.remove(at);
            self.kind = Kind::Storm(fewer.clone());
            if self.go(Trace::silent()).broken.as_ref() == Some(&broken) {
                schedule = fewer;
            } else {
                at += 1;
            }
        }
        self.kind = Kind::Storm(schedule);
        self
    }
}

fn calm(dice: &mut Dice, settings: &Settings) -> Vec<Calm> {
    let hiccup = |dice: &mut Dice| Calm::Hiccup {
        of_active: dice.chance(500),
        nanos: dice.span(30 * MILLI, 90 * MILLI),
    };
    let some = match dice.below(4) {
        0 => Calm::Nothing,
        1 => Calm::Copies,
        2 if settings.eth0_path => Calm::Eth1CutBesideEth0,
        3 if settings.eth0_path => Calm::Eth0PathCut,
        _ => hiccup(dice),
    };
    vec![some, hiccup(dice)]
}

fn glitch(dice: &mut Dice) -> Command {
    let host = dice.pick(&NodeId::ALL);
    let span = dice.span(20 * MILLI, 900 * MILLI);
    match dice.below(3) {
        0 => Command::Freeze(host, span, false),
        1 => Command::KillDaemon(host, false),
        _ => Command::PowerOff(host),
    }
}

impl World {
    fn storm(&mut self, schedule: &Schedule) {
        let start = self.now;
        for (at, command) in schedule {
            let outside = Box::new(Outside::Fault(command.clone()));
            self.at(start + at, What::Outside(outside));
        }
        let last = schedule.last().map_or(0, |(at, _)| *at);
        let rest = self.dice.span(500 * MILLI, 7 * SECOND);
        self.run_until(start + last + rest);
        self.faults_over = true;
        self.apply(&Command::Heal);
        let within = self.healed_within();
        if self.run_until_seen(self.now + within, World::settled) {
            return;
        }
        if self.hosts.iter().all(|it| it.disk.copy_unfinished) && self.checker.broken.is_none() {
            // A held situation: somebody must say whose log is to be served, if there is one.
            self.checker.exceptions.nothing_left += 1;
            let whole = |host: &NodeId| !self.hosts[host.index()].database.torn;
            let Some(host) = NodeId::ALL.into_iter().find(whole) else { return };
            self.apply(&Command::Order(host, Order::TakeAnyway));
            if self.run_until_seen(self.now + within, World::settled) {
                return;
            }
        }
        self.break_rule(format!("P6: not settled {} s after all was healed", seconds(within)));
    }

    /// Boot, a comparison, up to two interrupted copies, a certificate's life.
    fn healed_within(&self) -> Nanos {
        let timing = &self.settings.timing;
        nanos(timing.start_grace * 4 + timing.certificate * 2 + timing.lifetime_worst())
            + nanos(timing.step_deadline * 2)
            + 3 * self.settings.copy.1
            + 2 * SECOND
    }

    fn active(&self) -> NodeId {
        if self.settled_on(NodeId::A) { NodeId::A } else { NodeId::B }
    }

    fn quiet(&mut self, calm: &[Calm]) {
        let active = self.active();
        self.checker.still = Some(active);
        for one in calm {
            self.run_until(self.now + SECOND);
            match one {
                Calm::Nothing => {}
                Calm::Copies => self.apply(&Command::Twice(200)),
                Calm::Eth1CutBesideEth0 => {
                    for host in NodeId::ALL {
                        self.apply(&Command::Cut(Cable::Eth1, Some(host)));
                    }
                    // Replication runs over eth1: commits stall until the active node is lone.
                    let stall = nanos(self.settings.timing.certificate * 2);
                    self.run_until(self.now + stall);
                    self.apply(&Command::Mend(Cable::Eth1, None));
                }
                Calm::Eth0PathCut => self.apply(&Command::Cut(Cable::Eth0Path, None)),
                Calm::Hiccup { of_active, nanos } => {
                    let host = if *of_active { active } else { active.peer() };
                    self.apply(&Command::Freeze(host, *nanos, false));
                }
            }
            self.run_until(self.now + 2 * SECOND);
        }
        self.run_until(self.now + 4 * SECOND);
        self.check_served("P7: commits stopped without need");
        if self.checker.broken.is_none() && !self.settled_on(active) {
            self.break_rule("P7: the pair is no longer settled, without need".to_owned());
        }
    }

    fn check_served(&mut self, sentence: &str) {
        if self.now > self.checker.last_served + 400 * MILLI {
            let last = seconds(self.checker.last_served);
            self.break_rule(format!("{sentence} (last at {last})"));
        }
    }

    fn lasting(&mut self, lasting: Lasting, glitch: Option<&Command>) {
        self.checker.single_fault = glitch.is_none();
        if let Some(glitch) = glitch {
            let returns = self.settings.fenced_returns.replace(Settings::RETURNS);
            self.apply(glitch);
            self.run_until(self.now + 300 * MILLI);
            for host in NodeId::ALL {
                self.apply(&Command::PowerOn(host));
                self.apply(&Command::StartDaemon(host));
            }
            let within = self.healed_within();
            let rests = |world: &World| world.settled() && world.fences_rest();
            if !self.run_until_seen(self.now + within, rests) {
                self.break_rule("P6: not settled after a short glitch".to_owned());
                return;
            }
            self.settings.fenced_returns = returns;
            let pause = self.dice.span(0, SECOND);
            self.run_until_seen(self.now + pause, |_| false);
            if !rests(self) {
                return;
            }
        }
        let start = self.now;
        for (at, command) in lasting.commands(self.active()) {
            let outside = Box::new(Outside::Fault(command));
            self.at(start + at, What::Outside(outside));
        }
        let bound = lasting.bound(&self.settings);
        self.run_until(start + bound);
        for _ in 0..12 {
            if self.checker.broken.is_some() {
                return;
            }
            self.check_served(&format!(
                "availability: no service {} s after {lasting:?}",
                seconds(bound)
            ));
            self.run_until(self.now + 500 * MILLI);
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            arbitration,
            durability,
            eth0_path,
            worst,
            ppm,
            timing,
            policy,
            witness_ppm,
            fenced_returns,
            ..
        } = &self.settings;
        let times = if *timing == voice() { "voice" } else { "drifty" };
        writeln!(
            f,
            "seed {}: {durability:?}, {times}, eth0 path {eth0_path}, worst {worst}, ppm {ppm:?}",
            self.seed
        )?;
        if arbitration.witness {
            writeln!(f, "  arbitration witness, its clock {witness_ppm} ppm")?;
        }
        if arbitration.fence {
            writeln!(f, "  arbitration fence, power returns {fenced_returns:?}")?;
        }
        if *policy != Policy::DEFAULT {
            writeln!(f, "  {policy:?}")?;
        }
        match &self.kind {
            Kind::Storm(schedule) => {
                for (at, command) in schedule {
                    writeln!(f, "  +{} {command}", seconds(*at))?;
                }
                Ok(())
            }
            other => writeln!(f, "  {other:?}"),
        }
    }
}
