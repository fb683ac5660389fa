//! What the pulse tells the slow world: how things stand, and everything that happened.
//!
//! All of it goes through bounded queues that the pulse never waits for: a snapshot that finds no
//! room is made again in the next turn, a record that finds none is counted. Waking the slow world
//! costs more than everything else in a turn, so that what nobody waits for (a heartbeat, a look
//! that saw nothing new) is told together with the next snapshot.

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::exchange::{Condition, Exchange, LinkStatus};
use super::realtime::Realtime;
use super::witness_link::{PathStatus, WitnessLink};
use crate::protocol::action::Action;
use crate::protocol::event::{DatabaseSeen, Event, Replica};
use crate::protocol::heartbeat::Heartbeat;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::node::Node;
use crate::protocol::status::{Status, WitnessSight};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::witness::Reply;

/// A snapshot is made at least this often.
pub const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);

const ACTIONS: usize = 64;
const SNAPSHOTS: usize = 16;
/// A second or two of a busy pair.
const RECORDS: usize = 4096;

/// The whole node is among the records at least this often.
const NODE_EVERY: Duration = Duration::from_secs(10);

/// How things stand.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub at: Instant,
    /// The node.
    pub status: Status,
    /// The links, in the order of the configuration.
    pub links: Vec<LinkStatus>,
    /// The paths to the witness; none when none is configured.
    pub witness: Vec<PathStatus>,
    /// How punctual the pulse is.
    pub lateness: Lateness,
    /// What the kernel gave the thread.
    pub realtime: Realtime,
    /// What did not fit into the queues since the start.
    pub lost: Lost,
}

/// How much later than asked for the pulse's turns began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lateness {
    /// The worst since the start.
    pub worst: Duration,
    /// The worst since the last snapshot.
    pub lately: Duration,
    /// Turns since the start.
    pub turns: u64,
    /// Times that the pulse stopped listening for a moment, because turns came too thick.
    pub rests: u64,
}

/// What did not fit into the queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// Records.
    pub records: u64,
    /// Actions for the slow world: their steps become overdue.
    pub actions: u64,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counted from the start of the pulse: where one is missing, one was lost.
    pub number: u64,
    /// When; for an event, the time with which the node was given it.
    pub at: Instant,
    /// What.
    pub what: Recorded,
}

/// What happened. The `Event`s, in their order and with their times, replay the node.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// The node as it is now: what follows replays from here.
    Node(Box<Node>),
    /// The node was given this.
    Event(Event),
    /// The node wanted this, and it was begun.
    Action(Action),
    /// The node wanted this, and the slow world had no room for it.
    NotTaken(Action),
    /// The node wanted this, and the LAN has nothing to ask with while this node stands by.
    Rested(Action),
    /// The node's authority, or its reason, changed to this.
    Authority(Authority, Why),
    /// Why something on the LAN failed.
    LanTrouble(String),
}

/// The pulse's ends of its queues to the slow world.
#[derive(Debug)]
pub(super) struct Inlets {
    actions: Sender<Action>,
    snapshots: Sender<Snapshot>,
    records: Sender<Record>,
}

/// Reports through them.
#[derive(Debug)]
pub(super) struct Reporter {
    to: Inlets,
    realtime: Realtime,
    pub lateness: Lateness,
    lost: Lost,
    /// Not told yet.
    waiting: Vec<Record>,
    /// Of the next record.
    number: u64,
    /// When the whole node was recorded last, and how many records had been lost then.
    node: Option<(Instant, u64)>,
    /// Something among them is news.
    news: bool,
    published: Option<(Instant, Status)>,
    conditions: [Vec<Condition>; 2],
}

/// The slow world's ends; each says `None` when the pulse has ended.
#[derive(Debug)]
pub struct Outlets {
    /// What the node wants done: `SaveState`, `Database` and `Services`.
    pub actions: Receiver<Action>,
    /// How things stand; the newest counts.
    pub snapshots: Receiver<Snapshot>,
    /// Everything that happened.
    pub records: Receiver<Record>,
}

pub(super) fn queues() -> (Inlets, Outlets) {
    let (actions_in, actions) = channel(ACTIONS);
    let (snapshots_in, snapshots) = channel(SNAPSHOTS);
    let (records_in, records) = channel(RECORDS);
    let inlets = Inlets { actions: actions_in, snapshots: snapshots_in, records: records_in };
    (inlets, Outlets { actions, snapshots, records })
}

impl Reporter {
    pub fn new(to: Inlets, realtime: Realtime) -> Reporter {
        Reporter {
            to,
            realtime,
            lateness: Lateness::default(),
            lost: Lost::default(),
            waiting: Vec::with_capacity(RECORDS),
            number: 0,
            node: None,
            news: false,
            published: None,
            conditions: Default::default(),
        }
    }

    pub fn record(&mut self, at: Instant, what: Recorded) {
        if self.waiting.len() == RECORDS {
            self.tell();
        }
        self.news |= is_news(&what);
        self.waiting.push(Record { number: self.number, at, what });
        self.number += 1;
    }

    /// Records the whole node now and then, and after records were lost: without it the following ones
    /// cannot be replayed. To be called between two turns.
    pub fn begin_again(&mut self, now: Instant, node: &Node) {
        let lost = self.lost.records;
        let fresh =
            self.node.is_some_and(|(at, before)| before == lost && now.since(at) < NODE_EVERY);
        if !fresh {
            self.node = Some((now, lost));
            self.record(now, Recorded::Node(Box::new(node.clone())));
        }
    }

