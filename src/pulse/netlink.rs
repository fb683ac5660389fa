//! Questions to the kernel's routing socket (rtnetlink(7)), spoken without a runtime.
//!
//! The kernel has queued the answer by the time the request returns, so that the receive timeout
//! is only met when something is badly wrong. Nothing is decided here, nor tried twice.

use std::fmt;
use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;

use super::frames::Mac;

/// How long an answer of the kernel may take: requests are handled inside `send`.
const ANSWER_WITHIN: Duration = Duration::from_millis(20);
/// The kernel fills at most 32 KiB per datagram of a dump.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// A dump that was cut by a concurrent change is read again this often.
const DUMP_READINGS: usize = 4;

/// The kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself fails.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// No answer in time.
    #[error("the kernel did not answer a netlink request within {ANSWER_WITHIN:?}")]
    Silent,
    /// The kernel refuses to show something.
    #[error("the kernel refuses a netlink question: {0}")]
    Refused(#[source] io::Error),
    /// An answer cannot be read.
    #[error("netlink answer cannot be read: {0}")]
    Malformed(String),
    /// The answer changed while it was read, again and again.
    #[error("the kernel's answer changed while it was read")]
    Changing,
}

/// A network interface as the kernel shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index; a re-created interface has another one.
    pub index: u32,
    /// Hardware address; `None` for an interface that is not Ethernet.
    pub mac: Option<Mac>,
    /// Set up by an administrator (`IFF_UP`).
    pub up: bool,
    /// Frames can leave: up, with carrier (`IFF_LOWER_UP`) and operational (`IFF_RUNNING`).
    pub running: bool,
}

impl Link {
    /// From a description of the kernel.
    pub(super) fn read(message: &LinkMessage) -> Link {
        let flags = message.header.flags;
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        Link {
            index: message.header.index,
            mac,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
        }
    }
}

/// One change that the kernel is asked to make.
pub(super) struct Change {
    /// `NLM_F_CREATE`, `NLM_F_REPLACE`; request and acknowledgement flags are added.
    pub flags: u16,
    /// What.
    pub message: RouteNetlinkMessage,
}

/// An answer and the sequence number of what it answers.
type Answer = (u32, NetlinkPayload<RouteNetlinkMessage>);

