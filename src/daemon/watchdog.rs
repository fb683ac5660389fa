//! When the host's watchdog is fed: while the pulse is alive, and what the node must not hold is
//! given up. Otherwise the hardware does what the daemon could not: it resets the host.

use std::path::PathBuf;

use crate::adapters::watchdog::Watchdog;
use crate::protocol::event::{DatabaseState, Presence};
use crate::protocol::lead::Authority;
use crate::protocol::status::Status;
use crate::protocol::time::{Duration, Instant};

/// What the watchdog gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Feeding {
    /// It is open and fed.
    Fed,
    /// It is open and hungry: the host is reset when its timeout ends.
    Starved,
    /// It cannot be used.
    Trouble(String),
}

/// The watchdog of this host, if one is configured.
#[derive(Debug)]
pub(super) struct HostWatchdog {
    path: Option<PathBuf>,
    open: Option<Watchdog>,
    unsound_since: Option<Instant>,
    last: Option<Feeding>,
}

impl HostWatchdog {
    pub fn new(path: Option<PathBuf>) -> HostWatchdog {
        HostWatchdog { path, open: None, unsound_since: None, last: None }
    }

    /// To be called while the pulse is seen alive; `patience` is how long giving up may take. Tells
    /// what the watchdog got, `None` when there is none.
    pub fn tend(
        &mut self,
        status: Option<&Status>,
        now: Instant,
        patience: Duration,
    ) -> Option<Feeding> {
        let path = self.path.as_ref()?;
        if status.is_none_or(is_sound) {
            self.unsound_since = None;
        } else {
            self.unsound_since.get_or_insert(now);
        }
        let starve = self.unsound_since.is_some_and(|since| now.since(since) >= patience);
        let opened = match self.open.take() {
            Some(open) => Ok(open),
            // Whoever may not go on is not the one to arm it.
            None if starve => return self.last.clone(),
            None => Watchdog::open(path),
        };
        let feeding = match opened.map(|open| self.open.insert(open)) {
            Ok(_) if starve => Feeding::Starved,
            Ok(open) => match open.feed() {
                Ok(()) => Feeding::Fed,
                Err(error) => {
                    Feeding::Trouble(format!("{} takes nothing: {error}", path.display()))
                }
            },
            Err(error) => Feeding::Trouble(format!("{} cannot be used: {error}", path.display())),
        };
        if self.last.as_ref() != Some(&feeding) {
            match &feeding {
                Feeding::Fed => tracing::info!("watchdog: {} is fed", path.display()),
                Feeding::Starved => tracing::error!(
                    "watchdog: this node must not serve, and what it held is not given up: the host \
                     is left to be reset"
                ),
                Feeding::Trouble(trouble) => tracing::error!("watchdog: {trouble}"),
            }
        }
        self.last = Some(feeding.clone());
        Some(feeding)
    }

    /// The orderly end, everything seen given up.
    pub fn disarm(&mut self) {
        if let Some(Err(error)) = self.open.take().map(Watchdog::disarm) {
            tracing::error!("watchdog: it could not be disarmed: {error}");
        }
    }
}

/// A node that does not have the role is not seen to hold what belongs to it.
fn is_sound(status: &Status) -> bool {
    may_hold(status.authority)
        || !(status.presence.iter().any(is_held)
            || status.database.state == DatabaseState::Writable)
}

fn may_hold(authority: Authority) -> bool {
    match authority {
        Authority::Active | Authority::Giving | Authority::Taking => true,
        Authority::Standby | Authority::Asking | Authority::Joining | Authority::Held => false,
    }
}

fn is_held(presence: &Presence) -> bool {
    matches!(presence, Presence::Held | Presence::Partial)
}
