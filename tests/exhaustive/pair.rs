//! The pair and what lies between: one tick of it, and what a disturbance does to it.

use duotone::protocol::action::Action;
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{Event, Presence, ServicesSeen};
use duotone::protocol::health::Grade;
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::moves::Policy;
use duotone::protocol::node::{Durability, Node, Setup};
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;
use duotone::protocol::witness::{Ledger, Witness};

use crate::host::{Address, Host};
use crate::logs::Row;
use crate::ticks::{LIFETIME, RELEASE, instant};
use crate::toggles::Toggle;

/// What does not change during a walk.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub arbitration: Arbitration,
    /// Each node's times; they differ only where a test breaks them.
    pub timing: [Timing; 2],
    /// Ticks that a message of each node is on its way, to the peer or the arbiter and back.
    pub delays: [u32; 2],
    /// Who judges first within a tick.
    pub first: NodeId,
}

#[derive(Clone, Debug)]
pub struct Pair {
    pub now: u32,
    pub hosts: [Host; 2],
    /// The cable, by who sends.
    pub cable: [bool; 2],
    pub arbiter: [bool; 2],
    pub witness: Option<Witness>,
    pub ledger: Ledger,
    /// What arrives where, and at which tick.
    pub on_the_way: Vec<(u32, NodeId, Event)>,
    pub branches: u32,
    pub acknowledged: Vec<Row>,
    pub broken: Option<String>,
}

impl Pair {
    /// Both hosts are switched on.
    pub fn new(bounds: &Bounds) -> Pair {
        let mut pair = Pair {
            now: 0,
            hosts: [Host::off(), Host::off()],
            cable: [true; 2],
            arbiter: [true; 2],
            // It has been there for long, and knows nothing of this pair.
            witness: Some(Witness::new(None, Instant::ZERO)),
            ledger: Ledger::default(),
            on_the_way: Vec::new(),
            branches: 0,
            acknowledged: Vec::new(),
            broken: None,
        };
        for host in NodeId::ALL {
            pair.toggle(Toggle::Power(host), bounds);
        }
        pair
    }

    pub fn host(&mut self, host: NodeId) -> &mut Host {
        &mut self.hosts[host.index()]
    }

    pub fn break_rule(&mut self, sentence: String) {
        self.broken.get_or_insert(sentence);
    }

    pub fn start_daemon(&mut self, host: NodeId, bounds: &Bounds) {
        let now = instant(self.now);
        let it = self.host(host);
        it.lives += 1;
        let setup = Setup {
            me: host,
            session: Session(it.lives * 2 + host.index() as u64),
            timing: bounds.timing[host.index()],
            durability: Durability::Strict,
            database: true,
            rejoin: true,
            groups: 1,
            refresh: None,
            durable: Some(it.disk),
            software: [0, 1, 0],
            config_hash: 7,
            dark_standby: false,
            references: true,
            policy: Policy::DEFAULT,
            arbitration: bounds.arbitration,
        };
        it.node = Some(Box::new(Node::new(setup, now)));
        self.addresses_seen(host);
    }

    /// One tick: what is due happens, both nodes judge, clients commit.
    pub fn tick(&mut self, bounds: &Bounds) {
        self.now += 1;
        let now = self.now;
        for (due, host, event) in std::mem::take(&mut self.on_the_way) {
            match due <= now {
                true => self.arrives(host, event),
                false => self.on_the_way.push((due, host, event)),
            }
        }
        for host in NodeId::ALL {
            self.kernel(host);
        }
        for host in [bounds.first, bounds.first.peer()] {
            if self.hosts[host.index()].daemon_runs() {
                self.look(host, None);
                self.judge(host, bounds);
            }
        }
        // Whatever arrived within the tick wakes its receiver within the tick.
        for _ in 0..3 {
            for host in [bounds.first, bounds.first.peer()] {
                let it = &self.hosts[host.index()];
                if it.daemon_runs() && !it.inbox.is_empty() {
                    self.judge(host, bounds);
                }
            }
        }
        self.commit();
        self.note_arbiters();
        self.check(bounds);
    }

