//! One turn: judge, enter what was decided, act on the first unmet truth, speak, and say when next.

use alloc::vec::Vec;

use super::action::{Action, DatabaseDeed};
use super::arbiter::{Lan, Proof};
use super::certificate::Sight;
use super::compare;
use super::durable::Durable;
use super::event::{DatabaseState, Presence, Ticket};
use super::heartbeat::{GroupReport, Heartbeat, Promise, Stance};
use super::identity::{GroupId, Term};
use super::lead::{Authority, Basis, Comparison, Why, lead};
use super::log::Branches;
use super::node::{Claim, Durability, Node};
use super::peer::Liveness;
use super::place::place;
use super::plan::{Deed, Facts, Follow, plan};
use super::time::{Duration, Instant};

/// A chain of decisions within one turn (standby, asking, taking, active) is no longer than this.
const CHAIN: usize = 6;

/// The announcements after the first: then only the refresh.
const ANNOUNCE_AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(2)];

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
        for _ in 0..CHAIN {
            let (authority, why) = lead(self.evidence(now, woke));
            self.why = why;
            if authority == self.authority {
                break;
            }
            self.enter(now, authority, why);
        }
        if self.authority == Authority::Active {
            self.turn_issuer(now);
        }
        self.drop_overdue(now);
        self.act(now, &mut actions);
        self.probe(now, &mut actions);
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
                self.claim = None;
                self.certificate.forget();
                self.lease.lapse();
                self.issuer.restart();
                self.peer.acknowledged_receipt = None;
                self.groups.iter_mut().for_each(|group| group.lan.forget());
                if matches!(
                    why,
                    Why::StepFailed | Why::ConsentLost | Why::PromiseLapsed | Why::AddressAnswered
                ) {
                    self.retry_at = now + timing.lost_after * 2;
                }
            }
            Authority::Held | Authority::Asking => self.claim = None,
            Authority::Standby => {
                self.claim = None;
                self.orders.take_anyway = false;
            }
            Authority::Taking => self.claim = Some(self.new_claim(why)),
            Authority::Active => {
                self.orders.take_anyway = false;
                self.issuer.restart();
                if let Some(claim) = &mut self.claim {
                    claim.held_at = Some(now);
                }
                for group in &mut self.groups {
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
        let basis = if why == Why::Agreed { Basis::Agreement } else { Basis::Arbitration };
        let peer_lone = self.peer.last.as_ref().map_or(Term::ZERO, |peer| peer.lone);
        let adopts = basis == Basis::Agreement && self.contains_peer() == Some(true);
        Claim {
            term: self.durable.term.max(self.peer.term()).next_for(self.setup.me),
            basis,
            promoting: false,
            failed: false,
            adopted_lone: if adopts { peer_lone } else { Term::ZERO },
            held_at: None,
        }
    }

    fn turn_issuer(&mut self, now: Instant) {
        let standby = self.lease.holds(now)
            && !self.lease.unlimited()
            && self
                .heard(now)
                .is_some_and(|peer| matches!(peer.stance, Stance::Standby | Stance::Joining));
        let contested =
            self.heard(now).is_some_and(|peer| compare::standing(peer) > self.durable.standing());
        let sight = Sight {
            standby,
            contested,
            database: &self.database,
            excluded: self.durable.peer_excluded,
            waits: self.setup.durability != Durability::Async && self.setup.database,
        };
        self.issuer.turn(now, sight, &self.setup.timing);
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
                DatabaseDeed::StartAsStandby | DatabaseDeed::Follow | DatabaseDeed::Rejoin
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

    /// What should be on the disk.
    fn desired(&self, now: Instant) -> Durable {
        let mut desired = self.durable;
        match (self.authority, self.claim) {
            (Authority::Taking | Authority::Active, Some(claim)) => {
                self.desire_of_claim(now, claim, &mut desired);
            }
            (Authority::Taking | Authority::Active, None) => {}
            (Authority::Joining | Authority::Held | Authority::Standby | Authority::Asking, _) => {
                self.desire_of_waiting(now, &mut desired)
            }
        }
        desired
    }

    fn desire_of_claim(&self, now: Instant, claim: Claim, desired: &mut Durable) {
        desired.term = claim.term;
        desired.active = true;
        desired.leaving = None;
        desired.lone = desired.lone.max(claim.adopted_lone);
        if !self.setup.database {
            if self.durable.term == claim.term {
                desired.served = claim.term;
            }
        } else if let (DatabaseState::Writable, Some(log), true) =
            (self.database.state, &self.database.log, claim.promoting)
        {
            if desired.served != claim.term {
                desired.served = claim.term;
                desired.branches = desired.branches.with(log.timeline, claim.term);
            }
        }
        if self.authority != Authority::Active || desired.served != claim.term {
            return;
        }
        if self.issuer.lone() {
            desired.peer_excluded = true;
            desired.lone = desired.served;
        } else if self.issuer.may_clear_exclusion(&self.database) {
            desired.peer_excluded = false;
        }
        let idle = self
            .heard(now)
            .filter(|peer| matches!(peer.stance, Stance::Joining | Stance::Standby | Stance::Held));
        if let Some(peer) = idle
            && peer.lone > desired.lone
            && self.contains_peer() == Some(true)
        {
            desired.lone = peer.lone;
        }
    }

    fn desire_of_waiting(&self, now: Instant, desired: &mut Durable) {
        if !self.prepared() {
            return;
        }
        desired.active = false;
        if self.orders.leave {
            desired.leaving = self.peer.last.as_ref().map(|peer| peer.session);
        } else if self.return_confirmed() {
            desired.leaving = None;
        }
        let peer = self.heard(now);
        let serving = peer.filter(|peer| peer.stance == Stance::Active);
        let loses = self.authority == Authority::Joining
            && peer.is_some()
            && self.comparison() == Comparison::Lose;
        if loses || (self.authority == Authority::Standby && serving.is_some()) {
            // The peer may hold newer rows from here on (rule 18).
            desired.peer_excluded = false;
        }
        let Some(peer) = serving.filter(|_| self.authority == Authority::Standby) else { return };
        if self.follow(now) == Follow::ByRejoining {
            desired.copy_unfinished = true;
        }
        if self.follows_branch_of(peer) {
            desired.term = desired.term.max(peer.term);
            desired.served = peer.served;
            desired.lone = peer.lone;
            desired.copy_unfinished = false;
            if let Some(log) = &peer.log {
                desired.branches = Branches::of(log);
            }
        }
    }

    /// This node has replayed the branch that the peer serves (rule 13).
    fn follows_branch_of(&self, peer: &Heartbeat) -> bool {
        if !self.setup.database {
            return true;
        }
        match (self.log(), &peer.log) {
            (Some(mine), Some(theirs)) => {
                self.database.streaming && mine.timeline == theirs.timeline
            }
            (Some(_) | None, _) => false,
        }
    }

    /// The peer has heard that this node no longer leaves, or is not the one that was told (C27).
    fn return_confirmed(&self) -> bool {
        let (Some(told), Some(peer)) = (self.durable.leaving, &self.peer.last) else {
            return false;
        };
        let echoes_return = peer.echo.is_some_and(|echo| {
            self.sent.echoed(&echo).is_some() && echo.sequence >= self.orders.returned_from
        });
        peer.session != told || echoes_return
    }

    fn follow(&self, now: Instant) -> Follow {
        let serves = self.heard(now).is_some_and(|peer| {
            peer.stance == Stance::Active
                && self.authority == Authority::Standby
                && peer.system_id == self.database.system_id
        });
        if !serves || !self.setup.database || self.outranks() || self.log().is_none() {
            Follow::No
        } else if self.follows_directly()
            && !self.durable.copy_unfinished
            && !self.database.diverged
        {
            Follow::Directly
        } else if self.setup.rejoin {
            Follow::ByRejoining
        } else {
            Follow::No
        }
    }

    /// Commits wait for the standby unless this node may and does acknowledge alone (rule 17).
    fn synchronous(&self) -> bool {
        let lone_on_disk = self.durable.peer_excluded && self.durable.lone == self.durable.served;
        match self.setup.durability {
            Durability::Async => false,
            Durability::Strict | Durability::Available => {
                !(self.authority == Authority::Active && self.issuer.lone() && lone_on_disk)
            }
        }
    }

    fn act(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let goal = place(self.authority);
        if !self.setup.database
            && let Some(claim) = &mut self.claim
        {
            claim.promoting = self.durable.term == claim.term;
        }
        let desired = self.desired(now);
        let (synchronous, follow, proof) = (self.synchronous(), self.follow(now), self.proof(now));
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let facts = Facts {
                presence: group.presence,
                database: self.setup.database.then_some(&self.database),
                promoting: self.may_be_promoting(),
                looked: self.database.at > self.started
                    || now.since(self.started) >= self.setup.timing.step_deadline,
                durable: self.durable == desired,
                synchronous,
                services: group.services,
                services_told: group.services_told,
                proof,
                announced: now < group.announce_due,
                in_place: self.authority == Authority::Active,
                consented: proof == Proof::Given || self.claim.is_some_and(|claim| claim.promoting),
                follow,
            };
            let mut deeds = Vec::new();
            plan(goal, &facts, |_, deed| deeds.push(deed));
            for deed in deeds {
                self.do_deed(now, index, deed, desired, actions);
            }
            self.renew(now, index, actions);
        }
    }

    fn do_deed(
        &mut self,
        now: Instant,
        index: usize,
        deed: Deed,
        desired: Durable,
        actions: &mut Vec<Action>,
    ) {
        let id = GroupId(index as u8);
        let interval = self.setup.timing.interval;
        match deed {
            Deed::Wait => {}
            Deed::Save => self.save(now, desired, actions),
            Deed::Database(deed) => self.order_database(now, deed, actions),
            Deed::Services(goal) => {
                if self.groups[index].services_told != Some(goal) {
                    self.groups[index].services_told = Some(goal);
                    actions.push(Action::Services { group: id, goal });
                }
            }
            Deed::Hold => {
                let group = &mut self.groups[index];
                if now >= group.address_retry {
                    group.address_retry = now + interval;
                    actions.push(Action::HoldAddresses { group: id });
                }
            }
            Deed::Release => {
                let group = &mut self.groups[index];
                if now >= group.address_retry {
                    group.address_retry = now + interval;
                    actions.push(Action::ReleaseAddresses { group: id });
                }
            }
            Deed::Announce => {
                let group = &mut self.groups[index];
                let again = ANNOUNCE_AGAIN.get(group.announced as usize).copied();
                let pause = again.or(self.setup.refresh).unwrap_or(Duration::from_secs(1 << 30));
                group.announce_due = now + pause;
                actions.push(Action::Announce { group: id });
            }
        }
    }

    fn save(&mut self, now: Instant, state: Durable, actions: &mut Vec<Action>) {
        if self.damaged || self.pending.save.is_some() || now < self.pending.save_retry {
            return;
        }
        let ticket = self.ticket();
        self.pending.save = Some((ticket, now));
        actions.push(Action::SaveState { ticket, state });
    }

    fn order_database(&mut self, now: Instant, deed: DatabaseDeed, actions: &mut Vec<Action>) {
        let urgency = |deed: DatabaseDeed| match deed {
            DatabaseDeed::StopNow => 2,
            DatabaseDeed::Promote => 1,
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin
            | DatabaseDeed::StartInPlace
            | DatabaseDeed::SetSynchronous(_) => 0,
        };
        let free = match self.pending.database {
            Some((_, running, _)) => urgency(deed) > urgency(running),
            None => now >= self.pending.database_retry || urgency(deed) > 0,
        };
        if !free {
            return;
        }
        if deed == DatabaseDeed::Promote
            && let Some(claim) = &mut self.claim
        {
            claim.promoting = true;
        }
        let ticket = self.ticket();
        self.pending.database = Some((ticket, deed, now));
        actions.push(Action::Database { ticket, deed });
    }

    fn ticket(&mut self) -> Ticket {
        self.pending.next_ticket += 1;
        Ticket(self.pending.next_ticket)
    }

    /// The kernel forgets the addresses unless a living pulse renews them.
    fn renew(&mut self, now: Instant, index: usize, actions: &mut Vec<Action>) {
        let group = &mut self.groups[index];
        if self.authority == Authority::Active
            && group.presence == Presence::Held
            && now >= group.renew_due
        {
            group.renew_due = now + self.setup.timing.address_lifetime / 4;
            actions.push(Action::HoldAddresses { group: GroupId(index as u8) });
        }
    }

    fn probe(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for index in 0..self.groups.len() {
            let Some(question) = self.question(now, &self.groups[index].lan, index) else {
                continue;
            };
            let group = &mut self.groups[index];
            if !question.floating {
                group.lan.restart();
            }
            if now >= group.probe_due {
                group.probe_due = now + question.period;
                actions.push(Action::ProbeLan {
                    group: GroupId(index as u8),
                    floating: question.floating,
                    references: question.references,
                });
            }
        }
    }

    /// What is to be asked on the LAN now; `None` when nothing is.
    fn question(&self, now: Instant, lan: &Lan, index: usize) -> Option<Question> {
        let timing = &self.setup.timing;
        let quiet = self.peer.liveness(now, timing) >= Liveness::Late;
        let held = self.groups[index].presence == Presence::Held;
        let brisk = timing.probe_interval;
        let calm = (timing.long_window / (2 * timing.probes.max(1))).max(brisk);
        let agreed = self.claim.is_some_and(|claim| claim.basis == Basis::Agreement);
        // Who does not see its references does not get in the way of a node that does (rule 8).
        let on_the_lan = lan.on_the_lan(now, timing.long_validity);
        match self.authority {
            Authority::Joining | Authority::Held => None,
            Authority::Standby if quiet => {
                Some(Question { floating: true, references: true, period: brisk })
            }
            Authority::Standby => None,
            Authority::Asking => {
                let long_since = now.since(self.since) > timing.long_window * 4;
                let period = if long_since { calm } else { brisk };
                Some(Question { floating: on_the_lan, references: true, period })
            }
            Authority::Taking if held => None,
            Authority::Taking => Some(Question {
                floating: agreed || on_the_lan,
                references: !agreed,
                period: brisk,
            }),
            Authority::Active => {
                let alone = !self.lease.unlimited()
                    && (quiet || self.lease_is_late().is_none_or(|late| now >= late));
                let short = self.validity(now) == timing.short_validity;
                let period = if short || !held { brisk } else { timing.reference_period() };
                (alone || !held).then_some(Question { floating: !held, references: alone, period })
            }
        }
    }

    /// When an active node begins to ask: `late_after` after the heartbeat left on which its lease
    /// rests, so that one round trip to the arbiter fits before the lease ends (inequality 3).
    /// Later than that, "late" by the last heartbeat heard may come after the lease.
    fn lease_is_late(&self) -> Option<Instant> {
        let timing = &self.setup.timing;
        let whole = timing.lease(timing.lost_after);
        self.lease.ends().map(|ends| ends.before(whole.saturating_sub(timing.late_after)))
    }

    fn speak(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let stance = self.stance();
        if now < self.clock.heartbeat_due && stance == self.clock.said {
            return;
        }
        let certifying = self.authority == Authority::Active && self.issuer.certifying();
        let sequence = self.sent.note(now, self.peer.last_heard());
        self.issuer.sent(sequence, now, certifying, &self.setup.timing);
        self.clock.heartbeat_due = now + self.setup.timing.interval;
        self.clock.said = stance;
        actions.push(Action::SendHeartbeat(Heartbeat {
            node: self.setup.me,
            session: self.setup.session,
            sequence,
            echo: self.peer.echo(now),
            stance,
            promise: self.promise(),
            term: self.durable.term,
            served: self.durable.served,
            lone: self.durable.lone,
            certifying,
            certified: self.certificate.usable(now),
            excludes_you: self.durable.peer_excluded,
            log: self.stated_log(),
            system_id: self.database.system_id,
            groups: (0..self.groups.len()).map(|index| self.report(now, index)).collect(),
            software: self.setup.software,
            config_hash: self.setup.config_hash,
            maintenance: false,
        }));
    }

    /// Rule 1, and only while nothing of this node's can act against it: not while it asks or
    /// takes, not before it is seen released, not while it might hold newer rows than the peer.
    fn promise(&self) -> Promise {
        let told = self.peer.last.as_ref().map(|peer| peer.session);
        match self.authority {
            Authority::Asking | Authority::Taking | Authority::Active => Promise::None,
            Authority::Joining | Authority::Held | Authority::Standby => {
                if !self.prepared() {
                    Promise::None
                } else if self.orders.leave && told.is_some() && self.durable.leaving == told {
                    Promise::Leaving
                } else if self.durable.peer_excluded {
                    Promise::None
                } else {
                    Promise::For(self.setup.timing.lost_after)
                }
            }
        }
    }

    pub(super) fn report(&self, now: Instant, index: usize) -> GroupReport {
        GroupReport {
            serving: self.groups[index].presence == Presence::Held,
            health: self.health(now, index),
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
        }
        for group in &self.groups {
            at(Some(group.address_retry));
        }
        due.max(now + Duration::from_micros(1))
    }
}

struct Question {
    floating: bool,
    references: bool,
    period: Duration,
}
