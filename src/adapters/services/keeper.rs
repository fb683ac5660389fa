//! One service: a task that compares what runs with what is wished, and starts, restarts and stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::ladder::Ladder;
use crate::adapters::probes::Asking;
use crate::adapters::process::{Exit, Process, stop_leftover};
use crate::config::Service;
use crate::protocol::health::Grade;

/// A service without probes counts as working once it has run for this long.
const SETTLED: Duration = Duration::from_millis(100);
/// What is left of a service whose own main process died gets this long to end in order: it holds
/// the ports that the next start needs.
const ORPHANS: Duration = Duration::from_millis(300);

/// What a service is told.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Grows with every change; [`Seen::heard`] answers it.
    pub number: u64,
    /// It should run.
    pub run: bool,
    /// As configured now.
    pub service: Arc<Service>,
}

/// What a service is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What an earlier life of the daemon may have left is being looked for and stopped.
    Clearing,
    /// Seen not running.
    Stopped,
    /// Runs, or is about to.
    Running,
    /// Being stopped; not seen gone.
    Stopping,
    /// Not running; waits before the next start.
    Pausing,
}

/// What is known of a service.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Seen {
    pub heard: u64,
    pub state: State,
    pub grade: Grade,
    pub pid: Option<i32>,
    pub restarts: u32,
    pub probe: Option<String>,
    pub reason: Option<String>,
}

impl Seen {
    pub fn nothing() -> Self {
        Seen {
            heard: 0,
            state: State::Clearing,
            grade: Grade::Unknown,
            pid: None,
            restarts: 0,
            probe: None,
            reason: None,
        }
    }
}

/// Why watching a process ended.
enum End {
    Exited(Exit),
    Unwanted,
    /// The command itself was changed.
    Changed,
}

pub(super) struct Keeper {
    pub name: String,
    pub records: PathBuf,
    pub wish: watch::Receiver<Wish>,
    pub seen: watch::Sender<Seen>,
    /// Told of every change of `seen`.
    pub news: Arc<Notify>,
    pub ladder: Ladder,
    /// It failed and was not seen good since: until then it is not merely "starting".
    pub failed: bool,
}

impl Keeper {
    /// Runs until the other end of `wish` is dropped and everything is stopped.
    pub async fn keep(mut self, mut all_cleared: watch::Receiver<bool>) {
        self.clear().await;
        // An error means that nobody will wish for anything any more; the loop below sees that.
        let _ = all_cleared.wait_for(|&cleared| cleared).await;
        while let Some(service) = self.until_wished().await {
            let again = u32::from(self.failed);
            self.publish(|seen| {
                (seen.state, seen.restarts) = (State::Running, seen.restarts + again);
            });
            match Process::start(&service, &self.records).await {
                Ok(process) => self.run(process, service).await,
                Err(error) => {
                    let reason = error.to_string();
                    tracing::error!(service = self.name, reason, "does not start");
                    self.fail(reason);
                    self.pause(&service, Duration::ZERO).await;
                }
            }
        }
    }

    async fn clear(&mut self) {
        let name = self.name.clone();
        let grace = self.wish.borrow().service.stop_timeout;
        let records = self.records.clone();
        stop_leftover(&records, &name, grace, |reason| self.obstacle(reason)).await;
        self.publish(|seen| {
            (seen.state, seen.reason) = (State::Stopped, None);
        });
    }

    /// Waits, stopped, until it should run; `None` when nobody can wish for it any more.
    async fn until_wished(&mut self) -> Option<Arc<Service>> {
        loop {
            let wish = self.hear();
            if wish.run {
                // The last sender may be gone; a wish of the dead is not obeyed.
                return self.wish.has_changed().is_ok().then_some(wish.service);
            }
            self.failed = false;
            self.publish(|seen| {
                (seen.state, seen.grade, seen.pid) = (State::Stopped, Grade::Unknown, None);
                (seen.probe, seen.reason) = (None, None);
            });
            self.wish.changed().await.ok()?;
        }
    }

    /// From a started process to its end and, when it failed, the pause after it.
    async fn run(&mut self, process: Process, service: Arc<Service>) {
        tracing::info!(service = self.name, pid = process.pid(), "started");
        self.publish(|seen| {
            (seen.pid, seen.probe) = (Some(process.pid()), None);
        });
        let (end, service, good_for) = self.watch(&process, service).await;
        match end {
            End::Exited(exit) => {
                let reason = exit.to_string();
                tracing::warn!(service = self.name, pid = process.pid(), reason, "failed");
                self.fail(reason.clone());
                self.end(process, service.stop_timeout.min(ORPHANS)).await;
                self.publish(|seen| seen.reason = Some(reason));
                self.pause(&service, good_for).await;
            }
            End::Unwanted | End::Changed => {
                self.failed = false;
                self.publish(|seen| {
                    (seen.state, seen.grade) = (State::Stopping, Grade::Unknown);
                    seen.reason = None;
                });
                self.end(process, service.stop_timeout).await;
            }
        }
    }

