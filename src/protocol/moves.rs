//! When the role is given to a living peer (rule 25): on an order, to leave the pair, because the
//! peer can do the job and this node cannot, or because the role belongs there. Nothing is moved to
//! a node that is not better, and by itself only so often (R11).

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::event::DatabaseState;
use super::health::{Grade, Health};
use super::heartbeat::{Promise, Stance};
use super::identity::NodeId;
use super::lead::{Authority, Reason};
use super::node::{Durability, Node};
use super::peer::Liveness;
use super::time::{Duration, Instant};
use super::timing::Timing;

/// What the pair's administrator wants moved without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Where the role belongs; `None`: wherever it is.
    pub preferred: Option<NodeId>,
    /// The role goes back to the preferred node by itself once that has stood by in order for this
    /// long; `None`: only when ordered.
    pub failback_after: Option<Duration>,
    /// No more moves by itself than this...
    pub moves: u32,
    /// ...within this span; then the role stays where it is (R11).
    pub within: Duration,
}

impl Policy {
    /// Failback by hand; three moves by itself in ten minutes.
    pub const DEFAULT: Policy = Policy {
        preferred: None,
        failback_after: None,
        moves: 3,
        within: Duration::from_secs(600),
    };
}

/// Why the role cannot be handed over now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hindrance {
    /// This node does not have the role.
    NotActive,
    /// The peer is late, silent, or does not hear this node.
    PeerNotHeard,
    /// The peer has left the pair, for maintenance or for good.
    PeerHasLeft,
    /// The peer does not stand by.
    PeerNotStandby,
    /// The standby is not certified: it may lack rows.
    NotCertified,
    /// The standby is certified and further behind than a handover may take.
    StandbyLags,
    /// A handover has just been broken off.
    JustBrokenOff,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hindrance::NotActive => "this node does not have the role",
            Hindrance::PeerNotHeard => "the peer is not heard both ways",
            Hindrance::PeerHasLeft => "the peer has left the pair (maintenance, or stopped)",
            Hindrance::PeerNotStandby => "the peer does not stand by",
            Hindrance::NotCertified => "the standby is not certified: it may lack rows",
            Hindrance::StandbyLags => "the standby lags too far behind",
            Hindrance::JustBrokenOff => "a handover has just been broken off",
        })
    }
}

/// What a node remembers of moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Moves {
    ordered_until: Option<Instant>,
    peer_better_since: Option<Instant>,
    orderly_since: Option<Instant>,
    made: Vec<Instant>,
    retry_at: Instant,
    /// The active node's database is not writable since.
    pub down_since: Option<Instant>,
    /// The addresses are not held by the active node since.
    pub bare_since: Option<Instant>,
    /// The critical services failed here while this node was active, and the role was moved away.
    pub services_gave_up: Option<Instant>,
    /// The checkpoint before the clean stop was written, or tried.
    pub checkpointed: bool,
    /// The database is told to stop and was not seen stopped.
    pub stopping: bool,
    /// Of a giving node: since when the addresses are seen released.
    pub released_at: Option<Instant>,
    /// Of a giving node: the first heartbeat that says so.
    told_from: u64,
    /// Of a giving node: since when the role is offered.
    pub handed: Option<Instant>,
    /// This node's clean end is what its certificate rests on.
    pub handed_over: bool,
}

impl Moves {
    pub fn new(now: Instant) -> Moves {
        Moves {
            ordered_until: None,
            peer_better_since: None,
            orderly_since: None,
            made: Vec::new(),
            retry_at: now,
            down_since: None,
            bare_since: None,
            services_gave_up: None,
            checkpointed: false,
            stopping: false,
            released_at: None,
            told_from: 0,
            handed: None,
            handed_over: false,
        }
    }

    /// An administrator's order counts for as long as a turn or two may take.
    pub fn order(&mut self, now: Instant, timing: &Timing) {
        self.ordered_until = Some(now + timing.lost_after * 2);
        self.retry_at = now;
    }

    pub fn database_seen(&mut self, now: Instant, authority: Authority, state: DatabaseState) {
        if state == DatabaseState::Stopped {
            self.stopping = false;
        }
        self.down_since = match (authority, state) {
            (Authority::Active, DatabaseState::Writable) => None,
            (Authority::Active, _) => self.down_since.or(Some(now)),
            _ => None,
        };
    }

