//! What this node has sent: an echo is worth the time at which the echoed heartbeat left.

use super::heartbeat::Echo;
use super::identity::Session;
use super::time::Instant;

/// One heartbeat that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    sequence: u64,
    /// When it left.
    pub at: Instant,
    /// When the peer's heartbeat that it echoes had arrived.
    pub echoed_receipt: Option<Instant>,
}

/// The latest heartbeats of this session, newest overwriting oldest.
#[derive(Clone, Debug)]
pub struct SentLog {
    session: Session,
    last: u64,
    ring: [Option<Sent>; SentLog::REMEMBERED],
}

impl SentLog {
    /// Older ones say nothing that matters: they are longer ago than any lease lasts.
    pub const REMEMBERED: usize = 128;

    /// Of a session that has sent nothing.
    pub fn new(session: Session) -> Self {
        SentLog { session, last: 0, ring: [None; Self::REMEMBERED] }
    }

    /// The newest sequence; zero before the first.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Notes that a heartbeat leaves now; returns its sequence.
    pub fn note(&mut self, at: Instant, echoed_receipt: Option<Instant>) -> u64 {
        self.last += 1;
        let sent = Sent { sequence: self.last, at, echoed_receipt };
        self.ring[(self.last % Self::REMEMBERED as u64) as usize] = Some(sent);
        self.last
    }

    /// The heartbeat that `echo` proves to have arrived; `None` for another session's, a forgotten
    /// or an invented one.
    pub fn echoed(&self, echo: &Echo) -> Option<Sent> {
        let sent = self.ring[(echo.sequence % Self::REMEMBERED as u64) as usize]?;
        (echo.session == self.session && sent.sequence == echo.sequence).then_some(sent)
    }
}

super::value::fields!(Sent { sequence, at, echoed_receipt });
super::value::fields!(SentLog { session, last, ring });
