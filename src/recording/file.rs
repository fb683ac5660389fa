//! The lines: written one after the other, read all at once.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::{Entry, json};
use crate::protocol::node::{Node, Setup};
use crate::protocol::time::Instant;
use crate::protocol::value::{Data, Misfit, Value};

/// Of the lines and their order. What the lines say is the vocabulary of the program that wrote them:
/// a field that it did not have yet is false, zero or none.
pub const VERSION: u64 = 1;

const FORMAT: &str = "duotone recording";
const CHECKSUM: usize = 8;

/// Whose recording it is.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    heartbeats: Heartbeats,
}

impl<W: Write> Writer<W> {
    /// Begins one with a node as it is before the first entry.
    ///
    /// # Errors
    /// Those of `to`, as everywhere here.
    pub fn begin(to: W, heading: &Heading, node: &Node) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, lines: 0, heartbeats: Heartbeats::default() };
        writer.line(&heading.to_value())?;
        writer.line(&beginning(node))?;
        Ok(writer)
    }

    /// One more line.
    ///
    /// # Errors
    /// It, or a part of it, is missing in the file.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut value = entry.to_value();
        if let Some((heartbeat, last)) = self.heartbeats.of(&mut value) {
            leave_out_the_same(heartbeat, last);
        }
        self.line(&value)
    }

    /// Ends it; gives back what was written to.
    ///
    /// # Errors
    /// Its end may be missing in the file.
    pub fn end(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        self.lines += 1;
        let text = json::text(value);
        writeln!(self.to, "{} {text}", checksum(self.lines, text.as_bytes()))
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
    let mut values = values.into_iter();
    let wrong = |line| move |Misfit(what)| ReadError { line, what };
    let missing = |line| ReadError { line, what: "the file ends before it".into() };
    let heading = Heading::from_value(&values.next().ok_or_else(|| missing(1))?);
    let heading = heading.map_err(wrong(1))?;
    let node = begun(&values.next().ok_or_else(|| missing(2))?).map_err(wrong(2))?;
    let mut heartbeats = Heartbeats::default();
    let mut entries = Vec::with_capacity(values.len());
    for (index, mut value) in values.enumerate() {
        if let Some((heartbeat, last)) = heartbeats.of(&mut value) {
            put_in_the_same(heartbeat, last);
        }
        entries.push(Entry::from_value(&value).map_err(wrong(index + 3))?);
    }
    Ok(Recording { heading, node, entries, torn })
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
    json::parse(text).map_err(|Misfit(what)| what)
}

fn checksum(number: usize, text: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{number} "));
    digest.update(text);
    let digest = digest.finalize();
    digest.iter().take(CHECKSUM / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// A node that has just started is its set-up and the time, which say more to people, and are read by
/// versions whose nodes have other insides.
fn beginning(node: &Node) -> Value {
    let (setup, started) = node.began();
    let whole = node.to_value();
    if whole == Node::new(setup.clone(), started).to_value() {
        let setup = ("setup".into(), setup.to_value());
        return Value::Fields(vec![setup, ("started".into(), started.to_value())]);
    }
    Value::Fields(vec![("node".into(), whole)])
}

fn begun(value: &Value) -> Result<Node, Misfit> {
    let get = |name: &str| value.get(name).ok_or_else(|| Misfit(format!("{name} is missing")));
    match value.get("node") {
        Some(node) => Node::from_value(node),
        None => {
            let setup = Setup::from_value(get("setup")?)?;
            Ok(Node::new(setup, Instant::from_value(get("started")?)?))
        }
    }
}

/// The last heartbeats of either direction.
#[derive(Debug, Default)]
struct Heartbeats {
    heard: Value,
    sent: Value,
}

impl Heartbeats {
    /// The heartbeat in an entry, and the one before it.
    fn of<'a>(&'a mut self, entry: &'a mut Value) -> Option<(&'a mut Value, &'a mut Value)> {
        let heard = |event: &Value| event.get("HeartbeatReceived").is_some();
        if entry.get("event").is_some_and(heard) {
            let event = entry.get_mut("event")?.get_mut("HeartbeatReceived")?;
            return Some((event.get_mut("heartbeat")?, &mut self.heard));
        }
        Some((entry.get_mut("action")?.get_mut("SendHeartbeat")?, &mut self.sent))
    }
}

fn leave_out_the_same(heartbeat: &mut Value, last: &mut Value) {
    let whole = heartbeat.clone();
    if let Value::Fields(fields) = heartbeat {
        fields.retain(|(name, value)| last.get(name) != Some(value));
    }
    *last = whole;
}

fn put_in_the_same(heartbeat: &mut Value, last: &mut Value) {
    if let (Value::Fields(fields), Value::Fields(before)) = (&mut *heartbeat, &*last) {
        for (name, value) in before {
            if !fields.iter().any(|(known, _)| known == name) {
                fields.push((name.clone(), value.clone()));
            }
        }
    }
    last.clone_from(heartbeat);
}

impl Heading {
    fn to_value(&self) -> Value {
        let Heading { software, pair, node, zero, why } = self;
        let text = |name: &'static str, text: &str| (name.into(), Value::from(text));
        Value::Fields(vec![
            text("format", FORMAT),
            ("version".into(), VERSION.to_value()),
            text("software", software),
            text("pair", pair),
            text("node", node),
            text("zero", zero),
            text("why", why),
        ])
    }

    fn from_value(value: &Value) -> Result<Heading, Misfit> {
        let text = |name: &str| match value.get(name) {
            Some(Value::Text(text)) => Ok(text.to_string()),
            Some(_) | None => Err(Misfit(format!("{name} is missing"))),
        };
        if text("format")? != FORMAT {
            return Err(Misfit("this is not a duotone recording".into()));
        }
        match value.get("version") {
            Some(Value::Number(VERSION)) => {}
            other => {
                let found = other.map(json::text).unwrap_or_default();
                let what = format!("version {found}; this duotone reads version {VERSION}");
                return Err(Misfit(what));
            }
        }
        Ok(Heading {
            software: text("software")?,
            pair: text("pair")?,
            node: text("node")?,
            zero: text("zero")?,
            why: text("why")?,
        })
    }
}

impl Entry {
    fn to_value(&self) -> Value {
        Value::Fields(match self {
            Entry::Event(at, event) => {
                vec![("at".into(), at.to_value()), ("event".into(), event.to_value())]
            }
            Entry::Action(action) => vec![("action".into(), action.to_value())],
            Entry::Decided(authority, why) => {
                vec![("decided".into(), (*authority, *why).to_value())]
            }
        })
    }

    fn from_value(value: &Value) -> Result<Entry, Misfit> {
        if let Some(event) = value.get("event") {
            let at = value.get("at").ok_or_else(|| Misfit("at is missing".into()))?;
            return Ok(Entry::Event(Instant::from_value(at)?, Data::from_value(event)?));
        }
        if let Some(action) = value.get("action") {
            return Data::from_value(action).map(Entry::Action);
        }
        let decided = value.get("decided").ok_or_else(|| Misfit("nothing is in it".into()))?;
        let (authority, why) = Data::from_value(decided)?;
        Ok(Entry::Decided(authority, why))
    }
}
