//! The pulse's fake: wakes, drains, judges; and does its part of the actions (heartbeats, probes,
//! addresses, announcements).

use std::rc::Rc;

use duotone::protocol::action::Action;
use duotone::protocol::event::{Answerer, Event, LanSeen};
use duotone::protocol::heartbeat::Heartbeat;
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::node::{Node, Setup};
use duotone::protocol::time::Instant;
use duotone::protocol::witness::Wish;
use duotone::wire::Admission;

use crate::clock::{MICRO, MILLI};
use crate::host::Life;
use crate::network::{LINKS, Packet, Sent};
use crate::settings::nanos;
use crate::world::{Inside, Moment, What, World};

/// The network card of a frozen host keeps this many packets.
const CARD_QUEUE: u32 = 64;

impl World {
    pub fn start_daemon(&mut self, host: NodeId) {
        let session = Session(self.dice.raw());
        let now = self.hosts[host.index()].clock.instant(self.now);
        let it = &mut self.hosts[host.index()];
        let setup = Setup {
            me: host,
            session,
            timing: self.settings.timing,
            durability: self.settings.durability,
            database: true,
            rejoin: true,
            groups: 1,
            refresh: None,
            durable: (!it.damaged).then_some(it.disk),
            // Each life of a daemon is of another version and has another configuration.
            software: [0, it.daemon.life as u16 % 4, 0],
            config_hash: u64::from(it.daemon.life),
            dark_standby: false,
            references: true,
            policy: self.settings.policy,
            arbitration: self.settings.arbitration,
        };
        let daemon = &mut it.daemon;
        daemon.life += 1;
        daemon.keys = it.keys;
        daemon.state = Life::Running;
        daemon.changed = self.now;
        daemon.node = Some(Box::new(Node::new(setup, now)));
        daemon.inbox.clear();
        daemon.admission = Admission::new(session, LINKS);
        daemon.heard = None;
        daemon.wake = None;
        daemon.status.clear();
        it.spoken = Default::default();
        let life = daemon.life;
        self.trace.note(self.now, host, || "daemon starts".to_owned());
        self.wake_within(host, MICRO);
        self.inside(host, 5 * MILLI, Inside::Look { life });
    }

    /// The daemon is told something: it wakes a little later.
    pub fn tell(&mut self, host: NodeId, event: Event) {
        let daemon = &mut self.hosts[host.index()].daemon;
        if daemon.state == Life::Dead {
            return;
        }
        daemon.inbox.push_back(event);
        let (low, high) = self.settings.lateness();
        let late = self.dice.span(low, high);
        self.wake_within(host, late);
    }

    fn wake_within(&mut self, host: NodeId, span: u64) {
        let it = &mut self.hosts[host.index()];
        let at = it.clock.read(self.now) + span;
        if it.daemon.wake.is_some_and(|planned| planned <= at) {
            return;
        }
        it.daemon.wake = Some(at);
        it.daemon.wakes += 1;
        let number = it.daemon.wakes;
        self.inside(host, span, Inside::Wake { number });
    }

    pub fn wake(&mut self, host: NodeId) {
        let it = &mut self.hosts[host.index()];
        it.daemon.wake = None;
        if it.daemon.state != Life::Running {
            return;
        }
        let now = it.clock.instant(self.now);
        let Some(mut node) = it.daemon.node.take() else { return };
        let mut events = std::mem::take(&mut it.daemon.inbox);
        self.handled += events.len() as u64 + 1;
        for event in events.drain(..) {
            for action in node.handle(now, event) {
                self.perform(host, now, action);
            }
        }
        let (before, _) = node.authority();
        let actions = node.handle(now, Event::Tick);
        self.coverage.decided(before, &node);
        self.note_status(host, &node, now);
        self.note_offer(host, &node);
        for action in actions {
            self.perform(host, now, action);
        }
        if self.settings.recorded {
            let record = serde_json::to_string(&*node).unwrap();
            *node = serde_json::from_str(&record).unwrap();
        }
        let deadline = node.next_deadline();
        let daemon = &mut self.hosts[host.index()].daemon;
        daemon.node = Some(node);
        if daemon.inbox.is_empty() {
            // Keep the queue's memory.
            daemon.inbox = events;
        }
        daemon.spins = if deadline <= now { daemon.spins + 1 } else { 0 };
        if daemon.spins > 100 {
            self.break_rule(format!("{host} spins: its next deadline is never later than now"));
        }
        let (low, high) = self.settings.lateness();
        let late = self.dice.span(low, high);
        self.wake_within(host, nanos(deadline.since(now)) + late);
    }

