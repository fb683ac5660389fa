//! May this node lead? One total function from evidence to authority, with the reason.
//!
//! Every evidence field is finite, so `table` can print all of it; no row is a wildcard in disguise.

use core::fmt;

use super::arbiter::Proof;
use super::peer::View;

/// What this node may do about the role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Authority {
    /// Booted, woken or given up: finding out who leads.
    Joining,
    /// Waits for a person, the peer or the arbiter.
    Held,
    /// Follows the active peer.
    Standby,
    /// Asks the arbiter; nothing changed yet.
    Asking,
    /// Takes the role.
    Taking,
    /// Has the role.
    Active,
}

impl Authority {
    /// Every authority.
    pub const ALL: [Authority; 6] = [
        Authority::Joining,
        Authority::Held,
        Authority::Standby,
        Authority::Asking,
        Authority::Taking,
        Authority::Active,
    ];
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Authority::Joining => "joining",
            Authority::Held => "held",
            Authority::Standby => "standby",
            Authority::Asking => "asking",
            Authority::Taking => "taking",
            Authority::Active => "active",
        })
    }
}

/// What keeps a node from leading whatever the peer does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bar {
    /// Nothing.
    None,
    /// The state file is damaged.
    Damaged,
    /// It has left the pair and the peer may rely on that (rule 3).
    Left,
}

/// How the logs of two nodes that do not serve compare (rule 22).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// This node takes the role.
    Win,
    /// The peer takes it.
    Lose,
    /// Not known yet.
    Unknown,
}

/// Whose word lets this node take the role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Basis {
    /// The peer's promise while both join (rule 14).
    Agreement,
    /// The arbiter's consent.
    Arbitration,
}

/// What a node goes by, as far as its present authority makes it matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Evidence {
    /// Of a joining node.
    Joining {
        /// What keeps it from leading.
        bar: Bar,
        /// Its addresses are seen released and its database seen not writable.
        prepared: bool,
        /// The peer.
        peer: View,
        /// A serving peer's standing is lower than its own: following would throw rows away.
        outranks: bool,
        /// The logs.
        comparison: Comparison,
        /// The peer's promise is in force.
        promised: bool,
        /// It may promote what it has.
        may_take: bool,
    },
    /// Of a held node.
    Held {
        /// What keeps it from leading.
        bar: Bar,
        /// The peer.
        peer: View,
        /// It may promote what it has (an administrator said so, or the reason has gone).
        may_take: bool,
    },
    /// Of a standby.
    Standby {
        /// A stall of `lost_after` or longer has ended, or it is told to leave.
        upset: Upset,
        /// The peer.
        peer: View,
        /// An idle peer has been so for `start_grace`, or has left.
        idle_long: bool,
        /// It may promote what it has.
        may_take: bool,
        /// Its database is in recovery, its log known.
        ready: bool,
    },
    /// Of an asking node.
    Asking {
        /// A stall of `lost_after` or longer has ended, or it is told to leave.
        upset: Upset,
        /// The peer.
        peer: View,
        /// It may promote what it has.
        may_take: bool,
        /// The arbiter.
        proof: Proof,
    },
    /// Of a node that takes the role.
    Taking {
        /// A stall of `lost_after` or longer has ended, or it is told to leave.
        upset: Upset,
        /// The peer.
        peer: View,
        /// The peer serves or claims with a higher term.
        superseded: bool,
        /// Whose word it goes by.
        basis: Basis,
        /// The peer's promise is in force.
        promised: bool,
        /// The database is promoted, or may be.
        promoted: bool,
        /// May the addresses be claimed now?
        proof: Proof,
        /// A step failed or is overdue.
        failed: bool,
        /// The addresses are held.
        done: bool,
    },
    /// Of the active node.
    Active {
        /// It is told to leave.
        leave: bool,
        /// The peer serves with a higher standing, or must be followed.
        superseded: bool,
        /// The lease holds, or the arbiter vouches for this node.
        entitled: bool,
    },
}

/// What ends an order of things from inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Upset {
    /// Nothing.
    None,
    /// This host or its pulse stood still for `lost_after` or longer.
    Woke,
    /// An administrator's order to leave.
    Leave,
}

/// Why a node has its authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
        })
    }
}

