//! Ethernet frames of one EtherType on one interface (packet(7)), sent and heard without an
//! address. Sockets never block; what the frames say is other files' business.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

/// A hardware address.
pub type Mac = [u8; 6];

/// The hardware address that every host hears.
pub const BROADCAST: Mac = [0xff; 6];

/// Bytes of an Ethernet header without a VLAN tag (the kernel takes tags off).
pub const HEADER_BYTES: usize = 14;

/// More than any frame that is looked at.
const FRAME_BYTES: usize = 2048;

/// An Ethernet frame, split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Who shall hear it.
    pub destination: Mac,
    /// Who sent it, as far as the frame says.
    pub source: Mac,
    /// What it carries.
    pub ethertype: u16,
    /// The rest, padding included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits a frame; `None` when it is shorter than a header.
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        Some(Frame {
            destination: header[..6].try_into().ok()?,
            source: header[6..12].try_into().ok()?,
            ethertype: u16::from_be_bytes([header[12], header[13]]),
            payload,
        })
    }

    /// The bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&self.destination);
        bytes.extend_from_slice(&self.source);
        bytes.extend_from_slice(&self.ethertype.to_be_bytes());
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

/// A socket for frames of one EtherType on one interface. It is bound to the interface's index:
/// when the interface is created anew the socket must be, too.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
    buffer: Box<[u8; FRAME_BYTES]>,
}

impl FrameSocket {
    /// Opens it. Only frames that pass the filter (classic BPF over the whole frame) wake the
    /// caller; the filter is in place before the first frame can arrive.
    pub fn open(index: u32, ethertype: u16, filter: &[SockFilter]) -> io::Result<FrameSocket> {
        // Protocol 0 hears nothing until `bind` names the EtherType.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(filter)?;
        socket.bind(&packet_address(index, ethertype)?)?;
        Ok(FrameSocket { socket, buffer: Box::new([0; FRAME_BYTES]) })
    }

    /// Hands one frame to the interface.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next frame that was sent to this host, to a group or to everyone; `None` when there is
    /// no more. Frames for other hosts, and for VLANs that this host does not know, are skipped.
    pub fn receive(&mut self) -> io::Result<Option<Frame<'_>>> {
        let length = loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut self.buffer[..]) {
                Ok((_, Some(from)))
                    if [libc::PACKET_OTHERHOST, libc::PACKET_OUTGOING]
                        .contains(&from.pkttype()) => {}
                Ok((length, _)) if length < HEADER_BYTES => {}
                Ok((length, _)) => break length,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Frame::read(&self.buffer[..length.min(FRAME_BYTES)]))
    }

    /// Takes away an error that the interface left behind when it went down, so that it is not
    /// mistaken for the result of the next frame.
    pub fn clear_error(&self) -> io::Result<()> {
        self.socket.take_error().map(|_| ())
    }

    /// Readable when a frame has arrived.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An address of packet(7): interface and EtherType.
fn packet_address(index: u32, ethertype: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the storage is at least as large and as aligned as any socket address (that is what
    // `sockaddr_storage` is for) and starts zeroed; the length set is that of what is written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as u16;
            (*address).sll_protocol = ethertype.to_be();
            (*address).sll_ifindex = index;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_writing_and_reading() {
        let frame = Frame {
            destination: BROADCAST,
            source: [2, 0, 0, 0, 0, 1],
            ethertype: 0x0806,
            payload: &[1, 2, 3],
        };
        assert_eq!(Frame::read(&frame.write()), Some(frame));
        assert_eq!(Frame::read(&frame.write()[..13]), None);
    }
}
