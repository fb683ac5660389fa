//! Tells a fresh heartbeat from a copy, a late one and a recorded one. Pure: no clock, no wall time.
//!
//! Within a session the sequence decides. Between sessions a challenge does: my own sequence
//! numbers, echoed. Suppose that session S is the proven one, and that my newest heartbeat had the
//! number *floor* when the first of S arrived here. A heartbeat of another session that echoes a
//! number above floor was made after S had begun, and a node lives one life at a time: so it is
//! of S's successor. Every heartbeat of an earlier life, recorded or withheld, echoes at most floor
//! (or another session of mine) and is refused for ever, without a list of dead sessions.
//!
//! Until the peer has proved itself once in my life, its sessions are passed unproven: a peer that
//! cannot hear me must be respected while it serves (PROTOCOL rule 21).

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::Refused;
use crate::protocol::heartbeat::{Echo, Heartbeat};
use crate::protocol::identity::Session;

/// An older heartbeat of the same session is a late one within this many numbers, and recorded
/// below. Links differ in delay, and a heartbeat is sent on all of them.
pub const REORDERED: u64 = 32;

/// Unproven sessions remembered at once; the one that was met first is forgotten first.
const UNPROVEN: usize = 8;

/// What an admitted heartbeat is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The newest of its session.
    Fresh,
    /// The newest, over another link.
    Copy,
    /// Overtaken by a newer one; it says that its link works, and nothing else.
    Stale,
}

/// The memory of one node about its peer's heartbeats.
#[derive(Clone, Debug)]
pub struct Admission {
    mine: Session,
    links: usize,
    /// My newest sequence.
    sent: u64,
    proven: Option<Course>,
    unproven: Vec<Course>,
}

/// What arrived of one session.
#[derive(Clone, Debug)]
struct Course {
    session: Session,
    /// My newest sequence when its first heartbeat arrived.
    floor: u64,
    newest: u64,
    /// The newest that each link delivered.
    by_link: Vec<u64>,
}

impl Admission {
    /// For the daemon's life `mine`, with this many links.
    pub fn new(mine: Session, links: usize) -> Admission {
        Admission { mine, links, sent: 0, proven: None, unproven: Vec::with_capacity(UNPROVEN) }
    }

    /// To be called before the heartbeat with this number leaves.
    pub fn sending(&mut self, sequence: u64) {
        self.sent = self.sent.max(sequence);
    }

    /// The session that proved itself, if one did.
    pub fn proven(&self) -> Option<Session> {
        self.proven.as_ref().map(|course| course.session)
    }

    /// Judges an authentic heartbeat of the peer that came over this link.
    ///
    /// # Errors
    /// `Replayed`, `UnknownSession` or `EchoOfUnsent`; nothing is learnt from such a heartbeat.
    pub fn admit(&mut self, heartbeat: &Heartbeat, link: usize) -> Result<Verdict, Refused> {
        let echoed = self.echoed(heartbeat.echo)?;
        let (session, sequence) = (heartbeat.session, heartbeat.sequence);
        if let Some(course) = &mut self.proven {
            if course.session == session {
                return course.take(sequence, link);
            }
            if echoed <= course.floor {
                return Err(Refused::UnknownSession);
            }
            let mut successor = Course::new(session, self.sent, self.links);
            let verdict = successor.take(sequence, link);
            self.proven = Some(successor);
            return verdict;
        }
        let at = self.unproven_at(session);
        let course = &mut self.unproven[at];
        let verdict = course.take(sequence, link);
        if verdict.is_ok() && echoed > course.floor {
            self.proven = Some(self.unproven.swap_remove(at));
            self.unproven = Vec::new();
        }
        verdict
    }

    /// The number of mine that the peer echoes; 0 when it echoes nothing of this session.
    fn echoed(&self, echo: Option<Echo>) -> Result<u64, Refused> {
        match echo {
            Some(echo) if echo.session == self.mine && echo.sequence > self.sent => {
                Err(Refused::EchoOfUnsent)
            }
            Some(echo) if echo.session == self.mine => Ok(echo.sequence),
            Some(_) | None => Ok(0),
        }
    }

    fn unproven_at(&mut self, session: Session) -> usize {
        if let Some(at) = self.unproven.iter().position(|course| course.session == session) {
            return at;
        }
        if self.unproven.len() == UNPROVEN {
            self.unproven.remove(0);
        }
        self.unproven.push(Course::new(session, self.sent, self.links));
        self.unproven.len() - 1
    }
}

impl Course {
    fn new(session: Session, floor: u64, links: usize) -> Course {
        Course { session, floor, newest: 0, by_link: vec![0; links] }
    }

    fn take(&mut self, sequence: u64, link: usize) -> Result<Verdict, Refused> {
        if self.newest.saturating_sub(sequence) > REORDERED {
            return Err(Refused::Replayed);
        }
        // A link delivers in order, so that what it delivers twice was repeated by somebody.
        if let Some(delivered) = self.by_link.get_mut(link) {
            if sequence <= *delivered {
                return Err(Refused::Replayed);
            }
            *delivered = sequence;
        }
        Ok(match sequence.cmp(&self.newest) {
            Ordering::Less => Verdict::Stale,
            Ordering::Equal => Verdict::Copy,
            Ordering::Greater => {
                self.newest = sequence;
                Verdict::Fresh
            }
        })
    }
}

#[cfg(test)]
mod tests;
