//! `duotone config check`: everything that is wrong, or what follows from a valid file.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::config::check::Seen;
use crate::config::estimate::Estimate;
use crate::config::unit::time;
use crate::config::{Config, Link, Mode, check};

use super::{Error, Exit, say};

/// `host` says what its database server and its systemd lack.
pub(super) fn check(
    path: &Path,
    node: Option<&str>,
    file_only: bool,
    host: fn(&Config) -> Seen,
) -> Result<Exit, Error> {
    let config =
        if file_only { Config::load_without_keys(path, node)? } else { Config::load(path, node)? };
    let mut findings = Vec::new();
    let mut notes = Vec::new();
    if !file_only {
        findings.extend(check::live(&config).iter().map(ToString::to_string));
        let seen = host(&config);
        findings.extend(seen.findings);
        notes.extend(seen.notes.into_iter().map(|note| format!("note: {note}")));
    }
    let mut text = summary(path, &config);
    if !(findings.is_empty() && notes.is_empty()) {
        text.push_str("\non this host:\n");
        for line in findings.iter().chain(&notes) {
            let _ = writeln!(text, "  {line}");
        }
    }
    say(&text)?;
    if findings.is_empty() { Ok(Exit::Ok) } else { Err(Error::Host(findings.len())) }
}

/// Writing to a `String` cannot fail, so its results are dropped.
fn summary(path: &Path, config: &Config) -> String {
    let mut text = String::new();
    let [a, b] = &config.names;
    let _ = writeln!(
        text,
        "{}: valid. Pair {} of {a} and {b}; this is {}.",
        path.display(),
        config.pair,
        config.name()
    );
    paths(&mut text, config);
    times(&mut text, config);
    estimate(&mut text, config);
    text
}

fn paths(text: &mut String, config: &Config) {
    text.push_str("\nheartbeat paths:\n");
    for link in &config.links {
        let _ = match link {
            Link::Udp { interface, local, peer } => {
                writeln!(text, "  udp       {interface}: {local} to {peer}")
            }
            Link::Ethernet { interface } => writeln!(text, "  ethernet  {interface}"),
        };
    }
    if config.links.len() == 1 {
        text.push_str("  one path only: its loss alone stops the standby from being certified\n");
    }
    let floating = &config.floating;
    let mode = match floating.mode {
        Mode::Address => "addresses move",
        Mode::Interface { bare: true } => "the interface moves; bare on the standby",
        Mode::Interface { bare: false } => "the interface moves; down on the standby",
    };
    let list: Vec<String> =
        floating.addresses.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
    let references: Vec<String> = floating.references.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "\nfloating on {}: {} ({mode})", floating.interface, list.join(", "));
    let _ = writeln!(text, "  references: {}", references.join(", "));
    if !config.witness.is_empty() {
        let witness: Vec<String> = config.witness.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "\nwitness: {} (its grant is necessary; the LAN only vetoes)",
            witness.join(", ")
        );
    }
    if config.fence.is_some() {
        fence(text, config);
    }
}

/// A takeover that is waited for longer than this is worth a word.
const LONG_FENCE: Duration = Duration::from_secs(10);

fn fence(text: &mut String, config: &Config) {
    let peer = config.peer_name();
    let instead = match config.arbitration.witness {
        true => "where the witness grants nothing, it",
        false => "a takeover",
    };
    let _ = writeln!(text, "\nfence: {instead} needs {peer} seen off by every device");
    for device in config.fence.iter().flat_map(|fence| &fence.devices) {
        // What is told of both nodes may be a secret.
        let told: Vec<String> =
            device.of_peer.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let agent = device.agent.display();
        let _ = writeln!(text, "  {:<16} {agent}, {peer}: {}", device.name, told.join(" "));
    }
    let t = &config.timing;
    let _ = writeln!(text, "  `duotone fence status` asks them now; nothing is switched off by it");
    if t.fence > LONG_FENCE {
        let _ = writeln!(
            text,
            "  fence = \"{}\" is long: a takeover takes {} more, and up to {} when the fence is \
             that slow; write what its slowest `off` takes, twice, into [timing]",
            time(t.fence),
            time(t.fence_delay),
            time(t.fence_delay + t.fence)
        );
    }
}

fn times(text: &mut String, config: &Config) {
    let t = &config.timing;
    let (with_peer, alone) = t.stall_tolerated(config.arbitration);
    let witness = [
        ("grant", t.grant, "how long the witness's grant lasts"),
        ("grant_renewal", t.grant_renewal, "between two renewals of it"),
    ];
    let witness = if config.arbitration.witness { &witness[..] } else { &[] };
    let fence = [
        ("fence", t.fence, "longest run of the fence, from the order to seen off"),
        ("fence_delay", t.fence_delay, "a standby orders it so much later than an active node"),
    ];
    let fence = if config.arbitration.fence { &fence[..] } else { &[] };
    let rows: [(&str, Duration, &str); 17] = [
        ("interval", t.interval, "between two heartbeats"),
        ("delay", t.delay, "worst one-way delay and lateness assumed"),
        ("late_after", t.late_after, "silence that warns and prepares"),
        ("lost_after", t.lost_after, "silence that may move the role"),
        ("start_grace", t.start_grace, "silence needed just after a start"),
        ("release", t.release, "to give the addresses up and stop acknowledging"),
        ("arbiter", t.arbiter, "worst answer of an arbiter, one retry included"),
        ("short_window", t.short_window, "the floating address unanswered, first attempt"),
        ("long_window", t.long_window, "the same, every other attempt"),
        ("short_validity", t.short_validity, "a reference's answer, just after the lease"),
        ("long_validity", t.long_validity, "the same, later"),
        ("first_attempt", t.first_attempt, "deadline of the first attempt"),
        ("short_validity_for", t.short_validity_for, "how long short_validity is used"),
        ("address_lifetime", t.address_lifetime, "an address outlives its daemon by this"),
        ("lan_window", t.lan_window, "longest wait for the LAN's consent"),
        ("certificate", t.certificate, "also the longest stall of commits, standby lost silently"),
        ("lease", t.lease(t.lost_after), "what one echo of the standby is worth"),
    ];
    text.push_str("\ntimes (every inequality holds):\n");
    for (key, value, meaning) in rows.iter().chain(witness).chain(fence) {
        let value = *value;
        let _ = writeln!(text, "  {key:<19} {:>10}  {meaning}", time(value));
    }
    let _ =
        writeln!(text, "  {:<19} {:>7}ppm  how far a clock may run off", "drift_ppm", t.drift_ppm);
    let _ = writeln!(
        text,
        "\nstall tolerated without loss of service: {} with a living peer, {} alone",
        time(with_peer),
        time(alone)
    );
}

fn estimate(text: &mut String, config: &Config) {
    let estimate = Estimate::of(config);
    let (typical, worst) = estimate.total();
    let _ = writeln!(
        text,
        "\nestimated outage after a power-off: {} ms, at worst {} ms",
        millis(typical),
        millis(worst)
    );
    for part in &estimate.parts {
        let _ = writeln!(text, "  {:<27} {:>6} ms", part.name, millis(part.typical));
    }
    if let Some(unknown) = estimate.unknown {
        let _ = writeln!(text, "  plus {unknown}");
    }
}

fn millis(span: Duration) -> u128 {
    span.as_nanos().div_ceil(1_000_000)
}
