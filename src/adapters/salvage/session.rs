//! A plain session with a server over its Unix socket.

use std::path::Path;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    /// Asks.
    pub client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    /// Connects to one database of a server.
    ///
    /// # Errors
    /// The server's, or the socket's.
    pub async fn open(
        socket_dir: &Path,
        port: u16,
        user: &str,
        database: &str,
    ) -> Result<Session, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket_dir).port(port).user(user).dbname(database);
        config.application_name("duotone");
        let (client, connection) = config.connect(NoTls).await?;
        // Its end shows in every later statement.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Session { client, driver })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
