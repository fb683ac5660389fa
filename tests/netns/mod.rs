//! Network namespaces on one Ethernet, made for one test and gone after it.
#![allow(dead_code)]

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use duotone::config::{Floating, Mode};
use duotone::protocol::time::Instant;
use duotone::protocol::timing::Timing;
use nix::sched::{CloneFlags, setns};
use nix::time::{ClockId, clock_gettime};

static LANS: AtomicUsize = AtomicUsize::new(0);

/// A bridge in its own namespace and hosts with an `eth0` on it.
pub struct Ethernet {
    name: String,
    hosts: Vec<String>,
}

impl Ethernet {
    /// Hosts named by single letters, their `eth0` up and without an IPv4 address; `None`, with a
    /// message, for anybody but root.
    pub fn new(hosts: &[&str]) -> Option<Ethernet> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (network namespaces)");
            return None;
        }
        let number = LANS.fetch_add(1, Ordering::Relaxed);
        let name = format!("dta{}x{number}", std::process::id());
        let mut ethernet = Ethernet { name, hosts: Vec::new() };
        let lan = ethernet.namespace("lan");
        run(&["ip", "netns", "add", &lan]);
        ethernet.hosts.push("lan".into());
        // No forwarding delay and no snooping: frames flow at once.
        ethernet.ip("lan", "link add br0 type bridge forward_delay 0 mcast_snooping 0");
        ethernet.ip("lan", "link set br0 up");
        for (number, host) in hosts.iter().enumerate() {
            run(&["ip", "netns", "add", &ethernet.namespace(host)]);
            ethernet.hosts.push((*host).into());
            ethernet.ip(host, "link set lo up");
            ethernet.plug(host, number);
        }
        Some(ethernet)
    }

    /// Gives a host its `eth0`, up, with the hardware address `02:00:00:00:00:<number>`.
    pub fn plug(&self, host: &str, number: usize) {
        self.ip(
            "lan",
            &format!(
                "link add name port-{host} type veth peer name eth0 netns {}",
                self.namespace(host)
            ),
        );
        self.ip("lan", &format!("link set port-{host} master br0 up"));
        self.ip(host, &format!("link set eth0 address 02:00:00:00:00:{number:02x}"));
        self.ip(host, "link set eth0 up");
    }

    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.name)
    }

    /// Runs `ip` in a host, split at spaces; panics when it fails.
    pub fn ip(&self, host: &str, arguments: &str) -> String {
        let namespace = self.namespace(host);
        let mut command = vec!["ip", "-n", &namespace];
        command.extend(arguments.split(' '));
        run(&command)
    }

    /// The calling thread works in this host from now on.
    pub fn enter(&self, host: &str) {
        let file = File::open(format!("/run/netns/{}", self.namespace(host))).unwrap();
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Runs this in a host, on a thread of its own.
    pub fn within<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.enter(host);
                work()
            });
            entered.join().unwrap()
        })
    }
}

impl Drop for Ethernet {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(host)]).status();
        }
    }
}

fn run(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Floating addresses of both families with gateways and references, that live two seconds.
pub fn floating(mode: Mode) -> Floating {
    Floating {
        interface: "eth0".into(),
        mode,
        addresses: vec![
            ("192.0.2.10".parse().unwrap(), 24),
            ("192.0.2.11".parse().unwrap(), 24),
            ("2001:db8::10".parse().unwrap(), 64),
        ],
        gateways: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        source: true,
        references: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        lifetime: true,
        refresh: Duration::ZERO,
    }
}

/// The boot-time clock.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    Instant::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Tries until it is so, for half a minute.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not within 30 s: {what}");
}

/// Times of a pair, with an arbiter that is slow enough for a busy machine.
pub fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        interval: ms(50),
        delay: ms(15),
        late_after: ms(180),
        lost_after: ms(250),
        start_grace: ms(500),
        drift_ppm: 200,
        release: ms(20),
        arbiter: ms(3000),
        probe_interval: ms(10),
        probes: 3,
        short_window: ms(100),
        long_window: ms(600),
        short_validity: ms(60),
        long_validity: ms(500),
        first_attempt: ms(400),
        short_validity_for: ms(600),
        address_lifetime: ms(2000),
        lan_window: ms(3200),
        certificate: ms(4000),
        grant: ms(2200),
        grant_renewal: ms(500),
        fence: ms(1000),
        fence_delay: ms(1000),
        replication_stall: ms(2000),
        step_deadline: ms(5000),
        critical_down: ms(10000),
    }
}
