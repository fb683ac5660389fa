//! The section `[fence]`: the devices that cut a node's power, and what each is told of whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::identity::NodeId;

use super::document::{At, PerNode, Section};
use super::error::Report;
use super::nodes::{Nodes, bad_name};
use super::{password, read};

/// Where the distribution puts its agents.
const AGENTS: &str = "/usr/sbin";
/// How often a device is asked whether it works, unless the file says otherwise.
const MONITOR: Duration = Duration::from_secs(60);
/// Asked more often than this, a device may be busy when it is needed.
const SHORTEST_MONITOR: Duration = Duration::from_secs(1);

/// What cuts the peer's power.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// Between two questions whether the devices work.
    pub monitor: Duration,
    /// The devices, at least one: the peer is off when all of them say so.
    pub devices: Vec<FenceDevice>,
}

/// One device, as the peer's power is cut with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FenceDevice {
    /// Unique name, for people.
    pub name: String,
    /// The agent's program.
    pub agent: PathBuf,
    /// What the agent is told of both nodes alike, beside the action and the password.
    pub options: Vec<(String, String)>,
    /// What it is told of the peer alone: the plug, or the address of its own device.
    pub of_peer: Vec<(String, String)>,
    /// A file that holds the device's password.
    pub password_file: Option<PathBuf>,
}

/// The section before it is known which node is the peer.
pub(super) struct Read {
    pub(super) offset: usize,
    monitor: Duration,
    devices: Vec<[FenceDevice; 2]>,
}

impl Read {
    /// The devices as they cut the power of `node`.
    pub(super) fn of(self, node: NodeId) -> Fence {
        let devices = self.devices.into_iter();
        let devices = devices.map(|[a, b]| if node == NodeId::A { a } else { b });
        Fence { monitor: self.monitor, devices: devices.collect() }
    }
}

pub(super) fn read<'t>(
    mut section: Section<'t>,
    nodes: &Nodes<'t>,
    keys: read::Keys,
    report: &Report<'t>,
) -> Read {
    let offset = section.offset;
    let monitor = match section.time("monitor") {
        Some(At { value, offset }) if value < SHORTEST_MONITOR => {
            report.at(offset, "monitor is too short; write \"1s\" or more");
            value
        }
        Some(At { value, .. }) => value,
        None => MONITOR,
    };
    let parts = section.sections("device");
    if parts.is_empty() && !section.has("device") {
        section.wrong("there is no device; write [[fence.device]] with agent = \"fence_ipmilan\"");
    }
    let mut names: Vec<String> = Vec::new();
    let mut devices = Vec::new();
    for part in parts {
        devices.extend(device(part.titled("[[fence.device]]"), nodes, &mut names, keys, report));
    }
    section.close();
    Read { offset, monitor, devices }
}

fn device<'t>(
    mut section: Section<'t>,
    nodes: &Nodes<'t>,
    names: &mut Vec<String>,
    keys: read::Keys,
    report: &Report<'t>,
) -> Option<[FenceDevice; 2]> {
    let agent = agent(&mut section, report);
    let name = name(&mut section, agent.as_deref(), names, report);
    let (options, of_each) = options(&mut section, nodes, report);
    let passwords = match section.per_node("password_file") {
        Some(texts) => {
            let texts = nodes.texts(&section, "password_file", texts, report);
            texts.map(|texts| texts.map(|at| password_file(at, keys, report)))
        }
        None => None,
    };
    section.close();
    let (agent, name) = (agent?, name?);
    let [of_a, of_b] = passwords.unwrap_or_default();
    let [a, b] = of_each;
    let device = |of_peer, password_file| FenceDevice {
        name: name.clone(),
        agent: agent.clone(),
        options: options.clone(),
        of_peer,
        password_file,
    };
    Some([device(a, of_a), device(b, of_b)])
}

type Options = Vec<(String, String)>;

