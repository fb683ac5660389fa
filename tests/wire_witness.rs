//! Words with the witness as bytes: every value survives the way, no hostile datagram does harm, and
//! nothing is taken for something else.

mod made;

use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::protocol::time::Duration;
use duotone::protocol::witness::{Holder, Ledger, Refusal, Reply, Request, Verdict, Wish};
use duotone::wire::key::KEY_LEN;
use duotone::wire::witness::{
    REPLY_LEN, REQUEST_LEN, decode_reply, encode_reply, encode_request, open_request,
    sealed_request,
};
use duotone::wire::{Key, Keys, LinkSet, PairTag, Refused, decode, encode};
use proptest::prelude::*;

const OWN: (NodeId, Session) = (NodeId::A, Session(7));

fn key(byte: u8) -> Key {
    Key::new(&[byte; KEY_LEN])
}

fn keys(byte: u8) -> Keys {
    Keys { current: key(byte), old: None }
}

fn pair() -> PairTag {
    PairTag::of("office")
}

fn asked(request: &Request) -> Vec<u8> {
    let mut datagram = vec![0xff; 3];
    encode_request(request, &pair(), &key(1), &mut datagram);
    datagram
}

fn answered(reply: &Reply) -> Vec<u8> {
    let mut datagram = vec![0xff; 3];
    encode_reply(reply, &pair(), &key(1), &mut datagram);
    datagram
}

fn opened(datagram: &[u8]) -> Result<Request, Refused> {
    let sealed = sealed_request(datagram)?;
    if sealed.pair != *pair().as_bytes() {
        return Err(Refused::WrongPair);
    }
    open_request(&sealed, &keys(1)).map(|(request, _)| request)
}

fn heard(datagram: &[u8]) -> Result<Reply, Refused> {
    decode_reply(datagram, &pair(), &keys(1), OWN)
}

/// Signs again what a test has changed.
fn resigned(mut datagram: Vec<u8>) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([datagram[6], datagram[7]]));
    datagram.truncate(length);
    let tag = key(1).tag(&datagram);
    datagram.extend_from_slice(&tag);
    datagram
}

fn node() -> impl Strategy<Value = NodeId> {
    prop::sample::select(&NodeId::ALL[..])
}

fn term() -> impl Strategy<Value = Term> {
    (any::<u64>(), node()).prop_map(|(counter, node)| Term { counter, node })
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        Just(Wish::Query),
        any::<bool>().prop_map(|despite_exclusion| Wish::Grant { despite_exclusion }),
        Just(Wish::Exclude),
        Just(Wish::Clear),
        Just(Wish::Release),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let refusals = [
        Refusal::LowerTerm,
        Refusal::HeldByPeer,
        Refusal::Excluded,
        Refusal::NotHolder,
        Refusal::NoMemory,
    ];
    prop_oneof![
        Just(Verdict::Introduced),
        Just(Verdict::Done),
        prop::sample::select(refusals.to_vec()).prop_map(Verdict::Refused),
    ]
}

prop_compose! {
    fn any_request()(
        node in node(), wish in wish(), term in term(),
        (session, sequence, ticket) in (any::<u64>(), 1u64.., any::<u64>()),
        (grant, certificate) in any::<(u64, u64)>(),
    ) -> Request {
        Request {
            node, wish, term, sequence, ticket,
            session: Session(session),
            grant: Duration::from_nanos(grant),
            certificate: Duration::from_nanos(certificate),
        }
    }
}

prop_compose! {
    fn any_reply()(
        verdict in verdict(),
        (sequence, ticket) in any::<(u64, u64)>(),
        holder in prop::option::of((node(), term(), any::<u64>(), any::<bool>())),
        excluded in prop::option::of(node()),
    ) -> Reply {
        let holder = holder.map(|(node, term, grant, released)| {
            Holder { node, term, grant: Duration::from_nanos(grant), released }
        });
        let ledger = Ledger { holder, excluded };
        Reply { node: OWN.0, session: OWN.1, sequence, ticket, verdict, ledger }
    }
}

