//! The configuration: one file, the same on both hosts, read into one validated value.
//!
//! Everything below is resolved: defaults and presets are filled in, the node is picked, units are
//! parsed. What can be wrong in the file is found here, all at once; nothing downstream checks
//! again.

pub mod check;
pub mod estimate;
pub mod headers;
pub mod hours;
pub mod key;
pub mod password;
pub mod preset;
pub mod unit;

mod alerts;
mod calls;
mod checks;
mod database;
mod document;
mod error;
mod fence;
pub(crate) mod floating;
mod gateways;
mod hooks;
mod links;
mod moves;
pub(crate) mod nodes;
mod probes;
mod read;
mod services;
mod timing;
mod witness;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::arbiter::Arbitration;
use crate::protocol::identity::NodeId;
use crate::protocol::moves::Policy;
use crate::protocol::node::Durability;
use crate::protocol::timing::Timing;

pub use alerts::{AlertKind, AlertSyslog, Alerts, Mail, MailTls, Webhook};
pub use calls::Calls;
pub use checks::{RemoteChecks, Trigger};
pub use error::{Errors, Problem};
pub use fence::{Fence, FenceDevice};
pub use gateways::{Gateway, Reach};
pub use hooks::{Capability, Hook, HookEvent};
pub use probes::{
    Accept, CommandProbe, HttpProbe, Probe, ProbeKind, SipProbe, SqlProbe, Tls, Transport,
};
pub use witness::{WitnessConfig, WitnessPair, witness_socket_of};

/// Everything the daemon of one node needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pair's name: unique on its links, at most 128 of `[A-Za-z0-9_-]`.
    pub pair: String,
    /// Which node this is.
    pub me: NodeId,
    /// Both nodes' names, in the order of the file.
    pub names: [String; 2],
    /// Whose word a takeover needs.
    pub arbitration: Arbitration,
    /// Where the witness is, over every path to it; empty when none is configured.
    pub witness: Vec<SocketAddr>,
    /// What cuts the peer's power; `None` when no fence is configured.
    pub fence: Option<Fence>,
    /// What a commit waits for.
    pub durability: Durability,
    /// All times.
    pub timing: Timing,
    /// Which moves need no order.
    pub policy: Policy,
    /// When the role may go back by itself, by the host's clock; `None`: at any time.
    pub failback_hours: Option<hours::Hours>,
    /// File with the heartbeat key (32 bytes, hexadecimal), readable by root alone.
    pub key_file: PathBuf,
    /// A second key that is accepted but not used for sending (key rotation).
    pub old_key_file: Option<PathBuf>,
    /// Directory of the state file.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Also log to syslog.
    pub syslog: bool,
    /// The host's watchdog device; `None` for none.
    pub watchdog: Option<PathBuf>,
    /// Heartbeat paths, all used at once.
    pub links: Vec<Link>,
    /// The floating addresses and how they move.
    pub floating: Floating,
    /// The database; `None` for a pair without one.
    pub postgres: Option<Postgres>,
    /// The watched processes.
    pub services: Vec<Service>,
    /// What this node asks the active one while it stands by; `None` for nothing.
    pub remote_checks: Option<RemoteChecks>,
    /// Hosts that the PBX needs, asked by both nodes.
    pub gateways: Vec<Gateway>,
    /// What is told when the role moves, in the order of the file.
    pub hooks: Vec<Hook>,
    /// Who is told of what; `None` for nobody.
    pub alerts: Option<Alerts>,
    /// How calls and registrations are followed; `None` when they are not.
    pub calls: Option<Calls>,
    /// First eight bytes of the SHA-256 of the file, big-endian.
    pub hash: u64,
}

impl Config {
    /// Reads a file and the key files that it names, as node `node`, or as the node that has this
    /// host's name.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line and what to write instead.
    pub fn load(path: &Path, node: Option<&str>) -> Result<Config, Errors> {
        read::read(&text(path)?, &path.display().to_string(), node, read::Keys::Check)
    }

    /// As [`Config::load`], without a look at the key files: for what needs no key, such as
    /// releasing the addresses.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_without_keys(path: &Path, node: Option<&str>) -> Result<Config, Errors> {
        Config::parse(&text(path)?, &path.display().to_string(), node)
    }

    /// Reads `text`; `file` is its name in messages. Touches no file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &str, node: Option<&str>) -> Result<Config, Errors> {
        read::read(text, file, node, read::Keys::Ignore)
    }

    /// The peer's name.
    pub fn peer_name(&self) -> &str {
        &self.names[self.me.peer().index()]
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.names[self.me.index()]
    }
}

/// The control socket that a file names, however wrong the rest of it is: a running daemon can be
/// asked even so, and by users who may not read the key.
pub fn socket_of(path: &Path) -> PathBuf {
    pair_path(path, "socket", read::SOCKET)
}

/// The state directory that a configuration names, however wrong the rest of it is.
pub fn state_dir_of(path: &Path) -> PathBuf {
    pair_path(path, "state_dir", read::STATE_DIR)
}

/// The key file that a configuration names, which need not exist yet.
pub fn key_file_of(path: &Path) -> PathBuf {
    pair_path(path, "key_file", read::KEY_FILE)
}

