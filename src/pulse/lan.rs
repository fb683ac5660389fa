//! The LAN side of the pulse: floating addresses, announcements and probes of one group.
//!
//! Belongs to the pulse thread: nothing blocks (netlink requests are answered by the kernel before
//! they return), locks or logs; why something failed waits in [`Lan::take_trouble`]. What to do,
//! and when to repeat it, is the node's business.
//!
//! The loop polls [`Lan::fds`] (ask for them anew each time: sockets are replaced with the
//! interface), calls [`Lan::drain`] when one is readable or in error, and [`Lan::perform`] for
//! each action. A missing interface is not an error: it holds nothing and probes fail.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::address::{Addresses, Seen, Trouble};
use super::announce;
use super::frames::Mac;
use super::listen::Sockets;
use super::netlink::{Link, NetlinkError};
use super::probe::{Open, Said, Topics, question_for_floating, question_for_reference};
use super::watch::Watch;
use crate::config::{Floating, Mode};
use crate::protocol::action::Action;
use crate::protocol::event::{Answerer, Event, LanSeen, Presence};
use crate::protocol::identity::GroupId;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::timing::Timing;

/// Hardware addresses of the peer that are remembered; the oldest is forgotten first.
const PEER_MACS_MAX: usize = 8;
/// Frames read from one socket in one go; what is left keeps the socket readable.
const FRAMES_MAX: usize = 1024;

/// One group's LAN.
#[derive(Debug)]
pub struct Lan {
    group: GroupId,
    addresses: Addresses,
    watch: Watch,
    topics: Topics,
    open: Open,
    answered_within: Duration,
    peer_macs: Vec<Mac>,
    /// Who answered last for each reference.
    reference_macs: Vec<(IpAddr, Mac)>,
    link: Option<Link>,
    sockets: Option<Sockets>,
    /// Floating addresses that the kernel had when last looked at.
    present: Vec<IpAddr>,
    /// Something has changed since, or nobody has looked yet.
    changed: bool,
    trouble: Option<Trouble>,
}

impl Lan {
    /// Opens it in the network namespace of the calling thread. The first `drain` tells what is
    /// there.
    pub fn open(group: GroupId, floating: &Floating, timing: &Timing) -> Result<Lan, NetlinkError> {
        // Watch first: what changes after the first look is heard of.
        let watch = Watch::open()?;
        Ok(Lan {
            group,
            addresses: Addresses::open(floating, timing.address_lifetime)?,
            watch,
            topics: Topics {
                floating: floating.addresses.iter().map(|(address, _)| *address).collect(),
                references: floating.references.clone(),
            },
            open: Open::new(&floating.references, timing.arbiter),
            answered_within: timing.arbiter,
            peer_macs: Vec::new(),
            reference_macs: Vec::new(),
            link: None,
            sockets: None,
            present: Vec::new(),
            changed: true,
            trouble: None,
        })
    }

