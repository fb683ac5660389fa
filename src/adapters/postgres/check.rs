//! What the pair needs of the server's configuration, and what to write instead.

use tokio::time::Instant as Deadline;
use tokio_postgres::SimpleQueryRow;

use super::Database;
use super::connection::{bind, field, flag};
use super::trouble::Trouble;

const CHECK: &str = include_str!("../../../sql/check.sql");

/// Something that the server's configuration lacks, as a sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// It does not answer, so nothing else could be looked at.
    #[error("database not reachable: {0}: start it, or correct [postgres]")]
    NotReachable(Trouble),
    /// Nobody works in its data directory. A note: a server that is to be duotone's is stopped first.
    #[error("PostgreSQL is not running: its roles and pg_hba.conf cannot be checked now")]
    NotRunning,
    /// The server would be reached at another place than the configured one.
    #[error("{name} of the server is {found}, and {key} in [postgres] {configured}: correct one")]
    Elsewhere {
        /// The server's setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        configured: String,
    },
    /// The server's program does not accept the files of a stopped server.
    #[error("the settings of the stopped server cannot be read: {0}: correct [postgres]")]
    Settings(Trouble),
    /// The configured role lacks rights.
    #[error("role {0} is not a superuser: set user in [postgres] to one that is")]
    NotSuperuser(String),
    /// The configured role cannot replicate.
    #[error("role {0} cannot replicate: CREATE ROLE {0} REPLICATION LOGIN, on the primary")]
    CannotReplicate(String),
    /// A setting has a value that the pair cannot work with, or should not.
    #[error("{name} is {found}: set {name} = {wanted} in postgresql.conf ({why})")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What to write.
        wanted: &'static str,
        /// What for.
        why: &'static str,
    },
    /// Neither checksums nor hint bits in the log.
    #[error(
        "wal_log_hints is off and the cluster has no checksums: set wal_log_hints = on in \
         postgresql.conf and restart, or a returning node cannot be rewound"
    )]
    NotRewindable,
    /// A returning node would have to copy everything.
    #[error(
        "role {user} may not rewind the peer, so a returning node copies the whole cluster: run \
         the GRANT statements of the README (\"Set up a pair by hand\", step 4) on the primary"
    )]
    RewindDenied {
        /// The replicating role.
        user: String,
    },
    /// The same, by `pg_hba.conf`.
    #[error(
        "pg_hba.conf lets the peer replicate and not rewind: add \"host {database} {user} \
         {address} scram-sha-256\" before any rule that rejects it, or a returning node copies the \
         whole cluster"
    )]
    RewindRefused {
        /// The database that it connects to.
        database: String,
        /// The replicating role.
        user: String,
        /// The peer's address.
        address: std::net::IpAddr,
    },
    /// The peer's replica would be refused.
    #[error(
        "pg_hba.conf lets no replication in from the peer: add \"host replication {user} \
         {address} scram-sha-256\" before any rule that rejects it"
    )]
    PeerRefused {
        /// The replicating role.
        user: String,
        /// The peer's address.
        address: std::net::IpAddr,
    },
    /// The two nodes' clusters are not copies of each other.
    #[error(
        "the local cluster has system identifier {local}, the peer's {peer}: they are not copies \
         of one cluster; make the standby anew with pg_basebackup from the primary"
    )]
    OtherSystem {
        /// Here.
        local: u64,
        /// There, as its heartbeat says.
        peer: u64,
    },
}

impl Finding {
    /// Nothing has to be done about it.
    pub fn is_note(&self) -> bool {
        matches!(self, Finding::NotRunning)
    }

    /// Compares the system identifiers of both nodes.
    pub fn systems(local: u64, peer: u64) -> Option<Finding> {
        (local != peer).then_some(Finding::OtherSystem { local, peer })
    }
}

/// A setting, the value to write, what for, and whether a value will do.
pub(super) type Rule = (&'static str, &'static str, &'static str, fn(&str) -> bool);

pub(super) const RULES: &[Rule] = &[
    ("wal_level", "replica", "the standby needs it", |v| v != "minimal"),
    ("max_wal_senders", "10", "one for the peer, one for duotone, one for a copy", |v| {
        v.parse().is_ok_and(|senders: u32| senders >= 3)
    }),
    ("hot_standby", "on", "duotone promotes over a connection to the standby", |v| v == "on"),
    ("fsync", "on", "acknowledged commits must survive a crash", |v| v == "on"),
    ("full_page_writes", "on", "pg_rewind needs it", |v| v == "on"),
    ("synchronous_commit", "on", "commits must wait for the standby's disk", |v| {
        matches!(v, "on" | "remote_apply")
    }),
    ("listen_addresses", "'*'", "the peer's server connects over the network", |v| {
        !v.split(',')
            .map(str::trim)
            .all(|address| matches!(address, "" | "localhost" | "::1") || address == "127.0.0.1")
    }),
    ("wal_keep_size", "256MB", "a standby that was away finds the log that it missed", |v| {
        v != "0"
    }),
    ("max_slot_wal_keep_size", "4GB", "a slot whose standby is gone would fill the disk", |v| {
        v != "-1"
    }),
];

impl Database {
    /// Everything that the server's configuration lacks for a pair; empty when all is well.
    pub async fn check(&mut self) -> Vec<Finding> {
        let by = Deadline::now() + self.deed_within;
        let sql = bind(
            CHECK,
            &[
                ("replication_user", &self.postgres.replication_user),
                ("peer_address", &self.postgres.peer_host.to_string()),
                ("database", &self.postgres.database),
            ],
        );
        let row = match self.warm.row("checking its configuration", &sql, by).await {
            Ok(row) => row,
            Err(trouble) => return vec![Finding::NotReachable(trouble)],
        };
        self.findings(&row).unwrap_or_else(|trouble| vec![Finding::NotReachable(trouble)])
    }

    fn findings(&self, row: &SimpleQueryRow) -> Result<Vec<Finding>, Trouble> {
        let mut findings = Vec::new();
        if !flag(row, "superuser")? {
            findings.push(Finding::NotSuperuser(self.postgres.user.clone()));
        }
        let user = &self.postgres.replication_user;
        // NULL: there is no such role.
        if !matches!(flag(row, "replicates"), Ok(true)) {
            findings.push(Finding::CannotReplicate(user.clone()));
        }
        for &(name, wanted, why, is_good) in RULES {
            let found = field(row, name)?;
            if !is_good(found) {
                findings.push(Finding::Setting { name, found: found.to_owned(), wanted, why });
            }
        }
        if field(row, "wal_log_hints")? == "off" && field(row, "data_checksums")? == "off" {
            findings.push(Finding::NotRewindable);
        }
        if matches!(field(row, "peer_rule"), Err(_) | Ok("reject")) {
            let address = self.postgres.peer_host;
            findings.push(Finding::PeerRefused { user: user.clone(), address });
        }
        if matches!(flag(row, "rewinds"), Ok(false)) {
            findings.push(Finding::RewindDenied { user: user.clone() });
        }
        if matches!(field(row, "rewind_rule"), Err(_) | Ok("reject")) {
            findings.push(Finding::RewindRefused {
                database: self.postgres.database.clone(),
                user: user.clone(),
                address: self.postgres.peer_host,
            });
        }
        Ok(findings)
    }
}
