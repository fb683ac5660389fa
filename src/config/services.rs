//! The sections `[[service]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::document::{At, Section};
use super::error::Report;
use super::nodes::bad_name;
use super::probes::{self, Defaults};
use super::{RunOn, Service, Start};

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
        section.close();
        services.extend(service);
    }
    services
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
    let example = "[\"/usr/sbin/kamailio\", \"-DD\", \"-E\"]";
    let command = command(section, example, report);
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
    Some(Service {
        name: name?,
        command: command?,
        user,
        directory,
        environment,
        run_on,
        start,
        critical,
        probes: found,
        restart_delay,
        restart_max,
        stop_timeout,
    })
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
