//! The world: one true time, one queue, two hosts. What happens next is what is due first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use duotone::protocol::durable::Durable;
use duotone::protocol::event::{DatabaseSeen, Event, Order, PeerPower, ServicesGoal, Ticket};
use duotone::protocol::identity::NodeId;

use crate::branches::Branches;
use crate::checker::Checker;
use crate::clock::{Clock, MILLI, Nanos, SECOND};
use crate::command::Command;
use crate::coverage::Coverage;
use crate::database::Stream;
use crate::dice::Dice;
use crate::fence::Device;
use crate::host::{Host, Life};
use crate::network::{Network, Packet};
use crate::settings::Settings;
use crate::trace::Trace;
use crate::witness::{AtWitness, WitnessHost};

pub struct World {
    pub now: Nanos,
    queue: BinaryHeap<Entry>,
    pushed: u64,
    pub dice: Dice,
    pub settings: Settings,
    pub hosts: [Host; 2],
    pub network: Network,
    pub witness: WitnessHost,
    /// By the host that they power.
    pub fences: [Device; 2],
    pub branches: Branches,
    /// By the standby's host.
    pub streams: [Option<Stream>; 2],
    pub next_stream: u64,
    /// What waits for that moment of that host.
    pub armed: Vec<(NodeId, Moment, Nanos, Command)>,
    /// What was still to break stays whole.
    pub faults_over: bool,
    pub checker: Checker,
    pub coverage: Coverage,
    pub trace: Trace,
    /// Events handled by nodes.
    pub handled: u64,
    /// Steps at one instant of true time.
    steps_now: u32,
}

/// A moment of a takeover that a fault may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// It writes down a term of its own.
    Claims,
    /// Its promotion begins.
    Promotes,
}

/// Something that will happen.
#[derive(Clone)]
pub enum What {
    /// Host-internal, due by the host's own clock; dies with the kernel's life.
    Inside {
        host: NodeId,
        boot: u32,
        due: u64,
        what: Inside,
    },
    Arrives {
        host: NodeId,
        packet: Packet,
    },
    AtWitness(Box<AtWitness>),
    Outside(Box<Outside>),
    /// Clients commit.
    Commit,
    /// Replication connections are looked after.
    Replication,
}

/// What happens inside a host.
#[derive(Clone)]
pub enum Inside {
    Wake { number: u64 },
    Tell { life: u32, event: Box<Event> },
    AddressHeld { life: u32 },
    AddressReleased { life: u32 },
    AddressExpires { renewal: u64 },
    Saved { life: u32, ticket: Ticket, state: Box<Durable>, fails: bool },
    DeedStep { number: u64 },
    Look { life: u32 },
    Looked { life: u32, ticket: Option<Ticket>, seen: Box<DatabaseSeen> },
    ServicesReached { life: u32, order: u64, goal: ServicesGoal },
    DeadMan { life: u32 },
    DaemonStarts { life: u32 },
    FenceAsked { life: u32, ticket: Ticket },
    FenceReported { life: u32, ticket: Ticket, power: PeerPower },
}

/// What is done to the world.
#[derive(Clone)]
pub enum Outside {
    Fault(Command),
    Thaw(NodeId),
    /// Its device switches it off.
    Fenced(NodeId),
    /// Somebody switches it on again.
    PoweredOn(NodeId),
    Order(NodeId, Order),
}

struct Entry {
    at: Nanos,
    number: u64,
    what: What,
}

impl Entry {
    /// What is due first, and of that what was planned first, in one number: the queue compares much.
    #[inline]
    fn order(&self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.number)
    }
}

impl World {
    pub fn new(settings: Settings, dice: Dice, trace: Trace) -> World {
        let mut world = World::dark(settings, dice, trace);
        for host in NodeId::ALL {
            let delay = world.dice.span(0, 60 * MILLI);
            world.power_on(host, delay);
        }
        world.at(100 * MILLI, What::Commit);
        world
    }

    /// Both hosts are off, and there are no clients.
    pub fn dark(settings: Settings, dice: Dice, trace: Trace) -> World {
        let clocks = settings.ppm.map(|ppm| Clock::booted(0, 100 * SECOND, ppm));
        let mut world = World {
            now: 0,
            queue: BinaryHeap::new(),
            pushed: 0,
            dice,
            hosts: clocks.map(Host::new),
            network: Network::new(settings.eth0_path),
            witness: WitnessHost::new(settings.witness_ppm),
            fences: [Device::default(); 2],
            branches: Branches::new(),
            streams: [None, None],
            next_stream: 0,
            armed: Vec::new(),
            faults_over: false,
            checker: Checker::new(),
            coverage: Coverage::new(),
            trace,
            handled: 0,
            steps_now: 0,
            settings,
        };
        world.at(10 * MILLI, What::Replication);
        world
    }

    pub fn at(&mut self, at: Nanos, what: What) {
        self.pushed += 1;
        self.queue.push(Entry { at: at.max(self.now), number: self.pushed, what });
    }

    pub fn after(&mut self, span: Nanos, what: What) {
        self.at(self.now + span, what);
    }

