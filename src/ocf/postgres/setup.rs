//! The parameters of the agent, and what comes of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Postgres;
use crate::config::preset::Preset;
use crate::ocf::call::Call;
use crate::ocf::parameter::{Kind, Parameter, Reader};
use crate::protocol::identity::NodeId;
use crate::protocol::node::Durability;
use crate::protocol::timing::Timing;

const OPTIONAL: Parameter = Parameter { default: Some(""), ..Parameter::REQUIRED };

const DATA_DIR: Parameter = Parameter {
    name: "data_dir",
    unique: true,
    short: "data directory",
    long: "The data directory of the server, for example /var/lib/postgresql/15/main. On one host \
           it holds the cluster, on the other a copy of it made with pg_basebackup. The directories \
           beside it whose names begin with its name (.rejoin, .new, .old) are used as well.",
    ..Parameter::REQUIRED
};
const BIN_DIR: Parameter = Parameter {
    name: "bin_dir",
    short: "directory of the server's programs",
    long: "Where postgres, pg_rewind, pg_basebackup and psql are, for example \
           /usr/lib/postgresql/15/bin.",
    ..Parameter::REQUIRED
};
const HOSTS: Parameter = Parameter {
    name: "hosts",
    short: "both nodes, each with the address of its server",
    long: "\"name=address name=address\": the two nodes as the cluster calls them (crm_node -n), \
           each with the address at which the other one's server reaches it for replication. Give \
           addresses of a network that does not fail alone: commits wait while replication is cut \
           and both nodes are members of the cluster.",
    ..Parameter::REQUIRED
};
const DURABILITY: Parameter = Parameter {
    name: "durability",
    default: Some("available"),
    short: "strict, available or async",
    long: "strict: a commit waits for the standby, and a server that may lack rows is never \
           promoted. available: the same, but when the other server is gone for good one that may \
           lack rows is promoted rather than none, and the log says so. async: no commit waits.",
    ..Parameter::REQUIRED
};
const OS_USER: Parameter = Parameter {
    name: "os_user",
    default: Some("postgres"),
    short: "operating-system user of the server",
    long: "The user who owns the data directory and runs the server.",
    ..Parameter::REQUIRED
};
const SOCKET_DIR: Parameter = Parameter {
    name: "socket_dir",
    default: Some("/var/run/postgresql"),
    short: "directory of the server's Unix socket",
    long: "As unix_socket_directories says in postgresql.conf.",
    ..Parameter::REQUIRED
};
const PORT: Parameter = Parameter {
    name: "port",
    kind: Kind::Integer,
    default: Some("5432"),
    short: "port of both servers",
    long: "As port says in postgresql.conf, on both hosts.",
    ..Parameter::REQUIRED
};
const USER: Parameter = Parameter {
    name: "user",
    default: Some("postgres"),
    short: "superuser that the agent is",
    long: "The database role as which the agent looks, promotes and changes settings, over the \
           Unix socket: a superuser that pg_hba.conf lets in there without a password (trust, or \
           peer with a map for root).",
    ..Parameter::REQUIRED
};
const DATABASE: Parameter = Parameter {
    name: "database",
    default: Some("postgres"),
    short: "database to connect to",
    long: "Any that exists; nothing is stored in it.",
    ..Parameter::REQUIRED
};
const REPLICATION_USER: Parameter = Parameter {
    name: "replication_user",
    default: Some("replicator"),
    short: "role that replicates",
    long: "The role as which each server receives the other's log and is brought back from it: \
           REPLICATION LOGIN, with the rights that pg_rewind needs on its source.",
    ..Parameter::REQUIRED
};
const PASSFILE: Parameter = Parameter {
    name: "passfile",
    short: "password file of replication_user",
    long: "A file in the format of .pgpass that os_user can read; empty where none is needed.",
    ..OPTIONAL
};
const OPTIONS: Parameter = Parameter {
    name: "options",
    short: "more options of the server's command line",
    long: "Separated by spaces, for example \"-c config_file=/etc/postgresql/15/main/\
           postgresql.conf\" on Debian.",
    ..OPTIONAL
};
const LOG_FILE: Parameter = Parameter {
    name: "log_file",
    default: Some("/dev/null"),
    short: "file for what the server says before its own log begins",
    long: "The server writes here what it does not write to its own log: all of it unless \
           logging_collector is on. The file is appended to and never rotated.",
    ..Parameter::REQUIRED
};
const SALVAGE_DIR: Parameter = Parameter {
    name: "salvage_dir",
    default: Some("/var/lib/duotone/salvage"),
    short: "where the rows of a losing branch are kept",
    long: "Before a server that went its own way is rewound, the rows that it alone has are \
           written here (duotone salvage lists, shows and merges them).",
    ..Parameter::REQUIRED
};
const SALVAGE_EXCLUDE: Parameter = Parameter {
    name: "salvage_exclude",
    short: "tables that are not salvaged",
    long: "schema.table or database.schema.table, separated by spaces; * stands for any name.",
    ..OPTIONAL
};

