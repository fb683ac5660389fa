//! A node's side of the witness: what it has asked, what the answers are worth, and what it asks next
//! (rules 9, 11, 17 and 28).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::identity::{NodeId, Term};
use super::lead::{Authority, Basis};
use super::node::{Durability, Node};
use super::peer::Liveness;
use super::time::{Duration, Instant};
use super::timing::Timing;
use super::witness::{Ledger, Refusal, Reply, Request, Verdict, Wish};

/// One request that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Asked {
    sequence: u64,
    wish: Wish,
    at: Instant,
}

/// What this session knows of the witness.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    last: u64,
    ticket: u64,
    ring: [Option<Asked>; Grant::REMEMBERED],
    /// The newest answer, and when its question left.
    heard: Option<(Instant, Reply)>,
    until: Option<Instant>,
    /// Answers to requests up to this one entitle to nothing: the role was given up since.
    void: u64,
    /// Newest requests of a kind, and which of them are confirmed.
    granted: Mark,
    excluded: Mark,
    cleared: Mark,
    released: Mark,
    /// Since when the grant of a role that ended in order is being given back.
    releasing_since: Option<Instant>,
    queried: Mark,
    due: Instant,
}

/// The newest request of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Mark {
    asked: u64,
    asked_at: Instant,
    confirmed: u64,
}

impl Grant {
    /// Older requests are longer ago than an answer may take.
    const REMEMBERED: usize = 32;

    /// Of a session that has asked nothing.
    pub fn new(now: Instant) -> Self {
        Grant {
            last: 0,
            ticket: 0,
            ring: [None; Self::REMEMBERED],
            heard: None,
            until: None,
            void: 0,
            granted: Mark::default(),
            excluded: Mark::default(),
            cleared: Mark::default(),
            released: Mark::default(),
            releasing_since: None,
            queried: Mark::default(),
            due: now,
        }
    }

    /// The grant is in force: counted from when the request left (rule 11).
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it ends.
    pub fn ends(&self) -> Option<Instant> {
        self.until
    }

    /// The newest answer, and when its question left.
    pub fn heard(&self) -> Option<&(Instant, Reply)> {
        self.heard.as_ref()
    }

    /// The highest term that the witness is known to have granted.
    pub fn term(&self) -> Term {
        self.heard.map_or(Term::ZERO, |(_, reply)| reply.ledger.term())
    }

    /// The witness refuses the role because the peer has it, or had it since.
    pub fn is_refused(&self) -> bool {
        self.heard.is_some_and(|(_, reply)| {
            matches!(
                reply.verdict,
                Verdict::Refused(Refusal::HeldByPeer | Refusal::LowerTerm | Refusal::Excluded)
            )
        })
    }

    /// "You were excluded", by the newest answer.
    pub fn excludes(&self, me: NodeId) -> bool {
        self.heard.is_some_and(|(_, reply)| reply.ledger.excluded == Some(me))
    }

    /// Asked since `silence` began, the witness said: last holder = you, and not excluded (C5).
    pub fn names(&self, me: NodeId, silence: Instant) -> bool {
        self.heard.is_some_and(|(asked, reply)| asked >= silence && reply.ledger.names(me))
    }

    /// The role was granted to this node last, or nothing is known.
    fn names_holder(&self, me: NodeId) -> bool {
        self.heard
            .is_none_or(|(_, reply)| reply.ledger.holder.is_some_and(|holder| holder.node == me))
    }

    /// It has confirmed, in this role and in reply to a request for that purpose, that the peer is
    /// excluded (rule 17 d, C4).
    pub fn excludes_peer(&self) -> bool {
        self.excluded.confirmed > self.void.max(self.cleared.asked)
    }

    /// The peer may be on record as excluded: to be cleared before it is certified (C4).
    pub fn may_exclude_peer(&self, me: NodeId) -> bool {
        self.may_be(self.excluded, |ledger| ledger.excluded == Some(me.peer()))
    }

    /// The witness may believe that this node holds the role.
    pub fn may_be_held(&self, me: NodeId) -> bool {
        self.may_be(self.granted, |ledger| ledger.is_held_by_peer_of(me.peer()))
    }

