//! Two hosts on one machine: the lab behind `duotone demo` and the tests.
//!
//! | file | its job |
//! |---|---|
//! | `world`, `host`, `switch`, `namespaces`, `netlink` | a LAN, a link, two hosts, a phone; power and cables |
//! | `postgres`, `pbx`, `writer` | what runs on the hosts |
//! | `node`, `floor` | who keeps it reachable: the daemons, or the bare minimum for comparison |
//! | `phone`, `records`, `job` | who uses it: SIP calls, call records, a job on a host |
//! | `survival` | phones and calls of before a power-off, asked after it |
//! | `watch`, `packet`, `ownership` | what the wire and the kernels show |
//! | `autopsy`, `salvage` | what was on a log that was left behind, and what the pair kept of it |
//! | `history` | the checker of P2 and P5: logs and tables, no files |
//! | `scenario` | the stories: what is done, what must be seen |
//! | `stage`, `script`, `recovery`, `play` | a world for them, their doing, what is waited for, their order |
//! | `yardstick` | what the machine itself did meanwhile |
//! | `outcome`, `judgement`, `report` | what one run showed, whether that was promised, the table |
//! | `run_directory`, `clock` | what is left on the machine, and when things happened |
//!
//! Everything made is recorded first and removed on every exit; what a crash leaves, the next run
//! clears.

mod autopsy;
mod clock;
mod floor;
mod history;
mod host;
mod job;
mod judgement;
mod namespaces;
mod netlink;
mod node;
mod outcome;
mod ownership;
mod packet;
mod pbx;
mod phone;
mod play;
mod postgres;
mod records;
mod recovery;
mod report;
mod run_directory;
mod salvage;
mod scenario;
mod script;
mod stage;
mod survival;
mod switch;
mod watch;
mod world;
mod writer;
mod yardstick;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;

use crate::config::preset;
use crate::protocol::time::Instant;
use crate::protocol::timing::Timing;
pub use postgres::query;
use run_directory::RunDirectory;
pub use scenario::{Scenario, faults};
pub use yardstick::{Waits, Yardstick};

/// What `duotone demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The scenarios, in this order; none means all.
    pub scenarios: Vec<Scenario>,
    /// What moves with the role.
    pub mode: Mode,
    /// What a commit waits for.
    pub durability: Durability,
    /// The times.
    pub preset: Preset,
    /// Also write everything measured to this file.
    pub json: Option<PathBuf>,
    /// Leave the last world up and say how to look inside.
    pub keep: bool,
    /// The bare floor plays too, where it can be compared.
    pub floor: bool,
    /// Only the floor plays (to try out a machine).
    pub floor_only: bool,
    /// How often the power-off runs, to give a median.
    pub runs: usize,
    /// The `duotone` binary, for the hosts.
    pub program: PathBuf,
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions {
            scenarios: Vec::new(),
            mode: Mode::Address,
            durability: Durability::Available,
            preset: Preset::Voice,
            json: None,
            keep: false,
            floor: true,
            floor_only: false,
            runs: 3,
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("duotone")),
        }
    }
}

/// How the demo ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitKind {
    /// Every scenario kept the promise.
    Kept,
    /// At least one did not.
    Broken,
    /// It needs root.
    NotRoot,
    /// The user stopped it; everything was removed.
    Interrupted,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word),* })
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!("{word:?} is none of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

words! {
    /// What moves with the role.
    Mode {
        /// Addresses on a live interface.
        Address = "address",
        /// The interface itself.
        Interface = "interface",
    }
}

words! {
    /// What a commit waits for.
    Durability {
        /// The standby, until it is excluded; a stale node never promotes.
        Strict = "strict",
        /// The same, but a stale node may promote.
        Available = "available",
        /// Nothing.
        Async = "async",
    }
}

words! {
    /// The times.
    Preset {
        /// 50 ms heartbeats.
        Voice = "voice",
        /// 10 ms heartbeats.
        Fast = "fast",
        /// 100 ms heartbeats, for a machine that often stands still.
        Virtual = "virtual",
    }
}

impl Preset {
    /// Heartbeat interval and the silence that means lost, for the bare floor.
    fn times(self) -> (Duration, Duration) {
        let timing = self.timing();
        (timing.interval, timing.lost_after)
    }

    /// All the pair's times.
    fn timing(self) -> Timing {
        match self {
            Preset::Voice => preset::Preset::Voice.timing(),
            Preset::Fast => preset::Preset::Fast.timing(),
            Preset::Virtual => preset::Preset::Virtual.timing(),
        }
    }
}

/// Progress lines with the time since the start.
pub struct Say(Instant);

impl Say {
    fn line(&self, words: &str) {
        println!("[{:6.1} s] {words}", clock::now().since(self.0).as_secs_f64());
    }
}

/// Runs the demo.
///
/// # Errors
/// The lab could not be built or read; a broken promise is [`ExitKind::Broken`], not an error.
pub fn demo(options: &DemoOptions) -> anyhow::Result<ExitKind> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the demo makes network namespaces and needs root: run it with sudo");
        return Ok(ExitKind::NotRoot);
    }
    require_programs()?;
    clock::catch_signals()?;
    match play_and_report(options) {
        Err(error) if error.is::<clock::Interrupted>() => {
            println!("interrupted; everything was removed");
            Ok(ExitKind::Interrupted)
        }
        ended => ended,
    }
}

