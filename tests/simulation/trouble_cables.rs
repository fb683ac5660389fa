//! Cables, switches and what is on the LAN.

use duotone::protocol::identity::NodeId;

use crate::clock::MILLI;
use crate::command::{Cable, Command};
use crate::schedule::Making;

/// What happens between the hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CableTrouble {
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
    Loss,
    ProbesLost,
}

impl CableTrouble {
    pub const ALL: [CableTrouble; 12] = [
        CableTrouble::Eth1Cut,
        CableTrouble::Eth1OneWay,
        CableTrouble::EveryPathCut,
        CableTrouble::PathThenCrash,
        CableTrouble::Isolated,
        CableTrouble::LanCut,
        CableTrouble::LanUnplugged,
        CableTrouble::GatewayGone,
        CableTrouble::LanSplit,
        CableTrouble::ForeignHost,
        CableTrouble::Loss,
        CableTrouble::ProbesLost,
    ];
}

impl Making<'_> {
    pub fn of_cable(&mut self, trouble: CableTrouble) {
        let host = self.host;
        match trouble {
            CableTrouble::Eth1Cut => self.cut(Cable::Eth1, None),
            CableTrouble::Eth1OneWay => {
                let cable = self.dice.pick(&[Cable::Eth1, Cable::Eth0Path]);
                self.cut(cable, Some(host));
            }
            CableTrouble::EveryPathCut => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Eth0Path, None);
            }
            CableTrouble::PathThenCrash => {
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
            CableTrouble::Isolated => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Lan, Some(host));
                self.cut(Cable::Witness, Some(host));
            }
            CableTrouble::LanCut => self.cut(Cable::Lan, Some(host)),
            CableTrouble::LanUnplugged => self.cut(Cable::LanPlug, Some(host)),
            CableTrouble::GatewayGone => {
                let side = self.dice.chance(500).then_some(host);
                self.cut(Cable::Gateway, side);
            }
            CableTrouble::LanSplit => {
                self.between(Command::SplitLan(true), Command::SplitLan(false));
                self.cut(Cable::Eth1, None);
            }
            CableTrouble::ForeignHost => {
                self.between(Command::Foreign(true), Command::Foreign(false))
            }
            CableTrouble::Loss => {
                let per_mille = self.dice.span(30, 100);
                self.between(Command::Loss(per_mille), Command::Loss(0));
                self.push(self.at, Command::Twice(20));
            }
            CableTrouble::ProbesLost => {
                self.between(Command::Probes(host, false), Command::Probes(host, true));
            }
        }
    }
}
