//! The reasons of decisions, in words that an administrator understands.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a node has its authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Why {
    /// The daemon has just started.
    Started,
    /// Addresses and database are not yet seen released.
    Preparing,
    /// Not silent, not heard both ways: waiting.
    Listening,
    /// The peer serves.
    PeerServes,
    /// The peer is taking the role.
    PeerTakes,
    /// The peer serves an older branch: it must yield before this node can follow.
    PeerMustYield,
    /// Both join and the logs are not known yet.
    ComparingLogs,
    /// Both join; this node's log is to be served, and the peer's promise is awaited.
    AwaitingPromise,
    /// Both join; the peer's log is to be served.
    PeerHasTheLog,
    /// Both join; this node's log is to be served, and the peer has promised.
    Agreed,
    /// The peer is silent and this node may promote what it has.
    PeerSilent,
    /// The peer is silent and this node may lack acknowledged rows.
    MayLackRows,
    /// The state file is damaged.
    DamagedState,
    /// This node has left the pair and the peer may rely on it.
    HasLeft,
    /// The peer neither serves nor takes.
    PeerIdle,
    /// This node stood still for too long.
    Woke,
    /// An administrator's order to leave.
    ToldToLeave,
    /// The database is not ready to be promoted.
    DatabaseNotReady,
    /// The peer is heard again.
    PeerHeard,
    /// The arbiter has not consented yet.
    AwaitingConsent,
    /// Somebody holds or claims the floating address: the takeover waits.
    AddressAnswered,
    /// The arbiter consents.
    Consent,
    /// The steps of the takeover are being done.
    Establishing,
    /// The peer serves or claims with a higher term.
    Superseded,
    /// The peer's promise ran out.
    PromiseLapsed,
    /// A step of the takeover failed or took too long.
    StepFailed,
    /// The arbiter took its consent back.
    ConsentLost,
    /// The addresses are held.
    Serving,
    /// Neither the peer's promise nor the arbiter entitles this node to serve.
    NotEntitled,
    /// The reason for being held has gone.
    NoLongerHeld,
    /// The peer hands the role over.
    PeerHands,
    /// The peer hands the role over and this node holds everything that it acknowledged.
    Offered,
    /// The role is being handed to the peer.
    HandingOver(Reason),
    /// The steps of the handover are being done.
    LettingGo,
    /// The role is offered, and the peer is to take it.
    AwaitingTaker,
    /// The peer has taken what was handed to it.
    HandedOver,
    /// The handover was broken off before anything was given.
    HandoverUndone,
    /// The peer does not take what was offered: this node takes it back.
    TakingBack,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Started => "the daemon has just started",
            Why::Preparing => "addresses and database are not yet seen released",
            Why::Listening => "listening for the peer",
            Why::PeerServes => "the peer serves",
            Why::PeerTakes => "the peer takes the role",
            Why::PeerMustYield => "the peer serves an older branch and must yield first",
            Why::ComparingLogs => "both nodes join; their logs are being compared",
            Why::AwaitingPromise => "both nodes join; waiting for the peer's promise",
            Why::PeerHasTheLog => "both nodes join; the peer's log is to be served",
            Why::Agreed => "both nodes join; this node's log is to be served",
            Why::PeerSilent => "the peer is silent",
            Why::MayLackRows => "the peer is silent and this node may lack acknowledged rows",
            Why::DamagedState => "the state file is damaged",
            Why::HasLeft => "this node has left the pair and the peer relies on that",
            Why::PeerIdle => "the peer neither serves nor takes",
            Why::Woke => "this node stood still for too long",
            Why::ToldToLeave => "told to leave",
            Why::DatabaseNotReady => "the database is not ready to be promoted",
            Why::PeerHeard => "the peer is heard again",
            Why::AwaitingConsent => "waiting for the arbiter's consent",
            Why::AddressAnswered => "somebody holds or claims the floating address",
            Why::Consent => "the arbiter consents",
            Why::Establishing => "taking the role, step by step",
            Why::Superseded => "the peer serves or claims with a higher term",
            Why::PromiseLapsed => "the peer's promise ran out",
            Why::StepFailed => "a step failed or took too long",
            Why::ConsentLost => "the arbiter took its consent back",
            Why::Serving => "serving",
            Why::NotEntitled => "neither the peer's promise nor the arbiter entitles this node",
            Why::NoLongerHeld => "the reason for being held has gone",
            Why::PeerHands => "the peer hands the role over",
            Why::Offered => "the peer hands the role over and this node has all its rows",
            Why::HandingOver(Reason::Ordered) => "handing the role to the peer, as ordered",
            Why::HandingOver(Reason::Leaving) => "handing the role to the peer, to leave the pair",
            Why::HandingOver(Reason::PeerIsBetter) => {
                "handing the role to the peer, which can do what this node cannot"
            }
            Why::HandingOver(Reason::Failback) => "handing the role back to the preferred node",
            Why::LettingGo => "letting the role go, step by step",
            Why::AwaitingTaker => "the role is offered; waiting for the peer to take it",
            Why::HandedOver => "the peer has taken the role that this node handed over",
            Why::HandoverUndone => "the handover was broken off and this node goes on",
            Why::TakingBack => "the peer did not take the role: this node takes it back",
        })
    }
}

/// Why the role is handed to a living peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// An administrator's order.
    Ordered,
    /// This node is to leave the pair.
    Leaving,
    /// The peer can do the job and this node cannot.
    PeerIsBetter,
    /// The peer is the preferred node and has stood by in order for long enough.
    Failback,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 4] =
        [Reason::Ordered, Reason::Leaving, Reason::PeerIsBetter, Reason::Failback];
}
