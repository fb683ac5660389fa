//! What `ocf:duotone:floating` is told.

use std::net::IpAddr;
use std::time::Duration;

use super::super::call::Call;
use super::super::parameter::{Kind, Parameter, Reader};
use crate::adapters::owner::Resource;
use crate::config::floating::{address, contains};
use crate::config::nodes::host_address;
use crate::config::{Floating, Mode};

const INTERFACE: Parameter = Parameter {
    name: "interface",
    short: "The LAN interface",
    long: "The interface on which the addresses are, the same on every host, such as eth0.",
    ..Parameter::REQUIRED
};
const ADDRESSES: Parameter = Parameter {
    name: "addresses",
    unique: true,
    short: "The floating addresses, with prefix length",
    long: "IPv4 and IPv6 addresses with their prefix length, separated by spaces: \
           \"192.0.2.10/24 2001:db8::10/64\".",
    ..Parameter::REQUIRED
};
const GATEWAYS: Parameter = Parameter {
    name: "gateways",
    default: Some(""),
    reloadable: true,
    short: "Default gateways that move with the addresses",
    long: "At most one IPv4 and one IPv6 gateway; a default route through each exists where the \
           addresses are. Empty: routes are left alone.",
    ..Parameter::REQUIRED
};
const SOURCE: Parameter = Parameter {
    name: "source",
    kind: Kind::Boolean,
    default: Some("true"),
    reloadable: true,
    short: "What leaves by the gateways comes from the floating address",
    long: "The default routes name the first floating address of their family as source, so that \
           a PBX registers its trunks from it.",
    ..Parameter::REQUIRED
};
const REFERENCES: Parameter = Parameter {
    name: "references",
    default: Some(""),
    reloadable: true,
    short: "Hosts whose answer proves that the LAN works",
    long: "Asked by ARP or neighbour discovery in a monitor of depth 10. Empty: the gateways.",
    ..Parameter::REQUIRED
};
const MODE: Parameter = Parameter {
    name: "mode",
    default: Some("address"),
    short: "What moves: address or interface",
    long: "\"address\": addresses on an interface that is up on every host. \"interface\": the \
           interface itself; the host that does not have the resource keeps it as standby_link \
           says.",
    ..Parameter::REQUIRED
};
const STANDBY_LINK: Parameter = Parameter {
    name: "standby_link",
    default: Some("bare"),
    short: "The interface of the other host: bare or down",
    long: "With mode=interface: \"bare\" keeps it up without an address (no link negotiation at a \
           takeover), \"down\" sets it down.",
    ..Parameter::REQUIRED
};
const LIFETIME: Parameter = Parameter {
    name: "lifetime",
    default: Some("0"),
    reloadable: true,
    short: "Addresses expire unless a monitor renews them",
    long: "An address then disappears by itself so long after the cluster has stopped to monitor \
           it, for clusters without fencing. At least twice the interval of the monitor. 0: it \
           stays until it is stopped.",
    ..Parameter::REQUIRED
};
const CHECK: Parameter = Parameter {
    name: "check",
    kind: Kind::Boolean,
    default: Some("true"),
    reloadable: true,
    short: "Ask the LAN before a start whether another host has the address",
    long: "Three questions within 150 ms. The start fails when one is answered.",
    ..Parameter::REQUIRED
};
const REFRESH: Parameter = Parameter {
    name: "refresh",
    default: Some("30s"),
    reloadable: true,
    short: "How often a monitor announces the addresses again",
    long: "For neighbours that missed the announcement of the start. 0: never.",
    ..Parameter::REQUIRED
};

/// All of them.
pub(super) const ALL: &[Parameter] = &[
    INTERFACE,
    ADDRESSES,
    GATEWAYS,
    SOURCE,
    REFERENCES,
    MODE,
    STANDBY_LINK,
    LIFETIME,
    CHECK,
    REFRESH,
];

/// What is to be held, as it was read.
pub(super) struct Asked {
    pub call: Call,
    pub floating: Floating,
    pub lifetime: Duration,
    pub check: bool,
}

