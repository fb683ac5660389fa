//! One node's judgement.

use alloc::vec::Vec;

use super::action::Action;
use super::durable::Durable;
use super::event::Event;
use super::heartbeat::Stance;
use super::identity::{NodeId, Session};
use super::time::Instant;
use super::timing::Timing;

/// What a node is given at its start; nothing else is learnt from outside but events.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which node this is.
    pub me: NodeId,
    /// This life's random number.
    pub session: Session,
    /// All times.
    pub timing: Timing,
    /// What a commit waits for.
    pub durability: Durability,
    /// There is a database.
    pub database: bool,
    /// How many groups there are: 1 to `GroupId::MAX`.
    pub groups: usize,
    /// What the disk remembers: `None` when the state file is damaged (the node is held).
    pub durable: Option<Durable>,
    /// Software version, for the heartbeat.
    pub software: [u16; 3],
    /// Configuration hash, for the heartbeat.
    pub config_hash: u64,
}

/// What a commit waits for, and what a node may do alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// Never promote a replica that may lack rows.
    Strict,
    /// Wait for the standby; serve with stated loss rather than not at all.
    Available,
    /// Never wait.
    Async,
}

/// One node's judgement. Pure: the same events at the same times give the same actions.
#[derive(Clone, Debug)]
pub struct Node {
    setup: Setup,
}

impl Node {
    /// A node that has just started, at `now`, and knows nothing but its disk.
    pub fn new(setup: Setup, now: Instant) -> Node {
        let _ = now;
        Node { setup }
    }

    /// Takes one event; returns what must now be done, in this order. Only `Tick` judges.
    #[must_use]
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let _ = (now, event, &self.setup);
        Vec::new()
    }

    /// When to call `handle` with `Event::Tick` if nothing happens earlier.
    pub fn next_deadline(&self) -> Instant {
        Instant::ZERO
    }

    /// What this node does, as its heartbeats say it.
    pub fn stance(&self) -> Stance {
        Stance::Joining
    }
}
