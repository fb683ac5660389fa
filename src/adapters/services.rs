//! A group's services: told which should run, keeps exactly those running, and says what is seen.
//!
//! By level, not by edge: every change of the goal, of the configuration or of a process leads to
//! the same comparison. One task per service does the work; the supervisor only tells them what
//! to wish for and adds up what they see.

mod keeper;
mod ladder;
mod running;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

pub use self::keeper::State;
use self::keeper::{Keeper, Seen, Wish};
use self::ladder::Ladder;
use super::process;
use super::systemd::{Systemd, record};
use crate::config::{Limits, RunOn, Runner, Service, Start};
use crate::protocol::event::{ServicesGoal, ServicesSeen};
use crate::protocol::health::Grade;

/// After SIGKILL, an earlier life's process that is still there holds up the others this long.
const CLEARING_MARGIN: Duration = Duration::from_secs(2);
/// A service that is no longer configured is given this long to stop.
const UNKNOWN_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// One service, for people.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// It is configured as critical.
    pub critical: bool,
    /// The goal wants it running.
    pub wanted: bool,
    /// What it is doing.
    pub state: State,
    /// How well it works: `good`, `unknown` or `failed`.
    #[serde(serialize_with = "grade_word")]
    pub grade: Grade,
    /// Its main process.
    pub pid: Option<i32>,
    /// How often it was started again after a failure, in the daemon's life.
    pub restarts: u32,
    /// What the probe that matters most said last.
    pub probe: Option<String>,
    /// Why it is not good, or not stopped.
    pub reason: Option<String>,
}

/// The way to a group's services. Dropping it stops them, unseen; see [`Services::stop_all`].
#[derive(Debug)]
pub struct Services {
    orders: mpsc::UnboundedSender<Order>,
    seen: watch::Receiver<Option<ServicesSeen>>,
    status: watch::Receiver<Vec<ServiceStatus>>,
}

enum Order {
    Goal(ServicesGoal),
    Reload(Vec<Service>),
    StopAll(oneshot::Sender<()>),
}

impl Services {
    /// Begins to supervise, on the current tokio runtime: first stops what an earlier life of the
    /// daemon left behind, then waits for a goal. `records` is a directory for notes to the next
    /// life.
    #[must_use]
    pub fn supervise(services: Vec<Service>, records: PathBuf) -> Services {
        Services::supervise_under(services, records, Systemd::default())
    }

    /// The same with units of another systemd than this host's.
    #[must_use]
    pub fn supervise_under(services: Vec<Service>, records: PathBuf, systemd: Systemd) -> Services {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (seen_sender, seen) = watch::channel(None);
        let (status_sender, status) = watch::channel(Vec::new());
        let supervisor = Supervisor {
            keepers: Vec::new(),
            goal: None,
            decided: false,
            records,
            systemd,
            news: Arc::new(Notify::new()),
            all_cleared: watch::channel(false).0,
            waiting_for_stop: Vec::new(),
            seen: seen_sender,
            status: status_sender,
        };
        tokio::spawn(supervisor.run(services, inbox));
        Services { orders, seen, status }
    }

    /// Which services should run. What is seen then is reported at once, and on every change.
    pub fn set_goal(&self, goal: ServicesGoal) {
        self.order(Order::Goal(goal));
    }

    /// Replaces the configuration. A service whose command, user, directory and environment stay
    /// the same goes on undisturbed.
    pub fn reload(&self, services: Vec<Service>) {
        self.order(Order::Reload(services));
    }

    /// Stops everything; returns when all of it was seen gone, however long that takes.
    pub async fn stop_all(&self) {
        let (done, seen_gone) = oneshot::channel();
        self.order(Order::StopAll(done));
        if seen_gone.await.is_err() {
            // The supervisor is gone: nothing can be claimed.
            std::future::pending::<()>().await;
        }
    }

    /// What is seen: `None` before the first goal; marked as changed by every goal, even the same
    /// one again, and by every change.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<ServicesSeen>> {
        self.seen.clone()
    }

    /// Every service, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<ServiceStatus> {
        self.status.borrow().clone()
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            // Nothing is reported any more, so the node's step becomes overdue: it will know.
            tracing::error!("the services' supervisor has ended");
        }
    }
}

