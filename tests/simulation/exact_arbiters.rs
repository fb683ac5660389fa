//! The same of the arbiters' words: what is asked when, and how long an answer lasts.

use std::time::Duration;

use duotone::protocol::action::Action;
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{Event, PeerPower, Presence, Ticket};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::{Promise, Stance};
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::lead::Authority;
use duotone::protocol::time::Instant;
use duotone::protocol::witness::{Holder, Ledger, Refusal, Reply, Request, Verdict, Wish};

use crate::one::{One, TICK, asked, ends_at, millis, power_off};

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

/// The giver is lost in the middle of a handover, after the promotion (C25, rule 27): it has the first
/// word of the fence, and the promoted database is kept for as long as the fence may take.
#[test]
fn a_taker_that_has_promoted_waits_for_the_fence() {
    let taker = One::taker_under(Arbitration::FENCE, true);
    let t = taker.timing;
    let said = |stance: Stance| {
        let mut one = taker.clone();
        one.hears(millis(1), |it| it.stance = stance);
        one
    };
    let ordered = |one: &One| {
        let mut one = one.clone();
        while power_off(&one.ticks(millis(1))).is_none() {
            assert_eq!(one.authority(), Authority::Taking, "{}", one.node.authority().1);
            assert!(one.now < taker.now + Duration::from_secs(20), "never ordered");
            one.quiet_lan();
        }
        one.now
    };
    // Who stands by has let go; who still hands over may count itself as the active one.
    let (stands_by, hands_over) = (said(Stance::Standby), said(Stance::Handing));
    let first_word = t.lost_after + t.fence_delay * 2;
    let (early, late) = (ordered(&stands_by), ordered(&hands_over));
    let apart = late.since(early);
    assert!(apart + millis(2) > first_word && apart < first_word + millis(2), "{apart:?}");
    let lease = stands_by.node.status(stands_by.now).lease_ends.expect("the giver's promise");
    assert!(early >= lease && early < lease + t.unechoed_after());
    let (one, ordered) = (stands_by, early);
    // Not while somebody answers for an address, nor where nothing answers at all.
    let mut deaf = one.clone();
    while deaf.now < ordered + millis(500) && deaf.authority() == Authority::Taking {
        assert_eq!(power_off(&deaf.ticks(millis(1))), None, "its own LAN is dead");
    }
    // Nor while the giver's promise is in force.
    let mut promised = one.clone();
    while promised.now < ordered + millis(500) && promised.authority() == Authority::Taking {
        let done = promised.hears(millis(10), |it| it.promise = Promise::For(t.lost_after));
        assert_eq!(power_off(&done), None, "the peer promises");
        promised.quiet_lan();
    }
    // A fence that never helps: it gives up after a certificate and the delay beyond a step's time.
    let mut vain = one.clone();
    while vain.authority() == Authority::Taking {
        if let Some(ticket) = power_off(&vain.ticks(millis(5))) {
            vain.reports(millis(1), ticket, PeerPower::Unknown);
        }
        vain.quiet_lan();
        assert!(vain.now < ordered + Duration::from_secs(60));
    }
    let lasted = vain.now.since(one.node.status(one.now).since);
    let patience = t.step_deadline + t.certificate + t.fence_delay;
    assert!(lasted >= patience && lasted < patience + millis(20), "{lasted:?} of {patience:?}");
}

/// A witness that refuses the role vouches for the peer: it is not powered off meanwhile.
#[test]
fn the_fence_waits_while_the_witness_speaks_for_the_peer() {
    let mut one = One::taken_under(Arbitration::WITNESS_AND_FENCE, NodeId::B);
    let t = one.timing;
    one.hears(millis(1), |_| {});
    let wants = |request: &&Request| matches!(request.wish, Wish::Grant { .. });
    let talks_until = one.now + t.lost_after + t.fence_delay + Duration::from_secs(2);
    let mut last = None;
    while one.now < talks_until {
        let done = one.ticks(millis(2));
        assert_eq!(power_off(&done), None, "the witness vouches");
        for request in asked(&done).iter().filter(wants) {
            last = Some(one.now);
            let refused = Verdict::Refused(Refusal::HeldByPeer);
            one.event(TICK, reply(request, refused, NodeId::A));
        }
        one.quiet_lan();
    }
    let due = last.expect("it asked") + t.grant;
    assert!(power_off(&one.alone_until(due)).is_some(), "it has said nothing for a grant's time");
}

#[test]
fn an_answer_to_what_was_given_up_entitles_to_nothing() {
    let mut one = One::taken_under(Arbitration::WITNESS, NodeId::B);
    one.hears(millis(1), |_| {});
    let wants = |request: &&Request| matches!(request.wish, Wish::Grant { .. });
    let ends = |one: &One| one.node.status(one.now).witness.and_then(|it| it.grant_ends);
    let mut requests = Vec::new();
    while requests.len() < 2 {
        one.quiet_lan();
        requests.extend(asked(&one.ticks(millis(1))).iter().filter(wants).copied());
        assert!(one.now.since(one.said.1) < Duration::from_secs(2));
    }
    let [first, second] = [requests[0], requests[1]];
    // Answers to somebody else, or to an earlier life, are not for this node.
    for stranger in [
        Request { node: NodeId::A, ..second },
        Request { session: Session(second.session.0 ^ 1), ..second },
    ] {
        let mut one = one.clone();
        one.event(TICK, reply(&stranger, Verdict::Done, NodeId::B));
        assert_eq!(ends(&one), None);
    }
    // The second one's answer overtakes the first one's, which then changes nothing.
    let mut granted = one.clone();
    granted.event(TICK, reply(&second, Verdict::Done, NodeId::B));
    let end = ends(&granted);
    assert!(end.is_some());
    let refused = Verdict::Refused(Refusal::HeldByPeer);
    granted.event(TICK, reply(&first, refused, NodeId::A));
    assert_eq!(ends(&granted), end);
    // A refusal of the newest ends the grant at once.
    let third = loop {
        granted.quiet_lan();
        let third = asked(&granted.ticks(millis(1))).iter().find(wants).copied();
        if let Some(third) = third {
            break third;
        }
    };
    granted.event(TICK, reply(&third, refused, NodeId::A));
    assert_eq!(ends(&granted), None);
    // The peer is heard again: what was asked before is over.
    one.hears(TICK, |_| {});
    assert_eq!(one.authority(), Authority::Standby);
    one.event(TICK, reply(&second, Verdict::Done, NodeId::B));
    assert_eq!(ends(&one), None);
}
