//! The sections `[[hook]]`: what is run when the role moves, and as whom.

use std::time::Duration;

use super::document::{At, Section};
use super::error::{Report, suggestion};
use super::nodes::bad_name;
use super::services;

/// Unless the file says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Less than this no program can be started in for certain.
const SHORTEST: Duration = Duration::from_millis(100);
/// The hooks after it wait for one that hangs.
const LONGEST: Duration = Duration::from_secs(600);

/// A program that is told what happens to the role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Unique name, `[A-Za-z0-9_-]`.
    pub name: String,
    /// What it is told, at least one.
    pub on: Vec<HookEvent>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its whole process group is killed after this.
    pub timeout: Duration,
    /// Operating-system user; root only where that is written.
    pub user: String,
    /// What it may do although it is not root (capabilities(7)).
    pub capabilities: Vec<Capability>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
}

/// What a hook can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookEvent {
    /// This node takes the role; the steps go on beside the hook.
    BeforeTakeover,
    /// This node serves.
    AfterTakeover,
    /// This node gives the role up; the steps go on beside the hook.
    BeforeStandby,
    /// This node stands by.
    AfterStandby,
    /// The role is back at the preferred node.
    Failback,
    /// Both nodes had served, and one of them has given way.
    ConflictEnded,
    /// This node went into maintenance, or came out of it.
    Maintenance,
}

impl HookEvent {
    /// Every event.
    pub const ALL: [HookEvent; 7] = [
        HookEvent::BeforeTakeover,
        HookEvent::AfterTakeover,
        HookEvent::BeforeStandby,
        HookEvent::AfterStandby,
        HookEvent::Failback,
        HookEvent::ConflictEnded,
        HookEvent::Maintenance,
    ];

    /// As it is written in the file and told to the hook.
    pub const fn word(self) -> &'static str {
        match self {
            HookEvent::BeforeTakeover => "before-takeover",
            HookEvent::AfterTakeover => "after-takeover",
            HookEvent::BeforeStandby => "before-standby",
            HookEvent::AfterStandby => "after-standby",
            HookEvent::Failback => "failback",
            HookEvent::ConflictEnded => "conflict-ended",
            HookEvent::Maintenance => "maintenance",
        }
    }

    /// The event that is written so.
    pub fn of(word: &str) -> Option<HookEvent> {
        HookEvent::ALL.into_iter().find(|event| event.word() == word)
    }
}

/// A capability by its number in the kernel's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability(pub u8);

/// linux/capability.h, in the order of the numbers.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

pub(super) fn read(document: &mut Section<'_>, report: &Report<'_>) -> Vec<Hook> {
    let mut names: Vec<String> = Vec::new();
    let mut hooks = Vec::new();
    for mut section in document.sections("hook") {
        let hook = hook(&mut section, &mut names, report);
        section.close();
        hooks.extend(hook);
    }
    hooks
}

fn hook(section: &mut Section<'_>, names: &mut Vec<String>, report: &Report<'_>) -> Option<Hook> {
    let name = name(section, names, report);
    let on = events(section, report);
    let example = "[\"/usr/local/lib/duotone/tell-trunk\"]";
    let command = services::command(section, example, report);
    let timeout = timeout(section, report);
    let user = user(section, report);
    let capabilities = capabilities(section, report);
    if user.as_deref() == Some("root") && !capabilities.is_empty() {
        section.wrong("root has every capability; remove capabilities, or name another user");
    }
    let environment = services::environment(section, report);
    if let Some((name, _)) = environment.iter().find(|(name, _)| name.starts_with("DUOTONE_")) {
        section.wrong(&format!("environment: {name} is what duotone tells the hook; rename it"));
    }
    Some(Hook {
        name: name?,
        on,
        command: command?,
        timeout,
        user: user?,
        capabilities,
        environment,
    })
}

fn name(section: &mut Section<'_>, names: &mut Vec<String>, report: &Report<'_>) -> Option<String> {
    let Some(At { value, offset }) = section.text("name") else {
        if !section.has("name") {
            section.missing("name", "\"trunk\"");
        }
        return None;
    };
    if let Some(wrong) = bad_name(value, 64, false) {
        report.at(offset, format!("[[hook]]: name: {wrong}"));
    }
    if names.iter().any(|other| other == value) {
        report.at(offset, format!("[[hook]]: two hooks are named \"{value}\"; rename one"));
    }
    names.push(value.to_owned());
    Some(value.to_owned())
}

fn events(section: &mut Section<'_>, report: &Report<'_>) -> Vec<HookEvent> {
    let words = HookEvent::ALL.map(HookEvent::word);
    let mut found = Vec::new();
    let Some(on) = section.texts("on") else {
        section.missing("on", "[\"after-takeover\", \"after-standby\"]");
        return found;
    };
    if on.is_empty() && section.is_list("on") {
        let all = words.join("\", \"");
        section.wrong(&format!("on names no event; write some of \"{all}\""));
    }
    for At { value, offset } in on {
        match HookEvent::of(value) {
            None => {
                let near = suggestion(value, words);
                let all = words.join("\", \"");
                let wrong = format!("on: unknown event \"{value}\"; write some of \"{all}\"{near}");
                report.at(offset, wrong);
            }
            Some(event) if found.contains(&event) => {
                report.at(offset, format!("on: \"{value}\" twice; write it once"));
            }
            Some(event) => found.push(event),
        }
    }
    found
}

fn timeout(section: &mut Section<'_>, report: &Report<'_>) -> Duration {
    let Some(At { value, offset }) = section.time("timeout") else { return TIMEOUT };
    if value < SHORTEST {
        report.at(offset, "[[hook]]: timeout is too short; write \"100ms\" or more");
    }
    if value > LONGEST {
        let wrong = "[[hook]]: timeout is too long: the hooks after it would wait; write \"10min\" \
                     or less";
        report.at(offset, wrong);
    }
    value
}

fn user(section: &mut Section<'_>, report: &Report<'_>) -> Option<String> {
    let Some(At { value, offset }) = section.text("user") else {
        if !section.has("user") {
            section.missing("user", "\"nobody\", or a user of its own");
        }
        return None;
    };
    if let Some(wrong) = bad_name(value, 32, true) {
        report.at(offset, format!("[[hook]]: user: {wrong}"));
    }
    Some(value.to_owned())
}

fn capabilities(section: &mut Section<'_>, report: &Report<'_>) -> Vec<Capability> {
    let mut found = Vec::new();
    for At { value, offset } in section.texts("capabilities").unwrap_or_default() {
        match CAPABILITIES.iter().position(|name| *name == value) {
            Some(number) => found.extend(u8::try_from(number).ok().map(Capability)),
            None => {
                let near = suggestion(value, CAPABILITIES);
                let wrong = format!(
                    "capabilities: unknown capability \"{value}\"; write it as capabilities(7) \
                     does, as in \"CAP_NET_BIND_SERVICE\"{near}"
                );
                report.at(offset, wrong);
            }
        }
    }
    found
}
