//! Questions to a service: what is asked, how often, and what counts as an answer. The sections
//! `probes` of a service, `[[remote_checks.probe]]` and `[[gateway]]` all read the same table.

mod read;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(super) use read::{Defaults, kinds, pass_over, read};

/// A question to a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// What to ask.
    pub kind: ProbeKind,
    /// Between two questions.
    pub interval: Duration,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// Bad answers in a row until the service counts as failed.
    pub fall: u32,
    /// Good answers in a row until it counts as working.
    pub rise: u32,
    /// After its start, bad answers do not count before the first good one, for at most so long.
    pub grace: Duration,
}

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// A TCP connection is accepted.
    Tcp(SocketAddr),
    /// SIP OPTIONS has a final response with an accepted status.
    Sip(SipProbe),
    /// HTTP GET has an accepted status and, if wanted, a text in its body.
    Http(HttpProbe),
    /// A statement succeeds on a PostgreSQL server.
    Sql(SqlProbe),
    /// A command exits with 0.
    Command(CommandProbe),
    /// A host answers ICMP echo (ping).
    Icmp(IpAddr),
}

/// OPTIONS to a SIP server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipProbe {
    /// Where it listens.
    pub target: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Final responses that count as good.
    pub accept: Accept,
}

impl SipProbe {
    /// Over `transport`, with the usual accepted statuses.
    #[must_use]
    pub fn new(target: SocketAddr, transport: Transport) -> SipProbe {
        SipProbe { target, transport, accept: Accept::sip() }
    }
}

/// What carries SIP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// An encrypted connection.
    Tls(Tls),
}

/// How a server proves over TLS who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// PEM file with the certificates that may sign the server's; the system's when absent.
    pub ca: Option<PathBuf>,
    /// The name that the certificate must be for; the target's own when absent.
    pub server_name: Option<String>,
    /// The certificate must be right; without this any is.
    pub verify: bool,
}

/// GET of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpProbe {
    /// The page; `http` or `https`.
    pub url: reqwest::Url,
    /// Statuses that count as good. Redirects are never followed.
    pub accept: Accept,
    /// What the body must contain.
    pub contains: Option<String>,
    /// For `https`.
    pub tls: Tls,
}

/// A statement on a PostgreSQL server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlProbe {
    /// Where to connect, and as whom.
    pub connection: tokio_postgres::Config,
    /// File with the password, if one is needed.
    pub password_file: Option<PathBuf>,
    /// The statement.
    pub query: String,
    /// The first value of its first row, as text.
    pub expect: Option<String>,
}

/// A command that judges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandProbe {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Operating-system user; the daemon's own when absent.
    pub user: Option<String>,
}

/// Status codes that count as good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accept {
    /// From, to; both included.
    pub ranges: Vec<(u16, u16)>,
}

impl Accept {
    /// Below 500, and 501: it understood and has no OPTIONS.
    #[must_use]
    pub fn sip() -> Accept {
        Accept { ranges: vec![(200, 499), (501, 501)] }
    }

    /// Success.
    #[must_use]
    pub fn http() -> Accept {
        Accept { ranges: vec![(200, 299)] }
    }

    /// Whether this status is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl ProbeKind {
    /// The host that is asked, if it is named by its address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            ProbeKind::Tcp(target) => Some(target.ip()),
            ProbeKind::Sip(sip) => Some(sip.target.ip()),
            ProbeKind::Http(http) => http.url.host_str()?.trim_matches(['[', ']']).parse().ok(),
            ProbeKind::Icmp(target) => Some(*target),
            ProbeKind::Sql(_) | ProbeKind::Command(_) => None,
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeKind::Tcp(target) => write!(f, "tcp {target}"),
            ProbeKind::Sip(sip) => {
                let over = match sip.transport {
                    Transport::Udp => "udp",
                    Transport::Tcp => "tcp",
                    Transport::Tls(_) => "tls",
                };
                write!(f, "sip-{over} {}", sip.target)
            }
            ProbeKind::Http(http) => http.url.fmt(f),
            ProbeKind::Sql(sql) => write!(f, "sql {:?}", sql.query),
            ProbeKind::Command(command) => {
                write!(f, "command {}", command.command.first().map_or("", String::as_str))
            }
            ProbeKind::Icmp(target) => write!(f, "icmp {target}"),
        }
    }
}
