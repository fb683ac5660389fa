//! From the plan's deeds to actions, and which of them are already under way.

use alloc::vec::Vec;

use super::action::{Action, DatabaseDeed};
use super::arbiter::Proof;
use super::durable::Durable;
use super::event::{DatabaseState, Presence, Ticket};
use super::identity::GroupId;
use super::lead::Authority;
use super::node::Node;
use super::place::place;
use super::plan::{Deed, Facts, plan};
use super::time::{Duration, Instant};

/// The announcements after the first: then only the refresh.
const ANNOUNCE_AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(2)];

impl Node {
    pub(super) fn act(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let goal = place(self.authority);
        if !self.setup.database
            && let Some(claim) = &mut self.claim
        {
            claim.promoting = self.durable.term >= claim.term;
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
                durable: self.durable == desired && !self.orders.recover,
                synchronous,
                services: group.services,
                services_told: group.services_told,
                proof,
                announced: now < group.announce_due,
                in_place: self.authority == Authority::Active,
                consented: proof == Proof::Given || self.claim.is_some_and(|claim| claim.promoting),
                follow,
                checkpointed: self.moves.checkpointed,
                stopping: self.moves.stopping,
                hung: self.is_hung(now),
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
        let unreadable = self.damaged && !self.orders.recover;
        // What is to be recovered depends on what the database has, once that can be seen.
        let unseen = self.orders.recover
            && self.setup.database
            && matches!(self.database.state, DatabaseState::Unknown | DatabaseState::Starting)
            && now.since(self.started) < self.setup.timing.step_deadline;
        if unreadable || unseen || self.pending.save.is_some() || now < self.pending.save_retry {
            return;
        }
        let ticket = self.ticket();
        self.pending.save = Some((ticket, now));
        actions.push(Action::SaveState { ticket, state });
    }

    fn order_database(&mut self, now: Instant, deed: DatabaseDeed, actions: &mut Vec<Action>) {
        let urgency = |deed: DatabaseDeed| match deed {
            DatabaseDeed::StopNow => 2,
            DatabaseDeed::Promote | DatabaseDeed::StopCleanly => 1,
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Checkpoint
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin { .. }
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
        if deed == DatabaseDeed::StopCleanly {
            self.moves.stopping = true;
        }
        let ticket = self.ticket();
        self.pending.database = Some((ticket, deed, now));
        actions.push(Action::Database { ticket, deed });
    }

    /// The active node's database does not answer, and nothing is under way that would explain it.
    fn is_hung(&self, now: Instant) -> bool {
        let critical_down = self.setup.timing.critical_down;
        self.database.state == DatabaseState::Unknown
            && self.pending.database.is_none()
            && self.moves.down_since.is_some_and(|since| now.since(since) >= critical_down)
    }

    pub(super) fn ticket(&mut self) -> Ticket {
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
}
