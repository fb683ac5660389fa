//! One pass over the whole file: every section is read even when an earlier one is wrong.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::protocol::arbiter::Arbitration;
use crate::protocol::moves::Policy;
use crate::protocol::node::Durability;

use super::document::{At, Section};
use super::error::{Errors, Report};
use super::hours::Hours;
use super::nodes::{Nodes, bad_name};
use super::preset::Preset;
use super::{
    Config, alerts, calls, checks, database, fence, floating, gateways, hooks, key, links, moves,
    services, timing, witness,
};

/// Where the daemon listens unless the file says otherwise.
pub(super) const SOCKET: &str = "/run/duotone/control.sock";
/// Where the node remembers unless the file says otherwise.
pub(super) const STATE_DIR: &str = "/var/lib/duotone";
/// Where the key is expected unless the file says otherwise.
pub(super) const KEY_FILE: &str = "/etc/duotone/pair.key";

/// Whether the files that the configuration names are looked at as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Check,
    Ignore,
}

/// Reads `text`; `file` is the name for messages, `node` overrides the host name.
pub(super) fn read(
    text: &str,
    file: &str,
    node: Option<&str>,
    keys: Keys,
) -> Result<Config, Errors> {
    let (parsed, syntax) = DeTable::parse_recoverable(text);
    let report = Report::new(text);
    if !syntax.is_empty() {
        // What the parser made of a broken file would only give misleading follow-ups.
        for error in syntax {
            let offset = error.span().map_or(0, |span| span.start);
            report.at(offset, format!("this is not TOML: {}", error.message()));
        }
        return report.finish(file, None);
    }
    let config = sections(&parsed, text, node, keys, &report);
    report.finish(file, config)
}

