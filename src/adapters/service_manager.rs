//! What the service manager is told (sd_notify(3)), from a thread of its own: its socket may be full,
//! and nothing here waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use sd_notify::NotifyState;

/// One notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The daemon answers.
    Ready,
    /// The real-time thread lives: feeds the watchdog.
    Alive,
    /// The daemon ends in order.
    Ending,
}

/// Tells the service manager.
#[derive(Debug)]
pub struct Manager {
    to: Sender<Notice>,
    /// Notices that were not told yet.
    waiting: Arc<AtomicU64>,
}

impl Manager {
    /// Starts the thread. Without a manager it has nothing to do.
    pub fn begin() -> Manager {
        let (to, notices) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&waiting);
        let tell = move || {
            for notice in notices {
                let state = match notice {
                    Notice::Ready => NotifyState::Ready,
                    Notice::Alive => NotifyState::Watchdog,
                    Notice::Ending => NotifyState::Stopping,
                };
                if let Err(error) = sd_notify::notify(&[state]) {
                    tracing::warn!("systemd cannot be told: {error}");
                }
                told.fetch_sub(1, Ordering::Relaxed);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("notify".into()).spawn(tell) {
            tracing::error!("no thread to tell systemd: {error}");
        }
        Manager { to, waiting }
    }

    /// Tells it soon; returns at once. That the daemon lives is not said again to a manager that has
    /// not read the last time.
    pub fn tell(&self, notice: Notice) {
        if notice == Notice::Alive && self.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Without its thread, of which the log has told, nobody is told.
        let _ = self.to.send(notice);
    }
}