    /// The newest answer says so, or a request that may have made it so is newer.
    fn may_be(&self, made_by: Mark, says_so: impl Fn(&Ledger) -> bool) -> bool {
        match self.heard {
            Some((_, reply)) => made_by.asked > reply.sequence || says_so(&reply.ledger),
            None => made_by.asked > 0,
        }
    }

    /// Nothing of the role is left with the witness, or it has had the time to hear so (rule 28).
    pub fn is_given_back(&self, now: Instant, me: NodeId, timing: &Timing) -> bool {
        !self.may_be_held(me)
            || self.releasing_since.is_some_and(|since| now.since(since) >= timing.arbiter)
    }

    /// The role ended: what was answered for it is worth nothing any more.
    pub fn give_up(&mut self) {
        self.void = self.last;
        self.until = None;
        self.releasing_since = None;
    }

    /// Takes an answer; older ones than the newest, and those to nobody's question, are ignored.
    pub fn hear(&mut self, reply: Reply, timing: &Timing) {
        let slot = (reply.sequence % Self::REMEMBERED as u64) as usize;
        let Some(asked) = self.ring[slot].filter(|asked| asked.sequence == reply.sequence) else {
            return;
        };
        if self.heard.is_some_and(|(_, newest)| newest.sequence > reply.sequence) {
            return;
        }
        self.ticket = reply.ticket;
        self.heard = Some((asked.at, reply));
        self.mark(asked.wish).confirmed = match (asked.wish, reply.verdict) {
            (_, Verdict::Introduced) => {
                // Nothing was done: the same again, with the ticket.
                self.mark(asked.wish).asked_at = Instant::ZERO;
                return;
            }
            (_, Verdict::Done) => asked.sequence,
            (_, Verdict::Refused(_)) => self.mark(asked.wish).confirmed,
        };
        match (asked.wish, reply.verdict) {
            (Wish::Grant { .. }, Verdict::Done) if asked.sequence > self.void => {
                self.until = self.until.max(Some(asked.at + timing.grant_usable()));
            }
            (Wish::Grant { .. }, Verdict::Refused(_)) => self.until = None,
            _ => {}
        }
    }

    fn mark(&mut self, wish: Wish) -> &mut Mark {
        match wish {
            Wish::Query => &mut self.queried,
            Wish::Grant { .. } => &mut self.granted,
            Wish::Exclude => &mut self.excluded,
            Wish::Clear => &mut self.cleared,
            Wish::Release => &mut self.released,
        }
    }

    /// Notes that a request leaves now; returns its sequence.
    fn ask(&mut self, wish: Wish, at: Instant) -> u64 {
        self.last += 1;
        let sequence = self.last;
        self.ring[(sequence % Self::REMEMBERED as u64) as usize] =
            Some(Asked { sequence, wish, at });
        let mark = self.mark(wish);
        (mark.asked, mark.asked_at) = (sequence, at);
        match wish {
            Wish::Release => {
                let since = self.releasing_since.unwrap_or(at);
                self.give_up();
                self.releasing_since = Some(since);
            }
            Wish::Grant { .. } => self.releasing_since = None,
            Wish::Query | Wish::Exclude | Wish::Clear => {}
        }
        sequence
    }
}

/// A wish, and how often it is repeated: while it is not confirmed, and once it is.
struct Want {
    wish: Wish,
    period: Duration,
}

impl Node {
    pub(super) fn ask_witness(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.setup.arbitration.witness {
            return;
        }
        let mut due: Option<Instant> = None;
        for Want { wish, period } in self.wants(now) {
            let asked_at = self.grant.mark(wish).asked_at;
            let mut next = asked_at + period;
            if now >= next || asked_at == Instant::ZERO {
                let sequence = self.grant.ask(wish, now);
                actions.push(Action::AskWitness(Request {
                    node: self.setup.me,
                    session: self.setup.session,
                    sequence,
                    ticket: self.grant.ticket,
                    term: self.asked_term(),
                    grant: self.setup.timing.grant,
                    certificate: self.setup.timing.certificate,
                    wish,
                }));
                next = now + period;
            }
            due = Some(due.map_or(next, |due| due.min(next)));
        }
        self.grant.due = due.unwrap_or(now + self.setup.timing.calm_period());
    }

