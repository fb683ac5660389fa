//! Who held the floating addresses when: from the hosts' kernels and from ARP on the LAN, never
//! from asking.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::clock::ms_between;
use super::watch::{Claim, Dark, Seen};
use super::world::{FLOATING, FLOATING_ALL, lan_mac};
use crate::protocol::time::Instant;

/// A frame's stamp is the wire's, an address change's that of the thread which reads it.
const STAMPS_DIFFER: Duration = Duration::from_millis(50);

/// The verdict on ownership between two times.
#[derive(Clone, Debug, Serialize)]
pub struct Ownership {
    /// Longest time that one address was in both kernels while both could be reached, milliseconds.
    pub overlap_ms: f64,
    /// Claims on the wire by a host whose kernel did not have the address.
    pub false_claims: usize,
    /// Address appearances and disappearances after the fault.
    pub moves: usize,
    /// When the new owner's kernel had the address.
    #[serde(skip)]
    pub held_at: Option<Instant>,
    /// When the new owner's first claim was on the wire.
    #[serde(skip)]
    pub claimed_at: Option<Instant>,
}

/// A time during which a host's kernel had an address and could be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    from: Instant,
    to: Option<Instant>,
}

impl Span {
    fn covers(&self, at: Instant, differ: Duration) -> bool {
        at + differ >= self.from && self.to.is_none_or(|to| at <= to + differ)
    }
}

/// Judges what was seen from `fault` to `end`; `was`: the owner before; `still`: how long the machine
/// kept even the threads waiting that read the changes.
pub fn judge(seen: &Seen, was: usize, fault: Instant, end: Instant, still: Duration) -> Ownership {
    let mut overlap_ms: f64 = 0.0;
    let mut moves = 0;
    let mut held_at: Option<Instant> = None;
    for (address, _) in FLOATING_ALL {
        let spans = [0, 1].map(|node| reachable(spans_of(seen, node, address), seen, node));
        for one in &spans[0] {
            for other in &spans[1] {
                overlap_ms = overlap_ms.max(overlap(*one, *other, fault, end));
            }
        }
        let within = |at: Instant| at > fault && at <= end;
        for (node, change) in changes_of(seen, address) {
            if !within(change.from) && !change.to.is_some_and(within) {
                continue;
            }
            moves += usize::from(within(change.from)) + usize::from(change.to.is_some_and(within));
            if node != was && within(change.from) {
                held_at = Some(held_at.map_or(change.from, |at| at.min(change.from)));
            }
        }
    }
    let claims = seen.claims.iter().filter(|claim| claim.at > fault && claim.at <= end);
    let claimed = claims.clone().find(|claim| claim.mac == lan_mac(1 - was));
    let false_claims = claims.filter(|claim| is_false(seen, claim, STAMPS_DIFFER + still)).count();
    Ownership { overlap_ms, false_claims, moves, held_at, claimed_at: claimed.map(|one| one.at) }
}

/// The claimant's own kernel did not have the address.
fn is_false(seen: &Seen, claim: &Claim, stamps_differ: Duration) -> bool {
    let Some(node) = [0, 1].into_iter().find(|&node| lan_mac(node) == claim.mac) else {
        return false;
    };
    !spans_of(seen, node, IpAddr::V4(FLOATING))
        .iter()
        .any(|span| span.covers(claim.at, stamps_differ))
}

fn changes_of(seen: &Seen, address: IpAddr) -> Vec<(usize, Span)> {
    let of = |node: usize| spans_of(seen, node, address).into_iter().map(move |span| (node, span));
    of(0).chain(of(1)).collect()
}

/// When a host's kernel had an address; what it had when its power went is gone then.
fn spans_of(seen: &Seen, node: usize, address: IpAddr) -> Vec<Span> {
    let powerless: Vec<&Dark> =
        seen.dark.iter().filter(|dark| dark.node == node && dark.forgets).collect();
    let inside = |dark: &Dark, at: Instant| at >= dark.from && dark.to.is_none_or(|to| at < to);
    let mut spans: Vec<Span> = Vec::new();
    for change in seen.changes.iter().filter(|c| c.node == node && c.change.address == address) {
        if powerless.iter().any(|dark| inside(dark, change.at)) {
            continue;
        }
        let open = spans.last_mut().filter(|span| span.to.is_none());
        // A span that was open when the power went was over then, whatever was not seen of it.
        let open = open.filter(|span| {
            !powerless.iter().any(|dark| dark.from >= span.from && dark.from <= change.at)
        });
        match (change.change.present, open) {
            (true, None) => spans.push(Span { from: change.at, to: None }),
            (false, Some(span)) => span.to = Some(change.at),
            // A renewal, or the end of what was never seen to begin.
            (true, Some(_)) | (false, None) => {}
        }
    }
    for span in spans.iter_mut().filter(|span| span.to.is_none()) {
        span.to = powerless.iter().map(|dark| dark.from).filter(|from| *from >= span.from).min();
    }
    spans
}

