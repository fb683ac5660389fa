//! What a cluster is to run for a pair: resources, and what holds between them.

use std::net::IpAddr;

use crate::config::unit::time;
use crate::config::{Config, Mode, Postgres, RunOn, Runner, Service, Start};
use crate::ocf::AGENTS;
use crate::ocf::action::{Action, Offer};
use crate::ocf::pbx::word;
use crate::protocol::identity::NodeId;
use crate::protocol::node::Durability;

/// The group that moves as a whole.
pub(super) const MAIN: &str = "duotone-main";
/// The database on both hosts.
pub(super) const DATABASE: &str = "duotone-db";
/// The floating addresses.
const ADDRESS: &str = "duotone-address";

/// One resource.
pub(super) struct Resource {
    pub id: String,
    /// `ocf:duotone:NAME`, `stonith:NAME` or `systemd:UNIT`.
    pub agent: String,
    pub parameters: Vec<(String, String)>,
    pub operations: Vec<Offer>,
}

/// A resource that cuts the power of `node`.
pub(super) struct Fence {
    pub resource: Resource,
    pub node: String,
}

/// All of it.
pub(super) struct Plan {
    pub pair: String,
    pub fences: Vec<Fence>,
    pub database: Option<Resource>,
    /// Services that run on both hosts.
    pub clones: Vec<Resource>,
    /// Of [`MAIN`], in the order of their start.
    pub main: Vec<Resource>,
    /// Services that a cluster cannot have so: of the standby alone.
    pub left_out: Vec<String>,
    /// Probes that the agent does not know.
    pub left_unasked: Vec<String>,
}

impl Plan {
    /// From the configuration as each node reads it.
    pub fn of(both: &[Config; 2]) -> Plan {
        let config = &both[0];
        let services = |run_on, start| {
            let of = config.services.iter().filter(move |it| it.run_on == run_on);
            of.filter(move |it| it.start == start).map(pbx)
        };
        let before = services(RunOn::Active, Start::BeforeAddress);
        let after = services(RunOn::Active, Start::AfterAddress);
        let probes = config.services.iter().flat_map(|it| &it.probes);
        let left_unasked = probes.filter(|probe| word(&probe.kind).is_none());
        let left_out = config.services.iter().filter(|it| it.run_on == RunOn::Standby);
        Plan {
            pair: config.pair.clone(),
            fences: fences(both),
            database: config.postgres.as_ref().map(|postgres| database(both, postgres)),
            clones: config.services.iter().filter(|it| it.run_on == RunOn::Both).map(pbx).collect(),
            main: before.chain([address(config)]).chain(after).collect(),
            left_out: left_out.map(|it| it.name.clone()).collect(),
            left_unasked: left_unasked.map(|probe| probe.kind.to_string()).collect(),
        }
    }
}

/// Without the parameters that are what the agent takes anyway.
fn resource(id: &str, agent: &str, parameters: Vec<(&str, String)>) -> Resource {
    let found = AGENTS.iter().find(|it| it.name == agent);
    let default = |name: &str| {
        let parameters = found.map_or(&[][..], |agent| agent.parameters);
        parameters.iter().find(|it| it.name == name).and_then(|it| it.default)
    };
    let given = parameters.into_iter();
    let given = given.filter(|(name, value)| default(name).unwrap_or("") != value.as_str());
    let asked_for = |offer: &&Offer| {
        !matches!(offer.action, Action::MetaData | Action::ValidateAll | Action::ReloadAgent)
    };
    Resource {
        id: id.to_owned(),
        agent: format!("ocf:duotone:{agent}"),
        parameters: given.map(|(name, value)| (name.to_owned(), value)).collect(),
        operations: found
            .map(|agent| agent.offers.iter().filter(asked_for).copied().collect())
            .unwrap_or_default(),
    }
}

fn address(config: &Config) -> Resource {
    let floating = &config.floating;
    let (mode, link) = match floating.mode {
        Mode::Address => ("address", "bare"),
        Mode::Interface { bare: true } => ("interface", "bare"),
        Mode::Interface { bare: false } => ("interface", "down"),
    };
    let addresses = floating.addresses.iter().map(|(ip, length)| format!("{ip}/{length}"));
    let list = |list: &[IpAddr]| list.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
    let references = match floating.references == floating.gateways {
        true => String::new(),
        false => list(&floating.references),
    };
    let parameters = vec![
        ("interface", floating.interface.clone()),
        ("addresses", addresses.collect::<Vec<_>>().join(" ")),
        ("gateways", list(&floating.gateways)),
        ("source", floating.source.to_string()),
        ("references", references),
        ("mode", mode.to_owned()),
        ("standby_link", link.to_owned()),
        ("refresh", time(floating.refresh)),
    ];
    resource(ADDRESS, "floating", parameters)
}

