//! Heartbeats over links: encoded and sent on all, opened and admitted from each, and a record per
//! link of what was heard, refused and why.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::clock::Reading;
use super::links::{Arrival, HardwareAddress, Links, Sending};
use crate::config::Link;
use crate::protocol::event::Event;
use crate::protocol::heartbeat::Heartbeat;
use crate::protocol::identity::{NodeId, Session};
use crate::protocol::time::{Duration, Instant};
use crate::wire::heartbeat::DATAGRAM_LEN;
use crate::wire::{
    Admission, Key, Keys, LinkSet, PairTag, Received, Refusals, Refused, Verdict, decode, encode,
};

/// The node's end of every link.
#[derive(Debug)]
pub struct Exchange {
    links: Links,
    identity: Identity,
    admission: Admission,
    hearing: Vec<Hearing>,
    /// The links on which the peer hears this node, as its newest heartbeat says.
    heard_by_peer: LinkSet,
    /// A link that was heard no longer ago than this is heard.
    lately: Duration,
    datagram: Vec<u8>,
}

/// Who speaks here, and what proves it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This node.
    pub node: NodeId,
    /// This daemon's life.
    pub session: Session,
    /// The pair.
    pub pair: PairTag,
    /// What signs, and what is accepted.
    pub keys: Keys,
}

/// What came in on one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hearing {
    /// Heartbeats of the peer: new, copies and late ones.
    pub received: u64,
    /// Of these, the ones that another link had delivered before.
    pub copies: u64,
    /// Of these, the ones that a newer one had overtaken.
    pub stale: u64,
    /// Datagrams that were not taken, by reason.
    pub refused: Refusals,
    /// When the last heartbeat of the peer arrived.
    pub last_heard: Option<Instant>,
    /// The newest refusal, with its time.
    pub last_refused: Option<(Instant, Refused)>,
    /// The peer's hardware address, on an Ethernet link.
    pub peer_address: Option<HardwareAddress>,
}

/// One link as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// As configured.
    pub link: Link,
    /// Out.
    pub sending: Sending,
    /// In.
    pub hearing: Hearing,
    /// Which directions work.
    pub direction: Direction,
}

/// Which directions of a link work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Both.
    Both,
    /// This node hears the peer; the peer says that it does not hear this node.
    OnlyFromPeer,
    /// The peer says, over another link, that it hears this node; this node does not hear it.
    OnlyToPeer,
    /// Not heard, and nobody could tell whether the peer hears.
    Silent,
}

/// The part of a link's status whose change is news, unlike that of a counter: open, the last
/// error, and which directions work.
pub type Condition = (bool, Option<Errno>, Direction);

impl Exchange {
    /// On these links, as this node. `lately` is how long a link may be silent and still count as
    /// heard; `late_after` fits.
    pub fn new(links: Links, identity: Identity, lately: Duration) -> Exchange {
        Exchange {
            admission: Admission::new(identity.session, links.len()),
            hearing: vec![Hearing::default(); links.len()],
            heard_by_peer: LinkSet::default(),
            datagram: Vec::with_capacity(DATAGRAM_LEN),
            links,
            identity,
            lately,
        }
    }

    /// The open sockets.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.fds()
    }

    /// The keys from now on (key rotation).
    pub fn set_keys(&mut self, current: Key, old: Option<Key>) {
        self.identity.keys = Keys { current, old };
    }

    /// Sends a heartbeat on every link.
    pub fn send(&mut self, now: Instant, heartbeat: &Heartbeat) {
        self.admission.sending(heartbeat.sequence);
        let heard = (0..self.hearing.len())
            .filter(|link| self.hears(*link, now))
            .fold(LinkSet::default(), LinkSet::with);
        let Identity { pair, keys, .. } = &self.identity;
        encode(heartbeat, heard, pair, &keys.current, &mut self.datagram);
        self.links.send(now, &self.datagram);
    }

    /// Takes what has arrived on any link. The peer's new heartbeats become events; copies and late
    /// ones say that their link works, and what is refused is counted.
    pub fn drain(&mut self, begun: Reading, events: &mut Vec<Event>) {
        self.drain_ready(begun, &mut std::iter::repeat(true), events);
    }

    /// The same, from the sockets that are ready only; see [`Links::drain_ready`].
    pub fn drain_ready(
        &mut self,
        begun: Reading,
        ready: &mut impl Iterator<Item = bool>,
        events: &mut Vec<Event>,
    ) {
        let Exchange { links, identity, admission, hearing, heard_by_peer, .. } = self;
        links.drain_ready(begun, ready, |arrival| {
            let Some(hearing) = hearing.get_mut(arrival.link) else { return };
            match judge(identity, admission, &arrival) {
                Ok((verdict, received)) => {
                    hearing.count(verdict, &arrival);
                    if verdict == Verdict::Fresh {
                        *heard_by_peer = received.heard;
                        let (heartbeat, at) = (received.heartbeat, arrival.at);
                        events.push(Event::HeartbeatReceived { heartbeat, at });
                    }
                }
                Err(reason) => {
                    hearing.refused.count(reason);
                    hearing.last_refused = Some((arrival.at, reason));
                }
            }
        });
    }

    /// The peer's hardware addresses, as its authentic heartbeats carried them.
    pub fn peer_addresses(&self) -> impl Iterator<Item = HardwareAddress> {
        self.hearing.iter().filter_map(|hearing| hearing.peer_address)
    }

    /// Every link as it is now.
    pub fn status(&self, now: Instant) -> Vec<LinkStatus> {
        let each = self.links.sending().zip(&self.hearing).enumerate();
        each.map(|(position, ((link, sending), hearing))| LinkStatus {
            link: link.clone(),
            sending,
            hearing: *hearing,
            direction: self.direction(position, now),
        })
        .collect()
    }

    /// Every link's condition, into `into`, replacing what was there.
    pub fn conditions(&self, now: Instant, into: &mut Vec<Condition>) {
        into.clear();
        into.extend(self.links.sending().enumerate().map(|(position, (_, sending))| {
            (sending.open, sending.error, self.direction(position, now))
        }));
    }

    fn direction(&self, link: usize, now: Instant) -> Direction {
        // What the peer said last is worth something only while it is heard at all.
        let heard_at_all = (0..self.hearing.len()).any(|link| self.hears(link, now));
        match (self.hears(link, now), heard_at_all && self.heard_by_peer.contains(link)) {
            (true, true) => Direction::Both,
            (true, false) => Direction::OnlyFromPeer,
            (false, true) => Direction::OnlyToPeer,
            (false, false) => Direction::Silent,
        }
    }

    fn hears(&self, link: usize, now: Instant) -> bool {
        self.hearing[link].last_heard.is_some_and(|at| now.since(at) <= self.lately)
    }
}

fn judge(
    identity: &Identity,
    admission: &mut Admission,
    arrival: &Arrival<'_>,
) -> Result<(Verdict, Received), Refused> {
    let own = (identity.node, identity.session);
    let received = decode(arrival.bytes, &identity.pair, &identity.keys, own)?;
    let verdict = admission.admit(&received.heartbeat, arrival.link)?;
    Ok((verdict, received))
}

impl Hearing {
    fn count(&mut self, verdict: Verdict, arrival: &Arrival<'_>) {
        self.received += 1;
        match verdict {
            Verdict::Fresh => {}
            Verdict::Copy => self.copies += 1,
            Verdict::Stale => self.stale += 1,
        }
        self.last_heard = self.last_heard.max(Some(arrival.at));
        self.peer_address = arrival.from.or(self.peer_address);
    }
}
