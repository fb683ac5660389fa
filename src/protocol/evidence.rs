//! From everything recorded to the few finite values that a decision needs.
//!
//! Every piece of evidence carries its own expiry and is judged at use (rule 23).

use alloc::vec::Vec;

use super::action::DatabaseDeed;
use super::arbiter::Proof;
use super::compare::{self, Mine};
use super::event::{DatabaseState, Presence};
use super::heartbeat::{Heartbeat, Promise, Stance};
use super::identity::{NodeId, Term};
use super::lead::{Authority, Bar, Basis, Comparison, Evidence, Upset};
use super::log::{Fork, Log, Relation};
use super::node::{Claim, Durability, Group, Node};
use super::peer::{Patience, View};
use super::plan;
use super::time::{Duration, Instant};

impl Node {
    pub(super) fn evidence(&self, now: Instant, woke: bool) -> Evidence {
        let peer = self.view(now);
        let upset = match (woke, self.orders.leave) {
            (true, _) => Upset::Woke,
            (false, true) => Upset::Leave,
            (false, false) => Upset::None,
        };
        match self.authority {
            Authority::Joining => Evidence::Joining {
                bar: self.bar(),
                prepared: self.prepared(),
                peer,
                outranks: self.outranks(),
                comparison: self.comparison(now),
                promised: self.lease.holds(now),
                may_take: self.may_take(now),
            },
            Authority::Held => {
                Evidence::Held { bar: self.bar(), peer, may_take: self.may_take(now) }
            }
            Authority::Standby => Evidence::Standby {
                upset,
                peer,
                idle_long: self.peer.idle_for(now, self.setup.timing.start_grace)
                    || self.peer_left(),
                may_take: self.may_take(now),
                ready: self.log().is_some() || !self.setup.database,
                has_all: now >= self.retry_at && self.has_all_of_the_giver(now),
            },
            Authority::Asking => Evidence::Asking {
                upset,
                peer,
                may_take: self.may_take(now),
                proof: self.proof(now),
            },
            Authority::Taking => self.taking(now, upset, peer),
            Authority::Active => Evidence::Active {
                leave: self.orders.leave,
                superseded: self.superseded(now),
                entitled: self.entitled(now),
                give: self.give(now),
            },
            Authority::Giving => Evidence::Giving {
                woke,
                peer,
                superseded: self.superseded(now),
                handed: self.moves.handed.is_some(),
                undone: self.give_is_undone(now),
                refused: self.offer_is_refused(now),
            },
        }
    }

    fn taking(&self, now: Instant, upset: Upset, peer: View) -> Evidence {
        let claim = self.claim;
        Evidence::Taking {
            upset,
            peer,
            superseded: self.superseded(now),
            basis: claim.map_or(Basis::Arbitration, |claim| claim.basis),
            promised: self.promised(now),
            promoted: claim.is_some_and(|claim| claim.promoting),
            proof: self.proof(now),
            failed: claim.is_none_or(|claim| claim.failed)
                || now.since(self.since) >= self.patience_of_taking(now)
                || self.nobody_to_take_back_from(now),
            done: self.groups.iter().all(|group| group.presence == Presence::Held),
        }
    }

    /// How long the role may take to be taken. A fence that is asked after the promotion has its
    /// own time, for which the promoted database is kept (rule 27).
    fn patience_of_taking(&self, now: Instant) -> Duration {
        let timing = &self.setup.timing;
        let handed = self.claim.is_some_and(|claim| claim.basis.is_handover());
        if self.setup.arbitration.fence && handed && !self.agreed(now) {
            timing.step_deadline + timing.certificate + timing.fence_delay
        } else {
            timing.step_deadline
        }
    }

    /// The promise that a takeover by word of the peer rests on is in force.
    fn promised(&self, now: Instant) -> bool {
        match self.claim {
            Some(Claim { basis: Basis::TakeBack, withdrawn_from, promoting, .. }) => {
                let told = self.peer.last.as_ref().is_some_and(|peer| {
                    let echo = peer.echo.filter(|echo| self.sent.echoed(echo).is_some());
                    echo.is_some_and(|echo| echo.sequence >= withdrawn_from)
                        && (promoting || peer.stance == Stance::Standby)
                });
                // Rule 29: it has heard the withdrawal, stands by, and has no row that is not here.
                told && self.lease.holds(now) && (promoting || self.contains_peer() == Some(true))
            }
            Some(Claim { basis: Basis::Agreement | Basis::Offer | Basis::Arbitration, .. })
            | None => self.lease.holds(now),
        }
    }

    /// The offer is withdrawn and the peer does not stand by: its log is to be compared.
    fn nobody_to_take_back_from(&self, now: Instant) -> bool {
        let before =
            self.claim.is_some_and(|claim| claim.basis == Basis::TakeBack && !claim.promoting);
        before
            && self.heard(now).is_some_and(|peer| {
                matches!(peer.stance, Stance::Joining | Stance::Held | Stance::Asking)
            })
    }

