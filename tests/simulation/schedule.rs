//! Random trouble: what breaks, when, and when it is mended.

use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::dice::Dice;

/// A kind of trouble; the batch counts how often each was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    HostDies,
    BothHostsDie,
    DaemonDies,
    DaemonDiesCleanly,
    DaemonHangs,
    Freeze,
    HiddenFreeze,
    ShortFreeze,
    FreezeTwice,
    Eth1Cut,
    Eth1OneWay,
    EveryPathCut,
    PathThenCrash,
    Isolated,
    LanCut,
    LanUnplugged,
    GatewayGone,
    LanSplit,
    ForeignHost,
    ReplicationHangs,
    DiskSlow,
    DiskFails,
    SlowWorld,
    Loss,
    Leave,
    PromotionSlow,
    PromotionFails,
    CopySlow,
    AddressDeleted,
    HealsWhilePromoting,
    DiesWhilePromoting,
}

impl Trouble {
    pub const ALL: [Trouble; 31] = [
        Trouble::HostDies,
        Trouble::BothHostsDie,
        Trouble::DaemonDies,
        Trouble::DaemonDiesCleanly,
        Trouble::DaemonHangs,
        Trouble::Freeze,
        Trouble::HiddenFreeze,
        Trouble::ShortFreeze,
        Trouble::FreezeTwice,
        Trouble::Eth1Cut,
        Trouble::Eth1OneWay,
        Trouble::EveryPathCut,
        Trouble::PathThenCrash,
        Trouble::Isolated,
        Trouble::LanCut,
        Trouble::LanUnplugged,
        Trouble::GatewayGone,
        Trouble::LanSplit,
        Trouble::ForeignHost,
        Trouble::ReplicationHangs,
        Trouble::DiskSlow,
        Trouble::DiskFails,
        Trouble::SlowWorld,
        Trouble::Loss,
        Trouble::Leave,
        Trouble::PromotionSlow,
        Trouble::PromotionFails,
        Trouble::CopySlow,
        Trouble::AddressDeleted,
        Trouble::HealsWhilePromoting,
        Trouble::DiesWhilePromoting,
    ];
}

/// Commands with the time after the pair was settled.
pub type Schedule = Vec<(Nanos, Command)>;

/// One to six troubles, often within one `lost_after` of each other.
pub fn storm(dice: &mut Dice, made: &mut Vec<Trouble>) -> Schedule {
    let mut schedule = Schedule::new();
    let mut at = dice.span(0, 300) * MILLI;
    for _ in 0..dice.span(1, 6) {
        let trouble = dice.pick(&Trouble::ALL);
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
        Trouble::HostDies
        | Trouble::BothHostsDie
        | Trouble::DaemonDies
        | Trouble::DaemonDiesCleanly
        | Trouble::DaemonHangs
        | Trouble::Freeze
        | Trouble::HiddenFreeze
        | Trouble::ShortFreeze
        | Trouble::FreezeTwice
        | Trouble::Leave => making.of_hosts(trouble),
        Trouble::Eth1Cut
        | Trouble::Eth1OneWay
        | Trouble::EveryPathCut
        | Trouble::PathThenCrash
        | Trouble::Isolated
        | Trouble::LanCut
        | Trouble::LanUnplugged
        | Trouble::GatewayGone
        | Trouble::LanSplit
        | Trouble::ForeignHost
        | Trouble::Loss => making.of_cables(trouble),
        Trouble::ReplicationHangs
        | Trouble::DiskSlow
        | Trouble::DiskFails
        | Trouble::SlowWorld
        | Trouble::PromotionSlow
        | Trouble::PromotionFails
        | Trouble::CopySlow
        | Trouble::AddressDeleted
        | Trouble::HealsWhilePromoting
        | Trouble::DiesWhilePromoting => making.of_work(trouble),
    }
}

/// One trouble being written into the schedule.
struct Making<'a> {
    host: NodeId,
    at: Nanos,
    span: Option<Nanos>,
    dice: &'a mut Dice,
    schedule: &'a mut Schedule,
}

