//! One node, told everything to the nanosecond: what its status and its heartbeats make of it.

use std::time::Duration;

use duotone::protocol::action::{Action, DatabaseDeed};
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::durable::Durable;
use duotone::protocol::event::{
    Answerer, DatabaseSeen, DatabaseState, Event, LanSeen, Order, Presence, ServicesGoal,
    ServicesSeen, Ticket,
};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::{Echo, Heartbeat, Promise, Stance};
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::lead::Authority;
use duotone::protocol::log::Log;
use duotone::protocol::moves::Policy;
use duotone::protocol::node::{Durability, Node, Setup};
use duotone::protocol::status::Status;
use duotone::protocol::time::Instant;

use super::boundaries::{at, begins_at, ends_at, heartbeat, timing};

fn setup() -> Setup {
    Setup {
        me: NodeId::A,
        session: Session(1),
        timing: timing(),
        durability: Durability::Strict,
        database: true,
        rejoin: true,
        groups: 1,
        refresh: None,
        durable: Some(Durable::FRESH),
        software: [0; 3],
        config_hash: 0,
        dark_standby: false,
        references: true,
        policy: Policy::DEFAULT,
        arbitration: Arbitration::LAN,
    }
}

struct Told {
    node: Node,
    /// The newest heartbeat that it sent, and when.
    said: Option<(Heartbeat, Instant)>,
}

impl Told {
    fn new(setup: Setup) -> Told {
        Told { node: Node::new(setup, at(0)), said: None }
    }

    /// The event, and a turn.
    fn hears(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut done = self.node.handle(now, event);
        done.extend(self.node.handle(now, Event::Tick));
        for action in &done {
            if let Action::SendHeartbeat(heartbeat) = action {
                self.said = Some((heartbeat.clone(), now));
            }
        }
        done
    }

    fn lan(&mut self, now: Instant, seen: LanSeen) -> Vec<Action> {
        self.hears(now, Event::Lan { group: GroupId::MAIN, seen })
    }

    /// The peer, which has heard the newest that was said.
    fn peer(&mut self, now: Instant, peer: Heartbeat) {
        let (said, _) = self.said.as_ref().expect("it has spoken");
        let echo = Echo { session: said.session, sequence: said.sequence, age: Duration::ZERO };
        let heartbeat = Heartbeat { echo: Some(echo), ..peer };
        self.hears(now, Event::HeartbeatReceived { heartbeat, at: now });
    }

    fn status(&self, now: Instant) -> Status {
        self.node.status(now)
    }

    /// Addresses and database are where a node that serves nothing has them.
    fn at_rest(mut self) -> Told {
        self.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent });
        let seen = DatabaseSeen {
            at: at(1),
            state: DatabaseState::Standby,
            synchronous: None,
            log: None,
            streaming: false,
            diverged: false,
            replica: None,
            system_id: Some(1),
        };
        self.hears(at(2), Event::DatabaseSeen { ticket: None, seen });
        self
    }
}

#[test]
fn what_is_shown_of_the_lan_is_not_older_than_five_seconds() {
    let mut it = Told::new(setup());
    it.lan(at(10), LanSeen::FloatingAnswered { at: at(10), by: Answerer::Foreign });
    ends_at(at(5_010), |now| it.status(now).answered == Some(Answerer::Foreign));
    it.lan(at(20), LanSeen::ReferenceAnswered { probed_at: at(15) });
    ends_at(at(15) + timing().long_validity, |now| it.status(now).on_the_lan);
    assert!(!it.status(at(30)).deaf);
    it.lan(at(30), LanSeen::ProbeFailed { at: at(30) });
    assert!(it.status(at(30)).deaf);
}