    /// A handover begins.
    pub fn begin(&mut self, now: Instant, reason: Reason) {
        match reason {
            Reason::PeerIsBetter | Reason::Failback => self.made.push(now),
            Reason::Ordered | Reason::Leaving => {}
        }
        self.ordered_until = None;
        (self.checkpointed, self.stopping) = (false, false);
        (self.released_at, self.handed) = (None, None);
    }

    /// Not again at once.
    pub fn broken_off(&mut self, now: Instant, timing: &Timing) {
        self.retry_at = now + timing.critical_down.max(timing.lost_after * 8);
    }

    fn limit_reached(&self, now: Instant, policy: &Policy) -> bool {
        let lately = self.made.iter().filter(|at| now.since(**at) < policy.within).count();
        lately >= policy.moves as usize
    }
}

impl Node {
    /// Notes what a move depends on; once a turn, before the decision.
    pub(super) fn turn_moves(&mut self, now: Instant, woke: bool) {
        let active = self.authority == Authority::Active;
        let held = self.groups.iter().all(|group| group.presence == super::event::Presence::Held);
        let moves = &mut self.moves;
        moves.bare_since = if active && !held { moves.bare_since.or(Some(now)) } else { None };
        let within = self.setup.policy.within;
        moves.made.retain(|at| now.since(*at) < within);
        self.turn_found(now, active);
        let better = active && self.peer_is_better(now);
        let orderly = active && self.hindrance(now).is_none();
        let moves = &mut self.moves;
        moves.peer_better_since = if better { moves.peer_better_since.or(Some(now)) } else { None };
        moves.orderly_since = if orderly { moves.orderly_since.or(Some(now)) } else { None };
        if self.authority == Authority::Giving {
            self.turn_giving(now);
        }
        let follows = self.authority == Authority::Standby && self.database.streaming;
        let serves = matches!(self.authority, Authority::Taking | Authority::Active);
        if woke || follows || serves || !self.certificate.usable(now) {
            self.moves.handed_over = false;
        }
    }

    /// How long the standby has said that this node's services do not answer over the LAN.
    fn turn_found(&mut self, now: Instant, active: bool) {
        for index in 0..self.groups.len() {
            let found = active
                && self
                    .heard(now)
                    .and_then(|peer| peer.groups.get(index))
                    .is_some_and(|report| report.finds_peer_failed);
            let since = &mut self.groups[index].found_failed_since;
            *since = if found { since.or(Some(now)) } else { None };
        }
    }

    fn turn_giving(&mut self, now: Instant) {
        if self.moves.released_at.is_none() && self.released() {
            self.moves.released_at = Some(now);
            self.moves.told_from = self.sent.last_sequence() + 1;
            self.clock.heartbeat_due = now;
        }
        // Without a clean end the peer goes by its certificate, which must still be this node's
        // word (rule 25); under `async` nobody ever had one.
        let attested = !self.setup.database
            || self.database.log.is_some()
            || self.issuer.certifying()
            || self.setup.durability == Durability::Async;
        let given_back = self.grant.is_given_back(now, self.setup.me, &self.setup.timing);
        let in_order = attested && given_back && self.is_seen_letting_go(now);
        if self.moves.handed.is_none() && self.has_ended() && in_order {
            self.moves.handed = Some(now);
            self.moves.handed_over = true;
            self.certificate.grant(now, &self.setup.timing);
        }
    }

    /// The peer knows that this node may hold a certificate by its clean end soon, and waits for as
    /// long as that may last before it acknowledges alone (rules 17 and 26). A last word that is
    /// lost must not leave the two of a different mind.
    fn is_seen_letting_go(&self, now: Instant) -> bool {
        !self.give_is_undone(now)
            && self.peer.last.as_ref().and_then(|peer| peer.echo).is_some_and(|echo| {
                self.sent.echoed(&echo).is_some() && echo.sequence >= self.moves.told_from
            })
    }

    /// A giving node has nothing left of the role but the word of it.
    pub(super) fn has_ended(&self) -> bool {
        let stopped = !self.setup.database
            || (self.database.state == DatabaseState::Stopped && self.pending.database.is_none());
        self.released() && stopped
    }

