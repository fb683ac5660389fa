//! The instant itself: what ends at a time has ended at that time, and had not a nanosecond before.
//! Rules that are kept by less than that would be kept by luck.

use std::time::Duration;

use duotone::protocol::arbiter::{Lan, Proof};
use duotone::protocol::certificate::{Certificate, HoldsBy};
use duotone::protocol::event::{Answerer, LanSeen};
use duotone::protocol::health::{Grade, Health};
use duotone::protocol::heartbeat::{Echo, GroupReport, Heartbeat, Promise, Stance};
use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::protocol::lease::Lease;
use duotone::protocol::moves::Hindrance;
use duotone::protocol::peer::{Liveness, Patience, Peer, View};
use duotone::protocol::sent::{Sent, SentLog};
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;

use super::logs::log;
use super::times::odd;

pub const TICK: Duration = Duration::from_nanos(1);

/// Without drift, so that the ends can be written down.
pub fn timing() -> Timing {
    Timing { drift_ppm: 0, ..odd() }
}

pub fn at(millis: u64) -> Instant {
    Instant::from_nanos(100_000_000_000) + Duration::from_millis(millis)
}

pub fn heartbeat(sequence: u64, stance: Stance) -> Heartbeat {
    Heartbeat {
        node: NodeId::B,
        session: Session(7),
        sequence,
        echo: None,
        stance,
        promise: Promise::None,
        term: Term::ZERO,
        served: Term::ZERO,
        lone: Term::ZERO,
        certifying: false,
        certified: false,
        excludes_you: false,
        log: None,
        system_id: None,
        groups: Vec::new(),
        software: [0; 3],
        config_hash: 0,
        maintenance: false,
    }
}

/// An own heartbeat that left then.
fn sent(left: Instant) -> Sent {
    let mut log = SentLog::new(Session(1));
    let sequence = log.note(left, None);
    log.echoed(&Echo { session: Session(1), sequence, age: Duration::ZERO }).expect("just sent")
}

/// `is` holds from `begin` (if any) up to `end` and not at it.
pub fn ends_at(end: Instant, is: impl Fn(Instant) -> bool) {
    assert!(is(end.before(TICK)), "a nanosecond before its end");
    assert!(!is(end), "at its end");
}

pub fn begins_at(begin: Instant, is: impl Fn(Instant) -> bool) {
    ends_at(begin, |now| !is(now));
}

#[test]
fn a_lease_ends_where_the_promise_says() {
    let t = timing();
    let mut lease = Lease::default();
    let promise = Promise::For(Duration::from_millis(900));
    let hears = |lease: &mut Lease, promise, stance, arrived, echoed| {
        lease.hear(&Heartbeat { promise, ..heartbeat(1, stance) }, arrived, echoed, &t);
    };
    hears(&mut lease, promise, Stance::Standby, at(90), None);
    assert!(!lease.holds(at(90)), "what echoes nothing promises nothing");
    hears(&mut lease, promise, Stance::Standby, at(100), Some(sent(at(40))));
    let end = at(40) + (Duration::from_millis(900) - t.release);
    ends_at(end, |now| lease.holds(now));
    assert_eq!(lease.ends(), Some(end));
    // An echo of what left earlier does not shorten it.
    hears(&mut lease, promise, Stance::Standby, at(110), Some(sent(at(30))));
    assert_eq!(lease.ends(), Some(end));
    lease.lapse();
    assert!(!lease.holds(at(120)));
}

#[test]
fn a_peer_leaves_by_a_fresh_echo_alone() {
    let t = timing();
    let leaves = |left: Instant| {
        let mut lease = Lease::default();
        let leaving = Heartbeat { promise: Promise::Leaving, ..heartbeat(1, Stance::Held) };
        lease.hear(&leaving, at(1_000), Some(sent(left)), &t);
        lease
    };
    let stale = at(1_000).before(t.lost_after);
    assert!(!leaves(stale).unlimited());
    let lease = leaves(stale + TICK);
    assert!(lease.unlimited() && lease.holds(at(99_000)) && lease.ends().is_none());
    // Back again: a promise as long as any, from its arrival, unless it comes back serving.
    for (stance, bound) in [(Stance::Joining, true), (Stance::Active, false)] {
        let mut lease = lease;
        lease.hear(&heartbeat(2, stance), at(2_000), None, &t);
        assert!(!lease.unlimited());
        let end = at(2_000) + (t.lost_after - t.release);
        assert_eq!(lease.ends(), bound.then_some(end), "{stance:?}");
    }
}

