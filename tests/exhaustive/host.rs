//! One host: power, kernel, disk, daemon, database.

use std::collections::VecDeque;

use duotone::protocol::durable::Durable;
use duotone::protocol::event::{Event, Ticket};
use duotone::protocol::node::Node;

use crate::clusters::Cluster;
use crate::ticks::LIFETIME;

#[derive(Clone, Debug)]
pub struct Host {
    pub powered: bool,
    pub frozen: bool,
    /// The daemon, while it lives.
    pub node: Option<Box<Node>>,
    /// Lives of the daemon so far.
    pub lives: u64,
    pub inbox: VecDeque<Event>,
    pub disk: Durable,
    /// What is being written, and is on the disk with the next tick.
    pub writes: Option<(Ticket, Durable)>,
    pub address: Option<Address>,
    pub cluster: Cluster,
    /// The tick at which the daemon died, and the one at which the host thawed.
    pub died: u32,
    pub thawed: u32,
    /// Since which tick its arbiter cannot be asked.
    pub unvouched: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The tick at which it is gone unless it is renewed.
    pub expires: u32,
    /// The tick at which it is gone because it is being released.
    pub released: Option<u32>,
}

impl Host {
    pub fn off() -> Host {
        Host {
            powered: false,
            frozen: false,
            node: None,
            lives: 0,
            inbox: VecDeque::new(),
            disk: Durable::FRESH,
            writes: None,
            address: None,
            cluster: Cluster::stopped(),
            died: 0,
            thawed: 0,
            unvouched: None,
        }
    }

    /// Its kernel and its database work.
    pub fn awake(&self) -> bool {
        self.powered && !self.frozen
    }

    pub fn daemon_runs(&self) -> bool {
        self.awake() && self.node.is_some()
    }

    pub fn holds(&mut self, now: u32) {
        self.address = Some(Address { expires: now + LIFETIME, released: None });
    }

    pub fn power_off(&mut self, now: u32) {
        (self.powered, self.frozen) = (false, false);
        self.kill_daemon(now);
        self.address = None;
        self.cluster.crash();
    }

    /// The kernel, its address and the database live on for a while.
    pub fn kill_daemon(&mut self, now: u32) {
        self.node = None;
        self.inbox.clear();
        self.writes = None;
        self.died = now;
    }
}
