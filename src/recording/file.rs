//! The lines: written one after the other, read all at once.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Entry;
use crate::protocol::node::{Node, Setup};
use crate::protocol::time::Instant;

/// Of the lines and their order. What they say is the vocabulary of the program that wrote them: a
/// field that it did not have yet is `None`, or is marked `#[serde(default)]`.
pub const VERSION: u64 = 1;

const FORMAT: &str = "duotone recording";
const CHECKSUM: usize = 8;

/// Whose recording it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heading {
    /// The program that wrote it.
    pub software: String,
    /// The pair's name.
    pub pair: String,
    /// The node's.
    pub node: String,
    /// When the node's clock was at zero, for people (UTC).
    pub zero: String,
    /// What made the daemon write it.
    pub why: String,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct First {
    format: String,
    version: u64,
    #[serde(flatten)]
    heading: Heading,
}

/// The second line. A node that has just started is its set-up and the time, which say more to
/// people, and are read by versions whose nodes have other insides.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Beginning {
    Setup(Box<Setup>, Instant),
    Node(Box<Node>),
}

/// A recording that was read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whose.
    pub heading: Heading,
    /// As it was before the first event.
    pub node: Node,
    /// What came then.
    pub entries: Vec<Entry>,
    /// The last line was torn, and left out.
    pub torn: bool,
}

/// It cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ReadError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    lines: usize,
}

impl<W: Write> Writer<W> {
    /// Begins one with a node as it is before the first entry.
    ///
    /// # Errors
    /// Those of `to`, as everywhere here.
    pub fn begin(to: W, heading: &Heading, node: &Node) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, lines: 0 };
        let heading = heading.clone();
        writer.line(&First { format: FORMAT.to_owned(), version: VERSION, heading })?;
        writer.line(&Beginning::of(node)?)?;
        Ok(writer)
    }

    /// One more line.
    ///
    /// # Errors
    /// It, or a part of it, is missing in the file.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.line(entry)
    }

    /// Ends it; gives back what was written to.
    ///
    /// # Errors
    /// Its end may be missing in the file.
    pub fn end(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    fn line(&mut self, what: &impl Serialize) -> io::Result<()> {
        self.lines += 1;
        let text = serde_json::to_string(what)?;
        writeln!(self.to, "{} {text}", checksum(self.lines, text.as_bytes()))
    }
}

impl Beginning {
    fn of(node: &Node) -> serde_json::Result<Beginning> {
        let (setup, started) = node.began();
        let fresh = Node::new(setup.clone(), started);
        let just_started = serde_json::to_value(node)? == serde_json::to_value(fresh)?;
        Ok(match just_started {
            true => Beginning::Setup(Box::new(setup.clone()), started),
            false => Beginning::Node(Box::new(node.clone())),
        })
    }

    fn node(self) -> Node {
        match self {
            Beginning::Setup(setup, started) => Node::new(*setup, started),
            Beginning::Node(node) => *node,
        }
    }
}

/// Reads a recording.
///
/// # Errors
/// The first line that is not as it was written. A last line that is not is left out: whoever wrote
/// it did not come to its end.
pub fn read(bytes: &[u8]) -> Result<Recording, ReadError> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last line's end is nothing, or the beginning of a line.
    let mut torn = lines.pop().is_some_and(|rest| !rest.is_empty());
    let mut values = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match content(index + 1, line) {
            Ok(value) => values.push(value),
            Err(_) if index + 1 == lines.len() && index > 1 => torn = true,
            Err(what) => return Err(ReadError { line: index + 1, what }),
        }
    }
    let wrong = |line| move |what| ReadError { line, what };
    let line = |number: usize| {
        values.get(number - 1).ok_or_else(|| wrong(number)("the file ends before it".into()))
    };
    let heading = heading(line(1)?).map_err(wrong(1))?;
    let node = made::<Beginning>(line(2)?).map_err(wrong(2))?.node();
    let entries = values.iter().enumerate().skip(2);
    let entries = entries.map(|(index, value)| made(value).map_err(wrong(index + 1)));
    Ok(Recording { heading, node, entries: entries.collect::<Result<_, _>>()?, torn })
}

/// A line without its checksum.
fn content(number: usize, line: &[u8]) -> Result<Value, String> {
    let (found, text) = line
        .split_at_checked(CHECKSUM)
        .and_then(|(found, rest)| Some((found, rest.strip_prefix(b" ")?)))
        .ok_or("this is no line of a recording")?;
    if found != checksum(number, text).as_bytes() {
        return Err("the checksum does not fit: a line is damaged, or one is missing".into());
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

fn checksum(number: usize, text: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{number} "));
    digest.update(text);
    let digest = digest.finalize();
    digest.iter().take(CHECKSUM / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn heading(value: &Value) -> Result<Heading, String> {
    if value["format"] != FORMAT {
        return Err("this is not a duotone recording".into());
    }
    if value["version"] != VERSION {
        let found = &value["version"];
        return Err(format!("version {found}; this duotone reads version {VERSION}"));
    }
    made::<First>(value).map(|first| first.heading)
}

/// What a line says. A later version's field would be lost in silence, and the replay would not be
/// the recorded one: it is refused.
fn made<T: Serialize + DeserializeOwned>(value: &Value) -> Result<T, String> {
    let made = T::deserialize(value).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&made).map_err(|error| error.to_string())?;
    match unknown(value, &known) {
        Some(name) => Err(format!("{name} is not known to this version")),
        None => Ok(made),
    }
}

/// The name of a field that is given and not known.
fn unknown<'a>(given: &'a Value, known: &Value) -> Option<&'a str> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            given.iter().find_map(|(name, value)| match known.get(name) {
                Some(known) => unknown(value, known),
                None => Some(name.as_str()),
            })
        }
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).find_map(|(given, known)| unknown(given, known))
        }
        _ => None,
    }
}