/// A service's task, as the supervisor sees it.
struct Kept {
    service: Arc<Service>,
    configured: bool,
    wish: watch::Sender<Wish>,
    seen: watch::Receiver<Seen>,
}

struct Supervisor {
    keepers: Vec<Kept>,
    goal: Option<ServicesGoal>,
    /// Somebody has said what should run, or that nothing should.
    decided: bool,
    records: PathBuf,
    systemd: Systemd,
    news: Arc<Notify>,
    /// Nothing starts before nothing is left of an earlier life.
    all_cleared: watch::Sender<bool>,
    waiting_for_stop: Vec<oneshot::Sender<()>>,
    seen: watch::Sender<Option<ServicesSeen>>,
    status: watch::Sender<Vec<ServiceStatus>>,
}

impl Supervisor {
    async fn run(mut self, services: Vec<Service>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let give_up_clearing = self.begin(services);
        let news = Arc::clone(&self.news);
        loop {
            let clearing = !*self.all_cleared.borrow();
            let told = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return, // every keeper stops with its wish
                },
                () = news.notified() => false,
                () = tokio::time::sleep_until(give_up_clearing), if clearing => {
                    tracing::error!("something of an earlier life cannot be stopped: going on");
                    self.all_cleared.send_replace(true);
                    false
                }
            };
            self.add_up(told);
        }
    }

    /// Makes a keeper for everything configured or left over; returns how long the latter may hold
    /// up the former.
    fn begin(&mut self, services: Vec<Service>) -> Instant {
        self.configure(services);
        let left = process::leftovers(&self.records).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot see what an earlier life left behind");
            Vec::new()
        });
        let units = record::all(&self.records).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot see which units an earlier life has started");
            Vec::new()
        });
        for name in left.into_iter().chain(units.into_iter().map(|(name, _)| name)) {
            if !self.keepers.iter().any(|kept| kept.service.name == name) {
                self.add(unconfigured(name), false);
            }
        }
        let longest = self.keepers.iter().map(|kept| kept.service.stop_timeout).max();
        self.add_up(false);
        Instant::now() + longest.unwrap_or_default() + CLEARING_MARGIN
    }

    /// True when it was told a goal, which is answered even if nothing changes.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Goal(goal) => {
                let another = self.goal != Some(goal);
                (self.goal, self.decided) = (Some(goal), true);
                self.wish(another);
                return true;
            }
            Order::Reload(services) => {
                self.configure(services);
                self.wish(false);
            }
            Order::StopAll(done) => {
                (self.goal, self.decided) = (None, true);
                self.wish(false);
                self.waiting_for_stop.push(done);
            }
        }
        false
    }

    fn configure(&mut self, services: Vec<Service>) {
        self.keepers.iter_mut().for_each(|kept| kept.configured = false);
        for (place, service) in services.into_iter().enumerate() {
            match self.keepers.iter().position(|kept| kept.service.name == service.name) {
                Some(found) => {
                    let mut kept = self.keepers.remove(found);
                    kept.configured = true;
                    if *kept.service != service {
                        kept.service = Arc::new(service);
                    }
                    self.keepers.insert(place.min(self.keepers.len()), kept);
                }
                None => {
                    self.add(service, true);
                    let last = self.keepers.len() - 1;
                    self.keepers[place.min(last)..].rotate_right(1);
                }
            }
        }
    }

    fn add(&mut self, service: Service, configured: bool) {
        let service = Arc::new(service);
        let wish = Wish { number: 0, run: false, undecided: true, service: Arc::clone(&service) };
        let (wish, wished) = watch::channel(wish);
        let (shown, seen) = watch::channel(Seen::nothing());
        let keeper = Keeper {
            name: service.name.clone(),
            records: self.records.clone(),
            systemd: self.systemd.clone(),
            wish: wished,
            seen: shown,
            news: Arc::clone(&self.news),
            ladder: Ladder::default(),
            failed: false,
        };
        tokio::spawn(keeper.keep(self.all_cleared.subscribe()));
        self.keepers.push(Kept { service, configured, wish, seen });
    }

    /// Tells every keeper what to reach; one that has nothing new to hear is left alone.
    /// `another_goal`: one that waits before a restart tries at once.
    fn wish(&self, another_goal: bool) {
        for kept in &self.keepers {
            let run = self.wanted(kept);
            kept.wish.send_if_modified(|wish| {
                let same_service = Arc::ptr_eq(&wish.service, &kept.service);
                let undecided = !self.decided;
                let same = wish.run == run && wish.undecided == undecided && same_service;
                if same && !(run && another_goal) {
                    return false;
                }
                let (number, service) = (wish.number + 1, Arc::clone(&kept.service));
                *wish = Wish { number, run, undecided, service };
                true
            });
        }
    }

    fn wanted(&self, kept: &Kept) -> bool {
        kept.configured && self.goal.is_some_and(|goal| wants(goal, &kept.service))
    }

    /// Adds up what the keepers see, and reports it if it is news, or if it was `asked`.
    fn add_up(&mut self, asked: bool) {
        self.keepers.retain(|kept| kept.configured || !is_stopped(kept));
        let clearing = |kept: &Kept| kept.seen.borrow().state == State::Clearing;
        if !*self.all_cleared.borrow() && !self.keepers.iter().any(clearing) {
            self.all_cleared.send_replace(true);
        }
        let mut stopped = true;
        let mut critical = Grade::Good;
        let mut status = Vec::with_capacity(self.keepers.len());
        for kept in &self.keepers {
            let wanted = self.wanted(kept);
            let shown = shown(kept, wanted);
            stopped &= wanted || is_stopped(kept);
            if wanted && kept.service.critical {
                critical = critical.min(shown.grade);
            }
            status.push(shown);
        }
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
        if let Some(goal) = self.goal {
            let seen = Some(ServicesSeen { goal, stopped, critical });
            self.seen.send_if_modified(|old| {
                let changed = *old != seen;
                *old = seen;
                changed || asked
            });
        } else if stopped {
            for done in self.waiting_for_stop.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }
}

