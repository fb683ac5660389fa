//! Telling the LAN who holds an address now, so that nobody waits for a cache to expire.

use std::net::IpAddr;

use super::frames::Mac;
use super::{arp, ndp};

/// One of each form for an address that this host holds: for IPv4 a gratuitous ARP question and
/// a gratuitous answer (hosts differ in which they heed), for IPv6 an unsolicited advertisement
/// that overrides. Repeating them is the caller's decision.
pub fn frames(own: Mac, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![
            arp::Packet::announcement(own, address).broadcast(),
            arp::Packet::announcement_reply(own, address).broadcast(),
        ],
        IpAddr::V6(address) => vec![ndp::Message::announcement(own, address).multicast(own)],
    }
}
