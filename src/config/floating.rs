//! The section `[floating]`: the addresses of the group `main`, and who proves that a node is on
//! their LAN.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::document::{At, Section};
use super::error::Report;
use super::nodes::{host_address, interface};
use super::{Floating, Mode};

/// The section, and what other sections need to know of it.
pub(super) struct Read {
    pub(super) floating: Floating,
    /// Where the section stands.
    pub(super) offset: usize,
    /// Nobody proves that a node is on the LAN, which `lan` arbitration needs: where, and what to
    /// write.
    pub(super) unproven: Option<(usize, &'static str)>,
    /// The LAN is a heartbeat path even if no `[[link]]` says so.
    pub(super) heartbeats: bool,
}

pub(super) fn read(mut section: Section<'_>, report: &Report<'_>) -> Option<Read> {
    let offset = section.offset;
    let interface = interface(&mut section, report);
    let mode = mode(&mut section, report);
    let addresses = addresses(&mut section, report);
    let before = report.count();
    let gateways = gateways(&mut section, &addresses, report);
    let references = references(&mut section, &addresses, &gateways, report);
    // What could not be read was meant to be one.
    let unproven =
        (references.is_empty() && report.count() == before).then_some((offset, UNPROVEN));
    let source = section.flag("source", true);
    let lifetime = section.flag("lifetime", true);
    let heartbeats = section.flag("heartbeats", true);
    let refresh = section.time("refresh");
    if let Some(At { value, offset }) = refresh
        && !value.is_zero()
        && value < Duration::from_secs(1)
    {
        report.at(offset, "refresh floods the LAN; write \"1s\" or more, or \"0s\" for never");
    }
    section.close();
    let plain = |list: Vec<At<IpAddr>>| list.into_iter().map(|at| at.value).collect();
    let floating = Floating {
        interface: interface?.value,
        mode,
        addresses: addresses.into_iter().map(|at| at.value).collect(),
        gateways: plain(gateways),
        source,
        references: plain(references),
        lifetime,
        refresh: refresh.map_or(Duration::from_secs(30), |at| at.value),
    };
    Some(Read { floating, offset, unproven, heartbeats })
}

fn mode(section: &mut Section<'_>, report: &Report<'_>) -> Mode {
    let interface = section.word("mode", &[("address", false), ("interface", true)]);
    let at = section.skip("standby_link").then(|| section.text("standby_link")).flatten();
    let bare = section.word("standby_link", &[("bare", true), ("down", false)]);
    match interface.unwrap_or(false) {
        true => Mode::Interface { bare: bare.unwrap_or(true) },
        false => {
            if let Some(at) = at {
                report.at(
                    at.offset,
                    "standby_link: only an interface that moves has one; write mode = \
                     \"interface\", or remove the line",
                );
            }
            Mode::Address
        }
    }
}

fn addresses(section: &mut Section<'_>, report: &Report<'_>) -> Vec<At<(IpAddr, u8)>> {
    let given = section.texts("addresses");
    if given.as_ref().is_none_or(Vec::is_empty) && !(given.is_some() && section.has("addresses")) {
        section.missing("addresses", "[\"192.0.2.10/24\"]");
    } else if given.as_ref().is_some_and(Vec::is_empty) {
        section
            .wrong("addresses: no floating address; write at least one, as in \"192.0.2.10/24\"");
    }
    let mut found: Vec<At<(IpAddr, u8)>> = Vec::new();
    for At { value: text, offset } in given.unwrap_or_default() {
        match address(text) {
            Ok(value) if found.iter().any(|other| other.value.0 == value.0) => {
                report.at(offset, format!("addresses: {} twice; remove one", value.0));
            }
            Ok(value) => found.push(At { value, offset }),
            Err(wrong) => report.at(offset, format!("addresses: {wrong}")),
        }
    }
    found
}

/// A host's address with its prefix length.
pub(crate) fn address(text: &str) -> Result<(IpAddr, u8), String> {
    let Some((ip, length)) = text.split_once('/') else {
        let example = if text.contains(':') { 64 } else { 24 };
        return Err(format!(
            "\"{text}\" has no prefix length; write it as in \"{text}/{example}\""
        ));
    };
    let ip = host_address(ip)?;
    let (most, usual) = if ip.is_ipv4() { (32, 24) } else { (128, 64) };
    let length = length.parse::<u8>().ok().filter(|length| (1..=most).contains(length));
    let Some(length) = length else {
        return Err(format!(
            "\"{text}\": the prefix length must be from 1 to {most}, as in \"{ip}/{usual}\""
        ));
    };
    if ip.is_loopback() {
        return Err(format!(
            "{ip} is a loopback address, which nobody else can reach; write one of the LAN"
        ));
    }
    if let IpAddr::V4(v4) = ip
        && length < 31
    {
        let host = u32::from(v4) & (u32::MAX >> length);
        let broadcast = u32::MAX >> length;
        if host == 0 || host == broadcast {
            let what = if host == 0 { "the network itself" } else { "its broadcast address" };
            let example = Ipv4Addr::from((u32::from(v4) & !broadcast) + 10.min(broadcast - 1));
            return Err(format!(
                "{text} is {what}; write a host's address, as in \"{example}/{length}\""
            ));
        }
    }
    Ok((ip, length))
}

fn gateways(
    section: &mut Section<'_>,
    addresses: &[At<(IpAddr, u8)>],
    report: &Report<'_>,
) -> Vec<At<IpAddr>> {
    let mut found: Vec<At<IpAddr>> = Vec::new();
    for At { value: text, offset } in section.texts("gateways").unwrap_or_default() {
        let Some(value) = neighbour("gateways", text, offset, addresses, report) else { continue };
        if found.iter().any(|other| other.value.is_ipv4() == value.is_ipv4()) {
            report.at(
                offset,
                format!(
                    "gateways: {value} is the second of its family; write one IPv4 and one \
                 IPv6 at most"
                ),
            );
            continue;
        }
        found.push(At { value, offset });
    }
    found
}

const UNPROVEN: &str = "[floating]: nobody proves that a node is on the LAN, and lan arbitration \
                        needs at least one host that does; write gateways = [\"…\"], or \
                        references = [\"…\"] with a host that always answers (the router, the \
                        switch)";

fn references(
    section: &mut Section<'_>,
    addresses: &[At<(IpAddr, u8)>],
    gateways: &[At<IpAddr>],
    report: &Report<'_>,
) -> Vec<At<IpAddr>> {
    let Some(given) = section.texts("references") else {
        return gateways.to_vec();
    };
    let mut found: Vec<At<IpAddr>> = Vec::new();
    for At { value: text, offset } in given {
        let Some(value) = neighbour("references", text, offset, addresses, report) else {
            continue;
        };
        if found.iter().any(|other| other.value == value) {
            report.at(offset, format!("references: {value} twice; remove one"));
            continue;
        }
        found.push(At { value, offset });
    }
    found
}

/// Another host on the LAN of the floating addresses: it is asked by ARP or ND, so it must be
/// inside one of their prefixes. A host prefix (/32, /128) tells nothing about the LAN.
pub(super) fn neighbour(
    key: &str,
    text: &str,
    offset: usize,
    addresses: &[At<(IpAddr, u8)>],
    report: &Report<'_>,
) -> Option<IpAddr> {
    let ip = match host_address(text) {
        Ok(ip) => ip,
        Err(wrong) => {
            report.at(offset, format!("{key}: {wrong}"));
            return None;
        }
    };
    if addresses.iter().any(|at| at.value.0 == ip) {
        let wrong = format!("{key}: {ip} is a floating address; name another host");
        report.at(offset, wrong);
        return None;
    }
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let family: Vec<&(IpAddr, u8)> = addresses
        .iter()
        .map(|at| &at.value)
        .filter(|(of, _)| of.is_ipv4() == ip.is_ipv4())
        .collect();
    let host_prefix =
        |&&(of, length): &&(IpAddr, u8)| length == if of.is_ipv4() { 32 } else { 128 };
    if family.is_empty() && !addresses.is_empty() {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        report.at(
            offset,
            format!("{key}: {ip}: there is no {family} floating address; add one, or remove it"),
        );
        return None;
    }
    let inside = family.iter().any(|&&network| contains(network, ip));
    if !inside && !link_local && !addresses.is_empty() && !family.iter().any(host_prefix) {
        let networks: Vec<String> =
            family.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
        report.at(
            offset,
            format!(
                "{key}: {ip} is outside of {}; write a neighbour's address, or correct the \
                 prefix length",
                networks.join(" and ")
            ),
        );
        return None;
    }
    Some(ip)
}

/// Whether `ip` lies in the prefix that `network` (a host's address and a length) stands for.
pub(crate) fn contains((network, length): (IpAddr, u8), ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let shift = 32 - u32::from(length.min(32));
            (u64::from(u32::from(network)) >> shift) == (u64::from(u32::from(ip)) >> shift)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let differing = u128::from(network) ^ u128::from(ip);
            differing.leading_zeros() >= u32::from(length.min(128))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
