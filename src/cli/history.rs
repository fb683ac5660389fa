//! `history` and `timeline`: what this node wrote down, and the other node's view beside it when
//! its `history --json` is given. They work without the daemon as well.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::ask;
use super::switches::{Switch, switches};
use super::{Error, Exit, ask::pretty, draw, say};
use crate::config::state_dir_of;

/// More than any history keeps.
const ALL: usize = 100_000;
const QUESTION: Duration = Duration::from_secs(10);

/// `history`.
#[derive(Args, Debug)]
pub(super) struct History {
    /// How many, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    number: usize,
    #[command(flatten)]
    both: Both,
}

/// `timeline`.
#[derive(Args, Debug)]
pub(super) struct Timeline {
    /// Which: 1 is the last one; `history` numbers them
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    #[command(flatten)]
    both: Both,
}

#[derive(Args, Debug)]
struct Both {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The other node's view beside it: a file with its `duotone history --json`, or - to read
    /// that from a pipe (ssh pbx-b duotone history --json | duotone history --peer -)
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
}

/// Where this node's history is.
pub(super) struct Source {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The configuration file, which names the state directory.
    pub config: PathBuf,
    /// Reads it without a daemon.
    pub read: fn(&Path, usize) -> Result<Value, Error>,
}

impl Source {
    /// The daemon gives it also to those who may not read the directory.
    fn own(&self) -> Result<Value, Error> {
        match ask(&self.socket, &json!({"verb": "history", "newest": ALL}), QUESTION) {
            Err(Error::NotRunning(_) | Error::Silent(..)) => {
                (self.read)(&state_dir_of(&self.config), ALL)
            }
            answered => answered,
        }
    }
}

/// Lists the newest switches.
pub(super) fn list(asked: &History, source: &Source) -> Result<Exit, Error> {
    let (own, peer) = both(&asked.both, source)?;
    if asked.both.json {
        return say(&pretty(&match peer {
            // What the other node's `--peer` takes.
            None => newest(own, asked.number),
            Some(peer) => together(&own, Some(&peer))
                .iter()
                .rev()
                .take(asked.number)
                .map(Switch::json)
                .collect(),
        }));
    }
    let damaged = [Some(&own), peer.as_ref()].into_iter().flatten();
    let damaged = damaged.filter_map(|data| data["damaged"].as_u64()).sum();
    say(&draw::list(&together(&own, peer.as_ref()), asked.number, damaged))
}

/// Draws one switch.
pub(super) fn draw(asked: &Timeline, source: &Source) -> Result<Exit, Error> {
    let (own, peer) = both(&asked.both, source)?;
    let switches = together(&own, peer.as_ref());
    let back = usize::try_from(asked.number).unwrap_or(usize::MAX);
    let Some(switch) = switches.len().checked_sub(back).and_then(|at| switches.get(at)) else {
        let known = switches.len();
        return Err(Error::Usage(format!(
            "the history knows {known} change(s) of role, not {back}"
        )));
    };
    if asked.both.json { say(&pretty(&switch.json())) } else { say(&draw::picture(switch)) }
}

fn both(asked: &Both, source: &Source) -> Result<(Value, Option<Value>), Error> {
    let own = source.own()?;
    let peer = asked.peer.as_deref().map(read).transpose()?;
    if let (Some(peer), Some(node)) = (&peer, own["node"].as_str())
        && peer["node"] == node
    {
        return Err(Error::Usage(format!("--peer: that is {node}'s own history, not its peer's")));
    }
    Ok((own, peer))
}

fn read(path: &Path) -> Result<Value, Error> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Error::Usage(format!("--peer {shown}: {error}")))?;
    let data: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Usage(format!("--peer {shown}: not JSON: {error}")))?;
    if !data["entries"].is_array() {
        return Err(Error::Usage(format!(
            "--peer {shown}: this is not what `duotone history --json` prints"
        )));
    }
    Ok(data)
}

fn together(own: &Value, peer: Option<&Value>) -> Vec<Switch> {
    let entries = |data: &Value| data["entries"].as_array().cloned().unwrap_or_default();
    switches(&entries(own), &peer.map(entries).unwrap_or_default())
}

fn newest(mut data: Value, number: usize) -> Value {
    if let Some(entries) = data.get_mut("entries").and_then(Value::as_array_mut) {
        let skip = entries.len().saturating_sub(number);
        entries.drain(..skip);
    }
    data
}
