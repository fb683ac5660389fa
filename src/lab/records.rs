//! The phone's side of the call records: one numbered record after the other, asked again every
//! 20 ms until it is acknowledged; every acknowledgement is on disk before it counts. What was
//! acknowledged is read from there.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock;
use super::history::{self, Acknowledged};
use super::namespaces;
use super::world::{FLOATING, PHONE};
use super::writer::{self, PORT};
use crate::protocol::time::Instant;

const CLIENT_TIMEOUT: Duration = Duration::from_millis(20);
const BETWEEN: Duration = Duration::from_millis(5);

/// A running client.
pub struct Records {
    stop: Arc<AtomicBool>,
    log: PathBuf,
    asked: Arc<AtomicU64>,
    acknowledged: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Records {
    /// Starts in the phone's namespace; `log` gets one line per acknowledged record.
    pub fn start(log: &Path) -> anyhow::Result<Self> {
        let mut records = Records {
            stop: Arc::default(),
            log: log.to_owned(),
            asked: Arc::default(),
            acknowledged: Arc::default(),
            thread: None,
        };
        let mut log = File::create(log)?;
        let halt = Arc::clone(&records.stop);
        let (asked, acknowledged) = (Arc::clone(&records.asked), Arc::clone(&records.acknowledged));
        let thread = namespaces::thread_in(PHONE, move || {
            let Ok(socket) = open() else { return };
            let mut number = 0;
            while !halt.load(Ordering::Relaxed) {
                number += 1;
                asked.store(number, Ordering::SeqCst);
                let Some(at) = ask(&socket, number, &halt) else { return };
                let line = format!("{number} {}\n", at.as_nanos());
                // Unlogged is unacknowledged.
                if log.write_all(line.as_bytes()).and_then(|()| log.sync_data()).is_err() {
                    return;
                }
                acknowledged.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(BETWEEN);
            }
        })?;
        records.thread = Some(thread);
        Ok(records)
    }

    /// How many are acknowledged so far.
    pub fn count(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The highest number asked for so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Every acknowledged record, from the log on disk.
    pub fn acknowledged(&self) -> anyhow::Result<Vec<Acknowledged>> {
        let text = fs::read_to_string(&self.log)?;
        history::read_records(&text).map_err(|torn| anyhow::anyhow!("{torn}"))
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.halt();
    }
}

fn open() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    Ok(socket)
}

/// Asks until the writer says that this record is stored; `None` when told to stop.
fn ask(socket: &UdpSocket, number: u64, stop: &AtomicBool) -> Option<Instant> {
    let request = format!("CDR {number}");
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        // Not connected: a refusal says nothing about the record.
        if socket.send_to(request.as_bytes(), SocketAddr::from((FLOATING, PORT))).is_err() {
            std::thread::sleep(CLIENT_TIMEOUT);
            continue;
        }
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if writer::parse(&buffer[..length], "stored ") == Some(number) {
                return Some(clock::now());
            }
        }
    }
    None
}
