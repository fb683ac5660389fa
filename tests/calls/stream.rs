//! The connection that the lists go over: what the peer sends arrives, and nothing else does.

use std::net::SocketAddr;
use std::time::Duration;

use duotone::adapters::live::{Incoming, StreamError, Who, accept, connect, listen};
use duotone::protocol::identity::NodeId;
use duotone::wire::key::KEY_LEN;
use duotone::wire::stream::{Conversation, FRAME_MAX, HELLO_LEN, hello, length, open_hello};
use duotone::wire::{Key, Keys, PairTag, Refused};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::command::runtime;

const LONG: Duration = Duration::from_secs(60);

fn key(byte: u8) -> Key {
    Key::new(&[byte; KEY_LEN])
}

fn who(node: NodeId, byte: u8) -> Who {
    let keys = Keys { current: key(byte), old: None };
    Who { node, pair: PairTag::of("office"), keys }
}

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Listens as node A, and sends these texts to whoever is let in; where.
fn active(me: Who, texts: Vec<Vec<u8>>) -> SocketAddr {
    let listener = listen(here()).unwrap();
    let at = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (me, texts) = (me.clone(), texts.clone());
            tokio::task::spawn_local(async move {
                if let Ok(mut outgoing) = accept(stream, &me).await {
                    for text in texts {
                        if outgoing.send(&text).await.is_err() {
                            return;
                        }
                    }
                    outgoing.closed().await;
                }
            });
        }
    });
    at
}

fn local<F: Future>(work: F) -> F::Output {
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime(), work)
}

async fn call(at: SocketAddr, me: &Who) -> Result<Incoming, StreamError> {
    connect(here(), at, me).await
}

#[test]
fn texts_arrive_in_order_up_to_the_largest() {
    local(async {
        let texts = vec![b"one".to_vec(), vec![b'x'; FRAME_MAX], b"three".to_vec()];
        let at = active(who(NodeId::A, 1), texts.clone());
        let mut incoming = call(at, &who(NodeId::B, 1)).await.unwrap();
        for text in texts {
            assert!(incoming.next(LONG).await.unwrap() == text);
        }
        let silent = incoming.next(Duration::from_millis(100)).await;
        assert!(matches!(silent, Err(StreamError::Slow(_))), "{silent:?}");
    });
}

#[test]
fn while_keys_are_changed_both_are_understood() {
    local(async {
        let both = Keys { current: key(2), old: Some(key(1)) };
        let at = active(Who { keys: both, ..who(NodeId::A, 2) }, vec![b"list".to_vec()]);
        for byte in [1, 2] {
            let mut incoming = call(at, &who(NodeId::B, byte)).await.unwrap();
            assert_eq!(incoming.next(LONG).await.unwrap(), b"list");
        }
    });
}

#[test]
fn strangers_are_told_nothing() {
    local(async {
        let at = active(who(NodeId::A, 1), vec![b"secret".to_vec()]);
        let wrong_key = call(at, &who(NodeId::B, 9)).await;
        assert!(wrong_key.is_err(), "{wrong_key:?}");
        assert!(call(at, &who(NodeId::A, 1)).await.is_err(), "the same node");
        let other_pair = Who { pair: PairTag::of("home"), ..who(NodeId::B, 1) };
        assert!(call(at, &other_pair).await.is_err(), "another pair");
        for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; HELLO_LEN], &[0xff; 4096]] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let _ = stream.write_all(nonsense).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "{answer:?}");
        }
    });
}

/// Whoever has recorded a greeting gets a welcome for it, and no list.
#[test]
fn a_hello_that_is_played_back_brings_nothing() {
    local(async {
        let at = active(who(NodeId::A, 1), vec![b"secret".to_vec()]);
        let recorded = hello(&PairTag::of("office"), NodeId::B, &[7; 16], &key(1));
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&recorded).await.unwrap();
        stream.write_all(&[0; 32]).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer.len(), 48, "the welcome alone");
    });
}

#[test]
fn an_active_node_without_the_key_is_not_believed() {
    local(async {
        let at = active(who(NodeId::A, 9), vec![b"lies".to_vec()]);
        assert!(call(at, &who(NodeId::B, 1)).await.is_err());
        // One that answers anything at all.
        let listener = TcpListener::bind(here()).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(&[0x55; 4096]).await;
            let _ = stream.read(&mut [0; 4096]).await;
        });
        let told = call(at, &who(NodeId::B, 1)).await;
        assert!(matches!(told, Err(StreamError::Refused(Refused::WrongKey))), "{told:?}");
    });
}

/// What a man in the middle does to the active node's words after the greetings.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    Damage,
    Repeat,
    LeaveOut,
    Lengthen,
    CutOff,
}

const FRAME: usize = 4 + 4 + 32;

