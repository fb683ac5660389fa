//! What a node decides at the nanosecond at which it may, and for how long each word of the peer keeps
//! it from it.

use std::time::Duration;

use duotone::protocol::action::{Action, DatabaseDeed};
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{
    Answerer, Event, LanSeen, Order, Presence, Replica, ServicesGoal, ServicesSeen,
};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::{Heartbeat, Promise, Stance};
use duotone::protocol::identity::{GroupId, NodeId, Term};
use duotone::protocol::lead::Authority;
use duotone::protocol::moves::Hindrance;

use crate::one::{One, TICK, ends_at, millis};

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
    let mut soon = hindered.clone();
    soon.hears_for(soon.timing.lost_after, |it| it.certified = false);
    soon.hears(millis(10), |_| {});
    assert_eq!(soon.authority(), Authority::Giving, "it can be obeyed a moment later");
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
fn what_a_turn_decided_is_told_once() {
    let mut one = One::taken(NodeId::B);
    one.hears(millis(1), |_| {});
    let before = one.node.authority();
    one.hears(millis(1), |_| {});
    assert_eq!(one.node.path(), []);
    assert_eq!(one.node.decided(before).count(), 0, "nothing");
    let lost = one.now + one.timing.lost_after;
    while one.now < lost.before(TICK) {
        one.ticks(millis(5).min(lost.before(TICK).since(one.now)));
    }
    assert_eq!(one.node.authority(), before);
    let _ = one.node.handle(lost, Event::Tick);
    one.now = lost;
    let after = one.node.authority();
    assert_eq!(after.0, Authority::Asking);
    // Why it was entered, and why it waits there.
    let path = one.node.path().to_vec();
    assert_eq!(path.iter().map(|(entered, _)| *entered).collect::<Vec<_>>(), [Authority::Asking]);
    assert_ne!(path[0], after);
    assert_eq!(one.node.decided(before).collect::<Vec<_>>(), [path[0], after]);
    // The same authority for another reason.
    let answered = LanSeen::FloatingAnswered { at: one.now, by: Answerer::Foreign };
    let told = Event::Lan { group: GroupId::MAIN, seen: answered };
    assert_eq!(one.node.handle(one.now, told), []);
    let _ = one.node.handle(one.now + millis(1), Event::Tick);
    let now = one.node.authority();
    assert!(now.0 == Authority::Asking && now.1 != after.1, "{} and {}", now.1, after.1);
    assert_eq!(one.node.path(), []);
    assert_eq!(one.node.decided(after).collect::<Vec<_>>(), [now]);
}

#[test]
fn a_better_right_is_followed_and_a_worse_one_is_not() {
    let mut one = One::taken(NodeId::A);
    one.hears(millis(1), |_| {});
    let stays = |change: &dyn Fn(&mut Heartbeat)| {
        let mut one = one.clone();
        one.hears(millis(1), change);
        one.authority() == Authority::Active
    };
    let mine = one.said.0.served;
    let raised = Term { counter: mine.counter + 5, node: NodeId::B };
    let lowered = Term { counter: 0, node: NodeId::B };
    for (stance, served, wanted) in [
        (Stance::Active, raised, false),
        (Stance::Promoted, raised, false),
        (Stance::Handing, raised, false),
        (Stance::Active, lowered, true),
        (Stance::Taking, raised, true),
        (Stance::Asking, raised, true),
        // This node has every row of its.
        (Stance::Joining, raised, true),
    ] {
        let says = |it: &mut Heartbeat| {
            (it.stance, it.served, it.term) = (stance, served, served.max(it.term));
        };
        assert_eq!(stays(&says), wanted, "{stance:?} {served}");
    }
    // It has rows that are not here, by a right that is better.
    let holds_more = |served: Term| {
        move |it: &mut Heartbeat| {
            (it.stance, it.served, it.term) = (Stance::Joining, served, served.max(it.term));
            it.log.as_mut().expect("a log").position += 1 << 30;
        }
    };
    assert!(!stays(&holds_more(raised)));
    assert!(stays(&holds_more(lowered)));

    // A taker that has not promoted gives way to a higher term, whoever has promoted to no claim.
    let taker = One::taker_under(Arbitration::LAN, false);
    let takes_on = |stance: Stance, counter: u64| {
        let mut one = taker.clone();
        let claim = one.node.status(one.now).claim.expect("it claims");
        let term = Term { counter: claim.counter + counter - 1, node: NodeId::A };
        one.hears(millis(1), |it| (it.stance, it.term) = (stance, term));
        one.authority() == Authority::Taking
    };
    assert!(!takes_on(Stance::Taking, 5) && !takes_on(Stance::Promoted, 5));
    assert!(takes_on(Stance::Standby, 5));
    assert!(takes_on(Stance::Taking, 1), "the same counter, and the lower id");
}

#[test]
fn who_gives_promises_nothing_before_the_offer() {
    let mut one = One::taken(NodeId::A);
    one.hears(millis(1), |_| {});
    one.event(millis(1), Event::Operator(Order::Switchover));
    assert_eq!(one.authority(), Authority::Giving);
    let before = one.said.0.sequence;
    while one.said.0.sequence == before {
        one.hears(millis(5), |_| {});
    }
    assert_eq!(one.authority(), Authority::Giving);
    assert_eq!((one.said.0.stance, one.said.0.promise), (Stance::Active, Promise::None));
}

#[test]
fn an_active_node_without_its_address_has_a_failed_network() {
    let mut one = One::taken(NodeId::A);
    one.hears(millis(1), |_| {});
    let lost = Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Absent };
    one.event(millis(1), lost);
    let since = one.now;
    let span = one.timing.lost_after * 2;
    one.hears_for(span - millis(3), |_| {});
    assert_eq!(one.authority(), Authority::Active, "its lease holds");
    let network = |now| one.node.status(now).groups[0].health.network;
    ends_at(since + span, |now| network(now) == Grade::Good);
}
