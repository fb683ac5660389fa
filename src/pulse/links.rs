//! The heartbeat sockets, all used at once. Bytes go out on every link and come in with the link
//! and the time of their arrival; whose they are is decided elsewhere.
//!
//! A link needs neither its address nor its interface at the start: it is opened when they are
//! there, and again when the interface came back under another index.

mod packet;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::clock::{Arrivals, Reading};
use crate::config;
use crate::protocol::time::{Duration, Instant};

/// Between two attempts to open a link that is closed, or to look whether its interface changed.
const REOPEN_EVERY: Duration = Duration::from_millis(100);
/// Datagrams taken from one link in one turn; the rest waits for the next.
const DRAIN_MAX: usize = 64;
/// More than any heartbeat of a version that this program understands.
const DATAGRAM_MAX: usize = 2048;
/// DSCP CS6, network control (RFC 4594), as a traffic class.
const TRAFFIC_CLASS: u32 = 48 << 2;

/// A hardware address.
pub type HardwareAddress = [u8; 6];

/// One datagram, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The link, by its position in the configuration.
    pub link: usize,
    /// Its bytes; cut when they are far more than a heartbeat.
    pub bytes: &'a [u8],
    /// When the kernel received it; never later than the drain's beginning.
    pub at: Instant,
    /// Who sent it, on an Ethernet link.
    pub from: Option<HardwareAddress>,
}

/// What became of one link's sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sending {
    /// The socket is open.
    pub open: bool,
    /// Opened so often; more than once means that the interface came back.
    pub opened: u64,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Datagrams that it did not take, or that found the link closed.
    pub failed: u64,
    /// The last operation's error; `None` when it succeeded.
    pub error: Option<Errno>,
}

/// The links of this node.
#[derive(Debug)]
pub struct Links {
    links: Vec<Link>,
    bytes: Box<[u8; DATAGRAM_MAX]>,
    control: Vec<u8>,
}

#[derive(Debug)]
struct Link {
    config: config::Link,
    open: Option<Open>,
    look_again: Instant,
    sending: Sending,
}

#[derive(Debug)]
struct Open {
    socket: Socket,
    to: SockAddr,
    index: u32,
    arrivals: Arrivals,
}

impl Links {
    /// Opens what can be opened; the others are tried again while heartbeats are sent.
    pub fn open(configured: &[config::Link]) -> Links {
        let now = Reading::now();
        let link = |config: &config::Link| {
            let (config, look_again) = (config.clone(), now.boot);
            let mut link = Link { config, open: None, look_again, sending: Sending::default() };
            link.reopen(now);
            link
        };
        Links {
            links: configured.iter().map(link).collect(),
            bytes: Box::new([0; DATAGRAM_MAX]),
            control: nix::cmsg_space!(TimeSpec),
        }
    }

