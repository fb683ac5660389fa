//! What a command does to the world.

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{Event, Order};
use duotone::protocol::health::Grade;
use duotone::protocol::identity::NodeId;

use crate::clock::{Clock, MICRO, MILLI, SECOND};
use crate::command::{Cable, Command};
use crate::fence::Mood;
use crate::host::{Freeze, Life, Trouble};
use crate::keys::Keys;
use crate::settings::{LATENESS, Settings, nanos};
use crate::world::{Inside, Moment, Outside, What, World};

impl World {
    pub fn apply(&mut self, command: &Command) {
        self.trace.world(self.now, || command.to_string());
        self.note_paths();
        match command {
            Command::PowerOff(host) => self.power_off(*host),
            Command::PowerOn(host) => {
                let delay = self.dice.span(20 * MILLI, 400 * MILLI);
                self.power_on(*host, delay);
            }
            Command::Freeze(host, span, hidden) => self.freeze(*host, *span, *hidden),
            Command::KillDaemon(host, clean) => self.kill_daemon(*host, *clean),
            Command::StartDaemon(host) => {
                let it = &self.hosts[host.index()];
                if it.alive() && it.daemon.state == Life::Dead {
                    self.start_daemon(*host);
                }
            }
            Command::HangDaemon(host) => self.hang_daemon(*host),
            Command::ResumeDaemon(host) => self.resume_daemon(*host),
            Command::Cut(cable, from) => self.cable(*cable, *from, false),
            Command::Mend(cable, from) => self.cable(*cable, *from, true),
            Command::SplitLan(split) => self.split_lan(*split),
            Command::Foreign(there) => self.network.foreign = *there,
            Command::Replication(works) => self.network.replication_hangs = !works,
            Command::Loss(per_mille) => self.network.loss_per_mille = *per_mille,
            Command::Twice(per_mille) => self.network.twice_per_mille = *per_mille,
            Command::PromotionTakes(host, span) => {
                self.hosts[host.index()].trouble.promotion_takes = Some(*span);
            }
            Command::PromotionFails(host, fails) => {
                self.hosts[host.index()].trouble.promotion_fails = *fails;
            }
            Command::CopyTakes(host, span) => {
                self.hosts[host.index()].trouble.copy_takes = Some(*span);
            }
            Command::ReleaseTakes(host, span) => {
                self.hosts[host.index()].trouble.release_takes = Some(*span);
            }
            Command::DiskTakes(host, span) => {
                self.hosts[host.index()].trouble.disk_takes = Some(*span);
            }
            Command::AddressFails(host, fails) => {
                self.hosts[host.index()].trouble.address_fails = *fails;
            }
            Command::Keys(host, keys) => self.hosts[host.index()].keys = *keys,
            Command::WitnessKeys(keys) => self.witness_keys(*keys),
            Command::DamageState(host) => self.damage_state(*host),
            Command::StartFails(host, fails) => {
                self.hosts[host.index()].trouble.start_fails = *fails;
            }
            Command::KillDatabase(host) => self.kill_database(*host),
            Command::DatabaseHangs(host, hangs) => {
                self.hosts[host.index()].trouble.database_hangs = *hangs;
            }
            Command::ServicesFail(host, fail) => self.services_fail(*host, *fail),
            Command::ServicesMute(host, mute) => self.hosts[host.index()].services.mute = *mute,
            Command::FailbackHours(open) => {
                for host in NodeId::ALL {
                    self.tell(host, Event::FailbackHours { open: *open });
                }
            }
            Command::Probes(host, pass) => self.lose_probes(*host, !pass),
            Command::DiskFails(host, fails) => {
                self.hosts[host.index()].trouble.disk_fails = *fails;
            }
            Command::Witness(true) => self.witness_on(),
            Command::Witness(false) => self.witness_off(),
            Command::WitnessForgets => self.witness_forgets(),
            Command::Fence(host, mood) => self.fences[host.index()].mood = *mood,
            Command::FenceTakes(host, span) => self.fences[host.index()].takes = Some(*span),
            Command::WitnessHearsAgain(host, span) => {
                self.network.again_at_witness[host.index()] = Some(*span);
            }
            Command::TornStarts(host) => self.hosts[host.index()].trouble.torn_starts = true,
            Command::SlowWorld(host, span) => {
                self.hosts[host.index()].trouble.slow_until = self.now + span;
            }
            Command::DeleteAddress(host) => self.delete_address(*host),
            Command::DeleteOneAddress(host) => self.delete_one_address(*host),
            Command::Order(host, order) => self.order(*host, *order),
            Command::WhenPromoting(host, span, command) => {
                self.armed.push((*host, Moment::Promotes, *span, Command::clone(command)));
            }
            Command::WhenClaiming(host, span, command) => {
                self.armed.push((*host, Moment::Claims, *span, Command::clone(command)));
            }
            Command::Heal => self.heal(),
        }
        self.note_paths();
    }

