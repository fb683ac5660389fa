//! Who held the floating addresses when: from the hosts' kernels and from ARP on the LAN, never
//! from asking.

use std::net::IpAddr;

use serde::Serialize;

use super::clock::ms_between;
use super::watch::Seen;
use super::world::{FLOATING_ALL, lan_mac};
use crate::protocol::time::Instant;

/// The verdict on ownership.
#[derive(Clone, Debug, Serialize)]
pub struct Ownership {
    /// Longest time that one address was in both kernels, milliseconds.
    pub overlap_ms: f64,
    /// Claims of the old owner on the wire after the first of the new owner, after the fault.
    pub late_claims: usize,
    /// Address appearances and disappearances after the fault.
    pub moves: usize,
    /// When the new owner's kernel had the address.
    #[serde(skip)]
    pub held_at: Option<Instant>,
    /// When the new owner's first claim was on the wire.
    #[serde(skip)]
    pub claimed_at: Option<Instant>,
}

/// A time during which a host's kernel had an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    from: Instant,
    to: Option<Instant>,
}

/// Judges what was seen; `off`: a host that lost its power, and when (what its kernel still had
/// then, nobody can reach); until `end`.
pub fn judge(
    seen: &Seen,
    off: Option<(usize, Instant)>,
    fault: Instant,
    end: Instant,
) -> Ownership {
    let mut overlap_ms: f64 = 0.0;
    let mut moves = 0;
    let mut held_at: Option<Instant> = None;
    for (address, _) in FLOATING_ALL {
        let spans = [0, 1].map(|node| spans_of(seen, node, address, off));
        for one in &spans[0] {
            for other in &spans[1] {
                overlap_ms = overlap_ms.max(overlap(*one, *other, end));
            }
        }
        for span in spans.iter().flatten() {
            if span.from > fault {
                moves += 1;
                held_at = Some(held_at.map_or(span.from, |at| at.min(span.from)));
            }
            moves += usize::from(span.to.is_some_and(|to| to > fault));
        }
    }
    let owner = |mac: [u8; 6]| [0, 1].into_iter().find(|&node| lan_mac(node) == mac);
    let before = seen.claims.iter().rfind(|claim| claim.at <= fault).map(|claim| claim.mac);
    let after = seen.claims.iter().filter(|claim| claim.at > fault && owner(claim.mac).is_some());
    let first = after.clone().find(|claim| before.is_some_and(|mac| mac != claim.mac));
    let late_claims = first.map_or(0, |first| {
        after.filter(|claim| claim.at > first.at && claim.mac != first.mac).count()
    });
    Ownership { overlap_ms, late_claims, moves, held_at, claimed_at: first.map(|claim| claim.at) }
}

fn spans_of(seen: &Seen, node: usize, address: IpAddr, off: Option<(usize, Instant)>) -> Vec<Span> {
    let power = off.filter(|(which, _)| *which == node).map(|(_, at)| at);
    let mut spans: Vec<Span> = Vec::new();
    for change in seen.changes.iter().filter(|c| c.node == node && c.change.address == address) {
        if power.is_some_and(|at| change.at >= at) {
            break;
        }
        let open = spans.last_mut().filter(|span| span.to.is_none());
        match (change.change.present, open) {
            (true, None) => spans.push(Span { from: change.at, to: None }),
            (false, Some(span)) => span.to = Some(change.at),
            // A renewal, or the end of what was never seen to begin.
            (true, Some(_)) | (false, None) => {}
        }
    }
    if let (Some(span), Some(at)) = (spans.last_mut(), power) {
        span.to.get_or_insert(at);
    }
    spans
}

fn overlap(one: Span, other: Span, end: Instant) -> f64 {
    let from = one.from.max(other.from);
    let to = one.to.unwrap_or(end).min(other.to.unwrap_or(end));
    if to > from { ms_between(from, to) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::AddressChange;
    use super::super::watch::{Claim, HostChange};
    use super::super::world::FLOATING;
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn change(ms: u64, node: usize, present: bool) -> HostChange {
        let change = AddressChange { address: FLOATING.into(), present };
        HostChange { at: at(ms), node, change }
    }

    #[test]
    fn two_owners_are_seen_and_a_powered_off_one_is_none() {
        let changes = vec![change(10, 0, true), change(15, 0, true), change(100, 1, true)];
        let mut seen = Seen { changes, ..Seen::default() };
        let off = judge(&seen, Some((0, at(50))), at(50), at(900));
        assert_eq!((off.overlap_ms, off.moves, off.held_at), (0.0, 1, Some(at(100))));
        seen.changes.push(change(130, 0, false));
        let split = judge(&seen, None, at(50), at(900));
        assert_eq!((split.overlap_ms, split.moves), (30.0, 2));
    }

    #[test]
    fn a_late_claim_of_the_old_owner_is_seen() {
        let claim = |ms, node| Claim { at: at(ms), mac: lan_mac(node) };
        let claims = vec![claim(10, 0), claim(100, 1), claim(120, 0)];
        let seen = Seen { claims, ..Seen::default() };
        let judged = judge(&seen, None, at(50), at(900));
        assert_eq!((judged.late_claims, judged.claimed_at), (1, Some(at(100))));
    }
}
