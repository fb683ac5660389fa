//! What must hold after every event. Each rule is a sentence; what the promise excepts is counted,
//! and a long run must reach every exception.

use std::collections::BTreeMap;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::{DatabaseState, ServicesGoal};
use duotone::protocol::heartbeat::{Heartbeat, Promise, Stance};
use duotone::protocol::identity::{NodeId, Term};
use duotone::protocol::log::Relation;
use duotone::protocol::node::Durability;

use crate::branches::{BranchId, Place};
use crate::clock::{MILLI, SECOND};
use crate::exceptions::Exceptions;
use crate::host::Life;
use crate::settings::{LATENESS, nanos};
use crate::world::World;

/// How often the daemon looks at its database.
pub const LOOK: u64 = 100 * MILLI;
/// The same, while the peer hands its role over.
pub const LOOK_AT_ONCE: u64 = 5 * MILLI;

pub struct Checker {
    /// The first sentence that did not hold.
    pub broken: Option<String>,
    pub exceptions: Exceptions,
    /// The branch of the newest promotion that has acknowledged, and who did.
    newest: Option<(BranchId, NodeId)>,
    /// Who used a term.
    claims: BTreeMap<Term, NodeId>,
    /// The last commit that a client on the LAN saw acknowledged.
    pub last_served: u64,
    /// Since when heartbeats pass both ways.
    pub together_since: Option<u64>,
    /// Since when they do not.
    pub apart_since: Option<u64>,
    /// Since when each host does not reach its arbiter: a reference, or the witness.
    pub off_arbiter: [Option<u64>; 2],
    /// When each host last lost its power, and how often a fence did that.
    pub off_at: [Option<u64>; 2],
    pub fenced: u64,
    /// When the hosts were last not on the same LAN, or could not ask each other there.
    pub lan_apart: u64,
    /// The LAN was split, or a host frozen without seeing it, since the pair was last settled.
    pub split_seen: bool,
    pub hidden_seen: bool,
    /// So was every probe of a node for a while.
    pub probes_lost_seen: bool,
    /// A state file was damaged: standings of before say nothing any more.
    pub memory_lost: bool,
    /// An operator told this node to take the role without a certificate, and it has neither
    /// taken nor found it taken since.
    pub forced: [bool; 2],
    /// Nothing may move: this node serves and goes on serving.
    pub still: Option<NodeId>,
    /// Only one fault was injected: not even a stale takeover may lose rows.
    pub single_fault: bool,
    /// A node decides what is done; without one nothing is judged.
    pub judges: bool,
}

impl Checker {
    pub fn new() -> Checker {
        Checker {
            broken: None,
            exceptions: Exceptions::default(),
            newest: None,
            claims: BTreeMap::new(),
            last_served: 0,
            together_since: Some(0),
            apart_since: None,
            off_arbiter: [None; 2],
            off_at: [None; 2],
            fenced: 0,
            lan_apart: 0,
            split_seen: false,
            hidden_seen: false,
            probes_lost_seen: false,
            memory_lost: false,
            forced: [false; 2],
            still: None,
            single_fault: false,
            judges: true,
        }
    }
}

impl Checker {
    /// An exception of P1 is not settled yet: two may have acknowledged.
    pub fn doubtful(&self) -> bool {
        self.split_seen || self.hidden_seen || self.probes_lost_seen
    }

    /// What an exception left is settled: who serves now acknowledges rightly.
    pub fn settled_anew(&mut self) {
        self.newest = None;
    }
}

impl World {
    pub fn break_rule(&mut self, sentence: String) {
        if self.checker.broken.is_some() || !self.checker.judges {
            return;
        }
        let now = self.now;
        self.trace.world(now, || format!("BROKEN: {sentence}"));
        self.checker.broken = Some(sentence);
    }

    /// P1: two hosts on the LAN never hold the floating address at once.
    pub fn check_owners(&mut self) {
        let owners = |host: NodeId| {
            let it = &self.hosts[host.index()];
            it.addresses.any() && it.alive() && self.network.on_lan(host)
        };
        if owners(NodeId::A) && owners(NodeId::B) && !self.excused() {
            self.break_rule("P1: two nodes hold the floating address".to_owned());
        }
    }