    /// Hands over every record.
    pub fn tell(&mut self) {
        for record in self.waiting.drain(..) {
            self.lost.records += u64::from(self.to.records.try_send(record).is_err());
        }
        self.news = false;
    }

    /// Hands an action to the slow world.
    pub fn order(&mut self, at: Instant, action: Action) {
        match self.to.actions.try_send(action.clone()) {
            Ok(()) => self.record(at, Recorded::Action(action)),
            Err(_) => {
                self.lost.actions += 1;
                self.record(at, Recorded::NotTaken(action));
            }
        }
    }

    /// The turn that was due at `due` began at `now`.
    pub fn began(&mut self, now: Instant, due: Instant) {
        let late = now.since(due);
        self.lateness.turns += 1;
        self.lateness.worst = self.lateness.worst.max(late);
        self.lateness.lately = self.lateness.lately.max(late);
    }

    /// Makes a snapshot if something has changed, or the last one is old.
    pub fn publish(
        &mut self,
        now: Instant,
        node: &Node,
        exchange: &Exchange,
        witness: Option<&WitnessLink>,
    ) {
        let status = node.status(now);
        exchange.conditions(now, &mut self.conditions[0]);
        let headline = headline(&status);
        let fresh = self.published.as_ref().is_some_and(|(at, published)| {
            now.since(*at) < SNAPSHOT_EVERY && *published == headline
        });
        if fresh && self.conditions[0] == self.conditions[1] {
            if self.news {
                self.tell();
            }
            return;
        }
        self.tell();
        let snapshot = Snapshot {
            at: now,
            status,
            links: exchange.status(now),
            witness: witness.map_or_else(Vec::new, WitnessLink::status),
            lateness: self.lateness,
            realtime: self.realtime,
            lost: self.lost,
        };
        if self.to.snapshots.try_send(snapshot).is_ok() {
            self.published = Some((now, headline));
            self.conditions.swap(0, 1);
            self.lateness.lately = Duration::ZERO;
        }
    }
}

/// People, or the daemon, wait for it; the rest comes many times a second.
fn is_news(what: &Recorded) -> bool {
    match what {
        Recorded::Authority(..) | Recorded::NotTaken(_) | Recorded::LanTrouble(_) => true,
        Recorded::Node(_) | Recorded::Rested(_) => false,
        Recorded::Action(action) => match action {
            Action::SendHeartbeat(_)
            | Action::ProbeLan { .. }
            | Action::AskWitness(_)
            | Action::HoldAddresses { .. }
            | Action::Announce { .. } => false,
            Action::ReleaseAddresses { .. }
            | Action::SaveState { .. }
            | Action::Database { .. }
            | Action::PowerOffPeer { .. }
            | Action::Services { .. } => true,
        },
        Recorded::Event(event) => match event {
            Event::Tick
            | Event::HeartbeatReceived { .. }
            | Event::Lan { .. }
            | Event::AddressesSeen { .. }
            | Event::WitnessReplied { .. }
            | Event::DatabaseSeen { ticket: None, .. } => false,
            Event::Announced { .. }
            | Event::StateSaved { .. }
            | Event::DatabaseSeen { ticket: Some(_), .. }
            | Event::ServicesSeen { .. }
            | Event::RemoteChecked { .. }
            | Event::FailbackHours { .. }
            | Event::FenceReported { .. }
            | Event::Operator(_) => true,
        },
    }
}

/// A status without what every heartbeat and every look changes.
fn headline(status: &Status) -> Status {
    let peer_says = status.peer_says.as_ref().map(|heartbeat| Heartbeat {
        sequence: 0,
        echo: None,
        log: None,
        ..heartbeat.clone()
    });
    let database = DatabaseSeen {
        at: Instant::ZERO,
        log: None,
        replica: status.database.replica.map(|replica| Replica { flush: 0, ..replica }),
        ..status.database.clone()
    };
    Status {
        last_heard: None,
        peer_says,
        lease_ends: status.lease_ends.map(|_| Instant::ZERO),
        certificate_ends: status.certificate_ends.map(|_| Instant::ZERO),
        witness: status.witness.map(|sight| WitnessSight {
            heard: sight.heard.map(|(_, reply)| (Instant::ZERO, Reply { sequence: 0, ..reply })),
            grant_ends: sight.grant_ends.map(|_| Instant::ZERO),
        }),
        fence: status.fence,
        database,
        ..status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::action::DatabaseDeed;
    use crate::protocol::event::Ticket;
    use nix::errno::Errno;

    #[test]
    fn what_finds_no_room_is_counted_and_never_waited_for() {
        let (inlets, mut outlets) = queues();
        let none = Realtime { scheduling: Err(Errno::EPERM), memory: Err(Errno::EPERM) };
        let mut reporter = Reporter::new(inlets, none);
        let action = |n| Action::Database { ticket: Ticket(n), deed: DatabaseDeed::StopNow };
        for n in 0..ACTIONS as u64 + 2 {
            reporter.order(Instant::ZERO, action(n));
        }
        assert_eq!(reporter.lost, Lost { records: 0, actions: 2 });
        for n in 0..ACTIONS as u64 {
            assert_eq!(outlets.actions.try_recv(), Ok(action(n)));
        }
        reporter.tell();
        let mut not_taken = 0;
        while let Ok(record) = outlets.records.try_recv() {
            not_taken += u32::from(matches!(record.what, Recorded::NotTaken(_)));
        }
        assert_eq!(not_taken, 2);
        for _ in 0..RECORDS + 3 {
            reporter.record(Instant::ZERO, Recorded::Event(Event::Tick));
        }
        reporter.tell();
        assert_eq!(reporter.lost, Lost { records: 3, actions: 2 });
    }
}
