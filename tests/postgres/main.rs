//! The PostgreSQL adapter against real servers.
//!
//! Every test has servers of its own in `/tmp/dtpg-<pid>-<test>`, on Unix sockets and loopback.

mod cluster;
mod lifecycle;
mod looks;
mod merging;
mod rejoin;
mod rejoin_faults;
mod replication;
mod stopping;

/// A task of the slow world may own it.
#[test]
fn its_futures_can_be_spawned() {
    fn can_be_spawned<T: Send>(_: &T) {}
    let Some(lab) = cluster::Lab::new("send") else { return };
    let mut database = lab.server(duotone::protocol::identity::NodeId::A).database();
    can_be_spawned(&database.look());
    can_be_spawned(&database.perform(duotone::protocol::action::DatabaseDeed::Follow));
}