    async fn end(&mut self, mut process: Process, grace: Duration) {
        process.stop(grace, |reason| self.obstacle(reason)).await;
        tracing::info!(service = self.name, pid = process.pid(), "seen gone");
        self.publish(|seen| seen.pid = None);
    }

    /// Watches a process until it ends or should; also returns the service as last configured and
    /// for how long it has been good.
    async fn watch(
        &mut self,
        process: &Process,
        mut service: Arc<Service>,
    ) -> (End, Arc<Service>, Duration) {
        let mut asking = Asking::start(&service.probes, true);
        // One that failed just now has to last longer than the pause before it to be believed, or
        // a crash loop would look good again and again.
        let settled = tokio::time::sleep(SETTLED.max(self.ladder.last()));
        tokio::pin!(settled);
        let mut is_settled = false;
        let mut good_since = None;
        loop {
            let good = self.judge(&asking, is_settled);
            good_since = good.then(|| good_since.unwrap_or_else(Instant::now));
            let good_for = || good_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            tokio::select! {
                exit = process.exited() => return (End::Exited(exit), service, good_for()),
                changed = self.wish.changed() => {
                    let wish = self.hear();
                    if changed.is_err() || !wish.run {
                        return (End::Unwanted, service, good_for());
                    }
                    if !same_process(&wish.service, &service) {
                        return (End::Changed, service, good_for());
                    }
                    if wish.service.probes != service.probes {
                        asking = Asking::start(&wish.service.probes, false);
                    }
                    service = wish.service;
                }
                () = &mut settled, if !is_settled => is_settled = true,
                () = asking.next() => {}
            }
        }
    }

    /// Publishes how good a running process is.
    fn judge(&mut self, asking: &Asking, is_settled: bool) -> bool {
        let grade = if asking.is_empty() && !is_settled { Grade::Unknown } else { asking.grade() };
        let good = grade == Grade::Good;
        self.failed = match grade {
            Grade::Good => false,
            Grade::Unknown => self.failed,
            Grade::Failed => true,
        };
        let shown = if self.failed { Grade::Failed } else { grade };
        let probe = asking.last().map(ToString::to_string);
        let was = self.seen.borrow().grade;
        if was != shown {
            tracing::info!(service = self.name, from = ?was, to = ?shown, probe, "grade");
        }
        self.publish(|seen| {
            seen.grade = shown;
            seen.reason = match grade {
                Grade::Good => None,
                Grade::Failed => probe.clone(),
                Grade::Unknown => seen.reason.take().or_else(|| probe.clone()),
            };
            seen.probe = probe;
        });
        good
    }

    fn fail(&mut self, reason: String) {
        self.failed = true;
        self.publish(|seen| {
            (seen.state, seen.grade) = (State::Stopping, Grade::Failed);
            (seen.probe, seen.reason) = (None, Some(reason));
        });
    }

    /// Waits for the next step of the ladder, or for another wish: a takeover or a changed
    /// configuration is a reason to try at once.
    async fn pause(&mut self, service: &Service, good_for: Duration) {
        let pause = self.ladder.next(good_for, service.restart_delay, service.restart_max);
        self.publish(|seen| seen.state = State::Pausing);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _changed = self.wish.changed() => {}
        }
    }

    fn obstacle(&self, reason: String) {
        tracing::warn!(service = self.name, reason, "not stopped");
        self.publish(|seen| seen.reason = Some(reason));
    }

    fn hear(&mut self) -> Wish {
        let wish = self.wish.borrow_and_update().clone();
        self.publish(|seen| seen.heard = wish.number);
        wish
    }

    fn publish(&self, change: impl FnOnce(&mut Seen)) {
        let changed = self.seen.send_if_modified(|seen| {
            let before = seen.clone();
            change(seen);
            *seen != before
        });
        if changed {
            self.news.notify_one();
        }
    }
}

/// A running process need not be replaced for this change.
fn same_process(new: &Service, old: &Service) -> bool {
    (&new.command, &new.user, &new.directory, &new.environment)
        == (&old.command, &old.user, &old.directory, &old.environment)
}
