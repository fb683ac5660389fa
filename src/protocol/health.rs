//! How well a node can do its job: one value, totally ordered, so that a comparison cannot
//! oscillate (each node compares the same two numbers and gets the same answer).

use serde::{Deserialize, Serialize};

/// A node's health for a group; greater is better.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Health {
    /// The database can serve or stand by; the worst thing to lose.
    pub database: Grade,
    /// The LAN interface has carrier (address mode) or could be brought up (interface mode).
    pub network: Grade,
    /// The critical services.
    pub services: Grade,
}

/// Unknown is not fine, and not failed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub enum Grade {
    /// Seen broken.
    Failed,
    /// Could not be looked at, or not yet.
    #[default]
    Unknown,
    /// Seen working, or not needed.
    Good,
}

impl Grade {
    /// Every grade, worst first.
    pub const ALL: [Grade; 3] = [Grade::Failed, Grade::Unknown, Grade::Good];
}

impl Health {
    /// Everything seen working.
    pub const GOOD: Health =
        Health { database: Grade::Good, network: Grade::Good, services: Grade::Good };
}
