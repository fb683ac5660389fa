//! Maintenance: this node leaves the pair's duty for a stated time, and comes back by itself, also
//! after a restart of the daemon or the host.
//!
//! While the daemon runs the boot-time clock counts; over a restart the wall clock does, which may
//! have been set meanwhile: what is left is never more than the whole span.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Shared, work};
use crate::adapters::clock;
use crate::adapters::maintenance_file::{self, LoadError, Maintenance};
use crate::config::Config;
use crate::protocol::event::{Event, Order};
use crate::protocol::time::Instant;
use crate::pulse::queue::Letter;

/// How often it is looked whether the time is over; the host may have slept.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The maintenance that this node is in.
#[derive(Clone, Debug)]
pub struct Running {
    ends: Instant,
    until: String,
    reason: String,
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in maintenance until {}: {}", self.until, self.reason)
    }
}

impl Running {
    /// From what is on disk; `None` when its time is over.
    pub fn resume(found: &Maintenance, wall: Duration, now: Instant) -> Option<Running> {
        let left = Duration::from_secs(found.until).saturating_sub(wall);
        let left = left.min(Duration::from_secs(found.span));
        (!left.is_zero()).then(|| Running {
            ends: now + left,
            until: seconds(wall + left),
            reason: found.reason.clone(),
        })
    }

    /// Until when, for people.
    pub fn until(&self) -> &str {
        &self.until
    }

    /// For `status`.
    pub fn data(&self, now: Instant) -> Value {
        json!({
            "until": self.until,
            "remaining_ms": u64::try_from(self.ends.since(now).as_millis()).unwrap_or(u64::MAX),
            "reason": self.reason,
        })
    }
}

/// What the disk says at the start, and what the pulse must hear of it before its first turn.
pub fn at_start(config: &Config) -> (Option<Running>, Vec<Letter>) {
    let running = match maintenance_file::load(&config.state_dir) {
        Ok(found) => found.and_then(|found| Running::resume(&found, wall(), clock::now())),
        Err(error @ (LoadError::Io(_) | LoadError::Damaged(_))) => {
            // To be away for ever is no harmless default.
            tracing::error!("{error}: this node takes part in the pair");
            None
        }
    };
    let letters = match &running {
        Some(running) => {
            tracing::info!("{running}");
            vec![Letter::Event(Event::Operator(Order::Leave)), Letter::Maintenance(true)]
        }
        None => {
            if let Err(error) = maintenance_file::remove(&config.state_dir) {
                tracing::error!("the maintenance file cannot be removed: {error}");
            }
            Vec::new()
        }
    };
    (running, letters)
}

/// Begins one of this length, on disk first; then the node is told to leave.
///
/// # Errors
/// Why it is not on disk; nothing was ordered then.
pub async fn begin(shared: &Shared, span: Duration, reason: &str) -> Result<Running, String> {
    let wall = wall();
    let record = Maintenance {
        until: (wall + span).as_secs(),
        span: span.as_secs(),
        reason: reason.to_owned(),
    };
    let directory = shared.state_dir();
    let to_save = record.clone();
    let saved = tokio::task::spawn_blocking(move || maintenance_file::save(&directory, &to_save));
    saved
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the maintenance cannot be written down: {error}"))?;
    let running = Running {
        ends: clock::now() + span,
        until: seconds(wall + span),
        reason: reason.to_owned(),
    };
    *shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.clone());
    work::tell(&shared.post, Event::Operator(Order::Leave)).await;
    work::post(&shared.post, Letter::Maintenance(true)).await;
    Ok(running)
}

/// Ends it, if there is one, and has the node return.
///
/// # Errors
/// It is still on disk: after a restart the node would be in maintenance again.
pub async fn end(shared: &Shared) -> Result<(), String> {
    let directory = shared.state_dir();
    let removed = tokio::task::spawn_blocking(move || maintenance_file::remove(&directory)).await;
    *shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner) = None;
    work::post(&shared.post, Letter::Maintenance(false)).await;
    work::tell(&shared.post, Event::Operator(Order::Return)).await;
    removed
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the maintenance file cannot be removed: {error}"))
}

/// Ends it when its time is over.
pub async fn tend(shared: Arc<Shared>) {
    loop {
        let left = {
            let running = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().map(|running| running.ends.since(clock::now()))
        };
        match left {
            Some(Duration::ZERO) => {
                tracing::info!("the maintenance's time is over: this node returns");
                if let Err(error) = end(&shared).await {
                    tracing::error!("{error}");
                }
            }
            Some(left) => sleep(left.min(LOOK_EVERY)).await,
            None => sleep(LOOK_EVERY).await,
        }
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn seconds(wall: Duration) -> String {
    let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_makes_it_no_longer_than_it_was_to_be() {
        let found = Maintenance { until: 10_000, span: 3600, reason: String::new() };
        let now = Instant::from_nanos(5_000_000_000);
        let left = |wall: u64| {
            let running = Running::resume(&found, Duration::from_secs(wall), now);
            running.map(|running| running.ends.since(now).as_secs())
        };
        assert_eq!(left(9_000), Some(1000), "a restart in the middle");
        assert_eq!(left(6_400), Some(3600));
        assert_eq!(left(100), Some(3600), "the clock was set back");
        assert_eq!(left(10_000), None);
        assert_eq!(left(90_000), None, "the clock was set forward, or the host was off");
    }
}
