//! Two bridges in a namespace of their own, as a LAN and a cable between the hosts are; who is on
//! them, and what the switch lets through.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

use crate::command::run_with;

/// The nodes' names, in their order.
pub const NODES: [&str; 2] = ["pbx-a", "pbx-b"];
/// What clients know.
pub const FLOATING: &str = "192.0.2.10";
/// The gateway: the switch itself.
pub const GATEWAY: &str = "192.0.2.1";

const PREFIX: &str = "dtl";

/// A host's own address on the LAN (eth0).
pub fn lan_address(node: usize) -> String {
    format!("192.0.2.{}", 11 + node)
}

/// A host's address on the cable (eth1).
pub fn cable_address(node: usize) -> String {
    format!("10.9.0.{}", 1 + node)
}

/// The network of one test process; gone when dropped.
pub struct Network {
    name: String,
}

impl Network {
    /// Builds it, every port forwarding; clears first what a killed run left.
    pub fn new() -> anyhow::Result<Network> {
        clear_remains();
        let network = Network { name: format!("{PREFIX}{}", std::process::id()) };
        for part in ["sw", "a", "b", "client"] {
            run_with(Command::new("ip").args(["netns", "add", &network.namespace(part)]), "")?;
        }
        let mut switch = String::new();
        for bridge in ["lan", "cable"] {
            switch += &format!(
                "link add {bridge} type bridge forward_delay 0 mcast_snooping 0\n\
                 link set {bridge} up\n"
            );
        }
        // Fixed hardware addresses: a peer would keep those of before the power-off.
        for (port, bridge, host, name, mac) in [
            ("a-lan", "lan", "a", "eth0", "02:d7:00:00:00:a0"),
            ("b-lan", "lan", "b", "eth0", "02:d7:00:00:00:b0"),
            ("client", "lan", "client", "eth0", "02:d7:00:00:00:50"),
            ("a-cable", "cable", "a", "eth1", "02:d7:00:00:01:a0"),
            ("b-cable", "cable", "b", "eth1", "02:d7:00:00:01:b0"),
        ] {
            let namespace = network.namespace(host);
            switch += &format!(
                "link add {port} type veth peer name {name} address {mac} netns {namespace}\n\
                 link set {port} master {bridge} up\n"
            );
        }
        switch += &format!("addr add {GATEWAY}/24 dev lan\n");
        network.ip("sw", &switch)?;
        network.nft(
            "add table bridge lab\n\
             add set bridge lab dark { type ifname; }\n\
             add set bridge lab cut { type ifname; }\n\
             add chain bridge lab pass { type filter hook forward priority 0; }\n\
             add rule bridge lab pass iifname @dark drop\n\
             add rule bridge lab pass oifname @dark drop\n\
             add rule bridge lab pass iifname @cut drop\n\
             add chain bridge lab own { type filter hook input priority 0; }\n\
             add rule bridge lab own iifname @dark drop\n",
        )?;
        network
            .ip("client", "link set lo up\nlink set eth0 up\naddr add 192.0.2.50/24 dev eth0\n")?;
        Ok(network)
    }

    /// The interfaces of a host, as its boot sets them up.
    pub fn boot(&self, node: usize) -> anyhow::Result<()> {
        let (lan, cable) = (lan_address(node), cable_address(node));
        self.ip(
            letter(node),
            &format!(
                "link set lo up\nlink set eth0 up\nlink set eth1 up\n\
                 addr add {lan}/24 dev eth0\naddr add {cable}/24 dev eth1\n\
                 route add default via {GATEWAY}\n"
            ),
        )
    }

    /// What a kernel forgets with its power.
    pub fn forget(&self, node: usize) -> anyhow::Result<()> {
        let lines = ["lo", "eth0", "eth1"]
            .map(|name| format!("link set {name} down\naddr flush dev {name}\n"));
        self.ip(letter(node), &lines.concat())
    }

    /// Both ports of a host, at once; the other end keeps its carrier, as behind a switch.
    pub fn darken(&self, node: usize, dark: bool) -> anyhow::Result<()> {
        let letter = letter(node);
        self.element("dark", &format!("{letter}-lan, {letter}-cable"), dark)
    }

    /// The cable between the hosts.
    pub fn cut_cable(&self, cut: bool) -> anyhow::Result<()> {
        self.element("cut", "a-cable, b-cable", cut)
    }

    fn element(&self, set: &str, ports: &str, add: bool) -> anyhow::Result<()> {
        let verb = if add { "add" } else { "delete" };
        self.nft(&format!("{verb} element bridge lab {set} {{ {ports} }}\n"))
    }

    /// The network namespace of `a`, `b`, `client` or the switch (`sw`).
    pub fn namespace(&self, part: &str) -> String {
        format!("{}{part}", self.name)
    }

    /// Runs `job` on a thread of its own inside a namespace.
    pub fn thread<T: Send + 'static>(
        &self,
        part: &str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<JoinHandle<T>> {
        let name = self.namespace(part);
        let file = File::open(format!("/run/netns/{name}")).context(name)?;
        Ok(std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
            job()
        }))
    }

    fn ip(&self, part: &str, lines: &str) -> anyhow::Result<()> {
        let namespace = self.namespace(part);
        run_with(Command::new("ip").args(["-n", &namespace, "-batch", "-"]), lines).map(drop)
    }

    fn nft(&self, lines: &str) -> anyhow::Result<()> {
        let switch = self.namespace("sw");
        let mut nft = Command::new("ip");
        run_with(nft.args(["netns", "exec", &switch, "nft", "-f", "-"]), lines).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for part in ["sw", "a", "b", "client"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(part)]).output();
        }
    }
}

/// `a` or `b`.
pub fn letter(node: usize) -> &'static str {
    ["a", "b"][node]
}

/// Namespaces of test processes that are no more.
fn clear_remains() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let pid: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}
