//! The abstract database's deeds: each takes a while, may fail, and ends in one look.

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::{DatabaseState, Ticket};
use duotone::protocol::identity::NodeId;

use crate::branches::Place;
use crate::clock::{MICRO, MILLI};
use crate::server::{Deed, Phase};
use crate::world::{Inside, Moment, World};

/// A replication connection, as both ends have it.
pub struct Stream {
    pub id: u64,
    /// Generations of the standby's and the primary's servers.
    pub standby: u64,
    pub primary: u64,
    /// The primary knows that this much was flushed.
    pub flushed: u64,
    /// True time since when nothing passes.
    pub broken: Option<u64>,
}

impl World {
    pub fn begin_deed(&mut self, host: NodeId, ticket: Ticket, deed: DatabaseDeed) {
        self.cancel_deed(host);
        let (phase, low, high) = self.first_phase(host, deed);
        let database = &mut self.hosts[host.index()].database;
        match deed {
            DatabaseDeed::StartAsStandby | DatabaseDeed::Follow | DatabaseDeed::Rejoin { .. }
                if high > 10 * MILLI =>
            {
                database.goes(DatabaseState::Starting);
                database.signal = true;
            }
            // Without its signal file it may become writable at any time.
            DatabaseDeed::StartInPlace if high > 10 * MILLI => {
                database.goes(DatabaseState::Unknown);
            }
            DatabaseDeed::StopCleanly => {
                let checkpoint = self.now + self.dice.span(20 * MILLI, 450 * MILLI);
                self.hosts[host.index()].database.begins_to_close(checkpoint);
            }
            // The receiver is stopped before the promotion.
            DatabaseDeed::Promote => {
                self.streams[host.index()] = None;
                self.moment(host, Moment::Promotes);
            }
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin { .. }
            | DatabaseDeed::StartInPlace
            | DatabaseDeed::StopNow
            | DatabaseDeed::Checkpoint
            | DatabaseDeed::SetSynchronous(_) => {}
        }
        let database = &mut self.hosts[host.index()].database;
        database.deed = Some(Deed { ticket, deed, phase });
        self.plan_step(host, low, high);
    }

    fn first_phase(&mut self, host: NodeId, deed: DatabaseDeed) -> (Phase, u64, u64) {
        let database = &self.hosts[host.index()].database;
        let trouble = self.hosts[host.index()].trouble;
        let quick = (Phase::Only, 500 * MICRO, 4 * MILLI);
        let start = (Phase::Only, 40 * MILLI, 300 * MILLI);
        match deed {
            DatabaseDeed::StopNow if database.state == DatabaseState::Stopped => quick,
            DatabaseDeed::StopNow => {
                let (low, high) = self.settings.release();
                (Phase::Only, low, high)
            }
            DatabaseDeed::StopCleanly => (Phase::Closing, 10 * MILLI, 30 * MILLI),
            DatabaseDeed::SetSynchronous(_) => quick,
            DatabaseDeed::Checkpoint => (Phase::Only, 5 * MILLI, 200 * MILLI),
            // What was half copied is copied to its end before it can start.
            DatabaseDeed::StartAsStandby | DatabaseDeed::Follow
                if database.torn && self.source_of(host).is_some() =>
            {
                self.copy_phase(host)
            }
            DatabaseDeed::StartAsStandby if database.state == DatabaseState::Standby => quick,
            DatabaseDeed::StartAsStandby => start,
            DatabaseDeed::StartInPlace
                if database.state == DatabaseState::Stopped && !database.signal =>
            {
                start
            }
            DatabaseDeed::StartInPlace => quick,
            DatabaseDeed::Promote if database.state != DatabaseState::Standby => quick,
            DatabaseDeed::Promote => match trouble.promotion_takes {
                Some(span) => (Phase::Only, span, span),
                None => (Phase::Only, self.settings.promotion.0, self.settings.promotion.1),
            },
            DatabaseDeed::Follow if database.state == DatabaseState::Standby => quick,
            DatabaseDeed::Follow => start,
            DatabaseDeed::Rejoin { common } => match self.source_of(host) {
                Some(_) if database.torn => self.copy_phase(host),
                Some(source) if !self.branches.contains(source, database.log) => {
                    self.check_parting(host, source, common);
                    (Phase::Salvage, 50 * MILLI, 300 * MILLI)
                }
                _ if database.state == DatabaseState::Standby => quick,
                _ => start,
            },
        }
    }

    fn copy_phase(&self, host: NodeId) -> (Phase, u64, u64) {
        let (low, high) = match self.hosts[host.index()].trouble.copy_takes {
            Some(span) => (span, span),
            None => self.settings.copy,
        };
        (Phase::Copy, low, high)
    }

