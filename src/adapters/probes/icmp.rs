//! Does a host answer ping? ICMP echo (RFC 792, RFC 4443 §4) over a raw socket (CAP_NET_RAW).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Bad, CouldNotRun, judge};

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Asks once.
pub async fn ask(target: IpAddr, timeout: Duration) -> Answer {
    let asked = Instant::now();
    let mut token = [0; 16];
    if getrandom::fill(&mut token).is_err() {
        return Answer::CouldNotRun(CouldNotRun::NoRandom);
    }
    match timeout_at(asked + timeout, exchange(target, token)).await {
        Ok(Ok(())) => Answer::Good(asked.elapsed()),
        Ok(Err(error)) => judge("ping", &error),
        Err(_) => Answer::Bad(Bad::NoAnswer(timeout)),
    }
}

async fn exchange(target: IpAddr, token: [u8; 16]) -> io::Result<()> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let raw = Socket::new(domain, Type::RAW, Some(protocol))?;
    raw.set_nonblocking(true)?;
    // Connected: only this host's packets are received.
    raw.connect(&SocketAddr::new(target, 0).into())?;
    let socket = UdpSocket::from_std(raw.into())?;
    socket.send(&request(target, token)).await?;
    let mut buffer = [0; 1500];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_reply(target, &buffer[..length], token) {
            return Ok(());
        }
    }
}

/// The token stands in the identifier, the sequence number and the data, and comes back with them.
fn request(target: IpAddr, token: [u8; 16]) -> Vec<u8> {
    let kind = if target.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend_from_slice(&token);
    if target.is_ipv4() {
        // That of IPv6 is the kernel's work.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn is_reply(target: IpAddr, received: &[u8], token: [u8; 16]) -> bool {
    // A raw IPv4 socket gives the IP header too (raw(7)).
    let (kind, skip) = match target {
        IpAddr::V4(_) => (0, received.first().map_or(0, |first| usize::from(first & 0xf) * 4)),
        IpAddr::V6(_) => (129, 0),
    };
    let Some(packet) = received.get(skip..) else { return false };
    packet.first() == Some(&kind) && packet.get(HEADER - 4..) == Some(&token[..])
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        let packet = request([127, 0, 0, 1].into(), [7; 16]);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(packet.len(), HEADER + 12);
    }

    #[test]
    fn only_the_echo_of_the_own_token_is_a_reply() {
        let v4: IpAddr = [192, 0, 2, 1].into();
        let header = |kind| [&[0x45; 20][..], &[kind, 0, 0, 0], &[7; 16]].concat();
        assert!(is_reply(v4, &header(0), [7; 16]));
        assert!(!is_reply(v4, &header(8), [7; 16]), "a question");
        assert!(!is_reply(v4, &header(0), [8; 16]), "somebody else's");
        for cut in 0..40 {
            assert!(!is_reply(v4, &header(0)[..cut], [7; 16]), "{cut}");
        }
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(is_reply(v6, &[&[129, 0, 9, 9][..], &[7; 16]].concat(), [7; 16]));
        assert!(!is_reply(v6, &[], [7; 16]));
    }
}
