//! A client on the LAN that commits one row after the other through the floating address, and
//! remembers which of them it was told are stored.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::network::Network;

/// A commit may wait for a certificate to end; a connection to a dead host does not end by itself.
const COMMIT: Duration = Duration::from_secs(150);
const CONNECT: Duration = Duration::from_secs(20);

pub struct Writer {
    stop: Arc<AtomicBool>,
    stored: Arc<Mutex<Vec<i64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(network: &Network) -> anyhow::Result<Writer> {
        let mut writer = Writer { stop: Arc::default(), stored: Arc::default(), thread: None };
        let (stop, stored) = (Arc::clone(&writer.stop), Arc::clone(&writer.stored));
        writer.thread = Some(network.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut next = 1;
                while !stop.load(Ordering::Relaxed) {
                    // Whatever ended the connection: a row without an answer is not counted.
                    let _ = connected(&stop, &stored, &mut next).await;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        })?);
        Ok(writer)
    }

    /// How many rows are stored as far as the client was told.
    pub fn count(&self) -> usize {
        self.stored.lock().unwrap().len()
    }

    pub fn stored(&self) -> Vec<i64> {
        self.stored.lock().unwrap().clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Not joined: it may be waiting for a host that will never answer.
        self.thread.take();
    }
}

async fn connected(
    stop: &AtomicBool,
    stored: &Mutex<Vec<i64>>,
    next: &mut i64,
) -> anyhow::Result<()> {
    let mut config = Config::new();
    config.host("192.0.2.10").user("postgres").dbname("postgres").connect_timeout(CONNECT);
    config.tcp_user_timeout(CONNECT);
    let (client, mut connection) = timeout(CONNECT, config.connect(NoTls)).await??;
    let notices = Arc::new(AtomicU64::new(0));
    let noticed = Arc::clone(&notices);
    let driver = tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notice(_)) => noticed.fetch_add(1, Ordering::SeqCst),
                Ok(_) => 0,
                Err(_) => return,
            };
        }
    });
    let outcome = rows(&client, &notices, stop, stored, next).await;
    driver.abort();
    outcome
}

async fn rows(
    client: &Client,
    notices: &AtomicU64,
    stop: &AtomicBool,
    stored: &Mutex<Vec<i64>>,
    next: &mut i64,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        // A row whose answer was lost is not asked again: its number may be taken.
        let number = *next;
        *next += 1;
        let before = notices.load(Ordering::SeqCst);
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&number];
        let insert = client.execute("INSERT INTO rows_of_guests VALUES ($1)", &row);
        timeout(COMMIT, insert).await??;
        // PostgreSQL's warning that it did not wait for the standby: not acknowledged.
        if notices.load(Ordering::SeqCst) == before {
            stored.lock().unwrap().push(number);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
