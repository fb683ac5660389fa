//! A stranger on the LAN, and a daemon with the wrong key or another pair's name: counted, told,
//! and without effect.

use std::time::Duration;

use duotone::config::Link;
use duotone::protocol::health::Health;
use duotone::protocol::heartbeat::{GroupReport, Heartbeat, Stance};
use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::pulse::clock::{self, Reading};
use duotone::pulse::exchange::{Exchange, Identity};
use duotone::pulse::links::Links;
use duotone::wire::key::KEY_LEN;
use duotone::wire::{Key, Keys, PairTag, Refused};
use serde_json::Value;

use crate::made;
use crate::pair::{KEY, Pair, Wanted};
use crate::world::{HOSTS, X, soon};

fn lan() -> [Link; 1] {
    [Link::Ethernet { interface: "eth0".into() }]
}

/// How often a node has refused something for this reason on the LAN.
fn refused(pair: &Pair, node: usize, reason: Refused) -> u64 {
    let links = &pair.status(node)["links"];
    let ethernet =
        links.as_array().and_then(|all| all.iter().find(|one| one["kind"] == "ethernet"));
    ethernet.map_or(0, |link| link["refused"][reason.to_string()].as_u64().unwrap_or(0))
}

fn key() -> Key {
    let bytes: Vec<u8> =
        (0..KEY_LEN).map(|at| u8::from_str_radix(&KEY[2 * at..2 * at + 2], 16).unwrap()).collect();
    Key::new(&bytes.try_into().unwrap())
}

/// What claims to serve with a term above all others.
fn claim(node: NodeId, sequence: u64) -> Heartbeat {
    let term = Term { counter: 1000, node };
    Heartbeat {
        stance: Stance::Active,
        term,
        served: term,
        certifying: true,
        groups: vec![GroupReport { serving: true, health: Health::GOOD, finds_peer_failed: false }],
        ..made::heartbeat(node, Session(99), sequence)
    }
}

fn speak(pair: &Pair, node: NodeId, key: Key, name: &str) {
    let keys = Keys { current: key, old: None };
    let identity = Identity { node, session: Session(99), pair: PairTag::of(name), keys };
    pair.world.within(X, || {
        let late = Duration::from_millis(200);
        let mut exchange = Exchange::new(Links::open(&lan()), identity, late);
        for sequence in 1..=20 {
            exchange.send(clock::now(), &claim(node, sequence));
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Everything on the LAN, for half a second.
fn record(pair: &Pair) -> Vec<Vec<u8>> {
    pair.world.within(X, || {
        let mut links = Links::open(&lan());
        let mut tape = Vec::new();
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(10));
            links.drain(Reading::now(), |arrival| tape.push(arrival.bytes.to_vec()));
        }
        tape
    })
}

fn play(pair: &Pair, tape: &[Vec<u8>]) {
    pair.world.within(X, || {
        let mut links = Links::open(&lan());
        for datagram in tape {
            links.send(clock::now(), datagram);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

#[test]
fn strangers_are_counted_by_name_and_change_nothing() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    let node = NodeId::ALL[active];

    speak(&pair, node, Key::new(&[9; KEY_LEN]), "office");
    speak(&pair, node, key(), "branch");
    play(&pair, &vec![b"GET / HTTP/1.0 and some more of that".to_vec(); 5]);
    for (reason, times) in [(Refused::WrongKey, 20), (Refused::WrongPair, 20), (Refused::Magic, 5)]
    {
        for at in 0..2 {
            soon(&format!("{reason}"), || refused(&pair, at, reason) >= times);
            let line = format!("link eth0 (ethernet): a datagram was refused: {reason}");
            assert_eq!(pair.log(at).matches(&line).count(), 1, "said once: {line}");
        }
    }
    let human = pair.ask(standby, &["status"]).out;
    assert!(human.contains(&format!("{} 20", Refused::WrongKey)), "{human}");

    let tape = record(&pair);
    assert!(tape.len() >= 8, "the LAN carries heartbeats: {}", tape.len());
    play(&pair, &tape);
    soon("replays are counted", || refused(&pair, standby, Refused::Replayed) >= 4);

    // A daemon that starts anew does not fall for what its peer said long ago, be it before it has
    // heard the peer, or after.
    pair.terminate(standby);
    pair.start(standby);
    soon("it listens", || !pair.status(standby).is_null());
    play(&pair, &tape);
    assert_eq!(pair.settle(), active);
    play(&pair, &tape);
    soon("what was said long ago is refused", || {
        let replayed = refused(&pair, standby, Refused::Replayed);
        replayed + refused(&pair, standby, Refused::UnknownSession) > 0
    });
    assert_eq!(pair.settle(), active);
    assert_eq!(pair.status(active)["term"], term);
    pair.ownership.assert_never_two();
}

#[test]
fn a_node_with_another_key_or_name_takes_nothing_and_says_why() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    let wrong = |pair: &mut Pair, reason: Refused| {
        pair.start(standby);
        for node in 0..2 {
            soon("it is counted", || {
                let links = pair.status(node)["links"].as_array().cloned().unwrap_or_default();
                links.len() == 2
                    && links.iter().all(|link| link["refused"][reason.to_string()] != Value::Null)
            });
        }
        soon("the LAN says that the other serves", || {
            let status = pair.status(standby);
            status["why"] == "somebody holds or claims the floating address"
        });
        std::thread::sleep(Duration::from_secs(1));
        assert!(pair.serves(active) && !pair.serves(standby));
        assert!(pair.log(standby).contains(&format!("was refused: {reason}")));
        pair.kill(standby);
    };
    pair.kill(standby);
    pair.write_key(HOSTS[standby], &KEY.replace("00", "01"));
    wrong(&mut pair, Refused::WrongKey);
    pair.write_key(HOSTS[standby], KEY);
    let file = pair.world.files(HOSTS[standby]).join("duotone.toml");
    std::fs::write(file, pair.text().replace("\"office\"", "\"branch\"")).unwrap();
    wrong(&mut pair, Refused::WrongPair);

    pair.configure();
    pair.start(standby);
    assert_eq!(pair.settle(), active);
    assert_eq!(pair.status(active)["term"], term);
    pair.ownership.assert_never_two();
}