/// What the agent is told of both nodes alike, and of each alone.
fn options<'t>(
    section: &mut Section<'t>,
    nodes: &Nodes<'t>,
    report: &Report<'t>,
) -> (Options, [Options; 2]) {
    let (mut alike, mut each) = (Options::new(), [Options::new(), Options::new()]);
    let mut tells_apart = false;
    for (key, texts) in section.options("options") {
        if let Some(wrong) = bad_option(key.value) {
            report.at(key.offset, format!("options: {wrong}"));
        }
        let of_both = matches!(texts, PerNode::Both(_));
        let Some(texts) = nodes.texts(section, key.value, texts, report) else {
            // Meant to tell them apart, and reported already.
            tells_apart = true;
            continue;
        };
        for text in texts {
            if text.value.contains(char::is_control) {
                let wrong = "a value is one line, without control characters";
                report.at(text.offset, format!("options: {}: {wrong}", key.value));
            }
        }
        let [a, b] = texts.map(|text| text.value.to_owned());
        tells_apart |= a != b;
        let key = key.value.to_owned();
        if of_both {
            alike.push((key, a));
        } else {
            let [of_a, of_b] = &mut each;
            of_a.push((key.clone(), a));
            of_b.push((key, b));
        }
    }
    if !tells_apart {
        section.wrong(
            "nothing tells the agent whose power to cut: it is told the same of both nodes; write \
             options.plug = { NODE = \"1\", NODE = \"2\" }, or another option per node",
        );
    }
    (alike, each)
}

/// A whole path, or the name of one of the distribution's agents.
fn agent(section: &mut Section<'_>, report: &Report<'_>) -> Option<PathBuf> {
    let Some(At { value, offset }) = section.text("agent") else {
        if !section.has("agent") {
            section.missing("agent", "\"fence_ipmilan\", or the whole path of another");
        }
        return None;
    };
    if value.starts_with('/') && !value.ends_with('/') && !value.contains('\0') {
        return Some(PathBuf::from(value));
    }
    if let Some(wrong) = bad_name(value, 64, true) {
        report
            .at(offset, format!("agent: {wrong}; or write the whole path of the program, \"/…\""));
        return None;
    }
    Some(Path::new(AGENTS).join(value))
}

/// The name, or the agent's where none is given.
fn name(
    section: &mut Section<'_>,
    agent: Option<&Path>,
    names: &mut Vec<String>,
    report: &Report<'_>,
) -> Option<String> {
    let given = section.text("name");
    if let Some(At { value, offset }) = given
        && let Some(wrong) = bad_name(value, 64, true)
    {
        report.at(offset, format!("[[fence.device]]: name: {wrong}"));
    }
    let agents = || Some(agent?.file_name()?.to_string_lossy().into_owned());
    let name = given.map(|at| at.value.to_owned()).or_else(agents)?;
    if names.contains(&name) {
        section.wrong(&format!("two devices are named \"{name}\"; give each a name = \"…\""));
    }
    names.push(name.clone());
    Some(name)
}

/// What cannot be an option, or is not the file's to say.
fn bad_option(key: &str) -> Option<String> {
    match key {
        "action" | "option" => {
            Some(format!("\"{key}\" is what duotone tells the agent; remove the line"))
        }
        "password" | "passwd" => Some(format!(
            "\"{key}\" does not belong into this file; write password_file = \"/etc/duotone/…\" \
             beside options, and the password into that file"
        )),
        key => bad_name(key, 64, false),
    }
}

fn password_file(
    At { value, offset }: At<&str>,
    keys: read::Keys,
    report: &Report<'_>,
) -> Option<PathBuf> {
    if !value.starts_with('/') || value.contains('\0') {
        report.at(
            offset,
            format!("password_file: \"{value}\" is not a whole path; write it from the root"),
        );
        return None;
    }
    let path = PathBuf::from(value);
    if keys == read::Keys::Check
        && let Err(error) = password::read(&path)
    {
        report.at(offset, format!("password_file: {error}"));
    }
    Some(path)
}