    /// The peer hands its role over, and everything that it acknowledged is here (rule 25).
    fn has_all_of_the_giver(&self, now: Instant) -> bool {
        let Some(peer) = self.heard(now).filter(|peer| peer.stance == Stance::Handing) else {
            return false;
        };
        let logs = match (self.setup.database, self.stated_log(), &peer.log) {
            (false, _, _) => true,
            (true, Some(mine), Some(theirs)) => mine.relation(theirs) == Relation::Equal,
            // Its database did not end in order: what it certified is what there is to go by.
            (true, Some(_), None) => {
                self.certificate.usable(now) || self.setup.durability == Durability::Async
            }
            (true, None, _) => false,
        };
        logs && self.lease.holds(now) && !self.durable.copy_unfinished
    }

    fn view(&self, now: Instant) -> View {
        let timing = &self.setup.timing;
        let patience = match self.authority {
            Authority::Joining | Authority::Held => Patience::joining(timing),
            Authority::Standby
            | Authority::Asking
            | Authority::Taking
            | Authority::Active
            | Authority::Giving => Patience::settled(timing),
        };
        match self.peer.view(now, timing, patience) {
            // A failed attempt is not repeated at once.
            View::Idle | View::Silent
                if self.authority == Authority::Joining && now < self.retry_at =>
            {
                View::Unsettled
            }
            view @ (View::Serves
            | View::Takes
            | View::Hands
            | View::Idle
            | View::Unsettled
            | View::Silent) => view,
        }
    }

    fn bar(&self) -> Bar {
        if self.damaged {
            Bar::Damaged
        } else if self.orders.leave || (self.durable.leaving.is_some() && !self.orders.take_anyway)
        {
            // While the disk says so the peer may rely on it (rule 3).
            Bar::Left
        } else {
            Bar::None
        }
    }

    /// The addresses are seen released and the database seen not writable (rule 20, C9).
    pub(super) fn prepared(&self) -> bool {
        let database_released = plan::not_writable(self.database.state) && !self.may_be_promoting();
        self.released() && (!self.setup.database || database_released)
    }

    /// A deed is under way that may leave the database writable, or is meant to end that.
    pub(super) fn may_be_promoting(&self) -> bool {
        self.pending.database.is_some_and(|(_, deed, _)| match deed {
            DatabaseDeed::Promote
            | DatabaseDeed::StartInPlace
            | DatabaseDeed::StopNow
            | DatabaseDeed::StopCleanly => true,
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin { .. }
            | DatabaseDeed::Checkpoint
            | DatabaseDeed::SetSynchronous(_) => false,
        })
    }

    pub(super) fn released(&self) -> bool {
        self.groups.iter().all(|group| group.presence == Presence::Absent)
    }

    /// May promote what it has: the certificate, the mark of rule 18, the durability, or a person.
    pub(super) fn may_take(&self, now: Instant) -> bool {
        let permitted = match self.setup.durability {
            Durability::Strict => {
                let told_excluded = self.grant.excludes(self.setup.me);
                let named = self.grant.names(self.setup.me, self.peer.silence_from());
                let has_all = self.certificate.usable(now) || self.durable.peer_excluded || named;
                (has_all && !told_excluded) || self.orders.take_anyway
            }
            Durability::Available | Durability::Async => true,
        };
        // What was torn does not start at all; what answers as a standby is whole, though perhaps
        // not to be relied on without a person's word.
        let whole = !self.durable.copy_unfinished
            || (self.orders.take_anyway && self.database.state == DatabaseState::Standby);
        permitted && whole
    }

    /// The end of the local log, when it can be relied on: in recovery, serving, or after a clean
    /// end.
    pub(super) fn log(&self) -> Option<&Log> {
        match self.database.state {
            DatabaseState::Standby | DatabaseState::Writable | DatabaseState::Stopped => {
                self.database.log.as_ref()
            }
            DatabaseState::Unknown | DatabaseState::Starting => None,
        }
    }

    /// The same, as it is told to the peer and compared.
    pub(super) fn stated_log(&self) -> Option<Log> {
        // Without its memory this node does not know what its log is worth: nobody is to compare
        // with it before a person has said so.
        if self.damaged {
            return None;
        }
        let name = |timeline| self.durable.branches.name(timeline);
        let unfinished = self.durable.copy_unfinished;
        let stated = self.log().map(|log| Log {
            timeline: log.timeline,
            position: log.position,
            forks: log
                .forks
                .iter()
                .map(|fork| Fork { branch: name(fork.timeline), ..*fork })
                .collect(),
            branch: name(log.timeline),
            unfinished,
        });
        // What is torn cannot be read, and the peer must still know that it never wins (rule 22).
        let torn =
            Log { timeline: 0, position: 0, forks: Vec::new(), branch: None, unfinished: true };
        stated.or(unfinished.then_some(torn))
    }

