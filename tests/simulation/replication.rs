//! Clients that commit, and the log's way to the standby.

use duotone::protocol::event::DatabaseState;
use duotone::protocol::identity::NodeId;
use duotone::protocol::log::Relation;

use crate::branches::{BranchId, Place};
use crate::clock::SECOND;
use crate::database::Stream;
use crate::network::Packet;
use crate::world::{What, World};

/// A server gives up a silent replication connection after this long.
const CONNECTION_TIMEOUT: u64 = SECOND;
/// So many sessions of a server wait for the standby at most.
const SESSIONS: usize = 12;

impl World {
    /// Every tick: clients on the LAN through the address, and local ones on both hosts.
    pub fn clients_commit(&mut self) {
        for host in NodeId::ALL {
            let it = &self.hosts[host.index()];
            let reachable = it.holds_address() && self.network.reaches_gateway(host);
            if reachable {
                self.commit(host, true);
            }
            if self.dice.chance(300) {
                self.commit(host, false);
            }
        }
    }

    pub fn commit(&mut self, host: NodeId, by_address: bool) {
        let grows = self.dice.span(40, 200);
        let it = &mut self.hosts[host.index()];
        let works = it.alive() && !it.trouble.database_hangs;
        let database = &mut it.database;
        let writable = database.state == DatabaseState::Writable;
        if !works || !writable || database.waiting.len() >= SESSIONS {
            return;
        }
        database.log.position += grows;
        let position = database.log.position;
        if database.synchronous {
            database.waiting.push((position, by_address));
        } else {
            self.acknowledge(host, position, by_address);
        }
        self.send_log(host.peer());
    }

    /// To the standby on `to`, as far as the primary has it.
    fn send_log(&mut self, to: NodeId) {
        let Some(stream) = &self.streams[to.index()] else { return };
        let primary = &self.hosts[to.peer().index()];
        let current = stream.primary == primary.database.generation;
        let works = primary.alive() && !primary.trouble.database_hangs;
        if !current || !works || !self.network.connects() {
            return;
        }
        let log = primary.database.log;
        let packet = Packet::Log { stream: stream.id, branch: log.branch, position: log.position };
        let (low, high) = self.settings.link();
        let delay = self.dice.span(low, high);
        self.after(delay, What::Arrives { host: to, packet });
    }

    pub fn log_arrives(&mut self, host: NodeId, id: u64, branch: BranchId, position: u64) {
        let Some(stream) = &self.streams[host.index()] else { return };
        let it = &mut self.hosts[host.index()];
        let hangs = it.trouble.database_hangs;
        let database = &mut it.database;
        let receives = stream.id == id
            && !hangs
            && stream.standby == database.generation
            && database.state == DatabaseState::Standby
            && !self.network.replication_hangs;
        if !receives || (database.log.branch == branch && database.log.position >= position) {
            return;
        }
        database.log.branch = branch;
        database.log.position = position;
        if self.network.connects() {
            let (low, high) = self.settings.link();
            let delay = self.dice.span(low, high);
            let packet = Packet::Flushed { stream: id, position };
            self.after(delay, What::Arrives { host: host.peer(), packet });
        }
    }

    pub fn flushed(&mut self, host: NodeId, id: u64, position: u64) {
        let Some(stream) = &mut self.streams[host.peer().index()] else { return };
        let it = &mut self.hosts[host.index()];
        if it.trouble.database_hangs {
            return;
        }
        let database = &mut it.database;
        if stream.id != id || stream.primary != database.generation {
            return;
        }
        stream.flushed = stream.flushed.max(position);
        if database.state == DatabaseState::Writable {
            let done = database.waiting.partition_point(|&(end, _)| end <= position);
            let released: Vec<(u64, bool)> = database.waiting.drain(..done).collect();
            for (position, by_address) in released {
                self.acknowledge(host, position, by_address);
            }
        }
    }

    /// Opens, feeds and closes the replication connections.
    pub fn look_after_replication(&mut self) {
        for standby in NodeId::ALL {
            self.look_after_closing(standby.peer());
            match self.streams[standby.index()] {
                Some(_) => self.look_after_stream(standby),
                None => self.connect(standby),
            }
        }
        self.note_paths();
        self.settle_doubts();
    }

