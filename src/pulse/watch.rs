//! The kernel's notifications of changed links, addresses and routes (rtnetlink(7)), for one
//! interface. Never blocks; what a change means is for the one who then looks.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::netlink::{BUFFER_BYTES, Link, Messages, NetlinkError};

/// Notifications read in one go.
const NOTIFICATIONS_MAX: usize = 4096;
/// Multicast groups of rtnetlink(7): `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`,
/// `_IPV6_IFADDR`, `_IPV6_ROUTE`.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// The socket that hears of changes of links, addresses and routes.
pub(super) struct Watch {
    socket: Socket,
    received: Vec<u8>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What the notifications since the last reading were about.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Noticed {
    /// The interface, its addresses or a route through it.
    pub interface: bool,
    /// The last thing said about the link itself: `Some(None)` when it went away.
    pub link: Option<Option<Link>>,
}

impl Watch {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Watch { socket, received: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads what is queued. What cannot be read, or was lost because the queue ran over, counts
    /// as a change: the caller looks for itself.
    pub fn drain(&mut self, name: &str, mut index: Option<u32>) -> Noticed {
        let mut noticed = Noticed::default();
        for _ in 0..NOTIFICATIONS_MAX {
            self.received.clear();
            match self.socket.recv(&mut self.received, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return noticed,
                Err(_) => {
                    noticed.interface = true;
                    continue;
                }
            }
            for message in Messages::new(&self.received) {
                match message.map(|message| message.payload) {
                    Ok(NetlinkPayload::InnerMessage(inner)) => {
                        notice(&inner, name, &mut index, &mut noticed);
                    }
                    Ok(NetlinkPayload::Done(_) | NetlinkPayload::Noop) => {}
                    Ok(_) | Err(_) => noticed.interface = true,
                }
            }
        }
        noticed
    }
}

fn notice(
    message: &RouteNetlinkMessage,
    name: &str,
    index: &mut Option<u32>,
    noticed: &mut Noticed,
) {
    match message {
        // Of a bridge's or a protocol's view of the link, its end is not the link's end.
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family != AddressFamily::Unspec => {}
        RouteNetlinkMessage::NewLink(link) => {
            let named = interface_name(link) == Some(name);
            if named {
                *index = Some(link.header.index);
                noticed.interface = true;
                noticed.link = Some(Some(Link::read(link)));
            } else if *index == Some(link.header.index) {
                // Renamed: what bore the name bears it no more.
                *index = None;
                noticed.interface = true;
                noticed.link = Some(None);
            }
        }
        RouteNetlinkMessage::DelLink(link) if *index == Some(link.header.index) => {
            *index = None;
            noticed.interface = true;
            noticed.link = Some(None);
        }
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            noticed.interface |= *index == Some(address.header.index);
        }
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            noticed.interface |= route.attributes.iter().any(
                |attribute| matches!(attribute, RouteAttribute::Oif(oif) if Some(*oif) == *index),
            );
        }
        _ => {}
    }
}

fn interface_name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noticed(message: RouteNetlinkMessage) -> Noticed {
        let mut noticed = Noticed::default();
        notice(&message, "eth0", &mut Some(7), &mut noticed);
        noticed
    }

    fn link(index: u32, name: &str, family: AddressFamily) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.interface_family = family;
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link
    }

    #[test]
    fn the_end_of_the_interface_is_told_from_the_end_of_its_bridge() {
        let (whole, bridge) = (AddressFamily::Unspec, AddressFamily::Bridge);
        let gone = Noticed { interface: true, link: Some(None) };
        assert_eq!(noticed(RouteNetlinkMessage::DelLink(link(7, "eth0", whole))), gone);
        assert_eq!(noticed(RouteNetlinkMessage::NewLink(link(7, "lan0", whole))), gone);
        let other = Noticed::default();
        assert_eq!(noticed(RouteNetlinkMessage::DelLink(link(7, "eth0", bridge))), other);
        assert_eq!(noticed(RouteNetlinkMessage::DelLink(link(8, "eth1", whole))), other);
    }

    #[test]
    fn a_new_interface_of_the_name_is_the_one_from_then_on() {
        let link = link(9, "eth0", AddressFamily::Unspec);
        let found = noticed(RouteNetlinkMessage::NewLink(link)).link.flatten();
        assert_eq!(found.map(|link| link.index), Some(9));
    }
}
