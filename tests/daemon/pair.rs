//! Two real daemons on the two hosts, with one configuration, and a user who asks them.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ownership::Ownership;
use crate::world::{HOSTS, World, signal, soon};

pub const DUOTONE: &str = env!("CARGO_BIN_EXE_duotone");
pub const V4: &str = "192.0.2.10";
pub const V6: &str = "2001:db8::10";
const NAMES: [&str; 2] = ["pbx-a", "pbx-b"];
pub const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

/// Times that a busy machine without real-time scheduling can keep.
pub const PATIENT: &str = "lost_after = \"3s\"\narbiter = \"300ms\"\n\
     short_validity = \"300ms\"\nlong_validity = \"2s\"\n";

/// What the configuration file says, where tests differ.
#[derive(Clone)]
pub struct Wanted {
    pub preset: &'static str,
    pub durability: &'static str,
    /// Of `[pair]`.
    pub arbitration: &'static str,
    /// The whole section `[witness]`.
    pub witness: &'static str,
    /// The whole section `[fence]`, in which `HERE` is where a host finds its own files.
    pub fence: &'static str,
    /// The whole section `[calls]`; `HERE` as above.
    pub calls: &'static str,
    /// Lines of `[pair]`; `HERE` as above.
    pub pair: &'static str,
    /// Lines of `[timing]`.
    pub times: &'static str,
    /// Lines of `[floating]` about the mode.
    pub mode: &'static str,
    pub addresses: Vec<&'static str>,
    /// Whole `[[service]]` (also `[[hook]]` and `[alerts]`, `HERE` as above) and `[postgres]` sections.
    pub services: String,
    pub postgres: String,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            preset: "virtual",
            durability: "available",
            arbitration: "[\"lan\"]",
            witness: "",
            fence: "",
            calls: "",
            pair: "",
            times: "",
            mode: "mode = \"address\"",
            addresses: vec!["192.0.2.10/24", "2001:db8::10/64"],
            services: service("pbx", "both", "before-address", "exec sleep 600"),
            postgres: String::new(),
        }
    }
}

impl Wanted {
    /// Where nothing may move: a machine that is busy for a second is no dead peer, and no LAN that
    /// does not answer.
    pub fn patient() -> Wanted {
        Wanted { times: PATIENT, ..Wanted::default() }
    }
}

/// A service that is a line of shell.
pub fn service(name: &str, run_on: &str, start: &str, line: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         run_on = \"{run_on}\"\nstart = \"{start}\"\ncritical = {}\n\n",
        run_on != "standby"
    )
}

/// What a verb answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The pair. Fields are dropped in this order.
pub struct Pair {
    daemons: [Option<Child>; 2],
    pub ownership: Ownership,
    pub world: World,
    pub wanted: Wanted,
}

impl Pair {
    /// The network and the files; no daemon runs.
    pub fn new(wanted: Wanted) -> Option<Pair> {
        // Where the interface is the role, it is nobody's own.
        let world = World::new(!wanted.mode.contains("interface"))?;
        let ownership = Ownership::watch(&world, &[V4, V6, "192.0.2.11"]);
        let pair = Pair { daemons: [None, None], ownership, world, wanted };
        for host in HOSTS {
            pair.write_key(host, KEY);
        }
        pair.configure();
        Some(pair)
    }

    /// A pair that serves; which node does.
    pub fn settled(wanted: Wanted) -> Option<(Pair, usize)> {
        let mut pair = Pair::new(wanted)?;
        pair.start(0);
        pair.start(1);
        let active = pair.settle();
        Some((pair, active))
    }

