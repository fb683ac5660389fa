//! Presets, derived times and the inequalities: what keeps them, and what each failure is told.

use std::time::Duration;

use duotone::config::Config;
use duotone::config::preset::{Given, Preset, resolve};
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::timing::Timing;
use proptest::prelude::*;

const PLAIN: &str = include_str!("../examples/duotone.toml");

/// The times of the example with another preset and more keys in `[timing]`.
fn parse(preset: &str, timing: &str) -> Result<Timing, String> {
    let text = PLAIN
        .replace("preset = \"voice\"", &format!("preset = \"{preset}\""))
        .replace("[timing] ", &format!("[timing]\n{timing}\n#"));
    let config = Config::parse(&text, "duotone.toml", Some("pbx-a"));
    config.map(|config| config.timing).map_err(|errors| errors.to_string())
}

#[test]
fn every_preset_keeps_every_inequality() {
    for (name, preset) in Preset::ALL {
        let timing = preset.timing();
        assert_eq!(timing.violations(Arbitration::LAN), vec![], "{name}");
        assert_eq!(parse(name, ""), Ok(timing), "{name}");
        // The short window costs nothing: it is over when the peer is lost.
        assert!(timing.short_window <= timing.lost_after - timing.late_after, "{name}: {timing:?}");
        // A hiccup of a virtual machine costs no service (P7).
        let (with_peer, alone) = timing.stall_tolerated(Arbitration::LAN);
        assert!(with_peer.min(alone) >= Duration::from_millis(30), "{name}: {with_peer:?}");
        assert_eq!(timing.address_lifetime, Duration::from_secs(2), "{name}");
    }
    let fast = Preset::Fast.timing();
    assert!(fast.lost_after <= Duration::from_millis(80), "{fast:?}");
}

#[test]
fn derived_times_are_at_most_a_tenth_above_their_bound() {
    for (name, preset) in Preset::ALL {
        let t = preset.timing();
        let grain = Duration::from_millis(5);
        let lan = t.lifetime_worst() + t.long_window + t.arbiter;
        assert!(t.lan_window <= lan + lan / 10 + grain, "{name}");
        let certificate = t.round_trip() + t.lost_after + t.lan_window;
        assert!(t.certificate <= certificate + certificate / 10 + grain, "{name}");
    }
}

#[test]
fn a_wrong_time_is_told_with_its_inequality() {
    for (timing, wanted) in [
        ("interval = 50", "interval: 50 has no unit; write \"50ms\""),
        ("interval = \"50msec\"", "unknown unit \"msec\"; write \"50ms\""),
        ("interval = \"0s\"", "interval is too short"),
        ("probes = 1", "a whole number from 2 to 1000"),
        ("address_lifetime = \"1500ms\"", "whole seconds; write \"2s\""),
        ("short_validity = \"10ms\"", "would expire before the next probe"),
        ("long_validity = \"20ms\"", "shorter than short_validity"),
        ("lost_after = \"200ms\"", "inequality 3 fails"),
        ("interval = \"100ms\"", "inequality 3 fails"),
        ("late_after = \"60ms\"", "inequality 1 fails"),
        ("release = \"0s\"", "inequality 2 fails"),
        ("certificate = \"1s\"", "or leave it out: it is derived"),
    ] {
        let errors = parse("voice", timing).expect_err(timing);
        assert!(errors.contains(wanted), "{timing}: wanted {wanted}\nin {errors}");
        let line = PLAIN.lines().position(|line| line.starts_with("[timing]")).expect("a line") + 2;
        let place = format!("duotone.toml:{line}:");
        assert!(errors.starts_with(&place), "{timing}: {place} {errors}");
    }
    let errors = parse("voice", "lost_after = \"200ms\"").expect_err("too short");
    let told = "lost_after (less drift) - release - late_after >= arbiter: 179.6ms against 210ms";
    assert!(
        errors.contains(told) && errors.contains("write lost_after = \"230.461ms\""),
        "{errors}"
    );
}

#[test]
fn each_inequality_can_fail_and_is_named() {
    type Spoil = fn(&mut Timing);
    let spoils: [(u8, &str, Spoil); 11] = [
        (1, "late_after", |t| t.late_after = t.round_trip()),
        (2, "release", |t| t.release = Duration::ZERO),
        (3, "lost_after", |t| t.lost_after = t.late_after + t.release),
        (4, "short_window", |t| t.short_window = t.short_validity + t.release),
        (4, "long_window", |t| t.long_window = t.long_validity + t.release),
        (5, "short_window", |t| t.probes = 1000),
        (5, "first_attempt", |t| t.first_attempt = t.short_window),
        (5, "short_validity_for", |t| t.short_validity_for = t.first_attempt),
        (6, "lan_window", |t| t.lan_window = t.address_lifetime + t.long_window),
        (7, "certificate", |t| t.certificate = t.lan_window + t.lost_after),
        (9, "start_grace", |t| t.start_grace = t.lost_after),
    ];
    for (number, key, spoil) in spoils {
        let mut timing = Preset::Voice.timing();
        spoil(&mut timing);
        let found = timing.violations(Arbitration::LAN);
        let named = found.iter().any(|v| v.number == number && v.fix.0 == key && v.left < v.right);
        assert!(named, "{number} {key}: {found:?}");
    }
}

/// The values that the messages name, written into the file.
fn follow_advice(timing: &mut Timing) {
    for violation in timing.violations(Arbitration::LAN) {
        let (key, value) = violation.fix;
        let place = match key {
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
            other => panic!("no such key: {other}"),
        };
        *place = (*place).max(value);
    }
}

proptest! {
    #[test]
    fn a_longer_lost_after_alone_keeps_every_inequality(
        preset in 0..Preset::ALL.len(),
        factor in 1.0..200.0f64,
        drift_ppm in 1..20_000u32,
    ) {
        let mut basic = Preset::ALL[preset].1.basic();
        // More drift eats the lease: room for it first.
        let room = 1.0 + 3.0 * f64::from(drift_ppm) / 1e6;
        basic.lost_after = basic.lost_after.mul_f64(room * factor);
        basic.drift_ppm = drift_ppm;
        prop_assert_eq!(resolve(&basic, &Given::default(), Arbitration::LAN).violations(Arbitration::LAN), vec![]);
    }

    #[test]
    fn the_advice_leads_to_a_valid_file(
        times in proptest::array::uniform12(1..5000u64),
        drift_ppm in 1..=100_000u32,
    ) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = times.map(Duration::from_millis);
        let t = Preset::Voice.timing();
        let t = Timing { interval: a / 10, delay: b / 10, late_after: c, lost_after: d, ..t };
        let t = Timing { release: e / 50, short_window: f, long_window: g, ..t };
        let t = Timing { short_validity: h / 10, first_attempt: i, lan_window: j, ..t };
        let mut t = Timing { certificate: k, start_grace: l, drift_ppm, ..t };
        for _ in 0..5 {
            follow_advice(&mut t);
        }
        prop_assert_eq!(t.violations(Arbitration::LAN), vec![]);
    }
}
