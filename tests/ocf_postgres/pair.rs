//! Two real servers, the agent's own program, and a cluster of files: what Pacemaker would order,
//! with the notifications that it would send.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use duotone::adapters::owner::{self, Resource};
use duotone::protocol::identity::NodeId;

use crate::cluster::{BIN, Lab, Server};

pub const A: NodeId = NodeId::A;
pub const B: NodeId = NodeId::B;

/// How an action ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// What the administrator is told.
    pub reason: String,
    pub log: String,
}

pub struct Pair {
    pub a: Server,
    pub b: Server,
    /// Its own: what the agents keep in mind is kept by it.
    resource: String,
    durability: &'static str,
    home: PathBuf,
    _lab: Lab,
}

impl Pair {
    /// Two stopped servers, `b` a copy of `a`, and a cluster that knows nothing.
    pub fn new(name: &str, durability: &'static str) -> Option<Pair> {
        let lab = Lab::new(name)?;
        let (a, b) = lab.pair("pbx-b");
        a.sql("INSERT INTO calls VALUES (1)");
        for server in [&a, &b] {
            let processes = server.processes();
            crate::cluster::signal(server.postmaster(), "INT");
            crate::cluster::until("it is stopped", || server.processes().is_empty());
            assert!(!processes.is_empty());
        }
        let home = a.dir.with_file_name("cluster");
        fs::create_dir_all(home.join("bin")).expect("make the cluster's directory");
        for tool in ["attrd_updater", "crm_attribute", "crm_resource", "crm_node"] {
            let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ocf_postgres/tools");
            std::os::unix::fs::symlink(program, home.join("bin").join(tool)).expect("a tool");
        }
        for file in ["running", "calls"] {
            fs::write(home.join(file), "").expect("a file");
        }
        fs::write(home.join("members"), "pbx-a pbx-b\n").expect("members");
        let resource = format!("pg-{}", a.config().port);
        Some(Pair { a, b, resource, durability, home, _lab: lab })
    }

    /// `a` is the primary, `b` its synchronous standby.
    pub fn served(name: &str, durability: &'static str) -> Option<Pair> {
        let pair = Pair::new(name, durability)?;
        assert_eq!(pair.start(A).code, 0);
        assert_eq!(pair.start(B).code, 0);
        let promoted = pair.promote(A);
        assert_eq!(promoted.code, 0, "{promoted:?}");
        pair.until_code(A, 8);
        pair.until_code(B, 0);
        Some(pair)
    }

    pub fn server(&self, node: NodeId) -> &Server {
        match node {
            NodeId::A => &self.a,
            NodeId::B => &self.b,
        }
    }

    /// One action, with nothing said of the other instance.
    pub fn act(&self, node: NodeId, action: &str) -> Ended {
        self.act_with(node, action, &[])
    }

