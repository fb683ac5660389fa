//! A node taken out of a settled pair, told everything by hand.

use std::time::Duration;

use duotone::protocol::action::Action;
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{
    DatabaseSeen, DatabaseState, Event, LanSeen, Order, PeerPower, Presence, Replica, Ticket,
};
use duotone::protocol::heartbeat::{Echo, Heartbeat, Stance};
use duotone::protocol::identity::{GroupId, NodeId};
use duotone::protocol::lead::Authority;
use duotone::protocol::moves::Hindrance;
use duotone::protocol::node::Node;
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;
use duotone::protocol::witness::Request;

use crate::clock::{MILLI, SECOND};
use crate::command::Command;
use crate::dice::Dice;
use crate::settings::Settings;
use crate::trace::Trace;
use crate::world::World;

pub const TICK: Duration = Duration::from_nanos(1);

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone)]
pub struct One {
    pub node: Node,
    pub now: Instant,
    pub timing: Timing,
    pub peer: Heartbeat,
    /// What it said last, and when.
    pub said: (Heartbeat, Instant),
}

impl One {
    pub fn taken(host: NodeId) -> One {
        One::taken_under(Arbitration::LAN, host)
    }

    pub fn taken_under(arbitration: Arbitration, host: NodeId) -> One {
        let mut settings = Settings { eth0_path: false, ..Settings::plain() }.under(arbitration);
        // Below the spans that it is compared with.
        settings.timing.critical_down = millis(900);
        let mut world = World::new(settings, Dice::fixed(), Trace::silent());
        assert!(world.run_until_seen(20 * SECOND, World::settled));
        world.run_until(world.now + 3 * SECOND + 7 * MILLI);
        assert!(world.settled_on(NodeId::A), "the lower id of a new pair");
        One::out_of(world, host)
    }

    /// The standby of a handover, as soon as it takes, or as soon as it has begun to promote.
    pub fn taker_under(arbitration: Arbitration, promoting: bool) -> One {
        let settings = Settings { eth0_path: false, ..Settings::plain() }.under(arbitration);
        let mut world = World::new(settings, Dice::fixed(), Trace::silent());
        assert!(world.run_until_seen(20 * SECOND, World::settled));
        world.run_until(world.now + 3 * SECOND);
        world.apply(&Command::Order(NodeId::A, Order::Switchover));
        let end = world.now + 5 * SECOND;
        let is_there = |world: &World| {
            let daemon = &world.hosts[NodeId::B.index()].daemon;
            let taking =
                daemon.node.as_ref().is_some_and(|it| it.authority().0 == Authority::Taking);
            taking && (daemon.stance == Stance::Promoted) == promoting
        };
        while !is_there(&world) {
            assert!(world.now < end, "it never takes");
            world.run_until(world.now + MILLI);
        }
        One::out_of(world, NodeId::B)
    }

    fn out_of(mut world: World, host: NodeId) -> One {
        let timing = world.settings.timing;
        let it = &mut world.hosts[host.index()];
        let now = it.clock.instant(world.now);
        let node = *it.daemon.node.take().expect("its daemon runs");
        let peer = node.status(now).peer_says.expect("it was heard");
        let mut one = One { node, now, timing, said: (peer.clone(), now), peer };
        // Until it speaks, so that it is known what the peer may echo.
        let before = one.said.1;
        while one.said.1 == before {
            one.ticks(millis(5));
        }
        one
    }

    pub fn at(&mut self, now: Instant, event: Event) -> Vec<Action> {
        assert!(now >= self.now);
        self.now = now;
        let mut done = self.node.handle(now, event);
        done.extend(self.node.handle(now, Event::Tick));
        for action in &done {
            if let Action::SendHeartbeat(heartbeat) = action {
                self.said = (heartbeat.clone(), now);
            }
        }
        done
    }

    pub fn event(&mut self, after: Duration, event: Event) -> Vec<Action> {
        self.at(self.now + after, event)
    }

    pub fn ticks(&mut self, after: Duration) -> Vec<Action> {
        self.event(after, Event::Tick)
    }

    /// The peer's next heartbeat, which echoes the newest that this node said.
    pub fn hears(&mut self, after: Duration, change: impl FnOnce(&mut Heartbeat)) -> Vec<Action> {
        let (said, _) = &self.said;
        let echo = Echo { session: said.session, sequence: said.sequence, age: Duration::ZERO };
        self.peer.sequence += 1;
        let mut heartbeat = Heartbeat { echo: Some(echo), ..self.peer.clone() };
        change(&mut heartbeat);
        let at = self.now + after;
        self.event(after, Event::HeartbeatReceived { heartbeat, at })
    }

    /// For so long, a heartbeat every few milliseconds.
    pub fn hears_for(&mut self, span: Duration, change: impl Fn(&mut Heartbeat)) {
        let end = self.now + span;
        while self.now < end {
            self.hears(millis(10).min(end.since(self.now)), &change);
        }
    }

    pub fn sees(&mut self, change: impl FnOnce(&mut DatabaseSeen)) -> Vec<Action> {
        let mut seen = self.node.status(self.now).database;
        seen.at = self.now + TICK;
        change(&mut seen);
        self.event(TICK, Event::DatabaseSeen { ticket: None, seen })
    }

    /// Writable, with a standby that has everything.
    pub fn works(&mut self) {
        self.sees(|seen| {
            (seen.state, seen.synchronous) = (DatabaseState::Writable, Some(true));
            let end = seen.log.as_ref().map_or(0, |log| log.position);
            seen.replica = Some(Replica { flush: end, synchronous: true });
        });
        self.event(TICK, Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Held });
    }

    /// The LAN's word keeps the role when the lease has ended.
    pub fn reference(&mut self) {
        let seen = LanSeen::ReferenceAnswered { probed_at: self.now };
        self.event(Duration::ZERO, Event::Lan { group: GroupId::MAIN, seen });
    }

    /// Nobody answers for the address, and the gateway does.
    pub fn quiet_lan(&mut self) {
        self.reference();
        let seen = LanSeen::FloatingProbed { at: self.now };
        self.event(Duration::ZERO, Event::Lan { group: GroupId::MAIN, seen });
    }

    /// Up to that time, on a quiet LAN without the peer; what was done at it.
    pub fn alone_until(&mut self, end: Instant) -> Vec<Action> {
        let mut done = Vec::new();
        while self.now < end.before(TICK) {
            let step = millis(5).min(end.before(TICK).since(self.now));
            done.extend(self.ticks(step));
            self.quiet_lan();
        }
        assert_eq!(power_off(&done), None, "before its time");
        self.at(end, Event::Tick)
    }

    pub fn reports(&mut self, after: Duration, ticket: Ticket, power: PeerPower) -> Vec<Action> {
        self.event(after, Event::FenceReported { ticket, power })
    }

    pub fn authority(&self) -> Authority {
        self.node.authority().0
    }

    pub fn hindrance(&self) -> Option<Hindrance> {
        self.node.hindrance(self.now)
    }
}

pub fn power_off(actions: &[Action]) -> Option<Ticket> {
    actions.iter().find_map(|action| match action {
        Action::PowerOffPeer { ticket } => Some(*ticket),
        _ => None,
    })
}

pub fn asked(actions: &[Action]) -> Vec<Request> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::AskWitness(request) => Some(*request),
            _ => None,
        })
        .collect()
}

pub fn ends_at(end: Instant, is: impl Fn(Instant) -> bool) {
    assert!(is(end.before(TICK)), "a nanosecond before its end");
    assert!(!is(end), "at its end");
}
