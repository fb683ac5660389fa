//! What this node has sent: an echo is worth the time at which the echoed heartbeat left.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::heartbeat::Echo;
use super::identity::Session;
use super::time::Instant;

/// One heartbeat that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    sequence: u64,
    /// When it left.
    pub at: Instant,
    /// When the peer's heartbeat that it echoes had arrived.
    pub echoed_receipt: Option<Instant>,
}

/// The latest heartbeats of this session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SentLog {
    session: Session,
    last: u64,
    /// Oldest first; at most [`SentLog::REMEMBERED`].
    sent: VecDeque<Sent>,
}

impl SentLog {
    /// Older ones say nothing that matters: they are longer ago than any lease lasts.
    pub const REMEMBERED: usize = 128;

    /// Of a session that has sent nothing.
    pub fn new(session: Session) -> Self {
        SentLog { session, last: 0, sent: VecDeque::with_capacity(Self::REMEMBERED) }
    }

    /// The newest sequence; zero before the first.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Notes that a heartbeat leaves now; returns its sequence.
    pub fn note(&mut self, at: Instant, echoed_receipt: Option<Instant>) -> u64 {
        self.last += 1;
        if self.sent.len() == Self::REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { sequence: self.last, at, echoed_receipt });
        self.last
    }

    /// The heartbeat that `echo` proves to have arrived; `None` for another session's, a forgotten
    /// or an invented one.
    pub fn echoed(&self, echo: &Echo) -> Option<Sent> {
        let is_it = |sent: &&Sent| echo.session == self.session && sent.sequence == echo.sequence;
        self.sent.iter().rev().find(is_it).copied()
    }
}
