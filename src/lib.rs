//! duotone keeps a pair of PBX hosts reachable: two hosts, one dial tone.
//!
//! # Code map
//! | room | what it holds |
//! |---|---|
//! | [`protocol`] | the decision, pure: events and times in, actions out |
//! | [`wire`] | bytes and tag of a heartbeat, and of the words with the witness |
//! | [`config`] | the file, read into one validated value; every default and preset |
//! | [`pulse`] | the real-time thread: links, LAN probes, addresses, and the node itself |
//! | `adapters` | the slow world: one outside thing per file |
//! | [`recording`] | what the core was given, on file, and through the same core again |
//! | `daemon` | joins the three above; nothing else does |
//! | [`cli`] | one file per verb family |
//! | [`logging`] | where the log goes: journal, standard error, syslog |
//! | [`witness`] | the service on a third host that grants the role to one node at a time |
//! | [`ocf`] | the resource agents for Pacemaker: the same adapters, decided by the cluster |
//! | `lab` | two hosts on one machine, for the demo and the tests |
//!
//! Dependencies point one way: `protocol` knows nobody; `wire` knows the protocol's types; `pulse`
//! and `adapters` know both and neither each other nor the daemon.
#![deny(missing_docs)]

extern crate alloc;

pub mod adapters;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod lab;
pub mod logging;
pub mod ocf;
pub mod protocol;
pub mod pulse;
pub mod recording;
pub mod wire;
pub mod witness;
