//! The decision, pure: `Node::handle(now, event) -> Vec<Action>` and `Node::next_deadline()`.
//!
//! No clock, socket, file, randomness, log or async; core and alloc only (checked in CI).
//! The rules are those of the failover protocol, cited as "rule N" at the line that obeys them.

pub mod time;
pub mod identity;
pub mod log;
