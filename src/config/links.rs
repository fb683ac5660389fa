//! The sections `[[link]]`: heartbeat paths.

use std::net::{IpAddr, SocketAddr};

use crate::protocol::identity::NodeId;

use super::document::{At, Section};
use super::error::Report;
use super::floating::Read;
use super::nodes::{Nodes, interface};
use super::{Floating, Link, Mode};

/// Heartbeats go to this port unless the file says otherwise.
const PORT: u32 = 7331;

#[derive(Clone, Copy)]
enum Kind {
    Udp,
    Ethernet,
}

/// A link before it is known which end is ours.
pub(super) struct Path {
    interface: At<String>,
    ends: Option<([IpAddr; 2], u16)>,
}

pub(super) fn read<'t>(
    document: &mut Section<'t>,
    nodes: &Nodes<'t>,
    report: &Report<'t>,
) -> Vec<Path> {
    let sections = document.sections("link");
    if sections.is_empty() && !document.has("link") {
        report.at(0, "no heartbeat path; write at least one [[link]]");
    }
    let mut paths: Vec<Path> = Vec::new();
    for mut section in sections {
        let offset = section.offset;
        let Some(path) = path(&mut section, nodes, report) else {
            section.close();
            continue;
        };
        section.close();
        if paths.iter().any(|other| same(other, &path)) {
            report.at(offset, "[[link]]: the same link twice; remove one, or give it its own port");
        }
        paths.push(path);
    }
    paths
}

fn path<'t>(section: &mut Section<'t>, nodes: &Nodes<'t>, report: &Report<'t>) -> Option<Path> {
    let kind = section.word("kind", &[("udp", Kind::Udp), ("ethernet", Kind::Ethernet)]);
    if kind.is_none() && !section.has("kind") {
        section.missing("kind", "\"udp\" or \"ethernet\"");
    }
    let interface = interface(section, report);
    match kind {
        Some(Kind::Udp) => {
            let addresses = nodes.addresses(section, "addresses", report);
            let port = section.integer("port", 1, 65_535).map_or(PORT, |at| at.value);
            // The range above keeps the port in sixteen bits.
            let ends = addresses.zip(u16::try_from(port).ok())?;
            Some(Path { interface: interface?, ends: Some(ends) })
        }
        Some(Kind::Ethernet) => {
            for key in ["addresses", "port"] {
                if section.skip(key) {
                    section.wrong(&format!("an ethernet link has no {key}; remove the line"));
                }
            }
            Some(Path { interface: interface?, ends: None })
        }
        None => {
            // Which of them belong here cannot be told.
            section.skip("addresses");
            section.skip("port");
            None
        }
    }
}

fn same(left: &Path, right: &Path) -> bool {
    match (&left.ends, &right.ends) {
        (Some((a, port_a)), Some((b, port_b))) => a == b && port_a == port_b,
        (None, None) => left.interface.value == right.interface.value,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// One of them has addresses, or was meant to.
pub(super) fn have_addresses(paths: &[Path]) -> bool {
    paths.iter().any(|path| path.ends.is_some())
}

/// Links that cannot work with what moves, and the second path that a LAN gives for nothing.
pub(super) fn fit(paths: &mut Vec<Path>, floating: &Read, report: &Report<'_>) {
    let Floating { interface, mode, addresses, .. } = &floating.floating;
    for path in paths.iter() {
        let offset = path.interface.offset;
        let ends = path.ends.as_ref().map(|(ends, _)| ends);
        if let Some((clash, _)) =
            addresses.iter().find(|(ip, _)| ends.is_some_and(|ends| ends.contains(ip)))
        {
            report.at(
                offset,
                format!("[[link]]: {clash} is a floating address; a link needs the node's own"),
            );
        }
        if path.interface.value != *interface {
            continue;
        }
        match (mode, ends) {
            (Mode::Interface { bare: false }, _) => report.at(
                offset,
                format!(
                    "[[link]]: {interface} is down on the standby (standby_link = \"down\"); use \
                     another interface, or standby_link = \"bare\" with kind = \"ethernet\""
                ),
            ),
            (Mode::Interface { bare: true }, Some(_)) => report.at(
                offset,
                format!(
                    "[[link]]: {interface} has no address on the standby (mode = \"interface\"); \
                     write kind = \"ethernet\""
                ),
            ),
            (Mode::Interface { bare: true }, None) | (Mode::Address, _) => {}
        }
    }
    let on_lan = paths.iter().any(|path| path.interface.value == *interface);
    if floating.heartbeats && !on_lan && *mode != (Mode::Interface { bare: false }) {
        let interface = At { value: interface.clone(), offset: floating.offset };
        paths.push(Path { interface, ends: None });
    }
}

/// The links as node `me` uses them.
pub(super) fn resolved(paths: Vec<Path>, me: NodeId) -> Vec<Link> {
    paths
        .into_iter()
        .map(|Path { interface, ends }| match ends {
            Some((addresses, port)) => Link::Udp {
                interface: interface.value,
                local: SocketAddr::new(addresses[me.index()], port),
                peer: SocketAddr::new(addresses[me.peer().index()], port),
            },
            None => Link::Ethernet { interface: interface.value },
        })
        .collect()
}
