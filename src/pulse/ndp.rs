//! Neighbour discovery for IPv6 over Ethernet (RFC 4861), solicitations and advertisements only.

use std::net::Ipv6Addr;

use socket2::SockFilter;

use super::frames::{Frame, HEADER_BYTES, Mac};

/// IPv6's EtherType.
pub const ETHERTYPE: u16 = 0x86dd;
/// Every host on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const IPV6_HEADER_BYTES: usize = 40;
/// Type, code, checksum, flags, target.
const ICMP_BYTES: usize = 24;
const NEXT_HEADER_ICMPV6: u8 = 58;
/// RFC 4861 §7.1: nothing that a router has forwarded is believed.
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Who has the target address?
    Solicitation,
    /// The sender has the target address.
    Advertisement {
        /// It answers a solicitation of its receiver.
        solicited: bool,
    },
}

/// A solicitation or advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// From which address; unspecified while an address is being claimed (RFC 4862 §5.4.2).
    pub source: Ipv6Addr,
    /// To which address.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// The sender's hardware address as its option says it.
    pub mac: Option<Mac>,
}

impl Message {
    /// Asks for an address without having one (RFC 4862 §5.4.2). The holder answers to all nodes.
    pub fn probe(target: Ipv6Addr) -> Message {
        Message {
            kind: Kind::Solicitation,
            source: Ipv6Addr::UNSPECIFIED,
            destination: solicited_node(target),
            target,
            mac: None,
        }
    }

    /// Asks for an address from the link-local address that belongs to `mac` alone, so that the
    /// answer comes back to this host and no other, whether or not it has configured that address.
    pub fn question(mac: Mac, target: Ipv6Addr) -> Message {
        Message { source: link_local(mac), mac: Some(mac), ..Message::probe(target) }
    }

    /// Tells all nodes who holds an address (RFC 4861 §7.2.6).
    pub fn announcement(mac: Mac, address: Ipv6Addr) -> Message {
        Message {
            kind: Kind::Advertisement { solicited: false },
            source: address,
            destination: ALL_NODES,
            target: address,
            mac: Some(mac),
        }
    }

    /// The frame that carries it to its multicast group, from `mac`.
    pub fn multicast(&self, mac: Mac) -> Vec<u8> {
        let mut icmp = Vec::with_capacity(ICMP_BYTES + 8);
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (SOLICITATION, 0, OPTION_SOURCE_MAC),
            Kind::Advertisement { solicited: true } => {
                (ADVERTISEMENT, FLAG_OVERRIDE | FLAG_SOLICITED, OPTION_TARGET_MAC)
            }
            Kind::Advertisement { solicited: false } => {
                (ADVERTISEMENT, FLAG_OVERRIDE, OPTION_TARGET_MAC)
            }
        };
        icmp.extend_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
        icmp.extend_from_slice(&self.target.octets());
        if let Some(mac) = self.mac {
            icmp.extend_from_slice(&[option, 1]);
            icmp.extend_from_slice(&mac);
        }
        let sum = !checksum(self.source, self.destination, &icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut packet = Vec::with_capacity(IPV6_HEADER_BYTES + icmp.len());
        packet.extend_from_slice(&[0x60, 0, 0, 0]);
        packet.extend_from_slice(&(icmp.len() as u16).to_be_bytes());
        packet.extend_from_slice(&[NEXT_HEADER_ICMPV6, HOP_LIMIT]);
        packet.extend_from_slice(&self.source.octets());
        packet.extend_from_slice(&self.destination.octets());
        packet.extend_from_slice(&icmp);
        let group = self.destination.octets();
        // RFC 2464 §7: a group's frames go to 33-33 and its last four bytes.
        let destination = [0x33, 0x33, group[12], group[13], group[14], group[15]];
        Frame { destination, source: mac, ethertype: ETHERTYPE, payload: &packet }.write()
    }

