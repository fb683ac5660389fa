//! The inequalities of PROTOCOL.md, written down a second time: in whole nanoseconds, from its text.

use std::time::Duration;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::timing::Timing;

/// Prime numbers of nanoseconds, each of another size: a wrong sum, product or order shows.
pub fn odd() -> Timing {
    let span = |millis: u64, prime: u64| Duration::from_nanos(millis * 1_000_000 + prime);
    Timing {
        interval: span(53, 101),
        delay: span(11, 1_009),
        late_after: span(97, 103),
        lost_after: span(173, 10_007),
        start_grace: span(223, 107),
        drift_ppm: 1_709,
        release: span(29, 109),
        arbiter: span(61, 113),
        probe_interval: span(17, 127),
        probes: 7,
        short_window: span(37, 131),
        long_window: span(41, 137),
        short_validity: span(43, 139),
        long_validity: span(149, 149),
        first_attempt: span(59, 151),
        short_validity_for: span(67, 157),
        address_lifetime: Duration::from_secs(3),
        lan_window: span(701, 163),
        certificate: span(907, 167),
        replication_stall: span(991, 173),
        grant: span(157, 179),
        grant_renewal: span(83, 181),
        fence: span(503, 191),
        fence_delay: span(127, 193),
        step_deadline: span(5_003, 197),
        critical_down: span(1_511, 199),
    }
}

/// Both sides of each inequality: number, what must be at least, what it must reach.
fn by_hand(t: &Timing, arbitration: Arbitration) -> Vec<(u8, u128, u128)> {
    let n = |span: Duration| span.as_nanos();
    let drift = |nanos: u128| nanos * u128::from(t.drift_ppm) * 2 / 1_000_000;
    let (i, d, r, a) = (n(t.interval), n(t.delay), n(t.release), n(t.arbiter));
    let (lost, late) = (n(t.lost_after), n(t.late_after));
    let (w1, w2) = (n(t.short_window), n(t.long_window));
    let (v1, v2) = (n(t.short_validity), n(t.long_validity));
    let (q, k, g, f) = (n(t.first_attempt), n(t.lan_window), n(t.grant), n(t.fence));
    let c = n(t.certificate) - drift(n(t.certificate));
    let both_ways = 2 * (i + d);
    let lifetime = n(t.address_lifetime) + 400_000_000;
    let mut all = vec![
        (1, late, both_ways + i),
        (2, r, 1),
        (3, (lost - drift(lost)).saturating_sub(r), late + a),
        (4, w1, v1 + drift(v1) + r + 1),
        (4, w2, v2 + drift(v2) + r + 1),
        (5, w1, 6 * n(t.probe_interval)),
        (5, q, w1 + both_ways),
        (5, n(t.short_validity_for), q + drift(q) + drift(lost) + r + d + i),
        (6, k, lifetime + w2 + a),
        (7, c, both_ways + lost + k),
    ];
    if arbitration.witness {
        all.push((7, c, both_ways + lost + g + a));
        all.push((10, (g - drift(g)).saturating_sub(r), n(t.grant_renewal) + a));
    }
    if arbitration.fence {
        let ordered = lost + n(t.fence_delay).max(k);
        all.push((7, c, both_ways + ordered + f));
        all.push((11, n(t.fence_delay), f + both_ways));
    }
    all.push((9, n(t.start_grace), lost + drift(lost) + both_ways));
    all
}

fn all_arbitrations() -> [Arbitration; 4] {
    [Arbitration::LAN, Arbitration::WITNESS, Arbitration::FENCE, Arbitration::WITNESS_AND_FENCE]
}

#[test]
fn both_sides_of_every_inequality_are_those_of_the_text() {
    let mut met = std::collections::BTreeSet::new();
    let long_fence = Timing { fence_delay: Duration::from_millis(809), ..odd() };
    let nothing = Timing { release: Duration::ZERO, ..odd() };
    let generous = Timing { lost_after: Duration::from_secs(2), ..odd() };
    for timing in [odd(), long_fence, nothing, generous] {
        for arbitration in all_arbitrations() {
            let wanted: Vec<(u8, u128, u128)> = by_hand(&timing, arbitration)
                .into_iter()
                .filter(|(_, left, right)| left < right)
                .collect();
            let found = timing.violations(arbitration);
            let told: Vec<_> = found
                .iter()
                .map(|it| (it.number, it.left.as_nanos(), it.right.as_nanos()))
                .collect();
            assert_eq!(told, wanted, "{arbitration:?}");
            met.extend(wanted.iter().map(|(number, ..)| *number));
        }
    }
    assert_eq!(met.into_iter().collect::<Vec<u8>>(), [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]);
}

/// What the message proposes is the least that helps, but for the rounding of drift.
#[test]
fn the_proposed_value_is_the_least_that_helps() {
    for arbitration in all_arbitrations() {
        for violation in odd().violations(arbitration) {
            let (key, value) = violation.fix;
            // One key may be in several inequalities: the same one is meant.
            let still = |value: Duration| {
                let mut timing = odd();
                *place(&mut timing, key) = value;
                let found = timing.violations(arbitration);
                found.iter().any(|it| it.rule == violation.rule)
            };
            assert!(!still(value), "{key} = {value:?} does not help: {}", violation.rule);
            let less = value - Duration::from_nanos(3);
            // Who writes `release` gets a millisecond, as no smaller one means anything.
            assert_eq!(still(less), key != "release", "{key} = {less:?}: {}", violation.rule);
        }
    }
}

fn place<'a>(timing: &'a mut Timing, key: &str) -> &'a mut Duration {
    match key {
        "late_after" => &mut timing.late_after,
        "release" => &mut timing.release,
        "lost_after" => &mut timing.lost_after,
        "short_window" => &mut timing.short_window,
        "long_window" => &mut timing.long_window,
        "first_attempt" => &mut timing.first_attempt,
        "short_validity_for" => &mut timing.short_validity_for,
        "lan_window" => &mut timing.lan_window,
        "certificate" => &mut timing.certificate,
        "start_grace" => &mut timing.start_grace,
        "grant" => &mut timing.grant,
        "fence_delay" => &mut timing.fence_delay,
        other => panic!("no such key: {other}"),
    }
}

#[test]
fn the_stall_that_costs_nothing_is_what_is_left() {
    let millis = Duration::from_millis;
    let t = Timing { drift_ppm: 0, ..odd() };
    let (with_peer, _) = t.stall_tolerated(Arbitration::LAN);
    assert_eq!(with_peer, t.lost_after - t.release - (t.interval + t.delay) * 2);
    // The references are asked in a quarter of their validity, but not more often than is probed.
    assert_eq!(t.reference_period(), t.long_validity / 4);
    let rare = Timing { probe_interval: millis(40), ..t };
    assert_eq!(rare.reference_period(), millis(40));
    assert_eq!(
        t.stall_tolerated(Arbitration::LAN).1,
        t.long_validity - t.long_validity / 4 - t.arbiter
    );
    let long = Timing { grant: millis(907), ..t };
    assert_eq!(
        long.stall_tolerated(Arbitration::WITNESS).1,
        millis(907) - t.release - t.grant_renewal - t.arbiter * 2
    );
    assert_eq!(t.stall_tolerated(Arbitration::WITNESS).1, Duration::ZERO, "nothing is left");
    for (lost, calm) in [(100, 1_000), (700, 1_400), (2_600, 5_000)] {
        assert_eq!(Timing { lost_after: millis(lost), ..t }.calm_period(), millis(calm));
    }
}