/// The parts of the spans in which the host could be reached.
fn reachable(mut spans: Vec<Span>, seen: &Seen, node: usize) -> Vec<Span> {
    for dark in seen.dark.iter().filter(|dark| dark.node == node) {
        spans = spans.into_iter().flat_map(|span| without(span, dark)).collect();
    }
    spans
}

fn without(span: Span, dark: &Dark) -> Vec<Span> {
    let before =
        Span { from: span.from, to: Some(span.to.map_or(dark.from, |to| to.min(dark.from))) };
    let mut parts = vec![before];
    if let Some(light) = dark.to {
        parts.push(Span { from: span.from.max(light), to: span.to });
    }
    parts.retain(|part| part.to.is_none_or(|to| to > part.from));
    parts
}

fn overlap(one: Span, other: Span, from: Instant, end: Instant) -> f64 {
    let from = one.from.max(other.from).max(from);
    let to = one.to.unwrap_or(end).min(other.to.unwrap_or(end)).min(end);
    if to > from { ms_between(from, to) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::AddressChange;
    use super::super::watch::HostChange;
    use super::*;

    const QUIET: Duration = Duration::ZERO;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn change(ms: u64, node: usize, present: bool) -> HostChange {
        let change = AddressChange { address: FLOATING.into(), present };
        HostChange { at: at(ms), node, change }
    }

    fn dark(from: u64, to: Option<u64>, forgets: bool) -> Dark {
        Dark { node: 0, from: at(from), to: to.map(at), forgets }
    }

    fn moved() -> Seen {
        let changes = vec![change(10, 0, true), change(15, 0, true), change(100, 1, true)];
        Seen { changes, ..Seen::default() }
    }

    #[test]
    fn two_owners_are_seen() {
        let mut seen = moved();
        seen.changes.push(change(130, 0, false));
        let split = judge(&seen, 0, at(50), at(900), QUIET);
        assert_eq!((split.overlap_ms, split.moves, split.held_at), (30.0, 2, Some(at(100))));
        assert_eq!(
            judge(&seen, 0, at(50), at(120), QUIET).overlap_ms,
            20.0,
            "no later than the end"
        );
        assert_eq!(
            judge(&seen, 0, at(110), at(900), QUIET).overlap_ms,
            20.0,
            "no earlier than the fault"
        );
    }

    #[test]
    fn a_powered_off_host_owns_nothing_then_and_nothing_after() {
        let mut seen = moved();
        seen.dark = vec![dark(50, None, true)];
        let off = judge(&seen, 0, at(49), at(900), QUIET);
        assert_eq!((off.overlap_ms, off.moves, off.held_at), (0.0, 2, Some(at(100))));
        seen.dark = vec![dark(50, Some(300), true)];
        // The clean-up of the namespace while it is off is no change of ownership.
        seen.changes.push(change(290, 0, false));
        assert_eq!(judge(&seen, 0, at(49), at(900), QUIET).overlap_ms, 0.0);
        seen.changes.push(change(400, 0, true));
        assert_eq!(
            judge(&seen, 0, at(49), at(410), QUIET).overlap_ms,
            10.0,
            "taken again: two owners"
        );
    }

    #[test]
    fn a_frozen_host_owns_again_when_it_thaws() {
        let mut seen = moved();
        seen.dark = vec![dark(50, Some(300), false)];
        seen.changes.push(change(312, 0, false));
        assert_eq!(judge(&seen, 0, at(49), at(900), QUIET).overlap_ms, 12.0, "the wake window");
        seen.changes[3] = change(200, 0, false);
        assert_eq!(
            judge(&seen, 0, at(49), at(900), QUIET).overlap_ms,
            0.0,
            "it expired in between"
        );
    }

    #[test]
    fn a_claim_without_the_address_is_false() {
        let mut seen = moved();
        seen.changes.push(change(90, 0, false));
        seen.changes.sort_by_key(|change| change.at);
        let claim = |ms, node| Claim { at: at(ms), mac: lan_mac(node) };
        seen.claims = vec![claim(20, 0), claim(101, 1), claim(200, 0), claim(950, 0)];
        let judged = judge(&seen, 0, at(50), at(900), QUIET);
        assert_eq!((judged.false_claims, judged.claimed_at), (1, Some(at(101))));
        // Even the watchers stood still for so long: that is no claim without the address.
        let still = Duration::from_millis(100);
        assert_eq!(judge(&seen, 0, at(50), at(900), still).false_claims, 0);
        seen.claims[2] = Claim { at: at(200), mac: [9; 6] };
        assert_eq!(
            judge(&seen, 0, at(50), at(900), QUIET).false_claims,
            0,
            "a stranger's is not the pair's"
        );
    }
}
