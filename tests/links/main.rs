//! Heartbeat links and the pulse over a real kernel: two network namespaces joined by two cables,
//! `eth1` with addresses and `eth0` without. Needs root; skips with a message otherwise.

mod exchange;
mod hostile;
#[path = "../made/mod.rs"]
mod made;
mod net;
mod pulse;
#[path = "../steady/mod.rs"]
mod steady;