    pub fn perform(&mut self, host: NodeId, now: Instant, action: Action) {
        self.trace_action(host, &action);
        let life = self.hosts[host.index()].daemon.life;
        match action {
            Action::SendHeartbeat(heartbeat) => self.send_heartbeat(host, heartbeat),
            Action::AskWitness(request) => {
                if request.wish != Wish::Query {
                    self.hosts[host.index()].spoken.asked = Some(request.wish);
                }
                self.ask_witness(host, request);
            }
            Action::PowerOffPeer { ticket } => self.order_fence(host, ticket),
            Action::ProbeLan { group: _, floating, references } => {
                self.probe_lan(host, now, floating, references);
            }
            Action::HoldAddresses { .. } => {
                let span = self.address_deed(host, 100 * MICRO, 900 * MICRO);
                self.inside(host, span, Inside::AddressHeld { life });
            }
            Action::ReleaseAddresses { .. } => {
                let (low, high) = self.settings.release();
                let takes = self.hosts[host.index()].trouble.release_takes;
                let span = self.address_deed(host, takes.unwrap_or(low), takes.unwrap_or(high));
                self.inside(host, span, Inside::AddressReleased { life });
            }
            Action::Announce { group } => {
                let sent = self.network.ports[host.index()].carrier;
                let event = Box::new(Event::Announced { group, sent });
                self.inside(host, 100 * MICRO, Inside::Tell { life, event });
            }
            Action::SaveState { ticket, state } => {
                self.check_claim(host, state.term);
                self.check_taking_back(host, state.term);
                if state.term.node == host && state.term > self.hosts[host.index()].disk.term {
                    self.moment(host, Moment::Claims);
                }
                self.save(host, ticket, state);
            }
            Action::Database { ticket, deed } => self.begin_deed(host, ticket, deed),
            Action::Services { goal, .. } => self.order_services(host, goal),
        }
    }

    /// Deeds on the netlink socket are done one after the other; gives the span until this one is.
    fn address_deed(&mut self, host: NodeId, low: u64, high: u64) -> u64 {
        let takes = self.dice.span(low, high);
        let it = &mut self.hosts[host.index()];
        let now = it.clock.read(self.now);
        it.address_free = it.address_free.max(now) + takes;
        it.address_free - now
    }

    fn send_heartbeat(&mut self, host: NodeId, heartbeat: Heartbeat) {
        self.check_heartbeat(host, &heartbeat);
        let spoken = &mut self.hosts[host.index()].spoken;
        spoken.last = Some((heartbeat.session, heartbeat.sequence));
        spoken.certified = heartbeat.certified;
        spoken.certifying = heartbeat.certifying;
        spoken.since_start += 1;
        let heartbeat = Rc::new(heartbeat);
        let daemon = &mut self.hosts[host.index()].daemon;
        daemon.admission.sending(heartbeat.sequence);
        let key = daemon.keys.current;
        let paths = [self.network.eth1[host.index()], self.network.eth0_passes(host)];
        for (link, _) in paths.into_iter().enumerate().filter(|&(_, passes)| passes) {
            if self.dice.chance(self.network.loss_per_mille) {
                continue;
            }
            let copies = if self.dice.chance(self.network.twice_per_mille) { 2 } else { 1 };
            for _ in 0..copies {
                let (low, high) = self.settings.link();
                let delay = self.dice.span(low, high);
                let sent = Sent { heartbeat: Rc::clone(&heartbeat), key, link };
                let packet = Packet::Heartbeat(sent);
                self.after(delay, What::Arrives { host: host.peer(), packet });
            }
        }
    }

    fn probe_lan(&mut self, host: NodeId, now: Instant, floating: bool, references: bool) {
        if !self.network.ports[host.index()].carrier {
            self.tell_lan(host, LanSeen::ProbeFailed { at: now });
            return;
        }
        if floating {
            self.tell_lan(host, LanSeen::FloatingProbed { at: now });
            let asked = self.network.neighbours() && !self.network.probes_lost[host.index()];
            if asked && !self.lan_loses(host) {
                let (low, high) = self.settings.lan();
                let delay = self.dice.span(low, high);
                self.after(
                    delay,
                    What::Arrives { host: host.peer(), packet: Packet::AddressAsked },
                );
            }
            if self.network.foreign && self.network.on_lan(host) {
                let packet = Packet::AddressAnswered(Answerer::Foreign);
                self.after_lan(host, 2, packet);
            }
        }
        if references && self.network.reaches_gateway(host) && !self.lan_loses(host) {
            let life = self.hosts[host.index()].daemon.life;
            let packet = Packet::ReferenceAnswered { life, probed_at: now.as_nanos() };
            self.after_lan(host, 2, packet);
        }
    }