    pub fn power_on(&mut self, host: NodeId, daemon_after: u64) {
        let local = self.dice.span(SECOND, 400 * SECOND);
        let ppm = self.settings.ppm[host.index()];
        let it = &mut self.hosts[host.index()];
        if it.powered {
            return;
        }
        it.powered = true;
        it.boot += 1;
        it.clock = Clock::booted(self.now, local, ppm);
        it.thawed = None;
        it.thawed_unseen = None;
        let life = it.daemon.life;
        self.inside(host, daemon_after, Inside::DaemonStarts { life });
    }

    pub fn power_off(&mut self, host: NodeId) {
        if !self.hosts[host.index()].powered {
            return;
        }
        self.checker.off_at[host.index()] = Some(self.now);
        self.writes_end(host);
        self.database_crashes(host);
        self.end_daemon(host);
        let it = &mut self.hosts[host.index()];
        it.powered = false;
        it.boot += 1;
        it.frozen = None;
        it.deferred.clear();
        it.addresses.remove();
        it.address_free = 0;
        it.disk_free = 0;
        it.services.reached = None;
        it.services.goal = None;
        it.services.orders += 1;
    }

    fn end_daemon(&mut self, host: NodeId) {
        let daemon = &mut self.hosts[host.index()].daemon;
        daemon.state = Life::Dead;
        daemon.changed = self.now;
        daemon.node = None;
        daemon.inbox.clear();
        daemon.wake = None;
        daemon.wakes += 1;
        daemon.life += 1;
        let it = &mut self.hosts[host.index()];
        it.disk_free = 0;
        it.services.goal = None;
        it.remote_told = Grade::Unknown;
    }

    /// A clean death runs the unit's `ExecStopPost`; a hard one leaves all to the kernel.
    fn kill_daemon(&mut self, host: NodeId, clean: bool) {
        let it = &self.hosts[host.index()];
        if !it.alive() || it.daemon.state == Life::Dead {
            return;
        }
        self.writes_end(host);
        self.cancel_for_good(host);
        self.end_daemon(host);
        if clean {
            self.stop_everything(host);
            self.hosts[host.index()].addresses.remove();
        } else {
            self.arm_dead_man(host);
        }
    }

    fn hang_daemon(&mut self, host: NodeId) {
        let it = &mut self.hosts[host.index()];
        if it.alive() && it.daemon.state == Life::Running {
            it.daemon.state = Life::Hung;
            it.daemon.changed = self.now;
            self.arm_dead_man(host);
        }
    }

    fn arm_dead_man(&mut self, host: NodeId) {
        let (low, high) = self.settings.lifetime();
        let span = self.dice.span(low, high);
        let life = self.hosts[host.index()].daemon.life;
        self.inside(host, span, Inside::DeadMan { life });
    }

