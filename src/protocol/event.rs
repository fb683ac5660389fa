//! What a node is told. Events are recorded as they come; only [`Event::Tick`] judges, and it comes
//! after every queue has been drained, so that lateness of our own is never taken for silence.

use serde::{Deserialize, Serialize};

use super::durable::Durable;
use super::heartbeat::Heartbeat;
use super::identity::GroupId;
use super::log::Log;
use super::time::Instant;
use super::witness::Reply;

/// Ties an action to the one event that ends it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Something seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// Everything that had arrived was handed over: judge and act.
    Tick,
    /// A valid heartbeat of the peer: authentic, not replayed, of this pair. Copies on other links
    /// may be handed over as well; they change nothing.
    HeartbeatReceived {
        /// Its content.
        heartbeat: Heartbeat,
        /// When the kernel received it, on the boot-time clock, never later than now.
        at: Instant,
    },
    /// The probe adapter saw something on a group's LAN.
    Lan {
        /// The group whose addresses and references are meant.
        group: GroupId,
        /// What was seen.
        seen: LanSeen,
    },
    /// The kernel's view of a group's addresses: after an action, and on every change.
    AddressesSeen {
        /// The group.
        group: GroupId,
        /// What the kernel has.
        seen: Presence,
    },
    /// The announcements left (or could not).
    Announced {
        /// The group.
        group: GroupId,
        /// Every announcement was handed to the interface.
        sent: bool,
    },
    /// A `SaveState` ended; `Some` is what is now on disk, `None` means that this is not known.
    StateSaved {
        /// The action.
        ticket: Ticket,
        /// What was read back.
        saved: Option<Durable>,
    },
    /// The database, after an action or of a regular look.
    DatabaseSeen {
        /// The action that this ends, or `None` for a regular look.
        ticket: Option<Ticket>,
        /// What was seen.
        seen: DatabaseSeen,
    },
    /// A group's services, after an action or of a change.
    ServicesSeen {
        /// The group.
        group: GroupId,
        /// What was seen.
        seen: ServicesSeen,
    },
    /// What a standby's questions to the group's services, asked over the LAN, say about the active
    /// node; `Unknown` when it does not ask, or could not.
    RemoteChecked {
        /// The group.
        group: GroupId,
        /// What the answers mean together.
        grade: super::health::Grade,
    },
    /// The hours begin or end in which the role may go back by itself (R9).
    FailbackHours {
        /// It may go back now.
        open: bool,
    },
    /// The witness answered: authentic, of this pair, to this node.
    WitnessReplied {
        /// Its answer.
        reply: Reply,
    },
    /// A `PowerOffPeer` ended.
    FenceReported {
        /// The action.
        ticket: Ticket,
        /// What was seen of the peer's power.
        power: PeerPower,
    },
    /// An administrator's word.
    Operator(Order),
}

/// The peer's power, as the fence sees it after it was told to switch it off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum PeerPower {
    /// Every outlet of it was seen off after the order.
    Off,
    /// One was seen on after the order.
    On,
    /// Could not be done, or not be seen: it may be off or on.
    Unknown,
}

/// On the LAN, without an address of our own (ARP for IPv4, neighbour discovery for IPv6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LanSeen {
    /// One probe for each floating address left.
    FloatingProbed {
        /// When.
        at: Instant,
    },
    /// Somebody holds a floating address.
    FloatingAnswered {
        /// When.
        at: Instant,
        /// Who.
        by: Answerer,
    },
    /// Another host probes for a floating address, as a host does that is about to claim it
    /// (RFC 5227 §2.1.1).
    PeerProbed {
        /// When.
        at: Instant,
    },
    /// A reference answered.
    ReferenceAnswered {
        /// When the probe that it answers was sent; the oldest one that it can have been.
        probed_at: Instant,
    },
    /// Probes could not be sent (no carrier, interface gone).
    ProbeFailed {
        /// When.
        at: Instant,
    },
}

/// Whose hardware address answered for a floating address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Answerer {
    /// The peer's.
    Peer,
    /// A host's that is not of this pair.
    Foreign,
    /// A device's that answers for a reference too (proxy ARP): it would answer for everyone.
    Everyone,
}

/// A group's addresses in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Presence {
    /// Could not be looked at.
    Unknown,
    /// None is there.
    Absent,
    /// Some are there, or an address without its route.
    Partial,
    /// All are there, with their routes.
    Held,
}

/// The local database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DatabaseSeen {
    /// When the look began.
    pub at: Instant,
    /// What it is doing.
    pub state: DatabaseState,
    /// Commits wait for the standby; `None` when that could not be read.
    pub synchronous: Option<bool>,
    /// Where its log ends; `None` when that could not be read.
    pub log: Option<Log>,
    /// It receives the peer's log.
    pub streaming: bool,
    /// It cannot follow the peer without losing rows of its own (or was told so by the server).
    pub diverged: bool,
    /// The peer's replica as the local primary sees it; `None` when it is not connected.
    pub replica: Option<Replica>,
    /// The cluster's system identifier; `None` when that could not be read.
    pub system_id: Option<u64>,
}

/// The peer's database as the local primary sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replica {
    /// Flushed up to here, in bytes of log.
    pub flush: u64,
    /// The server counts it as synchronous.
    pub synchronous: bool,
}

/// What a database server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum DatabaseState {
    /// Could not be looked at: it may be writable.
    Unknown,
    /// Seen not running.
    Stopped,
    /// Running as a standby (its signal file is there), not yet answering. A server that starts
    /// without it may become writable: that is `Unknown`.
    Starting,
    /// In recovery: readable, not writable.
    Standby,
    /// A primary.
    Writable,
}

/// A group's services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServicesSeen {
    /// What the services adapter was last told to reach.
    pub goal: ServicesGoal,
    /// Everything that this goal wants stopped is seen stopped.
    pub stopped: bool,
    /// Everything critical that this goal wants running is seen running and passes its probes.
    pub critical: super::health::Grade,
}

/// Which of a group's services should run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ServicesGoal {
    /// Those with `run_on` standby or both.
    Standby,
    /// Those with `run_on` active or both that start before the address.
    Prepare,
    /// All those with `run_on` active or both.
    Serve,
}

/// An administrator's order; the control socket has checked who gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Take the role without a certificate: ends `held`, still asks the arbiter.
    TakeAnyway,
    /// Give up the role and leave the pair in order (stop, maintenance).
    Leave,
    /// Withdraw `Leave`.
    Return,
    /// Hand the role to the standby and lose nothing (rule 25).
    Switchover,
    /// Go on although the state file is damaged, as a node that never served and whose database
    /// must be brought back from the peer's.
    Recover,
}
