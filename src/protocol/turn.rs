//! One turn: judge, enter what was decided, act on the first unmet truth, speak, and say when next.

use alloc::vec::Vec;

use super::action::{Action, DatabaseDeed};
use super::arbiter::Arbitration;
use super::certificate::{ArbiterWord, Sight};
use super::compare;
use super::event::DatabaseState;
use super::health::Grade;
use super::heartbeat::Stance;
use super::identity::Term;
use super::lead::{Authority, Basis, Reason, Why, lead};
use super::node::{Claim, Durability, Node};
use super::time::{Duration, Instant};

/// A chain of decisions within one turn (standby, asking, taking, active) is no longer than this.
const CHAIN: usize = 6;

impl Node {
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let woke = now.since(self.clock.last) >= self.setup.timing.lost_after;
        let late = now.since(self.clock.due) > self.setup.timing.delay;
        if woke {
            self.peer.wake(now);
            self.certificate.forget();
        }
        if woke || late {
            // Answers may have been missed: every silent window begins anew (rule 23).
            self.groups.iter_mut().for_each(|group| group.lan.restart());
        }
        for group in &mut self.groups {
            group.lan.forget_old_answers(now, &self.setup.timing);
        }
        let follows = self.authority == Authority::Standby || self.durable.leaving.is_some();
        if follows && self.heard(now).is_some() {
            // An order to do without the peer is not kept for later: it says that the peer is off,
            // and who has left is relied on by a peer that lives (rule 3).
            self.orders.take_anyway = false;
        }
        self.turn_moves(now, woke);
        self.path.clear();
        for _ in 0..CHAIN {
            let (authority, why) = lead(self.evidence(now, woke));
            self.why = why;
            if authority == self.authority {
                break;
            }
            self.enter(now, authority, why);
            self.path.push((authority, why));
        }
        if woke && self.authority == Authority::Active {
            // What is bound to the daemon's life may have ended meanwhile (rules 23 and 24): its
            // address comes back over a database that was looked at since.
            self.database.state = DatabaseState::Unknown;
        }
        if self.authority == Authority::Active
            || (self.authority == Authority::Giving && self.moves.handed.is_none())
        {
            self.turn_issuer(now);
        }
        self.drop_overdue(now);
        self.act(now, &mut actions);
        self.probe(now, &mut actions);
        self.ask_witness(now, &mut actions);
        self.order_fence(now, &mut actions);
        self.speak(now, &mut actions);
        self.clock.last = now;
        self.clock.due = self.deadline_after(now);
        actions
    }

    /// When to call `handle` with `Event::Tick` if nothing happens earlier.
    pub fn next_deadline(&self) -> Instant {
        self.clock.due
    }

    fn enter(&mut self, now: Instant, authority: Authority, why: Why) {
        let timing = self.setup.timing;
        match authority {
            // Nothing learnt before survives (rule 20); only what the peer has put on its own disk
            // for this session does.
            Authority::Joining => {
                if self.claim.is_some_and(|claim| claim.basis.is_handover()) {
                    // The giver may take it back first.
                    self.retry_at = now + timing.lost_after * 6;
                }
                self.claim = None;
                if !self.moves.handed_over {
                    self.certificate.forget();
                }
                self.lease.lapse();
                self.grant.give_up();
                self.issuer.restart();
                self.peer.acknowledged_receipt = None;
                self.groups.iter_mut().for_each(|group| group.lan.forget());
                if matches!(
                    why,
                    Why::StepFailed | Why::ConsentLost | Why::PromiseLapsed | Why::AddressAnswered
                ) {
                    self.retry_at = self.retry_at.max(now + timing.lost_after * 2);
                }
            }
            Authority::Held => self.claim = None,
            Authority::Asking => {
                self.claim = None;
                self.begin_asking(now);
            }
            Authority::Standby => {
                if matches!(why, Why::PromiseLapsed | Why::AddressAnswered) {
                    self.retry_at = now + timing.lost_after;
                }
                self.claim = None;
                self.grant.give_up();
                self.orders.take_anyway = false;
            }
            Authority::Taking => {
                if why == Why::TakingBack {
                    // What the peer promised before it heard the withdrawal is worth nothing now.
                    self.lease.lapse();
                }
                self.claim = Some(self.new_claim(why));
                if why == Why::Consent && self.setup.arbitration.witness && !self.grant.holds(now) {
                    // By an "off" alone: the loss is stated (rule 17 d).
                    self.certificate.forget();
                }
            }
            Authority::Giving => {
                if let Why::HandingOver(reason) = why {
                    self.moves.begin(now, reason);
                    let failed = self.groups.iter().any(|group| {
                        group.services.is_some_and(|seen| seen.critical == Grade::Failed)
                            || group.found_failed_since.is_some()
                    });
                    if reason == Reason::PeerIsBetter && failed {
                        self.moves.services_gave_up = Some(now);
                    }
                }
                self.clock.heartbeat_due = now;
            }
            Authority::Active => {
                self.orders.take_anyway = false;
                if why == Why::HandoverUndone {
                    self.moves.broken_off(now, &timing);
                }
                let inherits = self.claim.is_some_and(|claim| claim.basis == Basis::Offer);
                self.issuer.restart();
                if inherits && why != Why::HandoverUndone {
                    self.issuer.inherit();
                }
                self.moves.services_gave_up = None;
                if let Some(claim) = &mut self.claim {
                    claim.held_at = Some(now);
                }
                for group in &mut self.groups {
                    group.lan.taken();
                    group.renew_due = now + timing.address_lifetime / 4;
                }
            }
        }
        for group in &mut self.groups {
            group.probe_due = group.probe_due.min(now);
            group.address_retry = now;
        }
        // What failed under the old order of things says nothing about the new one.
        self.pending.database_retry = now;
        self.authority = authority;
        self.since = now;
    }

    fn new_claim(&self, why: Why) -> Claim {
        let basis = match why {
            Why::Agreed => Basis::Agreement,
            Why::Offered => Basis::Offer,
            Why::TakingBack => Basis::TakeBack,
            _ => Basis::Arbitration,
        };
        let peer_lone = self.peer.last.as_ref().map_or(Term::ZERO, |peer| peer.lone);
        let adopts = basis != Basis::Arbitration && self.contains_peer() == Some(true);
        Claim {
            term: self.next_term(),
            basis,
            promoting: false,
            failed: false,
            adopted_lone: if adopts { peer_lone } else { Term::ZERO },
            held_at: None,
            withdrawn_from: self.sent.last_sequence() + 1,
        }
    }

    fn turn_issuer(&mut self, now: Instant) {
        let standby = self.lease.holds(now)
            && !self.lease.unlimited()
            && self.heard(now).is_some_and(|peer| {
                matches!(peer.stance, Stance::Standby | Stance::Joining | Stance::Handing)
            });
        let contested = self
            .heard(now)
            .is_some_and(|peer| compare::has_higher_standing(peer, self.durable.standing()));
        let sight = Sight {
            standby,
            contested,
            database: &self.database,
            excluded: self.durable.peer_excluded || self.grant.may_exclude_peer(self.setup.me),
            waits: self.waits(),
            arbiter: self.word_of_the_arbiter(now),
        };
        self.issuer.turn(now, sight, &self.setup.timing);
    }

    /// What the arbiter has to say to acknowledging alone (rules 9 and 17).
    fn word_of_the_arbiter(&self, now: Instant) -> ArbiterWord {
        let Arbitration { witness, fence } = self.setup.arbitration;
        let off = self.fence.off();
        let told = self.grant.excludes_peer() && (self.grant.holds(now) || off);
        let strict = self.setup.durability == Durability::Strict;
        if (witness && told) || (!witness && off) {
            ArbiterWord::PeerExcluded
        } else if strict && witness {
            ArbiterWord::Awaited
        } else if strict && fence {
            ArbiterWord::OffAwaited
        } else {
            ArbiterWord::None
        }
    }

    /// An action whose ending is overdue counts as not done: what is will be looked at again.
    fn drop_overdue(&mut self, now: Instant) {
        let deadline = self.setup.timing.step_deadline;
        if self.pending.save.is_some_and(|(_, began)| now.since(began) >= deadline) {
            self.pending.save = None;
        }
        let may_be_long = |deed| {
            matches!(
                deed,
                DatabaseDeed::StartAsStandby
                    | DatabaseDeed::Follow
                    | DatabaseDeed::Rejoin { .. }
                    | DatabaseDeed::Checkpoint
                    | DatabaseDeed::StopCleanly
            )
        };
        if self
            .pending
            .database
            .is_some_and(|(_, deed, began)| !may_be_long(deed) && now.since(began) >= deadline)
        {
            // Nobody knows what came of it.
            self.pending.database = None;
            self.database.state = DatabaseState::Unknown;
        }
    }

    fn deadline_after(&self, now: Instant) -> Instant {
        let timing = &self.setup.timing;
        let mut due = self.clock.heartbeat_due;
        let mut at = |candidate: Option<Instant>| {
            if let Some(candidate) = candidate.filter(|at| *at > now) {
                due = due.min(candidate);
            }
        };
        let heard = self.peer.last_heard();
        at(heard.map(|heard| heard + timing.late_after));
        at(heard.map(|heard| heard + timing.lost_after));
        at(Some(self.peer.silence_from() + timing.lost_after));
        at(Some(self.peer.silence_from() + timing.start_grace));
        at(self.lease.ends());
        at(self.certificate.ends());
        at(Some(self.retry_at));
        at(Some(self.pending.save_retry));
        at(Some(self.pending.database_retry));
        at(self.witness_due());
        at(self.grant.ends());
        self.fence_due().into_iter().for_each(&mut at);
        match self.authority {
            Authority::Asking | Authority::Taking => {
                for group in &self.groups {
                    group.lan.window_ends(timing).into_iter().for_each(&mut at);
                    at(Some(group.probe_due));
                }
                at(Some(self.since + timing.step_deadline));
            }
            Authority::Active => {
                at(self.lease_is_late());
                at(Some(self.issuer.outstanding_until()));
                for group in &self.groups {
                    at(group.lan.reference_ends(self.validity(now)));
                    at(Some(group.probe_due));
                    at(Some(group.renew_due));
                    at(Some(group.announce_due));
                }
            }
            Authority::Standby => {
                for group in &self.groups {
                    at(Some(group.probe_due));
                }
            }
            Authority::Joining | Authority::Held => {}
            Authority::Giving => {
                let patience = timing.lost_after * 2;
                at(self.moves.handed.map(|handed| handed + patience));
                at(self.moves.released_at.map(|at| at + timing.replication_stall * 2));
                at(Some(self.since + timing.step_deadline));
            }
        }
        for group in &self.groups {
            at(Some(group.address_retry));
        }
        due.max(now + Duration::from_micros(1))
    }
}