fn pbx(service: &Service) -> Resource {
    if let Runner::Unit(unit) = &service.runner {
        // The cluster has an agent of its own for units; it asks no probes.
        let (id, agent) = (format!("duotone-{}", service.name), format!("systemd:{unit}"));
        return Resource { id, agent, parameters: Vec::new(), operations: Vec::new() };
    }
    let environment = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let words = service.probes.iter().filter_map(|probe| word(&probe.kind));
    let timeouts = service.probes.iter().map(|probe| probe.timeout);
    let mut parameters = vec![
        ("command", quoted(service.command.iter().cloned())),
        ("user", service.user.clone().unwrap_or_default()),
        ("directory", service.directory.display().to_string()),
        ("environment", quoted(environment)),
        ("probes", words.collect::<Vec<_>>().join(" ")),
        ("stop_timeout", time(service.stop_timeout)),
    ];
    parameters.extend(timeouts.max().map(|timeout| ("probe_timeout", time(timeout))));
    resource(&format!("duotone-{}", service.name), "pbx", parameters)
}

/// Words as the agent splits them.
fn quoted(words: impl Iterator<Item = String>) -> String {
    let quoted = words.map(|word| {
        let plain = |c: char| !c.is_whitespace() && c != '"' && c != '\'';
        match (word.is_empty(), word.chars().all(plain), word.contains('\'')) {
            (false, true, _) => word,
            (_, _, false) => format!("'{word}'"),
            (_, _, true) => format!("\"{word}\""),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn database(both: &[Config; 2], postgres: &Postgres) -> Resource {
    // What each reads of the other.
    let host = |node: NodeId| {
        let config = &both[node.peer().index()];
        let host = config.postgres.as_ref().map_or(postgres.peer_host, |it| it.peer_host);
        format!("{}={host}", config.peer_name())
    };
    let durability = match both[0].durability {
        Durability::Strict => "strict",
        Durability::Available => "available",
        Durability::Async => "async",
    };
    let passfile = postgres.passfile.as_ref().map(|path| path.display().to_string());
    let parameters = vec![
        ("data_dir", postgres.data_dir.display().to_string()),
        ("bin_dir", postgres.bin_dir.display().to_string()),
        ("hosts", NodeId::ALL.map(host).join(" ")),
        ("durability", durability.to_owned()),
        ("os_user", postgres.os_user.clone()),
        ("socket_dir", postgres.socket_dir.display().to_string()),
        ("port", postgres.port.to_string()),
        ("user", postgres.user.clone()),
        ("database", postgres.database.clone()),
        ("replication_user", postgres.replication_user.clone()),
        ("passfile", passfile.unwrap_or_default()),
        ("options", postgres.options.join(" ")),
        ("salvage_dir", postgres.salvage_dir.display().to_string()),
        ("salvage_exclude", postgres.salvage_exclude.join(" ")),
    ];
    resource(DATABASE, "postgres", parameters)
}

fn fences(both: &[Config; 2]) -> Vec<Fence> {
    let mut found = Vec::new();
    for config in both {
        let Some(fence) = &config.fence else { continue };
        let node = config.peer_name().to_owned();
        for device in &fence.devices {
            let mut parameters = device.options.clone();
            parameters.extend(device.of_peer.clone());
            if let Some(file) = &device.password_file {
                parameters.push(("password".into(), format!("CONTENT-OF-{}", file.display())));
            }
            parameters.push(("pcmk_host_list".into(), node.clone()));
            let agent = device.agent.file_name().unwrap_or_default().to_string_lossy();
            let seconds = u32::try_from(fence.monitor.as_secs()).unwrap_or(u32::MAX).max(1);
            let monitor = Offer { interval: seconds, ..Offer::once(Action::Monitor, 60) };
            let resource = Resource {
                id: format!("fence-{node}-{}", device.name),
                agent: format!("stonith:{agent}"),
                parameters,
                operations: vec![monitor],
            };
            found.push(Fence { resource, node: node.clone() });
        }
    }
    found
}
