//! The node's way to the witness: questions out over every path, answers in, and a record per path
//! of what was heard, refused and why.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::exchange::Identity;
use crate::protocol::event::Event;
use crate::protocol::time::Instant;
use crate::protocol::witness::Request;
use crate::wire::witness::{REPLY_LEN, decode_reply, encode_request};
use crate::wire::{Refusals, Refused};

/// Datagrams taken from one path in one turn; the rest waits for the next.
const DRAIN_MAX: usize = 16;
/// More than any reply of a version that this program understands.
const DATAGRAM_MAX: usize = REPLY_LEN + 512;

/// Every path to the witness.
#[derive(Debug)]
pub struct WitnessLink {
    identity: Identity,
    paths: Vec<Path>,
    bytes: Box<[u8; DATAGRAM_MAX]>,
    datagram: Vec<u8>,
}

#[derive(Debug)]
struct Path {
    socket: Option<Socket>,
    status: PathStatus,
}

/// One path as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathStatus {
    /// Where the witness is.
    pub address: SocketAddr,
    /// Questions that the kernel took.
    pub sent: u64,
    /// Questions that it did not take.
    pub failed: u64,
    /// The last attempt's error; `None` when it succeeded.
    pub error: Option<Errno>,
    /// Answers of the witness to this node.
    pub received: u64,
    /// When the last one arrived.
    pub last_heard: Option<Instant>,
    /// Datagrams that were not taken, by reason.
    pub refused: Refusals,
}

impl WitnessLink {
    /// To these addresses of the one witness, as this node.
    pub fn open(addresses: &[SocketAddr], identity: Identity) -> WitnessLink {
        let path = |address: &SocketAddr| {
            let mut path = Path {
                socket: None,
                status: PathStatus {
                    address: *address,
                    sent: 0,
                    failed: 0,
                    error: None,
                    received: 0,
                    last_heard: None,
                    refused: Refusals::default(),
                },
            };
            path.reopen();
            path
        };
        WitnessLink {
            identity,
            paths: addresses.iter().map(path).collect(),
            bytes: Box::new([0; DATAGRAM_MAX]),
            datagram: Vec::new(),
        }
    }

    /// The open sockets.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.paths.iter().filter_map(|path| path.socket.as_ref()).map(AsFd::as_fd)
    }

    /// Sends a question over every path.
    pub fn send(&mut self, request: &Request) {
        let Identity { pair, keys, .. } = &self.identity;
        encode_request(request, pair, &keys.current, &mut self.datagram);
        for path in &mut self.paths {
            path.send(&self.datagram);
        }
    }

    /// Takes what has arrived; `ready` says, in the order of [`WitnessLink::fds`], where something
    /// has. The same answer over two paths comes twice: the node takes the first.
    pub fn drain_ready(
        &mut self,
        now: Instant,
        ready: &mut impl Iterator<Item = bool>,
        events: &mut Vec<Event>,
    ) {
        let Identity { node, session, pair, keys } = &self.identity;
        for path in &mut self.paths {
            let Some(socket) = &path.socket else { continue };
            if ready.next() == Some(false) {
                continue;
            }
            for _ in 0..DRAIN_MAX {
                let length = match rustix::net::recv(
                    socket,
                    &mut self.bytes[..],
                    rustix::net::RecvFlags::DONTWAIT,
                ) {
                    Ok((length, _)) => length,
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => {
                        path.status.error = Some(Errno::from_raw(error.raw_os_error()));
                        continue;
                    }
                };
                match decode_reply(&self.bytes[..length], pair, keys, (*node, *session)) {
                    Ok(reply) => {
                        path.status.received += 1;
                        path.status.last_heard = Some(now);
                        events.push(Event::WitnessReplied { reply });
                    }
                    Err(reason) => path.status.refused.count(reason),
                }
            }
        }
    }

    /// Every path as it is now.
    pub fn status(&self) -> Vec<PathStatus> {
        self.paths.iter().map(|path| path.status).collect()
    }
}

impl PathStatus {
    /// Reasons for which datagrams were not taken, with their numbers.
    pub fn refusals(&self) -> impl Iterator<Item = (Refused, u64)> + '_ {
        self.refused.iter()
    }
}

impl Path {
    fn send(&mut self, datagram: &[u8]) {
        if self.socket.is_none() {
            self.reopen();
        }
        let Some(socket) = &self.socket else {
            self.status.failed += 1;
            return;
        };
        match socket.send_to(datagram, &self.status.address.into()) {
            Ok(_) => {
                self.status.sent += 1;
                self.status.error = None;
            }
            Err(error) => {
                self.status.failed += 1;
                self.status.error = Some(errno(&error));
            }
        }
    }

    /// Unconnected and unbound: the source address is chosen anew with each question, because this
    /// node's addresses come and go with the role.
    fn reopen(&mut self) {
        let domain = Domain::for_address(self.status.address);
        let kind = Type::DGRAM.nonblocking().cloexec();
        match Socket::new(domain, kind, Some(Protocol::UDP)) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => self.status.error = Some(errno(&error)),
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