    /// The exceptions of P1. Counts the one that it finds.
    fn excused(&mut self) -> bool {
        if self.settings.arbitration == Arbitration::FENCE {
            return false;
        }
        let timing = &self.settings.timing;
        let reconciled = self.reconciled_after();
        let release = nanos(timing.release) + 2 * LATENESS;
        // What an unseen freeze leaves standing: a lease or a reference's answer.
        let unseen = reconciled + nanos(timing.long_validity + timing.long_window);
        let now = self.now;
        let apart = self.checker.together_since.is_none_or(|since| now < since + reconciled);
        let lifetime = nanos(timing.lifetime_worst());
        let unasked = self.network.probes_lost != [false; 2];
        let cut_off = (self.settings.arbitration.witness && unasked)
            || !self.network.neighbours()
            || now < self.checker.lan_apart + lifetime;
        // What a split left is settled when both are heard again and have read their logs.
        let settling =
            self.checker.together_since.is_none_or(|since| now < since + unseen + SECOND);
        let split = self.settings.arbitration.is_lan()
            && (self.network.split || (self.checker.split_seen && settling));
        let hidden = self.checker.hidden_seen;
        let unasked = self.checker.probes_lost_seen && (settling || unasked);
        let exceptions = &mut self.checker.exceptions;
        for it in self.hosts.iter().filter(|it| it.alive()) {
            let holds = it.addresses.any() || it.database.state == DatabaseState::Writable;
            let resumed = now < it.daemon.changed + release;
            let frozen = it.thawed.is_some_and(|at| now < at + lifetime);
            // Without its address nothing of a dead daemon's host answers the peer's probe.
            let dead_lately = now < it.daemon.changed + lifetime + release;
            let bare = !it.addresses.any() && dead_lately;
            if (cut_off || frozen || bare) && holds && (it.daemon.state != Life::Running || resumed)
            {
                exceptions.remnant += 1;
                return true;
            }
            if it.thawed.is_some_and(|at| now < at + release) {
                exceptions.wake_window += 1;
                return true;
            }
            if it.thawed_unseen.is_some_and(|at| hidden && (apart || now < at + unseen)) {
                exceptions.hidden_freeze += 1;
                return true;
            }
        }
        if split {
            exceptions.split_lan += 1;
            return true;
        }
        if unasked {
            exceptions.probes_lost += 1;
            return true;
        }
        false
    }

    /// P1: no database acknowledges after another acknowledged under a later promotion.
    pub fn check_acknowledged(&mut self, host: NodeId, branch: BranchId) {
        if self.settings.durability == Durability::Async {
            return;
        }
        match self.checker.newest {
            Some((newest, by)) if newest > branch && by != host => {
                // After a split or an unseen freeze the other has given its branch up.
                let doubtful = self.checker.doubtful();
                let given_up = self.hosts[by.index()].database.state != DatabaseState::Writable;
                if doubtful && given_up {
                    self.checker.newest = Some((branch, host));
                } else if !self.excused() {
                    self.break_rule(format!(
                        "P1: {host} acknowledges after {by} acknowledged under a later promotion"
                    ));
                }
            }
            Some((newest, _)) if newest > branch => {}
            _ => self.checker.newest = Some((branch, host)),
        }
    }

    /// P4 and P2, when an address is about to be taken.
    pub fn check_taking(&mut self, host: NodeId) {
        let it = &self.hosts[host.index()];
        if it.addresses.any() {
            return;
        }
        // Who looks through a slow world sees late.
        let slow = it.trouble.slow_until;
        let unseen =
            it.database.killed.is_some_and(|at| self.now < at.max(slow) + LOOK + 10 * LATENESS);
        if it.database.state != DatabaseState::Writable && !unseen {
            self.break_rule(format!("P4: {host} takes the address over a database not writable"));
        } else if it.services.reached.is_none_or(|goal| goal < ServicesGoal::Prepare)
            || it.services.failing.is_some_and(|since| self.now > since + 10 * LATENESS)
        {
            self.break_rule(format!("P4: {host} takes the address without its services"));
        }
        let log = self.hosts[host.index()].database.log;
        let missing: Vec<BranchId> = self.branches.missing(log).collect();
        for branch in missing {
            self.check_loss(log, branch, &format!("{host} serves"));
        }
        if self.checker.still.is_some_and(|owner| owner != host) {
            self.check_still(host, "it takes the address");
        }
    }

