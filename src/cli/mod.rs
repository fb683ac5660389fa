//! The `duotone` command: the table of verbs, and where each is done. One file per verb family.

pub mod demo;
pub mod exit;
pub mod render;

mod alerts;
mod ask;
mod calls;
mod check;
mod client;
mod draw;
mod fence;
mod history;
mod hooks;
mod idle;
mod keygen;
mod live;
mod orders;
mod pacemaker;
mod parts;
mod replay;
mod salvage;
mod switches;
mod witness;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, socket_of, state_dir_of};
pub use exit::{Error, Exit};
pub use parts::Parts;

/// Keeps a pair of PBX hosts reachable: two hosts, one dial tone.
#[derive(Parser, Debug)]
#[command(name = "duotone", version, max_term_width = 100)]
struct Command {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb accepts.
#[derive(Args, Clone, Debug)]
struct Options {
    /// The configuration file, the same on both hosts; of the verbs of `witness`, its own file
    /// [default: /etc/duotone/duotone.toml or /etc/duotone/witness.toml]
    #[arg(long, global = true, value_name = "PATH", env = "DUOTONE_CONFIG")]
    config: Option<PathBuf>,
    /// Which node this is, when the host name does not say so
    #[arg(long, global = true, value_name = "NAME", env = "DUOTONE_NODE")]
    node: Option<String>,
    /// The daemon's control socket, when it is not the one of the configuration file
    #[arg(long, global = true, value_name = "PATH", env = "DUOTONE_SOCKET")]
    socket: Option<PathBuf>,
}

impl Options {
    /// The configuration with its keys, and with the socket of the command line.
    fn load(&self) -> Result<Config, Error> {
        let mut config = Config::load(&self.config(), self.node.as_deref())?;
        if let Some(socket) = &self.socket {
            config.socket.clone_from(socket);
        }
        Ok(config)
    }

