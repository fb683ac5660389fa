//! The witness's rule (rule 11), request by request and to the nanosecond.

use std::time::Duration;

use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::protocol::time::Instant;
use duotone::protocol::witness::{Ledger, Refusal, Reply, Request, Verdict, Wish, Witness};

use super::boundaries::{at, begins_at};

const GRANT: Duration = Duration::from_millis(700);
const CERTIFICATE: Duration = Duration::from_millis(2_900);
const WANTS: Wish = Wish::Grant { despite_exclusion: false };

/// A node that asks, with the ticket that it was given.
#[derive(Clone)]
struct Asker {
    node: NodeId,
    session: Session,
    ticket: u64,
    sequence: u64,
}

impl Asker {
    /// Introduced: its next wish counts.
    fn new(node: NodeId, session: u64, witness: &mut Witness, now: Instant) -> Asker {
        let mut it = Asker { node, session: Session(session), ticket: 0, sequence: 0 };
        let reply = it.ask(witness, now, WANTS, 1).expect("a new session is answered");
        assert_eq!(reply.verdict, Verdict::Introduced, "asking is not taking");
        it.ticket = reply.ticket;
        it
    }

    fn ask(&mut self, witness: &mut Witness, now: Instant, wish: Wish, term: u64) -> Option<Reply> {
        self.sequence += 1;
        let request = Request {
            node: self.node,
            session: self.session,
            sequence: self.sequence,
            ticket: self.ticket,
            term: Term { counter: term, node: self.node },
            wish,
            grant: GRANT,
            certificate: CERTIFICATE,
        };
        witness.handle(now, &request, self.session.0 * 1_000 + self.sequence)
    }

    fn verdict(&mut self, witness: &mut Witness, now: Instant, wish: Wish, term: u64) -> Verdict {
        self.ask(witness, now, wish, term).expect("it is listened to").verdict
    }
}

/// One that remembers that nobody holds anything, by a grant that was given back.
fn settled() -> (Witness, Asker, Asker) {
    let mut witness = Witness::new(None, at(0));
    let mut a = Asker::new(NodeId::A, 1, &mut witness, at(9_000));
    let b = Asker::new(NodeId::B, 2, &mut witness, at(9_000));
    assert_eq!(a.verdict(&mut witness, at(9_000), WANTS, 1), Verdict::Done);
    assert_eq!(a.verdict(&mut witness, at(9_000), Wish::Release, 1), Verdict::Done);
    (witness, a, b)
}

#[test]
fn a_grant_lasts_to_its_last_nanosecond() {
    let (mut witness, mut a, b) = settled();
    assert_eq!(witness.in_force(at(9_000)), Duration::ZERO, "it was given back");
    assert_eq!(a.verdict(&mut witness, at(10_000), WANTS, 2), Verdict::Done);
    assert_eq!(witness.in_force(at(10_100)), GRANT - Duration::from_millis(100));
    let may = |now: Instant| {
        let (mut witness, mut b) = (witness.clone(), b.clone());
        b.verdict(&mut witness, now, WANTS, 3) == Verdict::Done
    };
    begins_at(at(10_000) + GRANT, may);
    // Its holder renews at any time, and a node with a lower term is told so first.
    assert_eq!(a.verdict(&mut witness, at(10_500), WANTS, 2), Verdict::Done);
    assert_eq!(witness.in_force(at(10_500)), GRANT);
    let refused = |refusal| Verdict::Refused(refusal);
    let mut b = b;
    assert_eq!(b.verdict(&mut witness, at(10_600), WANTS, 1), refused(Refusal::LowerTerm));
    assert_eq!(b.verdict(&mut witness, at(10_600), WANTS, 3), refused(Refusal::HeldByPeer));
    assert_eq!(b.verdict(&mut witness, at(10_600), Wish::Query, 1), Verdict::Done);
    assert!(witness.ledger().names(NodeId::A) && !witness.ledger().names(NodeId::B));
    assert!(witness.ledger().is_held_by_peer_of(NodeId::B));
    assert!(!witness.ledger().is_held_by_peer_of(NodeId::A));
    assert_eq!(witness.ledger().term().counter, 2);
}