    fn resume_daemon(&mut self, host: NodeId) {
        let it = &mut self.hosts[host.index()];
        if it.alive() && it.daemon.state == Life::Hung {
            it.daemon.state = Life::Running;
            it.daemon.changed = self.now;
            it.daemon.wakes += 1;
            let number = it.daemon.wakes;
            it.daemon.wake = Some(it.clock.read(self.now));
            self.inside(host, MICRO, Inside::Wake { number });
            // The services adapter starts again what stopped meanwhile.
            let services = &self.hosts[host.index()].services;
            if let (None, Some(goal)) = (services.reached, services.goal) {
                self.order_services(host, goal);
            }
        }
    }

    fn freeze(&mut self, host: NodeId, span: u64, hidden: bool) {
        let it = &mut self.hosts[host.index()];
        if !it.alive() {
            return;
        }
        it.frozen = Some(Freeze { hidden, packets: 0 });
        if hidden {
            it.clock.stop(self.now);
            // Who is powered off first can have kept what it will (no exception under `fence`).
            self.checker.hidden_seen = self.settings.arbitration != Arbitration::FENCE;
        }
        self.after(span, What::Outside(Box::new(Outside::Thaw(host))));
    }

    pub fn thaw(&mut self, host: NodeId) {
        let late = self.dice.span(0, LATENESS);
        let it = &mut self.hosts[host.index()];
        let Some(Freeze { hidden, .. }) = it.frozen.take() else { return };
        it.clock.go_on(self.now);
        it.thawed = Some(self.now);
        if hidden {
            it.thawed_unseen = Some(self.now);
        }
        let deferred = std::mem::take(&mut it.deferred);
        for what in deferred {
            // The kernel wakes before the pulse: it answers, and the database acknowledges.
            let pulse = matches!(what, What::Inside { what: Inside::Wake { .. }, .. });
            self.after(if pulse { late } else { 0 }, what);
        }
        self.trace.world(self.now, || format!("{host} thaws"));
        self.commit(host, false);
    }

    fn cable(&mut self, cable: Cable, from: Option<NodeId>, works: bool) {
        let network = &mut self.network;
        for host in NodeId::ALL.into_iter().filter(|&host| from.is_none_or(|from| from == host)) {
            let index = host.index();
            match cable {
                Cable::Eth1 => network.eth1[index] = works,
                Cable::Eth0Path => network.eth0[index] = works,
                Cable::Lan => network.ports[index].passes = works,
                Cable::LanPlug => network.ports[index].carrier = works,
                Cable::Gateway => network.gateway[index] = works,
                Cable::Witness => {
                    (network.to_witness[index], network.from_witness[index]) = (works, works);
                }
                Cable::WitnessReplies => network.from_witness[index] = works,
                Cable::Fence => network.fence[index] = works,
            }
        }
    }

    fn split_lan(&mut self, split: bool) {
        self.network.split = split;
        self.checker.split_seen |= split && self.settings.arbitration.is_lan();
    }

    /// Of one host only: with both files lost nobody knows anything.
    fn damage_state(&mut self, host: NodeId) {
        let other = &self.hosts[host.peer().index()];
        if !other.damaged && !self.hosts[host.index()].daemon_runs() {
            self.hosts[host.index()].damaged = true;
            self.checker.memory_lost = true;
        }
    }

    fn lose_probes(&mut self, host: NodeId, lost: bool) {
        self.network.probes_lost[host.index()] = lost;
        if self.settings.arbitration.is_lan() {
            self.checker.probes_lost_seen |= lost;
        } else {
            // Who got no answer took the other for off the LAN, as after a cut.
            self.checker.lan_apart = self.now;
        }
    }

    fn delete_address(&mut self, host: NodeId) {
        if self.hosts[host.index()].addresses.remove() {
            self.addresses_seen(host);
        }
    }

    fn delete_one_address(&mut self, host: NodeId) {
        if self.hosts[host.index()].addresses.remove_one() {
            self.addresses_seen(host);
        }
    }

    fn order(&mut self, host: NodeId, order: Order) {
        let outside = Outside::Order(host, order);
        self.after(MICRO, What::Outside(Box::new(outside)));
    }