    /// The socket to ask; the file need not be valid, nor its key readable, for that.
    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| socket_of(&self.config()))
    }

    /// The file of the pair.
    fn config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from("/etc/duotone/duotone.toml"))
    }

    /// The file of the witness.
    fn witness_config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from("/etc/duotone/witness.toml"))
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Be the daemon of this node
    Run,
    /// Who serves, is the standby good, what to do
    Status {
        /// The daemon's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// The evidence of this moment, and what would happen if the peer died now
    Explain {
        /// The daemon's answer as JSON
        #[arg(long, conflicts_with = "table")]
        json: bool,
        /// Print the decision table instead (asks no daemon)
        #[arg(long)]
        table: bool,
    },
    /// Exit status 0 if this node is active, 1 if not (for cron jobs and billing)
    IsActive,
    /// Take the role from a peer that is off, when this node is held and says so
    Failover {
        /// Promote this node although the peer cannot be asked: YOU state that the peer is off
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why, for the log of both hosts
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Hand the role to the standby, and lose nothing; run it on the node that serves
    Switchover(Move),
    /// The same, back to the preferred node
    Failback(Move),
    /// Leave the pair for a stated time, also over restarts; the node comes back by itself
    #[command(subcommand)]
    Maintenance(orders::Maintenance),
    /// Resolve what holds this node, or say what only a person can order
    Recover(Why),
    /// Leave the pair until `return`, or until the daemon is started again
    Leave(Why),
    /// Come back from `leave` or from maintenance
    Return(Why),
    /// The last changes of role, as this node saw them
    History(history::History),
    /// One of them as a picture: where the milliseconds went
    Timeline(history::Timeline),
    /// The calls that are up; what a takeover cut
    Calls(calls::Calls),
    /// The phones that are registered; who is back after a takeover
    Endpoints {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List what lives on a PBX, one JSON object a line (asks no daemon; for [calls])
    #[command(subcommand)]
    Live(live::Live),
    /// Write what the core was given in the last minute to a file, as it is done by itself around
    /// every change of role
    Record,
    /// Tell what the core saw, decided and did in a recording, by giving it the same again
    Replay(replay::Replay),
    /// Give the floating addresses up at once, without a daemon, and stop the units that must not
    /// outlive it (ExecStopPost=)
    Release,
    /// Have the daemon read services and addresses again, without a role change
    Reload,
    /// Make a heartbeat key, readable by root alone; never replaces a file
    Keygen {
        /// Where to; by default the key file of the configuration
        path: Option<PathBuf>,
    },
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the pair as a Pacemaker cluster's resources (no daemon runs there)
    PacemakerConfig {
        /// As a script for pcs, not for crmsh
        #[arg(long)]
        pcs: bool,
    },
    /// The rows that a returning node alone had
    #[command(subcommand)]
    Salvage(SalvageVerb),
    /// What would cut the peer's power
    #[command(subcommand)]
    Fence(fence::Fence),
    /// What is told when the role moves
    #[command(subcommand)]
    Hooks(hooks::Hooks),
    /// What people are told of
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Grant the role of pairs to one node at a time, on a third host
    #[command(subcommand)]
    Witness(witness::Witness),
    /// Show a pair lose its active host, on this machine alone
    Demo(demo::Demo),
    /// Wait for the daemon's end and stop its database then (the daemon starts this itself)
    #[command(hide = true)]
    DeadMan,
}

/// Why something is ordered.
#[derive(Args, Debug)]
struct Why {
    /// Why, for the log and the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Why and when the role is to be moved.
#[derive(Args, Debug)]
struct Move {
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    when: idle::When,
}

#[derive(Subcommand, Debug)]
enum SalvageVerb {
    /// What was salvaged on this node, when, and whether it was merged
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The rows of one salvage
    Show {
        /// Its name, the beginning of it, or its directory
        id: String,
        /// Only this table: `table` or `database.schema.table`
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the rows whose key is free into the serving database; run it where the role is
    Merge {
        /// Its name, the beginning of it, or its directory
        id: String,
        /// Count only
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand, Debug)]
enum ConfigVerb {
    /// Print everything that is wrong with it, or what follows from it
    Check {
        /// Look neither at this host nor at the key files
        #[arg(long)]
        file_only: bool,
    },
}

/// Does what the command line says; the other rooms of the program come in through `parts`.
pub fn main(parts: &Parts) -> ExitCode {
    let command = Command::command().after_help(exit::Table.to_string());
    let command = match Command::from_arg_matches(&command.get_matches()) {
        Ok(command) => command,
        Err(usage) => usage.exit(),
    };
    match perform(command, parts) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A reader that went away cannot be told; the status still says it.
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit().into()
        }
    }
}

fn perform(Command { options, verb }: Command, parts: &Parts) -> Result<Exit, Error> {
    let order = |verb: &str, reason| orders::order(&options.socket(), verb, reason);
    let moved = |verb: &str, Move { why, when }| match idle::wait(&options.socket(), &when)? {
        Exit::Ok => order(verb, why.reason),
        not_idle => Ok(not_idle),
    };
    let source = || history::Source {
        socket: options.socket(),
        config: options.config(),
        read: parts.history,
    };
    match verb {
        Verb::Run => (parts.run)(options.load()?, &options.config(), options.node.as_deref()),
        Verb::DeadMan => {
            let config = Config::load_without_keys(&options.config(), options.node.as_deref())?;
            (parts.dead_man)(&config)
        }
        Verb::Release => {
            let config = Config::load_without_keys(&options.config(), options.node.as_deref());
            let released = config.map_err(Error::from).and_then(|it| (parts.release)(&it));
            // Also when the file does not read any more: a unit must not outlive its daemon.
            let stopped = (parts.stop_units)(&state_dir_of(&options.config()))?;
            stopped.iter().try_for_each(|unit| say(&format!("{unit} stopped")).map(drop))?;
            say(&released?)
        }
        Verb::Demo(demo) => (parts.demo)(&demo),
        Verb::Explain { table: true, .. } => say(&(parts.table)()?),
        Verb::Explain { json, table: false } => ask::explain(&options.socket(), json),
        Verb::Status { json } => ask::status(&options.socket(), json),
        Verb::IsActive => ask::is_active(&options.socket()),
        Verb::Failover { force, reason } => ask::failover(&options.socket(), force, reason),
        Verb::Switchover(asked) => moved("switchover", asked),
        Verb::Failback(asked) => moved("failback", asked),
        Verb::Recover(Why { reason }) => order("recover", reason),
        Verb::Leave(Why { reason }) => order("leave", reason),
        Verb::Return(Why { reason }) => order("return", reason),
        Verb::Maintenance(what) => orders::maintenance(&options.socket(), what),
        Verb::History(asked) => history::list(&asked, &source()),
        Verb::Timeline(asked) => history::draw(&asked, &source()),
        Verb::Calls(asked) => calls::calls(&options.socket(), &asked),
        Verb::Endpoints { json } => calls::endpoints(&options.socket(), json),
        Verb::Live(asked) => live::list(&asked),
        Verb::Record => ask::record(&options.socket()),
        Verb::Replay(asked) => replay::perform(&asked),
        Verb::PacemakerConfig { pcs } => {
            pacemaker::print(&options.config(), options.node.as_deref(), pcs)
        }
        Verb::Reload => ask::reload(&options.socket()),
        Verb::Keygen { path } => keygen::make(path, &options.config()),
        Verb::Salvage(verb) => {
            let config = Config::load_without_keys(&options.config(), options.node.as_deref())?;
            match verb {
                SalvageVerb::List { json } => salvage::list(&config, json),
                SalvageVerb::Show { id, table, json } => {
                    salvage::show(&config, &id, table.as_deref(), json)
                }
                SalvageVerb::Merge { id, dry_run, json } => {
                    salvage::merge(&config, &id, dry_run, json)
                }
            }
        }
        Verb::Fence(verb) => fence::perform(verb, &options.load()?, parts.fence),
        Verb::Hooks(verb) => {
            let config = Config::load_without_keys(&options.config(), options.node.as_deref())?;
            hooks::perform(verb, &config, &options.socket(), parts)
        }
        Verb::Alerts(verb) => alerts::perform(verb, &options.load()?, parts.alerts),
        Verb::Witness(verb) => {
            let socket = options.socket.clone();
            witness::perform(&verb, &options.witness_config(), socket, parts.witness)
        }
        Verb::Config(ConfigVerb::Check { file_only }) => {
            check::check(&options.config(), options.node.as_deref(), file_only, parts.host)
        }
    }
}

/// Prints to standard output; a reader that went away (`| head`) is no error.
fn say(text: &str) -> Result<Exit, Error> {
    let mut out = std::io::stdout().lock();
    let line_end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{line_end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        Ok(()) | Err(_) => Ok(Exit::Ok),
    }
}
