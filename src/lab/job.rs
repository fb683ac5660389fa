//! A job on a host that writes numbered rows past the floating address, straight into the host's
//! own database, as local programs of a PBX do: what it is told is stored must survive like
//! anything else. It ends at the first refusal.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock;
use super::history::{self, Client};

const BETWEEN: Duration = Duration::from_millis(20);

/// A running job.
pub struct Job {
    name: String,
    first: u64,
    log: PathBuf,
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Job {
    /// Writes rows from number `first` on through a database's socket; `log` gets one line per
    /// acknowledged row, synced.
    pub fn start(name: String, socket: &Path, first: u64, log: &Path) -> anyhow::Result<Self> {
        let mut job = Job {
            name,
            first,
            log: log.to_owned(),
            asked: Arc::new(AtomicU64::new(first)),
            stop: Arc::default(),
            thread: None,
        };
        let (asked, stop) = (Arc::clone(&job.asked), Arc::clone(&job.stop));
        let (socket, mut log) = (socket.to_owned(), File::create(log)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        job.thread = Some(std::thread::spawn(move || {
            // A refusal is its end: what was acknowledged is on disk.
            let _ = runtime.block_on(write(&socket, first, &asked, &stop, &mut log));
        }));
        Ok(job)
    }

    /// Ends it; what it asked for and was told.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn end(mut self) -> anyhow::Result<Client> {
        self.halt();
        let text = std::fs::read_to_string(&self.log)?;
        Ok(Client {
            name: self.name.clone(),
            asked: self.first..=self.asked.load(Ordering::SeqCst),
            acknowledged: history::read_records(&text).map_err(|torn| anyhow::anyhow!("{torn}"))?,
        })
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.halt();
    }
}

async fn write(
    socket: &Path,
    first: u64,
    asked: &AtomicU64,
    stop: &AtomicBool,
    log: &mut File,
) -> anyhow::Result<()> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(socket).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    for number in first.. {
        asked.store(number, Ordering::SeqCst);
        let statement = format!("INSERT INTO cdr (id) VALUES ({number})");
        let mut stored = std::pin::pin!(client.simple_query(&statement));
        loop {
            match tokio::time::timeout(Duration::from_millis(100), &mut stored).await {
                Ok(answer) => break answer.map(drop)?,
                Err(_) if stop.load(Ordering::SeqCst) => return Ok(()),
                Err(_) => {}
            }
        }
        log.write_all(format!("{number} {}\n", clock::now().as_nanos()).as_bytes())?;
        log.sync_data()?;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    driver.abort();
    Ok(())
}