    /// Reads a frame; `None` when it is anything else, or not valid by RFC 4861 §7.1.
    pub fn read(frame: &Frame<'_>) -> Option<Message> {
        let (header, rest) = frame.payload.split_first_chunk::<IPV6_HEADER_BYTES>()?;
        if frame.ethertype != ETHERTYPE
            || header[0] >> 4 != 6
            || header[6] != NEXT_HEADER_ICMPV6
            || header[7] != HOP_LIMIT
        {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let icmp = rest.get(..length)?;
        let (fixed, options) = icmp.split_first_chunk::<ICMP_BYTES>()?;
        let source = address(header, 8)?;
        let destination = address(header, 24)?;
        let target = address(fixed, 8)?;
        if checksum(source, destination, icmp) != 0xffff || fixed[1] != 0 || target.is_multicast() {
            return None;
        }
        let (kind, option) = match fixed[0] {
            SOLICITATION => (Kind::Solicitation, OPTION_SOURCE_MAC),
            ADVERTISEMENT => {
                let solicited = fixed[4] & FLAG_SOLICITED != 0;
                (Kind::Advertisement { solicited }, OPTION_TARGET_MAC)
            }
            _ => return None,
        };
        let mac = mac_option(options, option)?;
        Some(Message { kind, source, destination, target, mac })
    }
}

/// The group in which the holder of an address listens for questions (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let last = address.octets();
    let low = u16::from_be_bytes([last[14], last[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(last[13]), low)
}

/// The link-local address with the modified EUI-64 of a hardware address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A filter that lets through solicitations and advertisements. It only saves wake-ups.
pub fn filter() -> [SockFilter; 7] {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const NEXT_HEADER_AT: u32 = HEADER_BYTES as u32 + 6;
    const TYPE_AT: u32 = (HEADER_BYTES + IPV6_HEADER_BYTES) as u32;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, NEXT_HEADER_AT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, NEXT_HEADER_ICMPV6 as u32),
        SockFilter::new(LOAD_BYTE, 0, 0, TYPE_AT),
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, SOLICITATION as u32),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, ADVERTISEMENT as u32),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

/// The hardware address in the options, if there is one; `None` when the options are damaged (an
/// option of length zero, or one that is cut off, makes the message invalid).
fn mac_option(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        let body = options.get(2..length)?;
        if kind == wanted && units == 1 {
            found = body.try_into().ok();
        }
        options = &options[length..];
    }
    options.is_empty().then_some(found)
}

/// The Internet checksum over pseudo-header and message (RFC 8200 §8.1), not complemented: all
/// ones when the message carries the right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum()
    };
    // At most 65535 bytes of message: the sum of words stays far below 2^32.
    let mut sum = words(&source.octets())
        + words(&destination.octets())
        + icmp.len() as u32
        + u32::from(NEXT_HEADER_ICMPV6)
        + words(icmp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    fn floating() -> Ipv6Addr {
        "2001:db8::10".parse().unwrap()
    }

    fn read(bytes: &[u8]) -> Option<Message> {
        Frame::read(bytes).and_then(|frame| Message::read(&frame))
    }

    #[test]
    fn addresses_are_derived_as_the_rfcs_say() {
        assert_eq!(solicited_node(floating()), "ff02::1:ff00:10".parse::<Ipv6Addr>().unwrap());
        assert_eq!(link_local(MAC), "fe80::ff:fe00:1".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn an_option_of_length_zero_is_refused() {
        assert_eq!(mac_option(&[2, 0, 0, 0, 0, 0, 0, 0], 2), None);
        assert_eq!(mac_option(&[2, 2, 0, 0, 0, 0, 0, 0], 2), None);
        assert_eq!(mac_option(&[2], 2), None);
        assert_eq!(
            mac_option(&[14, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1], 2),
            Some(Some(MAC))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(target: u128, solicited: bool, form in 0..4) {
            let target = Ipv6Addr::from(target);
            prop_assume!(!target.is_multicast());
            let message = match form {
                0 => Message::probe(target),
                1 => Message::question(MAC, target),
                2 => Message::announcement(MAC, target),
                _ => Message {
                    kind: Kind::Advertisement { solicited },
                    ..Message::announcement(MAC, target)
                },
            };
            prop_assert_eq!(read(&message.multicast(MAC)), Some(message));
        }

        #[test]
        fn one_damaged_byte_is_refused(at in 0usize..72, by in 1u8..) {
            // Not the traffic class and flow label, which nothing covers.
            prop_assume!(!(1..4).contains(&at));
            let mut bytes = Message::announcement(MAC, floating()).multicast(MAC);
            bytes[14 + at] ^= by;
            // The low half of the first byte is traffic class, too.
            prop_assume!(at != 0 || by >= 0x10);
            prop_assert_eq!(read(&bytes), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_options_are_read_or_refused(options in proptest::collection::vec(0u8..4, 0..40)) {
            let _ = mac_option(&options, 2);
        }
    }
}
