//! What the LAN is asked without an address of our own, and what its frames say.
//!
//! Pure: frames in, findings out. The questions: who holds a floating address (an ARP probe, a
//! solicitation from the unspecified address: neither changes anybody's cache)? Is a reference
//! there? A reference's answer counts only when it was sent to this host, so that it proves both
//! directions of the LAN and not that somebody else's question was answered.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::frames::{Frame, Mac};
use super::{arp, ndp};
use crate::protocol::time::Instant;

/// What a frame of somebody else says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// The host with this hardware address holds a floating address.
    Holds(Mac),
    /// Somebody asks for a floating address as one does who is about to claim it.
    Probes,
    /// A reference answers this host, from this hardware address.
    Answers(IpAddr, Mac),
}

/// A question to the LAN.
pub fn question_for_floating(own: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::Packet::probe(own, address).broadcast(),
        IpAddr::V6(address) => ndp::Message::probe(address).multicast(own),
    }
}

/// A question to a reference. For IPv4 the sender's address is left open, so that nothing is
/// claimed; every host answers that (RFC 5227 §2.4 wants addresses defended against it).
pub fn question_for_reference(own: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::Packet::probe(own, address).broadcast(),
        IpAddr::V6(address) => ndp::Message::question(own, address).multicast(own),
    }
}

/// The addresses that frames are searched for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// The floating addresses.
    pub floating: Vec<IpAddr>,
    /// The references.
    pub references: Vec<IpAddr>,
}

impl Topics {
    /// The IPv4 ones: floating addresses, references.
    pub fn ipv4(&self) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
        let only = |addresses: &[IpAddr]| {
            let ipv4 = addresses.iter().filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            ipv4.collect::<Vec<_>>()
        };
        (only(&self.floating), only(&self.references))
    }

    /// The IPv6 ones: floating addresses, references.
    pub fn ipv6(&self) -> (Vec<Ipv6Addr>, Vec<Ipv6Addr>) {
        let only = |addresses: &[IpAddr]| {
            let ipv6 = addresses.iter().filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            });
            ipv6.collect::<Vec<_>>()
        };
        (only(&self.floating), only(&self.references))
    }

    /// What an ARP or neighbour-discovery frame says; `None` when it is damaged, about something
    /// else, or our own that came back.
    pub fn read(&self, frame: &Frame<'_>, own: Mac) -> Option<Said> {
        if frame.source == own {
            return None;
        }
        match frame.ethertype {
            arp::ETHERTYPE => self.read_arp(frame, own),
            ndp::ETHERTYPE => self.read_ndp(frame, own),
            _ => None,
        }
    }

    fn read_arp(&self, frame: &Frame<'_>, own: Mac) -> Option<Said> {
        let packet = arp::Packet::read(frame)?;
        let (sender, target) = (IpAddr::V4(packet.sender), IpAddr::V4(packet.target));
        if packet.sender_mac == own {
            None
        } else if self.floating.contains(&sender) {
            Some(Said::Holds(packet.sender_mac))
        } else if packet.operation == arp::Operation::Request
            && packet.sender.is_unspecified()
            && self.floating.contains(&target)
        {
            Some(Said::Probes)
        } else if packet.operation == arp::Operation::Reply
            && frame.destination == own
            && packet.target_mac == own
            && self.references.contains(&sender)
        {
            Some(Said::Answers(sender, packet.sender_mac))
        } else {
            None
        }
    }

    fn read_ndp(&self, frame: &Frame<'_>, own: Mac) -> Option<Said> {
        let message = ndp::Message::read(frame)?;
        if message.mac == Some(own) {
            return None;
        }
        let (source, target) = (IpAddr::V6(message.source), IpAddr::V6(message.target));
        let mac = message.mac.unwrap_or(frame.source);
        let about_floating = self.floating.contains(&target);
        match message.kind {
            ndp::Kind::Advertisement { .. } if about_floating => Some(Said::Holds(mac)),
            ndp::Kind::Advertisement { solicited: true }
                if frame.destination == own && self.references.contains(&target) =>
            {
                Some(Said::Answers(target, mac))
            }
            ndp::Kind::Advertisement { .. } => None,
            ndp::Kind::Solicitation if self.floating.contains(&source) => Some(Said::Holds(mac)),
            ndp::Kind::Solicitation if message.source.is_unspecified() && about_floating => {
                Some(Said::Probes)
            }
            ndp::Kind::Solicitation => None,
        }
    }
}

/// Questions to references that are still open.
#[derive(Debug)]
pub struct Open {
    questions: Vec<(IpAddr, VecDeque<Instant>)>,
    answered_within: Duration,
}

