//! A node taken out of a settled pair and told everything by hand: what it decides at the nanosecond
//! at which it may, and for how long each word of the peer keeps it from it.

use std::time::Duration;

use duotone::protocol::action::{Action, DatabaseDeed};
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{
    DatabaseSeen, DatabaseState, Event, LanSeen, Order, PeerPower, Presence, Replica, ServicesGoal,
    ServicesSeen, Ticket,
};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::{Echo, Heartbeat, Promise, Stance};
use duotone::protocol::identity::{GroupId, NodeId};
use duotone::protocol::lead::Authority;
use duotone::protocol::moves::Hindrance;
use duotone::protocol::node::Node;
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;
use duotone::protocol::witness::{Holder, Ledger, Refusal, Reply, Request, Verdict, Wish};

use crate::clock::{MILLI, SECOND};
use crate::dice::Dice;
use crate::settings::Settings;
use crate::trace::Trace;
use crate::world::World;

const TICK: Duration = Duration::from_nanos(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone)]
struct One {
    node: Node,
    now: Instant,
    timing: Timing,
    peer: Heartbeat,
    /// What it said last, and when.
    said: (Heartbeat, Instant),
}

impl One {
    fn taken(host: NodeId) -> One {
        One::taken_under(Arbitration::LAN, host)
    }

    fn taken_under(arbitration: Arbitration, host: NodeId) -> One {
        let settings = Settings { eth0_path: false, ..Settings::plain() }.under(arbitration);
        let timing = settings.timing;
        let mut world = World::new(settings, Dice::fixed(), Trace::silent());
        assert!(world.run_until_seen(20 * SECOND, World::settled));
        world.run_until(world.now + 3 * SECOND + 7 * MILLI);
        let active = if world.settled_on(NodeId::A) { NodeId::A } else { NodeId::B };
        assert_eq!(active, NodeId::A, "the lower id of a new pair");
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

    fn at(&mut self, now: Instant, event: Event) -> Vec<Action> {
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

    fn event(&mut self, after: Duration, event: Event) -> Vec<Action> {
        self.at(self.now + after, event)
    }

    fn ticks(&mut self, after: Duration) -> Vec<Action> {
        self.event(after, Event::Tick)
    }

    /// The peer's next heartbeat, which echoes the newest that this node said.
    fn hears(&mut self, after: Duration, change: impl FnOnce(&mut Heartbeat)) -> Vec<Action> {
        let (said, _) = &self.said;
        let echo = Echo { session: said.session, sequence: said.sequence, age: Duration::ZERO };
        self.peer.sequence += 1;
        let mut heartbeat = Heartbeat { echo: Some(echo), ..self.peer.clone() };
        change(&mut heartbeat);
        let at = self.now + after;
        self.event(after, Event::HeartbeatReceived { heartbeat, at })
    }

    /// For so long, a heartbeat every few milliseconds.
    fn hears_for(&mut self, span: Duration, change: impl Fn(&mut Heartbeat)) {
        let end = self.now + span;
        while self.now < end {
            self.hears(millis(10).min(end.since(self.now)), &change);
        }
    }

    fn sees(&mut self, change: impl FnOnce(&mut DatabaseSeen)) -> Vec<Action> {
        let mut seen = self.node.status(self.now).database;
        seen.at = self.now + TICK;
        change(&mut seen);
        self.event(TICK, Event::DatabaseSeen { ticket: None, seen })
    }

    /// Writable, with a standby that has everything.
    fn works(&mut self) {
        self.sees(|seen| {
            (seen.state, seen.synchronous) = (DatabaseState::Writable, Some(true));
            let end = seen.log.as_ref().map_or(0, |log| log.position);
            seen.replica = Some(Replica { flush: end, synchronous: true });
        });
        self.event(TICK, Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Held });
    }

    /// The LAN's word keeps the role when the lease has ended.
    fn reference(&mut self) {
        let seen = LanSeen::ReferenceAnswered { probed_at: self.now };
        self.event(Duration::ZERO, Event::Lan { group: GroupId::MAIN, seen });
    }

    /// Nobody answers for the address, and the gateway does.
    fn quiet_lan(&mut self) {
        self.reference();
        let seen = LanSeen::FloatingProbed { at: self.now };
        self.event(Duration::ZERO, Event::Lan { group: GroupId::MAIN, seen });
    }

    /// Up to that time, on a quiet LAN without the peer; what was done at it.
    fn alone_until(&mut self, end: Instant) -> Vec<Action> {
        let mut done = Vec::new();
        while self.now < end.before(TICK) {
            let step = millis(5).min(end.before(TICK).since(self.now));
            done.extend(self.ticks(step));
            self.quiet_lan();
        }
        assert_eq!(power_off(&done), None, "before its time");
        self.at(end, Event::Tick)
    }

    fn reports(&mut self, after: Duration, ticket: Ticket, power: PeerPower) -> Vec<Action> {
        self.event(after, Event::FenceReported { ticket, power })
    }

    fn authority(&self) -> Authority {
        self.node.authority().0
    }

    fn hindrance(&self) -> Option<Hindrance> {
        self.node.hindrance(self.now)
    }
}

fn power_off(actions: &[Action]) -> Option<Ticket> {
    actions.iter().find_map(|action| match action {
        Action::PowerOffPeer { ticket } => Some(*ticket),
        _ => None,
    })
}

fn asked(actions: &[Action]) -> Vec<Request> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::AskWitness(request) => Some(*request),
            _ => None,
        })
        .collect()
}

