//! The host's watchdog device (`/dev/watchdog`, Documentation/watchdog/watchdog-api.rst of the
//! kernel): once it is open, the host is reset when it is not fed for its own timeout.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An open device. Dropping it does not disarm it: who dies feeds no more.
#[derive(Debug)]
pub struct Watchdog(File);

impl Watchdog {
    /// Opens it, which arms it.
    ///
    /// # Errors
    /// There is none, or somebody else has it (EBUSY: systemd's `RuntimeWatchdogSec`).
    pub fn open(path: &Path) -> io::Result<Watchdog> {
        // What is no device must not hold the daemon up.
        let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        opened.map(Watchdog)
    }

    /// Starts its timeout anew.
    ///
    /// # Errors
    /// The device took nothing.
    pub fn feed(&mut self) -> io::Result<()> {
        self.0.write_all(b"\0")
    }

    /// Disarms it by the magic close; a driver with `nowayout` goes on all the same.
    ///
    /// # Errors
    /// The device took nothing, and is armed.
    pub fn disarm(mut self) -> io::Result<()> {
        self.0.write_all(b"V")
    }
}