fn sections<'t>(
    parsed: &'t toml::Spanned<DeTable<'t>>,
    text: &str,
    node: Option<&str>,
    keys: Keys,
    report: &'t Report<'t>,
) -> Option<Config> {
    let mut document = Section::document(parsed, report);
    let section = document.section("pair");
    let times = document.section("timing");
    let witness_at = document.section("witness").map(|part| {
        let offset = part.offset;
        (witness::section(part, report), offset)
    });
    let witness_given = document.has("witness");
    let nodes = Nodes::read(&mut document, report);
    let me = nodes.pick(node, report);
    let fence = document.section("fence").map(|part| fence::read(part, &nodes, keys, report));
    let fence_given = document.has("fence");
    let mut paths = links::read(&mut document, &nodes, report);
    let mut lan = match document.section("floating") {
        Some(section) => floating::read(section, report),
        None => {
            if !document.has("floating") {
                report.at(
                    0,
                    "[floating] is missing; write which addresses move, and on which interface",
                );
            }
            None
        }
    };
    if let Some(lan) = &lan {
        links::fit(&mut paths, lan, report);
    }
    let postgres_given = document.has("postgres");
    let postgres =
        document.section("postgres").and_then(|part| database::read(part, &nodes, report));
    let (gateways, proven) =
        gateways::read(&mut document, lan.as_mut().map(|lan| &mut lan.floating), report);
    if let Some(lan) = &mut lan
        && proven
    {
        lan.unproven = None;
    }
    let preset = section.as_ref().and_then(|pair| pair.peek("preset"));
    let check_every = Duration::from_secs(if preset == Some("thirty") { 30 } else { 1 });
    let remote_checks =
        document.section("remote_checks").and_then(|part| checks::read(part, check_every, report));
    let addresses = lan.as_ref().map_or(&[][..], |lan| &lan.floating.addresses);
    let services = services::read(&mut document, addresses, report);
    let hooks = hooks::read(&mut document, report);
    let alerts = document.section("alerts").and_then(|part| alerts::read(part, keys, report));
    let calls = document.section("calls").map(|part| calls::read(part, report));
    if let Some(calls) = calls.as_ref().filter(|_| !links::have_addresses(&paths)) {
        report.at(
            calls.offset,
            "[calls]: the lists go to the standby over a link with addresses, and there is none; \
             write a [[link]] of kind = \"udp\", or remove the section",
        );
    }
    let times = times.unwrap_or_else(|| document.absent("[timing]"));
    if section.is_none() && !document.has("pair") {
        report.at(0, "[pair] is missing; write [pair] with name = \"…\"");
    }
    document.close();
    let pair = pair(section, times, nodes.names_ok.as_ref(), keys, report);
    if let Some(pair) = &pair {
        match (pair.arbitration.witness, &witness_at) {
            (true, None) if !witness_given => report.at(
                pair.offset,
                "[pair]: arbitration names the witness, and [witness] is missing; write [witness] \
                 with address = \"192.0.2.9:4690\"",
            ),
            (false, Some((_, offset))) => report.at(
                *offset,
                "[witness] is there, and arbitration does not name it; write arbitration = \
                 [\"lan\", \"witness\"] in [pair], or remove the section",
            ),
            (true, _) | (false, None) => {}
        }
        match (pair.arbitration.fence, &fence) {
            (true, None) if !fence_given => report.at(
                pair.offset,
                "[pair]: arbitration names the fence, and [fence] is missing; write [fence] with a \
                 [[fence.device]]",
            ),
            (false, Some(fence)) => report.at(
                fence.offset,
                "[fence] is there, and arbitration does not name it; write arbitration = [\"lan\", \
                 \"fence\"] in [pair], or remove the section",
            ),
            (true, _) | (false, None) => {}
        }
        if let Some((offset, wrong)) = lan.as_ref().and_then(|lan| lan.unproven)
            && pair.lan
        {
            report.at(offset, wrong);
        }
    }
    let (pair, me, lan, names) = (pair?, me?, lan?, nodes.names_ok?);
    if postgres_given && postgres.is_none() {
        return None;
    }
    let postgres = postgres.map(|postgres| postgres.resolved(me, &pair.state_dir));
    let links = links::resolved(paths, me);
    Some(Config {
        pair: pair.name,
        me,
        names,
        arbitration: pair.arbitration,
        witness: witness_at.map_or_else(Vec::new, |(addresses, _)| addresses),
        fence: fence.map(|fence| fence.of(me.peer())),
        durability: pair.durability,
        timing: pair.timing,
        policy: pair.policy,
        failback_hours: pair.failback_hours,
        key_file: pair.key_file,
        old_key_file: pair.old_key_file,
        state_dir: pair.state_dir,
        socket: pair.socket,
        syslog: pair.syslog,
        watchdog: pair.watchdog,
        calls: calls.and_then(|calls| calls.resolved(&links)),
        links,
        floating: lan.floating,
        postgres,
        services,
        remote_checks,
        gateways,
        hooks,
        alerts,
        hash: hash(text),
    })
}

struct Pair {
    /// Where the section stands.
    offset: usize,
    name: String,
    arbitration: Arbitration,
    /// `lan` is named.
    lan: bool,
    durability: Durability,
    timing: crate::protocol::timing::Timing,
    policy: Policy,
    failback_hours: Option<Hours>,
    key_file: PathBuf,
    old_key_file: Option<PathBuf>,
    state_dir: PathBuf,
    socket: PathBuf,
    syslog: bool,
    watchdog: Option<PathBuf>,
}

/// `[pair]`, and `[timing]`, whose values start from the pair's preset.
fn pair(
    section: Option<Section<'_>>,
    times: Section<'_>,
    names: Option<&[String; 2]>,
    keys: Keys,
    report: &Report<'_>,
) -> Option<Pair> {
    let Some(mut section) = section else {
        timing::read(times, Preset::Voice, Arbitration::LAN, report);
        return None;
    };
    let offset = section.offset;
    let name = pair_name(&mut section, report);
    let preset = section.word("preset", &Preset::ALL).unwrap_or(Preset::Voice);
    let durability = [
        ("strict", Durability::Strict),
        ("available", Durability::Available),
        ("async", Durability::Async),
    ];
    let durability = section.word("durability", &durability).unwrap_or(Durability::Available);
    let (arbitration, lan) = arbitration(&mut section, report);
    let key_at = section.path("key_file");
    let old_key_at = section.path("old_key_file");
    if keys == Keys::Check {
        key_files(&section, key_at.as_ref(), old_key_at.as_ref(), report);
    }
    let state_dir = section.path_or("state_dir", STATE_DIR);
    let socket = socket(&mut section, SOCKET, report);
    let syslog = section.flag("syslog", false);
    let watchdog = section.path("watchdog").map(|at| at.value);
    let (policy, failback_hours) = moves::read(&mut section, names, report);
    section.close();
    let timing = timing::read(times, preset, arbitration, report);
    Some(Pair {
        offset,
        name: name?,
        arbitration,
        lan,
        durability,
        timing,
        policy,
        failback_hours,
        key_file: key_at.map_or_else(|| PathBuf::from(KEY_FILE), |at| at.value),
        old_key_file: old_key_at.map(|at| at.value),
        state_dir,
        socket,
        syslog,
        watchdog,
    })
}