    /// P2: what was acknowledged is there when a node starts serving, and is not thrown away.
    fn check_loss(&mut self, log: Place, branch: BranchId, when: &str) {
        let knowingly = match self.settings.durability {
            Durability::Async => true,
            Durability::Available => self.branches.left_knowingly(log, branch, false),
            Durability::Strict => self.branches.left_knowingly(log, branch, true),
        };
        // The other's mark that it was alone is void beside a forced one, and the order says so.
        let knowingly = knowingly || self.branches.0[branch].forced;
        let beyond = self.checker.doubtful();
        let single = self.checker.single_fault && self.settings.durability != Durability::Async;
        if beyond || (knowingly && !single) {
            if !beyond && self.settings.durability == Durability::Available {
                self.checker.exceptions.stale_loss += 1;
            }
            self.branches.forgive(branch);
            return;
        }
        self.break_rule(format!("P2: {when} without rows that were acknowledged"));
    }

    /// P5: what is salvaged before a rejoin are the rows past the place that the node, or the
    /// server by the timelines' numbers, takes for the last common one.
    pub fn check_parting(&mut self, host: NodeId, source: Place, told: Option<u64>) {
        let log = self.hosts[host.index()].database.log;
        let common = self.branches.common(log, source);
        let (mine, theirs) = (self.branches.as_log(log), self.branches.as_log(source));
        let by_numbers = matches!(theirs.relation(&mine), Relation::Longer | Relation::Equal);
        let wrong = match told {
            Some(told) => told > common,
            None => by_numbers || mine.timeline == theirs.timeline,
        };
        if wrong {
            self.break_rule(format!(
                "P5: {host} rejoins from {told:?}, and the logs part at {common}"
            ));
        }
    }

    /// Who recovers a node whose memory is damaged gives up what only that node has.
    pub fn forgive_recovered(&mut self, host: NodeId) {
        let log = self.hosts[host.peer().index()].database.log;
        let missing: Vec<BranchId> = self.branches.missing(log).collect();
        for branch in missing {
            self.checker.exceptions.recovered += 1;
            self.branches.forgive(branch);
        }
    }

    /// P2 and P5, when a log is thrown away for another.
    pub fn check_thrown_away(&mut self, host: NodeId, old: Place, source: Place) {
        if !self.hosts[host.index()].disk.copy_unfinished {
            self.break_rule(format!("rule 22: {host} overwrites its log without the mark on disk"));
        }
        self.check_rewinds(host, old, source);
        let branch = &self.branches.0[old.branch];
        if branch.salvaged < old.position {
            self.break_rule(format!("P5: {host} throws rows away that were not salvaged"));
        }
        let missing: Vec<BranchId> = self.branches.missing(source).collect();
        for branch in missing {
            self.check_loss(source, branch, &format!("{host} throws a log away for one"));
        }
    }

    pub fn check_start_in_place(&mut self, host: NodeId) {
        let log = self.hosts[host.index()].database.log;
        if self.branches.0[log.branch].by != Some(host) {
            self.break_rule(format!("{host} starts a primary in place that it never was"));
        }
    }

    /// P3: what a heartbeat says is on the sender's disk; a term has one node.
    pub fn check_heartbeat(&mut self, host: NodeId, heartbeat: &Heartbeat) {
        let disk = &self.hosts[host.index()].disk;
        let spoken = [
            (heartbeat.term > disk.term, "term"),
            (heartbeat.served > disk.served, "served term"),
            (heartbeat.lone > disk.lone, "lone term"),
            (heartbeat.promise == Promise::Leaving && disk.leaving.is_none(), "leave"),
        ];
        if let Some((_, what)) = spoken.iter().find(|(too_early, _)| *too_early) {
            self.break_rule(format!("P3: {host} speaks of a {what} that is not on its disk"));
        }
        let claims = match heartbeat.stance {
            Stance::Promoted | Stance::Active => true,
            Stance::Joining
            | Stance::Standby
            | Stance::Held
            | Stance::Asking
            | Stance::Taking
            | Stance::Handing => false,
        };
        if claims && *self.checker.claims.entry(heartbeat.term).or_insert(host) != host {
            self.break_rule(format!("P3: {host} uses the other's term {}", heartbeat.term));
        }
        let other = self.hosts[host.peer().index()].daemon.stance;
        let moves = claims || matches!(heartbeat.stance, Stance::Asking | Stance::Taking);
        if moves {
            self.check_lease(host.peer());
        }
        if moves && self.checker.still.is_some_and(|owner| owner != host) {
            self.check_still(host, &format!("it is {:?} beside {other:?}", heartbeat.stance));
        }
    }

