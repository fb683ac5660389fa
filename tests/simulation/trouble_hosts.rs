//! Hosts and daemons that die, hang or freeze.

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
}

impl HostTrouble {
    pub const ALL: [HostTrouble; 9] = [
        HostTrouble::HostDies,
        HostTrouble::BothHostsDie,
        HostTrouble::DaemonDies,
        HostTrouble::DaemonDiesCleanly,
        HostTrouble::DaemonHangs,
        HostTrouble::Freeze,
        HostTrouble::HiddenFreeze,
        HostTrouble::ShortFreeze,
        HostTrouble::FreezeTwice,
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