fn play_and_report(options: &DemoOptions) -> anyhow::Result<ExitKind> {
    let mut run = RunDirectory::open()?;
    let outcome = play::all(options, run.data());
    match &outcome {
        Ok(_) if options.keep => run.keep(),
        // The logs are about to go: show the end of each.
        Err(error) if !error.is::<clock::Interrupted>() => show_logs(run.data()),
        _ => {}
    }
    drop(run);
    let outcomes = outcome?;
    println!("\n{}", report::table(&outcomes));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report::json(options, &outcomes))?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    print!("{}", report::not_kept(&outcomes));
    Ok(if report::kept(&outcomes) { ExitKind::Kept } else { ExitKind::Broken })
}

/// The last lines of every log below a directory.
fn show_logs(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.ends_with("pgdata") && !path.ends_with("template") {
            show_logs(&path);
        } else if path.extension().is_some_and(|kind| kind == "log") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(|line| tells(line)).collect();
            if is_a_client_s(&path) || lines.is_empty() {
                continue;
            }
            eprintln!("--- {}", path.display());
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("    {line}");
            }
        }
    }
}

/// Numbers and times only.
fn is_a_client_s(log: &Path) -> bool {
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    ["calls", "records", "job-"].iter().any(|client| name.starts_with(client))
}

/// Not what is said again and again while a database is away.
fn tells(line: &str) -> bool {
    ["service=\"kamailio\"", "FATAL:  the database system is", "database system is starting up"]
        .iter()
        .all(|noise| !line.contains(noise))
}

/// # Errors
/// A program of another package is missing; the message names the package.
fn require_programs() -> anyhow::Result<()> {
    let initdb = format!("{}/initdb", postgres::BIN);
    let needed = [
        ("/usr/bin/sipp", "sip-tester"),
        (pbx::PROGRAM, "kamailio"),
        ("/usr/share/kamailio/postgres/dialog-create.sql", "kamailio-postgres-modules"),
        (initdb.as_str(), "postgresql-15"),
        ("/usr/bin/nsenter", "util-linux"),
        ("/usr/bin/chrt", "util-linux"),
        ("/usr/sbin/nft", "nftables"),
    ];
    let missing: Vec<String> = needed
        .iter()
        .filter(|(path, _)| !Path::new(path).exists())
        .map(|(path, package)| format!("{path} (package {package})"))
        .collect();
    anyhow::ensure!(
        missing.is_empty(),
        "missing: {}; `make setup` installs it",
        missing.join(", ")
    );
    Ok(())
}

/// The lab's hidden verbs, which it runs inside its own hosts: `lab-host`, `lab-cdr`, `lab-floor`,
/// each with one JSON argument. `None` when the command line is for somebody else.
pub fn inside(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let verb = arguments.next()?.into_string().ok()?;
    let order = arguments.next().and_then(|order| order.into_string().ok()).unwrap_or_default();
    let outcome = match verb.as_str() {
        "lab-host" => read(&order).and_then(|order| host::init(&order)),
        "lab-cdr" => read(&order).and_then(|order| writer::serve(&order)),
        "lab-floor" => read(&order).and_then(|order| floor::run(&order)),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{verb}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn read<T: serde::de::DeserializeOwned>(order: &str) -> anyhow::Result<T> {
    serde_json::from_str(order).context("the order")
}
