//! The three rtnetlink messages that the lab needs, by hand: a bridge port's state, a new address,
//! and reading address changes (rtnetlink(7)). Synchronous, no runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const REQUEST_ACK: u16 = 0x1 | 0x4;
const CREATE_REPLACE: u16 = 0x400 | 0x100;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;

/// A socket in the namespace of the thread that opened it.
pub struct Netlink(Socket);

impl Netlink {
    /// Opens it for requests.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink(socket))
    }

    /// Forwarding or disabled, at once and without a change of carrier (the bridge drops every
    /// frame of a disabled port).
    pub fn set_port_forwarding(&self, port: &str, forwarding: bool) -> io::Result<()> {
        let index = if_nametoindex(port)?;
        // struct ifinfomsg with family AF_BRIDGE, then IFLA_PROTINFO { IFLA_BRPORT_STATE }.
        let mut body = vec![libc::AF_BRIDGE as u8, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        let state = if forwarding { 3u8 } else { 0 };
        let nested = attribute(1, &[state]);
        body.extend(attribute(12 | 0x8000, &nested));
        self.request(RTM_SETLINK, 0, &body)
    }

    /// Adds or replaces an address (no duplicate address detection).
    pub fn add_address(&self, interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
        };
        let mut body = vec![family, prefix, IFA_F_NODAD, 0];
        body.extend(if_nametoindex(interface)?.to_ne_bytes());
        body.extend(attribute(IFA_LOCAL, &octets));
        body.extend(attribute(IFA_ADDRESS, &octets));
        self.request(RTM_NEWADDR, CREATE_REPLACE, &body)
    }

    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend((16 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST_ACK | flags).to_ne_bytes());
        message.extend(1u32.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        self.0.send(&message, 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        match (u16_at(&answer, 4), i32_at(&answer, 16)) {
            (Some(NLMSG_ERROR), Some(0)) => Ok(()),
            (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
            _ => Err(io::Error::other("unexpected netlink answer")),
        }
    }
}

/// An address that appeared, was renewed, or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressChange {
    /// Which.
    pub address: IpAddr,
    /// It is there now.
    pub present: bool,
}

/// A socket that hears of every address change in its namespace.
pub fn address_monitor() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.add_membership(libc::RTNLGRP_IPV4_IFADDR)?;
    socket.add_membership(libc::RTNLGRP_IPV6_IFADDR)?;
    Ok(socket)
}

/// The address changes in one datagram from the kernel; what is not one is passed over.
pub fn address_changes(mut datagram: &[u8]) -> Vec<AddressChange> {
    let mut changes = Vec::new();
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let length = length as usize;
        if length < 16 || length > datagram.len() {
            break;
        }
        if matches!(kind, RTM_NEWADDR | RTM_DELADDR)
            && let Some(address) = address_of(&datagram[16..length])
        {
            changes.push(AddressChange { address, present: kind == RTM_NEWADDR });
        }
        datagram = &datagram[((length + 3) & !3).min(datagram.len())..];
    }
    changes
}

/// IFA_LOCAL where there is one (IPv4), else IFA_ADDRESS.
fn address_of(message: &[u8]) -> Option<IpAddr> {
    let mut rest = message.get(8..)?;
    let mut found = None;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = length as usize;
        let value = rest.get(4..length)?;
        let address = match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(|v4| IpAddr::V4(Ipv4Addr::from(v4))),
            16 => <[u8; 16]>::try_from(value).ok().map(|v6| IpAddr::V6(Ipv6Addr::from(v6))),
            _ => None,
        };
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
            found = address.or(found);
        }
        rest = rest.get((length + 3) & !3..).unwrap_or_default();
    }
    found
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + value.len());
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize((bytes.len() + 3) & !3, 0);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(|value| value as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_message() {
        let mut message = vec![2u8, 24, 0, 0, 3, 0, 0, 0];
        message.extend(attribute(IFA_ADDRESS, &[192, 0, 2, 1]));
        message.extend(attribute(IFA_LOCAL, &[192, 0, 2, 10]));
        let mut datagram = (16 + message.len() as u32).to_ne_bytes().to_vec();
        datagram.extend(RTM_DELADDR.to_ne_bytes());
        datagram.extend([0; 10]);
        datagram.extend(&message);
        let expected = AddressChange { address: [192, 0, 2, 10].into(), present: false };
        assert_eq!(address_changes(&datagram), [expected]);
        for end in 0..datagram.len() {
            assert_eq!(address_changes(&datagram[..end]), [], "cut at {end}");
        }
    }
}