#[test]
fn a_certificate_ends_with_its_life() {
    let t = timing();
    let certifying = Heartbeat { certifying: true, ..heartbeat(1, Stance::Active) };
    let mut certificate = Certificate::default();
    certificate.hear(&certifying, None, HoldsBy::StandingBy, &t);
    assert!(!certificate.usable(at(0)), "nothing of this session was echoed");
    certificate.hear(&certifying, Some(sent(at(50))), HoldsBy::StandingBy, &t);
    ends_at(at(50) + t.certificate, |now| certificate.usable(now));
    assert_eq!(certificate.ends(), Some(at(50) + t.certificate));
    certificate.hear(&certifying, Some(sent(at(20))), HoldsBy::StandingBy, &t);
    assert_eq!(certificate.ends(), Some(at(50) + t.certificate));
    for (stance, says, excludes, by, keeps) in [
        (Stance::Active, false, false, HoldsBy::StandingBy, false),
        (Stance::Active, true, true, HoldsBy::StandingBy, false),
        (Stance::Handing, true, false, HoldsBy::CleanEnd, true),
        (Stance::Standby, true, false, HoldsBy::StandingBy, false),
        (Stance::Taking, false, false, HoldsBy::CleanEnd, true),
        (Stance::Active, true, false, HoldsBy::Nothing, false),
    ] {
        let mut certificate = certificate;
        let told = Heartbeat { certifying: says, excludes_you: excludes, ..heartbeat(2, stance) };
        certificate.hear(&told, None, by, &t);
        assert_eq!(certificate.usable(at(60)), keeps, "{stance:?} {says} {excludes} {by:?}");
    }
    let mut granted = Certificate::default();
    granted.grant(at(10), &t);
    assert_eq!(granted.ends(), Some(at(10) + t.certificate));
    certificate.grant(at(10), &t);
    assert_eq!(certificate.ends(), Some(at(50) + t.certificate), "the longer one stays");
    granted.forget();
    assert_eq!(granted.ends(), None);
}

/// A LAN whose floating address was probed so often, the first time then.
fn probed(t: &Timing, times: u32, first: Instant) -> Lan {
    let mut lan = Lan::default();
    for number in 0..times {
        lan.see(LanSeen::FloatingProbed { at: first + t.probe_interval * number });
    }
    lan
}

#[test]
fn a_silent_window_is_complete_with_its_last_nanosecond() {
    let t = timing();
    assert!(!probed(&t, t.probes - 1, at(0)).silent_for(at(9_000), t.short_window, &t));
    let lan = probed(&t, t.probes, at(0));
    begins_at(at(0) + t.short_window, |now| lan.silent_for(now, t.short_window, &t));
    let ends = [t.short_window, t.long_window].map(|span| Some(at(0) + span));
    assert_eq!(lan.window_ends(&t), ends);
    let mut again = lan;
    again.restart();
    assert!(!again.silent_for(at(9_000), t.short_window, &t));
    assert_eq!(again.window_ends(&t), [None, None]);
}

#[test]
fn the_lan_consents_beside_a_reference_that_counts() {
    let t = Timing { long_window: Duration::from_millis(397), ..timing() };
    let consent = |lan: &Lan, now| lan.consent(now, Some(at(0) + t.short_window), false, &t);
    let mut lan = probed(&t, t.probes, at(0));
    assert_eq!(consent(&lan, at(1_000)), Proof::Open, "no reference has answered");
    let short = at(0) + t.short_window;
    lan.see(LanSeen::ReferenceAnswered { probed_at: short });
    begins_at(short, |now| consent(&lan, now) == Proof::Given);
    ends_at(short + t.short_validity, |now| consent(&lan, now) == Proof::Given);
    // An older answer takes nothing from a newer one.
    lan.see(LanSeen::ReferenceAnswered { probed_at: at(0) });
    assert_eq!(consent(&lan, short), Proof::Given);
    assert!(lan.on_the_lan(short, t.short_validity));
    assert_eq!(lan.reference_ends(t.short_validity), Some(short + t.short_validity));
    // Not in time by a nanosecond: only the long window is left, with the long validity.
    let late = |lan: &Lan, now| lan.consent(now, Some(short.before(TICK)), false, &t);
    assert_eq!(late(&lan, short), Proof::Open);
    assert_eq!(lan.consent(short, None, false, &t), Proof::Open);
    let long = at(0) + t.long_window;
    lan.see(LanSeen::ReferenceAnswered { probed_at: long.before(t.short_validity) });
    begins_at(long, |now| late(&lan, now) == Proof::Given);
    ends_at(long.before(t.short_validity) + t.long_validity, |now| late(&lan, now) == Proof::Given);
}

