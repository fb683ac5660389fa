//! The section `[postgres]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::protocol::identity::NodeId;

use super::Postgres;
use super::document::Section;
use super::error::Report;
use super::nodes::Nodes;

/// The section before it is known which host is the peer.
pub(super) struct Read {
    postgres: Postgres,
    hosts: [IpAddr; 2],
    salvage_dir: Option<PathBuf>,
}

pub(super) fn read<'t>(
    mut section: Section<'t>,
    nodes: &Nodes<'t>,
    report: &Report<'t>,
) -> Option<Read> {
    let data_dir = needed(&mut section, "data_dir", "\"/var/lib/postgresql/15/main\"");
    let bin_dir = needed(&mut section, "bin_dir", "\"/usr/lib/postgresql/15/bin\"");
    let mut word = |key: &'static str, default: &str| match section.text(key) {
        Some(at) if at.value.is_empty() || at.value.contains('\0') => {
            report.at(at.offset, format!("{key} is empty; write \"{default}\" or your own"));
            default.to_owned()
        }
        Some(at) => at.value.to_owned(),
        None => default.to_owned(),
    };
    let os_user = word("os_user", "postgres");
    let user = word("user", "postgres");
    let database = word("database", "postgres");
    let replication_user = word("replication_user", "replicator");
    let socket_dir = section.path_or("socket_dir", "/var/run/postgresql");
    let port = section.integer("port", 1, 65_535).map_or(5432, |at| at.value);
    let hosts = nodes.addresses(&mut section, "hosts", report);
    let passfile = section.path("passfile").map(|at| at.value);
    let options = section.texts("options").unwrap_or_default();
    let salvage_dir = section.path("salvage_dir").map(|at| at.value);
    let salvage_exclude = tables(&mut section, report);
    section.close();
    let hosts = hosts?;
    let postgres = Postgres {
        data_dir: data_dir?,
        bin_dir: bin_dir?,
        os_user,
        socket_dir,
        port: u16::try_from(port).ok()?,
        user,
        database,
        peer_host: hosts[0],
        replication_user,
        passfile,
        options: options.into_iter().map(|at| at.value.to_owned()).collect(),
        salvage_dir: PathBuf::new(),
        salvage_exclude,
    };
    Some(Read { postgres, hosts, salvage_dir })
}

/// The tables that are not salvaged.
fn tables(section: &mut Section<'_>, report: &Report<'_>) -> Vec<String> {
    let given = section.texts("salvage_exclude").unwrap_or_default();
    for at in &given {
        let parts: Vec<&str> = at.value.split('.').collect();
        if !matches!(parts.len(), 2 | 3) || parts.iter().any(|part| part.is_empty()) {
            let wrong = format!(
                "salvage_exclude: \"{}\" is not schema.table or database.schema.table",
                at.value
            );
            report.at(at.offset, wrong);
        }
    }
    given.into_iter().map(|at| at.value.to_owned()).collect()
}

impl Read {
    /// The section as node `me` uses it, with its files in `state_dir` unless it says otherwise.
    pub(super) fn resolved(self, me: NodeId, state_dir: &Path) -> Postgres {
        Postgres {
            peer_host: self.hosts[me.peer().index()],
            salvage_dir: self.salvage_dir.unwrap_or_else(|| state_dir.join("salvage")),
            ..self.postgres
        }
    }
}

fn needed(section: &mut Section<'_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let found = section.path(key).map(|at| at.value);
    if found.is_none() && !section.has(key) {
        section.missing(key, example);
    }
    found
}