fn ends_at(end: Instant, is: impl Fn(Instant) -> bool) {
    assert!(is(end.before(TICK)), "a nanosecond before its end");
    assert!(!is(end), "at its end");
}

#[test]
fn a_role_is_handed_over_only_while_nothing_hinders() {
    let good = {
        let mut one = One::taken(NodeId::A);
        one.hears(millis(1), |_| {});
        one
    };
    assert_eq!(good.authority(), Authority::Active);
    assert_eq!(good.hindrance(), None);
    assert_eq!(One::taken(NodeId::B).hindrance(), Some(Hindrance::NotActive));
    type Change = fn(&mut Heartbeat);
    let changes: [(Change, Hindrance); 4] = [
        (|it| it.stance = Stance::Joining, Hindrance::PeerNotStandby),
        (|it| it.certified = false, Hindrance::NotCertified),
        (|it| it.promise = Promise::Leaving, Hindrance::PeerHasLeft),
        // It leaves by an echo that proves nothing any more: what it says counts all the same.
        (|it| (it.promise, it.echo) = (Promise::Leaving, None), Hindrance::PeerHasLeft),
    ];
    for (change, wanted) in changes {
        let mut one = good.clone();
        one.hears(millis(1), change);
        assert_eq!(one.hindrance(), Some(wanted));
    }
    // One way: the lease ends first, and the peer is still heard and still echoed lately.
    let mut one = good.clone();
    let lease = one.node.status(one.now).lease_ends.expect("a lease");
    while one.now + millis(10) < lease {
        one.hears(millis(10), |it| it.echo = None);
        one.reference();
    }
    let last = lease.since(one.now);
    one.hears(last.saturating_sub(TICK), |it| it.echo = None);
    assert_eq!(one.hindrance(), None);
    one.ticks(TICK);
    assert_eq!(one.hindrance(), Some(Hindrance::PeerNotHeard));

    // What the standby lacks must be little.
    let near = |behind: u64| {
        let mut one = good.clone();
        one.sees(|seen| {
            let end = seen.log.as_mut().expect("a log");
            end.position += 100 << 20;
            seen.replica = Some(Replica { flush: end.position - behind, synchronous: true });
        });
        one.hindrance()
    };
    assert_eq!(near(16 << 20), None);
    assert_eq!(near((16 << 20) + 1), Some(Hindrance::StandbyLags));
}