#[test]
fn who_answered_or_asked_is_respected_for_a_window() {
    let t = timing();
    let mut lan = Lan::default();
    lan.see(LanSeen::FloatingAnswered { at: at(0), by: Answerer::Peer });
    let refused = |lan: &Lan, now| lan.consent(now, None, false, &t) == Proof::Refused;
    ends_at(at(0) + t.long_window, |now| refused(&lan, now));
    ends_at(at(0) + t.short_window, |now| lan.unclaimed(now, false, &t) == Proof::Refused);
    assert_eq!(lan.unclaimed(at(0), true, &t), Proof::Open, "the peer says that it let go");
    let mut foreign = lan;
    foreign.see(LanSeen::FloatingAnswered { at: at(0), by: Answerer::Foreign });
    assert_eq!(foreign.unclaimed(at(0), true, &t), Proof::Refused);
    let mut silent = probed(&t, t.probes, at(0));
    begins_at(at(0) + t.short_window, |now| silent.unclaimed(now, false, &t) == Proof::Given);

    silent.see(LanSeen::PeerProbed { at: at(100) });
    ends_at(at(100) + t.long_window, |now| silent.is_wanted_by_peer(now, &t));
    let yields = |yields| silent.consent(at(100), None, yields, &t);
    assert_eq!((yields(true), yields(false)), (Proof::Refused, Proof::Open));
}

#[test]
fn an_owner_is_one_who_goes_on_answering() {
    let t = timing();
    let mut lan = Lan::default();
    lan.see(LanSeen::FloatingAnswered { at: at(0), by: Answerer::Foreign });
    assert!(!lan.peer_owns(Duration::ZERO), "that was somebody else");
    lan.see(LanSeen::FloatingAnswered { at: at(10), by: Answerer::Peer });
    lan.see(LanSeen::FloatingAnswered { at: at(60), by: Answerer::Peer });
    let span = Duration::from_millis(50);
    assert!(lan.peer_owns(span) && !lan.peer_owns(span + TICK));
    let forgotten = |now| {
        let mut lan = lan;
        lan.forget_old_answers(now, &t);
        !lan.peer_owns(Duration::ZERO)
    };
    begins_at(at(60) + t.long_window * 2, forgotten);
    lan.taken();
    assert!(!lan.peer_owns(Duration::ZERO));
    // A probe that cannot leave makes every silence worthless; one that leaves ends the deafness.
    let mut lan = probed(&t, t.probes, at(0));
    lan.see(LanSeen::ProbeFailed { at: at(200) });
    assert!(lan.deaf && !lan.silent_for(at(9_000), t.short_window, &t));
    let mut answered = lan;
    answered.see(LanSeen::ReferenceAnswered { probed_at: at(300) });
    lan.see(LanSeen::FloatingProbed { at: at(300) });
    assert!(!lan.deaf && !answered.deaf);
}

#[test]
fn silence_is_counted_to_the_nanosecond() {
    let t = timing();
    let mut peer = Peer::new(at(0));
    assert_eq!(peer.liveness(at(0), &t), Liveness::Lost, "never heard");
    let patience = Patience::settled(&t);
    assert_eq!(Patience::joining(&t).silent, t.start_grace);
    begins_at(at(0) + t.lost_after, |now| peer.view(now, &t, patience) == View::Silent);
    assert!(peer.hear(heartbeat(5, Stance::Standby), at(1_000), None));
    assert!(!peer.hear(heartbeat(5, Stance::Active), at(1_001), None), "the same one again");
    assert!(!peer.hear(heartbeat(4, Stance::Active), at(1_001), None), "an older one");
    begins_at(at(1_000) + t.late_after, |now| peer.liveness(now, &t) != Liveness::Alive);
    begins_at(at(1_000) + t.lost_after, |now| peer.liveness(now, &t) == Liveness::Lost);
    assert_eq!(peer.silence_from(), at(1_000));
    assert!(peer.hear(heartbeat(6, Stance::Active), at(1_100), None));
    ends_at(at(1_100) + t.lost_after, |now| peer.view(now, &t, patience) == View::Serves);
    begins_at(at(1_100) + t.lost_after, |now| peer.view(now, &t, patience) == View::Silent);
    peer.wake(at(5_000));
    assert_eq!((peer.silence_from(), peer.settled_from()), (at(5_000), at(5_000)));
}