#[test]
fn only_the_holder_excludes_clears_and_gives_back() {
    let (mut witness, mut a, mut b) = settled();
    for wish in [Wish::Exclude, Wish::Clear, Wish::Release] {
        let verdict = b.verdict(&mut witness, at(9_500), wish, 5);
        assert_eq!(verdict, Verdict::Refused(Refusal::NotHolder), "{wish:?}");
    }
    assert_eq!(a.verdict(&mut witness, at(9_600), WANTS, 2), Verdict::Done);
    assert_eq!(a.verdict(&mut witness, at(9_600), Wish::Exclude, 2), Verdict::Done);
    assert_eq!(witness.ledger().excluded, Some(NodeId::B));
    let later = at(9_600) + GRANT;
    assert_eq!(b.verdict(&mut witness, later, WANTS, 3), Verdict::Refused(Refusal::Excluded));
    let mut cleared = (witness.clone(), a.clone());
    assert_eq!(cleared.1.verdict(&mut cleared.0, later, Wish::Clear, 2), Verdict::Done);
    assert_eq!(cleared.0.ledger().excluded, None);
    let despite = Wish::Grant { despite_exclusion: true };
    assert_eq!(b.verdict(&mut witness, later, despite, 3), Verdict::Done);
    assert_eq!(witness.ledger().excluded, None, "what it serves from here on is what there is");
    assert!(witness.ledger().names(NodeId::B));
    // Given back: the other may have it at once, and is not held up by it.
    assert_eq!(b.verdict(&mut witness, later, Wish::Release, 3), Verdict::Done);
    assert!(!witness.ledger().is_held_by_peer_of(NodeId::A));
    assert_eq!(a.verdict(&mut witness, later, WANTS, 4), Verdict::Done);
    // The mark of the one who is granted goes; that of the other stays.
    assert_eq!(a.verdict(&mut witness, later, Wish::Exclude, 4), Verdict::Done);
    assert_eq!(a.verdict(&mut witness, later, WANTS, 4), Verdict::Done);
    assert_eq!(witness.ledger().excluded, Some(NodeId::B));
}

#[test]
fn a_witness_without_memory_waits_for_what_it_may_have_forgotten() {
    let fresh = Witness::new(None, at(0));
    let may = |now: Instant| {
        let mut witness = fresh.clone();
        let mut a = Asker::new(NodeId::A, 1, &mut witness, now);
        a.verdict(&mut witness, now, WANTS, 1) == Verdict::Done
    };
    begins_at(at(0) + GRANT + CERTIFICATE, may);
    // One that remembers lets the recorded holder go on, and the other after a whole grant (C28).
    let (mut before, mut a, _) = settled();
    assert_eq!(a.verdict(&mut before, at(9_100), WANTS, 2), Verdict::Done);
    let ledger: Ledger = *before.ledger();
    let restarted = Witness::new(Some(ledger), at(20_000));
    let may = |node, session, now: Instant| {
        let mut witness = restarted.clone();
        let mut it = Asker::new(node, session, &mut witness, now);
        it.verdict(&mut witness, now, WANTS, 3) == Verdict::Done
    };
    assert!(may(NodeId::A, 3, at(20_000)));
    begins_at(at(20_000) + GRANT, |now| may(NodeId::B, 4, now));
}

#[test]
fn what_is_late_recorded_or_of_an_ended_session_is_not_heard() {
    let (mut witness, a, _) = settled();
    let mut again = a.clone();
    again.sequence -= 1;
    assert_eq!(again.ask(&mut witness, at(9_100), WANTS, 2), None, "the same number");
    let mut stranger = Asker { ticket: a.ticket + 1, ..a.clone() };
    assert_eq!(stranger.ask(&mut witness, at(9_100), WANTS, 2), None, "another ticket");
    // A new life is listened to once it has shown its ticket; the old one is over then.
    let mut reborn = Asker { session: Session(9), ticket: 0, sequence: 0, ..a.clone() };
    let offered = reborn.ask(&mut witness, at(9_200), WANTS, 2).expect("introduced");
    let repeated = reborn.ask(&mut witness, at(9_200), WANTS, 2).expect("introduced again");
    assert_eq!((offered.verdict, repeated.verdict), (Verdict::Introduced, Verdict::Introduced));
    assert_eq!(offered.ticket, repeated.ticket, "one session has one ticket");
    assert_eq!(a.clone().verdict(&mut witness, at(9_300), WANTS, 2), Verdict::Done);
    reborn.ticket = offered.ticket;
    assert_eq!(reborn.verdict(&mut witness, at(9_400), WANTS, 2), Verdict::Done);
    let old = a.clone().ask(&mut witness, at(9_500), WANTS, 9).expect("taken for a new session");
    assert_eq!(old.verdict, Verdict::Introduced);
    // Recorded requests of ended sessions do not keep a living one out.
    let mut living = Asker { session: Session(10), ticket: 0, sequence: 0, ..a.clone() };
    living.ticket = living.ask(&mut witness, at(9_600), WANTS, 3).expect("introduced").ticket;
    for recorded in 20..27 {
        let mut it = Asker { session: Session(recorded), ticket: 0, sequence: 0, ..a.clone() };
        assert!(it.ask(&mut witness, at(9_700), WANTS, 3).is_some());
    }
    assert_eq!(living.verdict(&mut witness, at(9_800), WANTS, 3), Verdict::Done);
}