/// The decision.
pub fn lead(evidence: Evidence) -> (Authority, Why) {
    match evidence {
        Evidence::Joining { bar, prepared, peer, outranks, comparison, promised, may_take } => {
            match bar {
                Bar::Damaged => (Authority::Held, Why::DamagedState),
                Bar::Left => (Authority::Held, Why::HasLeft),
                Bar::None if !prepared => (Authority::Joining, Why::Preparing),
                Bar::None => joining(peer, outranks, comparison, promised, may_take),
            }
        }
        Evidence::Held { bar, peer, may_take } => match bar {
            Bar::Damaged => (Authority::Held, Why::DamagedState),
            Bar::Left => (Authority::Held, Why::HasLeft),
            Bar::None => match (peer, may_take) {
                (View::Serves | View::Takes | View::Idle, _) => {
                    (Authority::Joining, Why::PeerHeard)
                }
                (View::Unsettled | View::Silent, true) => (Authority::Joining, Why::NoLongerHeld),
                (View::Unsettled | View::Silent, false) => (Authority::Held, Why::MayLackRows),
            },
        },
        Evidence::Standby { upset, peer, idle_long, may_take, ready } => {
            upset.into_joining().unwrap_or_else(|| standby(peer, idle_long, may_take, ready))
        }
        Evidence::Asking { upset, peer, may_take, proof } => {
            upset.into_joining().unwrap_or_else(|| asking(peer, may_take, proof))
        }
        Evidence::Taking {
            upset,
            peer,
            superseded,
            basis,
            promised,
            promoted,
            proof,
            failed,
            done,
        } => {
            if let Some(joining) = upset.into_joining() {
                joining
            } else if superseded {
                (Authority::Joining, Why::Superseded)
            } else if failed {
                (Authority::Joining, Why::StepFailed)
            } else if basis == Basis::Agreement && !promised {
                (Authority::Joining, Why::PromiseLapsed)
            } else if peer == View::Serves && !promoted {
                (Authority::Joining, Why::PeerServes)
            } else if !promoted {
                match (basis, proof) {
                    (Basis::Arbitration, Proof::Refused) => {
                        (Authority::Asking, Why::AddressAnswered)
                    }
                    // In every arbitration an answered probe delays consent (rule 6, C12).
                    (Basis::Agreement, Proof::Refused) => {
                        (Authority::Joining, Why::AddressAnswered)
                    }
                    (Basis::Agreement | Basis::Arbitration, Proof::Given | Proof::Open) => {
                        (Authority::Taking, Why::Establishing)
                    }
                }
            } else if done {
                (Authority::Active, Why::Serving)
            } else {
                match proof {
                    Proof::Refused => (Authority::Joining, Why::ConsentLost),
                    Proof::Given | Proof::Open => (Authority::Taking, Why::Establishing),
                }
            }
        }
        Evidence::Active { leave, superseded, entitled } => match (superseded, leave, entitled) {
            (true, _, _) => (Authority::Joining, Why::Superseded),
            (false, true, _) => (Authority::Joining, Why::ToldToLeave),
            (false, false, false) => (Authority::Joining, Why::NotEntitled),
            (false, false, true) => (Authority::Active, Why::Serving),
        },
    }
}

fn joining(
    peer: View,
    outranks: bool,
    comparison: Comparison,
    promised: bool,
    may_take: bool,
) -> (Authority, Why) {
    match peer {
        View::Serves if outranks => (Authority::Joining, Why::PeerMustYield),
        View::Serves => (Authority::Standby, Why::PeerServes),
        View::Takes => (Authority::Joining, Why::PeerTakes),
        View::Idle => match (comparison, promised) {
            (Comparison::Unknown, _) => (Authority::Joining, Why::ComparingLogs),
            (Comparison::Lose, _) => (Authority::Joining, Why::PeerHasTheLog),
            (Comparison::Win, false) => (Authority::Joining, Why::AwaitingPromise),
            (Comparison::Win, true) => (Authority::Taking, Why::Agreed),
        },
        View::Unsettled => (Authority::Joining, Why::Listening),
        View::Silent if may_take => (Authority::Asking, Why::PeerSilent),
        View::Silent => (Authority::Held, Why::MayLackRows),
    }
}

fn standby(peer: View, idle_long: bool, may_take: bool, ready: bool) -> (Authority, Why) {
    match peer {
        View::Serves | View::Takes => (Authority::Standby, Why::PeerServes),
        View::Unsettled => (Authority::Standby, Why::Listening),
        View::Idle if idle_long => (Authority::Joining, Why::PeerIdle),
        View::Idle => (Authority::Standby, Why::PeerIdle),
        View::Silent if !ready => (Authority::Joining, Why::DatabaseNotReady),
        View::Silent if may_take => (Authority::Asking, Why::PeerSilent),
        View::Silent => (Authority::Held, Why::MayLackRows),
    }
}

fn asking(peer: View, may_take: bool, proof: Proof) -> (Authority, Why) {
    match peer {
        View::Serves => (Authority::Standby, Why::PeerServes),
        View::Takes => (Authority::Joining, Why::PeerTakes),
        View::Idle | View::Unsettled => (Authority::Joining, Why::PeerHeard),
        View::Silent => match (may_take, proof) {
            (false, _) => (Authority::Held, Why::MayLackRows),
            (true, Proof::Given) => (Authority::Taking, Why::Consent),
            (true, Proof::Open) => (Authority::Asking, Why::AwaitingConsent),
            // A veto postpones; it does not touch the certificate (rule 6, C3).
            (true, Proof::Refused) => (Authority::Asking, Why::AddressAnswered),
        },
    }
}

impl Upset {
    fn into_joining(self) -> Option<(Authority, Why)> {
        match self {
            Upset::None => None,
            Upset::Woke => Some((Authority::Joining, Why::Woke)),
            Upset::Leave => Some((Authority::Joining, Why::ToldToLeave)),
        }
    }
}