    pub fn act_with(&self, node: NodeId, action: &str, more: &[(&str, &str)]) -> Ended {
        let child = self.begin(node, action, more);
        let output = child.wait_with_output().expect("the action ends");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = log.lines().find_map(|line| line.strip_prefix("ocf-exit-reason:"));
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            reason: reason.unwrap_or_default().to_owned(),
            log: log.clone(),
        };
        println!("{node}: {action} {more:?}: {} {}", ended.code, ended.log);
        ended
    }

    /// Begins an action in a process group of its own.
    pub fn begin(&self, node: NodeId, action: &str, more: &[(&str, &str)]) -> Child {
        let config = self.server(node).config();
        let path = |path: &std::path::Path| path.display().to_string();
        let hosts = format!("pbx-a={} pbx-b={}", self.a.address(A), self.a.address(B));
        let tools = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path(&self.home.join("bin")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
        command
            .args(["ocf", "postgres", action])
            .env_clear()
            .env("PATH", tools)
            .env("CLUSTER", &self.home)
            .env("OCF_RESOURCE_INSTANCE", &self.resource)
            .env("OCF_RESKEY_CRM_meta_on_node", name(node))
            .env("OCF_RESKEY_CRM_meta_timeout", "60000")
            .env("OCF_RESKEY_CRM_meta_notify", "true")
            .env("OCF_RESKEY_data_dir", config.data_dir)
            .env("OCF_RESKEY_bin_dir", BIN)
            .env("OCF_RESKEY_os_user", config.os_user)
            .env("OCF_RESKEY_user", config.user)
            .env("OCF_RESKEY_socket_dir", config.socket_dir)
            .env("OCF_RESKEY_port", config.port.to_string())
            .env("OCF_RESKEY_hosts", hosts)
            .env("OCF_RESKEY_salvage_dir", config.salvage_dir)
            .env("OCF_RESKEY_log_file", self.server(node).dir.join("log"))
            .env("OCF_RESKEY_durability", self.durability)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if action == "monitor" {
            command.env("OCF_RESKEY_CRM_meta_interval", "10000");
        }
        command.envs(more.iter().copied());
        command.spawn().expect("start the agent")
    }

    pub fn code(&self, node: NodeId) -> i32 {
        self.act(node, "monitor").code
    }

    /// Monitors as often as needed.
    pub fn until_code(&self, node: NodeId, code: i32) {
        let mut seen = Vec::new();
        for _ in 0..100 {
            let now = self.code(node);
            if now == code {
                return;
            }
            seen.push(now);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("monitor of {node} did not come to {code}: {seen:?}");
    }

    pub fn start(&self, node: NodeId) -> Ended {
        let ended = self.act_with(node, "start", &self.lists("", "start", node));
        if ended.code == 0 {
            self.set_running(node, true);
            self.notify("post", "start", node);
        }
        ended
    }

    pub fn stop(&self, node: NodeId) -> Ended {
        self.notify("pre", "stop", node);
        let ended = self.act_with(node, "stop", &self.lists("", "stop", node));
        if ended.code == 0 {
            self.notify("post", "stop", node);
            self.set_running(node, false);
        }
        ended
    }

    pub fn promote(&self, node: NodeId) -> Ended {
        self.notify("pre", "promote", node);
        let ended = self.act_with(node, "promote", &self.lists("", "promote", node));
        if ended.code == 0 {
            self.notify("post", "promote", node);
        }
        ended
    }

    pub fn demote(&self, node: NodeId) -> Ended {
        self.notify("pre", "demote", node);
        let ended = self.act_with(node, "demote", &self.lists("", "demote", node));
        self.notify("post", "demote", node);
        ended
    }

    /// The host loses power and is fenced: the cluster counts its instance as stopped.
    pub fn power_off(&self, node: NodeId) {
        self.server(node).kill_all();
        for attribute in ["master", "duotone-whole", "duotone-position"] {
            let _ = fs::remove_file(self.file(&format!("{attribute}-{}", self.resource), node));
        }
        self.notify("post", "stop", node);
        self.set_running(node, false);
    }

    /// What every running instance is told of one on `of`.
    pub fn notify(&self, when: &str, operation: &str, of: NodeId) {
        for node in NodeId::ALL {
            let stopped = when == "post" && operation == "stop" && node == of;
            if self.is_running(node) && !stopped {
                let ended = self.act_with(node, "notify", &self.lists(when, operation, of));
                assert_eq!(ended.code, 0, "notify never fails: {ended:?}");
            }
        }
    }

    fn lists(&self, when: &str, operation: &str, of: NodeId) -> Vec<(&'static str, &'static str)> {
        let list = match operation {
            "start" => "OCF_RESKEY_CRM_meta_notify_start_uname",
            "stop" => "OCF_RESKEY_CRM_meta_notify_stop_uname",
            "promote" => "OCF_RESKEY_CRM_meta_notify_promote_uname",
            _ => "OCF_RESKEY_CRM_meta_notify_demote_uname",
        };
        let active: Vec<&str> =
            NodeId::ALL.into_iter().filter(|node| self.is_running(*node)).map(name).collect();
        // Of a test: it may stay.
        let word = |text: String| -> &'static str { text.leak() };
        vec![
            ("OCF_RESKEY_CRM_meta_notify_type", word(when.to_owned())),
            ("OCF_RESKEY_CRM_meta_notify_operation", word(operation.to_owned())),
            ("OCF_RESKEY_CRM_meta_notify_active_uname", word(active.join(" "))),
            (list, name(of)),
        ]
    }

    pub fn is_running(&self, node: NodeId) -> bool {
        let running = fs::read_to_string(self.home.join("running")).expect("running");
        running.split_whitespace().any(|word| word == name(node))
    }

    pub fn set_running(&self, node: NodeId, runs: bool) {
        let all = NodeId::ALL.into_iter();
        let names: Vec<&str> = all
            .filter(|each| if *each == node { runs } else { self.is_running(*each) })
            .map(name)
            .collect();
        fs::write(self.home.join("running"), names.join("\n")).expect("running");
    }

    fn file(&self, attribute: &str, node: NodeId) -> PathBuf {
        self.home.join(format!("{attribute}@{}", name(node)))
    }

    fn attribute(&self, attribute: &str, node: NodeId) -> Option<String> {
        fs::read_to_string(self.file(attribute, node)).ok()
    }

    pub fn score(&self, node: NodeId) -> i32 {
        let score = self.attribute(&format!("master-{}", self.resource), node);
        score.map_or(0, |score| score.parse().expect("a score"))
    }

    pub fn mark(&self, node: NodeId) -> Option<String> {
        self.attribute(&format!("duotone-whole-{}", self.resource), node)
    }

    /// The cluster takes marks and stores none of them.
    pub fn lose_marks(&self) {
        fs::write(self.home.join(format!("loses-duotone-whole-{}", self.resource)), "")
            .expect("a file");
    }

    /// Whether commits of the primary wait for a standby.
    pub fn waits(&self, node: NodeId) -> bool {
        !self.server(node).sql("SHOW synchronous_standby_names").is_empty()
    }

    pub fn rows(&self, node: NodeId) -> String {
        self.server(node).sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM calls")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in NodeId::ALL {
            let directory = Resource::DataDirectory(self.server(node).data());
            let _ = owner::give_up(&[directory], &self.resource);
            let told = format!("told-{}-{}", self.resource, name(node));
            let _ = owner::directory().map(|directory| fs::remove_file(directory.join(told)));
        }
    }
}

pub fn name(node: NodeId) -> &'static str {
    match node {
        NodeId::A => "pbx-a",
        NodeId::B => "pbx-b",
    }
}
