//! Random trouble: what breaks, when, and when it is mended.

use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;

use crate::clock::{MICRO, MILLI, Nanos, SECOND};
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
    let mut at = dice.span(0, 300 * MILLI);
    for _ in 0..dice.span(1, 6) {
        let trouble = dice.pick(&Trouble::ALL);
        made.push(trouble);
        add(dice, &mut schedule, at / MICRO * MICRO, trouble);
        at += match dice.below(5) {
            0 | 1 => dice.span(0, 260 * MILLI),
            2 => dice.span(200 * MILLI, SECOND),
            3 => dice.span(SECOND, 4 * SECOND),
            _ => dice.span(3 * SECOND, 8 * SECOND),
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
    let host = dice.pick(&NodeId::ALL);
    let span = lasts(dice);
    let end = span.map(|span| at + span);
    let known = span.unwrap_or(4 * SECOND);
    let mut push = |at: Nanos, command: Command| schedule.push((at, command));
    let mut from_to = |begin: Command, finish: Command| {
        push(at, begin);
        if let Some(end) = end {
            push(end, finish);
        }
    };
    match trouble {
        Trouble::HostDies => from_to(Command::PowerOff(host), Command::PowerOn(host)),
        Trouble::BothHostsDie => {
            from_to(Command::PowerOff(host), Command::PowerOn(host));
            let other = dice.span(0, 900 * MILLI);
            push(at + dice.below(60) * MILLI, Command::PowerOff(host.peer()));
            push(at + 100 * MILLI + other, Command::PowerOn(host.peer()));
        }
        Trouble::DaemonDies => {
            from_to(Command::KillDaemon(host, false), Command::StartDaemon(host));
        }
        Trouble::DaemonDiesCleanly => {
            from_to(Command::KillDaemon(host, true), Command::StartDaemon(host));
        }
        Trouble::DaemonHangs => from_to(Command::HangDaemon(host), Command::ResumeDaemon(host)),
        Trouble::Freeze => push(at, Command::Freeze(host, known.max(150 * MILLI), false)),
        Trouble::HiddenFreeze => push(at, Command::Freeze(host, known, true)),
        Trouble::ShortFreeze => {
            push(at, Command::Freeze(host, dice.span(30 * MILLI, 110 * MILLI), false));
        }
        Trouble::FreezeTwice => {
            let hidden = dice.chance(200);
            push(at, Command::Freeze(host, known, hidden));
            let again = at + known + dice.span(0, 40 * MILLI);
            push(again, Command::Freeze(host, dice.span(100 * MILLI, SECOND), false));
        }
        Trouble::Eth1Cut => {
            from_to(Command::Cut(Cable::Eth1, None), Command::Mend(Cable::Eth1, None));
        }
        Trouble::Eth1OneWay => {
            let (cable, side) = (dice.pick(&[Cable::Eth1, Cable::Eth0Path]), Some(host));
            from_to(Command::Cut(cable, side), Command::Mend(cable, side));
        }
        Trouble::EveryPathCut => {
            for cable in [Cable::Eth1, Cable::Eth0Path] {
                from_to(Command::Cut(cable, None), Command::Mend(cable, None));
            }
        }
        Trouble::PathThenCrash => {
            for cable in [Cable::Eth1, Cable::Eth0Path] {
                from_to(Command::Cut(cable, Some(host)), Command::Mend(cable, Some(host)));
            }
            let soon = at + dice.span(0, 300 * MILLI);
            let whose = dice.pick(&NodeId::ALL);
            let crash = dice.pick(&[0u8, 1, 2]);
            push(
                soon,
                match crash {
                    0 => Command::PowerOff(whose),
                    1 => Command::KillDaemon(whose, false),
                    _ => Command::Cut(Cable::Eth1, None),
                },
            );
        }
        Trouble::Isolated => {
            for cable in [Cable::Eth1, Cable::Lan] {
                let side = if cable == Cable::Eth1 { None } else { Some(host) };
                from_to(Command::Cut(cable, side), Command::Mend(cable, side));
            }
        }
        Trouble::LanCut => cut(&mut from_to, Cable::Lan, host),
        Trouble::LanUnplugged => cut(&mut from_to, Cable::LanPlug, host),
        Trouble::GatewayGone => {
            let side = if dice.chance(500) { Some(host) } else { None };
            from_to(Command::Cut(Cable::Gateway, side), Command::Mend(Cable::Gateway, side));
        }
        Trouble::LanSplit => {
            from_to(Command::SplitLan(true), Command::SplitLan(false));
            from_to(Command::Cut(Cable::Eth1, None), Command::Mend(Cable::Eth1, None));
        }
        Trouble::ForeignHost => from_to(Command::Foreign(true), Command::Foreign(false)),
        Trouble::ReplicationHangs => {
            from_to(Command::Replication(false), Command::Replication(true));
        }
        Trouble::DiskSlow => {
            let takes = dice.span(20 * MILLI, 700 * MILLI);
            from_to(Command::DiskTakes(host, takes), Command::DiskTakes(host, 2 * MILLI));
        }
        Trouble::DiskFails => {
            from_to(Command::DiskFails(host, true), Command::DiskFails(host, false));
        }
        Trouble::SlowWorld => push(at, Command::SlowWorld(host, known)),
        Trouble::Loss => {
            from_to(Command::Loss(dice.span(30, 100)), Command::Loss(0));
            push(at, Command::Twice(20));
        }
        Trouble::Leave => {
            from_to(Command::Order(host, Order::Leave), Command::Order(host, Order::Return));
        }
        Trouble::PromotionSlow => {
            push(at, Command::PromotionTakes(host, dice.span(300 * MILLI, 3 * SECOND)));
        }
        Trouble::PromotionFails => {
            from_to(Command::PromotionFails(host, true), Command::PromotionFails(host, false));
        }
        Trouble::CopySlow => push(at, Command::CopyTakes(host, dice.span(2 * SECOND, 6 * SECOND))),
        Trouble::AddressDeleted => push(at, Command::DeleteAddress(host)),
        Trouble::HealsWhilePromoting => {
            for cable in [Cable::Eth1, Cable::Eth0Path, Cable::Lan] {
                push(at, Command::Cut(cable, Some(host)));
            }
            push(at, Command::PromotionTakes(host.peer(), dice.span(50 * MILLI, SECOND)));
            for cable in [Cable::Lan, Cable::Eth1, Cable::Eth0Path] {
                let mend = Box::new(Command::Mend(cable, Some(host)));
                let after = dice.span(0, 600 * MILLI);
                push(at, Command::WhenPromoting(host.peer(), after, mend));
            }
        }
        Trouble::DiesWhilePromoting => {
            push(at, Command::PowerOff(host));
            let whose = dice.pick(&NodeId::ALL);
            let then = match dice.below(4) {
                0 => Command::PowerOn(host),
                1 => Command::PowerOff(host.peer()),
                2 => Command::KillDaemon(host.peer(), false),
                _ => Command::Cut(Cable::Lan, Some(whose)),
            };
            let after = dice.span(0, 150 * MILLI);
            push(at, Command::WhenPromoting(host.peer(), after, Box::new(then)));
        }
    }
}

fn cut(from_to: &mut impl FnMut(Command, Command), cable: Cable, host: NodeId) {
    from_to(Command::Cut(cable, Some(host)), Command::Mend(cable, Some(host)));
}
