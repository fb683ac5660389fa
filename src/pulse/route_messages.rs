//! The rtnetlink(7) messages for addresses and default routes: written and read.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Change;

/// The mark on our routes (`ip route show proto 73`), so that nobody else's is removed.
pub(super) const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(73);

/// The metric of our IPv6 default route: before any other. For IPv4 it is 0 and the route is put
/// before those of the same metric; in IPv6 that would make it one path of several.
const IPV6_METRIC: u32 = 1;

/// An address with its prefix length.
pub(super) type AddressKey = (IpAddr, u8);

/// A default route of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RouteKey {
    pub gateway: IpAddr,
    pub source: Option<IpAddr>,
}

/// What shall become of an address or a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// There, and for this many seconds from now, or for ever.
    Present { lifetime: Option<u32> },
    /// Not there.
    Gone,
}

/// Adds (or renews) or removes an address.
pub(super) fn floating_address(index: u32, address: IpAddr, prefix: u8, wanted: Wanted) -> Change {
    let mut message = AddressMessage::default();
    message.header.family = family(address.is_ipv4());
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    let Wanted::Present { lifetime } = wanted else {
        return Change { flags: 0, message: RouteNetlinkMessage::DelAddress(message) };
    };
    match address {
        IpAddr::V4(address) if prefix < 31 => {
            let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            let broadcast = Ipv4Addr::from(u32::from(address) | hosts);
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    if let Some(seconds) = lifetime {
        let mut life = CacheInfo::default();
        life.ifa_valid = seconds;
        life.ifa_preferred = seconds;
        message.attributes.push(AddressAttribute::CacheInfo(life));
    }
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    Change { flags, message: RouteNetlinkMessage::NewAddress(message) }
}

/// Adds or removes our default route through a gateway. (A removal ignores the source.)
///
/// An IPv4 route needs no lifetime of its own: the kernel takes away routes whose source address
/// goes, and all routes of an interface that loses its last address. An IPv6 route gets one.
pub(super) fn default_route(
    index: u32,
    gateway: IpAddr,
    source: Option<IpAddr>,
    wanted: Wanted,
) -> Change {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway.is_ipv4());
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = ROUTE_PROTOCOL;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::Gateway(gateway.into()));
    if gateway.is_ipv6() {
        message.attributes.push(RouteAttribute::Priority(IPV6_METRIC));
    }
    let Wanted::Present { lifetime } = wanted else {
        return Change { flags: 0, message: RouteNetlinkMessage::DelRoute(message) };
    };
    if let Some(source) = source {
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    if let (IpAddr::V6(_), Some(seconds)) = (gateway, lifetime) {
        message.attributes.push(RouteAttribute::Expires(seconds));
    }
    Change { flags: NLM_F_CREATE, message: RouteNetlinkMessage::NewRoute(message) }
}

/// Sets `net.ipv4.conf.<interface>.promote_secondaries`: without it, an IPv4 address that goes
/// (by removal or by expiry) takes with it every later address of the same prefix, the host's own
/// included.
pub(super) fn promote_secondaries(index: u32) -> Change {
    let mut settings = InetDevConf::default();
    settings.promote_secondaries = 1;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
        AfSpecInet::DevConfRequest(settings),
    ])]));
    Change { flags: 0, message: RouteNetlinkMessage::SetLink(message) }
}

/// Asks for all addresses of an interface.
pub(super) fn addresses_of(index: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    RouteNetlinkMessage::GetAddress(message)
}

/// Asks for our routes through an interface.
pub(super) fn default_routes_of(index: u32, ipv4: bool) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(ipv4);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = ROUTE_PROTOCOL;
    message.attributes.push(RouteAttribute::Oif(index));
    RouteNetlinkMessage::GetRoute(message)
}

/// An address of the interface, and whether it can be used.
pub(super) fn read_address(
    message: &RouteNetlinkMessage,
    index: u32,
) -> Option<(AddressKey, bool)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    if message.header.index != index {
        return None;
    }
    let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(found) => flags = *found,
            _ => {}
        }
    }
    let usable = !flags.intersects(AddressFlags::Dadfailed | AddressFlags::Tentative);
    Some(((local.or(address)?, message.header.prefix_len), usable))
}

/// A default route of ours through the interface.
pub(super) fn read_route(message: &RouteNetlinkMessage, index: u32) -> Option<RouteKey> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = &message.header;
    if header.destination_prefix_length != 0 || header.protocol != ROUTE_PROTOCOL {
        return None;
    }
    let (mut gateway, mut source, mut through) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(found) => gateway = ip(found),
            RouteAttribute::PrefSource(found) => source = ip(found),
            RouteAttribute::Oif(found) => through = Some(*found),
            _ => {}
        }
    }
    (through == Some(index)).then_some(RouteKey { gateway: gateway?, source })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn family(ipv4: bool) -> AddressFamily {
    if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
