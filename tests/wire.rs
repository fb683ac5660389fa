//! Heartbeats as bytes: every value survives the way, and no hostile datagram does harm.

mod made;

use duotone::protocol::health::{Grade, Health};
use duotone::protocol::heartbeat::{Echo, GroupReport, Heartbeat, Promise, Stance};
use duotone::protocol::identity::{GroupId, NodeId, Session, Term};
use duotone::protocol::log::{Fork, Log};
use duotone::protocol::time::Duration;
use duotone::wire::heartbeat::DATAGRAM_LEN;
use duotone::wire::key::KEY_LEN;
use duotone::wire::{Key, Keys, LinkSet, PairTag, Received, Refused, decode, encode};
use proptest::option;
use proptest::prelude::*;

const OWN: (NodeId, Session) = (NodeId::A, Session(1));

fn key(byte: u8) -> Key {
    Key::new(&[byte; KEY_LEN])
}

fn keys(byte: u8) -> Keys {
    Keys { current: key(byte), old: None }
}

fn pair() -> PairTag {
    PairTag::of("office")
}

fn bytes(heartbeat: &Heartbeat, heard: LinkSet) -> Vec<u8> {
    let mut datagram = vec![0xff; 3];
    encode(heartbeat, heard, &pair(), &key(1), &mut datagram);
    datagram
}

fn opened(datagram: &[u8]) -> Result<Received, Refused> {
    decode(datagram, &pair(), &keys(1), OWN)
}

fn plain() -> Heartbeat {
    Heartbeat {
        stance: Stance::Active,
        term: Term { counter: 4, node: NodeId::B },
        certifying: true,
        groups: vec![GroupReport { serving: true, health: Health::GOOD, finds_peer_failed: false }],
        config_hash: 9,
        ..made::heartbeat(NodeId::B, Session(2), 3)
    }
}

/// Signs again what a test has changed.
fn resigned(mut datagram: Vec<u8>) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([datagram[6], datagram[7]]));
    datagram.truncate(length);
    let tag = key(1).tag(&datagram);
    datagram.extend_from_slice(&tag);
    datagram
}

fn term() -> impl Strategy<Value = Term> {
    let node = prop::sample::select(&NodeId::ALL[..]);
    (any::<u64>(), node).prop_map(|(counter, node)| Term { counter, node })
}

fn grade() -> impl Strategy<Value = Grade> {
    prop::sample::select(&Grade::ALL[..])
}

fn log() -> impl Strategy<Value = Log> {
    let fork = (any::<u32>(), any::<u64>(), term()).prop_map(|(timeline, at, term)| Fork {
        timeline,
        at,
        branch: (term != Term::ZERO).then_some(term),
    });
    let forks = prop::collection::vec(fork, 0..=Log::MAX_FORKS);
    (any::<u32>(), any::<u64>(), forks, option::of(term()), any::<bool>()).prop_map(
        |(timeline, position, forks, branch, unfinished)| Log {
            timeline,
            position,
            forks,
            branch,
            unfinished,
        },
    )
}

prop_compose! {
    fn any_heartbeat()(
        (session, sequence, config_hash) in (any::<u64>(), 1u64.., any::<u64>()),
        echo in option::of((any::<u64>(), 1u64.., any::<u64>())),
        stance in prop::sample::select(&Stance::ALL[..]),
        promise in prop_oneof![
            Just(Promise::None),
            any::<u64>().prop_map(|nanos| Promise::For(Duration::from_nanos(nanos))),
            Just(Promise::Leaving),
        ],
        terms in (term(), term(), term()),
        marks in any::<[bool; 4]>(),
        log in option::of(log()),
        system_id in option::of(any::<u64>()),
        groups in prop::collection::vec(
            (any::<bool>(), grade(), grade(), grade()), 0..=GroupId::MAX),
        software in any::<[u16; 3]>(),
    ) -> Heartbeat {
        Heartbeat {
            node: NodeId::B,
            session: Session(session),
            sequence,
            echo: echo.map(|(session, sequence, age)| Echo {
                session: Session(session), sequence, age: Duration::from_nanos(age),
            }),
            stance,
            promise,
            term: terms.0,
            served: terms.1,
            lone: terms.2,
            certifying: marks[0],
            certified: marks[1],
            excludes_you: marks[2],
            log,
            system_id,
            groups: groups.into_iter().map(|(serving, database, network, services)| {
                let health = Health { database, network, services };
                let finds_peer_failed = serving ^ (services == Grade::Failed);
                GroupReport { serving, health, finds_peer_failed }
            }).collect(),
            software,
            config_hash,
            maintenance: marks[3],
        }
    }
}

