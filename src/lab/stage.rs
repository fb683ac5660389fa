//! A world with a contestant in it and calls flowing: one scenario after the other is played on it
//! as long as the pair comes together again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::autopsy::{Autopsy, Taken};
use super::clock::{self, ms_between, pause, wait_until};
use super::history::{Branch, Client};
use super::job::Job;
use super::node::{self, Status};
use super::phone::Phone;
use super::records::Records;
use super::scenario::Contestant;
use super::survival::{self, Survived};
use super::watch::Watch;
use super::world::{NODES, World};
use super::yardstick::Yardstick;
use super::{DemoOptions, Durability, Mode, Say, floor, pbx, postgres};
use crate::protocol::time::Instant;

/// How long calls flow before anything happens to a new world: the daemon's idle cost is measured.
const STEADY: Duration = Duration::from_secs(3);
/// How long a pair may take to come together again: a base backup, where it comes to that, on a
/// busy machine.
pub const TOGETHER: Duration = Duration::from_secs(60);

/// A world with a contestant in it.
pub struct Stage {
    /// The world.
    pub world: World,
    /// Who looks on.
    pub watch: Watch,
    /// What the machine itself does meanwhile.
    pub yardstick: Yardstick,
    /// Who writes through the floating address.
    pub records: Records,
    /// What a commit waits for.
    pub durability: Durability,
    /// Whose world it is.
    pub contestant: Contestant,
    /// Who serves, as far as was last seen.
    pub active: usize,
    /// Clients that have ended.
    pub jobs: Vec<Client>,
    /// Where it keeps its files.
    pub files: PathBuf,
    /// The daemon of the active node while nothing happened.
    pub idle: Idle,
    phone: Phone,
    autopsies: [Option<Autopsy>; 2],
    taken: Vec<Taken>,
    branches: Vec<Branch>,
    readings: usize,
    jobs_started: u64,
    rounds: usize,
}

/// What a daemon costs while nothing happens.
#[derive(Clone, Copy, Default, Debug)]
pub struct Idle {
    /// Resident memory, KiB.
    pub rss_kib: Option<u64>,
    /// Share of one core, percent.
    pub cpu_percent: Option<f64>,
}

impl Stage {
    /// Builds everything and lets calls flow for a while.
    pub fn set(
        options: &DemoOptions,
        contestant: Contestant,
        files: &Path,
        template: &Path,
        say: &Say,
    ) -> anyhow::Result<Self> {
        say.line("building the LAN, the link, two hosts and a phone");
        let mut world = World::build(files, options.mode == Mode::Address, &options.program)?;
        let watch = Watch::start(&files.join("calls.log"))?;
        let yardstick = Yardstick::start(&files.join("yardstick"))?;
        let active = match contestant {
            Contestant::Duotone => start_pair(&mut world, options, template, say)?,
            Contestant::BareFloor => start_floor(&mut world, options, template, say)?,
        };
        say.line(&format!("{} serves; the phone registers and calls", NODES[active]));
        let mut phone = Phone::start(files)?;
        phone.register(Duration::from_secs(15))?;
        phone.call()?;
        let records = Records::start(&files.join("records.log"))?;
        let idle = measure_idle(&world, active)?;
        anyhow::ensure!(
            watch.last_answer().is_some(),
            "no call is answered; see {}",
            files.display()
        );
        anyhow::ensure!(records.count() > 0, "no record is stored; see {}", files.display());
        Ok(Stage {
            world,
            watch,
            yardstick,
            records,
            durability: options.durability,
            contestant,
            active,
            jobs: Vec::new(),
            files: files.to_owned(),
            idle,
            phone,
            autopsies: [None, None],
            taken: Vec::new(),
            branches: Vec::new(),
            readings: 0,
            jobs_started: 0,
            rounds: 0,
        })
    }