    /// What to poll for reading.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.watch.fd()).chain(self.sockets.iter().flat_map(Sockets::fds))
    }

    /// From now on this hardware address is the peer's (its Ethernet heartbeats come from it).
    /// Without it, the peer's answers count as a foreign host's.
    pub fn learn_peer_mac(&mut self, mac: Mac) {
        if !self.peer_macs.contains(&mac) {
            if self.peer_macs.len() == PEER_MACS_MAX {
                self.peer_macs.remove(0);
            }
            self.peer_macs.push(mac);
        }
    }

    /// Why the last thing that failed did, once.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// The interface as last seen.
    pub fn link(&self) -> Option<Link> {
        self.link
    }

    /// From now on these are the group's addresses and references. What is held and no longer
    /// configured is given up at once; what is missing shows in the fresh look.
    pub fn reconfigure(&mut self, floating: Floating, out: &mut Vec<Event>) {
        let trouble = self.addresses.reconfigure(&floating);
        self.topics = Topics {
            floating: floating.addresses.iter().map(|(address, _)| *address).collect(),
            references: floating.references.clone(),
        };
        self.open = Open::new(&floating.references, self.answered_within);
        self.reference_macs.clear();
        // They are filtered by the old addresses; the next look opens them again.
        self.sockets = None;
        self.settle(trouble, out);
    }

    /// Reads what has arrived: changes in the kernel (any number of them end in one
    /// `AddressesSeen` with a fresh look), answers and other hosts' claims.
    pub fn drain(&mut self, now: Instant, out: &mut Vec<Event>) {
        self.drain_ready(now, &mut std::iter::repeat(true), out);
    }

    /// The same, from what is ready only; `ready` says so in the order of [`Lan::fds`].
    pub fn drain_ready(
        &mut self,
        now: Instant,
        ready: &mut dyn Iterator<Item = bool>,
        out: &mut Vec<Event>,
    ) {
        if ready.next() != Some(false) {
            self.notice();
        }
        self.report_change(out);
        // Sockets that were opened just now are read in vain; nothing is left unread.
        self.hear(now, ready, out);
    }

    /// Carries out one of `ProbeLan`, `HoldAddresses`, `ReleaseAddresses` and `Announce` of this
    /// group; other actions are not the LAN's and are left alone. `now` is read just before: it
    /// becomes the time of the probes.
    pub fn perform(&mut self, now: Instant, action: &Action, out: &mut Vec<Event>) {
        match *action {
            Action::ProbeLan { group, floating, references } if group == self.group => {
                self.probe(now, floating, references, out);
            }
            Action::HoldAddresses { group } if group == self.group => {
                let trouble = self.addresses.establish();
                self.settle(trouble, out);
            }
            Action::ReleaseAddresses { group } if group == self.group => {
                let trouble = self.addresses.remove();
                self.settle(trouble, out);
            }
            Action::Announce { group } if group == self.group => {
                let sent = self.announce();
                out.push(Event::Announced { group, sent });
            }
            Action::ProbeLan { .. }
            | Action::HoldAddresses { .. }
            | Action::ReleaseAddresses { .. }
            | Action::Announce { .. }
            | Action::SendHeartbeat(_)
            | Action::AskWitness(_)
            | Action::PowerOffPeer { .. }
            | Action::SaveState { .. }
            | Action::Database { .. }
            | Action::Services { .. } => {}
        }
    }

    /// The node stands by and has no question about the floating addresses. Where the standby keeps
    /// the interface down, it is made so again, and nobody can be asked: true then.
    pub fn rests(&mut self, out: &mut Vec<Event>) -> bool {
        let down = self.addresses.floating().mode == Mode::Interface { bare: false };
        if down {
            self.notice();
            if self.link.is_some_and(|link| link.up) {
                let trouble = self.addresses.remove();
                self.settle(trouble, out);
            }
        }
        down
    }

    /// Ends a deed: what it did itself is taken from the queue before looking, so that only other
    /// people's later changes are reported as changes.
    fn settle(&mut self, trouble: Option<Trouble>, out: &mut Vec<Event>) {
        self.notice();
        let presence = self.look(trouble);
        out.push(Event::AddressesSeen { group: self.group, seen: presence });
    }

    fn report_change(&mut self, out: &mut Vec<Event>) {
        if self.changed {
            let presence = self.look(None);
            out.push(Event::AddressesSeen { group: self.group, seen: presence });
        }
    }

    fn look(&mut self, trouble: Option<Trouble>) -> Presence {
        let Seen { presence, link, addresses, trouble } = self.addresses.look(trouble);
        self.trouble = trouble.or(self.trouble.take());
        self.changed = false;
        // What could not be looked at is as it was.
        if presence != Presence::Unknown {
            self.present = addresses;
            self.link = link;
            self.bind();
        }
        presence
    }

    fn notice(&mut self) {
        let index = self.link.map(|link| link.index);
        let noticed = self.watch.drain(&self.addresses.floating().interface, index);
        self.changed |= noticed.interface;
        if let Some(link) = noticed.link {
            self.link = link;
            self.bind();
        }
    }

    /// Keeps the sockets on the interface that there is now.
    fn bind(&mut self) {
        let link = self.link.and_then(|link| link.mac.map(|mac| (link.index, mac)));
        let bound = self.sockets.as_ref().map(|sockets| (sockets.index, sockets.own));
        if link == bound {
            return;
        }
        self.sockets = None;
        let Some((index, own)) = link else { return };
        match Sockets::open(index, own, &self.topics) {
            Ok(sockets) => self.sockets = Some(sockets),
            Err(error) => self.trouble = Some(self.probing(error)),
        }
    }

    fn probe(&mut self, now: Instant, floating: bool, references: bool, out: &mut Vec<Event>) {
        self.notice();
        if self.link.is_some_and(|link| !link.up) {
            // Where the interface is the role, a standby may keep it down until it has to ask.
            if let Some(trouble) = self.addresses.raise() {
                self.trouble = Some(trouble);
            }
            self.notice();
        }
        self.report_change(out);
        let failed = self.send_probes(now, floating, references).err();
        let seen = match failed {
            None if floating => LanSeen::FloatingProbed { at: now },
            // Nothing was asked about the floating addresses, so nothing may be said of them.
            None => return,
            Some(trouble) => {
                self.trouble = Some(trouble);
                LanSeen::ProbeFailed { at: now }
            }
        };
        out.push(Event::Lan { group: self.group, seen });
    }

    /// Sends every probe, also after one has failed; the first failure is told.
    fn send_probes(
        &mut self,
        now: Instant,
        floating: bool,
        references: bool,
    ) -> Result<(), Trouble> {
        let interface = || self.addresses.floating().interface.clone();
        let link = self.link.ok_or_else(|| Trouble::NoInterface(interface()))?;
        if !link.running {
            return Err(Trouble::NoCarrier(interface()));
        }
        let Some(sockets) = &self.sockets else {
            return Err(self.probing(std::io::ErrorKind::NotConnected.into()));
        };
        let mut failed = sockets.clear_errors().err();
        if floating {
            for address in &self.topics.floating {
                let frame = question_for_floating(sockets.own, *address);
                failed = failed.or(sockets.send(*address, &frame).err());
            }
        }
        if references {
            for reference in &self.topics.references {
                let frame = question_for_reference(sockets.own, *reference);
                match sockets.send(*reference, &frame) {
                    Ok(()) => self.open.asked(*reference, now),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        match failed {
            Some(error) => Err(self.probing(error)),
            None => Ok(()),
        }
    }

    /// Announces what the kernel has; `true` when that is everything and all of it left.
    fn announce(&mut self) -> bool {
        self.notice();
        let (Some(sockets), true) = (&self.sockets, self.link.is_some_and(|link| link.running))
        else {
            let interface = self.addresses.floating().interface.clone();
            self.trouble = Some(Trouble::NoCarrier(interface));
            return false;
        };
        let mut failed = sockets.clear_errors().err();
        for address in &self.present {
            for frame in announce::frames(sockets.own, *address) {
                failed = failed.or(sockets.send(*address, &frame).err());
            }
        }
        let all = self.present.len() == self.topics.floating.len();
        match failed {
            Some(error) => {
                self.trouble = Some(self.probing(error));
                false
            }
            None => all,
        }
    }

    fn hear(&mut self, now: Instant, ready: &mut dyn Iterator<Item = bool>, out: &mut Vec<Event>) {
        let Some(sockets) = &mut self.sockets else { return };
        let own = sockets.own;
        let (mut said, mut failed) = (Vec::new(), None);
        for socket in sockets.each() {
            if ready.next() == Some(false) {
                continue;
            }
            for _ in 0..FRAMES_MAX {
                match socket.receive() {
                    Ok(Some(frame)) => said.extend(self.topics.read(&frame, own)),
                    Ok(None) => break,
                    // The interface went down or away. What is left keeps the socket readable.
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        if let Some(error) = failed {
            self.trouble = Some(self.probing(error));
        }
        for said in said {
            let seen = match said {
                Said::Holds(mac) if self.peer_macs.contains(&mac) => {
                    Some(LanSeen::FloatingAnswered { at: now, by: Answerer::Peer })
                }
                Said::Holds(mac) => {
                    let by = match self.reference_macs.iter().any(|(_, known)| *known == mac) {
                        true => Answerer::Everyone,
                        false => Answerer::Foreign,
                    };
                    Some(LanSeen::FloatingAnswered { at: now, by })
                }
                Said::Probes => Some(LanSeen::PeerProbed { at: now }),
                Said::Answers(reference, mac) => {
                    self.reference_macs.retain(|(known, _)| *known != reference);
                    self.reference_macs.push((reference, mac));
                    self.open
                        .answered(reference, now)
                        .map(|probed_at| LanSeen::ReferenceAnswered { probed_at })
                }
            };
            out.extend(seen.map(|seen| Event::Lan { group: self.group, seen }));
        }
    }

    fn probing(&self, error: std::io::Error) -> Trouble {
        Trouble::Probing { interface: self.addresses.floating().interface.clone(), error }
    }
}
