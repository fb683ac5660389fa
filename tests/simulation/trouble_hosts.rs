//! Hosts and daemons that die, hang or freeze.

use duotone::protocol::event::Order;

use crate::clock::{MILLI, SECOND};
use crate::command::Command;
use crate::schedule::Making;

/// What happens to a host or its daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HostTrouble {
    HostDies,
    BothHostsDie,
    DaemonDies,
    DaemonDiesCleanly,
    DaemonHangs,
    Freeze,
    HiddenFreeze,
    ShortFreeze,
    FreezeTwice,
    StateDamaged,
    DaemonRestarts,
}

impl HostTrouble {
    pub const ALL: [HostTrouble; 11] = [
        HostTrouble::HostDies,
        HostTrouble::BothHostsDie,
        HostTrouble::DaemonDies,
        HostTrouble::DaemonDiesCleanly,
        HostTrouble::DaemonHangs,
        HostTrouble::Freeze,
        HostTrouble::HiddenFreeze,
        HostTrouble::ShortFreeze,
        HostTrouble::FreezeTwice,
        HostTrouble::StateDamaged,
        HostTrouble::DaemonRestarts,
    ];
}

impl Making<'_> {
    pub fn of_host(&mut self, trouble: HostTrouble) {
        let (host, at, known) = (self.host, self.at, self.known());
        match trouble {
            HostTrouble::HostDies => self.between(Command::PowerOff(host), Command::PowerOn(host)),
            HostTrouble::BothHostsDie => {
                self.between(Command::PowerOff(host), Command::PowerOn(host));
                let (soon, other) = (self.dice.below(60), self.dice.span(0, 900 * MILLI));
                self.push(at + soon * MILLI, Command::PowerOff(host.peer()));
                self.push(at + 100 * MILLI + other, Command::PowerOn(host.peer()));
            }
            HostTrouble::DaemonDies => {
                self.between(Command::KillDaemon(host, false), Command::StartDaemon(host));
            }
            HostTrouble::DaemonDiesCleanly => {
                self.between(Command::KillDaemon(host, true), Command::StartDaemon(host));
            }
            HostTrouble::DaemonHangs => {
                self.between(Command::HangDaemon(host), Command::ResumeDaemon(host));
            }
            HostTrouble::Freeze => {
                self.push(at, Command::Freeze(host, known.max(150 * MILLI), false));
            }
            HostTrouble::HiddenFreeze => self.push(at, Command::Freeze(host, known, true)),
            HostTrouble::ShortFreeze => {
                let short = self.dice.span(30 * MILLI, 110 * MILLI);
                self.push(at, Command::Freeze(host, short, false));
            }
            HostTrouble::StateDamaged => {
                let back = at + self.dice.span(50 * MILLI, 3 * SECOND);
                match self.dice.below(2) {
                    0 => self.push(at, Command::PowerOff(host)),
                    _ => self.push(at, Command::KillDaemon(host, false)),
                }
                self.push(at + MILLI, Command::DamageState(host));
                self.push(back, Command::PowerOn(host));
                self.push(back, Command::StartDaemon(host));
                if self.dice.chance(500) {
                    let after = back + self.dice.span(500 * MILLI, 3 * SECOND);
                    self.push(after, Command::Order(host, Order::Recover));
                }
            }
            HostTrouble::DaemonRestarts => {
                let back = at + self.dice.span(5, 180) * MILLI;
                self.push(at, Command::KillDaemon(host, false));
                self.push(back, Command::StartDaemon(host));
            }
            HostTrouble::FreezeTwice => {
                let hidden = self.dice.chance(200);
                self.push(at, Command::Freeze(host, known, hidden));
                let again = at + known + self.dice.span(0, 40 * MILLI);
                let second = self.dice.span(100 * MILLI, SECOND);
                self.push(again, Command::Freeze(host, second, false));
            }
        }
    }
}
