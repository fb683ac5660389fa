//! The devices that power the hosts: each is ordered by the other host, takes its time, and may
//! fail. What it reports as off is off.

use duotone::protocol::event::{Event, PeerPower, Ticket};
use duotone::protocol::identity::NodeId;

use crate::clock::Nanos;
use crate::settings::nanos;
use crate::world::{Inside, Outside, What, World};

/// What orders to one device come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mood {
    #[default]
    Works,
    /// It refuses, at once.
    Fails,
    /// It does nothing, and says nothing until the run's time is over.
    Hangs,
    /// It switches off, and cannot say so.
    Blind,
    /// It says that it has switched off, and has not. No promise holds then.
    Lies,
}

impl Mood {
    pub const ALL: [(Mood, &str); 5] = [
        (Mood::Works, "works"),
        (Mood::Fails, "fails"),
        (Mood::Hangs, "hangs"),
        (Mood::Blind, "is blind"),
        (Mood::Lies, "lies"),
    ];
}

/// The device that powers one host.
#[derive(Clone, Copy, Default)]
pub struct Device {
    pub mood: Mood,
    /// How long it takes to switch off.
    pub takes: Option<Nanos>,
    /// True time when what it was told to do is done.
    busy_until: Nanos,
}

impl World {
    /// The agent begins its run.
    pub fn order_fence(&mut self, host: NodeId, ticket: Ticket) {
        let life = self.hosts[host.index()].daemon.life;
        let hangs = self.hosts[host.index()].trouble.slow_until.saturating_sub(self.now);
        let (low, high) = self.settings.fence_part();
        let span = hangs + self.dice.span(low, high);
        // Its clock may run slower.
        self.fences[host.peer().index()].busy_until = self.now + span + span / 10;
        self.inside(host, span, Inside::FenceAsked { life, ticket });
    }

    /// The order is with the device of the peer, if it gets there.
    pub fn fence_asked(&mut self, host: NodeId, life: u32, ticket: Ticket) {
        let peer = host.peer();
        let longest = nanos(self.settings.timing.fence) * 9 / 10;
        let (low, high) = self.settings.fence_part();
        let (switches, says) = (self.dice.span(low, high), self.dice.span(low, high));
        let Device { mood, takes, .. } = self.fences[peer.index()];
        let mood = if self.network.fence[host.index()] { mood } else { Mood::Hangs };
        let switches = takes.unwrap_or(switches);
        let (power, span) = match mood {
            Mood::Works | Mood::Lies => (PeerPower::Off, switches + says),
            Mood::Blind => (PeerPower::Unknown, switches + says),
            Mood::Fails => (PeerPower::Unknown, says),
            Mood::Hangs => (PeerPower::Unknown, longest),
        };
        if matches!(mood, Mood::Works | Mood::Blind) {
            self.fences[peer.index()].busy_until = self.now + switches;
            self.after(switches, What::Outside(Box::new(Outside::Fenced(peer))));
        }
        let reported = Inside::FenceReported { life, ticket, power };
        self.inside(host, span, reported);
    }

    /// No host is about to be powered off.
    pub fn fences_rest(&self) -> bool {
        self.fences.iter().all(|device| self.now > device.busy_until)
    }

    /// The run ends.
    pub fn fence_reported(&mut self, host: NodeId, life: u32, ticket: Ticket, power: PeerPower) {
        let left = self.fences[host.peer().index()].busy_until.saturating_sub(self.now);
        if power == PeerPower::Off && left > 0 {
            // Its clock runs faster than the device's; the agent says off when it is.
            let reported = Inside::FenceReported { life, ticket, power };
            return self.inside(host, left + left / 10, reported);
        }
        if self.same_life(host, life) {
            self.trace.note(self.now, host, || format!("seen the peer's power: {power:?}"));
            self.tell(host, Event::FenceReported { ticket, power });
        }
    }

    /// The device switches its host off; somebody may switch it on later.
    pub fn fenced(&mut self, host: NodeId) {
        self.trace.world(self.now, || format!("{host} is powered off by its fence"));
        self.checker.fenced += 1;
        self.note_paths();
        self.power_off(host);
        self.note_paths();
        if let Some((low, high)) = self.settings.fenced_returns {
            let span = self.dice.span(low, high);
            self.after(span, What::Outside(Box::new(Outside::PoweredOn(host))));
        }
    }
}