#[test]
fn a_peer_that_echoes_nothing_is_believed_for_a_while() {
    let t = timing();
    let patience = Patience::settled(&t);
    let mut peer = Peer::new(at(0));
    assert!(peer.hear(heartbeat(1, Stance::Standby), at(1_000), None));
    let heard_on = |peer: &Peer, now: Instant| {
        let mut peer = peer.clone();
        assert!(peer.hear(heartbeat(99, Stance::Standby), now, None));
        peer.view(now, &t, patience)
    };
    let unechoed = at(1_000) + t.lost_after + (t.interval + t.delay) * 2;
    begins_at(unechoed, |now| heard_on(&peer, now) == View::Silent);
    assert!(peer.hear(heartbeat(2, Stance::Standby), at(1_010), Some(sent(at(1_005)))));
    assert!(peer.hear(heartbeat(3, Stance::Standby), at(1_020), Some(sent(at(990)))));
    assert_eq!(peer.echoed_at(), Some(at(1_005)), "the newest that it proved");
    ends_at(at(1_005) + t.lost_after, |now| peer.two_way(now, &t));
    ends_at(at(1_005) + t.lost_after, |now| heard_on(&peer, now) == View::Idle);
    // A new life has echoed nothing yet.
    let reborn = Heartbeat { session: Session(8), ..heartbeat(1, Stance::Standby) };
    assert!(peer.hear(reborn, at(1_030), None));
    assert_eq!(peer.echoed_at(), None);
    assert!(peer.is_in(Session(8)) && !peer.is_in(Session(7)));
    assert_eq!(peer.settled_from(), at(1_030));
}

#[test]
fn idleness_counts_from_its_first_heartbeat_of_that_kind() {
    let t = timing();
    let mut peer = Peer::new(at(0));
    let span = t.start_grace;
    assert!(peer.hear(heartbeat(1, Stance::Joining), at(1_000), None));
    assert!(peer.hear(heartbeat(2, Stance::Held), at(1_100), None));
    begins_at(at(1_000) + span, |now| peer.idle_for(now, span));
    let mut woken = peer.clone();
    woken.wake(at(1_150));
    begins_at(at(1_150) + span, |now| woken.idle_for(now, span));
    assert!(peer.hear(heartbeat(3, Stance::Taking), at(1_200), None));
    assert!(!peer.idle_for(at(99_000), span));

    let failed = Health { database: Grade::Failed, network: Grade::Good, services: Grade::Good };
    let down = |sequence| Heartbeat {
        groups: vec![GroupReport { serving: false, health: failed, finds_peer_failed: false }],
        ..heartbeat(sequence, Stance::Held)
    };
    assert!(peer.hear(down(4), at(2_000), None));
    assert!(peer.hear(down(5), at(2_100), None));
    begins_at(at(2_000) + span, |now| peer.database_lost_for(now, span));
    assert!(peer.hear(heartbeat(6, Stance::Held), at(2_150), None));
    assert!(!peer.database_lost_for(at(99_000), span), "it is not down now");
    let log = Some(log(1, 10, None, &[]));
    assert!(peer.hear(Heartbeat { log, ..down(7) }, at(2_160), None));
    assert!(!peer.database_lost_for(at(99_000), span), "it came as far as to state a log");
}
#[test]
fn time_neither_wraps_nor_goes_below_zero() {
    let end = Instant::from_nanos(u64::MAX);
    assert_eq!(Instant::from_nanos(5) + Duration::from_secs(u64::MAX), end);
    assert_eq!(Instant::from_nanos(5) + Duration::from_nanos(u64::MAX), end);
    assert_eq!(Instant::from_nanos(5) + Duration::from_nanos(7), Instant::from_nanos(12));
    assert_eq!(Instant::from_nanos(5).before(Duration::from_nanos(7)), Instant::ZERO);
    assert_eq!(Instant::from_nanos(5).since(Instant::from_nanos(7)), Duration::ZERO);
}

#[test]
fn every_hindrance_is_told_in_words_of_its_own() {
    let all = [
        Hindrance::NotActive,
        Hindrance::PeerNotHeard,
        Hindrance::PeerHasLeft,
        Hindrance::PeerNotStandby,
        Hindrance::NotCertified,
        Hindrance::StandbyLags,
        Hindrance::JustBrokenOff,
    ];
    let words: std::collections::BTreeSet<String> =
        all.iter().map(|hindrance| hindrance.to_string()).collect();
    assert_eq!(words.len(), all.len());
    assert!(words.iter().all(|words| words.len() > 10), "{words:?}");
}
