//! One warm connection over the server's Unix socket.
//!
//! It is a walsender bound to a database (`replication=database`), because only such a session
//! answers both SQL and `IDENTIFY_SYSTEM`, the one question whose answer names timeline and
//! position together, in recovery too. Such a session speaks the simple query protocol alone.
//!
//! Every statement has a deadline. A statement whose caller went away or ran out of time still runs
//! in the server: the next one cancels it explicitly first, and waits until the cancel has hit.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::process::{self, Process};
use super::trouble::Trouble;
use crate::config::Postgres;

const LOOK: &str = include_str!("../../../sql/look.sql");
const PREPARE_LOOK: &str = include_str!("../../../sql/prepare_look.sql");
const IDENTIFY_SYSTEM: &str = include_str!("../../../sql/identify_system.sql");
const DATA_DIRECTORY: &str = include_str!("../../../sql/data_directory.sql");

/// How long a cancelled statement may take to end before its connection is given up.
const SETTLE_WITHIN: Duration = Duration::from_millis(100);

/// The connection: made when first needed, kept, made anew when lost.
#[derive(Debug)]
pub(super) struct Warm {
    socket: PathBuf,
    data_dir: PathBuf,
    config: tokio_postgres::Config,
    prepare_look: String,
    session: Option<Session>,
    /// A statement was sent whose answer nobody has.
    unanswered: bool,
}

struct Session {
    client: Client,
    cancel: CancelToken,
    driver: JoinHandle<()>,
    backend: Option<Process>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("closed", &self.client.is_closed()).finish()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The answers to a regular look: `sql/look.sql` and `IDENTIFY_SYSTEM`.
pub(super) struct Answers {
    pub(super) look: SimpleQueryRow,
    pub(super) system: SimpleQueryRow,
}

impl Warm {
    /// A connection to be made later; `peer_name` is the peer's usual application name.
    pub(super) fn new(postgres: &Postgres, peer_name: &str) -> Warm {
        let mut config = tokio_postgres::Config::new();
        config
            .user(&postgres.user)
            .dbname(&postgres.database)
            .application_name("duotone")
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        let peer_address = postgres.peer_host.to_string();
        Warm {
            socket: postgres.socket_dir.join(format!(".s.PGSQL.{}", postgres.port)),
            data_dir: postgres.data_dir.clone(),
            config,
            prepare_look: bind(
                PREPARE_LOOK,
                &[("peer_name", peer_name), ("peer_address", &peer_address)],
            ),
            session: None,
            unanswered: false,
        }
    }

    /// Gives the connection up, with whatever runs on it.
    pub(super) fn discard(&mut self) {
        self.session = None;
        self.unanswered = false;
    }

    /// The regular look: two statements, sent at once.
    pub(super) async fn look(&mut self, by: Instant) -> Result<Answers, Trouble> {
        let (look, system) = self
            .run("looking", by, async |client| {
                let (look, system) =
                    tokio::join!(client.simple_query(LOOK), client.simple_query(IDENTIFY_SYSTEM));
                Ok((look?, system?))
            })
            .await?;
        Ok(Answers { look: only_row(look)?, system: only_row(system)? })
    }

    /// A statement that answers with one row.
    pub(super) async fn row(
        &mut self,
        doing: &'static str,
        sql: &str,
        by: Instant,
    ) -> Result<SimpleQueryRow, Trouble> {
        only_row(self.run(doing, by, async |client| client.simple_query(sql).await).await?)
    }

    /// A statement whose answer does not matter, only that it was done.
    pub(super) async fn execute(
        &mut self,
        doing: &'static str,
        sql: &str,
        by: Instant,
    ) -> Result<(), Trouble> {
        self.run(doing, by, async |client| client.batch_execute(sql).await).await
    }

    /// Connects if need be.
    pub(super) async fn connect(&mut self, by: Instant) -> Result<(), Trouble> {
        if self.unanswered {
            self.settle(by).await;
        }
        if self.session.as_ref().is_some_and(|session| !session.client.is_closed()) {
            return Ok(());
        }
        self.discard();
        let started = Instant::now();
        let session = timeout_at(by, self.open())
            .await
            .map_err(|_| Trouble::Overdue { doing: "connecting", after: started.elapsed() })??;
        self.session = Some(session);
        Ok(())
    }

    async fn open(&self) -> Result<Session, Trouble> {
        let doing = "connecting";
        let server = |error| Trouble::Server { doing, error };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| Trouble::Connect { socket: self.socket.clone(), error })?;
        let socket = WalsenderSocket { inner: stream, greeted: false, unsent: Vec::new() };
        let (client, connection) = self.config.connect_raw(socket, NoTls).await.map_err(server)?;
        // Its end shows in every later statement.
        let driver = tokio::spawn(async move { drop(connection.await) });
        let mut session = Session { cancel: client.cancel_token(), client, driver, backend: None };
        let answer = session.client.simple_query(DATA_DIRECTORY).await.map_err(server)?;
        let answer = only_row(answer)?;
        session.backend = field(&answer, "backend")?.parse().ok().and_then(process::read);
        let found = field(&answer, "data_directory")?;
        if !process::is_same(Path::new(found), &self.data_dir) {
            let expected = self.data_dir.clone();
            return Err(Trouble::OtherServer { found: found.to_owned(), expected });
        }
        session.client.batch_execute(&self.prepare_look).await.map_err(server)?;
        Ok(session)
    }