/// The socket for questions and changes.
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Requests {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Filters in dump requests are obeyed only under strict checking (Linux 4.20).
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_cap_ack(true)?;
        let timeout = TimeVal::new(0, ANSWER_WITHIN.as_micros() as i64);
        setsockopt(&socket, ReceiveTimeout, &timeout).map_err(io::Error::from)?;
        Ok(Requests { socket, sequence: 0, received: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// The interface of this name; `None` when there is none.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let first = self.send(vec![(NLM_F_REQUEST, RouteNetlinkMessage::GetLink(question))])?;
        loop {
            for (sequence, payload) in self.receive()? {
                match payload {
                    _ if sequence != first => {}
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        return Ok(Some(Link::read(&link)));
                    }
                    NetlinkPayload::Error(error) => {
                        let error = error.to_io();
                        return match error.raw_os_error() {
                            Some(libc::ENODEV) => Ok(None),
                            _ => Err(NetlinkError::Refused(error)),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Everything that a `Get…` message selects. `ENODEV` and `ENOENT` (no such interface, no such
    /// routing table) mean nothing.
    pub fn dump(
        &mut self,
        question: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_READINGS {
            if let Some(answer) = self.dump_once(question.clone())? {
                return Ok(answer);
            }
        }
        Err(NetlinkError::Changing)
    }

    /// `None`: cut by a concurrent change (`NLM_F_DUMP_INTR`), inconsistent.
    fn dump_once(
        &mut self,
        question: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
        let first = self.send(vec![(NLM_F_REQUEST | NLM_F_DUMP, question)])?;
        let mut answer = Vec::new();
        let mut whole = true;
        loop {
            self.receive_datagram()?;
            for message in Messages::new(&self.received) {
                let message = message?;
                if message.header.sequence_number != first {
                    continue;
                }
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                let failed = match message.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        answer.push(inner);
                        continue;
                    }
                    NetlinkPayload::Done(done) => done.code,
                    NetlinkPayload::Error(error) => error.raw_code(),
                    _ => continue,
                };
                return match failed.saturating_neg() {
                    0 if whole => Ok(Some(answer)),
                    0 => Ok(None),
                    libc::ENODEV | libc::ENOENT => Ok(Some(Vec::new())),
                    code => Err(NetlinkError::Refused(io::Error::from_raw_os_error(code))),
                };
            }
        }
    }

    /// Makes the changes, in order, with one system call; tells for each what the kernel objected.
    /// One that is refused does not keep the following ones from being made.
    pub fn change(&mut self, changes: Vec<Change>) -> Result<Vec<Option<io::Error>>, NetlinkError> {
        let mut answers: Vec<Option<Option<io::Error>>> = changes.iter().map(|_| None).collect();
        if answers.is_empty() {
            return Ok(Vec::new());
        }
        let messages = changes
            .into_iter()
            .map(|change| (change.flags | NLM_F_REQUEST | NLM_F_ACK, change.message))
            .collect();
        let first = self.send(messages)?;
        while answers.iter().any(Option::is_none) {
            for (sequence, payload) in self.receive()? {
                let NetlinkPayload::Error(answer) = payload else { continue };
                let position = sequence.wrapping_sub(first) as usize;
                if let Some(place) = answers.get_mut(position) {
                    *place = Some(answer.code.map(|_| answer.to_io()));
                }
            }
        }
        Ok(answers.into_iter().map(Option::flatten).collect())
    }

    /// Sends all in one datagram; returns the sequence number of the first.
    fn send(&mut self, messages: Vec<(u16, RouteNetlinkMessage)>) -> Result<u32, NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for (flags, message) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + aligned(message.buffer_len()), 0);
            message.serialize(&mut datagram[start..]);
        }
        self.socket.send_to(&datagram, &SocketAddr::new(0, 0), 0)?;
        Ok(first)
    }

    fn receive(&mut self) -> Result<Vec<Answer>, NetlinkError> {
        self.receive_datagram()?;
        Messages::new(&self.received)
            .map(|message| message.map(|m| (m.header.sequence_number, m.payload)))
            .collect()
    }

    fn receive_datagram(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.received.clear();
            match self.socket.recv(&mut self.received, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(NetlinkError::Silent);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A request that sets an interface up or down.
pub(super) fn set_link(index: u32, up: bool) -> Change {
    let mut message = LinkMessage::default();
    let flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header = LinkHeader { index, flags, change_mask: LinkFlags::Up, ..Default::default() };
    Change { flags: 0, message: RouteNetlinkMessage::SetLink(message) }
}

/// The messages of one datagram.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// In order; after a wrong length there are no more.
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages { rest: datagram }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<NetlinkMessage<RouteNetlinkMessage>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER_BYTES: usize = 16;
        let length = u32::from_ne_bytes(self.rest.get(..4)?.try_into().ok()?) as usize;
        if length < HEADER_BYTES || length > self.rest.len() {
            self.rest = &[];
            return Some(Err(NetlinkError::Malformed("a length is wrong".to_owned())));
        }
        let (message, _) = self.rest.split_at(length);
        self.rest = self.rest.get(aligned(length)..).unwrap_or(&[]);
        Some(
            NetlinkMessage::deserialize(message)
                .map_err(|error| NetlinkError::Malformed(error.to_string())),
        )
    }
}

/// `NLMSG_ALIGN`.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Messages::new(&bytes).count();
        }
    }

    #[test]
    fn a_length_beyond_the_datagram_is_refused() {
        let mut datagram = [0u8; 16];
        datagram[..4].copy_from_slice(&17u32.to_ne_bytes());
        let read: Vec<_> = Messages::new(&datagram).collect();
        assert!(matches!(read[..], [Err(NetlinkError::Malformed(_))]));
    }
}
