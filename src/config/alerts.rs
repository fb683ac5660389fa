//! The section `[alerts]`: what people are told of, and through which channels.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use reqwest::Url;

use super::document::{At, Section};
use super::error::{Report, suggestion};
use super::{headers, password, read};

/// So many alerts of one kind go out ...
const AT_MOST: u32 = 6;
/// ... within this time, unless the file says otherwise.
const WITHIN: Duration = Duration::from_secs(600);
const SHORTEST_WITHIN: Duration = Duration::from_secs(1);

/// Who is told what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alerts {
    /// What is told of, at least one kind.
    pub kinds: Vec<AlertKind>,
    /// At most so many of one kind ...
    pub at_most: u32,
    /// ... within this time.
    pub within: Duration,
    /// By mail.
    pub mail: Option<Mail>,
    /// By an HTTP request.
    pub webhook: Option<Webhook>,
    /// By a line to the local syslog daemon.
    pub syslog: Option<AlertSyslog>,
}

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AlertKind {
    /// The role moved, or was to move.
    Role,
    /// A node waits for a person, or may not take a role that nobody has.
    Held,
    /// Both nodes served.
    Conflict,
    /// The peer is silent, or heard again.
    Peer,
    /// The standby is no good one, or good again.
    Standby,
    /// A service failed, or works again.
    Service,
    /// The witness or the fence does not work, or works again.
    Arbiter,
    /// A hook failed.
    Hook,
    /// What the node keeps on its disk is damaged.
    State,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [AlertKind; 9] = [
        AlertKind::Role,
        AlertKind::Held,
        AlertKind::Conflict,
        AlertKind::Peer,
        AlertKind::Standby,
        AlertKind::Service,
        AlertKind::Arbiter,
        AlertKind::Hook,
        AlertKind::State,
    ];

    /// As it is written in the file, and told to programs; stable.
    pub const fn word(self) -> &'static str {
        match self {
            AlertKind::Role => "role",
            AlertKind::Held => "held",
            AlertKind::Conflict => "conflict",
            AlertKind::Peer => "peer",
            AlertKind::Standby => "standby",
            AlertKind::Service => "service",
            AlertKind::Arbiter => "arbiter",
            AlertKind::Hook => "hook",
            AlertKind::State => "state",
        }
    }
}

/// A mail server, and who writes to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// Its name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// The name that its certificate must have; `server` unless the file says otherwise.
    pub server_name: String,
    /// A file with the certificates (PEM) that are believed; the system's unless given.
    pub ca: Option<PathBuf>,
    /// The sender.
    pub from: Mailbox,
    /// At least one.
    pub to: Vec<Mailbox>,
    /// A user, and the file that holds the password.
    pub login: Option<(String, PathBuf)>,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailTls {
    /// Not at all.
    None,
    /// Begun in the clear, then TLS (RFC 3207); without it nothing is sent.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
}

impl MailTls {
    const WORDS: [(&str, MailTls); 3] =
        [("none", MailTls::None), ("starttls", MailTls::StartTls), ("tls", MailTls::Tls)];

    fn port(self) -> u16 {
        match self {
            MailTls::None => 25,
            MailTls::StartTls => 587,
            MailTls::Tls => 465,
        }
    }
}

/// Where alerts are posted to as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// `http` or `https`.
    pub url: String,
    /// A file with headers to send along, such as an authorization.
    pub headers_file: Option<PathBuf>,
    /// A file with the certificates (PEM) that are believed; the system's unless given.
    pub ca: Option<PathBuf>,
}

/// The local syslog daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertSyslog {
    /// In the words of syslog(3).
    pub facility: &'static str,
    /// Where it listens, when that is not `/dev/log`.
    pub socket: Option<PathBuf>,
}

const FACILITIES: [(&str, &str); 12] = [
    ("daemon", "daemon"),
    ("user", "user"),
    ("auth", "auth"),
    ("authpriv", "authpriv"),
    ("local0", "local0"),
    ("local1", "local1"),
    ("local2", "local2"),
    ("local3", "local3"),
    ("local4", "local4"),
    ("local5", "local5"),
    ("local6", "local6"),
    ("local7", "local7"),
];

