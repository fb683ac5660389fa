//! The PostgreSQL adapter against real servers.
//!
//! Every test has servers of its own in `/tmp/dtpg-<pid>-<test>`, on Unix sockets and loopback.

mod cluster;
mod lifecycle;
mod looks;
mod replication;
