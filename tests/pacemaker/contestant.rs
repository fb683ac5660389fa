//! What keeps the databases and the address: the agents of this project, or PAF with IPaddr2.

use std::path::Path;

use crate::database;
use crate::network::{FLOATING, cable_address, lan_address};
use crate::power::Machines;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contestant {
    /// `ocf:heartbeat:pgsqlms` (PAF) and `ocf:heartbeat:IPaddr2`, as PAF's quick start has them.
    Paf,
    /// `ocf:duotone:postgres`, `ocf:duotone:floating` and `ocf:duotone:pbx`.
    Duotone,
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

/// The cluster's own settings and the power switch, the same for all. The bench measures the agents:
/// a delay that decides a race of two living hosts would add to both alike.
const CLUSTER: &str = "\
property stonith-enabled=true stonith-action=off no-quorum-policy=stop dc-deadtime=1s \\
    stonith-timeout=30s
rsc_defaults resource-stickiness=100 migration-threshold=5 failure-timeout=20s
primitive power stonith:fence_lab \\
    params socket=\"SOCKET\" pcmk_host_list=\"pbx-a pbx-b\" \\
    op monitor interval=60s
";

const PAF: &str = "\
primitive db ocf:heartbeat:pgsqlms \\
    params bindir=BIN pgdata=DATA pghost=/run/postgresql \\
    op start timeout=60s interval=0 op stop timeout=60s interval=0 \\
    op promote timeout=30s interval=0 op demote timeout=120s interval=0 \\
    op monitor interval=3s timeout=10s role=Promoted \\
    op monitor interval=4s timeout=10s role=Unpromoted \\
    op notify timeout=60s interval=0
clone db-clone db meta promotable=true notify=true
primitive address ocf:heartbeat:IPaddr2 \\
    params ip=FLOATING cidr_netmask=24 nic=eth0 op monitor interval=3s
colocation address-with-db inf: address db-clone:Promoted
order db-then-address Mandatory: db-clone:promote address:start sequential=true symmetrical=false
order db-after-address Mandatory: db-clone:demote address:stop sequential=true symmetrical=false
";

const DUOTONE: &str = "";

impl Contestant {
    /// A host's database.
    pub fn install(self, machines: &Machines, template: &Path, node: usize) -> anyhow::Result<()> {
        match self {
            Contestant::Paf => {
                let hba = PAF_HBA.replace("FLOATING", FLOATING).replace("OWN", &lan_address(node));
                database::install(machines, template, node, FLOATING, &hba, node == 1)
            }
            Contestant::Duotone => {
                let peer = cable_address(1 - node);
                database::install(machines, template, node, &peer, DUOTONE_HBA, true)
            }
        }
    }

    /// What is loaded into the cluster.
    pub fn configuration(self, socket: &Path) -> String {
        let own = match self {
            Contestant::Paf => PAF,
            Contestant::Duotone => DUOTONE,
        };
        (CLUSTER.to_owned() + own)
            .replace("SOCKET", &socket.to_string_lossy())
            .replace("BIN", database::BIN)
            .replace("DATA", database::DATA)
            .replace("FLOATING", FLOATING)
    }

    /// The resources that run where the database is promoted.
    pub fn beside(self) -> &'static [&'static str] {
        match self {
            Contestant::Paf => &["address"],
            Contestant::Duotone => &["address", "pbx"],
        }
    }

    /// Whether a standby in this `sync_state` is what the contestant wants. PAF leaves synchronous
    /// commits to the administrator; without them a lone survivor goes on at once.
    pub fn is_good_standby(self, state: &str) -> bool {
        match self {
            Contestant::Paf => true,
            Contestant::Duotone => matches!(state, "sync" | "quorum"),
        }
    }
}
