//! Does a PostgreSQL server carry out a statement? One session for each question.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, NoTls, SimpleQueryMessage};

use super::{Answer, Bad, CouldNotRun, judge};
use crate::config::SqlProbe;

/// Connects, runs the statement once and hangs up.
pub async fn ask(probe: &SqlProbe, password: Option<&str>, timeout: Duration) -> Answer {
    let asked = Instant::now();
    match tokio::time::timeout(timeout, run(probe, password, timeout)).await {
        Ok(Ok(value)) => match &probe.expect {
            Some(wanted) if value.as_ref() != Some(wanted) => {
                let found = value.map_or_else(|| "no value".into(), |value| format!("{value:?}"));
                Answer::Bad(Bad::Value(found.chars().take(100).collect()))
            }
            Some(_) | None => Answer::Good(asked.elapsed()),
        },
        Ok(Err(error)) => cause(&error),
        Err(_) => Answer::Bad(Bad::NoAnswer(timeout)),
    }
}

/// The first value of the first row.
async fn run(
    probe: &SqlProbe,
    password: Option<&str>,
    timeout: Duration,
) -> Result<Option<String>, Error> {
    let mut connection = probe.connection.clone();
    // A statement that nobody waits for any more must not go on in the server, or one a second
    // would pile up there.
    let options = connection.get_options().unwrap_or_default();
    connection
        .options(format!("{options} -c statement_timeout={}", timeout.as_millis()))
        .application_name("duotone probe");
    if let Some(password) = password {
        connection.password(password);
    }
    let (client, session) = connection.connect(NoTls).await?;
    let ask = async {
        let answered = client.simple_query(&probe.query).await;
        // The session says goodbye, and ends, when nobody can ask it any more.
        drop(client);
        answered
    };
    let (answered, ended) = tokio::join!(ask, session);
    let messages = answered?;
    ended?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
        _ => None,
    }))
}

fn cause(error: &Error) -> Answer {
    if let Some(said) = error.as_db_error() {
        let words = format!("{} (SQLSTATE {})", said.message(), said.code().code());
        // Who may ask is a matter of the probe's own settings, and says nothing of the server.
        let not_let_in =
            [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
        return match not_let_in.contains(said.code()) {
            true => Answer::CouldNotRun(CouldNotRun::NotLetIn(words)),
            false => Answer::Bad(Bad::Sql(words)),
        };
    }
    let mut source = std::error::Error::source(error);
    let mut words = error.to_string();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            // The server's Unix socket is not there while it does not run.
            return match io.kind() {
                std::io::ErrorKind::NotFound => Answer::Bad(Bad::Refused),
                _ => judge("connect", io),
            };
        }
        words = inner.to_string();
        source = inner.source();
    }
    Answer::Bad(Bad::Sql(words))
}