fn pair_path(path: &Path, key: &str, default: &str) -> PathBuf {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| document::lenient_text(&text, "pair", key))
        .map_or_else(|| PathBuf::from(default), PathBuf::from)
}

fn text(path: &Path) -> Result<String, Errors> {
    std::fs::read_to_string(path).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "write it after examples/duotone.toml, or pass --config PATH"
            }
            std::io::ErrorKind::PermissionDenied => "run this as root (sudo)",
            _ => "check the path, and that it is a text file",
        };
        let message = format!("cannot be read: {error}; {advice}");
        let problems = vec![Problem { place: None, message }];
        Errors { file: path.display().to_string(), problems }
    })
}

/// A heartbeat path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// Datagrams between two addresses, bound to an interface.
    Udp {
        /// Network interface name.
        interface: String,
        /// Own address and port.
        local: SocketAddr,
        /// The peer's address and port.
        peer: SocketAddr,
    },
    /// Ethernet frames (EtherType 0x88B5) on an interface that needs no address.
    Ethernet {
        /// Network interface name.
        interface: String,
    },
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Link::Udp { interface, .. } => write!(f, "link {interface} (udp)"),
            Link::Ethernet { interface } => write!(f, "link {interface} (ethernet)"),
        }
    }
}

/// The floating addresses of the group `main`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Floating {
    /// The LAN interface.
    pub interface: String,
    /// What moves.
    pub mode: Mode,
    /// Addresses with prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default gateways that move with the role, at most one per family.
    pub gateways: Vec<IpAddr>,
    /// Outgoing traffic through those gateways uses the first floating address of the family.
    pub source: bool,
    /// Hosts whose answer proves that this node is on the LAN; at least one.
    pub references: Vec<IpAddr>,
    /// Addresses expire in the kernel when the daemon stops renewing them.
    pub lifetime: bool,
    /// Between two refreshing announcements; zero for none.
    pub refresh: Duration,
}

/// What moves with the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Addresses on an interface that is up on both hosts.
    Address,
    /// The interface: both hosts are configured alike and only the active one uses it.
    Interface {
        /// The standby's interface stays up without an address (`true`) or down (`false`).
        bare: bool,
    },
}

/// The local database cluster and how to reach the peer's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postgres {
    /// Data directory.
    pub data_dir: PathBuf,
    /// Directory with `postgres`, `pg_ctl`, `pg_controldata`, `pg_rewind`.
    pub bin_dir: PathBuf,
    /// Operating-system user that owns the data directory.
    pub os_user: String,
    /// Directory of the server's Unix socket.
    pub socket_dir: PathBuf,
    /// Port of both servers.
    pub port: u16,
    /// Database role that may promote and change settings (superuser).
    pub user: String,
    /// Database to connect to.
    pub database: String,
    /// Where the peer's server listens for replication.
    pub peer_host: IpAddr,
    /// Role that replicates.
    pub replication_user: String,
    /// Password file for the replication connection, if one is needed.
    pub passfile: Option<PathBuf>,
    /// Extra options for the server's command line.
    pub options: Vec<String>,
    /// Where the rows of a losing branch are kept.
    pub salvage_dir: PathBuf,
    /// Tables that the salvage leaves out: `schema.table` or `database.schema.table`, where `*`
    /// stands for any one name.
    pub salvage_exclude: Vec<String>,
}

/// A watched process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Unique name, `[A-Za-z0-9_-]`.
    pub name: String,
    /// Who runs it.
    pub runner: Runner,
    /// Program and arguments; none where the unit has them.
    pub command: Vec<String>,
    /// Operating-system user; the daemon's own when absent.
    pub user: Option<String>,
    /// Working directory.
    pub directory: PathBuf,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// What it may use.
    pub limits: Limits,
    /// On which node it runs.
    pub run_on: RunOn,
    /// When it starts during a takeover.
    pub start: Start,
    /// Its failure is the node's failure.
    pub critical: bool,
    /// How it is asked whether it works; the process itself is always watched.
    pub probes: Vec<Probe>,
    /// Pause before the first restart; doubled each time up to `restart_max`.
    pub restart_delay: Duration,
    /// Longest pause between restarts.
    pub restart_max: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
}

/// Who runs a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Runner {
    /// The daemon, as its child; unless something else is written, because a child needs no systemd
    /// and ends with its daemon by the kernel's own means. A unit is outside of the daemon's control
    /// group, and somebody who is alive has to stop it.
    Daemon,
    /// systemd, as a unit that the daemon makes of the command.
    TransientUnit,
    /// systemd, as this unit of the host's own, `NAME.service`.
    Unit(String),
}

/// What a command may use; `None` for what the daemon's own unit allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Limits {
    /// Open files of each process (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
    /// Processes and threads of its user (RLIMIT_NPROC); root is not bound by it.
    pub processes: Option<u64>,
    /// Bytes of a core file (RLIMIT_CORE).
    pub core: Option<u64>,
    /// Bytes of memory of all its processes together, by the control group.
    pub memory: Option<u64>,
}

/// On which node a service runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunOn {
    /// Where the role is.
    Active,
    /// Where it is not.
    Standby,
    /// Everywhere.
    Both,
}

/// When a service starts during a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Before the addresses (it can bind without them).
    BeforeAddress,
    /// After the addresses are held.
    AfterAddress,
}
