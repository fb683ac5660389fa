//! One service: a task that compares what runs with what is wished, and starts, restarts and stops.
//! What runs it, a process or a unit, is `running.rs`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::ladder::Ladder;
use super::running::{self, Condition, Running};
use crate::adapters::probes::Asking;
use crate::adapters::systemd::{Standing, Systemd, Unit, unit_of};
use crate::config::{Probe, Service};
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
    /// Nobody has said yet what should run: a unit that runs is left alone.
    pub undecided: bool,
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

/// Why watching ended.
enum End {
    Ended(String),
    Unwanted,
    /// The command itself was changed.
    Changed,
}

pub(super) struct Keeper {
    pub name: String,
    pub records: PathBuf,
    pub systemd: Systemd,
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
            match Running::start(&service, &self.records, &self.systemd).await {
                Ok(running) => self.run(running, service).await,
                Err(reason) => {
                    tracing::error!(service = self.name, reason, "does not start");
                    self.fail(reason);
                    self.pause(&service, Duration::ZERO).await;
                }
            }
        }
    }

    async fn clear(&mut self) {
        let service = Arc::clone(&self.wish.borrow().service);
        running::clear(&service, &self.records, &self.systemd, |reason| self.obstacle(reason))
            .await;
        // A unit was not looked at yet.
        let state = if unit_of(&service).is_some() { State::Stopping } else { State::Stopped };
        self.publish(|seen| {
            (seen.state, seen.reason) = (state, None);
        });
    }

    /// Waits, stopped, until it should run; `None` when nobody can wish for it any more.
    async fn until_wished(&mut self) -> Option<Arc<Service>> {
        loop {
            let wish = self.wish.borrow_and_update().clone();
            if let Some(unit) = unit_of(&wish.service) {
                let mut unit = self.systemd.unit(&unit).await;
                if let Some(ready) = self.settle_unit(&wish, &mut unit).await {
                    return ready.then_some(wish.service);
                }
                continue;
            }
            self.answer(&wish);
            if wish.run {
                // The last sender may be gone; a wish of the dead is not obeyed.
                return self.wish.has_changed().is_ok().then_some(wish.service);
            }
            self.show_stopped();
            self.wish.changed().await.ok()?;
        }
    }

    /// Sees to it that a unit does not run while it should not, whoever starts it. Returns whether
    /// it is now to be started, or `None` when there may be another wish.
    async fn settle_unit(&mut self, wish: &Wish, unit: &mut Unit) -> Option<bool> {
        loop {
            match unit.standing() {
                Standing::Unknown(why) => {
                    let why = why.clone();
                    self.publish(|seen| {
                        let state = if wish.run { State::Pausing } else { State::Stopping };
                        (seen.state, seen.grade, seen.pid) = (state, Grade::Unknown, None);
                        (seen.probe, seen.reason) = (None, Some(why));
                    });
                }
                _ if wish.run => {
                    self.answer(wish);
                    return Some(self.wish.has_changed().is_ok());
                }
                Standing::Gone(_) => {
                    running::forget(&self.records, &self.name);
                    self.show_stopped();
                }
                _ if wish.undecided => {
                    let pid = unit.pid();
                    self.publish(|seen| (seen.state, seen.pid) = (State::Running, pid));
                }
                _ => {
                    tracing::warn!(
                        service = self.name,
                        unit = unit.name(),
                        "runs where it should not: stopped"
                    );
                    self.publish(|seen| seen.state = State::Stopping);
                    unit.stop(wish.service.stop_timeout, |reason| self.obstacle(reason)).await;
                    continue;
                }
            }
            // Only now: what was published before was seen before the wish.
            self.answer(wish);
            tokio::select! {
                changed = self.wish.changed() => {
                    // Nobody can wish any more: what should not run was seen not running.
                    return if changed.is_err() { Some(false) } else { None };
                }
                () = unit.changed() => {}
            }
        }
    }

    fn show_stopped(&mut self) {
        self.failed = false;
        self.publish(|seen| {
            (seen.state, seen.grade, seen.pid) = (State::Stopped, Grade::Unknown, None);
            (seen.probe, seen.reason) = (None, None);
        });
    }

    /// From its start to its end and, when it failed, the pause after it.
    async fn run(&mut self, mut running: Running, service: Arc<Service>) {
        tracing::info!(service = self.name, pid = running.pid(), "started");
        self.publish(|seen| {
            (seen.pid, seen.probe) = (running.pid(), None);
        });
        let (end, service, good_for) = self.watch(&mut running, service).await;
        match end {
            End::Ended(reason) => {
                tracing::warn!(service = self.name, pid = running.pid(), reason, "failed");
                self.fail(reason.clone());
                self.end(running, service.stop_timeout.min(ORPHANS)).await;
                self.publish(|seen| seen.reason = Some(reason));
                self.pause(&service, good_for).await;
            }
            End::Unwanted | End::Changed => {
                self.failed = false;
                self.publish(|seen| {
                    (seen.state, seen.grade) = (State::Stopping, Grade::Unknown);
                    seen.reason = None;
                });
                self.end(running, service.stop_timeout).await;
            }
        }
    }

    async fn end(&mut self, mut running: Running, grace: Duration) {
        let pid = running.pid();
        running.stop(grace, |reason| self.obstacle(reason)).await;
        if let Running::Unit(_) = running {
            running::forget(&self.records, &self.name);
        }
        tracing::info!(service = self.name, pid, "seen gone");
        self.publish(|seen| seen.pid = None);
    }

    /// Watches until it ends or should; also returns the service as last configured and for how
    /// long it has been good.
    async fn watch(
        &mut self,
        running: &mut Running,
        mut service: Arc<Service>,
    ) -> (End, Arc<Service>, Duration) {
        let mut condition = running.condition();
        let mut restarts = running.restarts();
        let mut asking = Asking::start(asked(&service, &condition), true);
        let mut settled_at = self.settled_at();
        let mut is_settled = false;
        let mut good_since = None;
        loop {
            let good = self.judge(&asking, &condition, is_settled);
            good_since = good.then(|| good_since.unwrap_or_else(Instant::now));
            let good_for = || good_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            if let Condition::Ended(reason) = condition {
                return (End::Ended(reason), service, Duration::ZERO);
            }
            tokio::select! {
                now = running.changed() => {
                    let again = running.restarts().saturating_sub(restarts);
                    restarts = running.restarts();
                    self.publish(|seen| {
                        (seen.pid, seen.restarts) = (running.pid(), seen.restarts + again);
                    });
                    if let Condition::Ended(reason) = now {
                        return (End::Ended(reason), service, good_for());
                    }
                    if again > 0 {
                        tracing::warn!(service = self.name, again, "started again by systemd");
                        self.failed = true;
                        // It climbs the ladder all the same: by its height is judged for how long
                        // it has to last before it is believed.
                        self.ladder.next(good_for(), service.restart_delay, service.restart_max);
                    }
                    if now != condition || again > 0 {
                        asking = Asking::start(asked(&service, &now), true);
                        (settled_at, is_settled) = (self.settled_at(), false);
                        condition = now;
                    }
                }
                changed = self.wish.changed() => {
                    let wish = self.hear();
                    if changed.is_err() || !wish.run {
                        return (End::Unwanted, service, good_for());
                    }
                    if !same_process(&wish.service, &service) {
                        return (End::Changed, service, good_for());
                    }
                    if wish.service.probes != service.probes {
                        asking = Asking::start(asked(&wish.service, &condition), false);
                    }
                    service = wish.service;
                }
                () = tokio::time::sleep_until(settled_at), if !is_settled => is_settled = true,
                () = asking.next() => {}
            }
        }
    }

    /// One that failed just now has to last longer than the pause before it to be believed, or a
    /// crash loop would look good again and again.
    fn settled_at(&self) -> Instant {
        Instant::now() + SETTLED.max(self.ladder.last())
    }

    /// Publishes how good it is.
    fn judge(&mut self, asking: &Asking, condition: &Condition, is_settled: bool) -> bool {
        let (grade, reason) = match condition {
            Condition::Up if asking.is_empty() && !is_settled => (Grade::Unknown, None),
            Condition::Up => (asking.grade(), asking.last().map(ToString::to_string)),
            Condition::Starting => (Grade::Unknown, Some("starting".to_owned())),
            Condition::Unknown(why) => (Grade::Unknown, Some(why.clone())),
            Condition::Mending(why) | Condition::Ended(why) => (Grade::Failed, Some(why.clone())),
        };
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
            tracing::info!(service = self.name, from = ?was, to = ?shown, reason, "grade");
        }
        self.publish(|seen| {
            seen.grade = shown;
            seen.reason = match (grade, condition) {
                (Grade::Good, _) => None,
                (Grade::Unknown, Condition::Up) => seen.reason.take().or(reason),
                (Grade::Unknown | Grade::Failed, _) => reason,
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
        self.answer(&wish);
        wish
    }

    /// What is published from now on is known of this wish.
    fn answer(&self, wish: &Wish) {
        self.publish(|seen| seen.heard = wish.number);
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

/// What is asked while it does so: one that is not up is not asked at all.
fn asked<'s>(service: &'s Service, condition: &Condition) -> &'s [Probe] {
    if *condition == Condition::Up { &service.probes } else { &[] }
}

/// What runs need not be replaced for this change.
fn same_process(new: &Service, old: &Service) -> bool {
    let what = |it: &Service| {
        let Service { runner, command, user, directory, environment, limits, .. } = it.clone();
        (runner, command, user, directory, environment, limits)
    };
    what(new) == what(old)
}