#[test]
fn what_has_ended_is_shown_no_more() {
    let t = timing();
    let mut it = Told::new(setup()).at_rest();
    let left = it.said.as_ref().expect("it has spoken").1;
    let promise = Promise::For(t.lost_after);
    it.peer(at(40), Heartbeat { promise, ..heartbeat(1, Stance::Joining) });
    let end = left + (t.lost_after - t.release);
    assert_eq!(it.status(at(41)).lease_ends, Some(end));
    ends_at(end, |now| it.status(now).lease_ends.is_some());
    assert!(!it.status(at(41)).peer_left && it.status(at(41)).two_way);
    assert_eq!(it.status(at(41)).last_heard, Some(at(40)));
    assert!(it.status(at(41)).witness.is_none() && it.status(at(41)).fence.is_none());

    // It follows, and is certified from the newest heartbeat that the peer proves to have heard.
    it.peer(at(60), heartbeat(2, Stance::Active));
    assert_eq!(it.status(at(60)).authority, Authority::Standby);
    let spoke = at(60) + t.interval;
    it.hears(spoke, Event::Tick);
    let certifying = Heartbeat { certifying: true, ..heartbeat(3, Stance::Active) };
    it.peer(spoke + Duration::from_millis(5), certifying);
    let status = it.status(spoke + Duration::from_millis(5));
    assert!(!status.certifying && !status.lone);
    let end = status.certificate_ends.expect("it is certified");
    assert!(end > spoke && end <= spoke + Duration::from_millis(5) + t.certificate);
    ends_at(end, |now| it.status(now).certificate_ends.is_some());
}

#[test]
fn services_are_failed_when_the_ladder_has_had_its_time() {
    let t = timing();
    let grade = |it: &Told, now| it.status(now).groups[0].health.services;
    let mut it = Told::new(setup());
    assert_eq!(grade(&it, at(0)), Grade::Unknown);
    let seen = |critical| {
        let seen = ServicesSeen { goal: ServicesGoal::Standby, stopped: false, critical };
        Event::ServicesSeen { group: GroupId::MAIN, seen }
    };
    it.hears(at(10), seen(Grade::Good));
    assert_eq!(grade(&it, at(10)), Grade::Good);
    it.hears(at(20), seen(Grade::Failed));
    it.hears(at(70), seen(Grade::Failed));
    assert_eq!(grade(&it, at(70)), Grade::Unknown);
    begins_at(at(20) + t.critical_down, |now| grade(&it, now) == Grade::Failed);
    it.hears(at(80), seen(Grade::Good));
    assert_eq!(grade(&it, at(80)), Grade::Good);
}

#[test]
fn a_database_that_is_down_has_failed_on_a_node_that_does_not_serve() {
    let mut it = Told::new(setup()).at_rest();
    let grade = |it: &Told| it.status(at(10)).groups[0].health.database;
    assert_eq!(grade(&it), Grade::Good);
    for (state, wanted) in [
        (DatabaseState::Stopped, Grade::Failed),
        (DatabaseState::Starting, Grade::Unknown),
        (DatabaseState::Unknown, Grade::Unknown),
        (DatabaseState::Writable, Grade::Good),
    ] {
        let mut seen = it.status(at(3)).database;
        seen.state = state;
        it.hears(at(5), Event::DatabaseSeen { ticket: None, seen });
        assert_eq!(grade(&it), wanted, "{state:?}");
    }
    let without = Told::new(Setup { database: false, ..setup() });
    assert_eq!(grade(&without), Grade::Good);
}

/// An order to do without the peer is for a node that does not hear it: who follows it forgets it,
/// who joins or is held keeps it.
#[test]
fn an_order_to_do_without_the_peer_ends_when_it_is_followed() {
    let mut it = Told::new(setup()).at_rest();
    it.hears(at(10), Event::Operator(Order::TakeAnyway));
    it.peer(at(20), heartbeat(1, Stance::Active));
    assert_eq!(it.status(at(20)).authority, Authority::Standby);
    let t = timing();
    // The peer falls silent: a node without a certificate is held, whatever was ordered before.
    let mut now = at(20);
    while now < at(20) + t.lost_after * 20 {
        now = now + Duration::from_millis(10);
        it.lan(now, LanSeen::ReferenceAnswered { probed_at: now });
        it.lan(now, LanSeen::FloatingProbed { at: now });
    }
    assert_eq!(it.status(now).authority, Authority::Held, "{}", it.status(now).why);
}