#[test]
fn a_handover_that_was_broken_off_is_not_tried_again_at_once() {
    let mut one = One::taken(NodeId::A);
    one.hears(millis(1), |_| {});
    one.event(millis(1), Event::Operator(Order::Switchover));
    assert_eq!(one.authority(), Authority::Giving);
    one.hears(millis(1), |it| it.stance = Stance::Held);
    let broken_off = one.now;
    assert_eq!(one.authority(), Authority::Active, "{}", one.node.authority().1);
    one.works();
    let pause = one.timing.critical_down.max(one.timing.lost_after * 8);
    let until = broken_off + pause;
    one.hears_for(until.since(one.now) - millis(20), |_| {});
    assert_eq!(one.hindrance(), Some(Hindrance::JustBrokenOff));
    one.hears(millis(10), |_| {});
    let rest = one.clone();
    ends_at(until, |now| rest.node.hindrance(now) == Some(Hindrance::JustBrokenOff));
    assert_eq!(rest.node.hindrance(until), None);
    // An order does not wait for it.
    let mut again = rest.clone();
    again.event(TICK, Event::Operator(Order::Switchover));
    assert_eq!(again.authority(), Authority::Giving);
    // And is forgotten soon where it cannot be obeyed.
    let mut hindered = rest.clone();
    hindered.hears(TICK, |it| it.certified = false);
    hindered.event(TICK, Event::Operator(Order::Switchover));
    assert_eq!(hindered.authority(), Authority::Active);
    hindered.hears_for(hindered.timing.lost_after * 2 + TICK, |it| it.certified = false);
    hindered.hears_for(millis(300), |_| {});
    assert_eq!(hindered.authority(), Authority::Active);
}

#[test]
fn an_address_is_announced_when_it_comes_and_not_whenever_it_is_seen() {
    let announces = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Announce { .. })).count()
    };
    let seen = |seen| Event::AddressesSeen { group: GroupId::MAIN, seen };
    let mut one = One::taken(NodeId::A);
    one.hears(millis(1), |_| {});
    // How often, in the seconds after it was seen in that order.
    let count = |one: &One, order: &[Presence]| {
        let mut one = one.clone();
        let mut many = 0;
        for presence in order {
            many += announces(&one.event(millis(1), seen(*presence)));
        }
        for _ in 0..600 {
            let done = one.hears(millis(10), |_| {});
            many += announces(&done);
            for action in done {
                if let Action::Announce { group } = action {
                    many += announces(&one.event(TICK, Event::Announced { group, sent: true }));
                }
            }
        }
        many
    };
    let anew = count(&one, &[Presence::Absent, Presence::Held]);
    assert!(anew >= 3, "{anew} times");
    assert_eq!(count(&one, &[Presence::Held, Presence::Held]), count(&one, &[]));
    assert!(count(&one, &[]) < anew);
}

#[test]
fn what_the_standby_finds_counts_while_it_is_heard() {
    let mut one = One::taken(NodeId::A);
    let t = one.timing;
    let finds = |it: &mut Heartbeat| it.groups[0].finds_peer_failed = true;
    one.hears(millis(1), finds);
    let since = one.now;
    let lasts = t.critical_down.max(t.calm_period() * 2);
    let failed = |one: &One, now| one.node.status(now).groups[0].health.services == Grade::Failed;
    one.hears_for(lasts - millis(3), finds);
    ends_at(since + lasts, |now| !failed(&one, now));
    let mut silent = one.clone();
    let end = silent.now + t.lost_after;
    while silent.now < end.before(TICK) {
        let step = millis(5).min(end.before(TICK).since(silent.now));
        silent.reference();
        silent.ticks(step);
    }
    assert_eq!(silent.authority(), Authority::Active);
    assert!(failed(&silent, silent.now), "heard within lost_after");
    silent.ticks(TICK);
    assert!(!failed(&silent, silent.now + lasts), "the count begins anew");
    let mut well = one.clone();
    well.hears(millis(1), |_| {});
    assert!(!failed(&well, well.now + millis(10)));
}

#[test]
fn moves_by_itself_are_counted_over_their_span() {
    let mut one = One::taken(NodeId::A);
    one.works();
    let policy = one.node.began().0.policy;
    let services = |critical| {
        let seen = ServicesSeen { goal: ServicesGoal::Serve, stopped: false, critical };
        Event::ServicesSeen { group: GroupId::MAIN, seen }
    };
    // Fails, begins to hand over, and takes the role back: a move that was made.
    let mut made = Vec::new();
    for _ in 0..policy.moves {
        one.event(millis(1), services(Grade::Failed));
        for _ in 0..1_000 {
            if one.authority() == Authority::Active {
                one.hears(millis(10), |_| {});
            }
        }
        assert_eq!(one.authority(), Authority::Giving, "{:?}", one.hindrance());
        made.push(one.now);
        one.hears(millis(1), |it| it.stance = Stance::Held);
        assert_eq!(one.authority(), Authority::Active);
        one.works();
        one.event(millis(1), services(Grade::Good));
        one.hears_for(Duration::from_secs(3), |_| {});
    }
    one.event(millis(1), services(Grade::Failed));
    one.hears_for(Duration::from_secs(30), |_| {});
    assert_eq!(one.authority(), Authority::Active, "no more moves within {:?}", policy.within);
    // The first one is forgotten.
    let free = made[0] + policy.within;
    one.hears_for(free.since(one.now).saturating_sub(TICK), |_| {});
    assert_eq!(one.authority(), Authority::Active);
    one.hears(TICK, |_| {});
    assert_eq!(one.authority(), Authority::Giving);
}

