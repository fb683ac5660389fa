//! The sections `[[service]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::document::{At, Section};
use super::error::Report;
use super::nodes::bad_name;
use super::probes::{self, Defaults};
use super::{Limits, RunOn, Runner, Service, Start};

pub(super) fn read(
    document: &mut Section<'_>,
    floating: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Vec<Service> {
    let mut names: Vec<String> = Vec::new();
    let mut services = Vec::new();
    for mut section in document.sections("service") {
        let name = name(&mut section, &mut names, report);
        let service = service(&mut section, name, floating, report);
        let of = |other: &Service| service.as_ref().is_some_and(|it| same_unit(it, other));
        if let Some(other) = services.iter().find(|other| of(other)) {
            section.wrong(&format!("service \"{}\" has the same unit; remove one", other.name));
        }
        section.close();
        services.extend(service);
    }
    services
}

fn same_unit(a: &Service, b: &Service) -> bool {
    matches!((&a.runner, &b.runner), (Runner::Unit(a), Runner::Unit(b)) if a == b)
}

fn name(section: &mut Section<'_>, names: &mut Vec<String>, report: &Report<'_>) -> Option<String> {
    let Some(At { value, offset }) = section.text("name") else {
        if !section.has("name") {
            section.missing("name", "\"kamailio\"");
        }
        return None;
    };
    if let Some(wrong) = bad_name(value, 64, false) {
        report.at(offset, format!("[[service]]: name: {wrong}"));
    }
    if names.iter().any(|other| other == value) {
        report.at(offset, format!("[[service]]: two services are named \"{value}\"; rename one"));
    }
    names.push(value.to_owned());
    Some(value.to_owned())
}

fn service(
    section: &mut Section<'_>,
    name: Option<String>,
    floating: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<Service> {
    let (runner, command) = what(section, report);
    let run_on = [("active", RunOn::Active), ("standby", RunOn::Standby), ("both", RunOn::Both)];
    let run_on = section.word("run_on", &run_on).unwrap_or(RunOn::Active);
    let start = [("before-address", Start::BeforeAddress), ("after-address", Start::AfterAddress)];
    let start = section.word("start", &start).unwrap_or(Start::BeforeAddress);
    // A service that only the standby runs cannot be what the address is taken for.
    let critical = section.flag("critical", run_on != RunOn::Standby);
    if critical && run_on == RunOn::Standby {
        section.wrong(
            "a service of the standby alone cannot be critical; write critical = false, or \
             run_on = \"both\"",
        );
    }
    let restart_delay = section.time_or("restart_delay", Duration::from_millis(200));
    let restart_max = section.time_or("restart_max", restart_delay.max(Duration::from_secs(10)));
    if restart_max < restart_delay {
        section.wrong("restart_max is shorter than restart_delay; raise it, or remove the line");
    }
    let stop_timeout = section.time_or("stop_timeout", Duration::from_secs(5));
    let needed_first = critical && start == Start::BeforeAddress;
    let defaults = Defaults {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fall: 3,
        not_yet: if needed_first { floating } else { &[] },
    };
    let mut found = Vec::new();
    for mut part in section.sections("probes") {
        let probe = probes::read(&mut part, defaults, report);
        part.close();
        found.extend(probe);
    }
    let user = section.text("user").map(|at| at.value.to_owned());
    let directory = section.path_or("directory", "/");
    let environment = environment(section, report);
    let limits = limits(section);
    Some(Service {
        name: name?,
        runner,
        command: command?,
        user,
        directory,
        environment,
        limits,
        run_on,
        start,
        critical,
        probes: found,
        restart_delay,
        restart_max,
        stop_timeout,
    })
}

/// Where the unit says it, the file must not: nobody would know which of the two holds.
const OF_A_COMMAND: [(&str, &str); 6] = [
    ("command", "ExecStart="),
    ("run", "Type="),
    ("user", "User="),
    ("directory", "WorkingDirectory="),
    ("environment", "Environment="),
    ("limits", "LimitNOFILE= and the like"),
];

/// Who runs it, and the command, if it is one.
fn what(section: &mut Section<'_>, report: &Report<'_>) -> (Runner, Option<Vec<String>>) {
    let found = section.text("unit");
    if !section.has("unit") {
        let example = "[\"/usr/sbin/kamailio\", \"-DD\", \"-E\"], or unit = \"kamailio.service\"";
        let unit = section.word("run", &[("child", false), ("unit", true)]).unwrap_or(false);
        let runner = if unit { Runner::TransientUnit } else { Runner::Daemon };
        return (runner, command(section, example, report));
    }
    for (key, instead) in OF_A_COMMAND {
        if section.skip(key) {
            section.wrong(&match key {
                "command" => "command and unit are both there; remove one of them".to_owned(),
                _ => format!(
                    "{key} is the unit's to say; remove it, and write {instead} into a \
                              drop-in (systemctl edit)"
                ),
            });
        }
    }
    let Some(At { value, offset }) = found else { return (Runner::Daemon, None) };
    if let Some(wrong) = bad_unit(value) {
        report.at(offset, format!("[[service]]: unit: {wrong}"));
    }
    (Runner::Unit(value.to_owned()), Some(Vec::new()))
}

/// What systemd.unit(5) allows in the name of a service, but for templates without an instance.
fn bad_unit(name: &str) -> Option<String> {
    let Some(prefix) = name.strip_suffix(".service") else {
        let whole = !name.is_empty() && !name.contains(['.', '/']);
        let right = if whole { name } else { "kamailio" };
        return Some(format!("\"{name}\" is no service; write \"{right}.service\""));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if let Some(bad) = prefix.chars().find(|&c| !allowed(c)) {
        Some(format!("\"{name}\" contains {bad:?}; `systemd-escape` writes it as systemd does"))
    } else if prefix.is_empty() || prefix.starts_with('@') || name.len() > 255 {
        Some(format!("\"{name}\" names no unit; `systemctl list-unit-files` shows those there are"))
    } else if prefix.ends_with('@') {
        Some(format!("\"{name}\" is a template; write which one, as in \"{prefix}a.service\""))
    } else if matches!(prefix, "duotone" | "duotone-witness") {
        Some(format!("\"{name}\" is duotone's own; name the unit that it is to run"))
    } else {
        None
    }
}

fn limits(section: &mut Section<'_>) -> Limits {
    let Some(mut part) = section.section("limits") else { return Limits::default() };
    let mut number = |key, most| part.integer(key, 1, most).map(|at| u64::from(at.value));
    let open_files = number("open_files", 1 << 30);
    let processes = number("processes", 1 << 22);
    let limits =
        Limits { open_files, processes, core: part.size("core"), memory: part.size("memory") };
    part.close();
    limits
}

/// Program and arguments.
pub(super) fn command(
    section: &mut Section<'_>,
    example: &str,
    report: &Report<'_>,
) -> Option<Vec<String>> {
    let Some(words) = section.texts("command") else {
        section.missing("command", example);
        return None;
    };
    let Some(program) = words.first() else {
        section.wrong("command names no program; write command = [\"/usr/sbin/…\", \"argument\"]");
        return None;
    };
    if !program.value.starts_with('/') {
        let wrong = format!(
            "command: \"{}\" is not a whole path; write the program from the root, each argument \
             by itself",
            program.value
        );
        report.at(program.offset, wrong);
    }
    if let Some(bad) = words.iter().find(|word| word.value.contains('\0')) {
        report.at(bad.offset, "command: a word contains a NUL byte; remove it");
    }
    Some(words.into_iter().map(|word| word.value.to_owned()).collect())
}

pub(super) fn environment(section: &mut Section<'_>, report: &Report<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in section.pairs("environment").unwrap_or_default() {
        if name.value.is_empty() || name.value.contains(['=', '\0']) || value.value.contains('\0') {
            let wrong = format!(
                "environment: {:?} cannot be a variable; write NAME = \"value\"",
                name.value
            );
            report.at(name.offset, wrong);
        }
        found.push((name.value.to_owned(), value.value.to_owned()));
    }
    found
}