    /// The peer's log, when the peer's database can be copied from.
    fn source_of(&self, host: NodeId) -> Option<Place> {
        let peer = &self.hosts[host.peer().index()];
        let there = peer.alive() && peer.database.state == DatabaseState::Writable;
        (there && self.network.connects()).then_some(peer.database.log)
    }

    fn plan_step(&mut self, host: NodeId, low: u64, high: u64) {
        let span = self.dice.span(low, high);
        let database = &mut self.hosts[host.index()].database;
        database.deeds += 1;
        let number = database.deeds;
        self.inside(host, span, Inside::DeedStep { number });
    }

    pub fn deed_step(&mut self, host: NodeId, number: u64) {
        let it = &mut self.hosts[host.index()];
        if it.database.deeds != number {
            return;
        }
        let Some(Deed { ticket, deed, phase }) = it.database.deed.take() else { return };
        // Stopping has a thread of its own; everything else waits for a slow world that hangs.
        let mut hangs = it.trouble.slow_until.saturating_sub(self.now);
        if it.trouble.database_hangs && it.database.state != DatabaseState::Stopped {
            hangs = hangs.max(20 * MILLI);
        }
        if hangs > 0 && deed != DatabaseDeed::StopNow {
            it.database.deed = Some(Deed { ticket, deed, phase });
            self.inside(host, hangs, Inside::DeedStep { number });
            return;
        }
        if let Some((phase, low, high)) = self.do_step(host, deed, phase) {
            let database = &mut self.hosts[host.index()].database;
            database.deed = Some(Deed { ticket, deed, phase });
            return self.plan_step(host, low, high);
        }
        let database = &self.hosts[host.index()].database;
        self.coverage.ended(deed, database.state, database.clean);
        self.look_now(host, Some(ticket));
    }

    /// Does what is due; gives the next phase, if there is one.
    fn do_step(
        &mut self,
        host: NodeId,
        deed: DatabaseDeed,
        phase: Phase,
    ) -> Option<(Phase, u64, u64)> {
        let it = &mut self.hosts[host.index()];
        let runs = matches!(it.database.state, DatabaseState::Standby | DatabaseState::Writable);
        let starts = match deed {
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin { .. }
            | DatabaseDeed::StartInPlace => it.database.closing.is_none() && !runs,
            DatabaseDeed::Promote
            | DatabaseDeed::StopNow
            | DatabaseDeed::StopCleanly
            | DatabaseDeed::Checkpoint
            | DatabaseDeed::SetSynchronous(_) => false,
        };
        // A server refuses what a copy left half done.
        let refuses = it.database.torn && phase != Phase::Copy && !it.trouble.torn_starts;
        if starts && (it.trouble.start_fails || refuses) {
            it.database.goes(DatabaseState::Stopped);
            return None;
        }
        match (deed, phase) {
            (DatabaseDeed::StopNow, _) => {
                // Whatever hung is killed.
                self.hosts[host.index()].trouble.database_hangs = false;
                let database = &mut self.hosts[host.index()].database;
                database.goes(DatabaseState::Stopped);
            }
            (DatabaseDeed::StopCleanly, _) => {
                let database = &self.hosts[host.index()].database;
                if database.closing.is_some() {
                    return Some((Phase::Closing, MILLI, 5 * MILLI));
                }
            }
            (DatabaseDeed::Checkpoint, _) => {}
            (DatabaseDeed::SetSynchronous(wanted), _) => self.set_synchronous(host, wanted),
            (DatabaseDeed::Promote, _) => self.promoted(host),
            (DatabaseDeed::StartInPlace, _) => {
                if self.hosts[host.index()].database.starts_in_place() {
                    self.check_start_in_place(host);
                }
            }
            (
                DatabaseDeed::StartAsStandby | DatabaseDeed::Follow | DatabaseDeed::Rejoin { .. },
                Phase::Copy,
            ) => self.copied(host),
            (DatabaseDeed::StartAsStandby | DatabaseDeed::Follow, _)
            | (DatabaseDeed::Rejoin { .. }, Phase::Only | Phase::Closing) => {
                let rejoins = matches!(deed, DatabaseDeed::Rejoin { .. });
                // Who cannot ask the peer follows nobody.
                let may_follow = !rejoins
                    || self.source_of(host).is_some_and(|source| {
                        self.branches.contains(source, self.hosts[host.index()].database.log)
                    });
                let database = &mut self.hosts[host.index()].database;
                if rejoins && database.torn {
                    database.goes(DatabaseState::Stopped);
                } else {
                    database.stands_by(deed != DatabaseDeed::StartAsStandby && may_follow);
                }
                if self.streams[host.index()].is_none() {
                    self.connect(host);
                }
            }
            (DatabaseDeed::Rejoin { .. }, Phase::Salvage) => {
                if let Some(source) = self.source_of(host) {
                    self.throw_away(host, source);
                    return Some(self.copy_phase(host));
                }
                self.hosts[host.index()].database.goes(DatabaseState::Stopped);
            }
        }
        None
    }

