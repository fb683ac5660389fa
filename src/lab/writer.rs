//! The call-record writer of the lab (hidden verb `lab-cdr`): a datagram "CDR <n>" becomes a row,
//! and "stored <n>" is said only after its INSERT returned. A commit that returned with a warning
//! (the wait for replication was cancelled) is not said to be stored.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};

/// The writer's port.
pub const PORT: u16 = 9060;

/// What the writer is told.
#[derive(Serialize, Deserialize)]
pub struct WriterOrder {
    /// Where it listens: the floating address, there or not.
    pub listen: IpAddr,
    /// Directory of the database's socket.
    pub socket: PathBuf,
}

/// Serves until killed.
///
/// # Errors
/// The socket cannot be bound.
pub fn serve(order: &WriterOrder) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind(SocketAddr::new(order.listen, PORT)).await?;
        loop {
            if let Err(error) = serve_connected(order, &socket).await {
                eprintln!("database: {error}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

async fn serve_connected(
    order: &WriterOrder,
    socket: &UdpSocket,
) -> Result<(), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(&order.socket).user("postgres").dbname("postgres");
    let (client, mut connection) = config.connect(NoTls).await?;
    let warnings = Arc::new(AtomicU64::new(0));
    let warned = Arc::clone(&warnings);
    let driver = tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notice(_)) => warned.fetch_add(1, Ordering::SeqCst),
                Ok(_) => 0,
                Err(_) => return,
            };
        }
    });
    let outcome = store_all(&client, socket, &warnings).await;
    driver.abort();
    outcome
}

async fn store_all(
    client: &Client,
    socket: &UdpSocket,
    warnings: &AtomicU64,
) -> Result<(), tokio_postgres::Error> {
    let insert: Statement =
        client.prepare("INSERT INTO cdr (id) VALUES ($1) ON CONFLICT (id) DO NOTHING").await?;
    let mut buffer = [0; 64];
    loop {
        let Ok((length, caller)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(number) = parse(&buffer[..length], "CDR ") else { continue };
        let before = warnings.load(Ordering::SeqCst);
        client.execute(&insert, &[&(number as i64)]).await?;
        if warnings.load(Ordering::SeqCst) == before {
            // The caller asks again if this is lost.
            let _ = socket.send_to(format!("stored {number}").as_bytes(), caller).await;
        }
    }
}

/// The number behind `word`.
pub fn parse(datagram: &[u8], word: &str) -> Option<u64> {
    std::str::from_utf8(datagram).ok()?.strip_prefix(word)?.trim().parse().ok()
}
