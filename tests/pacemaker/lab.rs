//! A whole cluster: two hosts with their databases, what keeps them reachable, and a client.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::cluster::{self, PATIENCE, Seen};
use crate::command::soon;
use crate::contestant::Contestant;
use crate::database;
use crate::network::{NODES, cable_address, lan_address};
use crate::power::{Machines, PowerSwitch};
use crate::watch::Watch;
use crate::writer::Writer;

/// Fields are dropped in this order: who looks at the hosts goes before them.
pub struct Lab {
    pub writer: Writer,
    pub watch: Watch,
    pub contestant: Contestant,
    _power: PowerSwitch,
    pub machines: Arc<Machines>,
    _directory: Directory,
    _alone: MutexGuard<'static, ()>,
}

/// Names and addresses are those of one lab.
static ALONE: Mutex<()> = Mutex::new(());

/// On a real disk, so that an fsync costs what it costs.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Directory> {
        let path = format!("/var/tmp/duotone-pacemaker-{}", std::process::id());
        let directory = Directory(path.into());
        let _ = fs::remove_dir_all(&directory.0);
        fs::create_dir_all(&directory.0)?;
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        match std::env::var_os("PACEMAKER_KEEP") {
            Some(_) => eprintln!("kept: {}", self.0.display()),
            None => drop(fs::remove_dir_all(&self.0)),
        }
    }
}

