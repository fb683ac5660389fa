//! What a configuration that reads well meets on this host: interface, prefixes, programs.
//!
//! It looks and reports; it changes nothing. The daemon does not need it to start.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::floating::contains;
use super::{CommandProbe, Config, Link, Mode, ProbeKind, Reach};

/// Something on this host that does not fit the configuration; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// There is no such interface.
    #[error("interface {0} does not exist on this host; `ip link` shows those that do")]
    NoInterface(String),
    /// In `address` mode the interface's own prefixes must contain the floating address.
    #[error(
        "floating address {address} is outside every prefix of {interface} ({prefixes}); correct \
         it, or give the interface an address of that network"
    )]
    OutsidePrefixes {
        /// The floating address.
        address: IpAddr,
        /// The interface.
        interface: String,
        /// What it has.
        prefixes: String,
    },
    /// A link's own address is not on its interface.
    #[error(
        "link address {address} is not on {interface} of this host; add it, or correct the link"
    )]
    NoLinkAddress {
        /// The address.
        address: IpAddr,
        /// The interface.
        interface: String,
    },
    /// A program cannot be run.
    #[error("{what}: {path} is not a program on this host; install it, or correct the path")]
    NoProgram {
        /// Who names it.
        what: String,
        /// The path.
        path: PathBuf,
    },
    /// The directory holds no database cluster.
    #[error("[postgres]: {0} holds no database cluster (no PG_VERSION); correct data_dir")]
    NoCluster(PathBuf),
    /// A user is unknown to this host.
    #[error("{what}: there is no user \"{user}\" on this host; create it, or correct the name")]
    NoUser {
        /// Who names it.
        what: String,
        /// The name.
        user: String,
    },
    /// The kernel would not say.
    #[error("the interfaces of this host cannot be read: {0}")]
    Unreadable(String),
}

/// What a look at this host has found, as sentences.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// What must be mended.
    pub findings: Vec<String>,
    /// What need not be.
    pub notes: Vec<String>,
}

/// An address of an interface, as the kernel lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The interface.
    pub interface: String,
    /// The address with its prefix length; `None` for the interface itself.
    pub address: Option<(IpAddr, u8)>,
}

/// Everything that does not fit, at this moment.
pub fn live(config: &Config) -> Vec<Finding> {
    let mut findings = match assigned() {
        Ok(assigned) => network(config, &assigned),
        Err(error) => vec![Finding::Unreadable(error.to_string())],
    };
    findings.extend(programs(config));
    findings
}

/// What does not fit between the configuration and the addresses that this host has.
pub fn network(config: &Config, assigned: &[Assigned]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let exists = |interface: &str| assigned.iter().any(|entry| entry.interface == interface);
    let of = |interface: &str| -> Vec<(IpAddr, u8)> {
        let here = assigned.iter().filter(|entry| entry.interface == interface);
        here.filter_map(|entry| entry.address).collect()
    };
    let mut missing = |interface: &str| {
        let first = !findings
            .iter()
            .any(|found| matches!(found, Finding::NoInterface(name) if name == interface));
        if !exists(interface) && first {
            findings.push(Finding::NoInterface(interface.to_owned()));
        }
    };
    for link in &config.links {
        match link {
            Link::Udp { interface, .. } | Link::Ethernet { interface } => missing(interface),
        }
    }
    let lan = &config.floating;
    missing(&lan.interface);
    for link in &config.links {
        let Link::Udp { interface, local, .. } = link else { continue };
        if exists(interface) && !of(interface).iter().any(|(ip, _)| *ip == local.ip()) {
            let (address, interface) = (local.ip(), interface.clone());
            findings.push(Finding::NoLinkAddress { address, interface });
        }
    }
    if lan.mode == Mode::Address && exists(&lan.interface) {
        // A floating address that is there already says nothing about the interface's own prefix.
        let floats = |ip: &IpAddr| lan.addresses.iter().any(|(floating, _)| floating == ip);
        let own: Vec<(IpAddr, u8)> =
            of(&lan.interface).into_iter().filter(|(ip, _)| !floats(ip)).collect();
        for (address, _) in &lan.addresses {
            if !own.iter().any(|&prefix| contains(prefix, *address)) {
                let shown: Vec<String> = own.iter().map(|(ip, n)| format!("{ip}/{n}")).collect();
                findings.push(Finding::OutsidePrefixes {
                    address: *address,
                    interface: lan.interface.clone(),
                    prefixes: if shown.is_empty() { "none".to_owned() } else { shown.join(", ") },
                });
            }
        }
    }
    findings
}