pub(super) fn read(
    mut section: Section<'_>,
    keys: read::Keys,
    report: &Report<'_>,
) -> Option<Alerts> {
    let kinds = kinds(&mut section, report);
    let at_most = section.integer("at_most", 1, 1000).map_or(AT_MOST, |at| at.value);
    let within = match section.time("within") {
        Some(At { value, offset }) if value < SHORTEST_WITHIN => {
            report.at(offset, "[alerts]: within is too short; write \"1s\" or more");
            value
        }
        Some(At { value, .. }) => value,
        None => WITHIN,
    };
    let given = ["mail", "webhook", "syslog"].iter().any(|key| section.has(key));
    let mail = section.section("mail").map(|part| mail(part, keys, report));
    let webhook = section.section("webhook").map(|part| webhook(part, keys, report));
    let syslog = section.section("syslog").map(|part| syslog(part.titled("[alerts.syslog]")));
    if !given {
        section.wrong(
            "there is nobody to tell; write [alerts.mail], [alerts.webhook] or [alerts.syslog]",
        );
    }
    section.close();
    // What is there and wrong is reported; without it the rest is not what was meant.
    Some(Alerts {
        kinds,
        at_most,
        within,
        mail: mail.map_or(Some(None), |mail| mail.map(Some))?,
        webhook: webhook.map_or(Some(None), |webhook| webhook.map(Some))?,
        syslog,
    })
}

fn kinds(section: &mut Section<'_>, report: &Report<'_>) -> Vec<AlertKind> {
    let Some(words) = section.texts("events") else { return AlertKind::ALL.to_vec() };
    let all = AlertKind::ALL.map(AlertKind::word);
    if words.is_empty() && section.is_list("events") {
        section.wrong("events names none; remove the line to be told of everything");
    }
    let mut found = Vec::new();
    for At { value, offset } in words {
        match AlertKind::ALL.into_iter().find(|kind| kind.word() == value) {
            Some(kind) => found.push(kind),
            None => {
                let near = suggestion(value, all);
                let all = all.join("\", \"");
                let wrong =
                    format!("events: unknown kind \"{value}\"; write some of \"{all}\"{near}");
                report.at(offset, wrong);
            }
        }
    }
    found
}

fn mail(section: Section<'_>, keys: read::Keys, report: &Report<'_>) -> Option<Mail> {
    let mut section = section.titled("[alerts.mail]");
    let tls = section.word("tls", &MailTls::WORDS).unwrap_or(MailTls::StartTls);
    let server = match section.text("server") {
        Some(at) => host_and_port(at.value, tls.port())
            .map_err(|wrong| report.at(at.offset, format!("server: {wrong}")))
            .ok(),
        None => {
            if !section.has("server") {
                section.missing("server", "\"192.0.2.25:587\", or a host name");
            }
            None
        }
    };
    let server_name = section.text("server_name").map(|at| at.value.to_owned());
    let ca = section.path("ca").map(|at| at.value);
    if tls == MailTls::None && (ca.is_some() || server_name.is_some()) {
        section.wrong("ca and server_name are of no use with tls = \"none\"; remove one of them");
    }
    let from = mailbox(&mut section, "from", report);
    let to = recipients(&mut section, report);
    let login = login(&mut section, tls, keys, report);
    section.close();
    let (server, port) = server?;
    let server_name = server_name.unwrap_or_else(|| server.clone());
    Some(Mail { server, port, tls, server_name, ca, from: from?, to, login })
}

/// A host name or address with or without a port; an IPv6 address with a port in brackets.
fn host_and_port(text: &str, default: u16) -> Result<(String, u16), String> {
    let wrong = || format!("\"{text}\" is no server; write \"HOST\" or \"HOST:PORT\"");
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((ip.to_string(), default));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
        None => (text, default),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    match bracketed.map(str::parse::<IpAddr>) {
        Some(Ok(ip)) if port != 0 => Ok((ip.to_string(), port)),
        None if port != 0 && !host.is_empty() && host.chars().all(named) => {
            Ok((host.to_owned(), port))
        }
        _ => Err(wrong()),
    }
}

fn mailbox(section: &mut Section<'_>, key: &'static str, report: &Report<'_>) -> Option<Mailbox> {
    match section.text(key) {
        Some(at) => address(key, at, report),
        None => {
            if !section.has(key) {
                section.missing(key, "\"duotone@example.com\"");
            }
            None
        }
    }
}

