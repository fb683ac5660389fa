//! The deterministic simulator: two nodes of the pure protocol in a made-up world that breaks in
//! every way that the protocol is made for, a checker that looks after every event, and the golden
//! scenarios. A run follows from its seed alone.
//!
//! `SEED=n` replays one run and tells its story; `SEEDS=n` sets how many are tried; `REWRITE=1`
//! writes the scenarios' stories anew. `ENOUGH=n` stops after so many broken runs; `PROMISES=only` asks
//! neither for the stories nor for coverage, and takes the fixed seeds alone (for the mutations).

#[path = "../expectations/mod.rs"]
mod addresses;
mod batch;
mod bench;
mod branches;
mod checker;
mod clock;
mod command;
mod coverage;
mod database;
#[path = "../expectations/databases.rs"]
mod databases;
mod dice;
mod exact;
mod exact_arbiters;
mod exceptions;
mod faults;
mod fence;
mod grid;
mod host;
mod kernel;
mod keys;
mod lasting;
mod look;
mod mutated;
mod network;
mod offer;
mod one;
mod pulse;
mod replication;
mod runs;
mod scenario;
mod schedule;
mod server;
mod settings;
mod shown;
mod simulate;
mod slow;
mod speed;
mod standing;
mod survival;
mod trace;
mod trouble_cables;
mod trouble_fence;
mod trouble_hosts;
mod trouble_orders;
mod trouble_witness;
mod trouble_work;
mod witness;
mod world;
