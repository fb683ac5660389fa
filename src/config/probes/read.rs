//! Reading one probe: the keys that every kind has, and those of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::{
    Accept, CommandProbe, HttpProbe, Probe, ProbeKind, SipProbe, SqlProbe, Tls, Transport,
};
use crate::config::document::{At, Section};
use crate::config::error::Report;
use crate::config::nodes::host_address;
use crate::config::services;

/// Probes asked more often than this cost more than they tell.
const SHORTEST: Duration = Duration::from_millis(10);
/// Longest text that is looked for in a page.
const LONGEST_TEXT: usize = 1024;

/// What is not written is so.
#[derive(Clone, Copy)]
pub(in crate::config) struct Defaults<'a> {
    pub interval: Duration,
    pub timeout: Duration,
    pub fall: u32,
    /// Addresses that cannot be asked, because they are taken only once the answer is good.
    pub not_yet: &'a [(IpAddr, u8)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Tcp,
    SipUdp,
    SipTcp,
    SipTls,
    Http,
    Https,
    Sql,
    Command,
    Icmp,
}

const WORDS: [(&str, Word); 9] = [
    ("tcp", Word::Tcp),
    ("sip-udp", Word::SipUdp),
    ("sip-tcp", Word::SipTcp),
    ("sip-tls", Word::SipTls),
    ("http", Word::Http),
    ("https", Word::Https),
    ("sql", Word::Sql),
    ("command", Word::Command),
    ("icmp", Word::Icmp),
];

/// What `kind` may be.
pub(in crate::config) fn kinds() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().map(|(word, _)| word)
}

/// Of a kind that is not known no key is called unknown on top of that.
pub(in crate::config) fn pass_over(section: &mut Section<'_>) {
    for key in KEYS {
        section.skip(key);
    }
}

/// Every key of every kind.
const KEYS: [&str; 18] = [
    "interval",
    "timeout",
    "fall",
    "rise",
    "target",
    "accept",
    "ca",
    "server_name",
    "verify",
    "url",
    "contains",
    "connection",
    "password_file",
    "query",
    "expect",
    "command",
    "user",
    "grace",
];

/// Reads the table up to its close, which is the caller's.
pub(in crate::config) fn read(
    section: &mut Section<'_>,
    defaults: Defaults<'_>,
    report: &Report<'_>,
) -> Option<Probe> {
    let word = section.word("kind", &WORDS);
    if word.is_none() && !section.has("kind") {
        section.missing("kind", "\"tcp\" or \"sip-udp\"");
    }
    let title = section.title().to_owned();
    let mut span = |key: &'static str, default| match section.time(key) {
        Some(at) if at.value < SHORTEST => {
            report.at(at.offset, format!("{title}: {key} is too short; write \"10ms\" or more"));
            at.value
        }
        Some(at) => at.value,
        None => default,
    };
    let interval = span("interval", defaults.interval);
    let timeout = span("timeout", defaults.timeout.min(interval));
    let fall = section.integer("fall", 1, 1000).map_or(defaults.fall, |at| at.value);
    let rise = section.integer("rise", 1, 1000).map_or(1, |at| at.value);
    let Some(word) = word else {
        pass_over(section);
        return None;
    };
    let grace = section.time_or("grace", interval * fall);
    let kind = kind(section, word, defaults.not_yet, report)?;
    Some(Probe { kind, interval, timeout, fall, rise, grace })
}