impl Open {
    /// None yet; an answer takes at most `answered_within`.
    pub fn new(references: &[IpAddr], answered_within: Duration) -> Open {
        let questions = references.iter().map(|address| (*address, VecDeque::new())).collect();
        Open { questions, answered_within }
    }

    /// A question left.
    pub fn asked(&mut self, reference: IpAddr, at: Instant) {
        let questions = self.questions.iter_mut().filter(|(address, _)| *address == reference);
        for (_, open) in questions {
            open.push_back(at);
            forget(open, at, self.answered_within);
        }
    }

    /// An answer came: when the question that it answers was asked, the oldest that it can have
    /// been. `None` for an answer without a question, or one that is too late to count.
    pub fn answered(&mut self, reference: IpAddr, now: Instant) -> Option<Instant> {
        let (_, open) = self.questions.iter_mut().find(|(address, _)| *address == reference)?;
        forget(open, now, self.answered_within);
        open.pop_front()
    }
}

fn forget(open: &mut VecDeque<Instant>, now: Instant, older_than: Duration) {
    while open.front().is_some_and(|asked| now.since(*asked) > older_than) {
        open.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];

    fn topics() -> Topics {
        Topics {
            floating: vec!["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
            references: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        }
    }

    fn said(bytes: &[u8]) -> Option<Said> {
        Frame::read(bytes).and_then(|frame| topics().read(&frame, OWN))
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn our_own_frames_say_nothing() {
        for address in topics().floating {
            assert_eq!(said(&question_for_floating(OWN, address)), None);
            assert_eq!(said(&question_for_floating(OTHER, address)), Some(Said::Probes));
        }
    }

    #[test]
    fn a_reference_answers_only_those_it_speaks_to() {
        let reply = |to: Mac| {
            let packet = arp::Packet {
                operation: arp::Operation::Reply,
                sender_mac: OTHER,
                sender: "192.0.2.1".parse().unwrap(),
                target_mac: to,
                target: Ipv4Addr::UNSPECIFIED,
            };
            let mut bytes = packet.broadcast();
            bytes[..6].copy_from_slice(&to);
            bytes
        };
        assert_eq!(said(&reply(OWN)), Some(Said::Answers("192.0.2.1".parse().unwrap(), OTHER)));
        assert_eq!(said(&reply([2, 0, 0, 0, 0, 3])), None);
        // An advertisement to all nodes answers somebody's question, not ours.
        let all = ndp::Message {
            kind: ndp::Kind::Advertisement { solicited: false },
            ..ndp::Message::announcement(OTHER, "2001:db8::1".parse().unwrap())
        };
        assert_eq!(said(&all.multicast(OTHER)), None);
        let solicited = ndp::Message { kind: ndp::Kind::Advertisement { solicited: true }, ..all };
        let mut bytes = solicited.multicast(OTHER);
        assert_eq!(said(&bytes), None);
        bytes[..6].copy_from_slice(&OWN);
        assert_eq!(said(&bytes), Some(Said::Answers("2001:db8::1".parse().unwrap(), OTHER)));
    }

    #[test]
    fn an_announcement_says_who_holds_the_address() {
        let v4 = arp::Packet::announcement(OTHER, "192.0.2.10".parse().unwrap()).broadcast();
        let v6 = ndp::Message::announcement(OTHER, "2001:db8::10".parse().unwrap());
        assert_eq!(said(&v4), Some(Said::Holds(OTHER)));
        assert_eq!(said(&v6.multicast(OTHER)), Some(Said::Holds(OTHER)));
    }

    #[test]
    fn an_answer_belongs_to_the_oldest_question_that_it_can_answer() {
        let reference: IpAddr = "192.0.2.1".parse().unwrap();
        let mut open = Open::new(&[reference], Duration::from_millis(20));
        for at in [0, 10, 20] {
            open.asked(reference, ms(at));
        }
        // 0 is too old at 25; 10 is the oldest left.
        assert_eq!(open.answered(reference, ms(25)), Some(ms(10)));
        assert_eq!(open.answered(reference, ms(26)), Some(ms(20)));
        assert_eq!(open.answered(reference, ms(27)), None);
        assert_eq!(open.answered("192.0.2.99".parse().unwrap(), ms(27)), None);
    }

    proptest! {
        #[test]
        fn any_frame_is_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 14..120), ipv6: bool
        ) {
            let ethertype = if ipv6 { ndp::ETHERTYPE } else { arp::ETHERTYPE };
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let _ = said(&bytes);
        }
    }
}
