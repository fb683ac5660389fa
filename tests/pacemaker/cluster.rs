//! Corosync and Pacemaker on both hosts, and what they say of the resources.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{Group, User, chown};

use crate::command::{run_with, soon};
use crate::network::NODES;
use crate::power::Machines;

/// Longer than anything takes here, on a machine that others use too.
pub const PATIENCE: Duration = Duration::from_secs(180);

const COROSYNC: &str = include_str!("corosync.conf");

/// What an administrator writes to both hosts' disks before the first start.
pub fn install(machines: &Machines) -> anyhow::Result<()> {
    let cluster = (
        User::from_name("hacluster")?.context("no user hacluster: install pacemaker")?,
        Group::from_name("haclient")?.context("no group haclient: install pacemaker")?,
    );
    let seed = seed(&machines.files)?;
    for node in [0, 1] {
        let disk = machines.disk(node);
        for directory in
            ["etc/corosync", "etc/pacemaker", "var/lib/pacemaker/cib", "var/log/corosync"]
        {
            fs::create_dir_all(disk.join(directory))?;
        }
        fs::write(disk.join("etc/corosync/corosync.conf"), COROSYNC)?;
        let key = disk.join("etc/pacemaker/authkey");
        fs::write(&key, [0x5a; 512])?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640))?;
        chown(&key, None, Some(cluster.1.gid))?;
        let cib = disk.join("var/lib/pacemaker/cib/cib.xml");
        fs::write(&cib, &seed)?;
        fs::set_permissions(&cib, fs::Permissions::from_mode(0o600))?;
        for path in [&cib, &disk.join("var/lib/pacemaker/cib")] {
            chown(path, Some(cluster.0.uid), Some(cluster.1.gid))?;
        }
    }
    Ok(())
}

/// An empty configuration in which a first controller is chosen after one second instead of 20.
fn seed(files: &Path) -> anyhow::Result<String> {
    let path = files.join("seed.xml");
    fs::write(&path, run_with(Command::new("cibadmin").arg("--empty"), "")?)?;
    let set = ["-t", "crm_config", "-n", "dc-deadtime", "-v", "1s"];
    run_with(Command::new("crm_attribute").args(set).env("CIB_file", &path), "")?;
    Ok(fs::read_to_string(path)?)
}

/// Starts both daemons on a host, as its boot does.
pub fn start(machines: &Machines, node: usize) -> anyhow::Result<()> {
    machines.run(node, &["corosync"])?;
    let talks = || Ok(machines.run(node, &["corosync-cfgtool", "-s"]).is_ok());
    soon("corosync answers", PATIENCE, talks)?;
    let pacemaker = "exec setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin pacemakerd \
                     </dev/null >/var/log/pacemaker/pacemakerd.log 2>&1 &";
    machines.run(node, &["sh", "-c", pacemaker])?;
    let answers = || Ok(machines.run(node, &["cibadmin", "--query"]).is_ok());
    soon("Pacemaker answers", PATIENCE, answers).map(drop)
}

/// Loads a configuration in crmsh's language.
pub fn load(machines: &Machines, text: &str) -> anyhow::Result<()> {
    let path = machines.disk(0).join("var/log/loaded.crm");
    fs::write(path, text)?;
    let load = ["crm", "-F", "configure", "load", "update", "/var/log/loaded.crm"];
    machines.run(0, &load).map(drop)
}

/// A resource on a node, as `crm_mon` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    pub resource: String,
    pub role: String,
    pub node: usize,
    pub blocked: bool,
    pub failed: bool,
}

/// What the cluster says, asked on any host that answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    pub online: Vec<usize>,
    pub placed: Vec<Placed>,
}

impl Seen {
    /// Asks a host.
    pub fn from(machines: &Machines, node: usize) -> anyhow::Result<Seen> {
        let text = machines.run(node, &["crm_mon", "-1", "-r", "--output-as=xml"])?;
        Ok(Seen::read(&text))
    }

    fn read(text: &str) -> Seen {
        let mut seen = Seen::default();
        let mut resource = Placed {
            resource: String::new(),
            role: String::new(),
            node: 0,
            blocked: false,
            failed: false,
        };
        // What follows is history.
        let now = text.split("</resources>").next().unwrap_or_default();
        for tag in now.split('<').filter_map(|rest| rest.split('>').next()) {
            let value = |name: &str| {
                let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
                rest.split('"').next()
            };
            let name = value("name").or(value("id")).unwrap_or_default();
            let node = NODES.iter().position(|each| *each == name);
            match (tag.split_whitespace().next(), node) {
                (Some("resource"), _) => {
                    resource.resource = value("id").unwrap_or_default().to_owned();
                    resource.role = value("role").unwrap_or_default().to_owned();
                    resource.blocked = value("blocked") == Some("true");
                    resource.failed = value("failed") == Some("true");
                }
                (Some("node"), Some(node)) if value("online") == Some("true") => {
                    seen.online.push(node);
                }
                (Some("node"), Some(node)) if value("online").is_none() => {
                    seen.placed.push(Placed { node, ..resource.clone() });
                }
                _ => {}
            }
        }
        seen
    }

    /// The nodes on which a resource has this role.
    pub fn with_role(&self, resource: &str, role: &str) -> Vec<usize> {
        let found = self.placed.iter().filter(|each| {
            each.resource == resource && each.role == role && !each.failed && !each.blocked
        });
        found.map(|each| each.node).collect()
    }

    /// What is blocked.
    pub fn blocked(&self) -> Vec<&Placed> {
        self.placed.iter().filter(|each| each.blocked).collect()
    }
}

/// What the whole cluster shows, for a failure's report.
pub fn told(machines: &Machines) -> String {
    let on = (0..2).filter(|node| machines.is_on(*node));
    on.map(|node| {
        let said = machines.run(node, &["crm_mon", "-1", "-Afr"]);
        format!("--- {} says\n{}\n", NODES[node], said.unwrap_or_else(|error| error.to_string()))
    })
    .collect()
}

#[test]
fn what_crm_mon_says_is_read() {
    let text = "<pacemaker-result><nodes><node name=\"pbx-a\" id=\"1\" online=\"true\"/>\
        <node name=\"pbx-b\" id=\"2\" online=\"false\"/></nodes><resources><clone id=\"c\">\
        <resource id=\"db\" role=\"Promoted\" blocked=\"false\" failed=\"false\">\
        <node name=\"pbx-a\" id=\"1\" cached=\"true\"/></resource>\
        <resource id=\"db\" role=\"Unpromoted\" blocked=\"true\" failed=\"false\">\
        <node name=\"pbx-b\" id=\"2\" cached=\"true\"/></resource></clone></resources>\
        <node_history><node name=\"pbx-b\"/></node_history>";
    let seen = Seen::read(text);
    assert_eq!(seen.online, [0]);
    assert_eq!(seen.with_role("db", "Promoted"), [0]);
    assert_eq!(seen.with_role("db", "Unpromoted"), [0; 0]);
    assert_eq!(seen.blocked().len(), 1);
}
