use super::*;
use crate::protocol::heartbeat::{Promise, Stance};
use crate::protocol::identity::{NodeId, Term};
use crate::protocol::time::Duration;
use proptest::prelude::*;

const ME: Session = Session(77);

fn heartbeat(session: u64, sequence: u64, echo: Option<u64>) -> Heartbeat {
    Heartbeat {
        node: NodeId::B,
        session: Session(session),
        sequence,
        echo: echo.map(|sequence| Echo { session: ME, sequence, age: Duration::ZERO }),
        stance: Stance::Standby,
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

/// A peer of session 1 that has proved itself: it came when I had sent 3 and echoes 4.
fn proven() -> Admission {
    let mut admission = Admission::new(ME, 2);
    admission.sending(3);
    assert_eq!(admission.admit(&heartbeat(1, 1, None), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.proven(), None);
    admission.sending(4);
    assert_eq!(admission.admit(&heartbeat(1, 2, Some(4)), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.proven(), Some(Session(1)));
    admission
}

#[test]
fn the_same_on_another_link_is_a_copy_and_on_the_same_link_a_replay() {
    let mut admission = proven();
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(4)), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(4)), 1), Ok(Verdict::Copy));
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(4)), 0), Err(Refused::Replayed));
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(4)), 1), Err(Refused::Replayed));
}

#[test]
fn overtaken_within_the_window_is_stale_and_below_it_a_replay() {
    let mut admission = proven();
    assert_eq!(admission.admit(&heartbeat(1, 100, None), 0), Ok(Verdict::Fresh));
    assert_eq!(
        admission.admit(&heartbeat(1, 100 - REORDERED - 1, None), 1),
        Err(Refused::Replayed)
    );
    assert_eq!(admission.admit(&heartbeat(1, 100 - REORDERED, None), 1), Ok(Verdict::Stale));
    assert_eq!(admission.admit(&heartbeat(1, 99, None), 1), Ok(Verdict::Stale));
    assert_eq!(admission.admit(&heartbeat(1, 98, None), 1), Err(Refused::Replayed), "went back");
    assert_eq!(admission.admit(&heartbeat(1, 101, None), 1), Ok(Verdict::Fresh));
}

#[test]
fn a_one_way_peer_is_passed_until_one_has_proved_itself() {
    let mut admission = Admission::new(ME, 1);
    admission.sending(9);
    for sequence in 1..20 {
        assert_eq!(admission.admit(&heartbeat(1, sequence, None), 0), Ok(Verdict::Fresh));
    }
    // It restarts, still one-way.
    assert_eq!(admission.admit(&heartbeat(2, 1, None), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.proven(), None);
}

#[test]
fn an_echo_of_what_was_sent_before_it_came_proves_nothing() {
    let mut admission = Admission::new(ME, 1);
    admission.sending(9);
    assert_eq!(admission.admit(&heartbeat(1, 1, Some(9)), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.proven(), None);
}

#[test]
fn a_restarted_peer_is_admitted_when_it_has_heard_me() {
    let mut admission = proven();
    assert_eq!(admission.admit(&heartbeat(2, 1, None), 0), Err(Refused::UnknownSession));
    admission.sending(5);
    assert_eq!(admission.admit(&heartbeat(2, 2, Some(5)), 0), Ok(Verdict::Fresh));
    assert_eq!(admission.proven(), Some(Session(2)));
}

#[test]
fn a_superseded_session_never_comes_back() {
    let mut admission = proven();
    admission.sending(8);
    // Heartbeats of session 1 were withheld on the way; its last one echoed 8.
    let withheld = heartbeat(1, 50, Some(8));
    admission.sending(9);
    assert_eq!(admission.admit(&heartbeat(2, 1, Some(6)), 0), Ok(Verdict::Fresh));
    admission.sending(30);
    assert_eq!(admission.admit(&withheld, 0), Err(Refused::UnknownSession));
    assert_eq!(admission.admit(&withheld, 1), Err(Refused::UnknownSession));
}

#[test]
fn a_recorded_session_of_an_earlier_life_of_mine_is_refused() {
    let mut admission = proven();
    let mut recorded = heartbeat(5, 1000, None);
    for sequence in 1000..2000 {
        recorded.sequence = sequence;
        recorded.echo = Some(Echo { session: Session(76), sequence, age: Duration::ZERO });
        assert_eq!(admission.admit(&recorded, 0), Err(Refused::UnknownSession));
    }
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(4)), 0), Ok(Verdict::Fresh));
}

#[test]
fn recorded_sessions_do_not_keep_the_peer_from_proving_itself() {
    let mut admission = Admission::new(ME, 1);
    let mut sequence = 0;
    for turn in 1..50 {
        admission.sending(turn);
        for recorded in 100..100 + UNPROVEN as u64 - 1 {
            let _ = admission.admit(&heartbeat(recorded, turn, None), 0);
        }
        sequence += 1;
        assert_eq!(admission.admit(&heartbeat(1, sequence, Some(turn)), 0), Ok(Verdict::Fresh));
    }
    assert_eq!(admission.proven(), Some(Session(1)));
    assert_eq!(admission.admit(&heartbeat(100, 50, None), 0), Err(Refused::UnknownSession));
}

#[test]
fn an_echo_from_the_future_is_refused() {
    let mut admission = proven();
    assert_eq!(admission.admit(&heartbeat(1, 3, Some(5)), 0), Err(Refused::EchoOfUnsent));
    assert_eq!(admission.admit(&heartbeat(2, 3, Some(5)), 0), Err(Refused::EchoOfUnsent));
}

proptest! {
    /// A peer lives through several daemon lives; a recorder plays anything back at any time, to
    /// an admission that has met a proven session. Nothing of an earlier life is admitted after a
    /// later one was, and no sequence is fresh twice.
    #[test]
    fn nothing_recorded_is_fresh(
        steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), 0usize..2), 1..300)
    ) {
        let mut admission = proven();
        let (mut mine, mut heard) = (4, 4);
        let (mut life, mut sequence) = (1, 2);
        let mut tape = vec![heartbeat(1, 1, None), heartbeat(1, 2, Some(4))];
        let mut newest = (1, 2);
        for (step, pick, link) in steps {
            match step {
                0 => {
                    mine += 1;
                    admission.sending(mine);
                }
                1 => {
                    life += 1;
                    (sequence, heard) = (0, 0);
                }
                2 => {
                    sequence += 1;
                    if pick.index(3) > 0 {
                        heard = mine;
                    }
                    tape.push(heartbeat(life, sequence, (heard > 0).then_some(heard)));
                }
                _ => {
                    let played = pick.get(&tape);
                    let at = (played.session.0, played.sequence);
                    let verdict = admission.admit(played, link);
                    if verdict == Ok(Verdict::Fresh) {
                        prop_assert!(at > newest, "{at:?} after {newest:?}");
                        newest = at;
                    } else if verdict.is_ok() {
                        prop_assert_eq!(at.0, newest.0);
                    }
                }
            }
        }
    }
}
