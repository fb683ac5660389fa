//! A client on the LAN that commits one numbered row after the other through the floating address,
//! and remembers which of them it was told are stored, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::network::{FLOATING, Network};

/// A client that is left without an answer for so long tries another connection.
const COMMIT: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_millis(250);
const BETWEEN: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Rows {
    next: i64,
    stored: Vec<(i64, Instant)>,
    /// What ended the last connection, for a failure's report.
    complaint: String,
}

/// The client; it ends when dropped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    rows: Arc<Mutex<Rows>>,
    thread: Option<JoinHandle<()>>,
}

fn lock(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub fn start(network: &Network) -> anyhow::Result<Writer> {
        let mut writer = Writer { stop: Arc::default(), rows: Arc::default(), thread: None };
        let (stop, rows) = (Arc::clone(&writer.stop), Arc::clone(&writer.rows));
        writer.thread = Some(network.thread("client", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                while !stop.load(Ordering::Relaxed) {
                    // Whatever ended the connection: a row without an answer is not counted.
                    if let Err(error) = connected(&stop, &rows).await {
                        lock(&rows).complaint = format!("{error:#}");
                    }
                    tokio::time::sleep(BETWEEN).await;
                }
            });
        })?);
        Ok(writer)
    }

    /// How many rows are stored as far as the client was told.
    pub fn count(&self) -> usize {
        lock(&self.rows).stored.len()
    }

    /// What ended the last connection.
    pub fn complaint(&self) -> String {
        lock(&self.rows).complaint.clone()
    }

    /// The rows that the client was told are stored.
    pub fn stored(&self) -> Vec<i64> {
        lock(&self.rows).stored.iter().map(|(row, _)| *row).collect()
    }

    /// The last row that was tried.
    pub fn tried(&self) -> i64 {
        lock(&self.rows).next
    }

    /// Whether a row that was begun later than this is stored.
    pub fn stored_since(&self, since: Instant) -> bool {
        // What was on its way may have been answered already.
        let later = since + COMMIT;
        lock(&self.rows).stored.last().is_some_and(|(_, at)| *at > later)
    }

    /// The longest time without an answer since then.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let rows = lock(&self.rows);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for (_, at) in rows.stored.iter().filter(|(_, at)| *at > since) {
            longest = longest.max(*at - last);
            last = *at;
        }
        longest.max(last.elapsed())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn connected(stop: &AtomicBool, rows: &Mutex<Rows>) -> anyhow::Result<()> {
    let mut config = Config::new();
    config.host(FLOATING).user("postgres").dbname("postgres").connect_timeout(CONNECT);
    let (client, mut connection) = timeout(CONNECT * 2, config.connect(NoTls)).await??;
    let warned = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&warned);
    let driver = tokio::spawn(async move {
        // A commit whose wait for the standby was cancelled is answered, with a warning.
        while let Some(Ok(message)) =
            std::future::poll_fn(|turn| connection.poll_message(turn)).await
        {
            if matches!(message, AsyncMessage::Notice(_)) {
                noted.store(true, Ordering::Relaxed);
            }
        }
    });
    let ended = commit_rows(&client, stop, rows, &warned).await;
    driver.abort();
    ended
}

async fn commit_rows(
    client: &Client,
    stop: &AtomicBool,
    rows: &Mutex<Rows>,
    warned: &AtomicBool,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let row = {
            let mut rows = lock(rows);
            rows.next += 1;
            rows.next
        };
        let insert = format!("INSERT INTO cdr (id) VALUES ({row})");
        timeout(COMMIT, client.batch_execute(&insert)).await??;
        anyhow::ensure!(!warned.load(Ordering::Relaxed), "the wait for the standby was cancelled");
        lock(rows).stored.push((row, Instant::now()));
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}