    /// The pair is settled and its nodes hear each other: what an exception left is behind them.
    fn settle_doubts(&mut self) {
        let checker = &self.checker;
        let reconciled = self.reconciled_after();
        let together =
            checker.together_since.is_some_and(|since| self.now > since + 2 * reconciled);
        if checker.doubtful() && together && self.settled() {
            self.checker.hidden_seen = false;
            self.checker.split_seen = self.network.split && !self.settings.arbitration.witness;
            self.checker.probes_lost_seen =
                self.network.probes_lost != [false; 2] && !self.settings.arbitration.witness;
            self.checker.settled_anew();
        }
    }

    /// A server that ends in order does so by itself, whoever told it to.
    fn look_after_closing(&mut self, primary: NodeId) {
        let it = &self.hosts[primary.index()];
        if !it.alive() || it.trouble.database_hangs || it.database.closing.is_none() {
            return;
        }
        let generation = it.database.generation;
        let replica = self.streams[primary.peer().index()]
            .as_ref()
            .filter(|stream| stream.primary == generation)
            .map(|stream| stream.flushed);
        if self.hosts[primary.index()].database.closes(self.now, replica) {
            self.send_log(primary.peer());
        }
    }

    fn look_after_stream(&mut self, standby: NodeId) {
        let primary = standby.peer();
        let passes = self.network.connects()
            && self.hosts[standby.index()].alive()
            && self.hosts[primary.index()].alive();
        let ends = [standby, primary].map(|host| self.hosts[host.index()].database.generation);
        let Some(stream) = &mut self.streams[standby.index()] else { return };
        let same = [stream.standby, stream.primary] == ends;
        if passes {
            stream.broken = None;
            if same {
                self.send_log(standby);
            } else {
                self.streams[standby.index()] = None;
            }
            return;
        }
        let since = *stream.broken.get_or_insert(self.now);
        if self.now - since >= CONNECTION_TIMEOUT {
            self.streams[standby.index()] = None;
        }
    }

    pub fn connect(&mut self, standby: NodeId) {
        let primary = &self.hosts[standby.peer().index()];
        // A standby sends on what it has.
        let sends =
            matches!(primary.database.state, DatabaseState::Writable | DatabaseState::Standby);
        let there = primary.alive() && sends && !primary.trouble.database_hangs;
        let (source, generation) = (primary.database.log, primary.database.generation);
        let it = &mut self.hosts[standby.index()];
        let asks = it.alive()
            && !it.trouble.database_hangs
            && it.database.state == DatabaseState::Standby
            && it.database.follows;
        let rewinds = it
            .database
            .deed
            .as_ref()
            .is_some_and(|deed| deed.deed == duotone::protocol::action::DatabaseDeed::Promote);
        if !asks || !there || rewinds || !self.network.connects() {
            return;
        }
        let log = it.database.log;
        if it.database.torn || !self.branches.contains(source, log) {
            self.cannot_receive(standby, source);
            return;
        }
        it.database.diverged = false;
        self.next_stream += 1;
        self.streams[standby.index()] = Some(Stream {
            id: self.next_stream,
            standby: it.database.generation,
            primary: generation,
            flushed: it.database.log.position,
            broken: None,
        });
        // What the standby had already, the primary learns at once.
        let position = self.hosts[standby.index()].database.log.position;
        let packet = Packet::Flushed { stream: self.next_stream, position };
        let (low, high) = self.settings.link();
        let delay = self.dice.span(low, high);
        self.after(delay, What::Arrives { host: standby.peer(), packet });
    }

    /// Servers know timelines by their numbers alone.
    fn cannot_receive(&mut self, standby: NodeId, source: Place) {
        let database = &mut self.hosts[standby.index()].database;
        let (theirs, mine) = (self.branches.as_log(source), self.branches.as_log(database.log));
        let passes = theirs.timeline == mine.timeline
            || matches!(theirs.relation(&mine), Relation::Longer | Relation::Equal);
        if passes && !database.torn {
            self.break_rule(format!(
                "P5: {standby} receives a namesake of its timeline over its own rows"
            ));
            return;
        }
        // The peer's later history says where it left; without one there is no telling.
        database.diverged = database.torn || theirs.timeline > mine.timeline;
    }

    pub fn acknowledge(&mut self, host: NodeId, position: u64, by_address: bool) {
        let branch = self.hosts[host.index()].database.log.branch;
        let one = &mut self.branches.0[branch];
        one.acknowledged = one.acknowledged.max(position);
        self.check_acknowledged(host, branch);
        if by_address {
            self.checker.last_served = self.now;
        }
    }
}
