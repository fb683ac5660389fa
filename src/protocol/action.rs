//! What a node wants done. Every action ends in exactly one event that says what was seen.

use serde::{Deserialize, Serialize};

use super::durable::Durable;
use super::event::{ServicesGoal, Ticket};
use super::heartbeat::Heartbeat;
use super::identity::GroupId;
use super::witness::Request;

/// A deed for the outside world.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Send on every link. (Ends in nothing: what the peer heard comes back as its echo.)
    SendHeartbeat(Heartbeat),
    /// Send one probe for each floating address and/or to each reference; ends in
    /// `Lan(FloatingProbed | ProbeFailed)`; answers come as further `Lan` events.
    ProbeLan {
        /// The group.
        group: GroupId,
        /// Ask who holds its floating addresses.
        floating: bool,
        /// Ask whether the references are there.
        references: bool,
    },
    /// Send this to the witness; an answer comes as `WitnessReplied`, if one comes.
    AskWitness(Request),
    /// Have the fence switch the peer off and see that it is; ends in `FenceReported`, within the
    /// longest run that the times allow.
    PowerOffPeer {
        /// Names the ending.
        ticket: Ticket,
    },
    /// Have the addresses, their routes and source address, and renew their lifetime; ends in
    /// `AddressesSeen`.
    HoldAddresses {
        /// The group.
        group: GroupId,
    },
    /// Have none of them; ends in `AddressesSeen`.
    ReleaseAddresses {
        /// The group.
        group: GroupId,
    },
    /// Tell the LAN who holds the addresses (gratuitous ARP, unsolicited NA); ends in `Announced`.
    Announce {
        /// The group.
        group: GroupId,
    },
    /// Put this on disk; ends in `StateSaved`.
    SaveState {
        /// Names the ending.
        ticket: Ticket,
        /// What to write.
        state: Durable,
    },
    /// Do this to the database; a later one cancels an earlier one; each ends in `DatabaseSeen`.
    Database {
        /// Names the ending.
        ticket: Ticket,
        /// What to do.
        deed: DatabaseDeed,
    },
    /// Run these services; ends in `ServicesSeen`, and so does every later change.
    Services {
        /// The group.
        group: GroupId,
        /// Which.
        goal: ServicesGoal,
    },
}

/// What can be done to the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum DatabaseDeed {
    /// Start it as a standby: it recovers its own log and follows nobody.
    StartAsStandby,
    /// Make it receive the peer's log, of which its own is a prefix.
    Follow,
    /// Bring a log that has left the peer's back: salvage, rewind or copy, then follow. The node has
    /// put the `copy_unfinished` mark on disk before (rule 22).
    Rejoin {
        /// Where the two logs part, in bytes of log, if the node can tell. Numbers alone do not
        /// show it when both nodes promoted the same timeline apart.
        common: Option<u64>,
    },
    /// Promote it; it comes up with commits waiting for the standby.
    Promote,
    /// Start it as the primary that it was, inside the unexpired term of this node.
    StartInPlace,
    /// Stop it at once (immediate shutdown): nothing is acknowledged from here on.
    StopNow,
    /// Stop it in order (fast shutdown): it admits nobody new, and ends when the standby has its
    /// shutdown checkpoint. What is seen then has the end of its log.
    StopCleanly,
    /// Write a checkpoint, so that a clean stop soon after has little left to write.
    Checkpoint,
    /// Let commits wait for the standby (`true`) or not.
    SetSynchronous(bool),
}
