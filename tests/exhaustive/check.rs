//! What must hold after every tick, whatever has happened.

use std::fmt;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::DatabaseState;
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::NodeId;

use crate::logs::Rows;
use crate::pair::{Bounds, Pair};
use crate::ticks::{LIFETIME, RELEASE};

impl Pair {
    pub fn check(&mut self, bounds: &Bounds) {
        self.check_owners(bounds);
        for host in NodeId::ALL {
            self.check_lease(host, bounds);
        }
    }

    /// P1: two hosts on the LAN never hold the floating address at once.
    fn check_owners(&mut self, bounds: &Bounds) {
        let on_lan =
            |host: NodeId| self.arbiter[host.index()] || bounds.arbitration != Arbitration::LAN;
        let owns = |host: NodeId| {
            let it = &self.hosts[host.index()];
            it.awake() && it.address.is_some() && on_lan(host) && !self.excused(host)
        };
        if owns(NodeId::A) && owns(NodeId::B) {
            self.break_rule("P1: two nodes hold the floating address".to_owned());
        }
    }

    /// What P1 excepts: a thawed host that had no time to let go, and what the kernel keeps of a
    /// dead daemon (C17).
    fn excused(&self, host: NodeId) -> bool {
        let it = &self.hosts[host.index()];
        let thaws = it.thawed > 0 && self.now <= it.thawed + RELEASE;
        let remnant = it.node.is_none() && self.now < it.died + LIFETIME;
        thaws || remnant
    }

    /// Rule 2: when a node asks, a peer that no arbiter vouches for has let go.
    fn check_lease(&mut self, host: NodeId, bounds: &Bounds) {
        let it = &self.hosts[host.index()];
        let serves = it.address.is_some() || it.cluster.state == DatabaseState::Writable;
        // What the arbiter said last is worth something for this long.
        let vouched = 4 + RELEASE + bounds.delays[host.index()];
        let alone = it.unvouched.is_some_and(|since| self.now > since + vouched);
        let peer_asks = self.stance(host.peer()).is_some_and(|stance| match stance {
            Stance::Asking | Stance::Taking | Stance::Promoted | Stance::Active => true,
            Stance::Joining | Stance::Standby | Stance::Held | Stance::Handing => false,
        });
        if serves && it.daemon_runs() && alone && peer_asks && !self.excused(host) {
            self.break_rule(format!("P1: {host} serves past its lease, beside a node that asks"));
        }
    }

    /// P2: everything that was acknowledged is where the role goes.
    pub fn check_rows(&mut self, rows: &Rows, when: &str) {
        if let Some(row) = self.acknowledged.iter().find(|row| !rows.holds(**row)) {
            let sentence = format!("P2: {when} without {row:?}, which was acknowledged");
            self.break_rule(sentence);
        }
    }

    /// What a running daemon is doing.
    pub fn stance(&self, host: NodeId) -> Option<Stance> {
        let it = &self.hosts[host.index()];
        it.node.as_ref().filter(|_| it.awake()).map(|node| node.stance())
    }

    /// One serves and the other follows.
    pub fn settled(&self) -> bool {
        NodeId::ALL.into_iter().any(|host| {
            let it = &self.hosts[host.index()];
            self.stance(host) == Some(Stance::Active)
                && it.address.is_some()
                && it.cluster.state == DatabaseState::Writable
                && it.cluster.waits
                && self.stance(host.peer()) == Some(Stance::Standby)
                && self.streams_to(host.peer())
        })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for host in NodeId::ALL {
            let it = &self.hosts[host.index()];
            let doing = match &it.node {
                _ if !it.powered => "off".to_owned(),
                _ if it.frozen => "frozen".to_owned(),
                Some(node) => format!("{:?} ({})", node.stance(), node.authority().1),
                None => "daemon dead".to_owned(),
            };
            let address = if it.address.is_some() { "address, " } else { "" };
            let waits = if it.cluster.waits { "waits" } else { "alone" };
            let (state, end) = (it.cluster.state, it.cluster.rows.end);
            write!(f, "{host}: {doing}, {address}{state:?} at {end} {waits}   ")?;
        }
        Ok(())
    }
}
