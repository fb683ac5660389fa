//! The daemon as its users meet it: two real `duotone run` on two hosts (namespaces), their cables
//! pulled, their processes killed, their files damaged.

mod boot;
mod calls;
mod checks;
mod cluster;
mod database;
mod durable_order;
mod failback;
mod fence;
mod files;
mod hostile;
mod idle;
#[path = "../made/mod.rs"]
mod made;
mod operate;
mod ownership;
mod pair;
mod rejoin;
mod replay;
#[path = "../steady/mod.rs"]
mod steady;
mod systemd;
mod takeover;
mod telling;
mod upkeep;
mod watchdog;
mod witness;
mod world;
