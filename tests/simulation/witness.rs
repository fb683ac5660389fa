//! The third host: the real rule of the witness, a disk that takes its time, and two cables.

use std::time::Duration;

use duotone::protocol::event::Event;
use duotone::protocol::identity::NodeId;
use duotone::protocol::witness::{Ledger, Reply, Request, Witness};

use crate::clock::{Clock, MICRO, MILLI, Nanos, SECOND};
use crate::keys::Keys;
use crate::network::Packet;
use crate::settings::nanos;
use crate::world::{Outside, What, World};

/// The third host.
pub struct WitnessHost {
    clock: Clock,
    /// Its rule while it runs.
    rule: Option<Witness>,
    /// What is on its disk; `None` when it was lost.
    disk: Option<Ledger>,
    keys: Keys,
    /// Which life of the service.
    life: u32,
    /// When the disk is free for the next write.
    free_at: Nanos,
}

/// What happens at the witness.
#[derive(Clone)]
pub enum AtWitness {
    /// With the key that proves it.
    Asked(Request, u8),
    /// What was judged is on the disk: the answer leaves.
    Written { life: u32, ledger: Ledger, reply: Reply },
}

impl WitnessHost {
    pub fn new(ppm: i64) -> WitnessHost {
        let clock = Clock::booted(0, 700 * SECOND, ppm);
        // It has been there for a while, and knows nothing of this pair.
        let rule = Witness::new(None, clock.instant(0).before(Duration::from_secs(60)));
        WitnessHost { clock, rule: Some(rule), disk: None, keys: Keys::FIRST, life: 0, free_at: 0 }
    }

    pub fn runs(&self) -> bool {
        self.rule.is_some()
    }

    pub fn keys(&self) -> Keys {
        self.keys
    }
}

impl World {
    pub fn ask_witness(&mut self, host: NodeId, request: Request) {
        let key = self.hosts[host.index()].daemon.keys.current;
        let asked = What::AtWitness(Box::new(AtWitness::Asked(request, key)));
        if let Some(span) = self.network.again_at_witness[host.index()] {
            self.after(span, asked.clone());
        }
        if self.network.to_witness[host.index()] {
            self.send_by_witness_cable(asked);
        }
    }

    /// There and back takes less than half of A: a retry fits.
    fn send_by_witness_cable(&mut self, what: What) {
        if self.dice.chance(self.network.loss_per_mille) {
            return;
        }
        let copies = if self.dice.chance(self.network.twice_per_mille) { 2 } else { 1 };
        for _ in 0..copies {
            let longest = nanos(self.settings.timing.arbiter) / 6;
            let low = if self.settings.worst { longest } else { 150 * MICRO };
            // Now and then one takes a way round, and comes when it is worth nothing any more.
            let late = self.dice.chance(self.network.twice_per_mille / 4);
            let delay = if late {
                self.dice.span(50 * MILLI, 900 * MILLI)
            } else {
                self.dice.span(low, longest)
            };
            self.after(delay, what.clone());
        }
    }

    pub fn at_witness(&mut self, what: AtWitness) {
        match what {
            AtWitness::Asked(request, key) => {
                if !self.witness.keys.accept(key) {
                    return;
                }
                let fresh = self.dice.raw() | 1;
                let it = &mut self.witness;
                let now = it.clock.instant(self.now);
                let Some(rule) = &mut it.rule else { return };
                let Some(reply) = rule.handle(now, &request, fresh) else { return };
                let ledger = *rule.ledger();
                let life = it.life;
                let written = AtWitness::Written { life, ledger, reply };
                let busy = it.free_at.saturating_sub(self.now);
                let takes = if it.disk == Some(ledger) && busy == 0 {
                    0
                } else {
                    busy + self.dice.span(100 * MICRO, 2 * MILLI)
                };
                self.witness.free_at = self.now + takes;
                self.after(takes, What::AtWitness(Box::new(written)));
            }
            AtWitness::Written { life, ledger, reply } => {
                if life != self.witness.life {
                    return;
                }
                if self.witness.disk != Some(ledger) {
                    self.trace.world(self.now, || told(&ledger));
                }
                self.witness.disk = Some(ledger);
                let host = reply.node;
                if self.network.from_witness[host.index()] {
                    let packet = Packet::WitnessReplied(Box::new(reply));
                    self.send_by_witness_cable(What::Arrives { host, packet });
                }
            }
        }
    }

    pub fn witness_replied(&mut self, host: NodeId, reply: Reply) {
        self.tell(host, Event::WitnessReplied { reply });
    }

    /// The service ends: what is not on its disk is gone.
    pub fn witness_off(&mut self) {
        self.witness.rule = None;
        self.witness.life += 1;
        self.witness.free_at = 0;
    }

    pub fn witness_on(&mut self) {
        let it = &mut self.witness;
        if !it.runs() {
            it.rule = Some(Witness::new(it.disk, it.clock.instant(self.now)));
        }
    }

    /// It reads its keys at its start.
    pub fn witness_keys(&mut self, keys: Keys) {
        if self.witness.keys == keys {
            return;
        }
        self.witness.keys = keys;
        if self.witness.runs() {
            self.witness_off();
            self.witness_on();
        }
    }

    /// Its disk is lost, and with it its memory.
    pub fn witness_forgets(&mut self) {
        self.witness_off();
        self.witness.disk = None;
        let on = Outside::Fault(crate::command::Command::Witness(true));
        self.after(50 * MILLI, What::Outside(Box::new(on)));
    }
}

fn told(ledger: &Ledger) -> String {
    let holder = ledger.holder.map_or("nobody".to_owned(), |holder| {
        let released = if holder.released { ", released" } else { "" };
        format!("{} holds {}{released}", holder.node, holder.term)
    });
    let excluded = ledger.excluded.map_or(String::new(), |node| format!(", {node} excluded"));
    format!("witness: {holder}{excluded}")
}
