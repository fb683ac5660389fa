//! What lives on a Kamailio that keeps its calls (dialog, `db_mode` 1) and registrations (usrloc) in
//! the pair's database: asked of the database, which says the same on whichever host took the role.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

const CALLS: &str = include_str!("../../../sql/kamailio_calls.sql");
const ENDPOINTS: &str = include_str!("../../../sql/kamailio_endpoints.sql");

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Calls that are up.
    Calls,
    /// Phones that are registered.
    Endpoints,
}

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The words on how to connect make no sense.
    #[error(
        "--database \"{0}\" cannot be read: {1}; write it as in \"host=/var/run/postgresql user=postgres dbname=kamailio\""
    )]
    Words(String, String),
    /// The server.
    #[error("{0}")]
    Server(String),
    /// It took too long.
    #[error("the database did not answer within {0:?}")]
    Slow(Duration),
}

/// Asks the database, within `limit`; each entry is a line of JSON.
///
/// # Errors
/// See [`AskError`]; nothing is known then.
pub async fn ask(database: &str, kind: Kind, limit: Duration) -> Result<Vec<String>, AskError> {
    let server = database.parse::<Config>();
    let server = server.map_err(|error| AskError::Words(database.to_owned(), told(&error)))?;
    let sql = match kind {
        Kind::Calls => CALLS,
        Kind::Endpoints => ENDPOINTS,
    };
    let asked = async {
        let (client, connection) = server.connect(NoTls).await?;
        let rows = async {
            let rows = client.simple_query(sql).await;
            drop(client);
            rows
        };
        let (rows, _) = tokio::join!(rows, connection);
        rows
    };
    let rows = timeout(limit, asked).await.map_err(|_| AskError::Slow(limit))?;
    let rows = rows.map_err(|error| AskError::Server(told(&error)))?;
    Ok(rows
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect())
}

/// The error with its cause, in which the server's own words are.
fn told(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