    fn with_mine<T>(&self, ask: impl FnOnce(&Mine<'_>) -> T) -> T {
        let log = self.stated_log();
        ask(&Mine {
            node: self.setup.me,
            database: self.setup.database,
            system_id: self.database.system_id,
            log: log.as_ref(),
            standing: self.durable.standing(),
            durability: self.setup.durability,
        })
    }

    pub(super) fn comparison(&self, now: Instant) -> Comparison {
        match &self.peer.last {
            // Neither copy was finished: nobody can tell which is better, and a person has.
            Some(peer)
                if self.orders.take_anyway
                    && self.durable.copy_unfinished
                    && self.database.state == DatabaseState::Standby
                    && peer.log.as_ref().is_some_and(|log| log.unfinished) =>
            {
                Comparison::Win
            }
            Some(peer) => match self.with_mine(|mine| compare::compare(mine, peer)) {
                Comparison::Unknown if self.need_not_wait_for_the_peers_log(now) => Comparison::Win,
                comparison => comparison,
            },
            None => Comparison::Unknown,
        }
    }

    /// The peer's database does not start, and what is here might be promoted if that host were
    /// dead: two hosts of which one is whole must not both wait.
    fn need_not_wait_for_the_peers_log(&self, now: Instant) -> bool {
        self.database.state == DatabaseState::Standby
            && self.log().is_some()
            && self.may_take(now)
            && self.peer.database_lost_for(now, self.setup.timing.critical_down)
    }

    /// This node's standing is higher than the peer's and the peer lacks rows that it has: to
    /// follow would be to throw them away (rule 13, C10).
    pub(super) fn outranks(&self) -> bool {
        // What is torn cannot be served, whatever it once held (rule 22).
        !self.durable.copy_unfinished
            && self.peer.last.as_ref().is_some_and(|peer| {
                self.durable.standing() > compare::standing(peer)
                    && self.with_mine(|mine| compare::contained(mine, peer)) != Some(true)
            })
    }

    /// The own log holds everything that the peer's does; `None` when not known.
    pub(super) fn contains_peer(&self) -> Option<bool> {
        let peer = self.peer.last.as_ref()?;
        self.with_mine(|mine| compare::contains(mine, peer))
    }

    /// The peer can be followed without throwing anything away: its branch is this node's own, or
    /// this node's log is a prefix of its log. (A serving peer's stated position is a little old.)
    pub(super) fn follows_directly(&self) -> bool {
        let Some(peer) = &self.peer.last else { return false };
        let same_branch = match (self.stated_log(), &peer.log) {
            (Some(mine), Some(theirs)) if mine.timeline == theirs.timeline => match mine.branch {
                Some(_) => mine.branch == theirs.branch,
                // A branch of this node's own has a name from before it began: what has none came
                // from the peer, and is given the peer's name as soon as that can be written.
                None => theirs.branch.is_some() && mine.relation(theirs) != Relation::Diverged,
            },
            (Some(_) | None, _) => false,
        };
        same_branch || self.with_mine(|mine| compare::contained(mine, peer)) == Some(true)
    }

    /// Up to where this node's log and the peer's are the same.
    pub(super) fn common_with_peer(&self) -> Option<u64> {
        let theirs = self.peer.last.as_ref()?.log.as_ref()?;
        self.stated_log()?.common(theirs)
    }

    pub(super) fn peer_left(&self) -> bool {
        self.peer.last.as_ref().is_some_and(|peer| peer.promise == Promise::Leaving)
    }

    /// The peer, if it was heard within `lost_after`.
    pub(super) fn heard(&self, now: Instant) -> Option<&Heartbeat> {
        let at = self.peer.last_heard()?;
        self.peer.last.as_ref().filter(|_| now.since(at) < self.setup.timing.lost_after)
    }

    /// The peer serves or claims with a right that is better than this node's.
    fn superseded(&self, now: Instant) -> bool {
        let Some(peer) = self.heard(now) else { return false };
        let (claim, promoted) =
            self.claim.map_or((Term::ZERO, false), |claim| (claim.term, claim.promoting));
        if self.authority == Authority::Taking && !promoted {
            return match peer.stance {
                Stance::Taking | Stance::Promoted | Stance::Active | Stance::Handing => {
                    peer.term > claim
                }
                Stance::Joining | Stance::Standby | Stance::Held | Stance::Asking => false,
            };
        }
        let higher = compare::has_higher_standing(peer, self.durable.standing());
        match peer.stance {
            Stance::Promoted | Stance::Active | Stance::Handing => higher,
            Stance::Taking | Stance::Asking => false,
            // It cannot follow a lower standing, and this node lacks its rows: both join.
            Stance::Joining | Stance::Standby | Stance::Held => {
                higher
                    && self.peer.two_way(now, &self.setup.timing)
                    && self.contains_peer() == Some(false)
            }
        }
    }

    /// May the addresses be claimed now?
    pub(super) fn proof(&self, now: Instant) -> Proof {
        let timing = &self.setup.timing;
        let agreed = self.agreed(now);
        let handover = self.claim.is_some_and(|claim| claim.basis.is_handover());
        if !agreed && handover && self.claim.is_some_and(|claim| !claim.promoting) {
            return Proof::Open;
        }
        let mut proof = Proof::Given;
        for group in &self.groups {
            let answer = if self.authority == Authority::Active {
                // Past the lease, what nobody can have taken yet is still this node's (rule 8).
                let arbitration = self.setup.arbitration;
                let ours = agreed
                    || self.fence.off()
                    || if arbitration.witness {
                        self.grant.holds(now)
                    } else {
                        arbitration.fence || self.holds_or_held_lately(now, group)
                    };
                if ours { Proof::Given } else { Proof::Open }
            } else if agreed {
                group.lan.unclaimed(now, handover, timing)
            } else if !self.setup.arbitration.is_lan() {
                self.word_on_attempt(now).and(group.lan.unclaimed(now, false, timing))
            } else {
                group.lan.consent(now, self.short_until(), self.yields(), timing)
            };
            proof = proof.and(answer);
        }
        proof
    }

    /// The witness's word on an attempt (rule 9). A refusal before the promotion only postpones it.
    pub(super) fn granted(&self, now: Instant) -> Proof {
        if self.grant.holds(now) {
            Proof::Given
        } else if self.authority == Authority::Taking && self.grant.is_refused() {
            Proof::Refused
        } else {
            Proof::Open
        }
    }

    /// The peer's word is enough, as far as the LAN does not speak against it.
    pub(super) fn agreed(&self, now: Instant) -> bool {
        match (self.authority, self.claim.map(|claim| claim.basis)) {
            (Authority::Active, _) => self.lease.holds(now),
            (_, Some(Basis::Agreement)) => true,
            (_, Some(Basis::Offer | Basis::TakeBack)) => self.promised(now),
            (_, Some(Basis::Arbitration) | None) => false,
        }
    }

    /// The short window counts only if complete before this (rule 7).
    fn short_until(&self) -> Option<Instant> {
        let timing = &self.setup.timing;
        let receipt = self.peer.acknowledged_receipt?;
        (self.authority != Authority::Active)
            .then(|| receipt + timing.lost_after + timing.first_attempt)
    }

    /// The higher node id yields when both claim (rule 8).
    pub(super) fn yields(&self) -> bool {
        self.setup.me == NodeId::B
    }

    /// The lease holds, or the arbiter vouches for this node (rules 2 and 7).
    fn entitled(&self, now: Instant) -> bool {
        let arbitration = self.setup.arbitration;
        if self.lease.holds(now) || self.fence.off() {
            return true;
        }
        if arbitration.witness {
            return self.grant.holds(now);
        }
        if arbitration.fence {
            // The peer cannot serve before it has powered this node off (rule 10, C13).
            return self.lan_works(now);
        }
        let validity = self.validity(now);
        // Two owners whose LAN has healed and who do not hear each other: one of them has to go,
        // and both must come to the same answer (rule 8).
        // Longer than a dead daemon's kernel keeps an address.
        let settled = self.setup.timing.lifetime_worst() + self.setup.timing.lost_after;
        if self.yields() && self.groups.iter().any(|group| group.lan.peer_owns(settled)) {
            return false;
        }
        // On the LAN it is the held address that keeps a taker away: a reference's answer vouches
        // only together with it.
        self.groups.iter().all(|group| {
            group.lan.on_the_lan(now, validity) && self.holds_or_held_lately(now, group)
        })
    }

    /// The addresses are held, or were so lately that no taker's silent window fits in between.
    fn holds_or_held_lately(&self, now: Instant, group: &Group) -> bool {
        let timing = &self.setup.timing;
        let window = if self.validity(now) == timing.short_validity {
            timing.short_window
        } else {
            timing.long_window
        };
        let ours_for = window.saturating_sub(timing.release);
        group.presence == Presence::Held || now.since(group.held_until) < ours_for
    }

    /// How long a reference's answer counts for this active node at `now` (rule 7).
    pub(super) fn validity(&self, now: Instant) -> Duration {
        let timing = &self.setup.timing;
        let held = self.claim.and_then(|claim| claim.held_at).map(|at| at + timing.lost_after);
        let short_until =
            self.lease.ends().max(held).unwrap_or(Instant::ZERO) + timing.short_validity_for;
        if now <= short_until { timing.short_validity } else { timing.long_validity }
    }
}