pub(super) const PARAMETERS: &[Parameter] = &[
    DATA_DIR,
    BIN_DIR,
    HOSTS,
    DURABILITY,
    OS_USER,
    SOCKET_DIR,
    PORT,
    USER,
    DATABASE,
    REPLICATION_USER,
    PASSFILE,
    OPTIONS,
    LOG_FILE,
    SALVAGE_DIR,
    SALVAGE_EXCLUDE,
];

/// The agent's parameters, read.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) postgres: Postgres,
    pub(super) names: [String; 2],
    pub(super) me: NodeId,
    pub(super) durability: Durability,
    pub(super) log_file: PathBuf,
}

impl Setup {
    pub(super) fn read(reader: &mut Reader<'_>) -> Setup {
        let hosts = hosts(reader);
        let me = me(reader, &hosts);
        let peer = &hosts[me.peer().index()];
        let passfile = reader.text(&PASSFILE);
        let postgres = Postgres {
            data_dir: reader.path(&DATA_DIR),
            bin_dir: reader.path(&BIN_DIR),
            os_user: reader.text(&OS_USER),
            socket_dir: reader.path(&SOCKET_DIR),
            // The range fits.
            port: reader.integer(&PORT, 1..=65_535).try_into().unwrap_or(u16::MAX),
            user: reader.text(&USER),
            database: reader.text(&DATABASE),
            peer_host: peer.1,
            replication_user: reader.text(&REPLICATION_USER),
            passfile: (!passfile.is_empty()).then(|| reader.path(&PASSFILE)),
            options: reader.text(&OPTIONS).split_whitespace().map(str::to_owned).collect(),
            salvage_dir: reader.path(&SALVAGE_DIR),
            salvage_exclude: tables(reader),
        };
        Setup {
            postgres,
            durability: durability(reader),
            log_file: reader.path(&LOG_FILE),
            names: hosts.map(|(name, _)| name),
            me,
        }
    }

    /// The times that the adapter wants; most of them are the heartbeats' and without meaning here.
    pub(super) fn timing(call: &Call) -> Timing {
        let second = Duration::from_secs(1);
        Timing {
            lost_after: second,
            release: second,
            step_deadline: call.left(Duration::MAX),
            ..Preset::Seconds.timing()
        }
    }
}

fn hosts(reader: &mut Reader<'_>) -> [(String, IpAddr); 2] {
    let words = reader.words(&HOSTS);
    let read = |word: &String| {
        let (name, address) = word.split_once('=')?;
        Some((name.to_owned(), address.parse().ok()?)).filter(|_| !name.is_empty())
    };
    let hosts: Option<Vec<(String, IpAddr)>> = words.iter().map(read).collect();
    match hosts.map(<[_; 2]>::try_from) {
        Some(Ok(hosts)) if hosts[0] != hosts[1] && hosts[0].0 != hosts[1].0 => hosts,
        // Not given at all is said already.
        Some(Ok(_) | Err(_)) | None => {
            if !words.is_empty() {
                let wanted = "two different \"name=address\", one for each node";
                reader.refuse(&HOSTS, &words.join(" "), wanted);
            }
            ["", ""].map(|name| (name.to_owned(), IpAddr::from([0, 0, 0, 0])))
        }
    }
}

/// This node's place among them: the cluster says its name, and the host where no cluster does.
fn me(reader: &mut Reader<'_>, hosts: &[(String, IpAddr); 2]) -> NodeId {
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = reader.variable("OCF_RESKEY_CRM_meta_on_node").or_else(host).unwrap_or_default();
    let found = NodeId::ALL.into_iter().find(|node| hosts[node.index()].0 == name);
    if found.is_none() && !hosts[0].0.is_empty() {
        reader.wrong(format!(
            "hosts names {} and {}, and this node is {name}: write the names that crm_node -n says",
            hosts[0].0, hosts[1].0
        ));
    }
    found.unwrap_or(NodeId::A)
}

fn durability(reader: &mut Reader<'_>) -> Durability {
    let word = reader.text(&DURABILITY);
    match word.as_str() {
        "strict" => Durability::Strict,
        "available" => Durability::Available,
        "async" => Durability::Async,
        _ => {
            reader.refuse(&DURABILITY, &word, "strict, available or async");
            Durability::Strict
        }
    }
}

fn tables(reader: &mut Reader<'_>) -> Vec<String> {
    let tables = reader.words(&SALVAGE_EXCLUDE);
    for table in &tables {
        let parts: Vec<&str> = table.split('.').collect();
        if !matches!(parts.len(), 2 | 3) || parts.iter().any(|part| part.is_empty()) {
            reader.refuse(&SALVAGE_EXCLUDE, table, "schema.table or database.schema.table");
        }
    }
    tables
}
