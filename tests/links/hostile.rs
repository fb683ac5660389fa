//! What a stranger, a neighbour, a misconfigured host and a recorder can do: be counted.

use duotone::protocol::identity::NodeId::{A, B};
use duotone::pulse::clock::{self, Reading};
use duotone::pulse::links::Links;
use duotone::wire::key::KEY_LEN;
use duotone::wire::{Key, Keys, PairTag, Refused};

use crate::net::{End, Hosts, converse, ethernet, every_kind, identity, soon};

#[test]
fn a_wrong_key_and_a_wrong_pair_are_counted_apart_on_every_link() {
    let Some(hosts) = Hosts::new() else { return };
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    let mut wrong_key = identity(A, 10);
    wrong_key.keys.current = Key::new(&[2; KEY_LEN]);
    let mut wrong_pair = identity(A, 11);
    wrong_pair.pair = PairTag::of("branch");
    let mut double = identity(A, 12);
    double.node = B;
    for (mut stranger, reason) in [
        (wrong_key, Refused::WrongKey),
        (wrong_pair, Refused::WrongPair),
        (double, Refused::SameNode),
    ] {
        // The sockets are A's whatever the stranger says that it is.
        let node = std::mem::replace(&mut stranger.node, A);
        let mut a = End::open(&hosts, &every_kind(A), stranger);
        for _ in 0..3 {
            a.sequence += 1;
            let mut heartbeat = a.heartbeat();
            heartbeat.node = node;
            a.exchange.send(clock::now(), &heartbeat);
        }
        soon("refusals", || {
            assert_eq!(b.drain(), [], "{reason}");
            (0..3).all(|link| b.hearing(link).refused.of(reason) == 3)
        });
        assert_eq!(b.hearing(0).last_refused.map(|(_, reason)| reason), Some(reason));
    }
    for link in 0..3 {
        assert_eq!(b.hearing(link).refused.total(), 9);
        assert_eq!((b.hearing(link).received, b.hearing(link).last_heard), (0, None));
    }
}

#[test]
fn keys_are_changed_without_a_gap() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &[ethernet()], identity(A, 10));
    let mut b = End::open(&hosts, &[ethernet()], identity(B, 20));
    let (old, new) = (|| Key::new(&[1; KEY_LEN]), || Key::new(&[2; KEY_LEN]));
    converse(&mut a, &mut b, 2);
    // First both accept the new one, then both send with it, then the old one is withdrawn.
    let accept = Keys { current: old(), old: Some(new()) };
    let switch = Keys { current: new(), old: Some(old()) };
    let finish = Keys { current: new(), old: None };
    for keys in [accept, switch, finish] {
        a.exchange.set_keys(keys.current.clone(), keys.old.clone());
        converse(&mut a, &mut b, 2);
        b.exchange.set_keys(keys.current, keys.old);
        converse(&mut a, &mut b, 2);
    }
    soon("every heartbeat", || {
        a.drain();
        b.drain();
        [&a, &b].map(|end| end.hearing(0).received) == [14, 14]
    });
    assert_eq!(b.hearing(0).refused.total(), 0);
}

/// Everything that a third party on the wire of `eth0` sees of A, to be played back.
struct Recorder(Links, Vec<Vec<u8>>);

impl Recorder {
    fn new(hosts: &Hosts) -> Recorder {
        hosts.enter(B);
        Recorder(Links::open(&[ethernet()]), Vec::new())
    }

    fn record(&mut self) {
        let Recorder(links, tape) = self;
        links.drain(Reading::now(), |arrival| tape.push(arrival.bytes.to_vec()));
    }

    fn play(&self, hosts: &Hosts) {
        hosts.enter(A);
        let mut links = Links::open(&[ethernet()]);
        for datagram in &self.1 {
            links.send(clock::now(), datagram);
        }
    }
}

#[test]
fn a_recorded_session_is_refused_while_it_lives_and_for_ever_after() {
    let Some(hosts) = Hosts::new() else { return };
    let mut recorder = Recorder::new(&hosts);
    let mut a = End::open(&hosts, &[ethernet()], identity(A, 10));
    let mut b = End::open(&hosts, &[ethernet()], identity(B, 20));
    converse(&mut a, &mut b, 40);
    recorder.record();
    assert_eq!(recorder.1.len(), 40);

    recorder.play(&hosts);
    soon("forty replays", || {
        assert_eq!(b.drain(), [], "a replayed heartbeat was new");
        b.hearing(0).refused.of(Refused::Replayed) == 40
    });
    // A recorded heartbeat says nothing about the link either.
    assert_eq!(b.hearing(0).received, 40);

    // A restarts: its first heartbeats do not echo B yet, the later ones do.
    let mut restarted = End::open(&hosts, &[ethernet()], identity(A, 11));
    restarted.beat();
    soon("a session without proof", || {
        assert_eq!(b.drain(), []);
        b.hearing(0).refused.of(Refused::UnknownSession) == 1
    });
    converse(&mut restarted, &mut b, 3);
    assert_eq!(b.echo.map(|echo| echo.session), Some(restarted.session));

    recorder.play(&hosts);
    soon("forty heartbeats of a session that is over", || {
        assert_eq!(b.drain(), [], "a session came back from the dead");
        b.hearing(0).refused.of(Refused::UnknownSession) >= 41
    });
    converse(&mut restarted, &mut b, 2);
    assert_eq!(b.echo.map(|echo| echo.session), Some(restarted.session));
}

#[test]
fn a_stranger_on_our_ethertype_is_counted_and_heartbeats_go_on() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &[ethernet()], identity(A, 10));
    let mut b = End::open(&hosts, &[ethernet()], identity(B, 20));
    hosts.enter(A);
    let mut stranger = Links::open(&[ethernet()]);
    for round in 0..10u8 {
        for length in [1, 46, 300, 1500] {
            stranger.send(clock::now(), &vec![round; length]);
        }
        converse(&mut a, &mut b, 1);
    }
    soon("everything", || {
        b.drain();
        b.hearing(0).received == 10 && b.hearing(0).refused.total() >= 40
    });
    let hearing = b.hearing(0);
    assert!(hearing.refused.of(Refused::Magic) >= 30, "{hearing:?}");
    assert_eq!(hearing.refused.total(), 40, "{hearing:?}");
}
