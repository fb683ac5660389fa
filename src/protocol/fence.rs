//! A node's side of the fence: when it has the peer powered off, and what the report is worth
//! (rules 5, 9, 10 and 28).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::arbiter::Proof;
use super::event::{PeerPower, Ticket};
use super::heartbeat::Stance;
use super::lead::{Authority, Basis};
use super::node::{Durability, Node};
use super::time::Instant;
use super::timing::Timing;

/// What this session knows of the fence, and of the peer's power.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fence {
    /// The order under way, and when it was given.
    pending: Option<(Ticket, Instant)>,
    /// The newest report, and when it came.
    reported: Option<(Instant, PeerPower)>,
    /// Since when the peer is known to be off.
    off_since: Option<Instant>,
    /// The peer was heard after that without having been started again: the fence is believed again
    /// when it has been.
    lied_at: Option<Instant>,
    /// Orders in a row after which it was not seen off.
    failures: u32,
    retry_at: Instant,
    /// An asking node leaves an active one the first word until then (C11).
    asking_from: Instant,
    /// The peer has heard this session: whatever it held of a fence before is void there.
    met: bool,
}

impl Fence {
    /// Of a session that began at `start`.
    pub fn new(start: Instant) -> Self {
        Fence {
            pending: None,
            reported: None,
            off_since: None,
            lied_at: None,
            failures: 0,
            retry_at: start,
            asking_from: start,
            met: false,
        }
    }

    /// Of a recording of before there were fences.
    pub(super) fn unasked() -> Self {
        Fence::new(Instant::ZERO)
    }

    /// The peer is off, and nobody has switched it on since.
    pub fn off(&self) -> bool {
        self.off_since.is_some()
    }

    /// What is known, for people.
    pub fn sight(&self) -> FenceSight {
        let waits = self.failures > 0 && !self.off() && self.pending.is_none();
        FenceSight {
            off_since: self.off_since,
            pending_since: self.pending.map(|(_, since)| since),
            reported: self.reported,
            failures: self.failures,
            next_try: waits.then_some(self.retry_at),
            lied_at: self.lied_at,
        }
    }

    /// The peer was heard at `at`. `same_life`: in the session that it was last heard in; `echoes`:
    /// it proves to have heard this one.
    pub fn hear(&mut self, at: Instant, same_life: bool, echoes: bool, timing: &Timing) {
        self.met |= echoes;
        if !same_life {
            // It was switched on. What an order of before will say is not about this life.
            *self =
                Fence { met: self.met, reported: self.reported, ..Fence::new(self.asking_from) };
        } else if self.off_since.is_some_and(|off| at > off + timing.delay) {
            self.off_since = None;
            self.lied_at = Some(at);
        }
    }

    /// An order ended.
    pub fn report(&mut self, now: Instant, ticket: Ticket, power: PeerPower, timing: &Timing) {
        if self.pending.is_none_or(|(pending, _)| pending != ticket) {
            return;
        }
        self.pending = None;
        self.reported = Some((now, power));
        match power {
            PeerPower::Off if self.lied_at.is_none() => {
                (self.off_since, self.failures) = (Some(now), 0);
            }
            PeerPower::Off | PeerPower::On | PeerPower::Unknown => {
                self.retry_at = now + timing.calm_period() * (1 << self.failures.min(4));
                self.failures += 1;
            }
        }
    }

    /// A report that does not come within twice the longest run says nothing.
    fn drop_overdue(&mut self, now: Instant, timing: &Timing) {
        if let Some((ticket, since)) = self.pending
            && now.since(since) >= timing.fence * 2
        {
            self.report(now, ticket, PeerPower::Unknown, timing);
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.pending.is_none() && now >= self.retry_at && !self.off() && self.lied_at.is_none()
    }
}

impl Node {
    pub(super) fn order_fence(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.setup.arbitration.fence {
            return;
        }
        self.fence.drop_overdue(now, &self.setup.timing);
        if self.fence.is_idle(now) && self.needs_the_peer_off(now) {
            let ticket = self.ticket();
            self.fence.pending = Some((ticket, now));
            actions.push(Action::PowerOffPeer { ticket });
        }
    }

    /// When something of the fence is due.
    pub(super) fn fence_due(&self) -> [Option<Instant>; 3] {
        let fence = self.setup.arbitration.fence.then_some(&self.fence);
        let timing = &self.setup.timing;
        [
            fence.map(|fence| fence.retry_at.max(fence.asking_from)),
            fence.and_then(|fence| fence.pending).map(|(_, since)| since + timing.fence * 2),
            fence.map(|_| self.past_the_lease().max(self.peer.settled_from() + timing.lost_after)),
        ]
    }

    /// An attempt begins: an active node has the first word, which is over by then (C11). Who has
    /// offered its role, and said nothing since, has it before the taker (rule 28). Where neither of
    /// the two was active, the higher id waits once more.
    pub(super) fn begin_asking(&mut self, now: Instant) {
        let delay = self.setup.timing.fence_delay;
        self.fence.asking_from = match self.authority {
            _ if self.clock.said == Stance::Handing => now,
            Authority::Joining if self.yields() => now + delay * 2,
            _ => now + delay,
        };
    }

