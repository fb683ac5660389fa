//! The arbiter `lan`: the floating addresses stay unanswered and a reference answers (rules 5 to 8).
//!
//! One record per group. A witness (`grant`) or a fence (`fence`) stands beside it, with the same two
//! questions: does it consent to a takeover, and does it let an active node go on past its lease?

use serde::{Deserialize, Serialize};

use super::event::{Answerer, LanSeen};
use super::time::{Duration, Instant};
use super::timing::Timing;

/// Whose word a takeover needs (rule 9). Whatever it is, an answer on the LAN for a floating address
/// delays it (rule 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Arbitration {
    /// A witness's grant is necessary.
    pub witness: bool,
    /// The peer is powered off first; beside a witness this may replace the grant.
    #[serde(default)] // not in recordings of before there were fences
    pub fence: bool,
}

impl Arbitration {
    /// The LAN alone: two hosts and nothing else.
    pub const LAN: Arbitration = Arbitration { witness: false, fence: false };
    /// A witness on a third host; the LAN only vetoes.
    pub const WITNESS: Arbitration = Arbitration { witness: true, fence: false };
    /// A fence powers the peer off; the LAN only vetoes.
    pub const FENCE: Arbitration = Arbitration { witness: false, fence: true };
    /// A witness, and a fence for when it does not answer.
    pub const WITNESS_AND_FENCE: Arbitration = Arbitration { witness: true, fence: true };

    /// The LAN is the only arbiter.
    pub fn is_lan(self) -> bool {
        self == Arbitration::LAN
    }
}

/// What the LAN has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lan {
    /// The first of the probes for the floating addresses that are all unanswered.
    silent_since: Option<Instant>,
    /// How many they are.
    probes: u32,
    last_probe: Option<Instant>,
    /// Who answered last, and when.
    pub answered: Option<(Instant, Answerer)>,
    /// Since when the peer has answered again and again, and when it last did.
    owned: Option<(Instant, Instant)>,
    /// When the peer last probed for the addresses, as one does that is about to claim them.
    peer_probed: Option<Instant>,
    /// When the newest probe was sent that a reference answered.
    reference: Option<Instant>,
    /// Probes cannot leave (no carrier).
    pub deaf: bool,
}

/// May the addresses be claimed?
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Proof {
    /// Yes, now.
    Given,
    /// Not yet, or not at the moment.
    Open,
    /// Somebody holds them or claims them first.
    Refused,
}

impl Proof {
    /// Every answer, for the decision table.
    pub const ALL: [Proof; 3] = [Proof::Given, Proof::Open, Proof::Refused];

    /// Both are needed.
    pub fn and(self, other: Proof) -> Proof {
        match (self, other) {
            (Proof::Refused, _) | (_, Proof::Refused) => Proof::Refused,
            (Proof::Open, _) | (_, Proof::Open) => Proof::Open,
            (Proof::Given, Proof::Given) => Proof::Given,
        }
    }
}

impl Lan {
    /// Takes what was seen.
    pub fn see(&mut self, seen: LanSeen) {
        match seen {
            LanSeen::FloatingProbed { at } => {
                self.silent_since.get_or_insert(at);
                self.probes += 1;
                self.last_probe = Some(at);
                self.deaf = false;
            }
            LanSeen::FloatingAnswered { at, by } => {
                self.restart();
                self.answered = Some((at, by));
                if by == Answerer::Peer {
                    let since = self.owned.map_or(at, |(since, _)| since);
                    self.owned = Some((since, at));
                }
            }
            LanSeen::PeerProbed { at } => self.peer_probed = Some(at),
            LanSeen::ReferenceAnswered { probed_at } => {
                self.reference = self.reference.max(Some(probed_at));
                self.deaf = false;
            }
            LanSeen::ProbeFailed { .. } => {
                self.restart();
                self.deaf = true;
            }
        }
    }

    /// Every silent window begins anew: a turn came late, and answers may have been missed.
    pub fn restart(&mut self) {
        self.silent_since = None;
        self.probes = 0;
    }

    /// Nothing learnt before survives.
    pub fn forget(&mut self) {
        *self = Lan::default();
    }

