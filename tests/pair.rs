//! Two nodes on a perfect network with an obedient world: the shortest proof that the core boots,
//! serves, certifies and takes over. The simulator does the rest.

use std::time::Duration;

use duotone::protocol::action::{Action, DatabaseDeed};
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::durable::Durable;
use duotone::protocol::event::{
    DatabaseSeen, DatabaseState, Event, LanSeen, Order, Presence, Replica, ServicesSeen,
};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::Heartbeat;
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::lead::Authority;
use duotone::protocol::log::{Fork, Log};
use duotone::protocol::node::{Durability, Node, Setup};
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn timing() -> Timing {
    Timing {
        interval: ms(50),
        delay: ms(15),
        late_after: ms(180),
        lost_after: ms(260),
        start_grace: ms(500),
        drift_ppm: 200,
        release: ms(30),
        arbiter: ms(20),
        probe_interval: ms(15),
        probes: 4,
        short_window: ms(70),
        long_window: ms(500),
        short_validity: ms(35),
        long_validity: ms(400),
        first_attempt: ms(220),
        short_validity_for: ms(350),
        address_lifetime: ms(2000),
        lan_window: ms(3000),
        certificate: ms(3500),
        grant: ms(120),
        grant_renewal: ms(20),
        fence: ms(1000),
        fence_delay: ms(1000),
        replication_stall: ms(1000),
        step_deadline: ms(5000),
        critical_down: ms(5000),
    }
}

struct Host {
    node: Node,
    alive: bool,
    state: DatabaseState,
    synchronous: bool,
    timeline: u32,
    forks: Vec<Fork>,
    held: bool,
    said: String,
}

impl Host {
    fn seen(&self, at: Instant, peer_follows: bool) -> DatabaseSeen {
        DatabaseSeen {
            at,
            state: self.state,
            synchronous: Some(self.synchronous),
            log: Some(Log {
                timeline: self.timeline,
                position: 1000,
                forks: self.forks.clone(),
                branch: None,
                unfinished: false,
            }),
            streaming: self.state == DatabaseState::Standby && peer_follows,
            diverged: false,
            replica: (self.state == DatabaseState::Writable && peer_follows)
                .then_some(Replica { flush: 1000, synchronous: true }),
            system_id: Some(1),
        }
    }
}

struct Pair {
    now: Instant,
    hosts: [Host; 2],
    story: Vec<String>,
}

impl Pair {
    fn new(durability: Durability) -> Pair {
        assert_eq!(timing().violations(Arbitration::LAN), vec![]);
        let host = |me, session| Host {
            node: Node::new(
                Setup {
                    me,
                    session: Session(session),
                    timing: timing(),
                    durability,
                    database: true,
                    rejoin: false,
                    groups: 1,
                    refresh: None,
                    durable: Some(Durable::FRESH),
                    software: [0, 1, 0],
                    config_hash: 1,
                    dark_standby: false,
                    references: true,
                    policy: duotone::protocol::moves::Policy::DEFAULT,
                    arbitration: Arbitration::LAN,
                },
                Instant::ZERO,
            ),
            alive: true,
            state: DatabaseState::Standby,
            synchronous: true,
            timeline: 1,
            forks: Vec::new(),
            held: false,
            said: String::new(),
        };
        Pair {
            now: Instant::ZERO,
            hosts: [host(NodeId::A, 11), host(NodeId::B, 22)],
            story: Vec::new(),
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + ms(1);
            for index in 0..2 {
                if self.hosts[index].alive && self.now.as_nanos() % 100_000_000 == 0 {
                    self.look(index, None);
                }
                if self.hosts[index].alive && self.hosts[index].node.next_deadline() <= self.now {
                    self.turn(index);
                }
            }
        }
    }

