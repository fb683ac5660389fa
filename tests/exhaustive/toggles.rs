//! What breaks, and is whole again.

use duotone::protocol::identity::NodeId;
use duotone::protocol::witness::Witness;

use crate::pair::{Bounds, Pair};
use crate::ticks::instant;

/// Something that breaks, or is whole again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Toggle {
    /// The cable between the hosts, in the direction from this one.
    Cable(NodeId),
    /// The cable in both directions.
    BothWays,
    /// The host's way to its arbiter: the LAN, or the witness.
    Arbiter(NodeId),
    /// The witness's service ends, and starts from its disk.
    Witness,
    Power(NodeId),
    Daemon(NodeId),
    Freeze(NodeId),
}

impl Pair {
    pub fn toggle(&mut self, toggle: Toggle, bounds: &Bounds) {
        let now = self.now;
        match toggle {
            Toggle::Cable(from) => self.cable[from.index()] ^= true,
            Toggle::BothWays => {
                let works = self.cable == [true; 2];
                self.cable = [!works; 2];
            }
            Toggle::Arbiter(host) => self.arbiter[host.index()] ^= true,
            Toggle::Witness => {
                self.witness = match self.witness {
                    Some(_) => None,
                    None => Some(Witness::new(Some(self.ledger), instant(now))),
                }
            }
            Toggle::Power(host) if self.host(host).powered => self.host(host).power_off(now),
            Toggle::Power(host) => {
                self.host(host).powered = true;
                self.start_daemon(host, bounds);
            }
            Toggle::Daemon(host) => {
                let it = self.host(host);
                match (it.node.is_some(), it.powered) {
                    (true, _) => it.kill_daemon(now),
                    (false, true) => self.start_daemon(host, bounds),
                    (false, false) => {}
                }
            }
            Toggle::Freeze(host) => {
                let it = self.host(host);
                it.frozen = it.powered && !it.frozen;
                it.thawed = now;
            }
        }
    }

    /// It would change something.
    pub fn can(&self, toggle: Toggle) -> bool {
        match toggle {
            Toggle::Cable(_)
            | Toggle::BothWays
            | Toggle::Arbiter(_)
            | Toggle::Witness
            | Toggle::Power(_) => true,
            Toggle::Daemon(host) | Toggle::Freeze(host) => self.hosts[host.index()].powered,
        }
    }

    /// Everything works again.
    pub fn heal(&mut self, bounds: &Bounds) {
        (self.cable, self.arbiter) = ([true; 2], [true; 2]);
        if self.witness.is_none() {
            self.toggle(Toggle::Witness, bounds);
        }
        for host in NodeId::ALL {
            let it = &self.hosts[host.index()];
            let mends = match (it.powered, it.frozen, &it.node) {
                (false, _, _) => Some(Toggle::Power(host)),
                (true, true, _) => Some(Toggle::Freeze(host)),
                (true, false, None) => Some(Toggle::Daemon(host)),
                (true, false, Some(_)) => None,
            };
            if let Some(toggle) = mends {
                self.toggle(toggle, bounds);
            }
            if self.hosts[host.index()].node.is_none() {
                self.toggle(Toggle::Daemon(host), bounds);
            }
        }
    }
}
