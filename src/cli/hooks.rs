//! `duotone hooks`: what is told when the role moves, tried by hand.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ask::pretty;
use super::client::ask;
use super::render::{list, text};
use super::{Error, Exit, Parts, say};
use crate::config::{Config, Hook, HookEvent};

/// A daemon that does not answer soon has nothing to add.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be done with hooks.
#[derive(Subcommand, Debug)]
pub enum Hooks {
    /// Run one now as the daemon would, and print what it says. Exit status 0: it ended with 0
    Run {
        /// Its name in the configuration file
        name: String,
        /// What it is told
        #[arg(long, value_name = "EVENT")]
        event: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `socket` is the daemon's, who knows the term if it runs.
pub(super) fn perform(
    verb: Hooks,
    config: &Config,
    socket: &Path,
    parts: &Parts,
) -> Result<Exit, Error> {
    let Hooks::Run { name, event, json } = verb;
    let event = HookEvent::of(&event).ok_or_else(|| {
        let all = HookEvent::ALL.map(HookEvent::word).join(", ");
        Error::Usage(format!("there is no event \"{event}\"; write one of {all}"))
    })?;
    let hook = find(config, &name)?;
    let status = ask(socket, &json!({"verb": "status"}), PATIENCE).unwrap_or(Value::Null);
    let ran = (parts.hook)(hook, &variables(config, event, &status))?;
    if json {
        say(&pretty(&ran))?;
    } else {
        say(&page(&ran, hook, event))?;
    }
    let good = ran.get("good").and_then(Value::as_bool) == Some(true);
    Ok(if good { Exit::Ok } else { Exit::No })
}

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c Hook, Error> {
    config.hooks.iter().find(|hook| hook.name == name).ok_or_else(|| {
        let all: Vec<&str> = config.hooks.iter().map(|hook| hook.name.as_str()).collect();
        Error::Usage(match all.as_slice() {
            [] => "the file has no [[hook]]".to_owned(),
            all => format!("there is no hook \"{name}\"; the file has {}", all.join(", ")),
        })
    })
}

/// What the hook finds in its environment, and that a person runs it.
fn variables(config: &Config, event: HookEvent, status: &Value) -> Vec<(String, String)> {
    let addresses = config.floating.addresses.iter();
    let addresses: Vec<String> =
        addresses.map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    let known = [
        ("DUOTONE_EVENT", Some(event.word().to_owned())),
        ("DUOTONE_PAIR", Some(config.pair.clone())),
        ("DUOTONE_NODE", Some(config.name().to_owned())),
        ("DUOTONE_PEER", Some(config.peer_name().to_owned())),
        ("DUOTONE_ADDRESSES", Some(addresses.join(" "))),
        ("DUOTONE_TERM", text(status, "term")),
        ("DUOTONE_SERVED_TERM", text(status, "served_term")),
        ("DUOTONE_REASON", Some("run by hand".to_owned())),
        ("DUOTONE_BY_HAND", Some("1".to_owned())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn page(ran: &Value, hook: &Hook, event: HookEvent) -> String {
    let mut page = String::new();
    for line in list(ran, "output") {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "  {}", line.as_str().unwrap_or_default());
    }
    let result = text(ran, "result").unwrap_or_default();
    let took = text(ran, "took_ms").unwrap_or_default();
    let wants = match hook.on.contains(&event) {
        true => String::new(),
        false => format!("; the daemon would not tell it: {} is not in `on`", event.word()),
    };
    let _ = writeln!(page, "hook {} as {}: {result}, {took} ms{wants}", hook.name, hook.user);
    page
}
