//! Two hosts, their LAN and a third machine as namespaces, gone when the test is.
//!
//! `eth0` of `a`, `b` and `x` are ports of one switch (the LAN, with the gateway on it), `eth1` of
//! `a` and `b` of another, so that any cable can be pulled without the other end noticing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

pub const HOSTS: [&str; 2] = ["a", "b"];
/// The third machine on the LAN.
pub const X: &str = "x";

/// The network, and a directory for what is in it.
pub struct World {
    unique: String,
    pub dir: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl World {
    /// `own`: the hosts have addresses of their own on `eth0`. `None`, with a message, when this
    /// process may not make namespaces.
    pub fn new(own: bool) -> Option<World> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (network namespaces)");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("dtd{}x{count}", std::process::id());
        let dir = std::env::temp_dir().join(&unique);
        // What every host finds at one place is its own: `here` is where it is mounted.
        for part in ["here", "a", "b"] {
            fs::create_dir_all(dir.join(part)).expect("the test's directory");
        }
        let world = World { unique, dir };
        for name in ["lan", "a", "b", X] {
            run(Command::new("ip").args(["netns", "add", &world.namespace(name)]));
            world.ip(name, "link set lo up");
        }
        // No forwarding delay and no snooping: frames flow at once.
        for bridge in ["lan0", "lan1"] {
            let options = "type bridge forward_delay 0 mcast_snooping 0";
            world.ip("lan", &format!("link add {bridge} {options}"));
            world.ip("lan", &format!("link set {bridge} up"));
        }
        for address in ["192.0.2.1/24", "2001:db8::1/64 nodad"] {
            world.ip("lan", &format!("addr add {address} dev lan0"));
        }
        for (number, host) in ["a", "b", X].into_iter().enumerate() {
            world.plug(host, "eth0", number);
            if own || host == X {
                world.ip(host, &format!("addr add 192.0.2.{}/24 dev eth0", number + 2));
                world.ip(host, &format!("addr add 2001:db8::{}/64 dev eth0 nodad", number + 2));
            }
        }
        for (number, host) in HOSTS.into_iter().enumerate() {
            world.plug(host, "eth1", number);
            world.ip(host, &format!("addr add 10.9.0.{}/24 dev eth1", number + 1));
        }
        Some(world)
    }

    /// A cable from an interface to its switch, with the hardware address
    /// `02:00:00:00:0<interface>:0<number>`.
    fn plug(&self, host: &str, interface: &str, number: usize) {
        let (namespace, port) = (self.namespace(host), format!("{interface}-{host}"));
        self.ip(
            "lan",
            &format!("link add {port} type veth peer name {interface} netns {namespace}"),
        );
        let bridge = interface.replace("eth", "lan");
        self.ip("lan", &format!("link set {port} master {bridge} up"));
        let lan = bridge.trim_start_matches("lan");
        self.ip(host, &format!("link set {interface} address 02:00:00:00:0{lan}:0{number}"));
        self.ip(host, &format!("link set {interface} up"));
    }

    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.unique)
    }

    /// Runs `ip` in a host, split at spaces; panics when it fails.
    pub fn ip(&self, host: &str, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.namespace(host)]).args(arguments.split(' '));
        text(&run(&mut command))
    }

    /// The switch forgets a cable: the interface keeps its carrier.
    pub fn cut(&self, host: &str, interface: &str) {
        self.ip("lan", &format!("link set {interface}-{host} nomaster"));
    }

    pub fn mend(&self, host: &str, interface: &str) {
        let bridge = interface.replace("eth", "lan");
        self.ip("lan", &format!("link set {interface}-{host} master {bridge}"));
    }

    /// What is on a host's `eth0`.
    pub fn addresses(&self, host: &str) -> String {
        self.ip(host, "-br addr show dev eth0")
    }

    pub fn has(&self, host: &str, address: &str) -> bool {
        self.addresses(host).split_whitespace().any(|word| word.starts_with(&format!("{address}/")))
    }

    /// Where a host's own files are, seen from outside.
    pub fn files(&self, host: &str) -> PathBuf {
        self.dir.join(host)
    }

    /// Where every host finds its own files.
    pub fn here(&self) -> PathBuf {
        self.dir.join("here")
    }

    /// A program on a host, with its own files at [`World::here`]; it dies with this thread.
    pub fn command(&self, host: &str, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(host)));
        command.args(["unshare", "--mount", "sh", "-c"]);
        command
            .arg("mount --bind \"$1\" \"$2\" && shift 2 && exec setpriv --pdeathsig KILL \"$@\"");
        command.arg("sh").arg(self.files(host)).arg(self.here()).arg(program.as_ref());
        command.stdin(Stdio::null());
        command
    }

    /// Runs this in a host's network, on a thread of its own.
    pub fn within<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.namespace(host))).unwrap();
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            entered.join().unwrap()
        })
    }

    /// Everything that runs in a host's network.
    pub fn processes(&self, host: &str) -> Vec<i32> {
        let output = run(Command::new("ip").args(["netns", "pids", &self.namespace(host)]));
        text(&output).lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Ends everything on a host, as by power-off.
    pub fn kill_all(&self, host: &str) {
        soon("everything on the host is dead", || {
            let there = self.processes(host);
            for pid in &there {
                signal(*pid, nix::sys::signal::Signal::SIGKILL);
            }
            there.is_empty()
        });
    }

    /// Has the third machine speak to an address, and so learn whose it is.
    pub fn call(&self, address: &str) {
        self.within(X, || {
            let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
            let target: std::net::IpAddr = address.parse().unwrap();
            let target = match target {
                std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                std::net::IpAddr::V6(v6) => v6,
            };
            // Refused is as good as taken: the neighbour is known then.
            let _ = socket.send_to(b"?", (target, 9));
        });
    }

    /// The hardware address that the third machine would send to, if it knows one.
    pub fn neighbour(&self, address: &str) -> Option<String> {
        let line = self.ip(X, &format!("neigh show {address} dev eth0"));
        let mut words = line.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next().map(str::to_owned)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in HOSTS {
                let log = fs::read_to_string(self.files(host).join("log")).unwrap_or_default();
                let skipped = log.lines().count().saturating_sub(80);
                eprintln!("--- log of {host}");
                log.lines().skip(skipped).for_each(|line| eprintln!("{line}"));
            }
        }
        for host in ["a", "b", X, "lan"] {
            for _ in 0..100 {
                let namespace = self.namespace(host);
                let listed = Command::new("ip").args(["netns", "pids", &namespace]).output();
                let pids = listed.map(|output| text(&output)).unwrap_or_default();
                if pids.trim().is_empty() {
                    break;
                }
                for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
                    signal(pid, nix::sys::signal::Signal::SIGKILL);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let records = self.files(host).join("state").join("services");
            let _ = duotone::adapters::process::remove_groups(&records);
            let mut delete = Command::new("ip");
            let _ =
                delete.args(["netns", "del", &self.namespace(host)]).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Far longer than anything takes: a test says what comes to be, not how fast a busy machine is.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tries until it is so; returns how long that took.
#[track_caller]
pub fn soon(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    loop {
        if so() {
            return start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