    /// The name of the active node.
    pub fn active_name(&self) -> &'static str {
        NODES[self.active]
    }

    /// The node that does not serve.
    pub fn other(&self) -> usize {
        1 - self.active
    }

    /// The socket directory of a host's database.
    pub fn socket(&self, node: usize) -> PathBuf {
        self.world.files.join(NODES[node]).join("socket")
    }

    /// What a node says of itself; empty when it says nothing.
    pub fn status(&self, node: usize) -> Status {
        self.world.hosts[node].as_ref().map(Status::of).unwrap_or_default()
    }

    /// Gives power to whatever has none, and waits until one serves and the other is its good
    /// standby.
    ///
    /// # Errors
    /// That did not come about.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        for node in [0, 1] {
            if self.world.hosts[node].is_none() {
                self.power_on(node)?;
            }
        }
        self.active = node::wait_settled(&mut self.world, TOGETHER)?;
        Ok(())
    }

    /// Waits until a call that was placed later than `since` is answered, and a record stored.
    pub fn served_since(&self, since: Instant, patience: Duration) -> anyhow::Result<bool> {
        let stored = self.records.count();
        Ok(wait_until(patience, Duration::from_millis(20), || {
            self.watch.last_answer().is_some_and(|at| at > since) && self.records.count() > stored
        })?)
    }

    /// Takes a host's power. Its log will be read before it gets it back.
    pub fn power_off(&mut self, node: usize) -> anyhow::Result<Instant> {
        let at = self.world.power_off(node)?;
        self.watch.darken(node, at, true);
        Ok(at)
    }

    /// Gives it back, and starts its daemon; when that was, by both clocks.
    pub fn power_on(&mut self, node: usize) -> anyhow::Result<(Instant, SystemTime)> {
        if self.autopsies[node].is_none() {
            self.read_log(node);
        }
        self.log_is_read(node)?;
        let at = self.world.power_on(node)?;
        self.watch.lighten(node, at);
        self.start_daemon(node)
    }

    /// Starts a host's daemon; when that was, by both clocks.
    pub fn start_daemon(&mut self, node: usize) -> anyhow::Result<(Instant, SystemTime)> {
        let now = (clock::now(), SystemTime::now());
        node::start(self.world.host(node)?)?;
        Ok(now)
    }

    /// Begins to read the log of a host on which nothing runs: what it had must be somewhere at the
    /// end.
    pub fn read_log(&mut self, node: usize) {
        self.readings += 1;
        let place = self.files.join(format!("log-{}", self.readings));
        let data = self.world.files.join(NODES[node]).join("pgdata");
        let name = format!("{}'s log, reading {}", NODES[node], self.readings);
        self.autopsies[node] = Some(Autopsy::start(name, data, place));
    }

    /// The same of a host that stands by alone, cut off from its peer: its own server shows what it
    /// has. False if it has not come to that in `patience`.
    pub fn read_log_of_living(&mut self, node: usize, patience: Duration) -> anyhow::Result<bool> {
        let socket = self.socket(node);
        let mut rows = None;
        wait_until(patience, Duration::from_millis(100), || {
            rows = (self.status(node).text("role") != "active")
                .then(|| postgres::standby_rows(&socket).ok())
                .flatten();
            rows.is_some()
        })?;
        let read = rows.is_some();
        let name = format!("{}'s log while it was cut off", NODES[node]);
        self.branches.extend(rows.map(|rows| Branch { name, rows }));
        Ok(read)
    }

    /// Waits until the log may be changed again.
    pub fn log_is_read(&mut self, node: usize) -> anyhow::Result<()> {
        if let Some(autopsy) = self.autopsies[node].take() {
            self.taken.push(autopsy.taken()?);
        }
        Ok(())
    }

    /// The rows of every data directory below a host's files that was kept instead of its rows.
    pub fn kept_rows(&self, host: &Path) -> anyhow::Result<Vec<u64>> {
        let mut rows = Vec::new();
        for entry in std::fs::read_dir(host)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("pgdata.kept-") {
                let place = self.files.join(format!("read-{name}"));
                rows.extend(Autopsy::start(name, entry.path(), place).taken()?.rows()?.rows);
            }
        }
        Ok(rows)
    }

    /// Every log that was read so far.
    pub fn branches(&mut self) -> anyhow::Result<&[Branch]> {
        for taken in self.taken.drain(..) {
            self.branches.push(taken.rows()?);
        }
        Ok(&self.branches)
    }

    /// Starts a job on a host that writes straight into its database.
    pub fn start_job(&mut self, node: usize) -> anyhow::Result<Job> {
        /// Far from the phone's numbers, and each job's far from the others'.
        const OF_JOBS: u64 = 1_000_000_000;
        self.jobs_started += 1;
        let log = self.files.join(format!("job-{}.log", self.jobs_started));
        let name = format!("a job on {}", NODES[node]);
        Job::start(name, &self.socket(node), OF_JOBS * self.jobs_started, &log)
    }

    /// Desk phones register, and calls are set up.
    pub fn before(&mut self) -> anyhow::Result<survival::Before> {
        self.rounds += 1;
        survival::before(&self.phone, self.rounds)
    }

    /// What of that is answered now.
    pub fn after(&self, before: survival::Before) -> anyhow::Result<Survived> {
        before.after(&self.phone)
    }

    /// Waits until no process of a host's database is left.
    pub fn database_is_gone(&self, node: usize, patience: Duration) -> anyhow::Result<bool> {
        let host = self.world.hosts[node].as_ref().context("the host has no power")?;
        Ok(wait_until(patience, Duration::from_millis(50), || {
            !host.processes().iter().any(|(_, name)| name == "postgres")
        })?)
    }

    /// Leaves the world standing when dropped.
    pub fn keep(&mut self) {
        self.world.keep();
        self.phone.hang_up();
    }
}

