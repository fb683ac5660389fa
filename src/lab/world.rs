//! The lab's world: a LAN and a dedicated link as bridges in a switch namespace, a gateway on the
//! LAN, a phone, and two hosts. See `Plan` for who has which address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::host::{self, Host};
use super::namespaces::{self, run_with_input};
use super::switch::Switch;
use crate::protocol::time::Instant;

/// The switch's namespace.
pub const SWITCH: &str = "dt-sw";
/// The phone's namespace.
pub const PHONE: &str = "dt-phone";
/// The hosts' network namespaces, in the order of the nodes.
pub const HOSTS: [&str; 2] = ["dt-a", "dt-b"];
/// The nodes' names.
pub const NODES: [&str; 2] = ["pbx-a", "pbx-b"];

/// The gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The floating address that phones know.
pub const FLOATING: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Its IPv6 companion.
pub const FLOATING_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The phone.
pub const PHONE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

/// The floating addresses with their prefix lengths.
pub const FLOATING_ALL: [(IpAddr, u8); 2] =
    [(IpAddr::V4(FLOATING), 24), (IpAddr::V6(FLOATING_V6), 64)];

/// A host's address on the dedicated link.
pub fn link_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, node as u8 + 1)
}

/// A host's hardware address on the LAN: fixed, as a machine's is.
pub fn lan_mac(node: usize) -> [u8; 6] {
    [0x02, 0xd7, 0, 0, 0, 0xa0 + node as u8]
}

/// Everything that stands while a scenario runs; gone when dropped.
pub struct World {
    /// The hosts; `None` once powered off.
    pub hosts: [Option<Host>; 2],
    /// The ports between them.
    pub switch: Switch,
    /// Where everything keeps its files.
    pub files: PathBuf,
    own_addresses: bool,
    program: PathBuf,
    keep: bool,
}

impl World {
    /// Builds it under `files`. `own_addresses`: the hosts have addresses of their own on the LAN
    /// (in interface mode they have none). `program`: the `duotone` binary.
    pub fn build(files: &Path, own_addresses: bool, program: &Path) -> anyhow::Result<Self> {
        for name in [SWITCH, PHONE, HOSTS[0], HOSTS[1]] {
            namespaces::create(name)?;
        }
        let guard = Namespaces;
        wire_up(own_addresses)?;
        let switch = Switch::open(SWITCH)?;
        let mut world = World {
            hosts: [None, None],
            switch,
            files: files.to_owned(),
            own_addresses,
            program: program.to_owned(),
            keep: false,
        };
        std::mem::forget(guard);
        for node in [0, 1] {
            world.hosts[node] = Some(world.boot(node)?);
        }
        Ok(world)
    }

    fn boot(&self, node: usize) -> anyhow::Result<Host> {
        let files = self.files.join(NODES[node]);
        Host::boot(NODES[node], HOSTS[node], &files, &self.program)
    }

    /// A host that is on.
    pub fn host(&mut self, node: usize) -> anyhow::Result<&mut Host> {
        self.hosts[node].as_mut().ok_or_else(|| anyhow::anyhow!("{} is powered off", NODES[node]))
    }

    /// Takes a host's power: both its ports go dead in the switch, so that nothing it still says
    /// is heard; then all its processes are frozen where they stand and killed. Returns when the
    /// ports went dead.
    pub fn power_off(&mut self, node: usize) -> anyhow::Result<Instant> {
        let at = self.cut_host(node, true)?;
        if let Some(mut host) = self.hosts[node].take() {
            host.freeze_and_kill();
        }
        Ok(at)
    }

    /// Gives a host its power back: its disk is as it was, its kernel and its `/run` are new, and
    /// nothing runs on it yet. Returns when its ports work.
    pub fn power_on(&mut self, node: usize) -> anyhow::Result<Instant> {
        anyhow::ensure!(self.hosts[node].is_none(), "{} has power", NODES[node]);
        batch(HOSTS[node], &forget())?;
        batch(HOSTS[node], &interfaces(node, self.own_addresses))?;
        host::clear_volatile(&self.files.join(NODES[node]))?;
        self.hosts[node] = Some(self.boot(node)?);
        self.cut_host(node, false)
    }

    /// Drops everything on the dedicated link, or lets it through again; carriers stay up.
    pub fn cut_link(&self, cut: bool) -> anyhow::Result<Instant> {
        self.switch.set(&["a-link".to_owned(), "b-link".to_owned()], !cut)
    }

    /// Drops everything between one host and the LAN; its carrier stays up.
    pub fn cut_lan(&self, node: usize, cut: bool) -> anyhow::Result<Instant> {
        self.switch.set(&[format!("{}-lan", letter(node))], !cut)
    }

    /// Drops everything to and from one host.
    pub fn cut_host(&self, node: usize, cut: bool) -> anyhow::Result<Instant> {
        let letter = letter(node);
        self.switch.set(&[format!("{letter}-lan"), format!("{letter}-link")], !cut)
    }

