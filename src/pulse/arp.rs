//! ARP packets for IPv4 over Ethernet (RFC 826), as RFC 5227 uses them.

use std::net::Ipv4Addr;

use socket2::SockFilter;

use super::frames::{BROADCAST, Frame, Mac};

/// ARP's EtherType.
pub const ETHERTYPE: u16 = 0x0806;

/// Bytes of a packet without the Ethernet header.
const PACKET_BYTES: usize = 28;
/// Hardware type Ethernet, protocol type IPv4 and their address lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Question or answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Question or answer.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The target's hardware address; nothing in a question.
    pub target_mac: Mac,
    /// The address that is asked for, or the one to which the answer goes.
    pub target: Ipv4Addr,
}

impl Packet {
    /// A probe: asks without claiming anything (RFC 5227 §2.1.1).
    pub fn probe(mac: Mac, target: Ipv4Addr) -> Packet {
        Packet {
            operation: Operation::Request,
            sender_mac: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: [0; 6],
            target,
        }
    }

    /// An announcement in the form of a question (RFC 5227 §2.3).
    pub fn announcement(mac: Mac, address: Ipv4Addr) -> Packet {
        Packet { sender: address, ..Packet::probe(mac, address) }
    }

    /// An announcement in the form of an answer (RFC 5944 §4.6), for hosts that heed no other.
    pub fn announcement_reply(mac: Mac, address: Ipv4Addr) -> Packet {
        Packet {
            operation: Operation::Reply,
            target_mac: mac,
            ..Packet::announcement(mac, address)
        }
    }

    /// The frame that carries it to everyone.
    pub fn broadcast(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(PACKET_BYTES);
        payload.extend_from_slice(&ETHERNET_IPV4);
        payload.extend_from_slice(match self.operation {
            Operation::Request => &[0, 1],
            Operation::Reply => &[0, 2],
        });
        payload.extend_from_slice(&self.sender_mac);
        payload.extend_from_slice(&self.sender.octets());
        payload.extend_from_slice(&self.target_mac);
        payload.extend_from_slice(&self.target.octets());
        Frame {
            destination: BROADCAST,
            source: self.sender_mac,
            ethertype: ETHERTYPE,
            payload: &payload,
        }
        .write()
    }

    /// Reads a frame; `None` when it is anything but ARP for IPv4 over Ethernet.
    pub fn read(frame: &Frame<'_>) -> Option<Packet> {
        let packet = frame.payload.first_chunk::<PACKET_BYTES>()?;
        if frame.ethertype != ETHERTYPE || packet[..6] != ETHERNET_IPV4 {
            return None;
        }
        let operation = match packet[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let address =
            |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        Some(Packet {
            operation,
            sender_mac: packet[8..14].try_into().ok()?,
            sender: address(14),
            target_mac: packet[18..24].try_into().ok()?,
            target: address(24),
        })
    }
}

/// A filter that lets through what one of `senders` says, or what asks for one of `targets`.
/// It only saves wake-ups: whoever receives checks again, and with too many addresses for the
/// filter's jumps everything passes.
pub fn filter(senders: &[Ipv4Addr], targets: &[Ipv4Addr]) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const SENDER_AT: u32 = 28;
    const TARGET_AT: u32 = 38;
    let pass = SockFilter::new(RETURN, 0, 0, u32::MAX);
    if senders.len() + targets.len() > 200 {
        return vec![pass];
    }
    let mut filter = Vec::new();
    // Two loads, the comparisons and "refuse" stand before the last instruction, "pass".
    let pass_at = senders.len() + targets.len() + 3;
    for (at, addresses) in [(SENDER_AT, senders), (TARGET_AT, targets)] {
        filter.push(SockFilter::new(LOAD_WORD, 0, 0, at));
        for address in addresses {
            let over = (pass_at - filter.len() - 1) as u8;
            filter.push(SockFilter::new(JUMP_IF_EQUAL, over, 0, u32::from(*address)));
        }
    }
    filter.push(SockFilter::new(RETURN, 0, 0, 0));
    filter.push(pass);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    #[test]
    fn a_probe_has_the_bytes_of_rfc_5227() {
        let bytes = Packet::probe(MAC, ADDRESS).broadcast();
        let expected: Vec<u8> = [
            &[0xff; 6][..],
            &MAC,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &MAC,
            &[0, 0, 0, 0],
            &[0; 6],
            &[192, 0, 2, 10],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sender: u32, target: u32, reply: bool, macs: (Mac, Mac)) {
            let packet = Packet {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: macs.0,
                sender: sender.into(),
                target_mac: macs.1,
                target: target.into(),
            };
            let bytes = packet.broadcast();
            prop_assert_eq!(Frame::read(&bytes).and_then(|f| Packet::read(&f)), Some(packet));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(frame) = Frame::read(&bytes) {
                let _ = Packet::read(&frame);
            }
        }

        #[test]
        fn one_damaged_byte_of_the_header_is_refused(at in 0usize..6, by in 1u8..) {
            let mut bytes = Packet::probe(MAC, ADDRESS).broadcast();
            bytes[14 + at] ^= by;
            prop_assert_eq!(Frame::read(&bytes).and_then(|f| Packet::read(&f)), None);
        }
    }
}
