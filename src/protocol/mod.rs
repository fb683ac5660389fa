//! The decision, pure: `Node::handle(now, event) -> Vec<Action>` and `Node::next_deadline()`.
//!
//! No clock, socket, file, randomness, log or async; core, alloc and serde's derives only (checked in
//! CI). By these an event, an action or a whole node can be recorded; in which format is not known here.
//! The rules are those of the failover protocol, cited as "rule N" at the line that obeys them.

mod act;
pub mod action;
pub mod arbiter;
mod ask;
pub mod certificate;
pub mod compare;
mod desire;
pub mod durable;
pub mod event;
mod evidence;
pub mod fence;
pub mod grant;
pub mod health;
pub mod heartbeat;
pub mod identity;
pub mod lead;
pub mod lease;
pub mod log;
pub mod moves;
pub mod node;
pub mod peer;
pub mod place;
pub mod plan;
pub mod sent;
mod speak;
pub mod status;
pub mod table;
pub mod time;
pub mod timing;
mod turn;
pub mod why;
pub mod witness;