fn kind(
    section: &mut Section<'_>,
    word: Word,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<ProbeKind> {
    let sip = |section: &mut Section<'_>, transport| {
        let target = target(section, not_yet, report);
        let accept = accept(section, (200, 699), report).unwrap_or_else(Accept::sip);
        Some(ProbeKind::Sip(SipProbe { target: target?, transport, accept }))
    };
    match word {
        Word::Tcp => target(section, not_yet, report).map(ProbeKind::Tcp),
        Word::SipUdp => sip(section, Transport::Udp),
        Word::SipTcp => sip(section, Transport::Tcp),
        Word::SipTls => {
            let tls = tls(section, report);
            sip(section, Transport::Tls(tls))
        }
        Word::Http => http(section, "http", not_yet, report).map(ProbeKind::Http),
        Word::Https => http(section, "https", not_yet, report).map(ProbeKind::Http),
        Word::Sql => sql(section, report).map(ProbeKind::Sql),
        Word::Command => {
            let command = services::command(section, "[\"/usr/local/bin/check-pbx\"]", report);
            let user = section.text("user").map(|at| at.value.to_owned());
            Some(ProbeKind::Command(CommandProbe { command: command?, user }))
        }
        Word::Icmp => icmp(section, not_yet, report).map(ProbeKind::Icmp),
    }
}

fn target(
    section: &mut Section<'_>,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<SocketAddr> {
    let title = section.title().to_owned();
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
        report.at(offset, format!("{title}: target: \"{value}\" cannot be asked: {hint}"));
        return None;
    };
    let ip = target.ip();
    if target.port() == 0 {
        report.at(offset, format!("{title}: target: port 0 cannot be asked; write \"{ip}:5060\""));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        let port = target.port();
        let wrong = format!("{title}: target: {ip} is not one host; write \"127.0.0.1:{port}\"");
        report.at(offset, wrong);
    }
    can_be_asked(section, At { value: ip, offset }, not_yet, report);
    Some(target)
}

fn can_be_asked(
    section: &Section<'_>,
    ip: At<IpAddr>,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) {
    if not_yet.iter().any(|(address, _)| *address == ip.value) {
        let wrong = format!(
            "{}: {} is a floating address, which is only taken once this critical service answers; \
             write 127.0.0.1, or start = \"after-address\"",
            section.title(),
            ip.value
        );
        report.at(ip.offset, wrong);
    }
}

fn icmp(
    section: &mut Section<'_>,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<IpAddr> {
    let Some(At { value, offset }) = section.text("target") else {
        if !section.has("target") {
            section.missing("target", "\"192.0.2.1\"");
        }
        return None;
    };
    match host_address(value) {
        Ok(ip) => {
            can_be_asked(section, At { value: ip, offset }, not_yet, report);
            Some(ip)
        }
        Err(wrong) => {
            report.at(offset, format!("{}: target: {wrong}", section.title()));
            None
        }
    }
}

/// `None` when the key is absent.
fn accept(section: &mut Section<'_>, all: (u16, u16), report: &Report<'_>) -> Option<Accept> {
    let given = section.texts("accept")?;
    if given.is_empty() {
        section.wrong("accept: no status is good; write accept = [\"2xx\"], or remove the line");
    }
    let mut ranges = Vec::new();
    for At { value, offset } in given {
        let range = match value.strip_suffix("xx") {
            Some(class) if class.len() == 1 => {
                class.parse::<u16>().ok().map(|class| (class * 100, class * 100 + 99))
            }
            Some(_) => None,
            None => value.parse::<u16>().ok().map(|status| (status, status)),
        };
        match range.filter(|(from, to)| *from >= all.0 && *to <= all.1) {
            Some(range) => ranges.push(range),
            None => report.at(
                offset,
                format!(
                    "accept: \"{value}\" is no status from {} to {}; write \"200\" or \"2xx\"",
                    all.0, all.1
                ),
            ),
        }
    }
    Some(Accept { ranges })
}

fn tls(section: &mut Section<'_>, report: &Report<'_>) -> Tls {
    let ca = section.path("ca");
    let server_name = section.text("server_name");
    if let Some(At { value, offset }) = server_name
        && ServerName::try_from(value).is_err()
    {
        let wrong = format!(
            "server_name: \"{value}\" cannot be in a certificate; write a host name, as in \
             \"pbx.example.org\""
        );
        report.at(offset, wrong);
    }
    let verify = section.flag("verify", true);
    if let (Some(ca), false) = (&ca, verify) {
        report
            .at(ca.offset, "ca: means nothing while verify is false; remove one of the two lines");
    }
    Tls {
        ca: ca.map(|at| at.value),
        server_name: server_name.map(|at| at.value.to_owned()),
        verify,
    }
}