    /// Drops every frame from host to host on the LAN, ARP and neighbour discovery excepted, and
    /// everything on the dedicated link: no heartbeat passes, and both hosts stay on one LAN.
    pub fn cut_paths(&self, cut: bool) -> anyhow::Result<Instant> {
        self.filter(cut.then_some("ether type arp accept\nicmpv6 type 135-136 accept\n"))
    }

    /// Drops every frame from host to host, without exception: the LAN is two, and the gateway and
    /// the phone are in both.
    pub fn split(&self, cut: bool) -> anyhow::Result<Instant> {
        self.filter(cut.then_some(""))
    }

    /// Lets nothing pass from host to host but what `excepted` accepts; `None`: everything again.
    fn filter(&self, excepted: Option<&str>) -> anyhow::Result<Instant> {
        let rules = match excepted {
            Some(rules) => format!(
                "table bridge duotone_demo {{\n\
                 chain between {{\n{rules}drop\n}}\n\
                 chain forward {{\ntype filter hook forward priority 0\n\
                 iifname \"a-lan\" oifname \"b-lan\" jump between\n\
                 iifname \"b-lan\" oifname \"a-lan\" jump between\n}}\n}}\n"
            ),
            None => "delete table bridge duotone_demo\n".to_owned(),
        };
        let at = self.cut_link(excepted.is_some())?;
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", SWITCH, "nft", "-f", "-"]);
        run_with_input(&mut nft, &rules).context("filter between the hosts (package nftables)")?;
        Ok(at)
    }

    /// Leaves everything standing when dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keep {
            self.hosts.iter_mut().filter_map(Option::take).for_each(std::mem::forget);
            return;
        }
        self.hosts = [None, None];
        drop(Namespaces);
    }
}

/// Removes the lab's namespaces when dropped. The switch's cables are deleted by name first: a
/// dead namespace is torn down lazily, and the next world needs the names at once.
struct Namespaces;

impl Drop for Namespaces {
    fn drop(&mut self) {
        for cable in ["a-lan", "a-link", "b-lan", "b-link", "phone"] {
            let _ = Command::new("ip").args(["-n", SWITCH, "link", "delete", cable]).output();
        }
        for name in [SWITCH, PHONE, HOSTS[0], HOSTS[1]] {
            let _ = namespaces::delete(name);
        }
    }
}

fn letter(node: usize) -> char {
    ['a', 'b'][node]
}

fn wire_up(own_addresses: bool) -> anyhow::Result<()> {
    let mut switch = String::new();
    for bridge in ["lan", "cable"] {
        switch += &format!(
            "link add {bridge} type bridge forward_delay 0 mcast_snooping 0\n\
             link set {bridge} up\n"
        );
    }
    let mut cable = |bridge: &str, port: &str, namespace: &str, name: &str, mac: [u8; 6]| {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        switch += &format!(
            "link add {port} type veth peer name {name} address {mac} netns {namespace}\n\
             link set {port} master {bridge} up\n"
        );
    };
    for (node, namespace) in HOSTS.iter().enumerate() {
        let link_mac = [0x02, 0xd7, 0, 0, 1, 0xa0 + node as u8];
        cable("lan", &format!("{}-lan", letter(node)), namespace, "eth0", lan_mac(node));
        cable("cable", &format!("{}-link", letter(node)), namespace, "eth1", link_mac);
    }
    cable("lan", "phone", PHONE, "eth0", [0x02, 0xd7, 0, 0, 0, 0x50]);
    switch += &format!("addr add {GATEWAY}/24 dev lan\naddr add 2001:db8::1/64 dev lan nodad\n");
    batch(SWITCH, &switch)?;
    for (node, namespace) in HOSTS.iter().enumerate() {
        batch(namespace, &interfaces(node, own_addresses))?;
    }
    batch(
        PHONE,
        &format!(
            "link set lo up\nlink set eth0 up\naddr add {PHONE_ADDRESS}/24 dev eth0\n\
             addr add 2001:db8::50/64 dev eth0 nodad\n"
        ),
    )
}

/// A host's interfaces as its own boot sets them up.
fn interfaces(node: usize, own_addresses: bool) -> String {
    let mut lines = format!(
        "link set eth0 up\nlink set eth1 up\naddr add {}/24 dev eth1\n",
        link_address(node)
    );
    if own_addresses {
        let last = 11 + node;
        lines += &format!(
            "addr add 192.0.2.{last}/24 dev eth0\naddr add 2001:db8::{last}/64 dev eth0 nodad\n"
        );
    }
    lines
}

/// What a kernel forgets with its power: addresses, and with the interfaces' state every route and
/// neighbour.
fn forget() -> String {
    ["eth0", "eth1"].map(|name| format!("link set {name} down\naddr flush dev {name}\n")).concat()
}

fn batch(namespace: &str, lines: &str) -> anyhow::Result<()> {
    run_with_input(Command::new("ip").args(["-n", namespace, "-batch", "-"]), lines).map(drop)
}