    /// Time passes; nobody has a turn.
    fn stall(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn look(&mut self, index: usize, ticket: Option<duotone::protocol::event::Ticket>) {
        let peer = &self.hosts[1 - index];
        let follows = peer.alive && peer.timeline == self.hosts[index].timeline;
        let seen = self.hosts[index].seen(self.now, follows);
        self.tell(index, Event::DatabaseSeen { ticket, seen });
    }

    fn tell(&mut self, index: usize, event: Event) {
        let now = self.now;
        let actions = self.hosts[index].node.handle(now, event);
        assert!(actions.is_empty(), "only a tick acts");
    }

    fn turn(&mut self, index: usize) {
        for _ in 0..20 {
            let actions = self.hosts[index].node.handle(self.now, Event::Tick);
            let (authority, why) = self.hosts[index].node.authority();
            let line = format!("{authority}: {why}");
            if line != self.hosts[index].said {
                self.story.push(format!(
                    "{:>6} {} {line}",
                    self.now.as_nanos() / 1_000_000,
                    ["a", "b"][index]
                ));
                self.hosts[index].said = line;
            }
            let mut quiet = true;
            for action in actions {
                quiet &= matches!(action, Action::SendHeartbeat(_));
                self.perform(index, action);
            }
            if quiet {
                return;
            }
        }
        panic!("a turn that does not end: {:#?}", self.story);
    }

    fn perform(&mut self, index: usize, action: Action) {
        let now = self.now;
        let group = GroupId::MAIN;
        if !matches!(action, Action::SendHeartbeat(_) | Action::ProbeLan { .. }) {
            self.story.push(format!(
                "{:>6} {} do {action:?}",
                now.as_nanos() / 1_000_000,
                ["a", "b"][index]
            ));
        }
        match action {
            Action::SendHeartbeat(heartbeat) => self.deliver(index, heartbeat),
            Action::ProbeLan { references, .. } => {
                self.tell(index, Event::Lan { group, seen: LanSeen::FloatingProbed { at: now } });
                let peer = &self.hosts[1 - index];
                if peer.alive && peer.held {
                    let by = duotone::protocol::event::Answerer::Peer;
                    let seen = LanSeen::FloatingAnswered { at: now, by };
                    self.tell(index, Event::Lan { group, seen });
                }
                if references {
                    let seen = LanSeen::ReferenceAnswered { probed_at: now };
                    self.tell(index, Event::Lan { group, seen });
                }
            }
            Action::AskWitness(_) => panic!("there is no witness here"),
            Action::PowerOffPeer { .. } => panic!("there is no fence here"),
            Action::HoldAddresses { group } => {
                self.hosts[index].held = true;
                self.tell(index, Event::AddressesSeen { group, seen: Presence::Held });
                assert!(!(self.hosts[0].held && self.hosts[1].held && self.hosts[1 - index].alive));
            }
            Action::ReleaseAddresses { group } => {
                self.hosts[index].held = false;
                self.tell(index, Event::AddressesSeen { group, seen: Presence::Absent });
            }
            Action::Announce { group } => self.tell(index, Event::Announced { group, sent: true }),
            Action::SaveState { ticket, state } => {
                self.tell(index, Event::StateSaved { ticket, saved: Some(state) });
            }
            Action::Database { ticket, deed } => {
                let host = &mut self.hosts[index];
                match deed {
                    DatabaseDeed::Promote => {
                        host.forks.push(Fork { timeline: host.timeline, at: 1000, branch: None });
                        host.timeline += 1;
                        host.state = DatabaseState::Writable;
                    }
                    DatabaseDeed::StopNow | DatabaseDeed::StopCleanly => {
                        host.state = DatabaseState::Stopped
                    }
                    DatabaseDeed::StartAsStandby => host.state = DatabaseState::Standby,
                    DatabaseDeed::StartInPlace => host.state = DatabaseState::Writable,
                    DatabaseDeed::Checkpoint => {}
                    DatabaseDeed::SetSynchronous(on) => host.synchronous = on,
                    DatabaseDeed::Follow | DatabaseDeed::Rejoin { .. } => {
                        let (timeline, forks) = {
                            let peer = &self.hosts[1 - index];
                            (peer.timeline, peer.forks.clone())
                        };
                        let host = &mut self.hosts[index];
                        (host.timeline, host.forks) = (timeline, forks);
                    }
                }
                self.look(index, Some(ticket));
            }
            Action::Services { group, goal } => {
                let seen = ServicesSeen { goal, stopped: true, critical: Grade::Good };
                self.tell(index, Event::ServicesSeen { group, seen });
            }
        }
    }

    fn deliver(&mut self, from: usize, heartbeat: Heartbeat) {
        let to = 1 - from;
        if self.hosts[to].alive {
            let event = Event::HeartbeatReceived { heartbeat, at: self.now };
            self.tell(to, event);
        }
    }

    fn order(&mut self, index: usize, order: Order) {
        self.tell(index, Event::Operator(order));
    }

    fn authorities(&self) -> [Authority; 2] {
        [self.hosts[0].node.authority().0, self.hosts[1].node.authority().0]
    }
}

#[test]
fn two_fresh_nodes_agree_and_the_lower_id_serves_and_certifies() {
    for durability in [Durability::Strict, Durability::Available, Durability::Async] {
        let mut pair = Pair::new(durability);
        pair.run(ms(6000));
        let story = pair.story.join("\n");
        assert_eq!(pair.authorities(), [Authority::Active, Authority::Standby], "\n{story}");
        assert!(pair.hosts[0].held && !pair.hosts[1].held, "\n{story}");
        let certified = pair.hosts[0].node.status(pair.now).certifying
            && pair.hosts[1].node.status(pair.now).certificate_ends.is_some();
        assert_eq!(certified, durability != Durability::Async, "\n{story}");
    }
}

#[test]
fn a_dead_active_node_is_replaced_in_lost_after_and_little_more() {
    for durability in [Durability::Strict, Durability::Available, Durability::Async] {
        let mut pair = Pair::new(durability);
        pair.run(ms(6000));
        pair.hosts[0].alive = false;
        pair.run(ms(360));
        let story = pair.story.join("\n");
        assert_eq!(pair.authorities()[1], Authority::Active, "\n{story}");
        assert!(!pair.hosts[1].synchronous, "it acknowledges alone\n{story}");
    }
}

#[test]
fn a_late_turn_restarts_the_silent_window() {
    let mut pair = Pair::new(Durability::Available);
    pair.run(ms(6000));
    pair.hosts[0].alive = false;
    // Late has passed and probes go unanswered; then the standby stands still for a moment that is
    // too short to be a wake and long enough to have missed an answer.
    pair.run(ms(190));
    pair.stall(ms(70));
    pair.run(ms(45));
    let story = pair.story.join("\n");
    assert_ne!(pair.authorities()[1], Authority::Active, "a window with a hole in it\n{story}");
    pair.run(ms(60));
    let story = pair.story.join("\n");
    assert_eq!(pair.authorities()[1], Authority::Active, "\n{story}");
}

#[test]
fn what_is_promised_is_relied_on_for_less() {
    let timing = Timing { drift_ppm: 1000, ..timing() };
    assert_eq!(timing.lease(ms(1000)), ms(998) - timing.release);
    assert_eq!(timing.certificate_usable(), timing.certificate - timing.certificate / 500);
}

#[test]
fn a_switchover_moves_the_role_and_keeps_the_certificate() {
    for durability in [Durability::Strict, Durability::Available, Durability::Async] {
        let mut pair = Pair::new(durability);
        pair.run(ms(6000));
        pair.order(0, Order::Switchover);
        pair.run(ms(400));
        let story = pair.story.join("\n");
        assert_eq!(pair.authorities(), [Authority::Standby, Authority::Active], "\n{story}");
        assert!(!pair.hosts[0].held && pair.hosts[1].held, "\n{story}");
        let status = pair.hosts[1].node.status(pair.now);
        assert_eq!(status.certifying, durability != Durability::Async, "\n{story}");
        // And back.
        pair.run(ms(3000));
        pair.order(1, Order::Switchover);
        pair.run(ms(3000));
        let story = pair.story.join("\n");
        assert_eq!(pair.authorities(), [Authority::Active, Authority::Standby], "\n{story}");
    }
}
