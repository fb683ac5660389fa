//! One turn of the pulse: drain everything, let the node judge, do what it wants, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::LanSide;
use super::clock::{self, Reading};
use super::exchange::Exchange;
use super::queue::{Inbox, Letter};
use super::report::{Recorded, Reporter, SNAPSHOT_EVERY};
use super::witness_link::WitnessLink;
use crate::protocol::action::Action;
use crate::protocol::event::Event;
use crate::protocol::lead::Authority;
use crate::protocol::node::Node;
use crate::protocol::time::{Duration, Instant};

/// The thread's own state.
pub(super) struct Turning<L> {
    pub node: Node,
    pub exchange: Exchange,
    pub lan: L,
    pub witness: Option<WitnessLink>,
    pub inbox: Inbox,
    pub reporter: Reporter,
    pub beats: Arc<AtomicU64>,
    pub pace: Pace,
    /// The hash of a configuration that was read again; the node knows the one of its start.
    pub config_hash: Option<u64>,
    /// Heartbeats say so.
    pub maintenance: bool,
    /// Which descriptors have something to read, in the order of [`Turning::polled`].
    pub ready: Vec<bool>,
    /// What actions have produced; the node is told in the next turn, which begins at once, after
    /// the sockets were drained again: what it judges is never older than they are.
    pub produced: Vec<Event>,
    pub events: Vec<Event>,
    pub stopped: bool,
}

impl<L: LanSide> Turning<L> {
    pub fn run(mut self) {
        while !self.stopped {
            let due = self.wait();
            let begun = Reading::now();
            self.reporter.began(begun.boot, due);
            self.turn(begun);
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
        self.reporter.tell();
    }

    /// Waits until something has arrived or a deadline is there; returns the deadline.
    fn wait(&mut self) -> Instant {
        let now = clock::now();
        if !self.produced.is_empty() {
            return now;
        }
        let due = self.node.next_deadline().min(now + SNAPSHOT_EVERY);
        let rest = self.pace.rest(now);
        self.reporter.lateness.rests += u64::from(rest.is_some());
        let mut fds = match rest {
            None => self.polled(),
            Some(_) => Vec::new(),
        };
        let span = due.since(now).min(rest.unwrap_or(Duration::MAX));
        // An interrupted wait is a wait that has ended.
        let _ = poll(&mut fds, Some(&timespec(span)));
        due
    }

    /// Everything that wakes the pulse: links, witness, LAN, letters.
    fn polled(&self) -> Vec<PollFd<'_>> {
        let witness = self.witness.iter().flat_map(WitnessLink::fds);
        let all = self.exchange.fds().chain(witness).chain(self.lan.fds());
        let all = all.chain([self.inbox.fd()]);
        all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect()
    }

    /// Asks, after `begun` was read, which descriptors have something to read: what is not ready
    /// has delivered everything that arrived until then, and need not be read to know that.
    fn look(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let mut fds = self.polled();
        let looked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        // Where the kernel did not tell, every one is read.
        ready.extend(fds.iter().map(|fd| looked.is_err() || !fd.revents().is_empty()));
        self.ready = ready;
    }

