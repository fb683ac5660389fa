//! The sections `[[node]]`: exactly two, and which of them this host is.

use std::net::IpAddr;

use crate::protocol::identity::NodeId;

use super::document::{At, PerNode, Section};
use super::error::{Report, suggestion};

/// The nodes as far as the file names them.
pub(super) struct Nodes<'t> {
    names: Vec<At<&'t str>>,
    /// Two different names, both well formed.
    pub(super) names_ok: Option<[String; 2]>,
}

impl<'t> Nodes<'t> {
    pub(super) fn read(document: &mut Section<'t>, report: &Report<'t>) -> Nodes<'t> {
        let before = report.count();
        let sections = document.sections("node");
        let count = sections.len();
        let offset = sections.get(2).map_or(0, |third| third.offset);
        if count != 2 && (count != 0 || !document.has("node")) {
            report.at(
                offset,
                format!(
                    "a pair has exactly two nodes, not {count}; write [[node]] twice, each \
                 with a name"
                ),
            );
        }
        let mut names: Vec<At<&'t str>> = Vec::new();
        for mut section in sections {
            if let Some(name) = section.text("name") {
                if let Some(wrong) = bad_name(name.value, 64, true) {
                    report.at(name.offset, format!("[[node]]: name: {wrong}"));
                }
                if names.iter().any(|other| other.value == name.value) {
                    report.at(
                        name.offset,
                        format!(
                            "[[node]]: the same node twice: \"{}\"; give the second host's name",
                            name.value
                        ),
                    );
                }
                names.push(name);
            } else if !section.has("name") {
                section.missing("name", "\"the host's name\"");
            }
            section.close();
        }
        let names_ok = match names.as_slice() {
            [a, b] if report.count() == before => Some([a.value.to_owned(), b.value.to_owned()]),
            _ => None,
        };
        Nodes { names, names_ok }
    }

    /// Which node `wanted` is, or which one the host name says when nothing is wanted.
    pub(super) fn pick(&self, wanted: Option<&str>, report: &Report<'t>) -> Option<NodeId> {
        let names = self.names_ok.as_ref()?;
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let asked = wanted.unwrap_or(&host);
        // The host name may carry its domain; the file need not.
        let short = if wanted.is_none() { asked.split('.').next().unwrap_or(asked) } else { asked };
        let found = NodeId::ALL
            .into_iter()
            .find(|id| names[id.index()] == asked)
            .or_else(|| NodeId::ALL.into_iter().find(|id| names[id.index()] == short));
        if found.is_none() {
            let [a, b] = names;
            let offset = self.names.first().map_or(0, |name| name.offset);
            report.at(
                offset,
                match wanted {
                    Some(_) => {
                        format!("no node is named \"{asked}\"; pass --node {a} or --node {b}")
                    }
                    None => format!(
                        "no node is named \"{asked}\", which is this host's name; correct a name, \
                         or pass --node {a} or --node {b}"
                    ),
                },
            );
        }
        found
    }

    /// One address per node, as in `addresses = { pbx-a = "10.9.0.1", pbx-b = "10.9.0.2" }`.
    pub(super) fn addresses(
        &self,
        section: &mut Section<'t>,
        key: &'static str,
        report: &Report<'t>,
    ) -> Option<[IpAddr; 2]> {
        let Some(given) = section.pairs(key) else {
            let example = match &self.names_ok {
                Some([a, b]) => format!("{{ {a} = \"10.9.0.1\", {b} = \"10.9.0.2\" }}"),
                None => "{ one address per node }".to_owned(),
            };
            section.missing(key, &example);
            return None;
        };
        let mut found: Vec<(&str, IpAddr, usize)> = Vec::new();
        for (name, text) in &given {
            if !self.known(key, name, report) {
                continue;
            }
            match host_address(text.value) {
                Ok(address) => found.push((name.value, address, text.offset)),
                Err(wrong) => report.at(text.offset, format!("{key}: {wrong}")),
            }
        }
        if let [a, b, ..] = found.as_slice() {
            if a.1 == b.1 {
                report.at(b.2, format!("{key}: both nodes have {}; each needs its own", b.1));
            } else if a.1.is_ipv4() != b.1.is_ipv4() {
                let wrong = format!(
                    "{key}: {} and {} are of different families; write two IPv4 or two IPv6 \
                     addresses",
                    a.1, b.1
                );
                report.at(b.2, wrong);
            }
        }
        let of = |name: &str| found.iter().find(|(node, ..)| *node == name).map(|&(_, ip, _)| ip);
        self.nobody_forgotten(section, key, &given);
        let [a, b] = self.names_ok.as_ref()?;
        Some([of(a)?, of(b)?])
    }

    fn nobody_forgotten(&self, section: &Section<'t>, key: &str, given: &[(At<&str>, At<&str>)]) {
        for node in &self.names {
            if !given.iter().any(|(name, _)| name.value == node.value) {
                let wrong =
                    format!("{key}: node \"{}\" has none; add {} = \"…\"", node.value, node.value);
                section.wrong(&wrong);
            }
        }
    }

    /// One text for each node, in the order of the nodes; the same one for both where it was given
    /// once.
    pub(super) fn texts(
        &self,
        section: &Section<'t>,
        key: &str,
        given: PerNode<'t>,
        report: &Report<'t>,
    ) -> Option<[At<&'t str>; 2]> {
        let given = match given {
            PerNode::Both(text) => return Some([text, text]),
            PerNode::Each(given) => given,
        };
        for (name, _) in &given {
            self.known(key, name, report);
        }
        self.nobody_forgotten(section, key, &given);
        let of = |node: &str| given.iter().find(|(name, _)| name.value == node).map(|(_, at)| *at);
        let [a, b] = self.names_ok.as_ref()?;
        Some([of(a)?, of(b)?])
    }

    /// Whether a node has this name; if not, that is noted.
    fn known(&self, key: &str, name: &At<&str>, report: &Report<'t>) -> bool {
        let known = self.names.iter().any(|node| node.value == name.value);
        if !known {
            let near = suggestion(name.value, self.names.iter().map(|node| node.value));
            report.at(name.offset, format!("{key}: no node is named \"{}\"{near}", name.value));
        }
        known
    }
}

