//! Two hosts as network namespaces, gone when the test is.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use duotone::config::Link;
use duotone::protocol::event::Event;
use duotone::protocol::heartbeat::{Echo, Heartbeat};
use duotone::protocol::identity::{NodeId, Session};
use duotone::protocol::time::Instant;
use duotone::pulse::clock::{self, Reading};
use duotone::pulse::exchange::{Direction, Exchange, Hearing, Identity, LinkStatus};
use duotone::pulse::links::Links;
use duotone::wire::key::KEY_LEN;
use duotone::wire::{Key, Keys, PairTag};
use nix::sched::{CloneFlags, setns};

use crate::made;

pub const LATELY: Duration = Duration::from_millis(1000);

/// Two namespaces and the cables between them.
pub struct Hosts {
    names: [String; 2],
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Hosts {
    /// `None`, with a message, when this process may not make namespaces.
    pub fn new() -> Option<Hosts> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (network namespaces)");
            return None;
        }
        let unique = format!("dtl{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let hosts = Hosts { names: [format!("{unique}a"), format!("{unique}b")] };
        let [a, b] = &hosts.names;
        for name in &hosts.names {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        for interface in ["eth0", "eth1"] {
            hosts.plug(interface);
        }
        for (name, last) in [(a, 1), (b, 2)] {
            ip(&format!("-n {name} addr add 10.9.0.{last}/24 dev eth1"));
            ip(&format!("-n {name} addr add fd09::{last}/64 dev eth1 nodad"));
        }
        Some(hosts)
    }

    /// Lays a cable between the two.
    pub fn plug(&self, interface: &str) {
        let [a, b] = &self.names;
        ip(&format!("-n {a} link add {interface} type veth peer name {interface} netns {b}"));
        for name in &self.names {
            ip(&format!("-n {name} link set {interface} addrgenmode none"));
            ip(&format!("-n {name} link set {interface} up"));
        }
    }

    /// Runs `ip` with these arguments on one host.
    pub fn ip(&self, host: NodeId, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.names[host.index()]));
    }

    /// Moves the calling thread, and what it opens from now on, to this host.
    pub fn enter(&self, host: NodeId) {
        let path = format!("/run/netns/{}", self.names[host.index()]);
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// The hardware address of an interface.
    pub fn hardware_address(&self, host: NodeId, interface: &str) -> [u8; 6] {
        let name = &self.names[host.index()];
        let output =
            Command::new("ip").args(["-n", name, "-br", "link", "show", interface]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let digits = text.split_whitespace().nth(2).unwrap();
        let bytes: Vec<u8> =
            digits.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// UDP over IPv4 and IPv6 on `eth1`, Ethernet on `eth0`, as seen by this node.
pub fn every_kind(me: NodeId) -> Vec<Link> {
    vec![
        udp(me, "10.9.0.1:7331", "10.9.0.2:7331"),
        udp(me, "[fd09::1]:7331", "[fd09::2]:7331"),
        ethernet(),
    ]
}

pub fn udp(me: NodeId, a: &str, b: &str) -> Link {
    let (local, peer) = match me {
        NodeId::A => (a, b),
        NodeId::B => (b, a),
    };
    Link::Udp {
        interface: "eth1".into(),
        local: local.parse().unwrap(),
        peer: peer.parse().unwrap(),
    }
}

pub fn ethernet() -> Link {
    Link::Ethernet { interface: "eth0".into() }
}

pub fn identity(node: NodeId, session: u64) -> Identity {
    Identity {
        node,
        session: Session(session),
        pair: PairTag::of("office"),
        keys: Keys { current: Key::new(&[1; KEY_LEN]), old: None },
    }
}

/// One node's end of the links, without a node: it says what the test wants.
pub struct End<'a> {
    pub hosts: &'a Hosts,
    pub node: NodeId,
    pub session: Session,
    pub sequence: u64,
    pub echo: Option<Echo>,
    pub exchange: Exchange,
}

impl<'a> End<'a> {
    pub fn open(hosts: &'a Hosts, links: &[Link], identity: Identity) -> End<'a> {
        hosts.enter(identity.node);
        let (node, session) = (identity.node, identity.session);
        let exchange = Exchange::new(Links::open(links), identity, LATELY);
        End { hosts, node, session, sequence: 0, echo: None, exchange }
    }

    /// Sends the next heartbeat on every link.
    pub fn beat(&mut self) {
        self.sequence += 1;
        let heartbeat = self.heartbeat();
        self.hosts.enter(self.node);
        self.exchange.send(clock::now(), &heartbeat);
    }

    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { echo: self.echo, ..made::heartbeat(self.node, self.session, self.sequence) }
    }

    /// Takes what has arrived: sequence and arrival of each new heartbeat.
    pub fn drain(&mut self) -> Vec<(u64, Instant)> {
        let mut events = Vec::new();
        self.exchange.drain(Reading::now(), &mut events);
        let mut heard = Vec::new();
        for event in events {
            let Event::HeartbeatReceived { heartbeat, at } = event else { panic!("{event:?}") };
            let (session, sequence) = (heartbeat.session, heartbeat.sequence);
            self.echo = Some(Echo { session, sequence, age: Duration::ZERO });
            heard.push((sequence, at));
        }
        heard
    }

    pub fn status(&self) -> Vec<LinkStatus> {
        self.exchange.status(clock::now())
    }

    pub fn hearing(&self, link: usize) -> Hearing {
        self.status()[link].hearing
    }

    pub fn directions(&self) -> Vec<Direction> {
        self.status().iter().map(|link| link.direction).collect()
    }
}

/// Both speak and listen, `times` over, in the rhythm of the `fast` preset.
pub fn converse(a: &mut End<'_>, b: &mut End<'_>, times: usize) {
    for _ in 0..times {
        a.beat();
        b.beat();
        std::thread::sleep(Duration::from_millis(10));
        a.drain();
        b.drain();
    }
}

/// Tries until it is so, for as long as a busy machine may need.
pub fn soon(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}