    /// The control socket hands it on.
    pub fn ordered(&mut self, host: NodeId, order: Order) {
        match order {
            Order::TakeAnyway => self.checker.forced[host.index()] = true,
            Order::Recover if self.hosts[host.index()].damaged => self.forgive_recovered(host),
            Order::Recover | Order::Leave | Order::Return | Order::Switchover => {}
        }
        self.tell(host, Event::Operator(order));
    }

    /// Everything works again; daemons run, nobody is on leave.
    pub fn heal(&mut self) {
        let split = self.network.split;
        self.network.heal();
        if split {
            self.split_lan(false);
        }
        self.armed.clear();
        self.witness_keys(Keys::FIRST);
        self.witness_on();
        for device in &mut self.fences {
            (device.mood, device.takes) = (Mood::Works, None);
        }
        // An order that is under way may still switch one off.
        self.settings.fenced_returns = Some(Settings::RETURNS);
        for host in NodeId::ALL {
            self.hosts[host.index()].trouble = Trouble::default();
            self.services_fail(host, false);
            self.hosts[host.index()].services.mute = false;
            if self.hosts[host.index()].frozen.is_some() {
                self.thaw(host);
            }
            self.resume_daemon(host);
            self.heal_keys(host);
            let it = &self.hosts[host.index()];
            if !it.powered {
                self.power_on(host, 50 * MILLI);
            } else if it.daemon.state == Life::Dead {
                self.start_daemon(host);
            }
        }
        // After the daemons are there to hear it.
        for host in NodeId::ALL {
            // Again, for one that a fence powers off in between.
            let orders = [(500, Order::Return), (900, Order::Recover), (9_000, Order::Recover)];
            let many = if self.settings.arbitration.fence { 3 } else { 2 };
            for (after, order) in orders.into_iter().take(many) {
                let outside = Outside::Order(host, order);
                self.after(after * MILLI, What::Outside(Box::new(outside)));
            }
        }
    }

    /// The first key again, read by a daemon that had read another.
    fn heal_keys(&mut self, host: NodeId) {
        let it = &mut self.hosts[host.index()];
        it.keys = Keys::FIRST;
        if it.daemon.state != Life::Dead && it.daemon.keys != it.keys {
            self.kill_daemon(host, false);
        }
    }

    /// What this host sends has a key that the other knows.
    fn peer_accepts(&self, from: NodeId) -> bool {
        let [mine, peers] = [from, from.peer()].map(|host| self.hosts[host.index()].daemon.keys);
        peers.accept(mine.current)
    }

    /// Remembers since when the nodes can hear each other, both ways.
    pub fn note_paths(&mut self) {
        let together = NodeId::ALL.iter().all(|&host| {
            self.network.heartbeats_pass(host)
                && self.hosts[host.index()].daemon_runs()
                && self.peer_accepts(host)
        });
        match (together, self.checker.together_since) {
            (true, None) => self.checker.together_since = Some(self.now),
            (false, _) => self.checker.together_since = None,
            (true, Some(_)) => {}
        }
        let apart_since = self.checker.apart_since.unwrap_or(self.now);
        self.checker.apart_since = (!together).then_some(apart_since);
        if !self.network.neighbours() {
            self.checker.lan_apart = self.now;
        }
        for host in NodeId::ALL {
            let reaches = if self.settings.arbitration.witness {
                {
                    let key = self.hosts[host.index()].daemon.keys.current;
                    let known = self.witness.runs() && self.witness.keys().accept(key);
                    known && self.network.reaches_witness(host)
                }
            } else {
                self.network.reaches_gateway(host)
            };
            let since = &mut self.checker.off_arbiter[host.index()];
            if reaches {
                *since = None;
            } else {
                since.get_or_insert(self.now);
            }
        }
    }

    /// By when two nodes that hear each other have settled who serves.
    pub fn reconciled_after(&self) -> u64 {
        let timing = &self.settings.timing;
        nanos(timing.lost_after + timing.round_trip() * 2 + timing.release * 2)
    }
}
