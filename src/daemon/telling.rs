//! What others are told when things change: hooks and people. By level: each snapshot is compared
//! with what was told last, so that nothing hangs on one record that was lost.
//!
//! All of it is outside the safety loop: here it is only put into bounded queues; the hooks and each
//! channel of the alerts have a thread of their own.

use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant as Moment, sleep};

use super::alerts::Alerts;
use super::change::Change;
use super::hooks::Hooks;
use super::hooks::told::{Seen, Told};
use super::maintenance::Running;
use crate::adapters::services::ServiceStatus;
use crate::config::Config;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;

/// At the daemon's end: for the last hooks to run, and the last alerts to leave.
const AT_THE_END: Duration = Duration::from_secs(10);

/// How things stand, as far as it is told to others.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// When.
    pub at: Instant,
    /// The node.
    pub status: &'v Status,
    /// The change of role that goes on, or the last one.
    pub change: Option<&'v Change>,
    /// The maintenance that this node is in.
    pub maintenance: Option<&'v Running>,
    /// The services.
    pub services: &'v [ServiceStatus],
    /// Whether the witness answers, where there is one.
    pub witness_answers: Option<bool>,
    /// Whether every device of the fence works, where there is one.
    pub fence_works: Option<bool>,
}

/// The hooks and the alerts.
pub struct Telling {
    told: Told,
    hooks: Hooks,
    pub(super) alerts: Alerts,
}

impl Telling {
    /// Nothing is told yet.
    pub fn begin(config: &Config) -> Telling {
        Telling { told: Told::NOTHING, hooks: Hooks::new(config), alerts: Alerts::begin(config) }
    }

    /// Compares with what was told, and tells the rest.
    pub fn see(&mut self, view: &View<'_>) {
        let before = self.told.in_conflict();
        let events = self.told.see(Seen::of(view, self.hooks.preferred()));
        for event in events {
            self.hooks.tell(event, view);
        }
        let conflict = (before, self.told.in_conflict());
        self.alerts.see(view, conflict, &self.hooks.failures());
    }

    /// A change of role is complete.
    pub fn changed(&mut self, change: &Change) {
        self.alerts.changed(change);
    }

    /// The file was read again; `alerts`: what it says of them has changed.
    pub fn reload(&mut self, config: &Config, alerts: bool) {
        self.hooks.reload(config);
        if alerts {
            self.alerts.reload(config);
        }
    }

    /// `hooks` and `alerts` of `status`.
    pub fn data(&self) -> (Value, Value) {
        (self.hooks.data(), self.alerts.data())
    }

    /// Nothing more is told; what is under way is to be waited for.
    pub fn end(&mut self) -> Vec<JoinHandle<()>> {
        let hooks = self.hooks.end();
        hooks.into_iter().chain(self.alerts.end()).collect()
    }
}

/// Waits for the threads' end, for a bounded time.
pub async fn ended(threads: Vec<JoinHandle<()>>) {
    let limit = Moment::now() + AT_THE_END;
    while !threads.iter().all(JoinHandle::is_finished) {
        if Moment::now() >= limit {
            tracing::warn!("not every hook and alert was seen through to its end");
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