#[test]
fn a_standby_asks_with_the_last_nanosecond_of_silence() {
    let mut one = One::taken(NodeId::B);
    one.hears(millis(1), |_| {});
    let heard = one.now;
    let t = one.timing;
    one.at((heard + t.lost_after).before(TICK), Event::Tick);
    assert_eq!(one.authority(), Authority::Standby);
    one.ticks(TICK);
    assert_eq!(one.authority(), Authority::Asking);
    // The one who was silent is heard again.
    one.hears(millis(1), |_| {});
    assert_eq!(one.authority(), Authority::Standby);
    let deeds = |actions: Vec<Action>| {
        let deed = |action| match action {
            Action::Database { deed, .. } => Some(deed),
            _ => None,
        };
        actions.into_iter().filter_map(deed).collect::<Vec<DatabaseDeed>>()
    };
    assert_eq!(deeds(one.ticks(millis(1))), [], "it follows already");
}

#[test]
fn a_standby_orders_the_fence_after_its_delay_and_again_after_a_pause() {
    let mut one = One::taken_under(Arbitration::FENCE, NodeId::B);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let lost = one.now + t.lost_after;
    assert_eq!(power_off(&one.alone_until(lost)), None);
    assert_eq!(one.authority(), Authority::Asking);
    let due = one.alone_until(lost + t.fence_delay);
    let mut ticket = power_off(&due).expect("ordered at its time");
    assert_eq!(one.authority(), Authority::Asking);
    // Reports that help nothing: the pause doubles, four times.
    for pauses in [1u32, 2, 4, 8, 16, 16] {
        assert_eq!(
            power_off(&one.reports(millis(20), Ticket(ticket.0 + 999), PeerPower::Off)),
            None
        );
        assert!(one.node.status(one.now).fence.is_some_and(|fence| fence.off_since.is_none()));
        one.reports(millis(20), ticket, PeerPower::Unknown);
        let again = one.now + t.calm_period() * pauses;
        let fence = one.node.status(one.now).fence.expect("a fence");
        assert_eq!(fence.next_try, Some(again), "{pauses}");
        ticket = power_off(&one.alone_until(again)).expect("ordered again");
    }
    // A report that never comes says nothing after twice the longest run.
    let ordered = one.now;
    assert_eq!(one.node.status(one.now).fence.and_then(|it| it.pending_since), Some(ordered));
    let mut overdue = one.clone();
    overdue.alone_until(ordered + t.fence * 2);
    let fence = overdue.node.status(overdue.now).fence.expect("a fence");
    assert_eq!((fence.pending_since, fence.failures), (None, 7));
    let mut early = one.clone();
    early.alone_until((ordered + t.fence * 2).before(TICK));
    assert!(early.node.status(early.now).fence.is_some_and(|it| it.pending_since.is_some()));

    one.reports(millis(20), ticket, PeerPower::Off);
    let off = one.now;
    let fence = one.node.status(off).fence.expect("a fence");
    assert_eq!((fence.off_since, fence.failures, fence.next_try), (Some(off), 0, None));
    assert_eq!(one.authority(), Authority::Taking);
    // What was under way is heard for a delay; after that the report was a lie.
    let lies = |after: Duration| {
        let mut one = one.clone();
        one.hears(after, |_| {});
        one.node.status(one.now).fence.is_some_and(|fence| fence.lied_at.is_some())
    };
    assert!(!lies(t.delay) && lies(t.delay + TICK));
    // A new life was switched on by somebody.
    let mut reborn = one.clone();
    reborn.hears(t.delay + TICK, |it| it.session.0 += 1);
    let fence = reborn.node.status(reborn.now).fence.expect("a fence");
    assert_eq!((fence.off_since, fence.lied_at, fence.failures), (None, None, 0));
    assert_eq!(fence.reported, Some((off, PeerPower::Off)), "for people");
}