    /// A reference's answer is evidence for `validity` from when its probe was sent (C7).
    pub fn on_the_lan(&self, now: Instant, validity: Duration) -> bool {
        self.reference.is_some_and(|probed| now.since(probed) < validity)
    }

    /// When that evidence ends.
    pub fn reference_ends(&self, validity: Duration) -> Option<Instant> {
        self.reference.map(|probed| probed + validity)
    }

    /// The silent window has lasted `span`, with enough probes in it.
    pub fn silent_for(&self, now: Instant, span: Duration, timing: &Timing) -> bool {
        self.probes >= timing.probes
            && self.silent_since.is_some_and(|since| now.since(since) >= span)
    }

    /// Whether a window that counts is complete, and with which validity the reference counts
    /// beside it: the short one only if it was complete before `short_until` (rule 7).
    fn window(&self, now: Instant, short_until: Option<Instant>, timing: &Timing) -> Window {
        let short_in_time = match (self.silent_since, short_until) {
            (Some(since), Some(until)) => since + timing.short_window <= until,
            (None, _) | (_, None) => false,
        };
        if self.silent_for(now, timing.long_window, timing) {
            Window::Long
        } else if short_in_time && self.silent_for(now, timing.short_window, timing) {
            Window::Short
        } else {
            Window::Incomplete
        }
    }

    /// The peer has lately probed for the addresses, as one does that is about to claim them.
    pub fn is_wanted_by_peer(&self, now: Instant, timing: &Timing) -> bool {
        self.peer_probed.is_some_and(|at| now.since(at) < timing.long_window)
    }

    /// Does the LAN consent to claiming the addresses?
    ///
    /// `yields`: this node has the higher id, so the peer's probe for the same address wins
    /// (rule 8, RFC 5227 §2.1.1).
    pub fn consent(
        &self,
        now: Instant,
        short_until: Option<Instant>,
        yields: bool,
        timing: &Timing,
    ) -> Proof {
        let recent = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < timing.long_window);
        let wanted = yields && self.is_wanted_by_peer(now, timing);
        if recent(self.answered.map(|(at, _)| at)) || wanted {
            return Proof::Refused;
        }
        let reference = match self.window(now, short_until, timing) {
            Window::Long => self.on_the_lan(now, timing.long_validity),
            Window::Short => self.on_the_lan(now, timing.short_validity),
            Window::Incomplete => false,
        };
        if reference { Proof::Given } else { Proof::Open }
    }

    /// Nobody else holds the addresses: all that an agreement with the peer leaves to ask (C12).
    ///
    /// `released`: the peer itself says that it has let go of them, so that its last answer is
    /// waited out and not taken for a claim.
    pub fn unclaimed(&self, now: Instant, released: bool, timing: &Timing) -> Proof {
        let answered = self.answered.filter(|(at, _)| now.since(*at) < timing.short_window);
        if let Some((_, by)) = answered {
            if released && by == Answerer::Peer { Proof::Open } else { Proof::Refused }
        } else if self.silent_for(now, timing.short_window, timing) {
            Proof::Given
        } else {
            Proof::Open
        }
    }

    /// The peer has answered for an address for `span`, and does so still. A host that thaws
    /// answers too, until it has dropped what it held.
    pub fn peer_owns(&self, span: Duration) -> bool {
        self.owned.is_some_and(|(since, last)| last.since(since) >= span)
    }

    /// Whoever owned the addresses before this node does so no more.
    pub fn taken(&mut self) {
        self.owned = None;
    }

    /// An answer that is not repeated is forgotten.
    pub fn forget_old_answers(&mut self, now: Instant, timing: &Timing) {
        self.owned = self.owned.filter(|(_, last)| now.since(*last) < timing.long_window * 2);
    }

    /// When a window will be complete if nothing answers.
    pub fn window_ends(&self, timing: &Timing) -> [Option<Instant>; 2] {
        [timing.short_window, timing.long_window]
            .map(|span| self.silent_since.map(|since| since + span))
    }
}

enum Window {
    Incomplete,
    Short,
    Long,
}