/// Seen not running, by a keeper that has heard the newest wish.
fn is_stopped(kept: &Kept) -> bool {
    let seen = kept.seen.borrow();
    seen.state == State::Stopped
        && seen.heard == kept.wish.borrow().number
        // A keeper that ended by itself (a defect) knows nothing.
        && kept.seen.has_changed().is_ok()
}

fn shown(kept: &Kept, wanted: bool) -> ServiceStatus {
    let seen = kept.seen.borrow().clone();
    let alive = kept.seen.has_changed().is_ok();
    ServiceStatus {
        name: kept.service.name.clone(),
        critical: kept.service.critical,
        wanted,
        state: seen.state,
        grade: if alive { seen.grade } else { Grade::Unknown },
        pid: seen.pid,
        restarts: seen.restarts,
        probe: seen.probe,
        reason: if alive { seen.reason } else { Some("nobody watches it any more".into()) },
    }
}

/// Which services run for which goal.
fn wants(goal: ServicesGoal, service: &Service) -> bool {
    let before_address = match service.start {
        Start::BeforeAddress => true,
        Start::AfterAddress => false,
    };
    match (goal, service.run_on) {
        (_, RunOn::Both) | (ServicesGoal::Prepare | ServicesGoal::Serve, RunOn::Active) => {
            goal != ServicesGoal::Prepare || before_address
        }
        (ServicesGoal::Standby, RunOn::Standby) => true,
        (ServicesGoal::Standby, RunOn::Active) => false,
        (ServicesGoal::Prepare | ServicesGoal::Serve, RunOn::Standby) => false,
    }
}

/// Stands for a service that only an earlier life knew.
fn unconfigured(name: String) -> Service {
    Service {
        name,
        runner: Runner::Daemon,
        command: Vec::new(),
        user: None,
        directory: PathBuf::from("/"),
        environment: Vec::new(),
        limits: Limits::default(),
        run_on: RunOn::Both,
        start: Start::BeforeAddress,
        critical: false,
        probes: Vec::new(),
        restart_delay: Duration::ZERO,
        restart_max: Duration::ZERO,
        stop_timeout: UNKNOWN_STOP_TIMEOUT,
    }
}

fn grade_word<S: serde::Serializer>(grade: &Grade, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match grade {
        Grade::Good => "good",
        Grade::Unknown => "unknown",
        Grade::Failed => "failed",
    })
}
