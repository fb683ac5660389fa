//! `ocf:duotone:postgres` on real pairs of servers, as Pacemaker would order it (`pair.rs`). A real
//! Pacemaker does so in `tests/pacemaker`.

#[allow(dead_code, reason = "the adapter's own tests use the rest")]
#[path = "../postgres/cluster.rs"]
mod cluster;
mod marks;
mod pair;
mod promotion;
mod roles;