/// The same order, given to a node that follows nobody, is kept while the peer is heard.
#[test]
fn an_order_to_do_without_the_peer_is_kept_by_who_joins() {
    let t = timing();
    let ends = |ordered: bool| {
        let mut it = Told::new(setup()).at_rest();
        it.peer(at(20), heartbeat(1, Stance::Joining));
        if ordered {
            it.hears(at(25), Event::Operator(Order::TakeAnyway));
        }
        it.peer(at(30), heartbeat(2, Stance::Joining));
        let mut now = at(30);
        while now < at(30) + t.start_grace * 4 {
            now = now + Duration::from_millis(10);
            it.lan(now, LanSeen::ReferenceAnswered { probed_at: now });
            it.lan(now, LanSeen::FloatingProbed { at: now });
        }
        it.status(now).authority
    };
    assert_eq!(ends(false), Authority::Held);
    assert!(matches!(ends(true), Authority::Asking | Authority::Taking), "{:?}", ends(true));
    // Given to one that follows, it is over with the turn.
    let mut it = Told::new(setup()).at_rest();
    it.peer(at(20), heartbeat(1, Stance::Active));
    it.hears(at(25), Event::Operator(Order::TakeAnyway));
    let mut now = at(25);
    while now < at(25) + t.lost_after * 20 {
        now = now + Duration::from_millis(10);
        it.lan(now, LanSeen::ReferenceAnswered { probed_at: now });
        it.lan(now, LanSeen::FloatingProbed { at: now });
    }
    assert_eq!(it.status(now).authority, Authority::Held);
}

fn saves(actions: &[Action]) -> Option<Ticket> {
    actions.iter().find_map(|action| match action {
        Action::SaveState { ticket, .. } => Some(*ticket),
        _ => None,
    })
}

/// A damaged state file is written anew by order alone, and not before the database was seen; what
/// could not be written is tried again after a pause.
#[test]
fn a_damaged_state_is_recovered_by_order_when_the_database_was_looked_at() {
    let t = timing();
    let damaged = || {
        let mut it = Told::new(Setup { durable: None, ..setup() });
        let seen = Presence::Absent;
        it.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen });
        it
    };
    let mut unasked = damaged();
    assert_eq!(saves(&unasked.hears(at(0) + t.step_deadline * 2, Event::Tick)), None);
    assert_eq!(unasked.status(at(0) + t.step_deadline * 2).authority, Authority::Held);
    let mut blind = damaged();
    assert_eq!(saves(&blind.hears(at(5), Event::Operator(Order::Recover))), None);
    let mut it = damaged().at_rest();
    let due = at(5);
    let ticket = saves(&it.hears(due, Event::Operator(Order::Recover))).expect("it was seen");
    assert_eq!(saves(&it.hears(due, Event::Tick)), None, "one at a time");
    it.hears(due, Event::StateSaved { ticket, saved: None });
    let again = due + t.interval * 4;
    assert_eq!(saves(&it.hears(again.before(Duration::from_nanos(1)), Event::Tick)), None);
    let ticket = saves(&it.hears(again, Event::Tick)).expect("tried again");
    it.hears(again, Event::StateSaved { ticket, saved: Some(Durable::FRESH) });
    assert_eq!(saves(&it.hears(again + t.interval * 9, Event::Tick)), None, "it is written");
    // A write whose end is never told is given up like any other step.
    let mut silent = Told::new(Setup { durable: None, ..setup() }).at_rest();
    let first = silent.hears(at(5), Event::Operator(Order::Recover));
    assert!(saves(&first).is_some(), "the database was seen");
    let end = at(5) + t.step_deadline;
    assert_eq!(saves(&silent.hears(end.before(Duration::from_nanos(1)), Event::Tick)), None);
    assert!(saves(&silent.hears(end, Event::Tick)).is_some());
}

fn deed(actions: &[Action]) -> Option<DatabaseDeed> {
    actions.iter().find_map(|action| match action {
        Action::Database { deed, .. } => Some(*deed),
        _ => None,
    })
}

#[test]
fn a_database_that_nobody_could_look_at_is_acted_on_when_its_time_is_over() {
    let t = timing();
    let mut it = Told::new(setup());
    it.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent });
    let due = at(0) + t.step_deadline;
    assert_eq!(deed(&it.hears(due.before(Duration::from_nanos(1)), Event::Tick)), None);
    let first = deed(&it.hears(due, Event::Tick)).expect("something has to be done");
    assert_eq!(first, DatabaseDeed::StopNow);
    // What never ends is unknown after its deadline, and is tried again.
    let end = due + t.step_deadline;
    assert_eq!(deed(&it.hears(end.before(Duration::from_nanos(1)), Event::Tick)), None);
    assert_eq!(deed(&it.hears(end, Event::Tick)), Some(DatabaseDeed::StopNow));
    // A start may take long, and is waited for.
    let mut seen = it.status(end).database;
    (seen.at, seen.state) = (end, DatabaseState::Stopped);
    let mut starting = Told::new(setup());
    starting.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent });
    seen.at = at(2);
    let start = deed(&starting.hears(at(2), Event::DatabaseSeen { ticket: None, seen }));
    assert_eq!(start, Some(DatabaseDeed::StartAsStandby));
    assert_eq!(deed(&starting.hears(at(2) + t.step_deadline * 3, Event::Tick)), None);
}

