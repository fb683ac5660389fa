//! The sockets with which one interface is asked and heard.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use socket2::{Domain, Socket, Type};

use super::frames::{FrameSocket, Mac};
use super::probe::Topics;
use super::{arp, ndp};

/// Sockets on one interface, for as long as it has this index and hardware address.
#[derive(Debug)]
pub struct Sockets {
    /// The interface's index.
    pub index: u32,
    /// The interface's hardware address.
    pub own: Mac,
    ipv4: Option<FrameSocket>,
    ipv6: Option<FrameSocket>,
    /// Keeps this host a member of the floating addresses' solicited-node groups, towards its own
    /// interface and (by multicast listener reports) switches that forward groups selectively:
    /// another host's questions for them are heard without holding them.
    _groups: Option<Socket>,
}

impl Sockets {
    /// Opens those that the addresses need.
    pub fn open(index: u32, own: Mac, topics: &Topics) -> io::Result<Sockets> {
        let (floating, references) = topics.ipv4();
        let ipv4 = if floating.is_empty() && references.is_empty() {
            None
        } else {
            let senders = [floating.as_slice(), references.as_slice()].concat();
            let filter = arp::filter(&senders, &floating);
            Some(FrameSocket::open(index, arp::ETHERTYPE, &filter)?)
        };
        let (floating, references) = topics.ipv6();
        let (ipv6, groups) = if floating.is_empty() && references.is_empty() {
            (None, None)
        } else {
            let socket = FrameSocket::open(index, ndp::ETHERTYPE, &ndp::filter())?;
            (Some(socket), Some(join(index, &floating)?))
        };
        Ok(Sockets { index, own, ipv4, ipv6, _groups: groups })
    }

    /// Sends a frame that is about this address.
    pub fn send(&self, about: IpAddr, frame: &[u8]) -> io::Result<()> {
        let socket = if about.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.send(frame)
    }

    /// Forgets errors of an interface that was down.
    pub fn clear_errors(&self) -> io::Result<()> {
        for socket in self.ipv4.iter().chain(&self.ipv6) {
            socket.clear_error()?;
        }
        Ok(())
    }

    /// All of them, to receive.
    pub fn each(&mut self) -> impl Iterator<Item = &mut FrameSocket> {
        self.ipv4.iter_mut().chain(&mut self.ipv6)
    }

    /// All of them, to poll.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ipv4.iter().chain(&self.ipv6).map(FrameSocket::fd)
    }
}

fn join(index: u32, addresses: &[Ipv6Addr]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    for address in addresses {
        match socket.join_multicast_v6(&ndp::solicited_node(*address), index) {
            Ok(()) => {}
            // Several addresses with the same last 24 bits share a group.
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(socket)
}