proptest! {
    #[test]
    fn every_heartbeat_survives_the_way(heartbeat in any_heartbeat(), heard in any::<u16>()) {
        let datagram = bytes(&heartbeat, LinkSet(heard));
        prop_assert_eq!(datagram.len(), DATAGRAM_LEN);
        prop_assert_eq!(opened(&datagram), Ok(Received { heartbeat, heard: LinkSet(heard) }));
    }

    #[test]
    fn random_bytes_are_refused(datagram in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(opened(&datagram).is_err());
    }

    /// Random fields under a tag that fits: the parser itself.
    #[test]
    fn random_fields_under_a_good_tag_do_no_harm(
        fields in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        let mut datagram = bytes(&plain(), LinkSet(0));
        datagram.truncate(24);
        datagram.extend_from_slice(&fields);
        let length = (datagram.len() as u16).to_be_bytes();
        datagram[6..8].copy_from_slice(&length);
        match opened(&resigned(datagram)) {
            Ok(received) => {
                prop_assert!(received.heartbeat.groups.len() <= GroupId::MAX);
                let forks = received.heartbeat.log.map_or(0, |log| log.forks.len());
                prop_assert!(forks <= Log::MAX_FORKS);
            }
            Err(reason) => prop_assert!(
                matches!(reason, Refused::TooShort | Refused::Malformed
                    | Refused::Reflected | Refused::SameNode), "{reason:?}"),
        }
    }

    /// The same, one byte at a time, from a good heartbeat: reaches every field's bounds.
    #[test]
    fn a_changed_field_under_a_good_tag_does_no_harm(
        heartbeat in any_heartbeat(), at in 24usize..DATAGRAM_LEN - 32, value in any::<u8>()
    ) {
        let mut datagram = bytes(&heartbeat, LinkSet(0));
        datagram[at] = value;
        if let Err(reason) = opened(&resigned(datagram)) {
            prop_assert!(matches!(reason, Refused::Malformed | Refused::SameNode), "{reason:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(heartbeat in any_heartbeat(), bit in 0..DATAGRAM_LEN * 8) {
        let mut datagram = bytes(&heartbeat, LinkSet(0));
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(opened(&datagram).is_err());
    }
}

#[test]
fn cut_short_anywhere_is_refused_as_such() {
    let datagram = bytes(&plain(), LinkSet(0));
    for length in 0..datagram.len() {
        assert_eq!(opened(&datagram[..length]), Err(Refused::TooShort), "{length} bytes");
    }
}

#[test]
fn padding_of_the_carrier_is_ignored() {
    let mut datagram = bytes(&plain(), LinkSet(0));
    datagram.extend_from_slice(&[0; 40]);
    assert_eq!(opened(&datagram).map(|received| received.heartbeat), Ok(plain()));
}

#[test]
fn a_neighbouring_version_is_understood_and_a_far_one_refused() {
    let mut next = bytes(&plain(), LinkSet(5));
    next.truncate(DATAGRAM_LEN - 32);
    next.extend_from_slice(b"a field of the next version");
    let length = (next.len() as u16).to_be_bytes();
    next[6..8].copy_from_slice(&length);
    for (version, understood) in [(0, false), (1, true), (2, true), (3, false), (255, false)] {
        next[4] = version;
        let expected = if understood {
            Ok(Received { heartbeat: plain(), heard: LinkSet(5) })
        } else {
            Err(Refused::Version)
        };
        assert_eq!(opened(&resigned(next.clone())), expected, "version {version}");
    }
}

#[test]
fn wrong_pair_and_wrong_key_are_told_apart() {
    let datagram = bytes(&plain(), LinkSet(0));
    let elsewhere = PairTag::of("branch");
    assert_eq!(decode(&datagram, &elsewhere, &keys(1), OWN), Err(Refused::WrongPair));
    // A wrong pair is a wrong pair whatever its key.
    assert_eq!(decode(&datagram, &elsewhere, &keys(2), OWN), Err(Refused::WrongPair));
    assert_eq!(decode(&datagram, &pair(), &keys(2), OWN), Err(Refused::WrongKey));
}

#[test]
fn both_keys_are_accepted_while_they_are_changed() {
    let datagram = bytes(&plain(), LinkSet(0));
    let changing = Keys { current: key(2), old: Some(key(1)) };
    assert!(decode(&datagram, &pair(), &changing, OWN).is_ok());
    let changed = Keys { current: key(1), old: Some(key(3)) };
    assert!(decode(&datagram, &pair(), &changed, OWN).is_ok());
}

#[test]
fn my_own_heartbeat_and_my_double_are_told_apart() {
    let datagram = bytes(&plain(), LinkSet(0));
    let own = (NodeId::B, Session(2));
    assert_eq!(decode(&datagram, &pair(), &keys(1), own), Err(Refused::Reflected));
    let double = (NodeId::B, Session(3));
    assert_eq!(decode(&datagram, &pair(), &keys(1), double), Err(Refused::SameNode));
}

#[test]
fn a_long_history_loses_its_oldest_forks() {
    let forks: Vec<Fork> =
        (1..=11).map(|timeline| Fork { timeline, at: 7, branch: None }).collect();
    let log = Log { timeline: 12, position: 9, forks, branch: None, unfinished: false };
    let sent = Heartbeat { log: Some(log), ..plain() };
    let received = opened(&bytes(&sent, LinkSet(0))).unwrap().heartbeat.log.unwrap();
    let timelines: Vec<u32> = received.forks.iter().map(|fork| fork.timeline).collect();
    assert_eq!(timelines, [4, 5, 6, 7, 8, 9, 10, 11]);
}

/// The bytes themselves: a change of the layout is a change of the protocol.
#[test]
fn the_layout_is_as_documented() {
    let datagram = bytes(&plain(), LinkSet(0x0102));
    assert_eq!(datagram[..8], *b"duot\x01\x01\x01\x4f");
    assert_eq!(datagram[8..24], *pair().as_bytes());
    assert_eq!(datagram[24..28], [1, 6, 0, 0b10]);
    assert_eq!(datagram[28..44], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(datagram[44..68], [0; 24]);
    assert_eq!(datagram[68], 1);
    assert_eq!(datagram[69..77], 250_000_000u64.to_be_bytes());
    assert_eq!(datagram[77..86], [0, 0, 0, 0, 0, 0, 0, 4, 1]);
    assert_eq!(datagram[302..307], [1, 1, 2, 2, 2]);
    assert_eq!(datagram[319..335], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2]);
}

/// RFC 4231, test case 2; its key is shorter than a block, as ours is, and padded the same way.
#[test]
fn the_tag_is_hmac_sha256() {
    let mut padded = [0; KEY_LEN];
    padded[..4].copy_from_slice(b"Jefe");
    let tag = Key::new(&padded).tag(b"what do ya want for nothing?");
    let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[test]
fn a_key_is_never_printed() {
    assert_eq!(format!("{:?}", key(7)), "Key(..)");
}
