//! May this node lead? One total function from evidence to authority, with the reason.
//!
//! Every evidence field is finite, so `table` can print all of it; no row is a wildcard in disguise.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::arbiter::Proof;
use super::peer::View;
pub use super::why::{Reason, Why};

/// What this node may do about the role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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
    /// Hands the role to the living peer.
    Giving,
}

impl Authority {
    /// Every authority.
    pub const ALL: [Authority; 7] = [
        Authority::Joining,
        Authority::Held,
        Authority::Standby,
        Authority::Asking,
        Authority::Taking,
        Authority::Active,
        Authority::Giving,
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
            Authority::Giving => "giving",
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Basis {
    /// The peer's promise while both join (rule 14).
    Agreement,
    /// The peer hands the role over, and its promise holds (rule 25).
    Offer,
    /// The peer has heard that the offer is withdrawn, and stands by (rule 29).
    TakeBack,
    /// The arbiter's consent.
    Arbitration,
}

impl Basis {
    /// The role changes hands between two living nodes.
    pub fn is_handover(self) -> bool {
        match self {
            Basis::Offer | Basis::TakeBack => true,
            Basis::Agreement | Basis::Arbitration => false,
        }
    }
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
        /// It holds everything that a peer that hands over has acknowledged (rule 25).
        has_all: bool,
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
        /// The role is to be handed to the peer, and can be.
        give: Option<Reason>,
    },
    /// Of a node that hands the role over.
    Giving {
        /// A stall of `lost_after` or longer has ended.
        woke: bool,
        /// The peer.
        peer: View,
        /// The peer serves with a higher standing.
        superseded: bool,
        /// It says so: its addresses are released and its database has ended (rule 25).
        handed: bool,
        /// What made it possible has gone before that, or it takes too long.
        undone: bool,
        /// The peer has not begun to take within the time it may need.
        refused: bool,
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
                (View::Serves | View::Takes | View::Hands | View::Idle, _) => {
                    (Authority::Joining, Why::PeerHeard)
                }
                (View::Unsettled | View::Silent, true) => (Authority::Joining, Why::NoLongerHeld),
                (View::Unsettled | View::Silent, false) => (Authority::Held, Why::MayLackRows),
            },
        },
        Evidence::Standby { upset, peer, idle_long, may_take, ready, has_all } => upset
            .into_joining()
            .unwrap_or_else(|| standby(peer, idle_long, may_take, ready, has_all)),
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
            } else if promoted {
                taking_promoted(basis, promised, proof, done)
            } else {
                taking(peer, basis, promised, proof)
            }
        }
        Evidence::Active { leave, superseded, entitled, give } => {
            match (superseded, give, leave, entitled) {
                (true, _, _, _) => (Authority::Joining, Why::Superseded),
                (false, Some(reason), _, true) => (Authority::Giving, Why::HandingOver(reason)),
                (false, None, true, _) => (Authority::Joining, Why::ToldToLeave),
                (false, None | Some(_), _, false) => (Authority::Joining, Why::NotEntitled),
                (false, None, false, true) => (Authority::Active, Why::Serving),
            }
        }
        Evidence::Giving { woke, peer, superseded, handed, undone, refused } => {
            match (superseded, woke, handed) {
                (true, _, _) => (Authority::Joining, Why::Superseded),
                // What was learnt before the stall is worth nothing after it (rule 23).
                (false, true, _) => (Authority::Joining, Why::Woke),
                (false, false, false) if undone => (Authority::Active, Why::HandoverUndone),
                (false, false, false) => (Authority::Giving, Why::LettingGo),
                (false, false, true) => handed_over(peer, refused),
            }
        }
    }
}

/// Before the promotion.
fn taking(peer: View, basis: Basis, promised: bool, proof: Proof) -> (Authority, Why) {
    match (basis, peer, promised, proof) {
        (Basis::Arbitration, View::Serves | View::Hands, _, _)
        | (Basis::Agreement | Basis::Offer | Basis::TakeBack, View::Serves, _, _) => {
            (Authority::Joining, Why::PeerServes)
        }
        (Basis::Agreement, _, false, _) => (Authority::Joining, Why::PromiseLapsed),
        // Nothing was begun: an ordinary attempt, if it comes to that (rule 25).
        (Basis::Offer, _, false, _) => (Authority::Standby, Why::PromiseLapsed),
        (Basis::TakeBack, View::Silent, false, _) => (Authority::Standby, Why::PeerSilent),
        (Basis::TakeBack, View::Takes | View::Hands, false, _) => {
            (Authority::Joining, Why::PeerTakes)
        }
        (Basis::TakeBack, View::Idle | View::Unsettled, false, _) => {
            (Authority::Taking, Why::AwaitingPromise)
        }
        (Basis::Arbitration, _, _, Proof::Refused) => (Authority::Asking, Why::AddressAnswered),
        // In every arbitration an answered probe delays consent (rule 6, C12).
        (Basis::Agreement | Basis::TakeBack, _, true, Proof::Refused) => {
            (Authority::Joining, Why::AddressAnswered)
        }
        (Basis::Offer, _, true, Proof::Refused) => (Authority::Standby, Why::AddressAnswered),
        (
            Basis::Agreement | Basis::Offer | Basis::TakeBack,
            _,
            true,
            Proof::Given | Proof::Open,
        )
        | (Basis::Arbitration, _, _, Proof::Given | Proof::Open) => {
            (Authority::Taking, Why::Establishing)
        }
    }
}

/// The database is promoted, or may be. When the promise behind a handover lapses now, the other
/// may be dead: the arbiter decides, and until then nobody has the address (rule 27, C23).
fn taking_promoted(basis: Basis, promised: bool, proof: Proof, done: bool) -> (Authority, Why) {
    match (basis, promised, done, proof) {
        (Basis::Agreement, false, _, _) => (Authority::Joining, Why::PromiseLapsed),
        (_, _, true, _) => (Authority::Active, Why::Serving),
        (_, _, false, Proof::Refused) => (Authority::Joining, Why::ConsentLost),
        (_, _, false, Proof::Given | Proof::Open) => (Authority::Taking, Why::Establishing),
    }
}

/// The role was offered: it is the peer's to take.
fn handed_over(peer: View, refused: bool) -> (Authority, Why) {
    match peer {
        View::Serves => (Authority::Standby, Why::HandedOver),
        View::Takes => (Authority::Giving, Why::PeerTakes),
        View::Hands => (Authority::Joining, Why::PeerHands),
        View::Idle if refused => (Authority::Taking, Why::TakingBack),
        View::Idle => (Authority::Giving, Why::AwaitingTaker),
        View::Unsettled => (Authority::Giving, Why::Listening),
        // An ordinary attempt: the clean end is this node's certificate (rules 25 and 26).
        View::Silent => (Authority::Standby, Why::PeerSilent),
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
        View::Hands if outranks => (Authority::Joining, Why::PeerMustYield),
        View::Hands => (Authority::Standby, Why::PeerHands),
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

fn standby(
    peer: View,
    idle_long: bool,
    may_take: bool,
    ready: bool,
    has_all: bool,
) -> (Authority, Why) {
    match peer {
        View::Serves | View::Takes => (Authority::Standby, Why::PeerServes),
        View::Hands if ready && has_all => (Authority::Taking, Why::Offered),
        View::Hands => (Authority::Standby, Why::PeerHands),
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
        View::Hands => (Authority::Standby, Why::PeerHands),
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