/// The addresses of this host's interfaces.
///
/// # Errors
/// The kernel's, from getifaddrs(3).
pub fn assigned() -> std::io::Result<Vec<Assigned>> {
    let listed = nix::ifaddrs::getifaddrs().map_err(std::io::Error::from)?;
    Ok(listed
        .map(|entry| {
            let ip = entry.address.as_ref().and_then(ip_of);
            let length = entry.netmask.as_ref().and_then(ip_of).map(prefix_length);
            Assigned { interface: entry.interface_name, address: ip.zip(length) }
        })
        .collect())
}

fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => u32::from(mask).leading_ones(),
        IpAddr::V6(mask) => u128::from(mask).leading_ones(),
    };
    // At most 128 ones.
    ones as u8
}

fn programs(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut program = |what: &str, path: &Path| {
        if !executable(path) {
            findings.push(Finding::NoProgram { what: what.to_owned(), path: path.to_owned() });
        }
    };
    for service in &config.services {
        if let Some(path) = service.command.first() {
            program(&format!("service {}", service.name), Path::new(path));
        }
    }
    let commands: Vec<_> = command_probes(config).collect();
    for (what, command) in &commands {
        if let Some(path) = command.command.first() {
            program(what, Path::new(path));
        }
    }
    for hook in &config.hooks {
        if let Some(path) = hook.command.first() {
            program(&format!("hook {}", hook.name), Path::new(path));
        }
    }
    if let Some(calls) = &config.calls {
        for (key, command) in
            [("live", &calls.live), ("endpoints", &calls.endpoints), ("close", &calls.close)]
        {
            if let Some(path) = command.as_ref().and_then(|words| words.first()) {
                program(&format!("[calls] {key}"), Path::new(path));
            }
        }
    }
    for device in config.fence.iter().flat_map(|fence| &fence.devices) {
        program(&format!("fence {}", device.name), &device.agent);
    }
    if let Some(postgres) = &config.postgres {
        for name in ["postgres", "pg_ctl", "pg_controldata", "pg_rewind"] {
            program("[postgres]", &postgres.bin_dir.join(name));
        }
    }
    let mut user = |what: String, user: &str| {
        // An unreadable user database is not a missing user.
        if let Ok(None) = nix::unistd::User::from_name(user) {
            findings.push(Finding::NoUser { what, user: user.to_owned() });
        }
    };
    for service in &config.services {
        if let Some(name) = &service.user {
            user(format!("service {}", service.name), name);
        }
    }
    for hook in &config.hooks {
        user(format!("hook {}", hook.name), &hook.user);
    }
    for (what, command) in commands {
        if let Some(name) = &command.user {
            user(what, name);
        }
    }
    if let Some(postgres) = &config.postgres {
        user("[postgres]".to_owned(), &postgres.os_user);
        let version = postgres.data_dir.join("PG_VERSION");
        if matches!(version.try_exists(), Ok(false)) {
            findings.push(Finding::NoCluster(postgres.data_dir.clone()));
        }
    }
    findings
}

/// Every command that is a probe, and whose it is.
fn command_probes(config: &Config) -> impl Iterator<Item = (String, &CommandProbe)> {
    let of_services = config.services.iter().flat_map(|service| {
        let what = format!("probe of service {}", service.name);
        service.probes.iter().map(move |probe| (what.clone(), probe))
    });
    let remote = config.remote_checks.iter().flat_map(|checks| &checks.probes);
    let gateways = config.gateways.iter().filter_map(|gateway| match &gateway.reach {
        Reach::Probe(probe) => Some((format!("gateway {}", gateway.name), &**probe)),
        Reach::Lan { .. } => None,
    });
    let all = of_services
        .chain(remote.map(|probe| ("[[remote_checks.probe]]".to_owned(), probe)))
        .chain(gateways);
    all.filter_map(|(what, probe)| match &probe.kind {
        ProbeKind::Command(command) => Some((what, command)),
        _ => None,
    })
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