    fn lan_loses(&mut self, host: NodeId) -> bool {
        let loses = self.dice.chance(self.network.loss_per_mille);
        let in_row = &mut self.network.lost_in_row[host.index()];
        *in_row = if loses && *in_row < 2 { *in_row + 1 } else { 0 };
        *in_row > 0
    }

    fn after_lan(&mut self, host: NodeId, ways: u64, packet: Packet) {
        let (low, high) = self.settings.lan();
        let delay = self.dice.span(low * ways, high * ways);
        self.after(delay, What::Arrives { host, packet });
    }

    fn tell_lan(&mut self, host: NodeId, seen: LanSeen) {
        self.tell(host, Event::Lan { group: GroupId::MAIN, seen });
    }

    pub fn arrives(&mut self, host: NodeId, packet: Packet) {
        let it = &mut self.hosts[host.index()];
        if !it.powered {
            return;
        }
        if let Some(freeze) = &mut it.frozen {
            freeze.packets += 1;
            if freeze.packets <= CARD_QUEUE {
                it.deferred.push(What::Arrives { host, packet });
            }
            return;
        }
        let at = it.clock.instant(self.now);
        match packet {
            Packet::Heartbeat(sent) => {
                if it.daemon.state != Life::Dead && it.daemon.admits(&sent) {
                    let heartbeat = Heartbeat::clone(&sent.heartbeat);
                    self.tell(host, Event::HeartbeatReceived { heartbeat, at });
                }
            }
            Packet::AddressAsked => {
                self.tell_lan(host, LanSeen::PeerProbed { at });
                if self.hosts[host.index()].holds_address() && self.network.neighbours() {
                    let packet = Packet::AddressAnswered(Answerer::Peer);
                    self.after_lan(host.peer(), 1, packet);
                }
            }
            Packet::AddressAnswered(by) => {
                if self.network.on_lan(host) {
                    self.tell_lan(host, LanSeen::FloatingAnswered { at, by });
                }
            }
            Packet::ReferenceAnswered { life, probed_at } => {
                if self.network.on_lan(host) && it.daemon.life == life {
                    let probed_at = Instant::from_nanos(probed_at);
                    self.tell_lan(host, LanSeen::ReferenceAnswered { probed_at });
                }
            }
            Packet::WitnessReplied(reply) => self.witness_replied(host, *reply),
            Packet::Log { stream, branch, position } => {
                self.log_arrives(host, stream, branch, position);
            }
            Packet::Flushed { stream, position } => self.flushed(host, stream, position),
        }
    }

    pub fn address_held(&mut self, host: NodeId, life: u32) {
        if !self.same_life(host, life) {
            return;
        }
        if self.hosts[host.index()].trouble.address_fails {
            return self.addresses_seen(host);
        }
        self.check_taking(host);
        let (low, high) = self.settings.lifetime();
        let lifetime = self.dice.span(low, high);
        let it = &mut self.hosts[host.index()];
        let new = !it.addresses.any();
        let renewal = it.addresses.hold();
        self.inside(host, lifetime, Inside::AddressExpires { renewal });
        if new {
            self.trace.note(self.now, host, || "seen address held".to_owned());
        }
        self.addresses_seen(host);
    }

    pub fn address_released(&mut self, host: NodeId, life: u32) {
        if !self.same_life(host, life) {
            return;
        }
        if self.hosts[host.index()].addresses.remove() {
            self.trace.note(self.now, host, || "seen address absent".to_owned());
            self.check_still(host, "its address was released");
        }
        self.addresses_seen(host);
    }

    /// Netlink reports what is there.
    pub fn addresses_seen(&mut self, host: NodeId) {
        let seen = self.hosts[host.index()].addresses.presence();
        self.tell(host, Event::AddressesSeen { group: GroupId::MAIN, seen });
    }

    /// The kernel drops an address that nobody renewed; what is bound to the daemon's life stops no
    /// later.
    pub fn address_expires(&mut self, host: NodeId, renewal: u64) {
        let it = &mut self.hosts[host.index()];
        if !it.addresses.expire(renewal) {
            return;
        }
        if it.daemon.state != Life::Running {
            self.stop_everything(host);
        }
        self.trace.note(self.now, host, || "address expires".to_owned());
        self.check_still(host, "its address expired");
        self.addresses_seen(host);
    }

    pub fn dead_man(&mut self, host: NodeId, life: u32) {
        let daemon = &self.hosts[host.index()].daemon;
        if daemon.life == life && daemon.state != Life::Running {
            self.stop_everything(host);
        }
    }
}
