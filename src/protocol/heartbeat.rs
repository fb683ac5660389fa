//! What one node tells the other; its bytes are made in `wire`.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::health::{Grade, Health};
use super::identity::{NodeId, Session, Term};
use super::log::Log;
use super::time::Duration;

/// One heartbeat. Everything in it that others rely on is on the sender's disk (P3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender.
    pub node: NodeId,
    /// The sender's daemon's life.
    pub session: Session,
    /// Counts the sender's heartbeats within the session, from 1. The same heartbeat goes out on
    /// every link under the same number.
    pub sequence: u64,
    /// The newest heartbeat that the sender has from the receiver.
    pub echo: Option<Echo>,
    /// What the sender is doing.
    pub stance: Stance,
    /// What the receiver may rely on.
    pub promise: Promise,
    /// The sender's highest term.
    pub term: Term,
    /// The term under which its database branch was promoted (rule 13).
    pub served: Term,
    /// The last term in which this branch was acknowledged by one node alone (rule 13).
    pub lone: Term,
    /// A node that is active or hands over: "you hold everything that I acknowledged" (rule 15).
    pub certifying: bool,
    /// A node that is not active: it holds a usable certificate.
    pub certified: bool,
    /// "You were excluded": the sender acknowledges, or has acknowledged, without the receiver.
    pub excludes_you: bool,
    /// Where the sender's database log stands; `None` when it has none or cannot tell.
    pub log: Option<Log>,
    /// The database cluster's system identifier, when there is a database.
    pub system_id: Option<u64>,
    /// Role and health per group, in the order of the configuration; at most `GroupId::MAX`.
    pub groups: Vec<GroupReport>,
    /// The sender's software version, for people and for the upgrade.
    pub software: [u16; 3],
    /// The first eight bytes of the configuration file's SHA-256.
    pub config_hash: u64,
    /// The sender is in maintenance mode.
    pub maintenance: bool,
}

impl Heartbeat {
    /// The sender has the role and not the addresses: it may be handing over, and end in order
    /// without being heard again (rule 26).
    pub fn lets_go(&self) -> bool {
        self.stance == Stance::Active && self.groups.iter().all(|group| !group.serving)
    }

    /// The sender's database is seen down, and not starting.
    pub fn database_failed(&self) -> bool {
        self.groups.iter().any(|group| group.health.database == Grade::Failed)
    }
}

/// Proof of the way back: which heartbeat of the receiver the sender has heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// The receiver's session.
    pub session: Session,
    /// The receiver's newest sequence.
    pub sequence: u64,
    /// How long ago it arrived; for the path-quality record, never for a decision.
    pub age: Duration,
}

/// What a node is doing, as its peer must know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Stance {
    /// Booted, woken or given up; finding out who leads.
    Joining,
    /// Follows an active peer.
    Standby,
    /// Waits for a person, the peer or the arbiter.
    Held,
    /// Asks the arbiter; nothing changed yet.
    Asking,
    /// Takes the role; the database is not promoted yet.
    Taking,
    /// Takes the role; the database is promoted (or was never asked for).
    Promoted,
    /// Holds the addresses.
    Active,
    /// Has given up the role in order and offers it to its receiver (rule 25): takes nothing while
    /// its promise runs.
    Handing,
}

impl Stance {
    /// Every stance, in the order of their wire numbers.
    pub const ALL: [Stance; 8] = [
        Stance::Joining,
        Stance::Standby,
        Stance::Held,
        Stance::Asking,
        Stance::Taking,
        Stance::Promoted,
        Stance::Active,
        Stance::Handing,
    ];
}

/// What a heartbeat promises its receiver (rules 1 and 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Promise {
    /// Nothing.
    None,
    /// "I will neither ask, fence, promote nor claim before I have heard nothing from you for this
    /// long."
    For(Duration),
    /// "I will not before I have told you otherwise and you have confirmed it." Durable; bound to
    /// the session that this heartbeat echoes.
    Leaving,
}

/// One group as the sender has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    /// It holds the group's addresses.
    pub serving: bool,
    /// How well it could serve, or serves, the group.
    pub health: Health,
    /// "I ask your services over the LAN, and they do not do their work" (R4).
    #[serde(default)]
    pub finds_peer_failed: bool,
}
