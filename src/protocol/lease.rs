//! The active node's lease: what the peer's promise is worth here (rules 1 to 3).

use serde::{Deserialize, Serialize};

use super::heartbeat::{Heartbeat, Promise};
use super::identity::Session;
use super::peer::does_nothing;
use super::sent::Sent;
use super::time::Instant;
use super::timing::Timing;

/// Until when the peer is bound not to take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lease {
    until: Option<Instant>,
    /// The peer's session that has left the pair (rule 3), which replaces the lease.
    left: Option<Session>,
}

impl Lease {
    /// The peer is bound now.
    pub fn holds(&self, now: Instant) -> bool {
        self.left.is_some() || self.until.is_some_and(|until| now < until)
    }

    /// When an ordinary lease ends; `None` when there is none or it has no end.
    pub fn ends(&self) -> Option<Instant> {
        if self.left.is_some() { None } else { self.until }
    }

    /// The peer has left and is bound until it says otherwise.
    pub fn unlimited(&self) -> bool {
        self.left.is_some()
    }

    /// Takes a heartbeat of the peer that arrived at `at`; `echoed` is the own heartbeat that it
    /// proves to have arrived.
    pub fn hear(
        &mut self,
        heartbeat: &Heartbeat,
        at: Instant,
        echoed: Option<Sent>,
        timing: &Timing,
    ) {
        match (heartbeat.promise, echoed) {
            // Valid only when it echoes this session; it replaces the lease (C27). And freshly: a
            // peer that took the role from a node that hung may have left since, with the echo of
            // what that node had said before.
            (Promise::Leaving, Some(sent)) => {
                if at.since(sent.at) < timing.lost_after {
                    *self = Lease { until: None, left: Some(heartbeat.session) };
                }
            }
            (Promise::Leaving, None) => {}
            (Promise::For(_) | Promise::None, _) => {
                // Whoever has left stays bound until it hears this heartbeat echoed, which is later
                // than now, and must then find this node silent: an ordinary promise, counted from
                // its arrival (rule 3).
                if self.left.take().is_some() && does_nothing(heartbeat.stance) {
                    self.extend(at + timing.lease(timing.lost_after));
                }
            }
        }
        if let (Promise::For(promise), Some(sent)) = (heartbeat.promise, echoed) {
            self.extend(sent.at + timing.lease(promise));
        }
    }

    fn extend(&mut self, until: Instant) {
        self.until = self.until.max(Some(until));
    }

    /// The agreement or the role ended: an ordinary lease does not survive it. That the peer has
    /// left does: it is on the peer's disk, for this session.
    pub fn lapse(&mut self) {
        self.until = None;
    }
}