impl Asked {
    pub fn read(reader: &mut Reader<'_>) -> Asked {
        let call = Call::read(reader);
        let mut addresses = hosts(reader, &ADDRESSES, address);
        let gateways = neighbours(reader, &GATEWAYS, &addresses);
        for ipv4 in [true, false] {
            if gateways.iter().filter(|gateway| gateway.is_ipv4() == ipv4).count() > 1 {
                reader.wrong("gateways has two of one family; give one IPv4 and one IPv6 at most");
            }
        }
        let references = neighbours(reader, &REFERENCES, &addresses);
        let references = if references.is_empty() { gateways.clone() } else { references };
        own_one(reader, &call, &mut addresses);
        let lifetime = reader.time(&LIFETIME);
        if !lifetime.is_zero() && lifetime < Duration::from_secs(2) {
            reader.refuse(&LIFETIME, &format!("{lifetime:?}"), "0, or two seconds or more");
        }
        let floating = Floating {
            interface: reader.text(&INTERFACE),
            mode: mode(reader),
            addresses,
            gateways,
            source: reader.flag(&SOURCE),
            references,
            lifetime: !lifetime.is_zero(),
            refresh: reader.time(&REFRESH),
        };
        Asked { call, floating, lifetime, check: reader.flag(&CHECK) }
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.floating.addresses.iter().map(|(address, _)| *address)
    }

    pub fn resources(&self) -> Vec<Resource> {
        self.addresses().map(Resource::Address).collect()
    }
}

/// An instance of a clone has one of the addresses, by its number.
fn own_one(reader: &mut Reader<'_>, call: &Call, addresses: &mut Vec<(IpAddr, u8)>) {
    let Some(number) = call.number else { return };
    if !call.globally_unique {
        reader.wrong(
            "every instance of this clone would hold the same addresses; set the clone's meta \
             attribute globally-unique=true",
        );
        return;
    }
    match addresses.get(number).copied() {
        Some(own) => *addresses = vec![own],
        None => reader.wrong(format!(
            "instance {number} has no address of its own; set clone-max={}",
            addresses.len()
        )),
    }
}

fn mode(reader: &mut Reader<'_>) -> Mode {
    let link = reader.text(&STANDBY_LINK);
    if link != "bare" && link != "down" {
        reader.refuse(&STANDBY_LINK, &link, "bare or down");
    }
    let mode = reader.text(&MODE);
    match mode.as_str() {
        "address" => Mode::Address,
        "interface" => Mode::Interface { bare: link == "bare" },
        _ => {
            reader.refuse(&MODE, &mode, "address or interface");
            Mode::Address
        }
    }
}

fn hosts<T>(
    reader: &mut Reader<'_>,
    parameter: &Parameter,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut found = Vec::new();
    for word in reader.words(parameter) {
        match read(&word) {
            Ok(value) => found.push(value),
            Err(wrong) => reader.wrong(format!("{}: {wrong}", parameter.name)),
        }
    }
    found
}

/// Other hosts on the LAN of the floating addresses.
fn neighbours(
    reader: &mut Reader<'_>,
    parameter: &Parameter,
    addresses: &[(IpAddr, u8)],
) -> Vec<IpAddr> {
    let link_local = |ip| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    hosts(reader, parameter, |text| {
        let ip = host_address(text)?;
        if addresses.iter().any(|(floating, _)| *floating == ip) {
            return Err(format!("{ip} is a floating address; name another host"));
        }
        let inside = addresses.iter().any(|network| contains(*network, ip));
        let host_prefix = |&(of, length): &(IpAddr, u8)| {
            of.is_ipv4() == ip.is_ipv4() && length == if of.is_ipv4() { 32 } else { 128 }
        };
        match inside || link_local(ip) || addresses.iter().any(host_prefix) {
            true => Ok(ip),
            false => Err(format!("{ip} is in the network of no floating address")),
        }
    })
}
