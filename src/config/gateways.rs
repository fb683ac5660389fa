//! The sections `[[gateway]]`: hosts that the PBX needs (the router, a provider's gateway, a trunk),
//! asked by both nodes whether they are reached.

use std::net::IpAddr;
use std::time::Duration;

use super::document::{At, Section};
use super::error::Report;
use super::floating::neighbour;
use super::nodes::bad_name;
use super::probes::{self, Defaults};
use super::{Floating, Probe};

/// A host that is asked whether it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// For people; unique.
    pub name: String,
    /// How it is asked.
    pub reach: Reach,
}

/// How a gateway is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// By ARP or neighbour discovery: it is on the LAN, and no address is needed to ask it.
    Lan {
        /// Its address.
        target: IpAddr,
        /// Between two questions.
        interval: Duration,
        /// Questions in a row without an answer until it counts as not reached.
        fall: u32,
        /// Answers in a row until it counts as reached.
        rise: u32,
    },
    /// As a service is.
    Probe(Box<Probe>),
}

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);

/// Reads all of them; those with `reference = true` join the references of `[floating]`. Also tells
/// whether there is one.
pub(super) fn read(
    document: &mut Section<'_>,
    mut floating: Option<&mut Floating>,
    report: &Report<'_>,
) -> (Vec<Gateway>, bool) {
    let (mut found, mut proves): (Vec<Gateway>, bool) = (Vec::new(), false);
    for mut section in document.sections("gateway") {
        let name = name(&mut section, &found, report);
        let addresses = floating.as_ref().map(|floating| floating.addresses.clone());
        let reach = reach(&mut section, &addresses.unwrap_or_default(), report);
        let offset = section.offset;
        if section.flag("reference", false) {
            match (&reach, &mut floating) {
                (Some(Reach::Lan { target, .. }), Some(floating)) => {
                    proves = true;
                    if !floating.references.contains(target) {
                        floating.references.push(*target);
                    }
                }
                (Some(Reach::Probe(_)), _) => report.at(
                    offset,
                    "[[gateway]]: a reference is asked by ARP or ND; write kind = \"arp\", or remove \
                     the line with reference",
                ),
                // Reported already.
                (None, _) | (Some(Reach::Lan { .. }), None) => {}
            }
        }
        section.close();
        if let (Some(name), Some(reach)) = (name, reach) {
            found.push(Gateway { name, reach });
        }
    }
    (found, proves)
}

fn name(section: &mut Section<'_>, others: &[Gateway], report: &Report<'_>) -> Option<String> {
    let Some(At { value, offset }) = section.text("name") else {
        if !section.has("name") {
            section.missing("name", "\"itsp\"");
        }
        return None;
    };
    if let Some(wrong) = bad_name(value, 64, false) {
        report.at(offset, format!("[[gateway]]: name: {wrong}"));
    }
    if others.iter().any(|other| other.name == value) {
        report.at(offset, format!("[[gateway]]: two gateways are named \"{value}\"; rename one"));
    }
    Some(value.to_owned())
}

fn reach(
    section: &mut Section<'_>,
    addresses: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<Reach> {
    let arp = std::iter::once(("arp", true));
    let words: Vec<_> = arp.chain(probes::kinds().map(|kind| (kind, false))).collect();
    if !section.has("kind") {
        section.missing("kind", "\"arp\", \"icmp\" or \"sip-udp\"");
    }
    match section.word("kind", &words) {
        Some(true) => lan(section, addresses, report),
        Some(false) => {
            let defaults = Defaults { interval: INTERVAL, timeout: TIMEOUT, fall: 3, not_yet: &[] };
            probes::read(section, defaults, report).map(Box::new).map(Reach::Probe)
        }
        None => {
            probes::pass_over(section);
            None
        }
    }
}

fn lan(
    section: &mut Section<'_>,
    addresses: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<Reach> {
    let interval = section.time_or("interval", INTERVAL);
    if interval < TIMEOUT {
        section.wrong("interval is too short; write \"1s\" or more");
    }
    let fall = section.integer("fall", 1, 1000).map_or(3, |at| at.value);
    let rise = section.integer("rise", 1, 1000).map_or(1, |at| at.value);
    let Some(At { value, offset }) = section.text("target") else {
        if !section.has("target") {
            section.missing("target", "\"192.0.2.1\"");
        }
        return None;
    };
    let addresses: Vec<_> = addresses.iter().map(|&value| At { value, offset: 0 }).collect();
    let target = neighbour("target", value, offset, &addresses, report)?;
    Some(Reach::Lan { target, interval, fall, rise })
}