    /// What was begun is done; what nobody renewed is gone.
    fn kernel(&mut self, host: NodeId) {
        let now = self.now;
        let it = self.host(host);
        if !it.awake() {
            return;
        }
        if let Some((ticket, state)) = it.writes.take() {
            it.disk = state;
            it.inbox.push_back(Event::StateSaved { ticket, saved: Some(state) });
        }
        let gone = |it: Address| it.expires <= now || it.released.is_some_and(|at| at <= now);
        if it.address.is_some_and(gone) {
            it.address = None;
            self.addresses_seen(host);
        }
        let it = self.host(host);
        if it.node.is_none() && now >= it.died + LIFETIME {
            // What is bound to the daemon's life ends with it (rule 24).
            it.cluster.crash();
        }
        if let Some((ticket, deed, _)) = it.cluster.deed.take_if(|(_, _, due)| *due <= now) {
            self.deed_done(host, ticket, deed);
        }
    }

    pub fn addresses_seen(&mut self, host: NodeId) {
        let it = self.host(host);
        let seen = if it.address.is_some() { Presence::Held } else { Presence::Absent };
        it.inbox.push_back(Event::AddressesSeen { group: GroupId::MAIN, seen });
    }

    fn judge(&mut self, host: NodeId, bounds: &Bounds) {
        let now = instant(self.now);
        let it = self.host(host);
        let Some(mut node) = it.node.take() else { return };
        for event in std::mem::take(&mut it.inbox) {
            let _ = node.handle(now, event);
        }
        let actions = node.handle(now, Event::Tick);
        self.host(host).node = Some(node);
        for action in actions {
            self.perform(host, action, bounds);
        }
    }

    fn perform(&mut self, host: NodeId, action: Action, bounds: &Bounds) {
        let (now, group) = (self.now, GroupId::MAIN);
        let it = self.host(host);
        match action {
            Action::SendHeartbeat(heartbeat) => {
                if self.cable[host.index()] {
                    // The kernel notes when it came in.
                    let at = instant(now + bounds.delays[host.index()]);
                    let event = Event::HeartbeatReceived { heartbeat, at };
                    self.send(host, host.peer(), event, bounds);
                }
            }
            // No pair of these has a fence.
            Action::PowerOffPeer { .. } => {}
            Action::AskWitness(request) => self.ask_witness(host, &request, bounds),
            Action::ProbeLan { floating, references, .. } => {
                self.probe(host, floating, references, bounds);
            }
            Action::HoldAddresses { .. } => {
                it.holds(now);
                self.addresses_seen(host);
            }
            Action::ReleaseAddresses { .. } => match &mut it.address {
                Some(address) => {
                    address.released.get_or_insert(now + RELEASE);
                }
                None => self.addresses_seen(host),
            },
            Action::Announce { .. } => it.inbox.push_back(Event::Announced { group, sent: true }),
            Action::SaveState { ticket, state } => it.writes = Some((ticket, state)),
            Action::Database { ticket, deed } => {
                it.cluster.begins(ticket, deed, now);
                if let Some((ticket, deed, _)) = it.cluster.deed.take_if(|(_, _, due)| *due <= now)
                {
                    self.deed_done(host, ticket, deed);
                }
            }
            Action::Services { goal, .. } => {
                let seen = ServicesSeen { goal, stopped: true, critical: Grade::Good };
                it.inbox.push_back(Event::ServicesSeen { group, seen });
            }
        }
    }

    fn note_arbiters(&mut self) {
        let now = self.now;
        for host in NodeId::ALL {
            let reaches = self.arbiter[host.index()] && self.witness.is_some();
            let unvouched = &mut self.host(host).unvouched;
            *unvouched = if reaches { None } else { unvouched.or(Some(now)) };
        }
    }
}