    /// The peer's files are here, if it is still there to copy from.
    fn copied(&mut self, host: NodeId) {
        let source = self.source_of(host);
        let database = &mut self.hosts[host.index()].database;
        database.goes(DatabaseState::Stopped);
        if let Some(source) = source {
            database.log = source;
            database.torn = false;
            database.diverged = false;
            database.stands_by(true);
            self.streams[host.index()] = None;
            self.connect(host);
        }
    }

    /// The salvage is on disk; the old log goes.
    fn throw_away(&mut self, host: NodeId, source: Place) {
        let old = self.hosts[host.index()].database.log;
        if !self.hosts[host.index()].database.torn {
            let branch = &mut self.branches.0[old.branch];
            branch.salvaged = branch.salvaged.max(old.position);
        }
        self.check_thrown_away(host, old, source);
        let database = &mut self.hosts[host.index()].database;
        database.torn = true;
        database.log = source;
    }

    fn promoted(&mut self, host: NodeId) {
        let it = &mut self.hosts[host.index()];
        if it.database.state != DatabaseState::Standby || it.trouble.promotion_fails {
            return;
        }
        let torn = it.database.torn;
        let stale = !it.spoken.certified;
        let fork = self.branches.fork(it.database.log, host);
        self.branches.0[fork.branch].stale = stale;
        self.branches.0[fork.branch].forced = self.checker.forced[host.index()];
        it.database.promoted(fork);
        if torn {
            self.break_rule(format!("{host} promoted a database whose copy was not finished"));
        }
    }

    fn set_synchronous(&mut self, host: NodeId, wanted: bool) {
        let database = &mut self.hosts[host.index()].database;
        database.synchronous = wanted;
        if !wanted && database.state == DatabaseState::Writable {
            // The server lets those go that wait.
            let waiting = std::mem::take(&mut database.waiting);
            for (position, by_address) in waiting {
                self.acknowledge(host, position, by_address);
            }
        }
    }

    /// A later deed cancels the one under way: half of the time it had happened already.
    fn cancel_deed(&mut self, host: NodeId) {
        let Some(Deed { ticket, deed, phase }) = self.hosts[host.index()].database.deed.take()
        else {
            return;
        };
        let database = &mut self.hosts[host.index()].database;
        database.deeds += 1;
        self.coverage.ended(deed, database.state, database.clean);
        let done = self.dice.chance(500);
        match (deed, phase) {
            (_, Phase::Copy | Phase::Salvage) => {
                self.hosts[host.index()].database.goes(DatabaseState::Stopped);
            }
            // A server that was told to end goes on ending.
            (DatabaseDeed::StopCleanly | DatabaseDeed::Checkpoint, _) => {}
            _ if done => {
                let _ = self.do_step(host, deed, phase);
            }
            (
                DatabaseDeed::StartAsStandby | DatabaseDeed::Follow | DatabaseDeed::Rejoin { .. },
                _,
            )
            | (DatabaseDeed::StartInPlace, _) => {
                let database = &mut self.hosts[host.index()].database;
                let started =
                    matches!(database.state, DatabaseState::Starting | DatabaseState::Unknown);
                if started && database.closing.is_none() {
                    database.goes(DatabaseState::Stopped);
                }
            }
            (DatabaseDeed::Promote | DatabaseDeed::StopNow, _)
            | (DatabaseDeed::SetSynchronous(_), _) => {}
        }
        self.look_now(host, Some(ticket));
    }

    /// The daemon died: what it drove ends, and nobody hears how.
    pub fn cancel_for_good(&mut self, host: NodeId) {
        self.cancel_deed(host);
    }

    /// The kernel goes down with everything in it.
    pub fn database_crashes(&mut self, host: NodeId) {
        let database = &mut self.hosts[host.index()].database;
        database.goes(DatabaseState::Stopped);
        database.deed = None;
        database.deeds += 1;
        self.hosts[host.index()].trouble.database_hangs = false;
    }

    /// Its processes die; a deed under way ends with what is left.
    pub fn kill_database(&mut self, host: NodeId) {
        if !self.hosts[host.index()].alive() {
            return;
        }
        let ended = self.hosts[host.index()].database.deed.take();
        self.database_crashes(host);
        self.hosts[host.index()].database.killed = Some(self.now);
        if let Some(Deed { ticket, .. }) = ended {
            self.look_now(host, Some(ticket));
        }
    }
}
