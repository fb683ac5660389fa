//! Floods: who has proved itself never waits, and nobody else waits for ever.

use std::net::SocketAddr;

use duotone::protocol::witness::{Verdict, Wish};
use duotone::witness::service::{Service, Unanswered};

use crate::asker::{A, AWAITS, Asker, B, Directory, TAKE, at, fresh, service};

/// Requests that nobody signed, as from this source.
fn forged(witness: &mut Service, now: u64, from: SocketAddr, count: u32) -> u32 {
    let mut liar = Asker::of("office", 77, B, 666);
    let datagram = liar.request(TAKE);
    let mut answer = Vec::new();
    let mut limited = 0;
    for _ in 0..count {
        let refused = witness.answer(at(now), from, &datagram, fresh, &mut answer);
        limited += u32::from(refused == Err(Unanswered::Limited));
        assert!(refused.is_err() && answer.is_empty());
    }
    limited
}

#[test]
fn a_flood_in_the_holder_s_name_does_not_keep_it_from_renewing() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut a = Asker::new(A, 1);
    assert_eq!(a.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
    for round in 0..20 {
        let now = AWAITS + round * 10;
        let _ = forged(&mut witness, now, a.from, 1_000);
        assert_eq!(a.once(&mut witness, now, TAKE).expect("renewed").verdict, Verdict::Done);
    }
    assert!(witness.limited > 10_000, "most cost no tag: {}", witness.limited);
}

#[test]
fn a_node_that_starts_in_a_flood_is_heard_soon() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut b = Asker::new(B, 2);
    // The worst: from its own network, so that its budget is spent before it asks.
    let mut asked = 0;
    let done = (0..200).any(|round| {
        let now = AWAITS + round * 10;
        let _ = forged(&mut witness, now, b.from, 100);
        asked += 1;
        match b.once(&mut witness, now, Wish::Query) {
            Ok(reply) => reply.verdict == Verdict::Done,
            Err(why) => {
                assert_eq!(why, Unanswered::Limited);
                false
            }
        }
    });
    assert!(done, "not heard in {asked} attempts");
    // From another network it is heard at once.
    let other = Directory::new();
    let mut witness = service(&other, 0);
    let mut b = Asker { from: "198.51.100.7:4000".parse().unwrap(), ..Asker::new(B, 3) };
    let _ = forged(&mut witness, 0, "192.0.2.1:1".parse().unwrap(), 5_000);
    assert_eq!(b.ask(&mut witness, 0, Wish::Query).verdict, Verdict::Done);
}

#[test]
fn what_is_no_request_spends_no_budget() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut b = Asker::new(B, 2);
    let mut answer = Vec::new();
    for _ in 0..50_000 {
        let refused = witness.answer(at(0), b.from, b"garbage of any kind", fresh, &mut answer);
        assert!(matches!(refused, Err(Unanswered::Refused(_))));
    }
    assert_eq!(witness.limited, 0);
    assert_eq!(b.ask(&mut witness, 0, Wish::Query).verdict, Verdict::Done);
}