    /// Rule 5: past the lease, never within `lost_after` of the peer's new life or of a stall, not
    /// when the peer has left, and only by a node whose LAN works and has nobody else's address.
    fn needs_the_peer_off(&self, now: Instant) -> bool {
        let settled = now.since(self.peer.settled_from()) >= self.setup.timing.lost_after;
        if !settled || self.lease.holds(now) || self.is_answered_by_the_witness(now) {
            return false;
        }
        match self.authority {
            Authority::Active => now >= self.past_the_lease() && self.lan_works(now),
            Authority::Taking => {
                let lapsed = self.claim.is_some_and(|claim| claim.promoting) && !self.agreed(now);
                lapsed && now >= self.past_the_lease() && self.lan_is_silent(now)
            }
            Authority::Asking => now >= self.fence.asking_from && self.lan_is_silent(now),
            Authority::Joining | Authority::Held | Authority::Standby | Authority::Giving => false,
        }
    }

    /// From when on a node that has, or has promoted for, the role may have the peer powered off:
    /// past its lease, when the peer has proved nothing for as long as a standby must be silent. A
    /// hiccup of the standby that would not cost service does not cost its power.
    ///
    /// Whoever was handed the role leaves the giver the first word until it stands by; and it cannot
    /// know whether the giver counts as standby already, and waits for the active node (C25).
    fn past_the_lease(&self) -> Instant {
        let timing = &self.setup.timing;
        let unproved = self.peer.echoed_at().map(|sent| sent + timing.unechoed_after());
        let past = self.lease.ends().max(unproved).unwrap_or(Instant::ZERO);
        let offered = self.claim.is_some_and(|claim| claim.basis == Basis::Offer);
        let stands_by = self.peer.last.as_ref().is_some_and(|peer| peer.stance == Stance::Standby);
        if offered && !stands_by { past + timing.lost_after + timing.fence_delay * 2 } else { past }
    }

    /// The witness has lately given this node what it needs, or has it refused: then it vouches for
    /// the peer.
    fn is_answered_by_the_witness(&self, now: Instant) -> bool {
        let lately = self
            .grant
            .heard()
            .is_some_and(|(asked, _)| now.since(*asked) < self.setup.timing.grant);
        let granted = self.grant.holds(now) && self.fence.met;
        self.setup.arbitration.witness && (granted || (lately && self.grant.is_refused()))
    }

    /// This node is on the LAN, as far as it can tell (rule 10).
    pub(super) fn lan_works(&self, now: Instant) -> bool {
        let validity = self.setup.timing.long_validity;
        self.groups.iter().all(|group| {
            !group.lan.deaf && (!self.setup.references || group.lan.on_the_lan(now, validity))
        })
    }

    /// And nobody answers for a floating address, or is about to claim it (rule 6, C12).
    fn lan_is_silent(&self, now: Instant) -> bool {
        let timing = &self.setup.timing;
        self.lan_works(now)
            && self.groups.iter().all(|group| {
                group.lan.silent_for(now, timing.long_window, timing)
                    && !(self.yields() && group.lan.is_wanted_by_peer(now, timing))
            })
    }

    /// The arbiter's word on an attempt, where it is not the LAN's (rule 9).
    pub(super) fn word_on_attempt(&self, now: Instant) -> Proof {
        let arbitration = self.setup.arbitration;
        match (arbitration.witness, arbitration.fence) {
            (true, false) => self.granted(now),
            (true, true) if self.fence.off() && !self.grant.holds(now) => self.off_for_the_grant(),
            (_, true) if self.fence.off() => Proof::Given,
            // A peer that has not heard this session may serve on an "off" of before it; a grant
            // says nothing against that.
            (true, true) if !self.fence.met => Proof::Open,
            (true, true) => self.granted(now),
            (false, _) => self.fenced(now),
        }
    }

    /// Rule 9: a fence's "off" replaces the grant. It does not replace what a grant says beside: the
    /// witness may have told the peer that this node counts as excluded, so that its certificate is
    /// worth nothing without the witness's answer (rule 17 d).
    fn off_for_the_grant(&self) -> Proof {
        let strict = self.setup.durability == Durability::Strict;
        let begun = self.claim.is_some_and(|claim| claim.promoting);
        let has_all = self.durable.peer_excluded || self.orders.take_anyway;
        if begun || has_all || !strict { Proof::Given } else { Proof::Open }
    }

    /// The fence's word, where it is the only arbiter and does not know the peer to be off.
    fn fenced(&self, now: Instant) -> Proof {
        let promoting = self.claim.is_some_and(|claim| claim.promoting);
        if self.lease.unlimited() || (promoting && self.lease.holds(now)) {
            // The peer has left, or has come back since and promises.
            Proof::Given
        } else if self.authority == Authority::Taking && !promoting {
            // Nothing was begun, and the peer has come back.
            Proof::Refused
        } else {
            Proof::Open
        }
    }
}

/// The fence, as a node sees it, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FenceSight {
    /// Since when the peer is known to be off.
    pub off_since: Option<Instant>,
    /// Since when an order to power it off is under way.
    pub pending_since: Option<Instant>,
    /// The newest report, and when it came.
    pub reported: Option<(Instant, PeerPower)>,
    /// Orders in a row after which the peer was not seen off.
    pub failures: u32,
    /// When the next order may be given, if the last one did not help.
    pub next_try: Option<Instant>,
    /// When the peer was heard although it had been reported off.
    pub lied_at: Option<Instant>,
}
