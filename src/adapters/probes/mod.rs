//! Questions to a service, asked from inside the daemon: no process is made for a check, unless the
//! check is a command.
//!
//! Three answers: it works, it does not, and "the question could not be asked", which says nothing
//! about the service. Counting answers until they mean something is [`Tally`]'s.
//!
//! Each question is a connection of its own, so that it meets what a caller would meet.

mod asking;
pub mod command;
pub mod http;
pub mod icmp;
pub mod message;
pub mod sip;
pub mod sip_stream;
pub mod sql;
mod tally;
pub mod tcp;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

pub use self::asking::{Asking, Said};
pub use self::tally::Tally;
use super::tls;
use crate::config::{Probe, ProbeKind, Tls, Transport, password};

/// What one question brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The service answered as it should, after this time.
    Good(Duration),
    /// The service does not do its work.
    Bad(Bad),
    /// The question could not be asked: nothing is known.
    CouldNotRun(CouldNotRun),
}

/// How a service failed to answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Bad {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// The connection was made and broken off.
    #[error("broken off")]
    BrokenOff,
    /// Nothing came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    /// A SIP response that says that the server cannot serve.
    #[error("SIP status {0}")]
    Status(u16),
    /// An HTTP status that is not accepted.
    #[error("HTTP status {0}")]
    HttpStatus(u16),
    /// The page does not hold what it should.
    #[error("the page lacks {0:?}")]
    Lacks(String),
    /// TLS failed: in words, a certificate's fault above all.
    #[error("{0}")]
    Tls(String),
    /// What came is not what the protocol wants.
    #[error("no proper answer: {0}")]
    NotUnderstood(String),
    /// More came than was asked for, and the answer was not in it.
    #[error("floods, and does not answer")]
    Flood,
    /// The database refused the connection or the statement.
    #[error("{0}")]
    Sql(String),
    /// The statement's first value is another one.
    #[error("the statement gives {0}")]
    Value(String),
    /// The command says so.
    #[error("exited with code {code}{words}")]
    Exit {
        /// Its exit code, 1 to 125.
        code: i32,
        /// The last line of what it printed, after a colon.
        words: String,
    },
}

/// Why a question could not be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CouldNotRun {
    /// The kernel had no socket, buffer, address or route for it.
    #[error("cannot {what}: {}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer, as `errno(3)`.
        errno: i32,
    },
    /// No random numbers.
    #[error("no random numbers")]
    NoRandom,
    /// A file that it needs (trusted certificates, a password).
    #[error("{0}")]
    File(String),
    /// The host's name has no address, or is not resolved in time.
    #[error("the name {name} is not resolved: {why}")]
    Name {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// The command did not run, or not to an end of its own.
    #[error("{0}")]
    Command(String),
    /// The server does not let the daemon ask.
    #[error("not let in: {0}")]
    NotLetIn(String),
    /// Nobody is reached from here: it is this host's network, or the way.
    #[error("{0}")]
    NoWay(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Good(after) => write!(f, "answered after {:.1} ms", after.as_secs_f64() * 1e3),
            Answer::Bad(bad) => bad.fmt(f),
            Answer::CouldNotRun(reason) => write!(f, "could not ask: {reason}"),
        }
    }
}

/// A probe, with what was read and built to ask it: kept while the answers are good, so that a
/// question costs no more than itself; made anew after any other, when a file may have been mended.
pub struct Question {
    probe: Probe,
    prepared: Option<Prepared>,
}

/// What asking needs besides the probe: nothing, for most.
#[derive(Default)]
struct Prepared {
    trust: Option<Arc<ClientConfig>>,
    client: Option<http::Client>,
    password: Option<Zeroizing<String>>,
}

impl Question {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(probe: Probe) -> Question {
        Question { probe, prepared: None }
    }

    /// Asks once; takes at most the probe's timeout, and as long again where files are to be read.
    pub async fn ask(&mut self) -> Answer {
        let limit = self.probe.timeout;
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => match prepare(&self.probe.kind, limit).await {
                Ok(prepared) => prepared,
                Err(reason) => return Answer::CouldNotRun(reason),
            },
        };
        let answer = asked(&self.probe.kind, &prepared, limit).await;
        if let Answer::Good(_) = answer {
            self.prepared = Some(prepared);
        }
        answer
    }
}

