//! The pair's daemons in the lab: their configuration, their start, and what they say of
//! themselves (`duotone status --json`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::DemoOptions;
use super::clock;
use super::host::{DATABASE_SOCKET, Host, INSIDE};
use super::pbx;
use super::postgres::BIN;
use super::world::{FLOATING, FLOATING_V6, GATEWAY, NODES, World, link_address};
use super::writer::WriterOrder;
use crate::protocol::time::Instant;

/// Writes the pair's one configuration file and its key to a host.
pub fn install(host: &Host, options: &DemoOptions, key: &str) -> anyhow::Result<()> {
    fs::write(host.files.join("duotone.toml"), configuration(options)?)?;
    let key_file = host.files.join("pair.key");
    fs::write(&key_file, key)?;
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// A fresh key, 32 bytes in hexadecimal.
pub fn make_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("random bytes: {error}"))?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat() + "\n")
}

/// Starts a host's daemon.
pub fn start(host: &mut Host) -> anyhow::Result<()> {
    let mut command = host.command(&host.program().to_string_lossy());
    let name = host.name.clone();
    command.args(["run", "--config", &format!("{INSIDE}/duotone.toml"), "--node", &name]);
    host.start(command, "duotone.log")
}

/// What a daemon says of itself.
#[derive(Clone, Debug, Default)]
pub struct Status(Value);

impl Status {
    /// Asks the daemon of a host; empty when it does not answer.
    pub fn of(host: &Host) -> Self {
        let output = Command::new(host.program())
            .args(["status", "--json", "--socket"])
            .arg(host.files.join("control.sock"))
            .stdin(Stdio::null())
            .output();
        let Ok(output) = output else { return Status::default() };
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Status(said.get("data").cloned().unwrap_or(said))
    }

    /// A text field.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or("unknown")
    }

    /// It is active and serves.
    pub fn serves(&self) -> bool {
        self.text("role") == "active"
            && self.0.get("serving").and_then(Value::as_bool) == Some(true)
    }

    /// A yes or no below a section; `None` when it is not said.
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        self.0.get(section)?.get(key)?.as_bool()
    }

    /// Every critical service that it wants works.
    pub fn services_good(&self) -> bool {
        let services = self.0.get("services").and_then(Value::as_array);
        let critical = |one: &&Value| one["critical"] == true && one["wanted"] != false;
        services.is_some_and(|all| all.iter().filter(critical).all(|one| one["grade"] == "good"))
    }

    /// Its timeline: when, what, and the words.
    pub fn timeline(&self) -> Vec<(Instant, String)> {
        let entries = self.0.get("timeline").and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let at = Instant::from_nanos(entry.get("at_ns")?.as_u64()?);
                let what = entry.get("what")?.as_str()?;
                let words = entry.get("text").and_then(Value::as_str).unwrap_or_default();
                Some((at, format!("{what}: {words}").trim_end_matches([':', ' ']).to_owned()))
            })
            .collect()
    }

    /// Everything, for `--json`.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// Waits until one node serves and the other is its caught-up standby; returns the active one.
///
/// # Errors
/// That did not come about in time; what each node says is in the message.
pub fn wait_settled(world: &mut World, patience: Duration) -> anyhow::Result<usize> {
    let mut active = None;
    let settled = clock::wait_until(patience, Duration::from_millis(100), || {
        let said = [0, 1].map(|node| match &world.hosts[node] {
            Some(host) => Status::of(host),
            None => Status::default(),
        });
        active = [0, 1].into_iter().find(|&node| {
            said[node].serves()
                && said[1 - node].text("role") == "standby"
                && said.iter().all(Status::services_good)
                && is_good(&said[node], &said[1 - node])
        });
        active.is_some()
    })?;
    if let (true, Some(active)) = (settled, active) {
        return Ok(active);
    }
    let mut words = String::new();
    for (node, name) in NODES.iter().enumerate() {
        let status = world.hosts[node].as_ref().map(Status::of).unwrap_or_default();
        words += &format!("; {name} is {}: {}", status.text("role"), status.text("why"));
    }
    anyhow::bail!(
        "the pair did not settle in {patience:?}{words}; its logs: {}",
        world.files.display()
    )
}