async fn between(mischief: Mischief, active: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(here()).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let (mut standby, _) = listener.accept().await.unwrap();
        let mut active = TcpStream::connect(active).await.unwrap();
        pass(&mut standby, &mut active, HELLO_LEN).await;
        pass(&mut active, &mut standby, 48).await;
        pass(&mut standby, &mut active, 32).await;
        pass(&mut active, &mut standby, FRAME).await;
        let mut frame = [0; FRAME];
        active.read_exact(&mut frame).await.unwrap();
        match mischief {
            Mischief::Damage => frame[5] ^= 1,
            Mischief::Repeat => {}
            Mischief::LeaveOut => {
                active.read_exact(&mut frame).await.unwrap();
            }
            Mischief::Lengthen => frame[..4].copy_from_slice(&u32::MAX.to_be_bytes()),
            Mischief::CutOff => {
                let _ = standby.write_all(&frame[..FRAME - 1]).await;
                return;
            }
        }
        standby.write_all(&frame).await.unwrap();
        let _ = standby.write_all(&frame).await;
        let _ = standby.read(&mut [0]).await;
    });
    at
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    from.read_exact(&mut buffer).await.unwrap();
    to.write_all(&buffer).await.unwrap();
}

#[test]
fn nothing_is_changed_played_back_or_left_out_on_the_way() {
    let texts = ["one!", "two!", "tri!"].map(|text| text.as_bytes().to_vec()).to_vec();
    for mischief in [
        Mischief::Damage,
        Mischief::Repeat,
        Mischief::LeaveOut,
        Mischief::Lengthen,
        Mischief::CutOff,
    ] {
        local(async {
            let at = between(mischief, active(who(NodeId::A, 1), texts.clone())).await;
            let mut incoming = call(at, &who(NodeId::B, 1)).await.unwrap();
            assert_eq!(incoming.next(LONG).await.unwrap(), b"one!");
            if matches!(mischief, Mischief::Repeat) {
                assert_eq!(incoming.next(LONG).await.unwrap(), b"two!");
            }
            let told = incoming.next(LONG).await;
            assert!(told.is_err(), "{mischief:?}: {told:?}");
            assert!(!matches!(told, Err(StreamError::Slow(_))), "{mischief:?}: {told:?}");
        });
    }
}

/// A standby that reads nothing loses its connection; the active node is not held up for ever.
#[test]
fn who_does_not_read_is_dropped() {
    local(async {
        let listener = listen(here()).unwrap();
        let at = listener.local_addr().unwrap();
        let me = who(NodeId::B, 1);
        let calling = tokio::task::spawn_local(async move { call(at, &me).await.unwrap() });
        let (stream, _) = listener.accept().await.unwrap();
        let mut outgoing = accept(stream, &who(NodeId::A, 1)).await.unwrap();
        let idle = calling.await.unwrap();
        let text = vec![b'x'; FRAME_MAX];
        let mut sent = 0;
        let told = loop {
            match outgoing.send(&text).await {
                Ok(()) if sent < 100 => sent += 1,
                ended => break ended,
            }
        };
        assert!(matches!(told, Err(StreamError::Slow(_))), "after {sent} frames: {told:?}");
        drop(idle);
        assert!(matches!(outgoing.send(&[]).await, Err(StreamError::Frame)), "no empty frame");
    });
}

#[test]
fn a_length_that_cannot_be_is_none() {
    assert_eq!((length(0), length(1)), (None, Some(1)));
    assert_eq!(length(FRAME_MAX as u32), Some(FRAME_MAX));
    assert_eq!((length(FRAME_MAX as u32 + 1), length(u32::MAX)), (None, None));
}

proptest! {
    #[test]
    fn one_bit_is_enough_to_be_refused(bit in 0..HELLO_LEN * 8) {
        let pair = PairTag::of("office");
        let keys = who(NodeId::A, 1).keys;
        let mut bytes = hello(&pair, NodeId::B, &[3; 16], &key(1));
        prop_assert!(open_hello(&bytes, &pair, &keys, NodeId::A).is_ok());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open_hello(&bytes, &pair, &keys, NodeId::A).is_err());
    }

    #[test]
    fn a_frame_is_of_its_place_and_conversation(text in proptest::collection::vec(any::<u8>(), 1..200)) {
        let pair = PairTag::of("office");
        let talk = |own: u8| Conversation::new(&pair, (&[1; 16], &[own; 16]), &key(1));
        let (mut from, mut to, mut other) = (talk(2), talk(2), talk(3));
        prop_assert!(to.welcomed(&from.welcome()) && from.proved(&to.proof()));
        prop_assert!(!other.welcomed(&from.welcome()) && !from.proved(&from.welcome()));
        let frame = from.frame(&text).unwrap();
        let (body, tag) = frame[4..].split_at(text.len());
        prop_assert_eq!(body, &text[..]);
        prop_assert!(!other.is_next(body, tag));
        prop_assert!(to.is_next(body, tag));
        prop_assert!(!to.is_next(body, tag), "a second time");
    }
}
