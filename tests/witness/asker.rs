//! One node's side, and a service with its own directory.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use duotone::config::{WitnessConfig, WitnessPair};
use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::protocol::time::{Duration, Instant};
use duotone::protocol::witness::{Reply, Request, Verdict, Wish};
use duotone::wire::witness::{decode_reply, encode_request};
use duotone::wire::{Key, Keys, PairTag};
use duotone::witness::service::{Service, Unanswered};

pub const A: NodeId = NodeId::A;
pub const B: NodeId = NodeId::B;
pub const TAKE: Wish = Wish::Grant { despite_exclusion: false };
pub const GRANT: Duration = Duration::from_millis(2_000);
pub const CERTIFICATE: Duration = Duration::from_millis(3_000);
/// For so long does a witness without memory wait.
pub const AWAITS: u64 = 5_000;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory that is gone when the test is.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("duotone-witness-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// A key file with this byte, and 32 others.
    pub fn key(&self, name: &str, byte: u8) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, format!("{byte:02x}{}\n", "5a".repeat(31))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub fn ledger(&self, pair: &str) -> PathBuf {
        self.state().join(format!("{pair}.ledger"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn key(byte: u8) -> Key {
    let mut bytes = [0x5a; 32];
    bytes[0] = byte;
    Key::new(&bytes)
}

/// A witness of the pairs `office` (key 1, old key 9) and `branch` (key 2).
pub fn config(directory: &Directory) -> WitnessConfig {
    let pair = |name: &str, new: u8, old: Option<u8>| WitnessPair {
        name: name.to_owned(),
        key_file: directory.key(&format!("{name}.key"), new),
        old_key_file: old.map(|old| directory.key(&format!("{name}-old.key"), old)),
    };
    WitnessConfig {
        listen: Vec::new(),
        state_dir: directory.state(),
        socket: directory.0.join("control.sock"),
        syslog: false,
        pairs: vec![pair("office", 1, Some(9)), pair("branch", 2, None)],
    }
}

pub fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

pub fn service(directory: &Directory, now: u64) -> Service {
    Service::begin(&config(directory), at(now)).unwrap()
}

pub fn fresh() -> Option<u64> {
    getrandom::u64().ok()
}

/// One life of one node.
pub struct Asker {
    pub node: NodeId,
    pub pair: PairTag,
    pub key: Key,
    pub session: Session,
    pub from: SocketAddr,
    pub term: u64,
    pub grant: Duration,
    pub certificate: Duration,
    pub sequence: u64,
    pub ticket: u64,
}

impl Asker {
    pub fn new(node: NodeId, session: u64) -> Asker {
        let from = format!("192.0.2.{}:4000", node.index() + 1);
        Asker {
            node,
            pair: PairTag::of("office"),
            key: key(1),
            session: Session(session),
            from: from.parse().unwrap(),
            term: 5,
            grant: GRANT,
            certificate: CERTIFICATE,
            sequence: 0,
            ticket: 0,
        }
    }

    pub fn of(pair: &str, byte: u8, node: NodeId, session: u64) -> Asker {
        Asker { pair: PairTag::of(pair), key: key(byte), ..Asker::new(node, session) }
    }

    /// The next request.
    pub fn request(&mut self, wish: Wish) -> Vec<u8> {
        self.sequence += 1;
        let request = Request {
            node: self.node,
            session: self.session,
            sequence: self.sequence,
            ticket: self.ticket,
            term: Term { counter: self.term, node: self.node },
            grant: self.grant,
            certificate: self.certificate,
            wish,
        };
        let mut datagram = Vec::new();
        encode_request(&request, &self.pair, &self.key, &mut datagram);
        datagram
    }

    /// Takes an answer.
    pub fn hear(&mut self, datagram: &[u8]) -> Reply {
        let keys = Keys { current: self.key.clone(), old: None };
        let own = (self.node, self.session);
        let reply = decode_reply(datagram, &self.pair, &keys, own).expect("an answer to this node");
        self.ticket = reply.ticket;
        reply
    }

    /// Asks once.
    pub fn once(
        &mut self,
        service: &mut Service,
        now: u64,
        wish: Wish,
    ) -> Result<Reply, Unanswered> {
        let (datagram, mut answer) = (self.request(wish), Vec::new());
        service.answer(at(now), self.from, &datagram, fresh, &mut answer)?;
        let reply = self.hear(&answer);
        assert_eq!(reply.sequence, self.sequence);
        Ok(reply)
    }

    /// Asks, and again when it was introduced by that.
    #[track_caller]
    pub fn ask(&mut self, service: &mut Service, now: u64, wish: Wish) -> Reply {
        let reply = self.once(service, now, wish).expect("an answer");
        match reply.verdict {
            Verdict::Introduced => self.once(service, now, wish).expect("an answer"),
            Verdict::Done | Verdict::Refused(_) => reply,
        }
    }
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
