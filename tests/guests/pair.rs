//! The two guests as one pair: who serves, is it good, is every promised row there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use duotone::adapters::state_file::StateFile;
use duotone::protocol::durable::Durable;
use duotone::wire::{Key, Keys, PairTag};
use serde_json::Value;

use crate::agent::bytes64;
use crate::guest::{Guest, NAMES};
use crate::install;
use crate::network::Network;
use crate::watch;
use crate::wire::Ear;
use crate::writer::Writer;

/// One byte, 32 times.
const KEY: u8 = 0x5d;

/// Far longer than anything takes on a machine that does something else as well.
const PATIENCE: Duration = Duration::from_secs(900);

/// Fields are dropped in this order: the guests before their network.
pub struct Pair {
    pub guests: [Guest; 2],
    pub writer: Writer,
    pub ear: Ear,
    pub network: Network,
    directory: Directory,
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        match std::env::var_os("GUESTS_KEEP") {
            Some(_) => eprintln!("guests: kept {}", self.0.display()),
            None => drop(fs::remove_dir_all(&self.0)),
        }
    }
}

impl Pair {
    /// Boots both, installs everything, and waits for a good pair.
    pub fn installed() -> anyhow::Result<Pair> {
        let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests");
        ensure!(target.join("made").exists(), "no image: run tests/guests/build");
        let directory = Directory(target.join(format!("run-{}", std::process::id())));
        fs::create_dir_all(&directory.0)?;
        install::payload(&directory.0)?;
        let network = Network::new()?;
        let guest = |number| Guest::new(number, &directory.0, &target);
        let mut guests = [guest(0)?, guest(1)?];
        for guest in &mut guests {
            guest.start(&network)?;
        }
        for guest in &mut guests {
            guest.booted()?;
        }
        let keys = Keys { current: Key::new(&[KEY; 32]), old: None };
        let ear = Ear::new(&network, PairTag::of("guests"), keys)?;
        install::pair(&guests, &format!("{KEY:02x}").repeat(32))?;
        let writer = Writer::start(&network)?;
        Ok(Pair { guests, writer, ear, network, directory })
    }

    /// A node's status; `Null` when it has none.
    pub fn status(&self, node: usize) -> Value {
        let said = self.guests[node].agent.run("duotone status --json");
        said.ok().and_then(|said| serde_json::from_str(&said).ok()).unwrap_or_default()
    }

    pub fn serves(&self, node: usize) -> bool {
        let status = self.status(node);
        status["role"] == "active" && status["serving"] == true
    }

    /// Waits until one node serves and the other is its good standby; which one serves.
    pub fn settle(&self) -> anyhow::Result<usize> {
        let start = Instant::now();
        loop {
            let said = [self.status(0), self.status(1)];
            let good = |node: &usize| {
                let (own, other) = (&said[*node], &said[1 - node]);
                own["role"] == "active"
                    && own["serving"] == true
                    && own["certificate"]["certifying"] == true
                    && other["stance"] == "standby"
                    && other["certificate"]["held"] == true
            };
            if let Some(active) = (0..2).find(good) {
                return Ok(active);
            }
            if start.elapsed() > PATIENCE {
                bail!("no good pair: {}", said.map(|said| said.to_string()).join("\n"));
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    pub fn serves_soon(&self, node: usize) -> anyhow::Result<Duration> {
        self.soon(&format!("{} serves", NAMES[node]), |pair| Ok(pair.serves(node)))
    }

    /// Waits until it is so.
    pub fn soon(
        &self,
        what: &str,
        so: impl Fn(&Pair) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            match so(self) {
                Ok(true) => return Ok(start.elapsed()),
                seen if start.elapsed() > PATIENCE => bail!("not so: {what}: {seen:?}"),
                _ => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    }

    /// Waits for so many more acknowledged rows.
    pub fn rows_flow(&self, more: usize) -> anyhow::Result<()> {
        let wanted = self.writer.count() + more;
        self.soon("rows are stored", |pair| Ok(pair.writer.count() >= wanted)).map(drop)
    }

    /// Every row that the client was told is stored is in this node's database.
    pub fn every_row_is_there(&self, node: usize) -> anyhow::Result<usize> {
        let stored = self.writer.stored();
        let select = "runuser -u postgres -- psql -Atc 'SELECT n FROM rows_of_guests'";
        let there = self.guests[node].agent.run(select)?;
        let there: BTreeSet<i64> = there.lines().filter_map(|line| line.parse().ok()).collect();
        let lost: Vec<&i64> = stored.iter().filter(|row| !there.contains(row)).collect();
        ensure!(lost.is_empty(), "{}: acknowledged and not there: {lost:?}", NAMES[node]);
        ensure!(!stored.is_empty(), "no row was ever acknowledged");
        Ok(stored.len())
    }

    /// The state file that the guest found when it booted.
    pub fn state_at_boot(&self, node: usize) -> anyhow::Result<Durable> {
        let text = self.guests[node].agent.run("base64 /run/state-at-boot")?;
        let place = self.directory.0.join(format!("state-of-{}", NAMES[node]));
        let file = StateFile::open(&place)?;
        fs::write(file.path(), bytes64(&text))?;
        file.load()?.context("no state file")
    }

    /// Nobody else held the address meanwhile; `window` is what a pause may cost.
    pub fn never_two(&self, window: Duration) -> anyhow::Result<()> {
        let both = watch::both(self.guests.each_ref().map(|guest| &guest.watch));
        // Two emulated clocks are laid over one another no better than this.
        let blur = Duration::from_millis(300);
        match both.first() {
            Some(longest) if *longest > window + blur => bail!("two owners for {longest:?}"),
            Some(_) | None => Ok(()),
        }
    }
}