fn measure_idle(world: &World, active: usize) -> anyhow::Result<Idle> {
    let cost = || world.hosts[active].as_ref().and_then(node::cost);
    let (began, before) = (clock::now(), cost());
    pause(STEADY)?;
    let after = cost();
    let span_ms = ms_between(began, clock::now());
    let cpu_percent = before
        .zip(after)
        .map(|(before, after)| after.cpu_ms.saturating_sub(before.cpu_ms) as f64 / span_ms * 100.0);
    Ok(Idle { rss_kib: after.map(|cost| cost.rss_kib), cpu_percent })
}

fn start_pair(
    world: &mut World,
    options: &DemoOptions,
    template: &Path,
    say: &Say,
) -> anyhow::Result<usize> {
    let key = node::make_key()?;
    for index in [0, 1] {
        let host = world.host(index)?;
        postgres::install(template, host, index, postgres::Signal::Standby)?;
        pbx::install(host)?;
        node::install(host, options, &key)?;
        node::start(host)?;
    }
    say.line("two daemons run; waiting for one to serve and the other to stand by");
    node::wait_settled(world, TOGETHER)
}

fn start_floor(
    world: &mut World,
    options: &DemoOptions,
    template: &Path,
    say: &Say,
) -> anyhow::Result<usize> {
    for (index, signal) in [(0, postgres::Signal::Primary), (1, postgres::Signal::Standby)] {
        let host = world.host(index)?;
        postgres::install(template, host, index, signal)?;
        postgres::start(host)?;
    }
    postgres::wait_streaming(world, 0)?;
    say.line("the bare floor runs: heartbeat, promote, address, one announcement; no safety");
    for index in [1, 0] {
        let host = world.host(index)?;
        pbx::install(host)?;
        let words = pbx::command();
        let mut kamailio = host.command(&words[0]);
        kamailio.args(&words[1..]);
        host.start(kamailio, "kamailio.log")?;
        floor::start(host, index, index == 0, options.preset.times())?;
    }
    Ok(0)
}