#[test]
fn an_active_node_orders_the_fence_when_the_peer_has_proved_nothing() {
    let mut one = One::taken_under(Arbitration::FENCE, NodeId::A);
    let t = one.timing;
    let echoed = one.said.1;
    one.hears(millis(1), |_| {});
    let lease = one.node.status(one.now).lease_ends.expect("a lease");
    let due = echoed + t.unechoed_after();
    assert!(due > lease);
    let ordered = one.clone().alone_until(due);
    assert!(power_off(&ordered).is_some());
    // Not where its own LAN does not answer.
    let mut cut = one.clone();
    while cut.now < due + Duration::from_secs(2) {
        assert_eq!(power_off(&cut.ticks(millis(5))), None);
    }
    // Nor when the peer has left.
    let mut left = one.clone();
    left.hears(millis(1), |it| it.promise = Promise::Leaving);
    assert_eq!(power_off(&left.alone_until(due + Duration::from_secs(2))), None);
    assert_eq!(left.authority(), Authority::Active);
    // A peer that has just begun a new life is not shot.
    let mut reborn = one.clone();
    reborn.hears(millis(100), |it| {
        it.session.0 += 1;
        it.echo = None;
    });
    let settled = reborn.now + t.lost_after;
    assert!(settled > lease);
    assert!(power_off(&reborn.alone_until(settled)).is_some());
}

fn reply(request: &Request, verdict: Verdict, holder: NodeId) -> Event {
    let ledger = Ledger {
        holder: Some(Holder {
            node: holder,
            term: request.term,
            grant: request.grant,
            released: false,
        }),
        excluded: None,
    };
    Event::WitnessReplied {
        reply: Reply {
            node: request.node,
            session: request.session,
            sequence: request.sequence,
            ticket: request.ticket,
            verdict,
            ledger,
        },
    }
}

#[test]
fn a_grant_counts_from_its_question_and_no_longer() {
    let mut one = One::taken_under(Arbitration::WITNESS, NodeId::A);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let heard = one.now;
    let lease = one.node.status(one.now).lease_ends.expect("a lease");
    // At the latest at the silence that warns it asks to hold the role.
    let wants = |request: &&Request| matches!(request.wish, Wish::Grant { .. });
    let mut first = None;
    while first.is_none() {
        assert!(one.now <= heard + t.late_after, "not asked when late");
        one.quiet_lan();
        first = asked(&one.ticks(millis(1))).iter().find(wants).copied();
    }
    let first = first.expect("just asked");
    let left = one.now;
    assert!(left < lease);
    let done = reply(&first, Verdict::Done, NodeId::A);
    let granted = {
        let mut one = one.clone();
        one.event(millis(3), done.clone());
        one
    };
    let end = left + t.grant_usable();
    assert_eq!(granted.node.status(granted.now).witness.and_then(|it| it.grant_ends), Some(end));
    // It asks again at its period, and goes on while the answers come.
    let mut renewing = granted.clone();
    let mut many = 0;
    while renewing.now < lease + Duration::from_secs(3) {
        renewing.quiet_lan();
        for request in asked(&renewing.ticks(millis(2))).iter().filter(wants) {
            many += 1;
            renewing.event(millis(1), reply(request, Verdict::Done, NodeId::A));
        }
    }
    assert_eq!(renewing.authority(), Authority::Active);
    let about = 3_000 / t.grant_renewal.as_millis() as u32;
    assert!((about / 2..=about + 8).contains(&many), "{many} renewals, not about {about}");
    // Without further answers it serves to the last nanosecond of the grant, and not at its end.
    let last = |mut one: One, end: Instant| {
        let before = {
            let mut one = one.clone();
            one.alone_until(end.before(TICK));
            one.authority()
        };
        one.alone_until(end);
        (before, one.authority())
    };
    assert!(end > lease);
    let (before, after) = last(granted.clone(), end);
    assert_eq!(before, Authority::Active);
    assert_ne!(after, Authority::Active);
    // An answer to an older question than the newest answered changes nothing, a refusal all.
    let refused = reply(&first, Verdict::Refused(Refusal::HeldByPeer), NodeId::B);
    let mut refused_at_once = one.clone();
    refused_at_once.event(millis(3), refused);
    let (before, after) = last(refused_at_once, lease);
    assert_eq!(before, Authority::Active);
    assert_ne!(after, Authority::Active, "the lease alone");
    // What answers nobody's question is not heard.
    let mut stranger = first;
    stranger.sequence += 500;
    let mut one = one;
    one.event(millis(3), reply(&stranger, Verdict::Done, NodeId::A));
    assert_eq!(one.node.status(one.now).witness.and_then(|it| it.grant_ends), None);
}

