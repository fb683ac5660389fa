//! A packet socket for heartbeats without IP (packet(7)): the only place that builds its addresses.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// IEEE 802 local experimental EtherType 1.
pub const ETHERTYPE: u16 = 0x88b5;

/// A locally administered group address ("duote"): network cards of other hosts drop it.
pub const GROUP: [u8; 6] = [0x03, 0x64, 0x75, 0x6f, 0x74, 0x65];

/// A non-blocking socket for heartbeat frames on this interface, where to send them, and the
/// interface's index. The kernel makes the Ethernet header.
///
/// # Errors
/// `ENODEV` when there is no such interface; `EPERM` without `CAP_NET_RAW`.
pub fn open(interface: &str) -> io::Result<(Socket, SockAddr, u32)> {
    // No protocol before the bind, or frames of other interfaces would slip in.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
    let index = name_to_index(&socket, interface)?;
    socket.bind(&address(index, None))?;
    join(&socket, index)?;
    Ok((socket, address(index, Some(GROUP)), index))
}

fn address(index: u32, to: Option<[u8; 6]>) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address, for all of which the storage has size and
    // alignment, and it holds integers only, for which zero is a value.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = ETHERTYPE.to_be();
    link.sll_ifindex = index as libc::c_int;
    if let Some(to) = to {
        link.sll_halen = 6;
        link.sll_addr[..6].copy_from_slice(&to);
    }
    // SAFETY: the storage was filled as a `sockaddr_ll` of exactly this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Lets the network card pass the group address; the kernel forgets it with the socket.
fn join(socket: &Socket, index: u32) -> io::Result<()> {
    let mut request = libc::packet_mreq {
        mr_ifindex: index as libc::c_int,
        mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: [0; 8],
    };
    request.mr_address[..6].copy_from_slice(&GROUP);
    // SAFETY: the kernel reads `request`, of the length given, during the call only.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
