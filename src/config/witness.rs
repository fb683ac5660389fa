//! The witness: the section `[witness]` of a pair's file, which says where it is, and the witness's
//! own file, which says which pairs it serves.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::document::{At, Section};
use super::error::{Errors, Report};
use super::nodes::host_address;
use super::{key, read, text};

/// The witness listens here unless its file says otherwise.
pub const PORT: u16 = 4690;
/// The witness remembers here unless its file says otherwise.
const STATE_DIR: &str = "/var/lib/duotone-witness";
/// The witness can be asked here unless its file says otherwise.
const SOCKET: &str = "/run/duotone-witness/control.sock";

/// What the witness needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessConfig {
    /// Where it listens; at least one address.
    pub listen: Vec<SocketAddr>,
    /// Directory of the pairs' ledgers.
    pub state_dir: PathBuf,
    /// The control socket, for `witness status`.
    pub socket: PathBuf,
    /// Also log to syslog.
    pub syslog: bool,
    /// The pairs that it serves; at least one, each with its own name.
    pub pairs: Vec<WitnessPair>,
}

/// One pair, as the witness knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessPair {
    /// The pair's name, as in its own file.
    pub name: String,
    /// Its heartbeat key.
    pub key_file: PathBuf,
    /// A second key that is accepted (key rotation).
    pub old_key_file: Option<PathBuf>,
}

impl WitnessConfig {
    /// Reads a file and the key files that it names.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line and what to write instead.
    pub fn load(path: &Path) -> Result<WitnessConfig, Errors> {
        parse(&text(path)?, &path.display().to_string(), read::Keys::Check)
    }

    /// Reads `text`; `file` is its name in messages. Touches no file.
    ///
    /// # Errors
    /// As [`WitnessConfig::load`].
    pub fn parse(text: &str, file: &str) -> Result<WitnessConfig, Errors> {
        parse(text, file, read::Keys::Ignore)
    }
}

/// The control socket that the witness's file names, however wrong the rest of it is.
pub fn witness_socket_of(path: &Path) -> PathBuf {
    let text = std::fs::read_to_string(path).ok();
    let named = text.and_then(|text| {
        let document: toml::Table = toml::from_str(&text).ok()?;
        document.get("socket")?.as_str().map(PathBuf::from)
    });
    named.unwrap_or_else(|| PathBuf::from(SOCKET))
}

fn parse(text: &str, file: &str, keys: read::Keys) -> Result<WitnessConfig, Errors> {
    let (parsed, syntax) = DeTable::parse_recoverable(text);
    let report = Report::new(text);
    if !syntax.is_empty() {
        for error in syntax {
            let offset = error.span().map_or(0, |span| span.start);
            report.at(offset, format!("this is not TOML: {}", error.message()));
        }
        return report.finish(file, None);
    }
    let config = whole(Section::document(&parsed, &report), keys, &report);
    report.finish(file, Some(config))
}

fn whole(mut document: Section<'_>, keys: read::Keys, report: &Report<'_>) -> WitnessConfig {
    let listen = if document.has("listen") {
        addresses(&mut document, "listen", Ends::Own, report)
    } else {
        document.skip("listen");
        vec![SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), PORT)]
    };
    let state_dir = document.path_or("state_dir", STATE_DIR);
    let socket = read::socket(&mut document, SOCKET, report);
    let syslog = document.flag("syslog", false);
    let sections = document.sections("pair");
    if sections.is_empty() && !document.has("pair") {
        report.at(0, "no pair; write at least one [[pair]] with name and key_file");
    }
    let mut pairs: Vec<WitnessPair> = Vec::new();
    for section in sections {
        let offset = section.offset;
        let Some(pair) = pair(section, keys, report) else { continue };
        if pairs.iter().any(|other| other.name == pair.name) {
            let wrong = format!("[[pair]]: \"{}\" twice; every pair has its own name", pair.name);
            report.at(offset, wrong);
        }
        pairs.push(pair);
    }
    document.close();
    WitnessConfig { listen, state_dir, socket, syslog, pairs }
}

fn pair(mut section: Section<'_>, keys: read::Keys, report: &Report<'_>) -> Option<WitnessPair> {
    let name = read::pair_name(&mut section, report);
    let (new, old) = (section.path("key_file"), section.path("old_key_file"));
    if new.is_none() && !section.has("key_file") {
        section.missing("key_file", "\"/etc/duotone/office.key\", a copy of the pair's key");
    }
    if keys == read::Keys::Check {
        let look = |name: &str, at: Option<&At<PathBuf>>| {
            if let Some(At { value, offset }) = at
                && let Err(error) = key::read(value)
            {
                report.at(*offset, format!("{name}: {error}"));
            }
        };
        look("key_file", new.as_ref());
        look("old_key_file", old.as_ref());
    }
    section.close();
    Some(WitnessPair { name: name?, key_file: new?.value, old_key_file: old.map(|at| at.value) })
}

/// The section `[witness]` of a pair's file: where its witness is, over one path or several.
pub(super) fn section(mut section: Section<'_>, report: &Report<'_>) -> Vec<SocketAddr> {
    let found = if section.has("address") {
        addresses(&mut section, "address", Ends::Other, report)
    } else {
        section.skip("address");
        section.missing("address", "\"192.0.2.9:4690\", where `duotone witness run` listens");
        Vec::new()
    };
    section.close();
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// One's own: any address of this host may be meant.
    Own,
    /// Another host's.
    Other,
}

fn addresses(
    section: &mut Section<'_>,
    key: &'static str,
    ends: Ends,
    report: &Report<'_>,
) -> Vec<SocketAddr> {
    let given = section.one_or_more(key);
    if given.is_empty() && section.is_list(key) {
        section.wrong(&format!("{key}: the list is empty; write {key} = \"192.0.2.9:{PORT}\""));
    }
    let mut found: Vec<SocketAddr> = Vec::new();
    for At { value, offset } in given {
        match address(value, ends) {
            Ok(address) if found.contains(&address) => {
                report.at(offset, format!("{key}: {address} twice; remove one"));
            }
            Ok(address) => found.push(address),
            Err(wrong) => report.at(offset, format!("{key}: {wrong}")),
        }
    }
    found
}

/// An address with a port, or one without, which means the usual port.
fn address(text: &str, ends: Ends) -> Result<SocketAddr, String> {
    let whole: Option<SocketAddr> = text.parse().ok();
    let bare = text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
    let Some(address) = whole.or(bare) else {
        return Err(format!(
            "\"{text}\" is not an address and a port; write it as \"192.0.2.9:{PORT}\" or \
             \"[2001:db8::9]:{PORT}\""
        ));
    };
    if address.port() == 0 {
        return Err(format!(
            "\"{text}\" has no port; write {}",
            SocketAddr::new(address.ip(), PORT)
        ));
    }
    if !(ends == Ends::Own && address.ip().is_unspecified()) {
        host_address(&address.ip().to_string())?;
    }
    Ok(address)
}
