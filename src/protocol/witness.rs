//! The witness: a third host that grants the role to one node at a time (rules 9 and 11).
//!
//! This is its whole rule, and the words between it and the nodes. *Grant*, *exclude* and *clear* are
//! separate; asking is not taking; nothing is answered before it is durable ([`Witness::handle`]).

use serde::{Deserialize, Serialize};

use super::identity::{NodeId, Session, Term};
use super::time::{Duration, Instant};

/// What a node asks the witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub node: NodeId,
    /// The asker's life.
    pub session: Session,
    /// Counts this session's requests, from 1: older ones than the newest are ignored.
    pub sequence: u64,
    /// What the witness last told this session to say; zero if it never did. A recorded request of
    /// an earlier session has one that is worth nothing any more.
    pub ticket: u64,
    /// The term that the asker claims, or the highest that it knows.
    pub term: Term,
    /// How long a grant lasts (G): the pair's file says so, the witness has no times of its own.
    pub grant: Duration,
    /// How long a certificate of this pair lives (C): as long must a witness without memory wait.
    pub certificate: Duration,
    /// What is wanted.
    pub wish: Wish,
}

/// What is wanted of the witness.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Wish {
    /// To know how things are; changes nothing.
    Query,
    /// To hold the role under this term for `grant` from now; also the renewal.
    Grant {
        /// The asker serves even if it was excluded: it waits for nobody, or a person said so.
        despite_exclusion: bool,
    },
    /// By the holder: the peer may lack rows from now on.
    Exclude,
    /// By the holder: the peer has every row again.
    Clear,
    /// By the holder: it serves no more, and will not without a new grant.
    Release,
}

/// What the witness answers, bound to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Who asked.
    pub node: NodeId,
    /// The asker's life.
    pub session: Session,
    /// The request that this answers.
    pub sequence: u64,
    /// What the asker is to say from now on.
    pub ticket: u64,
    /// What became of the wish.
    pub verdict: Verdict,
    /// How things are now.
    pub ledger: Ledger,
}

/// What became of a wish.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing: the session was not known yet. The ticket is to be used from now on.
    Introduced,
    /// It is done, and durable.
    Done,
    /// It is not.
    Refused(Refusal),
}

/// Why a wish was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The term is lower than the one on record: the asker is to raise its own (C16).
    LowerTerm,
    /// The peer's grant may still be in force, as far as the witness remembers.
    HeldByPeer,
    /// The asker was excluded: it may lack rows.
    Excluded,
    /// Only the holder may wish that.
    NotHolder,
    /// The witness has lost its memory, and waits until nothing of before can be in force.
    NoMemory,
}

/// What the witness keeps of one pair, on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Who was granted the role last.
    pub holder: Option<Holder>,
    /// Who may lack rows that the holder acknowledged.
    pub excluded: Option<NodeId>,
}

/// The last grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// To whom.
    pub node: NodeId,
    /// For which term.
    pub term: Term,
    /// For how long.
    pub grant: Duration,
    /// It was given back.
    pub released: bool,
}

impl Ledger {
    /// The highest term that was granted.
    pub fn term(&self) -> Term {
        self.holder.map_or(Term::ZERO, |holder| holder.term)
    }

    /// The node was granted the role last, and lacks nothing that the pair acknowledged (C5).
    pub fn names(&self, node: NodeId) -> bool {
        self.holder.is_some_and(|holder| holder.node == node) && self.excluded != Some(node)
    }

    /// The other node's grant is on record and was not given back.
    pub fn is_held_by_peer_of(&self, node: NodeId) -> bool {
        self.holder.is_some_and(|holder| holder.node == node.peer() && !holder.released)
    }
}

/// The witness of one pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    ledger: Ledger,
    started: Instant,
    /// When the holder's grant was last asked for; the start, for one of an earlier life (C28).
    granted_at: Instant,
    seats: [Seat; 2],
}

/// Which session of a node is listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seat {
    /// The one whose wishes count, with its ticket and newest request.
    taken: Option<(Session, u64, u64)>,
    /// Those that have not yet shown that they live now. Several, so that a recorded request of a
    /// session that has ended does not keep a living one out.
    offered: [Option<(Session, u64)>; Seat::OFFERS],
    /// Which of them is replaced next.
    next: usize,
}

