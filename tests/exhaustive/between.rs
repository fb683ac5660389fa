//! What lies between the hosts: the cable, the LAN, and the witness beyond it.

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{Answerer, Event, LanSeen};
use duotone::protocol::identity::{GroupId, NodeId};
use duotone::protocol::witness::Request;

use crate::pair::{Bounds, Pair};
use crate::ticks::instant;

impl Pair {
    pub fn arrives(&mut self, host: NodeId, event: Event) {
        let it = self.host(host);
        if it.awake() && it.node.is_some() {
            it.inbox.push_back(event);
        }
    }

    /// Arrives within this tick, or after the sender's delay.
    pub fn send(&mut self, from: NodeId, to: NodeId, event: Event, bounds: &Bounds) {
        match bounds.delays[from.index()] {
            0 => self.arrives(to, event),
            delay => self.on_the_way.push((self.now + delay, to, event)),
        }
    }

    pub fn probe(&mut self, host: NodeId, floating: bool, references: bool, bounds: &Bounds) {
        let at = instant(self.now);
        let lan = |seen| Event::Lan { group: GroupId::MAIN, seen };
        let split = bounds.arbitration == Arbitration::LAN;
        let (mine, both) = match split {
            true => (self.arbiter[host.index()], self.arbiter == [true; 2]),
            // The witness is beyond the LAN, which is whole.
            false => (true, true),
        };
        if floating {
            self.arrives(host, lan(LanSeen::FloatingProbed { at }));
            let peer = &self.hosts[host.peer().index()];
            if both && peer.awake() {
                let holds = peer.address.is_some();
                self.send(host, host.peer(), lan(LanSeen::PeerProbed { at }), bounds);
                if holds {
                    let at = instant(self.now + bounds.delays[host.index()]);
                    let by = Answerer::Peer;
                    self.send(host, host, lan(LanSeen::FloatingAnswered { at, by }), bounds);
                }
            }
        }
        if references && mine {
            let answer = lan(LanSeen::ReferenceAnswered { probed_at: at });
            self.send(host, host, answer, bounds);
        }
    }

    pub fn ask_witness(&mut self, host: NodeId, request: &Request, bounds: &Bounds) {
        if !self.arbiter[host.index()] {
            return;
        }
        let (now, fresh) = (instant(self.now), request.session.0);
        let Some(witness) = &mut self.witness else { return };
        if let Some(reply) = witness.handle(now, request, fresh) {
            self.ledger = *witness.ledger();
            self.send(host, host, Event::WitnessReplied { reply }, bounds);
        }
    }
}
