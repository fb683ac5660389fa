//! `calls` and `endpoints`: what lives on the PBX, what a takeover cut, who is back.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{outcome, pretty};
use super::client::ask;
use super::{Error, Exit, say};

/// A question is answered from memory.
const QUESTION: Duration = Duration::from_secs(10);
/// The command that closes records may take long, for each of several takeovers.
const CLOSING: Duration = Duration::from_secs(110);
/// So many are listed without `--json`.
const SHOWN: usize = 40;

/// `calls`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Calls {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    verb: Option<CallsVerb>,
}

#[derive(Subcommand, Debug)]
enum CallsVerb {
    /// The calls that the last takeover from a dead host cut
    Cut {
        /// Of which takeover: 1 is the last one
        #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        number: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Close the records of calls that were cut, where that has not succeeded yet
    Close,
}

pub(super) fn calls(socket: &Path, asked: &Calls) -> Result<Exit, Error> {
    match asked.verb {
        None => {
            let data = live(socket)?;
            if asked.json { say(&pretty(&data)) } else { say(&now(&data, "calls", "up")) }
        }
        Some(CallsVerb::Cut { number, json }) => {
            let data = ask(socket, &json!({"verb": "calls", "cut": number}), QUESTION)?;
            if json { say(&pretty(&data)) } else { say(&were_cut(&data, number)) }
        }
        Some(CallsVerb::Close) => {
            outcome(&ask(socket, &json!({"verb": "close-calls"}), CLOSING)?, "done")
        }
    }
}

/// The daemon's answer to `calls`.
pub(super) fn live(socket: &Path) -> Result<Value, Error> {
    ask(socket, &json!({"verb": "calls"}), QUESTION)
}

pub(super) fn endpoints(socket: &Path, json: bool) -> Result<Exit, Error> {
    let data = ask(socket, &json!({"verb": "endpoints"}), QUESTION)?;
    if json {
        return say(&pretty(&data));
    }
    let board = match &data["takeover"] {
        Value::Null => {
            "no takeover from a dead host is on record with a list of phones\n".to_owned()
        }
        board => scoreboard(board),
    };
    say(&(now(&data, "phones", "registered") + &board))
}

/// How many there are, and which.
pub(super) fn now(data: &Value, what: &str, are: &str) -> String {
    if data["configured"] != true {
        return format!("{what} are not followed: [calls] of the configuration names no command\n");
    }
    let active = data["active"] == true;
    let on = text(&data[if active { "node" } else { "peer" }]);
    let Some(count) = data["live"].as_u64() else {
        let why = data["trouble"].as_str().map_or(String::new(), |why| format!(": {why}"));
        return format!("how many {what} are {are} is not known yet{why}\n");
    };
    let age = seconds(&data["age_ms"]);
    let mut lines = format!("{count} {what} {are} on {on} (as of {age} ago)\n");
    if data["fresh"] != true {
        let why = data["trouble"].as_str().unwrap_or("no newer list has come");
        lines += &format!("  that is old: {why}\n");
    }
    for (key, words) in [
        ("broken_lines", "lines of the command made no sense and count for nothing"),
        ("left_out", "did not fit into the list and are counted only"),
    ] {
        if let Some(number) = data[key].as_u64().filter(|number| *number > 0) {
            lines += &format!("  {number} {words}\n");
        }
    }
    lines + &entries(&data["list"])
}

fn were_cut(data: &Value, number: u32) -> String {
    let takeover = &data["takeover"];
    if takeover.is_null() {
        let known = data["takeovers"].as_array().map_or(0, Vec::len);
        return format!("{known} takeover(s) from a dead host on record, not {number}\n");
    }
    let from = text(&takeover["from"]);
    let mut lines = format!(
        "takeover from {from} at {}, term {}\n",
        text(&takeover["time"]),
        text(&takeover["term"])
    );
    let age = &takeover["list_age_ms"];
    match age {
        Value::Null => lines += &format!("  {from} had told no list of its calls\n"),
        age => {
            let were = number_of(&takeover["were_up"]);
            lines += &format!("  {were} calls were up, as of {} before it\n", seconds(age));
        }
    }
    match (text(&takeover["calls"]), &takeover["cut"]) {
        ("told", Value::Array(cut)) => {
            let go_on = number_of(&takeover["go_on"]);
            lines += &format!("  {go_on} go on here, {} were cut\n", cut.len());
            if let Some(unnamed @ 1..) = takeover["unnamed"].as_u64() {
                lines += &format!("  of {unnamed} more the list had no room for their names\n");
            }
            lines += &entries(&takeover["cut"]);
            lines += &match &takeover["closed"] {
                Value::Null => String::new(),
                closed if closed["done"] == true => {
                    format!("  their records were closed at {}\n", text(&closed["time"]))
                }
                closed => format!(
                    "  their records are NOT closed: {}; again: duotone calls close\n",
                    text(&closed["trouble"])
                ),
            };
        }
        ("waiting", _) => lines += "  which of them go on here is not known yet; ask again\n",
        (_, _) => lines += "  what became of them is not known\n",
    }
    lines
}

fn scoreboard(board: &Value) -> String {
    let (seen, expected) = (number_of(&board["seen"]), number_of(&board["expected"]));
    let mut lines = format!(
        "takeover from {} at {}: {seen} of {expected} phones are seen here since\n",
        text(&board["from"]),
        text(&board["time"])
    );
    let after = |key: &str| match &board[key] {
        Value::Null => "not yet".to_owned(),
        ms => seconds(ms),
    };
    lines += &format!(
        "  50 %: {}, 95 %: {}, 100 %: {}\n",
        after("ms_to_50"),
        after("ms_to_95"),
        after("ms_to_100")
    );
    if seen < expected {
        lines += &format!("  not seen yet:\n{}", entries(&board["stragglers"]));
    }
    lines
}

/// Some of a list, a line each.
fn entries(list: &Value) -> String {
    let all = list.as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = String::new();
    for entry in all.iter().take(SHOWN) {
        let known = ["since", "from", "to", "contact", "expires"];
        let words = known.iter().filter_map(|key| Some((key, entry.get(key)?)));
        let words = words.map(|(key, value)| format!("{key} {}", plain(value)));
        let words = words.collect::<Vec<_>>().join("  ");
        lines += format!("  {}  {words}", plain(&entry["id"])).trim_end();
        lines.push('\n');
    }
    if all.len() > SHOWN {
        lines += &format!("  and {} more (--json has all)\n", all.len() - SHOWN);
    }
    lines
}

/// What comes from a command is printed without what would command a terminal.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.replace(char::is_control, " ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn number_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn seconds(ms: &Value) -> String {
    format!("{:.1} s", number_of(ms) as f64 / 1000.0)
}
