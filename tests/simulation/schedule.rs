//! Random trouble: what breaks, when, and when it is mended.

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::identity::NodeId;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::dice::Dice;
use crate::keys::KeyTrouble;
use crate::trouble_cables::CableTrouble;
use crate::trouble_fence::FenceTrouble;
use crate::trouble_hosts::HostTrouble;
use crate::trouble_orders::OrderTrouble;
use crate::trouble_witness::WitnessTrouble;
use crate::trouble_work::WorkTrouble;

/// A kind of trouble; the batch counts how often each was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    Host(HostTrouble),
    Cable(CableTrouble),
    Work(WorkTrouble),
    Order(OrderTrouble),
    Witness(WitnessTrouble),
    Fence(FenceTrouble),
    /// Never among those that are drawn: a run has one beside them.
    Keys(KeyTrouble),
}

impl Trouble {
    pub fn all(arbitration: Arbitration) -> Vec<Trouble> {
        let hosts = HostTrouble::ALL.into_iter().map(Trouble::Host);
        let cables = CableTrouble::ALL.into_iter().map(Trouble::Cable);
        let work = WorkTrouble::ALL.into_iter().map(Trouble::Work);
        let orders = OrderTrouble::ALL.into_iter().map(Trouble::Order);
        let witness = WitnessTrouble::ALL.into_iter().map(Trouble::Witness);
        let witness = witness.filter(|_| arbitration.witness);
        let fence = FenceTrouble::ALL.into_iter().map(Trouble::Fence);
        let fence = fence.filter(|_| arbitration.fence);
        hosts.chain(cables).chain(work).chain(orders).chain(witness).chain(fence).collect()
    }
}

/// Commands with the time after the pair was settled.
pub type Schedule = Vec<(Nanos, Command)>;

/// One to six troubles, often within one `lost_after` of each other.
pub fn storm(dice: &mut Dice, arbitration: Arbitration, made: &mut Vec<Trouble>) -> Schedule {
    let all = Trouble::all(arbitration);
    let mut schedule = Schedule::new();
    let mut at = dice.span(0, 300) * MILLI;
    // A switchover is short: what falls into it has to be aimed.
    let aimed = dice.chance(200);
    for number in 0..dice.span(1, 6) {
        let trouble = match number {
            0 if aimed => Trouble::Order(OrderTrouble::SwitchoverThen),
            _ => dice.pick(&all),
        };
        made.push(trouble);
        add(dice, &mut schedule, at, trouble);
        at += match dice.below(5) {
            0 | 1 => dice.span(0, 260) * MILLI,
            2 => dice.span(200, 1_000) * MILLI,
            3 => dice.span(1_000, 4_000) * MILLI,
            _ => dice.span(3_000, 8_000) * MILLI,
        };
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

/// How long a trouble lasts; `None` is until the end.
fn lasts(dice: &mut Dice) -> Option<Nanos> {
    match dice.below(6) {
        0 => Some(dice.span(20 * MILLI, 240 * MILLI)),
        1 => Some(dice.span(200 * MILLI, 800 * MILLI)),
        2 => Some(dice.span(800 * MILLI, 3 * SECOND)),
        3 => Some(dice.span(2 * SECOND, 5 * SECOND)),
        4 => Some(dice.span(4 * SECOND, 9 * SECOND)),
        _ => None,
    }
}

fn add(dice: &mut Dice, schedule: &mut Schedule, at: Nanos, trouble: Trouble) {
    let span = lasts(dice);
    let mut making = Making { host: dice.pick(&NodeId::ALL), at, span, dice, schedule };
    match trouble {
        Trouble::Host(trouble) => making.of_host(trouble),
        Trouble::Cable(trouble) => making.of_cable(trouble),
        Trouble::Work(trouble) => making.of_work(trouble),
        Trouble::Order(trouble) => making.of_order(trouble),
        Trouble::Witness(trouble) => making.of_witness(trouble),
        Trouble::Fence(trouble) => making.of_fence(trouble),
        Trouble::Keys(trouble) => trouble.add(making.dice, making.schedule),
    }
}

/// One trouble being written into the schedule.
pub struct Making<'a> {
    pub host: NodeId,
    pub at: Nanos,
    pub span: Option<Nanos>,
    pub dice: &'a mut Dice,
    pub schedule: &'a mut Schedule,
}

impl Making<'_> {
    pub fn push(&mut self, at: Nanos, command: Command) {
        self.schedule.push((at, command));
    }

    pub fn between(&mut self, begin: Command, finish: Command) {
        self.push(self.at, begin);
        if let Some(span) = self.span {
            self.push(self.at + span, finish);
        }
    }

    pub fn cut(&mut self, cable: Cable, side: Option<NodeId>) {
        self.between(Command::Cut(cable, side), Command::Mend(cable, side));
    }

    pub fn known(&self) -> Nanos {
        self.span.unwrap_or(4 * SECOND)
    }
}
