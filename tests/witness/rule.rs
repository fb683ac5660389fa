//! Grants and refusals through the bytes; what was recorded is worth nothing.

use duotone::protocol::identity::{NodeId, Session};
use duotone::protocol::witness::{Refusal, Verdict, Wish};
use duotone::wire::{LinkSet, Refused, encode};
use duotone::witness::service::Unanswered;

use crate::asker::{A, AWAITS, Asker, B, Directory, TAKE, at, fresh, key, service};

#[test]
fn one_node_is_granted_the_role_and_the_other_waits() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let (mut a, mut b) = (Asker::new(A, 1), Asker::new(B, 2));
    let early = a.ask(&mut witness, 0, TAKE);
    assert_eq!(early.verdict, Verdict::Refused(Refusal::NoMemory));
    let now = AWAITS;
    let granted = a.ask(&mut witness, now, TAKE);
    assert_eq!(granted.verdict, Verdict::Done);
    assert_eq!(granted.ledger.holder.map(|holder| holder.node), Some(A));
    b.term = 6;
    let refused = b.ask(&mut witness, now + 1_999, TAKE);
    assert_eq!(refused.verdict, Verdict::Refused(Refusal::HeldByPeer));
    assert_eq!(b.ask(&mut witness, now + 2_000, TAKE).verdict, Verdict::Done);
    let lower = a.ask(&mut witness, now + 9_000, TAKE);
    assert_eq!(lower.verdict, Verdict::Refused(Refusal::LowerTerm));
    assert_eq!(b.ask(&mut witness, now + 9_001, Wish::Exclude).ledger.excluded, Some(A));
    a.term = 7;
    let excluded = a.ask(&mut witness, now + 9_002, TAKE);
    assert_eq!(excluded.verdict, Verdict::Refused(Refusal::Excluded));
    let counters = witness.pairs()[1].counters;
    assert_eq!((counters.granted, counters.refused), (2, 4));
}

#[test]
fn two_pairs_know_nothing_of_each_other() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut a = Asker::new(A, 1);
    assert_eq!(a.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
    let mut other = Asker::of("branch", 2, B, 1);
    let reply = other.ask(&mut witness, AWAITS, TAKE);
    assert_eq!((reply.verdict, reply.ledger.excluded), (Verdict::Done, None));
    assert!(directory.ledger("office").exists() && directory.ledger("branch").exists());
    // The other pair's key does not open this one's ledger.
    let mut thief = Asker::of("office", 2, B, 3);
    let refused = thief.once(&mut witness, AWAITS, Wish::Query);
    assert_eq!(refused, Err(Unanswered::Refused(Refused::WrongKey)));
    let mut stranger = Asker::of("nowhere", 1, B, 3);
    let refused = stranger.once(&mut witness, AWAITS, Wish::Query);
    assert_eq!(refused, Err(Unanswered::Refused(Refused::WrongPair)));
    let office = witness.pairs()[1];
    assert_eq!((office.name.as_str(), office.refused.of(Refused::WrongKey)), ("office", 1));
    assert_eq!(witness.strangers.of(Refused::WrongPair), 1);
}

#[test]
fn the_old_key_is_accepted_and_answered_with() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut old = Asker::of("office", 9, A, 1);
    // `hear` opens the answer with the asker's own key alone.
    assert_eq!(old.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
    old.key = key(1);
    assert_eq!(old.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
}

#[test]
fn what_was_recorded_changes_nothing() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let (mut a, mut b) = (Asker::new(A, 1), Asker::new(B, 2));
    a.ask(&mut witness, AWAITS, Wish::Query);
    let (recorded, mut answer) = (a.request(TAKE), Vec::new());
    let mut replay = |witness: &mut _, now, datagram: &[u8]| {
        let witness: &mut duotone::witness::service::Service = witness;
        witness.answer(at(now), a.from, datagram, fresh, &mut answer)
    };
    assert_eq!(replay(&mut witness, AWAITS, &recorded), Ok(()));
    assert_eq!(replay(&mut witness, AWAITS, &recorded), Err(Unanswered::Stale), "twice");
    b.term = 6;
    assert_eq!(b.ask(&mut witness, AWAITS + 3_000, TAKE).verdict, Verdict::Done);
    // A's next life is the one that counts; what its last one said is of the past.
    let mut next = Asker::new(A, 3);
    next.ask(&mut witness, AWAITS + 3_000, Wish::Query);
    let before = *witness.pairs()[1].witness.ledger();
    assert_eq!(replay(&mut witness, AWAITS + 9_000, &recorded), Ok(()), "introduced, no more");
    assert_eq!(*witness.pairs()[1].witness.ledger(), before);
    assert_eq!(replay(&mut witness, AWAITS + 9_000, &recorded), Ok(()));
    assert_eq!(*witness.pairs()[1].witness.ledger(), before);
    assert_eq!(
        next.once(&mut witness, AWAITS + 9_000, Wish::Query).unwrap().verdict,
        Verdict::Done
    );
}

#[test]
fn the_other_direction_and_other_datagrams_are_no_requests() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut a = Asker::new(A, 1);
    let (datagram, mut answer) = (a.request(Wish::Query), Vec::new());
    witness.answer(at(1), a.from, &datagram, fresh, &mut answer).unwrap();
    assert!(answer.len() <= datagram.len(), "no more comes out than went in");
    let heartbeat = made::heartbeat(NodeId::A, Session(1), 1);
    let mut beat = Vec::new();
    encode(&heartbeat, LinkSet(0), &a.pair, &a.key, &mut beat);
    for stray in [answer, beat, b"hello".to_vec(), Vec::new()] {
        let mut none = Vec::new();
        let refused = witness.answer(at(2), a.from, &stray, fresh, &mut none);
        assert!(matches!(refused, Err(Unanswered::Refused(_))), "{refused:?}");
        assert!(none.is_empty());
    }
    assert_eq!(witness.strangers.of(Refused::Magic), 3);
    assert_eq!(witness.strangers.of(Refused::TooShort), 1);
}

#[path = "../made/mod.rs"]
mod made;