impl Lab {
    /// Two bare hosts become a working cluster.
    pub fn build(contestant: Contestant) -> anyhow::Result<Lab> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = Directory::new()?;
        let files = directory.0.as_path();
        install_programs(files, contestant)?;
        let machines = Arc::new(Machines::new(files)?);
        let socket = files.join("power.sock");
        let power = PowerSwitch::start(&machines, &socket)?;
        let template = database::make_template(files)?;
        cluster::install(&machines)?;
        for node in [0, 1] {
            contestant.install(&machines, &template, node)?;
            machines.power_on(node)?;
        }
        let watch = Watch::start(&machines.network)?;
        let writer = Writer::start(&machines.network)?;
        let lab = Lab {
            writer,
            watch,
            contestant,
            _power: power,
            machines,
            _directory: directory,
            _alone: alone,
        };
        // Side by side, as two machines boot: the first alone would wait for the other.
        std::thread::scope(|scope| {
            let both = [0, 1].map(|node| {
                let machines = &lab.machines;
                scope.spawn(move || cluster::start(machines, node))
            });
            both.into_iter().try_for_each(|start| start.join().expect("it does not panic"))
        })?;
        cluster::load(&lab.machines, &contestant.configuration(&socket)?)?;
        lab.good()?;
        Ok(lab)
    }

    /// Any host that is on.
    pub fn somebody(&self) -> anyhow::Result<usize> {
        (0..2).find(|node| self.machines.is_on(*node)).context("no host is on")
    }

    /// What the cluster shows.
    pub fn seen(&self) -> anyhow::Result<Seen> {
        Seen::from(&self.machines, self.somebody()?)
    }

    /// The one node where the database is promoted.
    pub fn promoted(&self) -> anyhow::Result<usize> {
        let seen = self.seen()?;
        match seen.with_role(self.contestant.database(), "Promoted").as_slice() {
            [node] => Ok(*node),
            other => anyhow::bail!("promoted on {other:?}: {seen:?}"),
        }
    }

    /// Waits until this node serves: promoted, with the address and everything that goes with it,
    /// and rows are stored.
    pub fn serves(&self, node: usize) -> anyhow::Result<()> {
        let served = || {
            let seen = self.seen()?;
            let with_it = self.contestant.beside().iter();
            let mut with_it = with_it.map(|name| seen.with_role(name, "Started"));
            ensure!(seen.with_role(self.contestant.database(), "Promoted") == [node], "{seen:?}");
            ensure!(with_it.all(|nodes| nodes == [node]), "{seen:?}");
            ensure!(self.watch.owners() == [node], "owners {:?}", self.watch.owners());
            Ok(true)
        };
        soon(&format!("{} serves", NODES[node]), PATIENCE, served)?;
        self.rows_flow()
    }

    /// Waits until one node serves and the other is its good standby; which one serves.
    pub fn good(&self) -> anyhow::Result<usize> {
        soon("one is promoted", PATIENCE, || self.promoted().map(|_| true))?;
        let node = self.promoted()?;
        self.serves(node)?;
        let what = format!("{} stands by", NODES[1 - node]);
        soon(&what, PATIENCE, || self.stands_by(1 - node))?;
        Ok(node)
    }

    /// Whether this node is a good standby of the other.
    pub fn stands_by(&self, node: usize) -> anyhow::Result<bool> {
        let seen = self.seen()?;
        ensure!(seen.with_role(self.contestant.database(), "Unpromoted") == [node], "{seen:?}");
        ensure!(seen.blocked().is_empty(), "{:?}", seen.blocked());
        let streams = database::streams(&self.machines, 1 - node)?;
        Ok(streams.iter().any(|state| self.contestant.is_good_standby(state)))
    }

    /// The same after something that the cluster may not have noticed yet: rows are stored again.
    pub fn good_after(&self, since: Instant) -> anyhow::Result<usize> {
        let stored = || Ok(self.writer.stored_since(since));
        soon("rows are stored again", PATIENCE, stored)?;
        self.good()
    }

    /// Waits for some more acknowledged rows.
    pub fn rows_flow(&self) -> anyhow::Result<()> {
        let wanted = self.writer.count() + 5;
        let flow = || {
            ensure!(self.writer.count() >= wanted, "{}", self.writer.complaint());
            Ok(true)
        };
        soon("rows are stored", PATIENCE, flow).map(drop)
    }

    /// The time until the first row was acknowledged after something was done.
    pub fn outage(&self, since: Instant) -> anyhow::Result<Duration> {
        self.rows_flow()?;
        Ok(self.writer.longest_gap(since))
    }

    /// The rows that the client was told are stored, and that the serving database does not have.
    pub fn lost(&self) -> anyhow::Result<Vec<i64>> {
        let stored = self.writer.stored();
        let there = self.rows(self.promoted()?)?;
        Ok(stored.into_iter().filter(|row| !there.contains(row)).collect())
    }

    /// There are none; how many it was told of.
    pub fn every_row_is_there(&self) -> anyhow::Result<usize> {
        let lost = self.lost()?;
        ensure!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        ensure!(self.writer.count() > 0, "no row was ever acknowledged");
        Ok(self.writer.count())
    }

    /// The rows that a host's database has.
    pub fn rows(&self, node: usize) -> anyhow::Result<BTreeSet<i64>> {
        let rows = database::query(&self.machines, node, "SELECT id FROM cdr")?;
        Ok(rows.iter().filter_map(|row| row.parse().ok()).collect())
    }

    /// The rows in the salvages on a host's disk.
    pub fn salvaged(&self, node: usize) -> anyhow::Result<BTreeSet<i64>> {
        let mut rows = BTreeSet::new();
        for salvage in fs::read_dir(self.machines.disk(node).join("var/lib/duotone/salvage"))? {
            for file in fs::read_dir(salvage?.path())? {
                let path = file?.path();
                if path.extension().is_none_or(|kind| kind != "jsonl") {
                    continue;
                }
                for line in fs::read_to_string(&path)?.lines() {
                    let line: serde_json::Value = serde_json::from_str(line)?;
                    rows.extend(line["row"]["id"].as_i64().filter(|_| line["table"] == "cdr"));
                }
            }
        }
        Ok(rows)
    }

    /// Boots a host again, with its daemons, as a machine that gets its power back does.
    pub fn boot(&self, node: usize) -> anyhow::Result<()> {
        self.machines.power_on(node)?;
        cluster::start(&self.machines, node)
    }
}

/// What is installed on both hosts besides the distribution's packages.
fn install_programs(files: &Path, contestant: Contestant) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["sbin", "ocf/duotone"] {
        fs::create_dir_all(files.join(directory))?;
    }
    fs::copy(root.join("tests/pacemaker/fence_lab"), files.join("sbin/fence_lab"))?;
    if contestant != Contestant::Paf {
        fs::copy(env!("CARGO_BIN_EXE_duotone"), files.join("sbin/duotone"))?;
        for agent in fs::read_dir(root.join("ocf"))? {
            let agent = agent?;
            fs::copy(agent.path(), files.join("ocf/duotone").join(agent.file_name()))?;
        }
    }
    fs::copy(root.join("tests/pacemaker/kamailio.cfg"), files.join("kamailio.cfg"))?;
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for (node, name) in NODES.iter().enumerate() {
        hosts += &format!("{} {name}\n{} {name}-cable\n", lan_address(node), cable_address(node));
    }
    Ok(fs::write(files.join("hosts"), hosts)?)
}
