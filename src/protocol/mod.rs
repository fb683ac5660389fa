//! The decision, pure: `Node::handle(now, event) -> Vec<Action>` and `Node::next_deadline()`.
//!
//! No clock, socket, file, randomness, log or async; core and alloc only (checked in CI).
//! The rules are those of the failover protocol, cited as "rule N" at the line that obeys them.

pub mod action;
pub mod durable;
pub mod event;
pub mod health;
pub mod heartbeat;
pub mod identity;
pub mod log;
pub mod node;
pub mod time;
pub mod timing;
