//! The sections `[[service]]` and their probes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::document::{At, Section};
use super::error::Report;
use super::nodes::bad_name;
use super::{Probe, ProbeKind, RunOn, Service, Start};

/// Probes asked more often than this cost more than they tell.
const SHORTEST_PROBE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Tcp,
    SipUdp,
}

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
    let mut probes = Vec::new();
    for mut part in section.sections("probes") {
        let found = probe(&mut part, needed_first, floating, report);
        part.close();
        probes.extend(found);
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
        probes,
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

fn probe(
    section: &mut Section<'_>,
    needed_first: bool,
    floating: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<Probe> {
    let kind = section.word("kind", &[("tcp", Question::Tcp), ("sip-udp", Question::SipUdp)]);
    if kind.is_none() && !section.has("kind") {
        section.missing("kind", "\"tcp\" or \"sip-udp\"");
    }
    let target = target(section, needed_first, floating, report);
    let mut span = |key: &'static str, default| match section.time(key) {
        Some(at) if at.value < SHORTEST_PROBE => {
            report.at(at.offset, format!("probes: {key} is too short; write \"10ms\" or more"));
            at.value
        }
        Some(at) => at.value,
        None => default,
    };
    let interval = span("interval", Duration::from_secs(1));
    let timeout = span("timeout", Duration::from_millis(500).min(interval));
    let fall = section.integer("fall", 1, 1000).map_or(3, |at| at.value);
    let rise = section.integer("rise", 1, 1000).map_or(1, |at| at.value);
    let kind = match kind? {
        Question::Tcp => ProbeKind::Tcp(target?),
        Question::SipUdp => ProbeKind::SipUdp(target?),
    };
    Some(Probe { kind, interval, timeout, fall, rise })
}

fn target(
    section: &mut Section<'_>,
    needed_first: bool,
    floating: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<SocketAddr> {
    let Some(At { value, offset }) = section.text("target") else {
        if !section.has("target") {
            section.missing("target", "\"127.0.0.1:5060\"");
        }
        return None;
    };
    let Ok(target) = value.parse::<SocketAddr>() else {
        let hint = match value.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => format!("it has no port; write \"{ip}:5060\""),
            Ok(IpAddr::V6(ip)) => format!("it has no port; write \"[{ip}]:5060\""),
            Err(_) => "write an IP address and a port, as in \"127.0.0.1:5060\" or \"[::1]:5060\""
                .to_owned(),
        };
        report.at(offset, format!("probes: target: \"{value}\" cannot be asked: {hint}"));
        return None;
    };
    let ip = target.ip();
    if target.port() == 0 {
        report.at(offset, format!("probes: target: port 0 cannot be asked; write \"{ip}:5060\""));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        report.at(
            offset,
            format!("probes: target: {ip} is not one host; write \"127.0.0.1:{}\"", target.port()),
        );
    }
    if needed_first && floating.iter().any(|(address, _)| *address == ip) {
        let wrong = format!(
            "probes: target: {ip} is a floating address, which is only taken once this critical \
             service answers; write \"127.0.0.1:{}\", or start = \"after-address\"",
            target.port()
        );
        report.at(offset, wrong);
    }
    Some(target)
}
