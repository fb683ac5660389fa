//! `duotone witness`: the service on a third host, its file and how it stands.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ask::pretty;
use super::client::ask;
use super::render::{list, number, shown, span, text};
use super::{Error, Exit, say};
use crate::config::{WitnessConfig, witness_socket_of};

/// A question is answered from memory.
const QUESTION: Duration = Duration::from_secs(5);

/// What can be asked of a witness.
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// Be the witness
    Run,
    /// Every pair: who holds the role, who is excluded, when each node was heard
    Status {
        /// The witness's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print everything that is wrong with the witness's file, or what follows from it
    Check,
}

pub(super) fn perform(
    verb: &Witness,
    path: &Path,
    socket: Option<PathBuf>,
    run: fn(&WitnessConfig) -> Result<Exit, Error>,
) -> Result<Exit, Error> {
    let load = || -> Result<WitnessConfig, Error> {
        let mut config = WitnessConfig::load(path)?;
        if let Some(socket) = &socket {
            config.socket.clone_from(socket);
        }
        Ok(config)
    };
    match verb {
        Witness::Run => run(&load()?),
        Witness::Check => say(&summary(path, &load()?)),
        Witness::Status { json } => {
            let socket = socket.unwrap_or_else(|| witness_socket_of(path));
            let data = ask(&socket, &json!({"verb": "status"}), QUESTION);
            let data = data.map_err(|error| match error {
                Error::NotRunning(socket) => Error::NoWitness(socket),
                other => other,
            })?;
            say(&if *json { pretty(&data) } else { status(&data) })
        }
    }
}

fn summary(path: &Path, config: &WitnessConfig) -> String {
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let mut page = format!(
        "{}: valid. Listens on {}; ledgers in {}.\n",
        path.display(),
        listen.join(", "),
        config.state_dir.display()
    );
    for pair in &config.pairs {
        let old = pair.old_key_file.as_ref();
        let old = old.map_or(String::new(), |old| format!(", and {}", old.display()));
        // Writing to a string cannot fail.
        let _ = writeln!(page, "  pair {:<16} key {}{old}", pair.name, pair.key_file.display());
    }
    page
}

/// `witness status`, for people. A node is named by its place in the pair's file: a or b.
fn status(data: &Value) -> String {
    let listen: Vec<String> = list(data, "listen").iter().map(shown).collect();
    let mut page = format!("witness on {}", listen.join(", "));
    if let Some(up) = number(data, "up_ms") {
        let _ = write!(page, ", up for {}", span(up));
    }
    page.push('\n');
    for pair in list(data, "pairs") {
        pair_lines(&mut page, pair);
    }
    let strangers = data.get("strangers").unwrap_or(&Value::Null);
    let counts = counts(strangers.get("refused"), strangers.get("limited"));
    if !counts.is_empty() {
        let _ = writeln!(page, "strangers: {counts}");
    }
    page
}

fn pair_lines(page: &mut String, pair: &Value) {
    let name = text(pair, "name").unwrap_or_default();
    let _ = write!(page, "pair {name}: ");
    let term = text(pair, "term").map_or(String::new(), |term| format!(", term {term}"));
    let _ = match (text(pair, "holder"), number(pair, "in_force_ms")) {
        (None, _) => write!(page, "nobody was granted the role yet"),
        (Some(node), Some(ms)) => {
            write!(page, "node {node} holds the role{term}, for another {}", span(ms))
        }
        (Some(node), None) if pair.get("released") == Some(&Value::Bool(true)) => {
            write!(page, "node {node} gave the role back{term}")
        }
        (Some(node), None) => {
            write!(page, "node {node} was granted the role last{term}; no grant is in force")
        }
    };
    if let Some(node) = text(pair, "excluded") {
        let _ = write!(page, "; node {node} is EXCLUDED: it may lack rows");
    }
    if let Some(ms) = number(pair, "changed_ms") {
        let _ = write!(page, " (since {})", span(ms));
    }
    page.push('\n');
    for node in list(pair, "nodes") {
        let who = text(node, "node").unwrap_or_default();
        let _ = match (number(node, "last_heard_ms"), text(node, "from")) {
            (Some(ms), Some(from)) => {
                writeln!(page, "  node {who:<13} heard {} ago, from {from}", span(ms))
            }
            _ => writeln!(page, "  node {who:<13} not heard since the witness started"),
        };
    }
    if let Some(error) = text(pair, "unwritable") {
        let _ = writeln!(page, "  NOTHING IS ANSWERED: the ledger cannot be written: {error}");
    }
    let counts = counts(pair.get("counters"), None);
    let counts = if counts.is_empty() { "none" } else { counts.as_str() };
    let _ = writeln!(page, "  {:<18} {counts}", "requests");
    let refused = self::counts(pair.get("refused"), None);
    if !refused.is_empty() {
        let _ = writeln!(page, "  {:<18} {refused}", "not taken");
    }
}

/// Names and numbers, without what never happened.
fn counts(named: Option<&Value>, limited: Option<&Value>) -> String {
    let named = named.and_then(Value::as_object).into_iter().flatten();
    let named = named.map(|(name, count)| (name.as_str(), count));
    let limited = limited.map(|count| ("more than may be looked at", count));
    named
        .chain(limited)
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(name, count)| format!("{name} {}", shown(count)))
        .collect::<Vec<_>>()
        .join(", ")
}