/// A pair's name, which its witness's file has as well.
pub(super) fn pair_name(section: &mut Section<'_>, report: &Report<'_>) -> Option<String> {
    let name = section.text("name");
    match name {
        Some(At { value, offset }) => {
            if let Some(wrong) = bad_name(value, 128, false) {
                report.at(offset, format!("{}: name: {wrong}", section.title()));
            }
        }
        None if section.has("name") => {}
        None => section.missing("name", "\"office\", unique on the pair's links"),
    }
    name.map(|at| at.value.to_owned())
}

/// Where to listen for the command line.
pub(super) fn socket(section: &mut Section<'_>, default: &str, report: &Report<'_>) -> PathBuf {
    let Some(At { value, offset }) = section.path("socket") else { return PathBuf::from(default) };
    if value.as_os_str().len() > LONGEST_SOCKET {
        let wrong = format!(
            "socket: the path is too long for a socket; write at most {LONGEST_SOCKET} bytes"
        );
        report.at(offset, wrong);
    }
    value
}

/// `sun_path` holds 108 bytes with the final NUL (unix(7)).
const LONGEST_SOCKET: usize = 107;

fn arbitration(section: &mut Section<'_>, report: &Report<'_>) -> (Arbitration, bool) {
    let mut arbitration = Arbitration::LAN;
    let Some(arbiters) = section.texts("arbitration") else { return (arbitration, true) };
    if arbiters.is_empty() {
        section.wrong("arbitration: a takeover needs an arbiter; write arbitration = [\"lan\"]");
    }
    for (index, At { value, offset }) in arbiters.iter().enumerate() {
        match *value {
            "lan" => {}
            "witness" => arbitration.witness = true,
            "fence" => arbitration.fence = true,
            _ => {
                let wrong = format!(
                    "arbitration: unknown arbiter \"{value}\"; write \"lan\", \"witness\" or \
                     \"fence\""
                );
                report.at(*offset, wrong);
            }
        }
        if arbiters[..index].iter().any(|before| before.value == *value) {
            report.at(*offset, format!("arbitration: \"{value}\" twice; write it once"));
        }
    }
    // One that could not be read may have been meant to be `lan`; that is reported already.
    (arbitration, !arbitration.witness || arbiters.iter().any(|arbiter| arbiter.value == "lan"))
}

fn key_files(
    section: &Section<'_>,
    new: Option<&At<PathBuf>>,
    old: Option<&At<PathBuf>>,
    report: &Report<'_>,
) {
    let default = At { value: PathBuf::from(KEY_FILE), offset: section.offset };
    // A path that could not be read as one is reported already; the default is not meant then.
    let new = new.or((!section.has("key_file")).then_some(&default));
    let load = |name: &str, at: Option<&At<PathBuf>>| {
        let at = at?;
        key::read(&at.value)
            .map_err(|error| report.at(at.offset, format!("{name}: {error}")))
            .ok()
            .map(|key| (key, at.offset))
    };
    let (new, old) = (load("key_file", new), load("old_key_file", old));
    if let (Some((new, _)), Some((old, offset))) = (new, old)
        && *new == *old
    {
        report.at(offset, "old_key_file holds the same key as key_file; remove the line");
    }
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
