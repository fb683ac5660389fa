//! The durable history: every complete change goes to disk on a thread of its own, never in the way
//! of a decision; an attempt that fails again and again is one entry a minute.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};

use super::change::Change;
use crate::adapters::clock;
use crate::adapters::history_file::{Found, HistoryFile};
use crate::config::Config;
use crate::protocol::identity::{NodeId, Term};
use crate::protocol::time::{Duration, Instant};

const ALIKE_WITHIN: Duration = Duration::from_secs(60);

/// Writes the history.
#[derive(Debug)]
pub struct History {
    to: Sender<Value>,
    me: String,
    peer: String,
    last: Option<Repeating>,
}

#[derive(Debug)]
struct Repeating {
    key: (&'static str, Option<&'static str>, String),
    written: Instant,
    alike: u64,
}

impl History {
    /// Starts the thread that writes into the configuration's state directory.
    pub fn begin(config: &Config) -> History {
        let (to, entries) = channel::<Value>();
        let file = HistoryFile::new(&config.state_dir);
        let write = move || {
            for entry in entries {
                if let Err(error) = file.append(&entry) {
                    tracing::error!(
                        "the history cannot be written: {error}; this is missing there: {entry}"
                    );
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("history".into()).spawn(write) {
            tracing::error!("no thread for the history: {error}");
        }
        let (me, peer) = (config.name().to_owned(), config.peer_name().to_owned());
        History { to, me, peer, last: None }
    }

    /// A change is complete; false when it is one more of many that are alike.
    pub fn add(&mut self, change: &Change) -> bool {
        let now = clock::now();
        let key = (change.kind.word(), change.outcome, change.reason.clone());
        let failed = in_vain(change);
        let mut alike = 0;
        if let Some(last) = self.last.as_mut().filter(|last| last.key == key) {
            if failed && now.since(last.written) < ALIKE_WITHIN {
                last.alike += 1;
                return false;
            }
            alike = last.alike;
        }
        let began = jiff::Timestamp::now() - now.since(change.began().unwrap_or(now));
        let mut entry = change.entry(&began.to_string(), &self.me, &self.peer);
        if alike > 0 {
            entry["alike_before"] = alike.into();
        }
        if self.to.send(entry).is_err() {
            tracing::error!("a change of role is missing in the history: nobody writes it");
        }
        self.last = Some(Repeating { key, written: now, alike: 0 });
        true
    }
}

/// It came to nothing, and may be tried again and again.
pub fn in_vain(change: &Change) -> bool {
    matches!(change.outcome, Some("given-up" | "undone" | "broken-off"))
}

/// The peer's last term that the history of this directory tells of.
pub fn last_peer_term(directory: &Path, peer: &str) -> Option<Term> {
    let found = HistoryFile::new(directory).read().ok()?;
    let of_peer = |entry: &&Value| entry["to"] == peer;
    found.entries.iter().rev().filter(of_peer).find_map(|entry| term(entry["term"].as_str()?))
}

/// A term as it is written.
fn term(text: &str) -> Option<Term> {
    let node = NodeId::ALL.into_iter().find(|node| text.ends_with(&node.to_string()))?;
    let counter = text.strip_suffix(&node.to_string())?.parse().ok()?;
    Some(Term { counter, node })
}

/// The answer to `history`: at most `newest` entries, oldest first.
pub fn data(found: Found, newest: usize) -> Value {
    let skip = found.entries.len().saturating_sub(newest);
    json!({
        "entries": found.entries.into_iter().skip(skip).collect::<Vec<_>>(),
        "damaged": found.damaged,
    })
}