    /// Why the role is to be given away now, if it is and can be.
    pub(super) fn give(&self, now: Instant) -> Option<Reason> {
        if now < self.moves.retry_at || self.hindrance(now).is_some() {
            return None;
        }
        let lasted = |since: Option<Instant>, span: Duration| {
            since.is_some_and(|since| now.since(since) >= span)
        };
        let policy = &self.setup.policy;
        if self.orders.leave {
            return Some(Reason::Leaving);
        }
        if self.moves.ordered_until.is_some_and(|until| now < until) {
            return Some(Reason::Ordered);
        }
        if self.moves.limit_reached(now, policy) {
            return None;
        }
        if lasted(self.moves.peer_better_since, self.setup.timing.lost_after) {
            return Some(Reason::PeerIsBetter);
        }
        let goes_back = policy.preferred == Some(self.setup.me.peer())
            && !self.orders.failback_barred
            && policy.failback_after.is_some_and(|span| lasted(self.moves.orderly_since, span));
        goes_back.then_some(Reason::Failback)
    }

    /// What keeps this node from handing its role over at `now`.
    pub fn hindrance(&self, now: Instant) -> Option<Hindrance> {
        if self.authority != Authority::Active {
            return Some(Hindrance::NotActive);
        }
        let timing = &self.setup.timing;
        let alive = self.peer.liveness(now, timing) == Liveness::Alive;
        let Some(peer) = self.peer.last.as_ref().filter(|_| alive) else {
            return Some(Hindrance::PeerNotHeard);
        };
        if self.lease.unlimited() || peer.promise == Promise::Leaving {
            return Some(Hindrance::PeerHasLeft);
        }
        if !self.peer.two_way(now, timing) || !self.lease.holds(now) {
            return Some(Hindrance::PeerNotHeard);
        }
        if peer.stance != Stance::Standby {
            return Some(Hindrance::PeerNotStandby);
        }
        let waits = self.setup.database && self.setup.durability != Durability::Async;
        if waits && !(self.issuer.certifying() && peer.certified) {
            return Some(Hindrance::NotCertified);
        }
        if self.setup.database && self.database.state == DatabaseState::Writable && !self.is_near()
        {
            return Some(Hindrance::StandbyLags);
        }
        (now < self.moves.retry_at).then_some(Hindrance::JustBrokenOff)
    }

    /// What the standby lacks is sent within a moment.
    fn is_near(&self) -> bool {
        match (&self.database.log, self.database.replica) {
            (Some(log), Some(replica)) => replica.flush + Self::NEAR >= log.position,
            (None, _) | (_, None) => false,
        }
    }

    /// One segment of log.
    const NEAR: u64 = 16 << 20;

    /// The peer can do the job in every respect, and this node fails in one.
    fn peer_is_better(&self, now: Instant) -> bool {
        let Some(peer) = self.heard(now) else { return false };
        (0..self.groups.len()).any(|index| {
            let mine = self.health(now, index);
            let failed = [mine.database, mine.network, mine.services].contains(&Grade::Failed);
            failed && peer.groups.get(index).is_some_and(|report| report.health == Health::GOOD)
        })
    }

    /// What made the handover possible has gone before anything was offered, or it takes too long.
    pub(super) fn give_is_undone(&self, now: Instant) -> bool {
        let timing = &self.setup.timing;
        let peer_gone = self.peer.liveness(now, timing) != Liveness::Alive
            || !self.peer.two_way(now, timing)
            || !self.lease.holds(now)
            || self.heard(now).is_none_or(|peer| peer.stance != Stance::Standby);
        let too_long = match self.moves.released_at {
            Some(at) => now.since(at) >= timing.replication_stall * 2,
            None => now.since(self.since) >= timing.step_deadline,
        };
        peer_gone || too_long
    }

    /// The peer was offered the role and has done nothing about it for long enough.
    pub(super) fn offer_is_refused(&self, now: Instant) -> bool {
        let patience = self.setup.timing.lost_after * 2;
        self.moves.handed.is_some_and(|at| now.since(at) >= patience)
            && self.peer.idle_for(now, patience)
    }
}
