//! The real-time thread.

pub mod address;
pub mod announce;
pub mod arp;
pub mod frames;
pub mod lan;
pub mod listen;
pub mod ndp;
pub mod netlink;
pub mod probe;
mod route_messages;
mod watch;