    /// When the next question to the witness is due.
    pub(super) fn witness_due(&self) -> Option<Instant> {
        self.setup.arbitration.witness.then_some(self.grant.due)
    }

    fn wants(&self, now: Instant) -> Vec<Want> {
        let timing = &self.setup.timing;
        let mut wants = Vec::new();
        let mut want = |wish, period| wants.push(Want { wish, period });
        // One retry fits into A.
        let brisk = timing.arbiter / 2;
        let quiet = self.peer.liveness(now, timing) >= Liveness::Late;
        let grant = Wish::Grant { despite_exclusion: self.serves_despite_exclusion(now) };
        let gives_back = self.grant.may_be_held(self.setup.me);
        match self.authority {
            Authority::Active => {
                let alone = !self.lease.unlimited()
                    && (quiet || self.lease_is_late().is_none_or(|late| now >= late));
                // Who has no carrier serves nobody: the peer may.
                let deaf = self.groups.iter().any(|group| group.lan.deaf);
                if (alone && !deaf) || self.issuer.wants_lone() {
                    want(grant, timing.grant_renewal);
                } else {
                    // It is on record who served last, and stands in nobody's way (C5).
                    let on_record = self.grant.names_holder(self.setup.me);
                    let wish = if on_record { Wish::Query } else { grant };
                    want(wish, timing.calm_period());
                    if gives_back {
                        want(Wish::Release, brisk);
                    }
                }
                let excludes = self.issuer.wants_lone() || self.issuer.lone();
                if self.waits() && excludes && !self.grant.excludes_peer() {
                    want(Wish::Exclude, brisk);
                }
                if self.issuer.may_clear_exclusion(&self.database)
                    && self.grant.may_exclude_peer(self.setup.me)
                {
                    want(Wish::Clear, brisk);
                }
            }
            Authority::Asking => want(grant, timing.grant_renewal),
            Authority::Taking => match self.claim.map(|claim| claim.basis) {
                Some(Basis::Agreement) => want(Wish::Query, timing.calm_period()),
                // From consent on: a promise that lapses later must not cost a round trip (C24).
                Some(Basis::Offer | Basis::TakeBack | Basis::Arbitration) | None => {
                    want(grant, timing.grant_renewal);
                }
            },
            Authority::Giving if self.has_ended() && gives_back => want(Wish::Release, brisk),
            Authority::Giving => want(Wish::Query, timing.calm_period()),
            Authority::Standby | Authority::Joining | Authority::Held => {
                if gives_back && self.prepared() {
                    want(Wish::Release, brisk);
                }
                let hurried = quiet && self.authority != Authority::Held;
                let period = if hurried { timing.grant_renewal } else { timing.calm_period() };
                want(Wish::Query, period);
            }
        }
        wants
    }

    /// Commits of this pair wait for the standby.
    pub(super) fn waits(&self) -> bool {
        self.setup.durability != Durability::Async && self.setup.database
    }

    /// Who believes that it has every row asks first as one who has: told that it was excluded, it
    /// knows what it lacks, and may go on as `available`.
    fn serves_despite_exclusion(&self, now: Instant) -> bool {
        let knows = self.setup.durability != Durability::Strict && !self.certificate.usable(now);
        knows || self.orders.take_anyway
    }

    fn asked_term(&self) -> Term {
        match (self.authority, self.claim) {
            (Authority::Taking, Some(claim)) => claim.term,
            (Authority::Asking, _) => self.next_term(),
            _ => self.durable.term,
        }
    }

    /// The term that an attempt claims: above every one that is known, or the one that the witness
    /// has granted for it.
    pub(super) fn next_term(&self) -> Term {
        let known = self.durable.term.max(self.peer.term());
        let granted = self.grant.term();
        if granted.node == self.setup.me && granted > known {
            granted
        } else {
            known.max(granted).next_for(self.setup.me)
        }
    }

    /// An active node whose term is below the witness's raises its own, or it would be refused for
    /// ever (C16).
    pub(super) fn raised_term(&self) -> Term {
        let (own, granted) = (self.durable.term, self.grant.term());
        if granted > own { granted.next_for(self.setup.me) } else { own }
    }
}
