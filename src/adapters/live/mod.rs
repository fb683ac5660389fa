//! What lives on a PBX: its calls, or the phones that are registered, as a command prints them.
//!
//! The command prints one JSON object a line and exits with 0. Each has an `id` that is its own; the
//! other members are passed on as they are, and by custom are `from`, `to` and `since` of a call,
//! `contact` and `expires` of an endpoint. Whatever it prints, what is kept is bounded, and what was
//! not kept is counted. A command that fails has told nothing: that is not an empty list.

mod command;
pub mod kamailio;
mod stream;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

pub use self::command::CommandError;
pub use self::stream::{Incoming, Outgoing, StreamError, Who, accept, connect, listen};

/// A longer line is not read.
pub const LINE_MAX: usize = 4 << 10;
/// Of all lines together, so many bytes are kept.
pub const LIST_MAX: usize = 1 << 20;
/// A longer `id` is none.
const ID_MAX: usize = 256;

/// One call or endpoint, with its `id`.
pub type Entry = Map<String, Value>;

/// A list, as complete as it could be.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Listing {
    /// In the order in which they were printed, each `id` once.
    pub entries: Vec<Entry>,
    /// Lines that are no object with an `id`, or too long.
    pub broken: u64,
    /// Entries that did not fit.
    pub left_out: u64,
}

impl Listing {
    /// How many there are, those that did not fit among them.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64 + self.left_out
    }

    /// Reads what a command printed, or a peer sent.
    pub fn read(text: &[u8]) -> Listing {
        let mut reading = Reading::default();
        reading.push(text);
        reading.end()
    }

    /// As lines.
    pub fn lines(&self) -> Vec<u8> {
        lines(&self.entries)
    }
}

/// One JSON object a line.
pub fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        text.extend(Value::from(entry.clone()).to_string().into_bytes());
        text.push(b'\n');
    }
    text
}

/// The `id` of an entry.
pub fn id(entry: &Entry) -> &str {
    entry.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Runs a command that prints a list, within `limit`.
///
/// # Errors
/// It could not be run, took too long, or failed; nothing is known then.
pub async fn list(command: &[String], limit: Duration) -> Result<Listing, CommandError> {
    let mut reading = Reading::default();
    command::run(command, &[], limit, |bytes| reading.push(bytes)).await?;
    Ok(reading.end())
}

/// Gives a command entries to read, one a line, within `limit`.
///
/// # Errors
/// As [`list`].
pub async fn tell(
    command: &[String],
    entries: &[Entry],
    limit: Duration,
) -> Result<(), CommandError> {
    command::run(command, &lines(entries), limit, |_| ()).await
}

/// A list that comes in pieces.
#[derive(Default)]
struct Reading {
    line: Vec<u8>,
    /// The line is longer than may be: the rest of it is passed over.
    too_long: bool,
    bytes: usize,
    places: HashMap<String, usize>,
    listing: Listing,
}

impl Reading {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            if self.line.len() + text.len() > LINE_MAX {
                self.too_long = true;
                self.line.clear();
            }
            if !self.too_long {
                self.line.extend_from_slice(text);
            }
            if ends {
                self.line_ends();
            }
        }
    }

    fn end(mut self) -> Listing {
        self.line_ends();
        self.listing
    }

    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            self.listing.broken += 1;
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            match entry(&line) {
                Some(entry) => self.keep(entry, line.len()),
                None => self.listing.broken += 1,
            }
        }
    }

    /// Of two with one `id` the later is kept: it is the same call.
    fn keep(&mut self, entry: Entry, length: usize) {
        let id = id(&entry).to_owned();
        if let Some(&place) = self.places.get(&id) {
            self.listing.entries[place] = entry;
        } else if self.bytes + length + 1 > LIST_MAX {
            self.listing.left_out += 1;
        } else {
            self.bytes += length + 1;
            self.places.insert(id, self.listing.entries.len());
            self.listing.entries.push(entry);
        }
    }
}

fn entry(line: &[u8]) -> Option<Entry> {
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let id = entry.get("id")?.as_str()?;
    (!id.is_empty() && id.len() <= ID_MAX && !id.contains(char::is_control)).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broken_lines_cost_themselves_only() {
        let long = format!("{{\"id\":\"x\",\"pad\":\"{}\"}}\n", "y".repeat(LINE_MAX));
        let text = format!(
            "{{\"id\":\"1\",\"from\":\"a\",\"odd\":[1]}}\nnot json\n{{\"from\":\"b\"}}\n\n{long}\
             {{\"id\":\"\"}}\n{{\"id\":\"a\\u0000\"}}\n{{\"id\":2}}\n{{\"id\":\"2\"}}\n{{\"id\":\"1\",\"from\":\"c\"}}"
        );
        let listing = Listing::read(text.as_bytes());
        let ids: Vec<&str> = listing.entries.iter().map(id).collect();
        assert_eq!((ids, listing.broken, listing.left_out), (vec!["1", "2"], 6, 0));
        assert_eq!(listing.entries[0]["from"], "c", "the later one");
        assert_eq!(Listing::read(&listing.lines()).entries, listing.entries);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text: String = (0..50_000)
            .map(|n| format!("{{\"id\":\"call-{n}\",\"from\":\"sip:a@b\"}}\n"))
            .collect();
        let listing = Listing::read(text.as_bytes());
        assert!(listing.left_out > 0 && !listing.entries.is_empty());
        assert_eq!((listing.count(), listing.broken), (50_000, 0));
        assert!(listing.lines().len() <= LIST_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_read_alike(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'{'), Just(b'"'), any::<u8>()], 0..2000),
            cut in 0usize..2000,
        ) {
            let whole = Listing::read(&text);
            let (one, other) = text.split_at(cut.min(text.len()));
            let mut reading = Reading::default();
            reading.push(one);
            reading.push(other);
            prop_assert_eq!(reading.end(), whole);
        }
    }
}
