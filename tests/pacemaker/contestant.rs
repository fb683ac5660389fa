//! What keeps the databases and the address: the agents of this project, or PAF with IPaddr2.

use std::path::Path;
use std::process::Command;

use crate::command::run_with;
use crate::database;
use crate::network::{FLOATING, NODES, cable_address, lan_address};
use crate::power::Machines;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contestant {
    /// `ocf:heartbeat:pgsqlms` (PAF) and `ocf:heartbeat:IPaddr2`.
    Paf,
    /// `ocf:duotone:postgres` and `ocf:duotone:floating`.
    Duotone,
    /// The same and `ocf:duotone:pbx`.
    DuotonePbx,
    /// The same, as `duotone pacemaker-config` prints it.
    Printed,
}

/// PAF's standbys follow the floating address, and must not find themselves behind it.
const PAF_HBA: &str = "\
local replication all reject
local all all trust
host replication all FLOATING/32 reject
host replication all OWN/32 reject
host replication replicator 0.0.0.0/0 trust
host all all 0.0.0.0/0 trust
";

const DUOTONE_HBA: &str = "\
local all all trust
local replication all trust
host replication replicator 10.9.0.0/24 trust
host all all 10.9.0.0/24 trust
host all all 192.0.2.0/24 trust
";

const CLUSTER: &str = include_str!("cluster.crm");
const PAF: &str = include_str!("paf.crm");
const DUOTONE: &str = include_str!("duotone.crm");
const PBX: &str = include_str!("pbx.crm");
const PAIR: &str = include_str!("duotone.toml");

impl Contestant {
    /// What stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Paf => "PAF + IPaddr2",
            Contestant::Duotone | Contestant::DuotonePbx | Contestant::Printed => "duotone",
        }
    }

    /// A host's database.
    pub fn install(self, machines: &Machines, template: &Path, node: usize) -> anyhow::Result<()> {
        match self {
            Contestant::Paf => {
                let hba = PAF_HBA.replace("FLOATING", FLOATING).replace("OWN", &lan_address(node));
                database::install(machines, template, node, FLOATING, &hba, node == 1)
            }
            Contestant::Duotone | Contestant::DuotonePbx | Contestant::Printed => {
                let peer = cable_address(1 - node);
                database::install(machines, template, node, &peer, DUOTONE_HBA, true)
            }
        }
    }

    /// What is loaded into the cluster.
    pub fn configuration(self, socket: &Path) -> anyhow::Result<String> {
        let own: &[&str] = match self {
            Contestant::Paf => &[PAF],
            Contestant::Duotone => &[DUOTONE],
            Contestant::DuotonePbx => &[DUOTONE, PBX],
            Contestant::Printed => return printed(socket),
        };
        Ok(CLUSTER.replace("SOCKET", &socket.to_string_lossy()) + &own.concat())
    }

    /// The database's resource; its clone is called after it.
    pub fn database(self) -> &'static str {
        match self {
            Contestant::Paf | Contestant::Duotone | Contestant::DuotonePbx => "db",
            Contestant::Printed => "duotone-db",
        }
    }

    /// The resources that run where the database is promoted.
    pub fn beside(self) -> &'static [&'static str] {
        match self {
            Contestant::Paf | Contestant::Duotone => &["address"],
            Contestant::DuotonePbx => &["address", "pbx"],
            Contestant::Printed => &["duotone-address", "duotone-kamailio"],
        }
    }

    /// Whether a standby in this `sync_state` is what the contestant wants. PAF leaves synchronous
    /// commits to the administrator; without them a lone survivor goes on at once.
    pub fn is_good_standby(self, state: &str) -> bool {
        match self {
            Contestant::Paf => true,
            Contestant::Duotone | Contestant::DuotonePbx | Contestant::Printed => {
                matches!(state, "sync" | "quorum")
            }
        }
    }
}

fn printed(socket: &Path) -> anyhow::Result<String> {
    let file = socket.with_file_name("duotone.toml");
    std::fs::write(&file, PAIR.replace("SOCKET", &socket.to_string_lossy()))?;
    let mut duotone = Command::new(env!("CARGO_BIN_EXE_duotone"));
    run_with(duotone.arg("--config").arg(file).args(["--node", NODES[0], "pacemaker-config"]), "")
}