    /// After `span` on the host's own clock.
    pub fn inside(&mut self, host: NodeId, span: Nanos, what: Inside) {
        let it = &self.hosts[host.index()];
        let due = it.clock.read(self.now) + span;
        let at = it.clock.when(due);
        let boot = it.boot;
        self.at(at, What::Inside { host, boot, due, what });
    }

    pub fn run_until(&mut self, end: Nanos) {
        while self.checker.broken.is_none() {
            match self.queue.peek() {
                Some(next) if next.at <= end => self.step(),
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// Runs until `wanted`, at most until `end`; looks every few milliseconds.
    pub fn run_until_seen(&mut self, end: Nanos, wanted: impl Fn(&World) -> bool) -> bool {
        while self.now < end && self.checker.broken.is_none() {
            if wanted(self) {
                return true;
            }
            self.run_until((self.now + 20 * MILLI).min(end));
        }
        self.checker.broken.is_none() && wanted(self)
    }

    fn step(&mut self) {
        let Some(Entry { at, what, .. }) = self.queue.pop() else { return };
        self.steps_now = if at == self.now { self.steps_now + 1 } else { 0 };
        if self.steps_now > 10_000 {
            return self.break_rule("the world stands still".to_owned());
        }
        self.now = at;
        match what {
            What::Inside { host, boot, due, what } => self.step_inside(host, boot, due, what),
            What::Arrives { host, packet } => self.arrives(host, packet),
            What::AtWitness(what) => self.at_witness(*what),
            What::Outside(outside) => match *outside {
                Outside::Fault(command) => {
                    if !self.faults_over {
                        self.apply(&command);
                    }
                }
                Outside::Thaw(host) => self.thaw(host),
                Outside::Fenced(host) => self.fenced(host),
                Outside::PoweredOn(host) => self.apply(&Command::PowerOn(host)),
                Outside::Order(host, order) => self.ordered(host, order),
            },
            What::Commit => {
                self.clients_commit();
                let (low, high) = self.settings.commits;
                let pause = self.dice.span(low, high);
                self.after(pause, What::Commit);
            }
            What::Replication => {
                self.look_after_replication();
                self.after(10 * MILLI, What::Replication);
            }
        }
        self.check_owners();
        self.check_two_actives();
    }

    fn step_inside(&mut self, host: NodeId, boot: u32, due: u64, what: Inside) {
        let it = &mut self.hosts[host.index()];
        if !it.powered || it.boot != boot {
            return;
        }
        if it.frozen.is_some() {
            it.deferred.push(What::Inside { host, boot, due, what });
            return;
        }
        if it.clock.read(self.now) < due {
            // The clock stood still meanwhile.
            let at = it.clock.when(due);
            self.at(at, What::Inside { host, boot, due, what });
            return;
        }
        self.happens(host, what);
    }

    fn happens(&mut self, host: NodeId, what: Inside) {
        match what {
            Inside::Wake { number } => {
                if self.hosts[host.index()].daemon.wakes == number {
                    self.wake(host);
                }
            }
            Inside::Tell { life, event } => {
                if self.same_life(host, life) {
                    self.tell(host, *event);
                }
            }
            Inside::AddressHeld { life } => self.address_held(host, life),
            Inside::AddressReleased { life } => self.address_released(host, life),
            Inside::AddressExpires { renewal } => self.address_expires(host, renewal),
            Inside::Saved { life, ticket, state, fails } => {
                self.saved(host, life, ticket, *state, fails);
            }
            Inside::DeedStep { number } => self.deed_step(host, number),
            Inside::Look { life } => self.regular_look(host, life),
            Inside::Looked { life, ticket, seen } => {
                if self.same_life(host, life) {
                    self.trace_look(host, ticket, &seen);
                    self.tell(host, Event::DatabaseSeen { ticket, seen: *seen });
                }
            }
            Inside::ServicesReached { life, order, goal } => {
                self.services_reached(host, life, order, goal);
            }
            Inside::DeadMan { life } => self.dead_man(host, life),
            Inside::FenceAsked { life, ticket } => self.fence_asked(host, life, ticket),
            Inside::FenceReported { life, ticket, power } => {
                self.fence_reported(host, life, ticket, power);
            }
            Inside::DaemonStarts { life } => {
                let daemon = &self.hosts[host.index()].daemon;
                if daemon.life == life && daemon.state == Life::Dead {
                    self.start_daemon(host);
                }
            }
        }
    }

    /// Does what was waiting for this moment.
    pub fn moment(&mut self, host: NodeId, moment: Moment) {
        for (whose, when, span, command) in std::mem::take(&mut self.armed) {
            if (whose, when) == (host, moment) {
                self.after(span, What::Outside(Box::new(Outside::Fault(command))));
            } else {
                self.armed.push((whose, when, span, command));
            }
        }
    }

    /// The daemon's memory is still that of `life` (a hung daemon's queues fill).
    pub fn same_life(&self, host: NodeId, life: u32) -> bool {
        let daemon = &self.hosts[host.index()].daemon;
        daemon.life == life && daemon.state != Life::Dead
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    #[inline]
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives it first.
    #[inline]
    fn cmp(&self, other: &Entry) -> Ordering {
        other.order().cmp(&self.order())
    }
}
