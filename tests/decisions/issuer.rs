//! When an active node certifies, stops, and acknowledges alone (rules 15 to 19).

use std::time::Duration;

use duotone::protocol::certificate::{ArbiterWord, Issuer, Sight};
use duotone::protocol::event::{DatabaseSeen, DatabaseState, Replica};
use duotone::protocol::heartbeat::{Echo, Heartbeat, Stance};
use duotone::protocol::identity::Session;
use duotone::protocol::time::Instant;

use super::boundaries::{TICK, at, begins_at, ends_at, heartbeat, timing};
use super::logs::log;

/// A primary that is in synchronous mode, with a replica that has flushed so much.
fn primary(end: u64, flush: Option<u64>) -> DatabaseSeen {
    DatabaseSeen {
        at: at(0),
        state: DatabaseState::Writable,
        synchronous: Some(true),
        log: Some(log(1, end, None, &[])),
        streaming: false,
        diverged: false,
        replica: flush.map(|flush| Replica { flush, synchronous: true }),
        system_id: Some(1),
    }
}

fn sight(database: &DatabaseSeen) -> Sight<'_> {
    Sight {
        standby: true,
        database,
        excluded: false,
        contested: false,
        waits: true,
        arbiter: ArbiterWord::None,
    }
}

#[test]
fn the_issuer_certifies_who_has_all_of_the_first_synchronous_end() {
    let t = timing();
    let begun = |flush: u64| {
        let mut issuer = Issuer::new(at(0), true, &t);
        issuer.turn(at(0), sight(&primary(1_000, Some(100))), &t);
        assert!(!issuer.certifying());
        issuer.turn(at(1), sight(&primary(5_000, Some(flush))), &t);
        issuer
    };
    assert!(!begun(999).certifying());
    let issuer = begun(1_000);
    assert!(issuer.certifying() && !issuer.lone() && !issuer.wants_lone());
    for (spoilt, certifies) in [
        (Sight { excluded: true, ..sight(&primary(5_000, Some(2_000))) }, false),
        (Sight { standby: false, ..sight(&primary(5_000, Some(2_000))) }, false),
        (sight(&primary(5_000, None)), false),
        (sight(&primary(5_000, Some(2_000))), true),
    ] {
        let mut issuer = issuer.clone();
        issuer.turn(at(2), spoilt, &t);
        assert_eq!(issuer.certifying(), certifies, "{spoilt:?}");
    }
    let mark = Issuer::new(at(0), true, &t);
    let mut marked = mark.clone();
    let database = primary(1_000, Some(1_000));
    assert!(!marked.may_clear_exclusion(&database), "no end to reach was seen");
    marked.turn(at(0), Sight { excluded: true, ..sight(&database) }, &t);
    assert!(marked.may_clear_exclusion(&database));
    assert!(!marked.may_clear_exclusion(&primary(1_000, Some(999))));
}

#[test]
fn replication_that_stands_still_is_broken_with_its_stall() {
    let t = timing();
    let turned = |now: Instant, flush: u64, end: u64| {
        let mut issuer = Issuer::new(at(0), true, &t);
        issuer.turn(at(0), sight(&primary(500, Some(400))), &t);
        issuer.turn(now, sight(&primary(end, Some(flush))), &t);
        issuer
    };
    let stalled = at(0) + t.replication_stall;
    begins_at(stalled, |now| turned(now, 400, 500).lone());
    assert!(!turned(stalled, 401, 500).lone(), "it moves");
    assert!(!turned(stalled, 400, 400).lone(), "it is at the end");
    // Nothing is known of it: that counts as standing still as well.
    let mut blind = Issuer::new(at(0), true, &t);
    blind.turn(at(0), sight(&primary(500, None)), &t);
    blind.turn(stalled.before(TICK), sight(&primary(500, None)), &t);
    assert!(!blind.lone());
    blind.turn(stalled, sight(&primary(500, None)), &t);
    assert!(blind.lone());
}

#[test]
fn a_lone_primary_waits_again_for_a_replica_that_has_been_steady() {
    let t = timing();
    const NEAR: u64 = 16 << 20;
    let steady_from = |end: u64| {
        let mut issuer = Issuer::new(at(0), true, &t);
        issuer.turn(at(0), Sight { standby: false, ..sight(&primary(9, None)) }, &t);
        assert!(issuer.lone());
        issuer.turn(at(100), sight(&primary(end, Some(1))), &t);
        move |now: Instant| {
            let mut issuer = issuer.clone();
            issuer.turn(now, sight(&primary(end, Some(2))), &t);
            issuer.lone()
        }
    };
    ends_at(at(600), steady_from(NEAR + 2));
    assert!(steady_from(NEAR + 3)(at(9_000)), "too far behind");
}

#[test]
fn nobody_acknowledges_alone_beside_a_certificate() {
    let t = timing();
    let alone = |issuer: &Issuer, now| {
        let mut issuer = issuer.clone();
        issuer.turn(now, Sight { standby: false, ..sight(&primary(9, None)) }, &t);
        issuer.lone()
    };
    let mut issuer = Issuer::new(at(0), false, &t);
    begins_at(at(0) + t.certificate, |now| alone(&issuer, now));
    issuer.sent(4, at(100), true, &t);
    assert_eq!(issuer.outstanding_until(), at(100) + t.certificate);
    begins_at(at(100) + t.certificate, |now| alone(&issuer, now));
    // It says that it holds none, and has heard the first heartbeat that certified no more.
    issuer.sent(5, at(150), false, &t);
    issuer.sent(6, at(160), false, &t);
    let says = |certified, sequence| Heartbeat {
        certified,
        echo: Some(Echo { session: Session(1), sequence, age: Duration::ZERO }),
        ..heartbeat(1, Stance::Standby)
    };
    for (certified, sequence, mine, ends) in [
        (false, 4, true, false),
        (true, 5, true, false),
        (false, 5, false, false),
        (false, 5, true, true),
        (false, 6, true, true),
    ] {
        let mut issuer = issuer.clone();
        issuer.hear(&says(certified, sequence), at(200), mine, true, &t);
        assert_eq!(alone(&issuer, at(200)), ends, "{certified} {sequence} {mine}");
        issuer.sent(7, at(210), true, &t);
        assert!(!alone(&issuer, at(220)), "certified again");
    }
    // Under a witness or a fence time alone is not enough.
    for (word, allowed) in [
        (ArbiterWord::None, true),
        (ArbiterWord::Awaited, false),
        (ArbiterWord::OffAwaited, false),
        (ArbiterWord::PeerExcluded, true),
    ] {
        let mut issuer = issuer.clone();
        let database = primary(9, None);
        let sight = Sight { standby: false, arbiter: word, ..sight(&database) };
        issuer.turn(at(100) + t.certificate, sight, &t);
        assert_eq!((issuer.lone(), issuer.wants_lone()), (allowed, !allowed), "{word:?}");
    }
    // While this node does not serve, the peer may have certified itself by a clean end.
    for (certified, stance, until) in [
        (true, Stance::Standby, at(700) + t.certificate),
        (false, Stance::Active, at(700) + t.lost_after + t.certificate),
        (false, Stance::Standby, at(100) + t.certificate),
    ] {
        let mut issuer = issuer.clone();
        let ended = Heartbeat { certified, ..heartbeat(9, stance) };
        issuer.hear(&ended, at(700), false, false, &t);
        assert_eq!(issuer.outstanding_until(), until, "{certified} {stance:?}");
    }
}
