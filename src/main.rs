//! The `duotone` command: joins the rooms of the library and hands over to the command line.

use std::path::Path;
use std::process::ExitCode;

use duotone::cli::demo::Demo;
use duotone::cli::{self, Error, Exit, Parts};
use duotone::config::check::Seen;
use duotone::config::{Config, WitnessConfig};
use duotone::protocol::event::Presence;
use duotone::protocol::table;
use duotone::{daemon, lab, logging, ocf, pulse, witness};

fn main() -> ExitCode {
    // What the lab runs inside its hosts is not for people, and not of the command line.
    if let Some(code) = lab::inside(std::env::args_os()) {
        return code;
    }
    // What the cluster calls has the exit codes of its own interface.
    if let Some(code) = ocf::called(std::env::args_os()) {
        return code;
    }
    cli::main(&Parts {
        run,
        dead_man,
        release,
        stop_units: |state_dir| daemon::dead_man::stop_units(state_dir).map_err(Error::other),
        host,
        fence: |config| daemon::fence::ask(config).map_err(Error::other),
        hook: |hook, variables| daemon::hooks::by_hand(hook, variables).map_err(Error::other),
        alerts: |config| daemon::alerts::test(config).map_err(Error::other),
        history: |directory, newest| daemon::history(directory, newest).map_err(Error::other),
        demo,
        witness: be_witness,
        table: || Ok(table::print(&table::table())),
    })
}

fn run(config: Config, file: &Path, node: Option<&str>) -> Result<Exit, Error> {
    logging::start(config.syslog).map_err(Error::other)?;
    let source = daemon::Source { path: file.to_owned(), node: node.map(str::to_owned) };
    daemon::run(config, source).map_err(|error| {
        tracing::error!("{error}");
        Error::other(error)
    })?;
    Ok(Exit::Ok)
}

fn be_witness(config: &WitnessConfig) -> Result<Exit, Error> {
    logging::start(config.syslog).map_err(Error::other)?;
    witness::run(config).map_err(|error| {
        tracing::error!("{error}");
        Error::other(error)
    })?;
    Ok(Exit::Ok)
}

fn dead_man(config: &Config) -> Result<Exit, Error> {
    daemon::dead_man::watch(config).map_err(Error::other)?;
    Ok(Exit::Ok)
}

fn release(config: &Config) -> Result<String, Error> {
    let names = || {
        let addresses = config.floating.addresses.iter();
        addresses.map(|(address, _)| address.to_string()).collect::<Vec<_>>().join(", ")
    };
    match pulse::address::release_all(&config.floating).map_err(Error::other)? {
        Presence::Absent => Ok(format!("{} released from {}", names(), config.floating.interface)),
        seen @ (Presence::Unknown | Presence::Partial | Presence::Held) => {
            Err(Error::other(format!("{} not seen released: the kernel shows {seen:?}", names())))
        }
    }
}

fn host(config: &Config) -> Seen {
    let mut all = Seen::default();
    for (what, seen) in [
        ("the database", daemon::check_database(config)),
        ("the units of services", daemon::check_units(config)),
    ] {
        match seen {
            Ok(seen) => {
                all.findings.extend(seen.findings);
                all.notes.extend(seen.notes);
            }
            Err(error) => all.findings.push(format!("{what}: not looked at: {error}")),
        }
    }
    all
}

fn demo(asked: &Demo) -> Result<Exit, Error> {
    if asked.faults {
        print!("{}", lab::faults());
        return Ok(Exit::Ok);
    }
    let word = |error: String| Error::Usage(error);
    let chosen = asked.scenarios.iter().map(|name| lab::Scenario::chosen(name).map_err(word));
    let options = lab::DemoOptions {
        scenarios: chosen.collect::<Result<Vec<_>, _>>()?.concat(),
        floor: !asked.no_floor,
        runs: asked.runs,
        mode: asked.mode.word().parse().map_err(word)?,
        durability: asked.durability.word().parse().map_err(word)?,
        preset: asked.preset.word().parse().map_err(word)?,
        json: asked.json.clone(),
        keep: asked.keep,
        ..lab::DemoOptions::default()
    };
    // With its causes.
    match lab::demo(&options).map_err(|error| Error::other(format!("{error:#}")))? {
        lab::ExitKind::Kept => Ok(Exit::Ok),
        lab::ExitKind::Broken => Ok(Exit::No),
        lab::ExitKind::NotRoot => Ok(Exit::Permission),
        lab::ExitKind::Interrupted => Ok(Exit::Internal),
    }
}
