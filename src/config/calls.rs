//! The section `[calls]`: how it is learnt what lives on the PBX, and what is done about what a
//! takeover cut.

use std::net::SocketAddr;
use std::time::Duration;

use super::Link;
use super::document::{At, Section};
use super::error::Report;

/// More often than this a command would do nothing but run.
const SHORTEST: Duration = Duration::from_millis(100);

/// How calls and registrations are followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Prints the calls that are up; `None`: calls are not followed.
    pub live: Option<Vec<String>>,
    /// Between two runs of it.
    pub interval: Duration,
    /// Prints the phones that are registered; `None`: these are not followed.
    pub endpoints: Option<Vec<String>>,
    /// Between two runs of it.
    pub endpoints_interval: Duration,
    /// Longest run of either.
    pub timeout: Duration,
    /// A call of the dead host that is not up on the new one within this was cut.
    pub settle: Duration,
    /// Reads the calls that were cut, and closes their records.
    pub close: Option<Vec<String>>,
    /// Longest run of it.
    pub close_timeout: Duration,
    /// Where this node listens for its standby.
    pub local: SocketAddr,
    /// Where the peer does.
    pub peer: SocketAddr,
}

/// The section before the links are known.
pub(super) struct Read {
    pub(super) offset: usize,
    calls: Calls,
    port: Option<u16>,
}

impl Read {
    /// With the ends of the first link that has addresses; `None` where none has, which was told.
    pub(super) fn resolved(self, links: &[Link]) -> Option<Calls> {
        let ends = links.iter().find_map(|link| match link {
            Link::Udp { local, peer, .. } => Some((*local, *peer)),
            Link::Ethernet { .. } => None,
        });
        let (mut local, mut peer) = ends?;
        if let Some(port) = self.port {
            local.set_port(port);
            peer.set_port(port);
        }
        Some(Calls { local, peer, ..self.calls })
    }
}

pub(super) fn read(mut section: Section<'_>, report: &Report<'_>) -> Read {
    let offset = section.offset;
    let live = command(&mut section, "live", report);
    let endpoints = command(&mut section, "endpoints", report);
    let close = command(&mut section, "close", report);
    if !section.has("live") && !section.has("endpoints") {
        section.wrong(
            "nothing is to be followed; write live = [\"/usr/bin/duotone\", \"live\", \"kamailio\", \
             \"calls\"], or remove the section",
        );
    }
    for (key, of) in [
        ("interval", "live"),
        ("settle", "live"),
        ("close", "live"),
        ("endpoints_interval", "endpoints"),
    ] {
        if section.has(key) && !section.has(of) {
            section
                .wrong(&format!("{key} means nothing without {of}; write {of}, or remove {key}"));
        }
    }
    let mut span = |key: &'static str, default: Duration| match section.time(key) {
        Some(At { value, offset }) if value < SHORTEST => {
            report.at(offset, format!("[calls]: {key} is too short; write \"100ms\" or more"));
            default
        }
        Some(At { value, .. }) => value,
        None => default,
    };
    let calls = Calls {
        live,
        interval: span("interval", Duration::from_secs(1)),
        endpoints,
        endpoints_interval: span("endpoints_interval", Duration::from_secs(10)),
        timeout: span("timeout", Duration::from_secs(5)),
        settle: span("settle", Duration::from_secs(10)),
        close,
        close_timeout: span("close_timeout", Duration::from_secs(30)),
        local: SocketAddr::from(([0; 4], 0)),
        peer: SocketAddr::from(([0; 4], 0)),
    };
    let port = section.integer("port", 1, 65_535).and_then(|at| u16::try_from(at.value).ok());
    section.close();
    Read { offset, calls, port }
}

fn command(
    section: &mut Section<'_>,
    key: &'static str,
    report: &Report<'_>,
) -> Option<Vec<String>> {
    let is_list = section.is_list(key);
    let words = section.texts(key).filter(|_| is_list)?;
    let wrong = match words.first() {
        None => {
            section.wrong(&format!(
                "{key} names no program; write {key} = [\"/usr/…\", \"argument\"]"
            ));
            None
        }
        Some(program) if !program.value.starts_with('/') => Some((
            program.offset,
            format!(
                "\"{}\" is not a whole path; write the program from the root, each argument by \
                 itself",
                program.value
            ),
        )),
        Some(_) => words
            .iter()
            .find(|word| word.value.contains('\0'))
            .map(|bad| (bad.offset, "a word contains a NUL byte; remove it".to_owned())),
    };
    if let Some((offset, wrong)) = wrong {
        report.at(offset, format!("[calls]: {key}: {wrong}"));
    }
    Some(words.into_iter().map(|word| word.value.to_owned()).collect())
}
