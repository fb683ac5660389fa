//! The real-time thread: heartbeats, the LAN, timers, and the node itself, so that an echo and a
//! decision cannot race and a beating heart always has a thinking head.
//!
//! It never blocks, logs or takes a lock. One turn is `turn.rs`; what the slow world gets to know
//! is `report.rs`, what it says goes through `queue.rs`. Everything else here does one outside
//! thing: `clock`, `realtime`, `links`, `exchange`, which speaks heartbeats over the links, and
//! `witness_link`.

pub mod address;
pub mod announce;
pub mod arp;
pub mod clock;
pub mod exchange;
pub mod frames;
pub mod lan;
pub mod links;
pub mod listen;
pub mod ndp;
pub mod neighbours;
pub mod netlink;
pub mod probe;
pub mod queue;
pub mod realtime;
pub mod report;
mod route_messages;
mod turn;
mod watch;
pub mod witness_link;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::config::Floating;
use crate::protocol::action::Action;
use crate::protocol::event::Event;
use crate::protocol::node::{Node, Setup};
use crate::protocol::time::Instant;
use exchange::Exchange;
use links::HardwareAddress;
use queue::{Letter, Post, post_box};
use report::{Outlets, Reporter, queues};
use turn::{Pace, Turning};
use witness_link::WitnessLink;

/// Letters that may wait for the pulse.
const LETTERS: usize = 256;

/// The LAN as the pulse uses it: probes, addresses and announcements, without waiting. A trait
/// because the loop's tests run it over a LAN without a kernel.
pub trait LanSide {
    /// What to poll for reading.
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>>;
    /// Reads what has arrived; `ready` says, in the order of `fds`, where something has, as polled
    /// after `now` was read.
    fn drain(
        &mut self,
        now: Instant,
        ready: &mut dyn Iterator<Item = bool>,
        events: &mut Vec<Event>,
    );
    /// Carries out one of `ProbeLan`, `HoldAddresses`, `ReleaseAddresses` and `Announce`; ends in
    /// the event that the action names.
    fn perform(&mut self, now: Instant, action: &Action, events: &mut Vec<Event>);
    /// The node stands by and has no question about the floating addresses: true when the standby
    /// keeps the interface down, so that nothing can be asked.
    fn rests(&mut self, events: &mut Vec<Event>) -> bool;
    /// From now on this hardware address is the peer's.
    fn learn_peer_mac(&mut self, address: HardwareAddress);
    /// From now on these are the group's addresses and references; what is held and no longer
    /// configured is given up at once, and what is missing shows in the fresh look that follows.
    fn reconfigure(&mut self, floating: Floating, events: &mut Vec<Event>);
    /// Why the last thing that failed did, once.
    fn take_trouble(&mut self) -> Option<String>;
}

/// The running thread, as the slow world holds it.
#[derive(Debug)]
pub struct Pulse {
    post: Post,
    beats: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// The thread ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("the pulse thread died: {0}")]
pub struct Died(String);

/// Starts the thread with a node that knows nothing but its disk, and with `letters`, which it reads
/// before its first turn; there is room for them. The sockets of `exchange`, `witness` and
/// `lan` are of the network namespace in which the caller opened them; the thread opens them again
/// in the caller's.
///
/// # Errors
/// The kernel gives no thread or no event descriptor.
pub fn start<L: LanSide + Send + 'static>(
    setup: Setup,
    exchange: Exchange,
    lan: L,
    witness: Option<WitnessLink>,
    letters: Vec<Letter>,
) -> std::io::Result<(Pulse, Outlets)> {
    let (post, inbox) = post_box(LETTERS)?;
    for letter in letters {
        post.send(letter).map_err(std::io::Error::other)?;
    }
    let (inlets, outlets) = queues();
    let beats = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&beats);
    let thread = std::thread::Builder::new().name("pulse".to_owned()).spawn(move || {
        let reporter = Reporter::new(inlets, realtime::acquire());
        let now = clock::now();
        let turning = Turning {
            node: Node::new(setup, now),
            exchange,
            lan,
            witness,
            inbox,
            reporter,
            beats: counter,
            pace: Pace::new(now),
            config_hash: None,
            maintenance: false,
            ready: Vec::new(),
            produced: Vec::new(),
            events: Vec::new(),
            stopped: false,
        };
        turning.run();
    })?;
    Ok((Pulse { post, beats, thread }, outlets))
}

impl Pulse {
    /// Where to write to it.
    pub fn post(&self) -> Post {
        self.post.clone()
    }

    /// Turns so far. While this number grows, the node thinks and the addresses are renewed:
    /// systemd's watchdog is to be fed only then.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// The thread lives.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for the thread, which ends after `Letter::Stop`.
    ///
    /// # Errors
    /// It panicked; the message says where.
    pub fn join(self) -> Result<(), Died> {
        self.thread.join().map_err(|payload| {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Died(text.unwrap_or_else(|| "no message".to_owned()))
        })
    }
}

impl LanSide for lan::Lan {
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        lan::Lan::fds(self)
    }

    fn drain(
        &mut self,
        now: Instant,
        ready: &mut dyn Iterator<Item = bool>,
        events: &mut Vec<Event>,
    ) {
        lan::Lan::drain_ready(self, now, ready, events);
    }

    fn perform(&mut self, now: Instant, action: &Action, events: &mut Vec<Event>) {
        lan::Lan::perform(self, now, action, events);
    }

    fn rests(&mut self, events: &mut Vec<Event>) -> bool {
        lan::Lan::rests(self, events)
    }

    fn learn_peer_mac(&mut self, address: HardwareAddress) {
        lan::Lan::learn_peer_mac(self, address);
    }

    fn reconfigure(&mut self, floating: Floating, events: &mut Vec<Event>) {
        lan::Lan::reconfigure(self, floating, events);
    }

    fn take_trouble(&mut self) -> Option<String> {
        lan::Lan::take_trouble(self).map(|trouble| trouble.to_string())
    }
}