impl Witness {
    /// A witness that starts at `now` with what its disk holds; `None` when it holds nothing.
    pub fn new(ledger: Option<Ledger>, now: Instant) -> Witness {
        Witness {
            ledger: ledger.unwrap_or_default(),
            started: now,
            granted_at: now,
            seats: [Seat::default(); 2],
        }
    }

    /// What must be on the disk before a reply leaves.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// For how long from `now` the holder's grant is in force; zero when it is not.
    pub fn in_force(&self, now: Instant) -> Duration {
        match self.ledger.holder {
            Some(Holder { grant, released: false, .. }) => {
                grant.saturating_sub(now.since(self.granted_at))
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    /// Judges one authentic request. The reply may leave only once [`Witness::ledger`] is durable;
    /// if it cannot be made so, this judgement is to be dropped as if the request had never come.
    ///
    /// `fresh` is a random number that was never used before: the ticket of a new session.
    pub fn handle(&mut self, now: Instant, request: &Request, fresh: u64) -> Option<Reply> {
        let (ticket, verdict) = match self.seats[request.node.index()].admit(request, fresh) {
            Admission::Stale => return None,
            Admission::New(ticket) => (ticket, Verdict::Introduced),
            Admission::Admitted => (request.ticket, self.judge(now, request)),
        };
        Some(Reply {
            node: request.node,
            session: request.session,
            sequence: request.sequence,
            ticket,
            verdict,
            ledger: self.ledger,
        })
    }

    fn judge(&mut self, now: Instant, request: &Request) -> Verdict {
        let is_holder = self.ledger.holder.is_some_and(|holder| holder.node == request.node);
        match request.wish {
            Wish::Query => Verdict::Done,
            Wish::Grant { despite_exclusion } => self.grant(now, request, despite_exclusion),
            Wish::Exclude | Wish::Clear | Wish::Release if !is_holder => {
                Verdict::Refused(Refusal::NotHolder)
            }
            Wish::Exclude => {
                self.ledger.excluded = Some(request.node.peer());
                Verdict::Done
            }
            Wish::Clear => {
                self.ledger.excluded = None;
                Verdict::Done
            }
            Wish::Release => {
                self.ledger.holder =
                    self.ledger.holder.map(|holder| Holder { released: true, ..holder });
                Verdict::Done
            }
        }
    }

    fn grant(&mut self, now: Instant, request: &Request, despite_exclusion: bool) -> Verdict {
        let is_excluded = self.ledger.excluded == Some(request.node);
        let awaits = request.grant + request.certificate;
        let refusal = match self.ledger.holder {
            Some(holder) if request.term < holder.term => Some(Refusal::LowerTerm),
            _ if is_excluded && !despite_exclusion => Some(Refusal::Excluded),
            Some(holder) if holder.node != request.node && !self.in_force(now).is_zero() => {
                Some(Refusal::HeldByPeer)
            }
            None if now.since(self.started) < awaits => Some(Refusal::NoMemory),
            Some(_) | None => None,
        };
        if let Some(refusal) = refusal {
            return Verdict::Refused(refusal);
        }
        self.granted_at = now;
        self.ledger.holder = Some(Holder {
            node: request.node,
            term: request.term,
            grant: request.grant,
            released: false,
        });
        if is_excluded {
            // What it serves from here on is what there is.
            self.ledger.excluded = None;
        }
        Verdict::Done
    }
}

enum Admission {
    /// Older than one that was heard, or of a session that has ended.
    Stale,
    /// Of a session that has yet to show that it lives now, by saying this.
    New(u64),
    Admitted,
}

impl Seat {
    const OFFERS: usize = 8;

    fn admit(&mut self, request: &Request, fresh: u64) -> Admission {
        if let Some((session, ticket, newest)) = self.taken
            && session == request.session
        {
            if ticket != request.ticket || request.sequence <= newest {
                return Admission::Stale;
            }
            self.taken = Some((session, ticket, request.sequence));
            return Admission::Admitted;
        }
        let mut offered = self.offered.into_iter().flatten();
        match offered.find(|(session, _)| *session == request.session) {
            Some((session, ticket)) if ticket == request.ticket => {
                self.taken = Some((session, ticket, request.sequence));
                self.offered = [None; Seat::OFFERS];
                Admission::Admitted
            }
            Some((_, ticket)) => Admission::New(ticket),
            None => {
                self.offered[self.next] = Some((request.session, fresh));
                self.next = (self.next + 1) % Seat::OFFERS;
                Admission::New(fresh)
            }
        }
    }
}