    /// How many there are, open or not.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// No link is configured.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The open sockets.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.iter().filter_map(|link| link.open.as_ref()).map(|open| open.socket.as_fd())
    }

    /// What became of each link's sending.
    pub fn sending(&self) -> impl Iterator<Item = (&config::Link, Sending)> {
        self.links.iter().map(|link| (&link.config, link.sending))
    }

    /// Sends on every link; a link that fails does not keep the others from sending.
    pub fn send(&mut self, now: Instant, datagram: &[u8]) {
        for link in &mut self.links {
            link.send(now, datagram);
        }
    }

    /// Takes what has arrived, oldest first per link, looking at every socket.
    pub fn drain(&mut self, begun: Reading, take: impl FnMut(Arrival<'_>)) {
        self.drain_ready(begun, &mut std::iter::repeat(true), take);
    }

    /// The same, looking only at the sockets that are ready; `ready` says so in the order of
    /// [`Links::fds`], as polled after `begun` was read: the others were empty then.
    pub fn drain_ready(
        &mut self,
        begun: Reading,
        ready: &mut impl Iterator<Item = bool>,
        mut take: impl FnMut(Arrival<'_>),
    ) {
        for (position, link) in self.links.iter_mut().enumerate() {
            let Some(open) = &mut link.open else { continue };
            if ready.next() == Some(false) {
                open.arrivals.emptied(begun);
                continue;
            }
            for _ in 0..DRAIN_MAX {
                match receive(&open.socket, &mut self.bytes[..], &mut self.control) {
                    Ok((length, stamp, from)) => take(Arrival {
                        link: position,
                        bytes: &self.bytes[..length],
                        at: open.arrivals.at(begun, stamp),
                        from,
                    }),
                    Err(Errno::EAGAIN) => {
                        open.arrivals.emptied(begun);
                        break;
                    }
                    Err(Errno::EINTR) => {}
                    // Reading an error clears it (ENETDOWN of a packet socket): go on.
                    Err(error) => link.sending.error = Some(error),
                }
            }
        }
    }
}

impl Link {
    fn send(&mut self, now: Instant, datagram: &[u8]) {
        if self.open.is_none() && now >= self.look_again {
            self.reopen(Reading::now());
        }
        let Some(open) = &self.open else {
            self.sending.failed += 1;
            return;
        };
        let Err(error) = open.socket.send_to(datagram, &open.to) else {
            self.sending.sent += 1;
            self.sending.error = None;
            return;
        };
        self.sending.failed += 1;
        self.sending.error = Some(errno(&error));
        if now >= self.look_again {
            self.look_again = now + REOPEN_EVERY;
            // A socket stays bound to the index that its interface had.
            let index = name_to_index(&open.socket, self.interface()).ok();
            if index != Some(open.index) {
                self.reopen(Reading::now());
            }
        }
    }

    fn reopen(&mut self, now: Reading) {
        self.look_again = now.boot + REOPEN_EVERY;
        self.open = None;
        match open(&self.config, now) {
            Ok(opened) => {
                self.open = Some(opened);
                self.sending.opened += 1;
                self.sending.error = None;
            }
            Err(error) => self.sending.error = Some(errno(&error)),
        }
        self.sending.open = self.open.is_some();
    }

    fn interface(&self) -> &str {
        match &self.config {
            config::Link::Udp { interface, .. } | config::Link::Ethernet { interface } => interface,
        }
    }
}

fn open(link: &config::Link, now: Reading) -> io::Result<Open> {
    let (socket, to, index) = match link {
        config::Link::Udp { interface, local, peer } => open_udp(interface, *local, *peer)?,
        config::Link::Ethernet { interface } => packet::open(interface)?,
    };
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // Before bulk traffic in the host's own queues; a kernel that refuses it loses nothing else.
    let _ = socket.set_priority(6);
    Ok(Open { socket, to, index, arrivals: Arrivals::since(now) })
}

/// ip(7), ipv6(7). Unconnected, so that a refusal by the peer's kernel (ICMP) is not an error of
/// this socket; free to bind before the address exists.
fn open_udp(
    interface: &str,
    local: SocketAddr,
    peer: SocketAddr,
) -> io::Result<(Socket, SockAddr, u32)> {
    let domain = Domain::for_address(local);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    let index = name_to_index(&socket, interface)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    // The traffic class is a wish: links without priorities work as well.
    match local {
        SocketAddr::V4(_) => {
            socket.set_freebind_v4(true)?;
            let _ = socket.set_tos_v4(TRAFFIC_CLASS);
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
            let _ = socket.set_tclass_v6(TRAFFIC_CLASS);
        }
    }
    socket.bind(&scoped(local, index).into())?;
    Ok((socket, scoped(peer, index).into(), index))
}

/// A link-local address means something on its interface only (RFC 4007).
fn scoped(address: SocketAddr, index: u32) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, address.port(), 0, index).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

/// Length, wall-clock stamp and sender's hardware address of the next datagram.
fn receive(
    socket: &Socket,
    bytes: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, Option<u64>, Option<HardwareAddress>), Errno> {
    let mut into = [IoSliceMut::new(bytes)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut into,
        Some(control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(nanos(time)),
        _ => None,
    });
    let from = message.address.as_ref().and_then(|address| address.as_link_addr()?.addr());
    Ok((message.bytes, stamp, from))
}

fn nanos(time: TimeSpec) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
