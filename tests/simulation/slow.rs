//! The slow world's fake, without the database: disk and services.

use duotone::protocol::durable::Durable;
use duotone::protocol::event::{Event, ServicesGoal, ServicesSeen, Ticket};
use duotone::protocol::health::Grade;
use duotone::protocol::identity::{GroupId, NodeId};

use crate::clock::{MICRO, MILLI};
use crate::world::{Inside, World};

impl World {
    pub fn save(&mut self, host: NodeId, ticket: Ticket, state: Durable) {
        let it = &mut self.hosts[host.index()];
        let fails = it.trouble.disk_fails;
        let hangs = it.trouble.slow_until.saturating_sub(self.now);
        let takes = it.trouble.disk_takes;
        let life = it.daemon.life;
        it.writes.push_back((ticket, state));
        let takes = takes.unwrap_or_else(|| self.dice.span(300 * MICRO, 6 * MILLI));
        // Writes are done one after the other.
        let it = &mut self.hosts[host.index()];
        let now = it.clock.read(self.now);
        it.disk_free = it.disk_free.max(now + hangs) + takes;
        let span = it.disk_free - now;
        let state = Box::new(state);
        self.inside(host, span, Inside::Saved { life, ticket, state, fails });
    }

    pub fn saved(&mut self, host: NodeId, life: u32, ticket: Ticket, state: Durable, fails: bool) {
        if !self.same_life(host, life) {
            return;
        }
        // A failed write may have reached the disk or not.
        let lands = !fails || self.dice.chance(500);
        let it = &mut self.hosts[host.index()];
        while it.writes.pop_front().is_some_and(|(earlier, _)| earlier != ticket) {}
        if lands {
            it.disk = state;
            it.damaged = false;
        }
        let saved = (!fails).then_some(state);
        self.tell(host, Event::StateSaved { ticket, saved });
    }

    /// The daemon or the kernel dies: of the writes under way, the first few may have landed.
    pub fn writes_end(&mut self, host: NodeId) {
        while let Some((_, state)) = self.hosts[host.index()].writes.pop_front() {
            if !self.dice.chance(500) {
                break;
            }
            self.hosts[host.index()].disk = state;
            self.hosts[host.index()].damaged = false;
        }
        self.hosts[host.index()].writes.clear();
    }

    pub fn order_services(&mut self, host: NodeId, goal: ServicesGoal) {
        let hangs = self.hosts[host.index()].trouble.slow_until.saturating_sub(self.now);
        let it = &mut self.hosts[host.index()].services;
        it.orders += 1;
        let order = it.orders;
        let there = it.reached >= Some(goal) && it.goal == Some(goal);
        it.goal = Some(goal);
        let life = self.hosts[host.index()].daemon.life;
        let (low, high) = if there { (MICRO, MILLI) } else { (2 * MILLI, 60 * MILLI) };
        let span = hangs + self.dice.span(low, high);
        self.inside(host, span, Inside::ServicesReached { life, order, goal });
    }

    pub fn services_reached(&mut self, host: NodeId, life: u32, order: u64, goal: ServicesGoal) {
        if !self.same_life(host, life) {
            return;
        }
        let services = &mut self.hosts[host.index()].services;
        if services.orders == order {
            services.reached = Some(goal);
        }
        let current = services.orders == order;
        if !current && services.reached == services.goal {
            // A newer order was faster: its report is the last word.
            return;
        }
        let critical = match (current, services.failing) {
            (true, None) => Grade::Good,
            (true, Some(_)) => Grade::Failed,
            (false, _) => Grade::Unknown,
        };
        let seen = ServicesSeen { goal, stopped: current, critical };
        self.tell(host, Event::ServicesSeen { group: GroupId::MAIN, seen });
    }

    /// The critical services go down, or come back: the adapter sees it.
    pub fn services_fail(&mut self, host: NodeId, fail: bool) {
        let services = &mut self.hosts[host.index()].services;
        if services.failing.is_some() == fail {
            return;
        }
        services.failing = fail.then_some(self.now);
        if let Some(goal) = services.reached {
            let critical = if fail { Grade::Failed } else { Grade::Good };
            let seen = ServicesSeen { goal, stopped: true, critical };
            self.tell(host, Event::ServicesSeen { group: GroupId::MAIN, seen });
        }
    }

    /// What is bound to the daemon's life ends with it (rule 24).
    pub fn stop_everything(&mut self, host: NodeId) {
        use duotone::protocol::event::DatabaseState;
        let it = &mut self.hosts[host.index()];
        let ended = it.database.deed.take();
        it.database.deeds += 1;
        if it.database.state != DatabaseState::Stopped {
            it.database.goes(DatabaseState::Stopped);
        }
        it.services.reached = None;
        it.services.orders += 1;
        if let Some(goal) = it.services.goal {
            let seen = ServicesSeen { goal, stopped: true, critical: Grade::Failed };
            self.tell(host, Event::ServicesSeen { group: GroupId::MAIN, seen });
        }
        self.trace.note(self.now, host, || "services and database stop".to_owned());
        if let Some(deed) = ended {
            // A daemon that only hung finds what is left when it goes on.
            self.look_now(host, Some(deed.ticket));
        }
    }
}
