//! The section `[remote_checks]`: what a standby asks the active node's services over the LAN.
//!
//! A live heartbeat says that the host lives, not that its clients are served. The standby's own
//! file decides what it asks, how often, and when that means that the service is dead from outside;
//! what follows from it is the protocol's.

use std::time::Duration;

use super::Probe;
use super::document::Section;
use super::error::Report;
use super::probes::{self, Defaults};

/// What the standby asks the active node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteChecks {
    /// How many must fail.
    pub trigger: Trigger,
    /// The questions; at least one.
    pub probes: Vec<Probe>,
}

/// How many of the questions must fail for the services to count as failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// One is enough.
    Any,
    /// All of them.
    All,
}

/// Longest usual wait for an answer over the LAN.
const TIMEOUT: Duration = Duration::from_secs(1);

/// `interval` is what the preset wants.
pub(super) fn read(
    mut section: Section<'_>,
    interval: Duration,
    report: &Report<'_>,
) -> Option<RemoteChecks> {
    let interval = section.time_or("interval", interval);
    let trigger = [("any", Trigger::Any), ("all", Trigger::All)];
    let trigger = section.word("trigger", &trigger).unwrap_or(Trigger::Any);
    let retries = section.integer("retries", 0, 999).map_or(2, |at| at.value);
    let defaults = Defaults { interval, timeout: TIMEOUT, fall: retries + 1, not_yet: &[] };
    let given = section.sections("probe");
    if given.is_empty() && !section.has("probe") {
        section.wrong(
            "asks nothing; write [[remote_checks.probe]] with kind = \"sip-udp\" and target = \"the \
             floating address and port\", or remove the section",
        );
    }
    let mut found = Vec::new();
    for part in given {
        let mut part = part.titled("[[remote_checks.probe]]");
        let probe = probes::read(&mut part, defaults, report);
        part.close();
        found.extend(probe);
    }
    section.close();
    Some(RemoteChecks { trigger, probes: found })
}