#[test]
fn who_may_be_off_the_lan_itself_finds_nothing_wrong_with_the_peer() {
    let mut one = One::taken(NodeId::B);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let grade = Grade::Failed;
    one.event(TICK, Event::RemoteChecked { group: GroupId::MAIN, grade });
    let asks = |actions: &[Action]| {
        actions.iter().any(|action| matches!(action, Action::ProbeLan { references: true, .. }))
    };
    let mut many = 0;
    while !asks(&one.hears(millis(10), |_| {})) {
        many += 1;
        assert!(many < 600, "a standby asks its references now and then");
        one.reference();
    }
    let finds = |now| one.node.status(now).groups[0].finds_peer_failed;
    ends_at(one.now + t.probe_interval * 2, finds);
    let mut answered = one.clone();
    answered.reference();
    assert!(answered.node.status(one.now + t.probe_interval * 9).groups[0].finds_peer_failed);
}

#[test]
fn a_turn_that_comes_too_late_begins_every_window_anew() {
    let mut one = One::taken(NodeId::B);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let lost = one.now + t.lost_after;
    one.alone_until(lost.before(millis(60)));
    // When it takes the role, if its next turn comes so late.
    let taken = |late: Duration| {
        let mut one = one.clone();
        one.at(one.node.next_deadline() + late, Event::Tick);
        while one.authority() != Authority::Taking {
            assert!(one.now < lost + Duration::from_secs(5));
            one.quiet_lan();
            one.ticks(millis(1));
        }
        one.now
    };
    let (in_time, late) = (taken(t.delay), taken(t.delay + TICK));
    assert!(late > in_time + millis(20), "{late:?} after {in_time:?}");
}

#[test]
fn a_standby_does_not_wait_for_a_peer_that_has_left() {
    let hears = |promise| {
        let mut one = One::taken(NodeId::B);
        one.hears(millis(1), |it| (it.stance, it.promise) = (Stance::Held, promise));
        one.authority()
    };
    assert_eq!(hears(Promise::None), Authority::Standby);
    assert_ne!(hears(Promise::Leaving), Authority::Standby);
}

#[test]
fn the_lans_word_lasts_as_long_as_its_reference() {
    let mut one = One::taken(NodeId::A);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let lease = one.node.status(one.now).lease_ends.expect("a lease");
    // Until when it serves if the gateway has answered for the last time at about that time.
    let serves_until = |last: Instant| {
        let mut one = one.clone();
        let mut answered = one.now;
        let mut served = one.now;
        while one.authority() == Authority::Active {
            if one.now <= last {
                one.reference();
                answered = one.now;
            }
            served = one.now;
            one.ticks(Duration::from_micros(100));
            assert!(one.now < last + Duration::from_secs(5));
        }
        served.since(answered)
    };
    let grain = Duration::from_micros(200);
    let short = serves_until(lease + millis(20));
    assert!(short <= t.short_validity && short + grain > t.short_validity, "{short:?}");
    let settled = lease + t.short_validity_for + millis(20);
    let long = serves_until(settled);
    assert!(long <= t.long_validity && long + grain > t.long_validity, "{long:?}");
    // And only beside an address that it has: without one it is a taker's for the asking.
    let mut bare = one.clone();
    let lost = Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent };
    bare.event(TICK, lost);
    let mut served = bare.now;
    while bare.authority() == Authority::Active {
        bare.reference();
        served = bare.now;
        bare.ticks(millis(1));
        assert!(served < lease + Duration::from_secs(5));
    }
    assert!(served < lease + t.long_window, "{served:?} against {lease:?}");
}