/// What is wrong with a name, or `None`: `[A-Za-z0-9_-]`, and dots where `dots` allows them.
pub(super) fn bad_name(name: &str, longest: usize, dots: bool) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (dots && c == '.');
    let dot = if dots { " ." } else { "" };
    if name.is_empty() {
        Some(format!("it is empty; write letters, digits, _ -{dot}"))
    } else if let Some(bad) = name.chars().find(|&c| !allowed(c)) {
        Some(format!("\"{name}\" contains {bad:?}; write only A-Z a-z 0-9 _ -{dot}"))
    } else if name.len() > longest {
        Some(format!("it has {} characters; write at most {longest}", name.len()))
    } else {
        None
    }
}

/// An address that a host can have and be reached at.
pub(crate) fn host_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        let hint = if text.contains('/') { ", without a prefix length" } else { "" };
        format!("\"{text}\" is not an IP address; write one such as \"10.9.0.1\"{hint}")
    })?;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(format!("{address} is not the address of one host; write the host's own"));
    }
    Ok(address)
}

/// An interface name that the kernel accepts (1 to 15 bytes, no blank, no slash).
pub(super) fn interface(section: &mut Section<'_>, report: &Report<'_>) -> Option<At<String>> {
    let Some(At { value, offset }) = section.text("interface") else {
        if !section.has("interface") {
            section.missing("interface", "\"eth1\"");
        }
        return None;
    };
    let bad = |c: char| c.is_whitespace() || c == '/' || c == ':' || c == '\0';
    if value.is_empty() || value.len() > 15 || value.contains(bad) || value == "." || value == ".."
    {
        let wrong = format!(
            "interface: \"{value}\" cannot be an interface; write its name as `ip link` shows it \
             (at most 15 characters)"
        );
        report.at(offset, wrong);
        return None;
    }
    Some(At { value: value.to_owned(), offset })
}
