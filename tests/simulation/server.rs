//! One database server, abstractly: what it is doing, how far its log goes, who waits. Alone it
//! knows neither time nor network; `database` does the deeds on it, `replication` feeds it.

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::{DatabaseState, Ticket};

use crate::branches::{Branches, Place};
use crate::clock::Nanos;

pub struct Database {
    pub state: DatabaseState,
    pub log: Place,
    /// The files say that it is a standby: only a promotion changes that.
    pub signal: bool,
    /// A rewind or copy began and did not end: what `log` says is what the files claim.
    pub torn: bool,
    pub diverged: bool,
    /// Its files name the peer as the one to receive from.
    pub follows: bool,
    pub synchronous: bool,
    /// Ends of rows whose clients wait for the standby, and whether they came by the address.
    pub waiting: Vec<(u64, bool)>,
    /// A fast shutdown is under way.
    pub closing: Option<Closing>,
    /// It was a primary, ended in order and has not run since: its files say where its log ends.
    pub clean: bool,
    pub deed: Option<Deed>,
    /// Counts deeds.
    pub deeds: u64,
    /// True time when it was last killed: who looks now and then does not know at once.
    pub killed: Option<Nanos>,
    /// Counts server lives: a connection belongs to one at each end.
    pub generation: u64,
}

/// How far a fast shutdown has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Sessions are ended, and the shutdown checkpoint is written at this true time.
    Checkpoint { at: Nanos },
    /// Replicas are awaited that lack the checkpoint.
    Draining,
}

pub struct Deed {
    pub ticket: Ticket,
    pub deed: DatabaseDeed,
    pub phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// One step, which is then done.
    Only,
    /// Rows that the peer lacks are written to files.
    Salvage,
    /// The data directory is overwritten.
    Copy,
    /// A fast shutdown is awaited.
    Closing,
}

/// A shutdown checkpoint's length.
const CHECKPOINT: u64 = 120;

impl Database {
    pub fn new() -> Database {
        Database {
            state: DatabaseState::Stopped,
            log: Branches::ROOT,
            signal: true,
            torn: false,
            diverged: false,
            follows: false,
            synchronous: true,
            waiting: Vec::new(),
            closing: None,
            clean: false,
            deed: None,
            deeds: 0,
            killed: None,
            generation: 0,
        }
    }

    /// Nothing is acknowledged and nobody is connected from here on. What is stopped stays as it
    /// stopped.
    pub fn goes(&mut self, state: DatabaseState) {
        if state == DatabaseState::Stopped && self.state == state {
            return;
        }
        self.state = state;
        self.waiting.clear();
        self.closing = None;
        self.clean = false;
        self.generation += 1;
    }

    /// Runs as a standby; a server that is started waits for its peer once it is promoted, and
    /// receives from the peer only if it is told to.
    pub fn stands_by(&mut self, follows: bool) {
        self.signal = true;
        self.follows = follows || (self.follows && self.state == DatabaseState::Standby);
        if self.state != DatabaseState::Standby {
            self.synchronous = true;
            self.goes(DatabaseState::Standby);
        }
    }

    /// Starts as the primary that it was; never as one that it was not. Did it?
    pub fn starts_in_place(&mut self) -> bool {
        let stopped = match self.state {
            // Reached from `Stopped` alone.
            DatabaseState::Unknown => self.closing.is_none(),
            DatabaseState::Stopped => true,
            DatabaseState::Starting | DatabaseState::Standby | DatabaseState::Writable => false,
        };
        if !stopped || self.signal {
            return false;
        }
        self.synchronous = true;
        self.goes(DatabaseState::Writable);
        true
    }

    /// A new branch begins at the end of its log.
    pub fn promoted(&mut self, fork: Place) {
        self.log = fork;
        self.signal = false;
        self.follows = false;
        self.synchronous = true;
        self.goes(DatabaseState::Writable);
    }

    /// Begins to end in order: whoever waits hears nothing any more, and nobody new is admitted.
    /// Replicas stay connected.
    pub fn begins_to_close(&mut self, checkpoint_at: Nanos) {
        if self.closing.is_some() || self.state == DatabaseState::Stopped {
            return;
        }
        if self.state != DatabaseState::Writable {
            // A standby has nobody to wait for.
            return self.goes(DatabaseState::Stopped);
        }
        self.state = DatabaseState::Unknown;
        self.waiting.clear();
        self.closing = Some(Closing::Checkpoint { at: checkpoint_at });
    }

    /// Goes on with ending in order. `replica`: what the connected replica has flushed; `None`
    /// when none is connected. Did the log grow?
    pub fn closes(&mut self, now: Nanos, replica: Option<u64>) -> bool {
        match self.closing {
            Some(Closing::Checkpoint { at }) if now >= at => {
                self.log.position += CHECKPOINT;
                self.closing = Some(Closing::Draining);
                true
            }
            Some(Closing::Draining) if replica.is_none_or(|flush| flush >= self.log.position) => {
                self.goes(DatabaseState::Stopped);
                self.clean = true;
                false
            }
            Some(Closing::Checkpoint { .. } | Closing::Draining) | None => false,
        }
    }
}

#[test]
fn a_clean_end_is_remembered_and_a_hasty_one_is_not() {
    let mut it = Database::new();
    it.stands_by(false);
    assert!(!it.starts_in_place(), "a standby");
    it.promoted(Place { branch: 1, position: 2_000 });
    it.begins_to_close(5);
    assert!(!it.closes(4, None));
    assert!(it.closes(5, Some(2_000)));
    assert!(!it.closes(6, Some(2_000)) && it.state == DatabaseState::Unknown, "lacks it");
    assert!(!it.closes(7, Some(2_000 + CHECKPOINT)));
    it.goes(DatabaseState::Stopped);
    assert!(it.state == DatabaseState::Stopped && it.clean);
    assert!(it.starts_in_place() && !it.clean);
    it.begins_to_close(9);
    it.goes(DatabaseState::Stopped);
    assert!(!it.clean, "stopped at once in the middle of it");
}