impl Making<'_> {
    fn push(&mut self, at: Nanos, command: Command) {
        self.schedule.push((at, command));
    }

    fn between(&mut self, begin: Command, finish: Command) {
        self.push(self.at, begin);
        if let Some(span) = self.span {
            self.push(self.at + span, finish);
        }
    }

    fn cut(&mut self, cable: Cable, side: Option<NodeId>) {
        self.between(Command::Cut(cable, side), Command::Mend(cable, side));
    }

    fn known(&self) -> Nanos {
        self.span.unwrap_or(4 * SECOND)
    }

    fn of_hosts(&mut self, trouble: Trouble) {
        let (host, at, known) = (self.host, self.at, self.known());
        match trouble {
            Trouble::HostDies => self.between(Command::PowerOff(host), Command::PowerOn(host)),
            Trouble::BothHostsDie => {
                self.between(Command::PowerOff(host), Command::PowerOn(host));
                let (soon, other) = (self.dice.below(60), self.dice.span(0, 900 * MILLI));
                self.push(at + soon * MILLI, Command::PowerOff(host.peer()));
                self.push(at + 100 * MILLI + other, Command::PowerOn(host.peer()));
            }
            Trouble::DaemonDies => {
                self.between(Command::KillDaemon(host, false), Command::StartDaemon(host));
            }
            Trouble::DaemonDiesCleanly => {
                self.between(Command::KillDaemon(host, true), Command::StartDaemon(host));
            }
            Trouble::DaemonHangs => {
                self.between(Command::HangDaemon(host), Command::ResumeDaemon(host));
            }
            Trouble::Freeze => {
                self.push(at, Command::Freeze(host, known.max(150 * MILLI), false));
            }
            Trouble::HiddenFreeze => self.push(at, Command::Freeze(host, known, true)),
            Trouble::ShortFreeze => {
                let short = self.dice.span(30 * MILLI, 110 * MILLI);
                self.push(at, Command::Freeze(host, short, false));
            }
            Trouble::FreezeTwice => {
                let hidden = self.dice.chance(200);
                self.push(at, Command::Freeze(host, known, hidden));
                let again = at + known + self.dice.span(0, 40 * MILLI);
                let second = self.dice.span(100 * MILLI, SECOND);
                self.push(again, Command::Freeze(host, second, false));
            }
            _ => {
                let (leave, back) = (Order::Leave, Order::Return);
                self.between(Command::Order(host, leave), Command::Order(host, back));
            }
        }
    }

    fn of_cables(&mut self, trouble: Trouble) {
        let host = self.host;
        match trouble {
            Trouble::Eth1Cut => self.cut(Cable::Eth1, None),
            Trouble::Eth1OneWay => {
                let cable = self.dice.pick(&[Cable::Eth1, Cable::Eth0Path]);
                self.cut(cable, Some(host));
            }
            Trouble::EveryPathCut => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Eth0Path, None);
            }
            Trouble::PathThenCrash => {
                self.cut(Cable::Eth1, Some(host));
                self.cut(Cable::Eth0Path, Some(host));
                let soon = self.at + self.dice.span(0, 300 * MILLI);
                let whose = self.dice.pick(&NodeId::ALL);
                let then = match self.dice.below(3) {
                    0 => Command::PowerOff(whose),
                    1 => Command::KillDaemon(whose, false),
                    _ => Command::Cut(Cable::Eth1, None),
                };
                self.push(soon, then);
            }
            Trouble::Isolated => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Lan, Some(host));
            }
            Trouble::LanCut => self.cut(Cable::Lan, Some(host)),
            Trouble::LanUnplugged => self.cut(Cable::LanPlug, Some(host)),
            Trouble::GatewayGone => {
                let side = self.dice.chance(500).then_some(host);
                self.cut(Cable::Gateway, side);
            }
            Trouble::LanSplit => {
                self.between(Command::SplitLan(true), Command::SplitLan(false));
                self.cut(Cable::Eth1, None);
            }
            Trouble::ForeignHost => self.between(Command::Foreign(true), Command::Foreign(false)),
            _ => {
                let per_mille = self.dice.span(30, 100);
                self.between(Command::Loss(per_mille), Command::Loss(0));
                self.push(self.at, Command::Twice(20));
            }
        }
    }

    fn of_work(&mut self, trouble: Trouble) {
        let (host, at, known) = (self.host, self.at, self.known());
        match trouble {
            Trouble::ReplicationHangs => {
                self.between(Command::Replication(false), Command::Replication(true));
            }
            Trouble::DiskSlow => {
                let takes = self.dice.span(20, 700) * MILLI;
                self.between(Command::DiskTakes(host, takes), Command::DiskTakes(host, 2 * MILLI));
            }
            Trouble::DiskFails => {
                self.between(Command::DiskFails(host, true), Command::DiskFails(host, false));
            }
            Trouble::SlowWorld => self.push(at, Command::SlowWorld(host, known)),
            Trouble::PromotionSlow => {
                let takes = self.dice.span(300, 3_000) * MILLI;
                self.push(at, Command::PromotionTakes(host, takes));
            }
            Trouble::PromotionFails => {
                let (fails, works) = (true, false);
                self.between(
                    Command::PromotionFails(host, fails),
                    Command::PromotionFails(host, works),
                );
            }
            Trouble::CopySlow => {
                let takes = self.dice.span(2_000, 6_000) * MILLI;
                self.push(at, Command::CopyTakes(host, takes));
            }
            Trouble::AddressDeleted => self.push(at, Command::DeleteAddress(host)),
            Trouble::HealsWhilePromoting => self.heals_while_promoting(),
            _ => self.dies_while_promoting(),
        }
    }

    fn heals_while_promoting(&mut self) {
        let (host, at) = (self.host, self.at);
        for cable in [Cable::Eth1, Cable::Eth0Path, Cable::Lan] {
            self.push(at, Command::Cut(cable, Some(host)));
        }
        let takes = self.dice.span(50, 1_000) * MILLI;
        self.push(at, Command::PromotionTakes(host.peer(), takes));
        for cable in [Cable::Lan, Cable::Eth1, Cable::Eth0Path] {
            let mend = Box::new(Command::Mend(cable, Some(host)));
            let after = self.dice.span(0, 600) * MILLI;
            self.push(at, Command::WhenPromoting(host.peer(), after, mend));
        }
    }

    fn dies_while_promoting(&mut self) {
        let (host, at) = (self.host, self.at);
        self.push(at, Command::PowerOff(host));
        let whose = self.dice.pick(&NodeId::ALL);
        let then = match self.dice.below(4) {
            0 => Command::PowerOn(host),
            1 => Command::PowerOff(host.peer()),
            2 => Command::KillDaemon(host.peer(), false),
            _ => Command::Cut(Cable::Lan, Some(whose)),
        };
        let after = self.dice.span(0, 150) * MILLI;
        self.push(at, Command::WhenPromoting(host.peer(), after, Box::new(then)));
    }
}
