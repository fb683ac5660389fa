#![allow(unsafe_code)]
//! Raw frames (packet(7)): hearing everything in a namespace with the kernel's stamps, and sending
//! one gratuitous ARP (RFC 5227 §3).

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::clock;
use crate::protocol::time::Instant;

const ETH_P_ALL: u16 = 0x0003;
const ETH_P_ARP: u16 = 0x0806;

/// Hears every frame, in and out, on every interface of the opening thread's namespace.
pub struct Capture {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Capture {
    /// Opens it; a wait for a frame ends after 100 ms.
    pub fn open() -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_recv_buffer_size(8 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Capture { socket, buffer: vec![0; 4096] })
    }

    /// The next frame and when it passed; `None` when none came.
    pub fn next(&mut self) -> Option<(Instant, &[u8])> {
        let (length, stamp) = {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let mut control = nix::cmsg_space!(libc::timespec);
            let message = recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            )
            .ok()?;
            let stamp = message.cmsgs().ok()?.find_map(|part| match part {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                _ => None,
            });
            (message.bytes, stamp)
        };
        let at = stamp.map_or_else(clock::now, |stamp| {
            clock::from_realtime(stamp.tv_sec() as u64 * 1_000_000_000 + stamp.tv_nsec() as u64)
        });
        Some((at, &self.buffer[..length]))
    }
}

/// Sends gratuitous ARP; opened beforehand, because opening and closing cost the kernel more than
/// sending does.
pub struct Announcer {
    socket: Socket,
    to: libc::sockaddr_ll,
}

impl Announcer {
    /// For an interface.
    ///
    /// # Errors
    /// It is not there, or raw sockets are not permitted.
    pub fn open(interface: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // SAFETY: an all-zero sockaddr_ll is a valid value of it.
        let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = ETH_P_ARP.to_be();
        to.sll_ifindex = if_nametoindex(interface)? as i32;
        to.sll_halen = 6;
        Ok(Announcer { socket, to })
    }

    /// Tells the LAN that `address` is now at `mac`.
    ///
    /// # Errors
    /// The frame could not be handed to the interface.
    pub fn announce(&self, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
        let mut frame = vec![0xff; 6];
        frame.extend(mac);
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        frame.extend(mac);
        frame.extend(address.octets());
        frame.extend([0; 6]);
        frame.extend(address.octets());
        // SAFETY: the descriptor is open; frame and address outlive the call, with true lengths.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.to).cast(),
                mem::size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