#[test]
fn references_that_are_mute_for_long_are_a_failed_network() {
    let t = timing();
    let mut it = Told::new(setup()).at_rest();
    let mut now = at(20);
    let mut sequence = 0;
    let asked = loop {
        now = now + Duration::from_millis(20);
        sequence += 1;
        let (said, _) = it.said.clone().expect("it has spoken");
        let echo = Echo { session: said.session, sequence: said.sequence, age: Duration::ZERO };
        let heartbeat = Heartbeat { echo: Some(echo), ..heartbeat(sequence, Stance::Active) };
        let done = it.hears(now, Event::HeartbeatReceived { heartbeat, at: now });
        if done.iter().any(|it| matches!(it, Action::ProbeLan { references: true, .. })) {
            break now;
        }
        assert!(now < at(20_000), "a standby asks its references now and then");
    };
    assert_eq!(it.status(asked).authority, Authority::Standby);
    let grade = |now| it.status(now).groups[0].health.network;
    begins_at(asked + t.calm_period() * 3, |now| grade(now) == Grade::Failed);
}

/// While the database starts, nobody knows what there is to be recovered.
#[test]
fn a_recovery_waits_for_a_database_that_starts() {
    let t = timing();
    let mut it = Told::new(Setup { durable: None, ..setup() });
    it.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent });
    let mut seen = it.status(at(1)).database;
    (seen.at, seen.state) = (at(2), DatabaseState::Starting);
    it.hears(at(2), Event::DatabaseSeen { ticket: None, seen });
    assert_eq!(saves(&it.hears(at(5), Event::Operator(Order::Recover))), None);
    let due = at(0) + t.step_deadline;
    assert_eq!(saves(&it.hears(due.before(Duration::from_nanos(1)), Event::Tick)), None);
    assert!(saves(&it.hears(due, Event::Tick)).is_some(), "{}", it.status(due).why);
}

/// Where neither of the two was active, the higher id waits for the fence twice as long.
#[test]
fn two_that_start_together_do_not_shoot_each_other() {
    let t = timing();
    let ordered = |me: NodeId| {
        let arbitration = Arbitration::FENCE;
        let durability = Durability::Available;
        let setup = Setup { me, arbitration, durability, ..setup() };
        let mut it = Told::new(setup);
        it.hears(at(1), Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent });
        let mut seen = it.status(at(1)).database;
        let log = Log { timeline: 1, position: 9, forks: vec![], branch: None, unfinished: false };
        (seen.at, seen.state, seen.log) = (at(2), DatabaseState::Standby, Some(log));
        it.hears(at(2), Event::DatabaseSeen { ticket: None, seen });
        let mut now = at(2);
        let mut asking = None;
        loop {
            now = now + Duration::from_millis(1);
            let mut done = it.lan(now, LanSeen::ReferenceAnswered { probed_at: now });
            done.extend(it.lan(now, LanSeen::FloatingProbed { at: now }));
            if it.status(now).authority == Authority::Asking {
                asking.get_or_insert(now);
            }
            if done.iter().any(|it| matches!(it, Action::PowerOffPeer { .. })) {
                return now.since(asking.expect("it asks first"));
            }
            assert!(now < at(60_000), "never ordered: {}", it.status(now).why);
        }
    };
    let (a, b) = (ordered(NodeId::A), ordered(NodeId::B));
    let about = |span: Duration, wanted: Duration| {
        span <= wanted + Duration::from_millis(3) && span + Duration::from_millis(3) >= wanted
    };
    assert!(about(a, t.fence_delay) && about(b, t.fence_delay * 2), "{a:?} and {b:?}");
}