    pub fn write_key(&self, host: &str, key: &str) {
        let path = self.world.files(host).join("pair.key");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the file, the same for both, as `wanted` says now.
    pub fn configure(&self) {
        for host in HOSTS {
            fs::write(self.world.files(host).join("duotone.toml"), self.text()).unwrap();
        }
    }

    pub fn text(&self) -> String {
        let Wanted { preset, pair, durability, arbitration, witness, .. } = &self.wanted;
        let Wanted { times, mode, addresses, services, postgres, .. } = &self.wanted;
        let here = self.world.here();
        let here = here.display();
        let at = |lines: &str| lines.replace("HERE", &here.to_string());
        let (fence, calls) = (at(self.wanted.fence), at(self.wanted.calls));
        let (pair, services) = (at(pair), at(services));
        // A standby's eth0 that is down carries nothing.
        let ethernet = match mode.contains("\"down\"") {
            true => "",
            false => "[[link]]\nkind = \"ethernet\"\ninterface = \"eth0\"\n",
        };
        format!(
            r#"[pair]
name = "office"
preset = "{preset}"
durability = "{durability}"
arbitration = {arbitration}
key_file = "{here}/pair.key"
state_dir = "{here}/state"
socket = "{here}/control.sock"
{pair}

{witness}

{fence}

{calls}

[timing]
{times}

[[node]]
name = "pbx-a"
[[node]]
name = "pbx-b"

[[link]]
kind = "udp"
interface = "eth1"
addresses = {{ pbx-a = "10.9.0.1", pbx-b = "10.9.0.2" }}
{ethernet}
[floating]
interface = "eth0"
{mode}
addresses = {addresses:?}
gateways = ["192.0.2.1"]

{postgres}
{services}"#
        )
    }

    /// The program on a host, as its administrator would type it there.
    pub fn duotone(&self, node: usize, words: &[&str]) -> Command {
        let mut command = self.world.command(HOSTS[node], DUOTONE);
        command.args(words).arg("--config").arg(self.world.here().join("duotone.toml"));
        command.args(["--node", NAMES[node]]);
        for name in ["DUOTONE_CONFIG", "DUOTONE_NODE", "DUOTONE_SOCKET", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command
    }

    pub fn start(&mut self, node: usize) {
        self.start_with(node, &[]);
    }

    pub fn start_with(&mut self, node: usize, environment: &[(&str, &str)]) {
        let log = self.world.files(HOSTS[node]).join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.duotone(node, &["run"]);
        command.envs(environment.iter().copied());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons[node] = Some(command.spawn().unwrap());
    }

    /// A daemon was started there and has not ended by this test's hand.
    pub fn runs(&self, node: usize) -> bool {
        self.daemons[node].is_some()
    }

    pub fn pid(&self, node: usize) -> i32 {
        self.daemons[node].as_ref().expect("a running daemon").id() as i32
    }

    /// `kill -9`: its services, its database and its addresses are the kernel's.
    pub fn kill(&mut self, node: usize) {
        let mut daemon = self.daemons[node].take().expect("a running daemon");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// SIGTERM, and its exit status.
    pub fn terminate(&mut self, node: usize) -> Option<i32> {
        signal(self.pid(node), Signal::SIGTERM);
        self.end(node)
    }

    /// Waits for its end.
    pub fn end(&mut self, node: usize) -> Option<i32> {
        let mut daemon = self.daemons[node].take().expect("a running daemon");
        let mut status = None;
        soon("the daemon ends", || {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Pulls every cable of a host, then ends everything on it.
    pub fn power_off(&mut self, node: usize) {
        self.world.cut(HOSTS[node], "eth0");
        self.world.cut(HOSTS[node], "eth1");
        self.ownership.power(node, false);
        self.kill(node);
        self.world.kill_all(HOSTS[node]);
    }

    /// The power is back: what the host's kernel had is gone, its daemon starts.
    pub fn power_on(&mut self, node: usize) {
        for address in [V4, V6] {
            self.world.ip(HOSTS[node], &format!("addr flush dev eth0 to {address}"));
        }
        self.ownership.power(node, true);
        self.world.mend(HOSTS[node], "eth0");
        self.world.mend(HOSTS[node], "eth1");
        self.start(node);
    }

    pub fn socket(&self, node: usize) -> PathBuf {
        self.world.files(HOSTS[node]).join("control.sock")
    }

    /// Asks a node's daemon.
    pub fn ask(&self, node: usize, words: &[&str]) -> Said {
        said(Command::new(DUOTONE).args(words).arg("--socket").arg(self.socket(node)))
    }

    /// Its status; `Null` when there is none.
    pub fn status(&self, node: usize) -> Value {
        serde_json::from_str(&self.ask(node, &["status", "--json"]).out).unwrap_or_default()
    }

    pub fn serves(&self, node: usize) -> bool {
        let status = self.status(node);
        status["role"] == "active" && status["serving"] == true
    }

    /// Waits until one node serves and the other is its good standby; which one serves.
    #[track_caller]
    pub fn settle(&self) -> usize {
        let mut active = None;
        soon("one node serves and the other stands by", || {
            let said = [self.status(0), self.status(1)];
            let hears = |status: &Value, role: &str| {
                status["peer_seen"]["role"] == role && status["peer_seen"]["two_way"] == true
            };
            let good = |node: &usize| {
                let (own, other) = (&said[*node], &said[1 - node]);
                let is = |status: &Value, key: &str| status["certificate"][key] != false;
                let certified =
                    own["database"].is_null() || is(own, "certifying") && is(other, "held");
                own["role"] == "active"
                    && own["serving"] == true
                    && other["role"] == "standby"
                    && other["stance"] == "standby"
                    && (hears(own, "standby") && hears(other, "active"))
                    && certified
                    && said.iter().all(services_good)
            };
            active = (0..2).find(good);
            active.is_some()
        });
        active.expect("just seen")
    }

    /// Waits until this node serves, holding every address; how long that took.
    #[track_caller]
    pub fn serves_soon(&self, node: usize) -> Duration {
        soon(&format!("{} serves", HOSTS[node]), || self.serves(node))
    }

    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.world.files(HOSTS[node]).join("log")).unwrap_or_default()
    }

    /// A file that a host's services wrote.
    pub fn file(&self, node: usize, name: &str) -> Option<String> {
        fs::read_to_string(self.world.files(HOSTS[node]).join(name)).ok()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for mut daemon in self.daemons.iter_mut().filter_map(Option::take) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn services_good(status: &Value) -> bool {
    let services = status["services"].as_array();
    services.is_some_and(|all| {
        all.iter().all(|service| service["wanted"] == false || service["grade"] == "good")
    })
}

/// The names of the services that run.
pub fn running(status: &Value) -> Vec<String> {
    let services = status["services"].as_array().into_iter().flatten();
    let running = services.filter(|service| service["state"] == "running");
    running.filter_map(|service| service["name"].as_str().map(str::to_owned)).collect()
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    let output = command.output().expect("start a program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}
