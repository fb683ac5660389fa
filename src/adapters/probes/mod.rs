//! Questions to a service, asked from inside the daemon: no process is made for a check.
//!
//! Three answers: it works, it does not, and "the question could not be asked", which says nothing
//! about the service. Counting answers until they mean something is [`Tally`]'s.

pub mod message;
pub mod sip;
pub mod tcp;

use std::fmt;
use std::io;
use std::time::Duration;

use crate::config::{Probe, ProbeKind};
use crate::protocol::health::Grade;

/// What one question brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The service answered as it should, after this time.
    Good(Duration),
    /// The service does not do its work.
    Bad(Bad),
    /// The question could not be asked: nothing is known.
    CouldNotRun(CouldNotRun),
}

/// How a service failed to answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Bad {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// The connection was made and broken off.
    #[error("broken off")]
    BrokenOff,
    /// Nothing came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    /// A SIP response that says that the server cannot serve.
    #[error("SIP status {0}")]
    Status(u16),
}

/// Why a question could not be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CouldNotRun {
    /// The kernel had no socket, buffer, address or route for it.
    #[error("cannot {what}: {}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer, as `errno(3)`.
        errno: i32,
    },
    /// No random numbers.
    #[error("no random numbers")]
    NoRandom,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Good(after) => write!(f, "answered after {:.1} ms", after.as_secs_f64() * 1e3),
            Answer::Bad(bad) => bad.fmt(f),
            Answer::CouldNotRun(reason) => write!(f, "could not ask: {reason}"),
        }
    }
}

/// Asks once; takes at most the probe's timeout.
pub async fn ask(probe: &Probe) -> Answer {
    match probe.kind {
        ProbeKind::Tcp(target) => tcp::ask(target, probe.timeout).await,
        ProbeKind::SipUdp(target) => sip::ask(target, probe.timeout).await,
    }
}

/// What an error on the way to the service says about it: only what its own host answers in its
/// name is bad; everything else is our end, or the way.
fn judge(what: &'static str, error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Answer::Bad(Bad::Refused),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            Answer::Bad(Bad::BrokenOff)
        }
        _ => Answer::CouldNotRun(CouldNotRun::System {
            what,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }),
    }
}

/// Counts answers in a row until they mean something.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    rise: u32,
    fall: u32,
    good: u32,
    bad: u32,
    not_run: u32,
    grade: Grade,
}

impl Tally {
    /// Nothing known yet.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Tally { rise, fall, good: 0, bad: 0, not_run: 0, grade: Grade::Unknown }
    }

    /// What the answers so far mean.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Takes one more answer: `rise` good ones in a row make it good, `fall` bad ones failed, and
    /// after `fall` questions in a row that could not be asked, what was known is out of date.
    pub fn take(&mut self, answer: &Answer) -> Grade {
        match answer {
            Answer::Good(_) => {
                (self.good, self.bad, self.not_run) = (self.good.saturating_add(1), 0, 0);
                if self.good >= self.rise {
                    self.grade = Grade::Good;
                }
            }
            Answer::Bad(_) => {
                (self.good, self.bad, self.not_run) = (0, self.bad.saturating_add(1), 0);
                if self.bad >= self.fall {
                    self.grade = Grade::Failed;
                }
            }
            Answer::CouldNotRun(_) => {
                self.not_run = self.not_run.saturating_add(1);
                if self.not_run >= self.fall {
                    (self.good, self.bad, self.grade) = (0, 0, Grade::Unknown);
                }
            }
        }
        self.grade
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Grade::{Failed, Good, Unknown};

    const YES: Answer = Answer::Good(Duration::ZERO);
    const NO: Answer = Answer::Bad(Bad::Refused);
    const NOT_RUN: Answer = Answer::CouldNotRun(CouldNotRun::NoRandom);

    fn grades(rise: u32, fall: u32, answers: &[Answer]) -> Vec<Grade> {
        let mut tally = Tally::new(rise, fall);
        answers.iter().map(|answer| tally.take(answer)).collect()
    }

    #[test]
    fn counts_in_a_row() {
        assert_eq!(
            grades(1, 3, &[YES, NO, NO, YES, NO, NO, NO, YES]),
            [Good, Good, Good, Good, Good, Good, Failed, Good]
        );
        assert_eq!(grades(2, 1, &[YES, NO, YES, YES]), [Unknown, Failed, Failed, Good]);
        assert_eq!(grades(0, 0, &[NO, YES]), [Failed, Good]);
    }

    #[test]
    fn not_asked_is_not_bad() {
        assert_eq!(
            grades(1, 2, &[YES, NOT_RUN, NOT_RUN, NO, NO]),
            [Good, Good, Unknown, Unknown, Failed]
        );
        // One missed question neither counts as bad nor forgives the bad one before it.
        assert_eq!(grades(1, 2, &[YES, NO, NOT_RUN, NO]), [Good, Good, Good, Failed]);
    }

    #[test]
    fn our_own_trouble_is_not_the_services() {
        let judged = |errno| judge("connect", &io::Error::from_raw_os_error(errno));
        assert_eq!(judged(libc::ECONNREFUSED), Answer::Bad(Bad::Refused));
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EMFILE, libc::ENOBUFS] {
            assert!(matches!(judged(errno), Answer::CouldNotRun(_)), "{errno}");
        }
    }
}