/// Asks once, without anything kept from earlier questions.
pub async fn ask(probe: &Probe) -> Answer {
    Question::new(probe.clone()).ask().await
}

async fn prepare(kind: &ProbeKind, limit: Duration) -> Result<Prepared, CouldNotRun> {
    let mut prepared = Prepared::default();
    match kind {
        ProbeKind::Sip(sip) => match &sip.transport {
            Transport::Tls(tls) => prepared.trust = Some(Arc::new(trust(tls, limit).await?)),
            Transport::Udp | Transport::Tcp => {}
        },
        ProbeKind::Http(http) => {
            let trust = match http.url.scheme() {
                "https" => trust(&http.tls, limit).await?,
                // Never used, and the library wants one: no file needs to be read for it.
                _ => trust(&Tls { verify: false, ..http.tls.clone() }, limit).await?,
            };
            prepared.client = Some(http::Client::new(http, trust)?);
        }
        ProbeKind::Sql(sql) => {
            if let Some(path) = sql.password_file.clone() {
                let read = move || password::read(&path).map_err(|error| error.to_string());
                prepared.password = Some(from_disk(read, limit).await?);
            }
        }
        ProbeKind::Tcp(_) | ProbeKind::Command(_) | ProbeKind::Icmp(_) => {}
    }
    Ok(prepared)
}

async fn trust(tls: &Tls, limit: Duration) -> Result<ClientConfig, CouldNotRun> {
    let tls = tls.clone();
    from_disk(move || tls::client_config(&tls).map_err(|error| error.to_string()), limit).await
}

/// Files are read by so many threads at most: of a disk that hangs, each would hold one for good.
static READERS: Semaphore = Semaphore::const_new(4);

/// A disk that hangs holds up nobody but who needs it.
async fn from_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
    limit: Duration,
) -> Result<T, CouldNotRun> {
    let reading = async {
        // Never closed.
        let permit = READERS.acquire().await.ok()?;
        let reading = move || {
            let read = read();
            drop(permit);
            read
        };
        tokio::task::spawn_blocking(reading).await.ok()
    };
    match timeout(limit, reading).await {
        Ok(Some(read)) => read.map_err(CouldNotRun::File),
        Ok(None) | Err(_) => Err(CouldNotRun::File("the disk does not answer".into())),
    }
}

async fn asked(kind: &ProbeKind, prepared: &Prepared, limit: Duration) -> Answer {
    match kind {
        ProbeKind::Tcp(target) => tcp::ask(*target, limit).await,
        ProbeKind::Sip(sip) if sip.transport == Transport::Udp => sip::ask(sip, limit).await,
        ProbeKind::Sip(sip) => sip_stream::ask(sip, prepared.trust.as_ref(), limit).await,
        ProbeKind::Http(http) => match &prepared.client {
            Some(client) => client.ask(http, limit).await,
            None => Answer::CouldNotRun(CouldNotRun::File("not prepared".into())),
        },
        ProbeKind::Sql(sql) => {
            let password = prepared.password.as_ref().map(|password| password.as_str());
            sql::ask(sql, password, limit).await
        }
        ProbeKind::Command(command) => command::ask(command, limit).await,
        ProbeKind::Icmp(target) => icmp::ask(*target, limit).await,
    }
}

/// What an error on the way to the service says about it: only what its own host answers in its
/// name is bad; everything else is our end, or the way.
fn judge(what: &'static str, error: &io::Error) -> Answer {
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Answer::Bad(Bad::Tls(tls::words(tls)));
        }
        // Libraries put the kernel's error into one of their own.
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return judge(what, io);
        }
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Answer::Bad(Bad::Refused),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Answer::Bad(Bad::BrokenOff),
        _ => Answer::CouldNotRun(CouldNotRun::System {
            what,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_trouble_is_not_the_services() {
        let judged = |errno| judge("connect", &io::Error::from_raw_os_error(errno));
        assert_eq!(judged(libc::ECONNREFUSED), Answer::Bad(Bad::Refused));
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EMFILE, libc::ENOBUFS] {
            assert!(matches!(judged(errno), Answer::CouldNotRun(_)), "{errno}");
        }
    }
}