    /// P1: when a node asks, the other's lease is over: without a reference it has released.
    fn check_lease(&mut self, other: NodeId) {
        let timing = &self.settings.timing;
        let release = nanos(timing.release) + 2 * LATENESS;
        let vouched = nanos(timing.long_validity.max(timing.grant)) + release;
        let it = &self.hosts[other.index()];
        let off = self.checker.off_arbiter[other.index()];
        let upset = it.daemon.changed.max(it.thawed.unwrap_or(0)) + release;
        let hidden = it.thawed_unseen.is_some();
        let serves = it.addresses.any() || it.database.state == DatabaseState::Writable;
        let active = it.daemon.stance == Stance::Active;
        if off.is_some_and(|since| self.now > since + vouched)
            && self.now > upset
            && it.daemon_runs()
            && (serves && active || it.addresses.any())
            && !hidden
            && self.checker.forced == [false; 2]
            && !self.believes_its_peer_off(other)
        {
            self.break_rule(format!("P1: {other} serves past its lease, beside a node that asks"));
        }
    }

    /// Who has had its peer powered off, and has not heard it since, needs neither lease nor LAN: the
    /// peer cannot serve before it has done the same.
    fn believes_its_peer_off(&self, host: NodeId) -> bool {
        let it = &self.hosts[host.index()];
        let status = it.daemon.node.as_ref().map(|node| node.status(it.clock.instant(self.now)));
        status.and_then(|status| status.fence).is_some_and(|fence| fence.off_since.is_some())
    }

    /// Rule 12: consent comes before the term (C10): who neither hears its peer nor reaches a
    /// reference claims no term.
    pub fn check_claim(&mut self, host: NodeId, term: Term) {
        if term.node != host || term <= self.hosts[host.index()].disk.term {
            return;
        }
        let timing = &self.settings.timing;
        let late = 4 * LATENESS;
        let valid = nanos(timing.long_validity.max(timing.grant));
        let lost = nanos(timing.lost_after + timing.delay);
        let off = self.checker.off_arbiter[host.index()]
            .is_some_and(|since| self.now > since + valid + late);
        let deaf = self.checker.apart_since.is_some_and(|since| self.now > since + lost + late);
        let thawed = self.hosts[host.index()].thawed_unseen.is_some();
        if thawed {
            // By its clock it goes by what it has just heard.
            return;
        }
        if self.settings.arbitration.fence && deaf {
            return self.check_fenced(host, term);
        }
        if off && deaf && !self.checker.forced[host.index()] {
            self.break_rule(format!("rule 12: {host} claims the term {term} without consent"));
        }
    }

    /// Rule 10: where the fence is the only arbiter, a peer that is not heard was powered off, or
    /// has left, before its role is taken.
    fn check_fenced(&mut self, host: NodeId, term: Term) {
        let peer = host.peer();
        let left = self.hosts[peer.index()].disk.leaving.is_some();
        let off = self.checker.off_at[peer.index()] >= self.checker.apart_since;
        if self.settings.arbitration == Arbitration::FENCE && !off && !left {
            self.break_rule(format!("rule 10: {host} claims the term {term} before {peer} is off"));
        }
    }

    /// P7: while nothing is wrong that matters, nothing moves.
    pub fn check_still(&mut self, host: NodeId, what: &str) {
        if self.checker.still.is_some() {
            self.break_rule(format!("P7: {host} moves without need: {what}"));
        }
    }

    /// One serves, the other follows, streams and is certified.
    pub fn settled(&self) -> bool {
        NodeId::ALL.iter().any(|&host| self.settled_on(host))
    }

    pub fn settled_on(&self, host: NodeId) -> bool {
        let (active, standby) = (&self.hosts[host.index()], &self.hosts[host.peer().index()]);
        let commits_wait = self.settings.durability != Durability::Async;
        self.serves(host)
            && active.daemon.stance == Stance::Active
            && standby.daemon_runs()
            && standby.daemon.stance == Stance::Standby
            && !standby.addresses.any()
            && standby.database.state == DatabaseState::Standby
            && self.streams[host.peer().index()].is_some()
            && (!commits_wait || (standby.spoken.certified && active.database.synchronous))
            && standby.daemon.node.is_some()
    }

    /// Clients on the LAN are served.
    pub fn serves(&self, host: NodeId) -> bool {
        let it = &self.hosts[host.index()];
        it.alive()
            && it.addresses.any()
            && it.database.state == DatabaseState::Writable
            && it.services.reached.is_some_and(|goal| goal >= ServicesGoal::Prepare)
            && self.network.reaches_gateway(host)
    }
}