proptest! {
    #[test]
    fn every_request_survives_the_way(request in any_request()) {
        let datagram = asked(&request);
        prop_assert_eq!(datagram.len(), REQUEST_LEN);
        prop_assert_eq!(sealed_request(&datagram).unwrap().says(),
            Some((request.node, request.session)));
        prop_assert_eq!(opened(&datagram), Ok(request));
    }

    #[test]
    fn every_reply_survives_the_way(reply in any_reply()) {
        let datagram = answered(&reply);
        prop_assert_eq!(datagram.len(), REPLY_LEN);
        prop_assert_eq!(heard(&datagram), Ok(reply));
    }

    #[test]
    fn neither_is_ever_taken_for_the_other_or_for_a_heartbeat(
        request in any_request(), reply in any_reply()
    ) {
        let (asked, answered) = (asked(&request), answered(&reply));
        prop_assert_eq!(heard(&asked), Err(Refused::Magic));
        prop_assert_eq!(opened(&answered), Err(Refused::Magic));
        for datagram in [&asked, &answered] {
            prop_assert_eq!(decode(datagram, &pair(), &keys(1), OWN), Err(Refused::Magic));
        }
        // Not even when somebody rewrites the kind.
        for (datagram, kind) in [(&asked, 2), (&answered, 1)] {
            let mut datagram = datagram.clone();
            datagram[5] = kind;
            prop_assert!(opened(&datagram).is_err() && heard(&datagram).is_err());
        }
    }

    #[test]
    fn random_bytes_are_refused(datagram in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(opened(&datagram).is_err() && heard(&datagram).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused(
        request in any_request(), reply in any_reply(), bit in 0..REPLY_LEN * 8
    ) {
        let (mut asked, mut answered) = (asked(&request), answered(&reply));
        asked[bit / 8] ^= 1 << (bit % 8);
        answered[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(opened(&asked).is_err() && heard(&answered).is_err());
    }

    /// Random fields under a tag that fits: the parsers themselves.
    #[test]
    fn a_changed_field_under_a_good_tag_does_no_harm(
        request in any_request(), reply in any_reply(),
        at in 24usize..REPLY_LEN - 32, value in any::<u8>()
    ) {
        let (mut asked, mut answered) = (asked(&request), answered(&reply));
        (asked[at], answered[at]) = (value, value);
        if let Err(reason) = opened(&resigned(asked)) {
            prop_assert_eq!(reason, Refused::Malformed);
        }
        if let Err(reason) = heard(&resigned(answered)) {
            prop_assert!(matches!(reason, Refused::Malformed | Refused::UnknownSession));
        }
    }

    #[test]
    fn cut_short_anywhere_is_refused_as_such(
        request in any_request(), reply in any_reply(), length in 0..REPLY_LEN
    ) {
        prop_assert_eq!(opened(&asked(&request)[..length]), Err(Refused::TooShort));
        prop_assert_eq!(heard(&answered(&reply)[..length]), Err(Refused::TooShort));
    }
}

fn plain_reply() -> Reply {
    Reply {
        node: OWN.0,
        session: OWN.1,
        sequence: 3,
        ticket: 4,
        verdict: Verdict::Done,
        ledger: Ledger::default(),
    }
}

fn plain_request() -> Request {
    Request {
        node: NodeId::B,
        session: Session(2),
        sequence: 3,
        ticket: 4,
        term: Term { counter: 5, node: NodeId::B },
        grant: Duration::from_nanos(6),
        certificate: Duration::from_nanos(7),
        wish: Wish::Grant { despite_exclusion: true },
    }
}

#[test]
fn a_heartbeat_is_neither() {
    let mut heartbeat = Vec::new();
    let from_b = made::heartbeat(NodeId::B, Session(2), 3);
    encode(&from_b, LinkSet(0), &pair(), &key(1), &mut heartbeat);
    assert_eq!(opened(&heartbeat), Err(Refused::Magic));
    assert_eq!(heard(&heartbeat), Err(Refused::Magic));
}

#[test]
fn an_answer_to_the_peer_or_to_an_earlier_life_is_none() {
    for (node, session) in [(NodeId::B, OWN.1), (OWN.0, Session(8))] {
        let datagram = answered(&Reply { node, session, ..plain_reply() });
        assert_eq!(heard(&datagram), Err(Refused::UnknownSession));
    }
}

#[test]
fn pair_key_and_version_are_told_apart() {
    let datagram = answered(&plain_reply());
    let elsewhere = PairTag::of("branch");
    assert_eq!(decode_reply(&datagram, &elsewhere, &keys(1), OWN), Err(Refused::WrongPair));
    assert_eq!(decode_reply(&datagram, &pair(), &keys(2), OWN), Err(Refused::WrongKey));
    let both = Keys { current: key(2), old: Some(key(1)) };
    assert_eq!(decode_reply(&datagram, &pair(), &both, OWN), Ok(plain_reply()));
    let mut far = datagram.clone();
    far[4] = 3;
    assert_eq!(heard(&resigned(far)), Err(Refused::Version));
    let mut neighbour = datagram;
    neighbour[4] = 2;
    assert_eq!(heard(&resigned(neighbour)), Ok(plain_reply()));
}

#[test]
fn the_asker_s_own_key_is_told_while_keys_are_changed() {
    let datagram = asked(&plain_request());
    let changing = Keys { current: key(2), old: Some(key(1)) };
    let sealed = sealed_request(&datagram).unwrap();
    let (request, with) = open_request(&sealed, &changing).unwrap();
    assert_eq!(request, plain_request());
    assert_eq!(with.tag(b"x"), key(1).tag(b"x"));
    assert_eq!(open_request(&sealed, &keys(2)).err(), Some(Refused::WrongKey));
}

/// The bytes themselves: a change of the layout is a change of the protocol.
#[test]
fn the_layout_is_as_documented() {
    let request = asked(&plain_request());
    assert_eq!(request[..8], *b"duow\x01\x01\x00\x4b");
    assert_eq!(request[8..24], *pair().as_bytes());
    assert_eq!(request[24..26], [1, 2]);
    assert_eq!(request[26..34], 2u64.to_be_bytes());
    assert_eq!(request[34..42], 3u64.to_be_bytes());
    assert_eq!(request[42..50], 4u64.to_be_bytes());
    assert_eq!(request[50..59], [0, 0, 0, 0, 0, 0, 0, 5, 1]);
    assert_eq!(request[59..75], [0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7]);
    let reply = answered(&plain_reply());
    assert_eq!(reply[..8], *b"duow\x01\x02\x00\x46");
    assert_eq!(reply[24..26], [0, 1]);
    assert_eq!(reply[50..70], [0; 20]);
}
