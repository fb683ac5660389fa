//! What is known of the peer from its heartbeats: alive, both ways or one, doing what.

use serde::{Deserialize, Serialize};

use super::heartbeat::{Echo, Heartbeat, Stance};
use super::identity::{Session, Term};
use super::sent::Sent;
use super::time::{Duration, Instant};
use super::timing::Timing;

/// How long the peer has been silent, in the words of people; only `Lost` may move anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Liveness {
    /// Heard in time.
    Alive,
    /// Warns and prepares.
    Late,
    /// Silent for `lost_after`, or never heard.
    Lost,
}

/// The peer as a decision sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// It serves, or its database is promoted; respected even when heard one way only.
    Serves,
    /// It takes the role and has not promoted.
    Takes,
    /// It has given up the role in order and offers it.
    Hands,
    /// Heard both ways, doing none of these.
    Idle,
    /// Neither heard properly nor silent for long enough.
    Unsettled,
    /// Silent for as long as this node must wait.
    Silent,
}

impl View {
    /// Every view, for the decision table.
    pub const ALL: [View; 6] =
        [View::Serves, View::Takes, View::Hands, View::Idle, View::Unsettled, View::Silent];
}

/// How long a node must have heard nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Silence of every kind.
    pub silent: Duration,
    /// Heartbeats of a peer that does nothing, without an echo.
    pub unechoed: Duration,
}

impl Patience {
    /// Of a node in the pair's order.
    pub fn settled(timing: &Timing) -> Self {
        Patience { silent: timing.lost_after, unechoed: timing.unechoed_after() }
    }

    /// Of a node that has just started, woken or failed.
    pub fn joining(timing: &Timing) -> Self {
        Patience { silent: timing.start_grace, unechoed: timing.start_grace }
    }
}

/// Everything heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// The newest heartbeat.
    pub last: Option<Heartbeat>,
    last_at: Instant,
    session_at: Instant,
    echoed_at: Option<Instant>,
    idle_since: Option<Instant>,
    /// Its database is seen stopped and its log unreadable since: it was started again in between,
    /// and never came as far as to state a log.
    logless_since: Option<Instant>,
    /// Silence counts from here at the earliest: session start, or the end of a stall.
    awake_since: Instant,
    /// When the peer's active heartbeat had arrived that the peer knows this node to have echoed;
    /// its lease ends no earlier than a lease from then (rule 7).
    pub acknowledged_receipt: Option<Instant>,
}

impl Peer {
    /// Nothing heard since `start`.
    pub fn new(start: Instant) -> Self {
        Peer {
            last: None,
            last_at: start,
            session_at: start,
            echoed_at: None,
            idle_since: None,
            logless_since: None,
            awake_since: start,
            acknowledged_receipt: None,
        }
    }

    /// Takes a heartbeat that arrived at `at`; `echoed` is the own one that it proves heard.
    /// Returns whether it is newer than all before.
    pub fn hear(&mut self, heartbeat: Heartbeat, at: Instant, echoed: Option<Sent>) -> bool {
        let same_life = self.is_in(heartbeat.session);
        if same_life && self.last.as_ref().is_some_and(|last| last.sequence >= heartbeat.sequence) {
            return false;
        }
        if !same_life {
            self.session_at = at;
            self.echoed_at = None;
            self.idle_since = None;
            self.logless_since = None;
            self.acknowledged_receipt = None;
        }
        self.last_at = self.last_at.max(at);
        if let Some(sent) = echoed {
            self.echoed_at = Some(self.echoed_at.map_or(sent.at, |known| known.max(sent.at)));
            if heartbeat.stance == Stance::Active {
                self.acknowledged_receipt = self.acknowledged_receipt.max(sent.echoed_receipt);
            }
        }
        if !does_nothing(heartbeat.stance) {
            self.idle_since = None;
        } else if self.idle_since.is_none() {
            self.idle_since = Some(at);
        }
        if heartbeat.log.is_some() || !does_nothing(heartbeat.stance) {
            self.logless_since = None;
        } else if heartbeat.database_failed() {
            self.logless_since = self.logless_since.or(Some(at));
        }
        self.last = Some(heartbeat);
        true
    }