    async fn run<T>(
        &mut self,
        doing: &'static str,
        by: Instant,
        work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Trouble> {
        let started = Instant::now();
        self.connect(by).await?;
        let Some(session) = &self.session else { return Err(Trouble::Thread) };
        // Stays set if this future is dropped or runs out of time.
        self.unanswered = true;
        let answer = timeout_at(by, work(&session.client))
            .await
            .map_err(|_| Trouble::Overdue { doing, after: started.elapsed() })?;
        self.unanswered = false;
        answer.map_err(|error| Trouble::Server { doing, error })
    }

    /// Cancels the statement that nobody waits for and waits for its end, so that it cannot take
    /// effect after the next one. A session that does not come to rest is ended: SIGTERM makes it
    /// go before it reads what was already sent to it.
    async fn settle(&mut self, by: Instant) {
        let by = by.min(Instant::now() + SETTLE_WITHIN);
        let rested = match &self.session {
            Some(session) => timeout_at(by, session.cancel(&self.socket)).await,
            None => return,
        };
        match rested {
            Ok(Ok(())) => self.unanswered = false,
            Ok(Err(_)) | Err(_) => {
                if let Some(backend) = self.session.as_ref().and_then(|session| session.backend) {
                    // An error leaves only what giving up the connection does by itself.
                    let _ = process::signal(backend, Signal::TERM);
                }
                self.discard();
            }
        }
    }
}

impl Session {
    async fn cancel(&self, socket: &Path) -> io::Result<()> {
        let mut stream = UnixStream::connect(socket).await?;
        self.cancel.cancel_query_raw(&mut stream, NoTls).await.map_err(io::Error::other)?;
        // The server closes this connection after it has sent the signal.
        while stream.read(&mut [0; 64]).await? > 0 {}
        // The cancel may hit this statement instead: then the earlier one had ended already.
        match self.client.batch_execute("").await {
            Ok(()) => Ok(()),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// A field of a row as text; NULL counts as missing.
pub(super) fn field<'a>(row: &'a SimpleQueryRow, name: &'static str) -> Result<&'a str, Trouble> {
    row.try_get(name).ok().flatten().ok_or(Trouble::Answer(name))
}

/// A boolean field.
pub(super) fn flag(row: &SimpleQueryRow, name: &'static str) -> Result<bool, Trouble> {
    match field(row, name)? {
        "t" => Ok(true),
        "f" => Ok(false),
        _ => Err(Trouble::Answer(name)),
    }
}

fn only_row(messages: Vec<SimpleQueryMessage>) -> Result<SimpleQueryRow, Trouble> {
    let mut rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    match (rows.next(), rows.next()) {
        (Some(row), None) => Ok(row),
        (None, _) | (Some(_), Some(_)) => Err(Trouble::Answer("single row")),
    }
}

/// Replaces each `:'name'` by its value as a literal, as psql does.
pub(super) fn bind(sql: &str, values: &[(&str, &str)]) -> String {
    let mut bound = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(":'") {
        bound.push_str(before);
        let known = after
            .split_once('\'')
            .and_then(|(name, tail)| Some((values.iter().find(|(key, _)| *key == name)?, tail)));
        match known {
            Some(((_, value), tail)) => {
                bound.push_str(&literal(value));
                rest = tail;
            }
            None => {
                bound.push_str(":'");
                rest = after;
            }
        }
    }
    bound.push_str(rest);
    bound
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!(" E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// A socket that adds `replication=database` to the startup packet, the first thing written
/// (PostgreSQL documentation, "Message Formats", StartupMessage); the client cannot.
struct WalsenderSocket {
    inner: UnixStream,
    greeted: bool,
    /// What is left of the startup packet.
    unsent: Vec<u8>,
}

impl WalsenderSocket {
    fn send_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

fn walsender_greeting(startup: &[u8]) -> io::Result<Vec<u8>> {
    const PARAMETER: &[u8] = b"replication\0database\0";
    let length = startup.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) as usize);
    let (Some((0, parameters)), true) = (startup.split_last(), length == Some(startup.len()))
    else {
        return Err(io::Error::other("the startup packet was not written as one"));
    };
    let length = (startup.len() + PARAMETER.len()) as u32;
    let parameters = parameters.get(4..).unwrap_or_default();
    Ok([&length.to_be_bytes(), parameters, PARAMETER, &[0]].concat())
}

impl AsyncRead for WalsenderSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for WalsenderSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.greeted {
            self.unsent = walsender_greeting(bytes)?;
            self.greeted = true;
            // What the socket does not take now goes out with the flush that follows.
            return match self.send_rest(context)? {
                Poll::Ready(()) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
            };
        }
        ready!(self.send_rest(context))?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_rest(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_rest(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, walsender_greeting};

    #[test]
    fn values_are_bound_as_literals() {
        let sql = "SELECT :'a'::inet, 'x:''y', :'unknown' -- :'a'";
        let bound = bind(sql, &[("a", "it's \\ :'a'")]);
        let value = " E'it''s \\\\ :''a'''";
        assert_eq!(bound, format!("SELECT {value}::inet, 'x:''y', :'unknown' -- {value}"));
    }

    #[test]
    fn the_startup_packet_gets_one_more_parameter() {
        let startup = b"\0\0\0\x13\0\x03\0\0user\0post\0\0";
        let greeting = walsender_greeting(startup).expect("a whole packet");
        let expected = b"\0\0\0\x28\0\x03\0\0user\0post\0replication\0database\0\0";
        assert_eq!(greeting, expected);
        assert!(walsender_greeting(&startup[..12]).is_err(), "a part of a packet");
    }
}