fn recipients(section: &mut Section<'_>, report: &Report<'_>) -> Vec<Mailbox> {
    let given = section.one_or_more("to");
    if !section.has("to") {
        section.missing("to", "[\"admin@example.com\"]");
    } else if given.is_empty() && section.is_list("to") {
        section.wrong("to names nobody; write to = [\"admin@example.com\"]");
    }
    given.into_iter().filter_map(|at| address("to", at, report)).collect()
}

fn address(key: &str, At { value, offset }: At<&str>, report: &Report<'_>) -> Option<Mailbox> {
    // A line break would begin another header.
    let parsed = if value.contains(char::is_control) { None } else { value.parse().ok() };
    if parsed.is_none() {
        let wrong = format!(
            "{key}: {value:?} is no mail address; write \"name@example.com\" or \"Name \
             <name@example.com>\""
        );
        report.at(offset, wrong);
    }
    parsed
}

fn login(
    section: &mut Section<'_>,
    tls: MailTls,
    keys: read::Keys,
    report: &Report<'_>,
) -> Option<(String, PathBuf)> {
    let user = section.text("user");
    let file = section.path("password_file");
    if let (Some(file), read::Keys::Check) = (&file, keys)
        && let Err(error) = password::read(&file.value)
    {
        report.at(file.offset, format!("password_file: {error}"));
    }
    match (&user, &file) {
        (Some(user), None) if !section.has("password_file") => report.at(
            user.offset,
            "user: there is no password for it; write password_file = \"/etc/duotone/…\"",
        ),
        (None, Some(file)) if !section.has("user") => {
            report.at(file.offset, "password_file: whose is it? write user = \"…\"");
        }
        (Some(user), Some(_)) if tls == MailTls::None => report.at(
            user.offset,
            "user: with tls = \"none\" everybody on the way could read the password; write tls = \
             \"starttls\" or \"tls\"",
        ),
        (_, _) => {}
    }
    Some((user?.value.to_owned(), file?.value))
}

fn webhook(section: Section<'_>, keys: read::Keys, report: &Report<'_>) -> Option<Webhook> {
    let mut section = section.titled("[alerts.webhook]");
    let url = match section.text("url") {
        Some(At { value, offset }) => match url_of(value) {
            Ok(()) => Some(value.to_owned()),
            Err(wrong) => {
                report.at(offset, format!("url: {wrong}"));
                None
            }
        },
        None => {
            if !section.has("url") {
                section.missing("url", "\"https://example.com/alerts\"");
            }
            None
        }
    };
    let headers_file = section.path("headers_file");
    if let (Some(file), read::Keys::Check) = (&headers_file, keys)
        && let Err(error) = headers::read(&file.value)
    {
        report.at(file.offset, format!("headers_file: {error}"));
    }
    let ca = section.path("ca").map(|at| at.value);
    section.close();
    Some(Webhook { url: url?, headers_file: headers_file.map(|at| at.value), ca })
}

fn url_of(text: &str) -> Result<(), String> {
    let parsed = Url::parse(text).map_err(|error| {
        format!("\"{text}\" cannot be asked: {error}; write \"https://example.com/alerts\"")
    })?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(format!("\"{text}\" is of no web server; write \"https://…\""));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let fix = "it holds a password; write `Authorization: …` into a file and name it as \
                   headers_file";
        return Err(fix.to_owned());
    }
    Ok(())
}

fn syslog(mut section: Section<'_>) -> AlertSyslog {
    let facility = section.word("facility", &FACILITIES).unwrap_or("daemon");
    let socket = section.path("socket").map(|at| at.value);
    section.close();
    AlertSyslog { facility, socket }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        let read = |text: &str| host_and_port(text, 25).ok();
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("mail.example.com"), is("mail.example.com", 25));
        assert_eq!(read("mail.example.com:2525"), is("mail.example.com", 2525));
        assert_eq!(read("192.0.2.25"), is("192.0.2.25", 25));
        assert_eq!(read("2001:db8::25"), is("2001:db8::25", 25));
        assert_eq!(read("[2001:db8::25]:587"), is("2001:db8::25", 587));
        for wrong in ["", ":25", "mail:0", "mail:smtp", "ma il", "smtp://mail", "[mail]:25", "a\nb"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