fn http(
    section: &mut Section<'_>,
    scheme: &str,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<HttpProbe> {
    let url = url(section, scheme, not_yet, report);
    let accept = accept(section, (100, 599), report).unwrap_or_else(Accept::http);
    let contains = section.text("contains");
    if let Some(At { value, offset }) = contains
        && (value.is_empty() || value.len() > LONGEST_TEXT)
    {
        report.at(offset, format!("contains: write from 1 to {LONGEST_TEXT} bytes"));
    }
    let tls = match scheme {
        "https" => tls(section, report),
        _ => Tls { ca: None, server_name: None, verify: true },
    };
    let contains = contains.map(|at| at.value.to_owned());
    Some(HttpProbe { url: url?, accept, contains, tls })
}

fn url(
    section: &mut Section<'_>,
    scheme: &str,
    not_yet: &[(IpAddr, u8)],
    report: &Report<'_>,
) -> Option<reqwest::Url> {
    let Some(At { value, offset }) = section.text("url") else {
        if !section.has("url") {
            section.missing("url", &format!("\"{scheme}://127.0.0.1/\""));
        }
        return None;
    };
    let wrong = |wrong: String| report.at(offset, format!("url: \"{value}\" {wrong}"));
    let url = match reqwest::Url::parse(value) {
        Ok(url) => url,
        Err(error) => {
            wrong(format!("is no URL ({error}); write \"{scheme}://HOST/PATH\""));
            return None;
        }
    };
    if url.scheme() != scheme {
        wrong(format!(
            "begins with {}, and the kind is {scheme}; write \"{scheme}://HOST/PATH\"",
            url.scheme()
        ));
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        wrong("holds a user or password, which the log would show; ask a page without".into());
    }
    let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
    if let Some(ip) = host.and_then(|host| host.parse().ok()) {
        can_be_asked(section, At { value: ip, offset }, not_yet, report);
    }
    Some(url)
}

fn sql(section: &mut Section<'_>, report: &Report<'_>) -> Option<SqlProbe> {
    let connection = connection(section, report);
    let password_file = section.path("password_file").map(|at| at.value);
    let query = section.text("query").map_or("SELECT 1", |at| at.value).to_owned();
    let expect = section.text("expect").map(|at| at.value.to_owned());
    Some(SqlProbe { connection: connection?, password_file, query, expect })
}

fn connection(section: &mut Section<'_>, report: &Report<'_>) -> Option<tokio_postgres::Config> {
    use tokio_postgres::config::SslMode;
    const EXAMPLE: &str = "\"host=/var/run/postgresql user=kamailio dbname=kamailio\"";
    let Some(At { value, offset }) = section.text("connection") else {
        if !section.has("connection") {
            section.missing("connection", EXAMPLE);
        }
        return None;
    };
    let wrong = |wrong: String| report.at(offset, format!("connection: {wrong}"));
    let connection = match value.parse::<tokio_postgres::Config>() {
        Ok(connection) => connection,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let why = source.unwrap_or_else(|| error.to_string());
            wrong(format!("{why}; write connection = {EXAMPLE}"));
            return None;
        }
    };
    if connection.get_password().is_some() {
        wrong("holds the password; write it into a file, and password_file = \"/…\"".into());
    }
    if connection.get_user().is_none() {
        wrong(format!("names no user; write connection = {EXAMPLE}"));
    }
    if connection.get_hosts().is_empty() && connection.get_hostaddrs().is_empty() {
        wrong(format!("names no host; write connection = {EXAMPLE}"));
    }
    if matches!(connection.get_ssl_mode(), SslMode::Require) {
        wrong("the probe does not encrypt; ask over the Unix socket, or remove sslmode".into());
    }
    Some(connection)
}