    fn turn(&mut self, begun: Reading) {
        let now = begun.boot;
        self.look();
        let mut events = std::mem::take(&mut self.events);
        events.append(&mut self.produced);
        let letters = self.ready.pop() != Some(false);
        let mut ready = self.ready.iter().copied();
        self.exchange.drain_ready(begun, &mut ready, &mut events);
        if let Some(witness) = &mut self.witness {
            witness.drain_ready(now, &mut ready, &mut events);
        }
        for address in self.exchange.peer_addresses() {
            self.lan.learn_peer_mac(address);
        }
        self.lan.drain(now, &mut ready, &mut events);
        let (stopped, lan) = (&mut self.stopped, &mut self.lan);
        let (config_hash, maintenance) = (&mut self.config_hash, &mut self.maintenance);
        let mut open = |letter| match letter {
            Letter::Event(event) => events.push(event),
            Letter::Configuration { floating, hash } => {
                *config_hash = Some(hash);
                if let Some(floating) = floating {
                    lan.reconfigure(floating, &mut events);
                }
            }
            Letter::Maintenance(is) => *maintenance = is,
            Letter::Stop => *stopped = true,
        };
        if letters {
            self.inbox.drain(&mut open);
        }
        events.push(Event::Tick);
        self.reporter.begin_again(now, &self.node);
        let before = self.node.authority();
        for event in events.drain(..) {
            self.reporter.record(now, Recorded::Event(event.clone()));
            for action in self.node.handle(now, event) {
                self.perform(action);
            }
        }
        self.events = events;
        for (authority, why) in self.node.decided(before) {
            self.reporter.record(now, Recorded::Authority(authority, why));
        }
        if let Some(trouble) = self.lan.take_trouble() {
            self.reporter.record(now, Recorded::LanTrouble(trouble));
        }
        self.reporter.publish(now, &self.node, &self.exchange, self.witness.as_ref());
    }

    fn perform(&mut self, mut action: Action) {
        let now = clock::now();
        if let Action::SendHeartbeat(heartbeat) = &mut action {
            heartbeat.config_hash = self.config_hash.unwrap_or(heartbeat.config_hash);
            heartbeat.maintenance = self.maintenance;
        }
        match &action {
            Action::SendHeartbeat(heartbeat) => self.exchange.send(now, heartbeat),
            // A question about the references alone is a standby's that has nothing to fear.
            Action::ProbeLan { floating: false, .. }
                if self.node.authority().0 == Authority::Standby
                    && self.lan.rests(&mut self.produced) =>
            {
                return self.reporter.record(now, Recorded::Rested(action));
            }
            Action::ProbeLan { .. }
            | Action::HoldAddresses { .. }
            | Action::ReleaseAddresses { .. }
            | Action::Announce { .. } => self.lan.perform(now, &action, &mut self.produced),
            Action::AskWitness(request) => {
                if let Some(witness) = &mut self.witness {
                    witness.send(request);
                }
            }
            Action::SaveState { .. }
            | Action::Database { .. }
            | Action::Services { .. }
            | Action::PowerOffPeer { .. } => {
                return self.reporter.order(now, action);
            }
        }
        self.reporter.record(now, Recorded::Action(action));
    }
}

fn timespec(span: Duration) -> Timespec {
    // A wait is at most `SNAPSHOT_EVERY`.
    Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() }
}

/// Keeps a flood, or a socket that is never done, from taking the processor away from everybody
/// else: a real-time thread that spins would.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    turns: u32,
}

impl Pace {
    /// Turns in `WINDOW` after which the pulse rests: many times what both nodes cause.
    const TURNS: u32 = 500;
    const WINDOW: Duration = Duration::from_millis(100);
    /// How long the sockets are not listened to; timers are.
    const REST: Duration = Duration::from_millis(2);

    pub fn new(now: Instant) -> Pace {
        Pace { since: now, turns: 0 }
    }

    /// To be called before each wait: how long to rest instead of listening, if at all.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        if now.since(self.since) >= Self::WINDOW {
            *self = Pace::new(now);
        }
        self.turns += 1;
        (self.turns > Self::TURNS).then_some(Self::REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulse_rests_only_when_turns_come_too_thick() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut pace = Pace::new(at(0));
        let rests = |pace: &mut Pace, ms| (0..600).filter(|_| pace.rest(at(ms)).is_some()).count();
        assert_eq!(rests(&mut pace, 50), 100);
        assert_eq!(rests(&mut pace, 99), 600);
        assert_eq!(rests(&mut pace, 100), 100);
        for ms in 200..1200 {
            assert_eq!(pace.rest(at(ms)), None, "one turn a millisecond");
        }
    }
}