/// The standby has everything that was acknowledged; where no commit waits for it, it streams.
fn is_good(active: &Status, standby: &Status) -> bool {
    if active.text("durability") == "async" {
        return standby.flag("database", "streaming") == Some(true);
    }
    active.flag("certificate", "certifying") != Some(false)
        && standby.flag("certificate", "held") != Some(false)
}

/// What a daemon costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Processor time so far, milliseconds.
    pub cpu_ms: u64,
}

/// The cost of a host's daemon; `None` when it is not there.
pub fn cost(host: &Host) -> Option<Cost> {
    let own = daemon(host)?;
    let status = fs::read_to_string(format!("/proc/{own}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    // The sum over threads, in nanoseconds, finer than the ticks of `stat`.
    let threads = fs::read_dir(format!("/proc/{own}/task")).ok()?;
    let cpu_ns: u64 = threads
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    Some(Cost { rss_kib: rss.split_whitespace().next()?.parse().ok()?, cpu_ms: cpu_ns / 1_000_000 })
}

/// A host's daemon, as seen from outside; `None` when it is not there.
pub fn daemon(host: &Host) -> Option<u32> {
    let program = host.program().as_os_str().as_encoded_bytes();
    host.processes().into_iter().map(|(pid, _)| pid).find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0);
        words.next() == Some(program) && words.next() == Some(b"run")
    })
}

fn configuration(options: &DemoOptions) -> anyhow::Result<String> {
    let quote = |text: &str| Value::from(text).to_string();
    let [a, b] = NODES;
    let (link_a, link_b) = (link_address(0), link_address(1));
    let writer = WriterOrder { listen: FLOATING.into(), socket: DATABASE_SOCKET.into() };
    let writer = [
        quote(&options.program.to_string_lossy()),
        quote("lab-cdr"),
        quote(&serde_json::to_string(&writer)?),
    ]
    .join(", ");
    let kamailio = pbx::command().iter().map(|word| quote(word)).collect::<Vec<_>>().join(", ");
    let (preset, durability, mode) = (options.preset, options.durability, options.mode);
    Ok(format!(
        r#"[pair]
name = "demo"
preset = "{preset}"
durability = "{durability}"
arbitration = ["lan"]
key_file = "{INSIDE}/pair.key"
state_dir = "{INSIDE}/state"
socket = "{INSIDE}/control.sock"

[[node]]
name = "{a}"

[[node]]
name = "{b}"

[[link]]
kind = "udp"
interface = "eth1"
addresses = {{ {a} = "{link_a}", {b} = "{link_b}" }}

[[link]]
kind = "ethernet"
interface = "eth0"

[floating]
interface = "eth0"
mode = "{mode}"
addresses = ["{FLOATING}/24", "{FLOATING_V6}/64"]
gateways = ["{GATEWAY}"]
source = true
references = ["{GATEWAY}"]

[postgres]
data_dir = "{INSIDE}/pgdata"
bin_dir = "{BIN}"
os_user = "postgres"
socket_dir = "{DATABASE_SOCKET}"
port = 5432
user = "postgres"
database = "postgres"
hosts = {{ {a} = "{link_a}", {b} = "{link_b}" }}
replication_user = "replicator"

[[service]]
name = "kamailio"
command = [{kamailio}]
run_on = "both"
start = "before-address"
critical = true
probes = [
  {{ kind = "sip-udp", target = "127.0.0.1:5060", interval = "1s", timeout = "500ms", fall = 3, rise = 1 }},
]

[[service]]
name = "call-records"
command = [{writer}]
run_on = "active"
start = "before-address"
critical = false
"#
    ))
}
