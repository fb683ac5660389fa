//! The section `[timing]`: a preset's basic times, the file's own, the rest derived, and every
//! inequality that then fails, with the value that helps.

use std::time::Duration;

use crate::protocol::arbiter::Arbitration;
use crate::protocol::timing::{Timing, Violation};

use super::document::Section;
use super::error::Report;
use super::preset::{Basic, Given, Preset, resolve};
use super::unit::time;

/// Keys of the file, each with the offset of its value: where to point when something fails.
type GivenKeys = Vec<(&'static str, usize)>;

/// Reads `[timing]` over a preset; every failing inequality is reported.
pub(super) fn read(
    mut section: Section<'_>,
    preset: Preset,
    arbitration: Arbitration,
    report: &Report<'_>,
) -> Timing {
    let before = report.count();
    let mut keys = GivenKeys::new();
    let basic = basic(&mut section, preset.basic(), &mut keys, report);
    let given = given(&mut section, &mut keys);
    let timing = resolve(&basic, &given, arbitration);
    let offset = section.offset;
    section.close();
    // A value that could not be read was replaced by the preset's: no verdict on such a mixture.
    if report.count() == before {
        for violation in timing.violations(arbitration) {
            report.at(blamed(&violation, &keys).unwrap_or(offset), sentence(&violation, &keys));
        }
    }
    timing
}

fn basic(
    section: &mut Section<'_>,
    preset: Basic,
    keys: &mut GivenKeys,
    report: &Report<'_>,
) -> Basic {
    let mut taken = |key: &'static str, default: Duration, least: Duration| {
        let Some(found) = section.time(key) else { return default };
        keys.push((key, found.offset));
        if found.value < least {
            let least = time(least);
            report.at(found.offset, format!("{key} is too short; write \"{least}\" or more"));
        }
        found.value
    };
    let millisecond = Duration::from_millis(1);
    let mut basic = Basic {
        interval: taken("interval", preset.interval, millisecond),
        delay: taken("delay", preset.delay, Duration::from_micros(100)),
        lost_after: taken("lost_after", preset.lost_after, millisecond),
        release: taken("release", preset.release, Duration::ZERO),
        arbiter: taken("arbiter", preset.arbiter, millisecond),
        probe_interval: taken("probe_interval", preset.probe_interval, millisecond),
        short_validity: taken("short_validity", preset.short_validity, millisecond),
        long_validity: taken("long_validity", preset.long_validity, millisecond),
        address_lifetime: taken("address_lifetime", preset.address_lifetime, millisecond * 1000),
        replication_stall: taken("replication_stall", preset.replication_stall, millisecond * 100),
        step_deadline: taken("step_deadline", preset.step_deadline, millisecond * 100),
        critical_down: taken("critical_down", preset.critical_down, Duration::ZERO),
        ..preset
    };
    if let Some(ppm) = section.integer("drift_ppm", 1, 100_000) {
        basic.drift_ppm = ppm.value;
        keys.push(("drift_ppm", ppm.offset));
    }
    if let Some(probes) = section.integer("probes", 2, 1000) {
        basic.probes = probes.value;
        keys.push(("probes", probes.offset));
    }
    plausible(&basic, keys, section.offset, report);
    basic
}

/// What no inequality says, but no pair can work without.
fn plausible(basic: &Basic, keys: &GivenKeys, offset: usize, report: &Report<'_>) {
    let place = |wanted: [&str; 2]| {
        let given = |key| keys.iter().find(|(name, _)| *name == key).map(|&(_, offset)| offset);
        wanted.into_iter().find_map(given).unwrap_or(offset)
    };
    if basic.address_lifetime.subsec_nanos() != 0 {
        let whole = Duration::from_secs(basic.address_lifetime.as_secs() + 1);
        report.at(
            place(["address_lifetime", ""]),
            format!("address_lifetime: the kernel counts whole seconds; write \"{}\"", time(whole)),
        );
    }
    if basic.short_validity <= basic.probe_interval {
        let least = basic.probe_interval * 2;
        report.at(
            place(["short_validity", "probe_interval"]),
            format!(
                "short_validity: an answer would expire before the next probe is sent; write \
                 \"{}\" or more",
                time(least)
            ),
        );
    }
    if basic.long_validity < basic.short_validity {
        report.at(
            place(["long_validity", "short_validity"]),
            format!(
                "long_validity is shorter than short_validity; write \"{}\" or more",
                time(basic.short_validity)
            ),
        );
    }
}

fn given(section: &mut Section<'_>, keys: &mut GivenKeys) -> Given {
    let mut taken = |key: &'static str| {
        let found = section.time(key)?;
        keys.push((key, found.offset));
        Some(found.value)
    };
    Given {
        late_after: taken("late_after"),
        start_grace: taken("start_grace"),
        short_window: taken("short_window"),
        long_window: taken("long_window"),
        first_attempt: taken("first_attempt"),
        short_validity_for: taken("short_validity_for"),
        lan_window: taken("lan_window"),
        certificate: taken("certificate"),
        grant: taken("grant"),
        grant_renewal: taken("grant_renewal"),
        fence: taken("fence"),
        fence_delay: taken("fence_delay"),
    }
}

/// The value that most likely made the inequality fail: the one to change, else one that the rule
/// names, else the first that was given: it moved a derived one.
fn blamed(violation: &Violation, keys: &GivenKeys) -> Option<usize> {
    keys.iter()
        .find(|(key, _)| *key == violation.fix.0)
        .or_else(|| keys.iter().find(|(key, _)| named(violation.rule, key)))
        .or_else(|| keys.first())
        .map(|&(_, offset)| offset)
}

/// Whether the rule speaks of this key (`interval` is not meant by `probe_interval`).
fn named(rule: &str, key: &str) -> bool {
    rule.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == key)
}

fn sentence(violation: &Violation, keys: &GivenKeys) -> String {
    let Violation { number, rule, otherwise, left, right, fix: (key, value) } = violation;
    let derived = DERIVED.contains(key) && keys.iter().any(|(given, _)| given == key);
    let or_derive = if derived { ", or leave it out: it is derived" } else { "" };
    format!(
        "timing: inequality {number} fails: {rule}: {} against {}; otherwise {otherwise}; write \
         {key} = \"{}\" or more{or_derive}",
        time(*left),
        time(*right),
        time(*value),
    )
}

const DERIVED: [&str; 12] = [
    "late_after",
    "start_grace",
    "short_window",
    "long_window",
    "first_attempt",
    "short_validity_for",
    "lan_window",
    "certificate",
    "grant",
    "grant_renewal",
    "fence",
    "fence_delay",
];