    /// It was last heard in this life.
    pub fn is_in(&self, session: Session) -> bool {
        self.last.as_ref().is_some_and(|last| last.session == session)
    }

    /// The later of the beginnings of its life, as far as it was heard, and of this node's or of its
    /// last stall's end.
    pub fn settled_from(&self) -> Instant {
        self.session_at.max(self.awake_since)
    }

    /// This node was stalled until now: silence counts from here.
    pub fn wake(&mut self, now: Instant) {
        self.awake_since = now;
        self.idle_since = self.idle_since.map(|_| now);
        self.acknowledged_receipt = None;
    }

    /// When the newest heartbeat arrived.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last.as_ref().map(|_| self.last_at)
    }

    /// When the newest own heartbeat left that the peer has proved to have heard.
    pub fn echoed_at(&self) -> Option<Instant> {
        self.echoed_at
    }

    /// What the next heartbeat echoes.
    pub fn echo(&self, now: Instant) -> Option<Echo> {
        self.last.as_ref().map(|last| Echo {
            session: last.session,
            sequence: last.sequence,
            age: now.since(self.last_at),
        })
    }

    /// For people and for preparing; a decision asks for a [`View`].
    pub fn liveness(&self, now: Instant, timing: &Timing) -> Liveness {
        let silence = now.since(self.last_at);
        if self.last.is_none() || silence >= timing.lost_after {
            Liveness::Lost
        } else if silence >= timing.late_after {
            Liveness::Late
        } else {
            Liveness::Alive
        }
    }

    /// The peer answers, and lately: it echoed a heartbeat that left within `lost_after`.
    pub fn two_way(&self, now: Instant, timing: &Timing) -> bool {
        self.echoed_at.is_some_and(|sent| now.since(sent) < timing.lost_after)
    }

    /// From when on silence counts.
    pub fn silence_from(&self) -> Instant {
        self.last_at.max(self.awake_since)
    }

    /// The peer as a decision must see it (rule 21).
    pub fn view(&self, now: Instant, timing: &Timing, patience: Patience) -> View {
        let heard = self.last.as_ref().filter(|_| now.since(self.last_at) < timing.lost_after);
        let Some(last) = heard else {
            return if now.since(self.silence_from()) >= patience.silent {
                View::Silent
            } else {
                View::Unsettled
            };
        };
        match last.stance {
            Stance::Promoted | Stance::Active => View::Serves,
            Stance::Taking => View::Takes,
            Stance::Handing => View::Hands,
            Stance::Joining | Stance::Standby | Stance::Held | Stance::Asking => {
                let unechoed_from = self
                    .echoed_at
                    .map_or(self.session_at, |sent| sent.max(self.session_at))
                    .max(self.awake_since);
                if self.two_way(now, timing) {
                    View::Idle
                } else if now.since(unechoed_from) >= patience.unechoed {
                    View::Silent
                } else {
                    View::Unsettled
                }
            }
        }
    }

    /// The peer has done nothing for `start_grace`, or has left (rule 21).
    pub fn idle_for(&self, now: Instant, span: Duration) -> bool {
        self.idle_since.is_some_and(|since| now.since(since.max(self.awake_since)) >= span)
    }

    /// The peer's database does not start: it is down now, and has not come up for `span`, so that
    /// its log is not to be learnt by waiting (rule 22).
    pub fn database_lost_for(&self, now: Instant, span: Duration) -> bool {
        self.last.as_ref().is_some_and(Heartbeat::database_failed)
            && self.logless_since.is_some_and(|at| now.since(at.max(self.awake_since)) >= span)
    }

    /// The highest term that the peer has named.
    pub fn term(&self) -> Term {
        self.last.as_ref().map_or(Term::ZERO, |last| last.term)
    }
}

/// It neither serves nor takes.
pub(super) fn does_nothing(stance: Stance) -> bool {
    match stance {
        Stance::Joining | Stance::Standby | Stance::Held | Stance::Asking => true,
        Stance::Taking | Stance::Promoted | Stance::Active | Stance::Handing => false,
    }
}
