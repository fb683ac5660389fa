//! The recent past of the core in memory, and what surrounds a change of role on disk, to be replayed
//! (`duotone replay`).
//!
//! The pulse gives every record to the journal anyway; here they are kept for a minute. A file is
//! written on a thread of its own, some seconds after the change, so that it has what came of it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};

use serde_json::Value;
use tokio::sync::oneshot;

use super::Shared;
use super::change::Kind;
use crate::adapters::clock;
use crate::adapters::control_socket::Reply;
use crate::adapters::recordings::Recordings;
use crate::config::Config;
use crate::protocol::node::Node;
use crate::protocol::time::{Duration, Instant};
use crate::pulse::report::{Record, Recorded};
use crate::recording::{Entry, Heading, Writer};

/// At least this much of the past is kept, if it is no more than `MOST` entries.
const KEPT: Duration = Duration::from_secs(60);
/// Five minutes of a pair with the times of `voice`, and some megabytes.
const MOST: usize = 30_000;
/// An incident is written when nothing more has happened for this long...
const SETTLED: Duration = Duration::from_secs(10);
/// ...or when it has gone on for this long.
const LONGEST: Duration = Duration::from_secs(40);
/// Attempts in vain are written no more often.
const VAIN_EVERY: Duration = Duration::from_secs(600);
/// How long the daemon's end waits for the disk.
const AT_THE_END: std::time::Duration = std::time::Duration::from_secs(3);

/// Keeps and writes.
pub struct Recorder {
    /// Oldest first; the first one has a node.
    chunks: VecDeque<Arc<Chunk>>,
    open: Chunk,
    /// Of the record that comes next, if none is lost.
    number: u64,
    incident: Option<Incident>,
    /// When an attempt that came to nothing was written last.
    vain: Option<Instant>,
    heading: Heading,
    to: Sender<Task>,
}

/// Entries one after the other; with the node as it was before them where it was recorded.
#[derive(Default)]
struct Chunk {
    begun: Instant,
    node: Option<Box<Node>>,
    entries: Vec<Entry>,
}

struct Incident {
    change: Kind,
    first: Instant,
    last: Instant,
}

struct Task {
    heading: Heading,
    chunks: Vec<Arc<Chunk>>,
    written: oneshot::Sender<Result<PathBuf, String>>,
}

impl Recorder {
    /// Starts the thread that writes into the configuration's state directory.
    pub fn begin(config: &Config) -> Recorder {
        let (to, tasks) = channel::<Task>();
        let recordings = Recordings::new(&config.state_dir);
        let write = move || {
            for task in tasks {
                let written = task.write(&recordings);
                match &written {
                    Ok(path) => tracing::info!("recorded: {}", path.display()),
                    Err(error) => tracing::error!("a recording cannot be written: {error}"),
                }
                // Nobody waits for what was not asked for.
                let _ = task.written.send(written);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("recorder".into()).spawn(write) {
            tracing::error!("no thread for recordings: {error}");
        }
        Recorder {
            chunks: VecDeque::new(),
            open: Chunk::default(),
            number: 0,
            incident: None,
            vain: None,
            heading: Heading {
                software: env!("CARGO_PKG_VERSION").to_owned(),
                pair: config.pair.clone(),
                node: config.name().to_owned(),
                zero: String::new(),
                why: String::new(),
            },
            to,
        }
    }

    /// Keeps a record, and forgets what is too old.
    pub fn keep(&mut self, record: Record) {
        let lost = record.number != self.number;
        self.number = record.number + 1;
        if lost || self.kept() >= MOST {
            // What is left could not be replayed, or is too much: the next node begins anew.
            self.chunks.clear();
            self.open = Chunk::default();
        }
        let entry = match record.what {
            Recorded::Node(node) => return self.begin_chunk(record.at, node),
            Recorded::Event(event) => Entry::Event(record.at, event),
            Recorded::Action(action) | Recorded::NotTaken(action) | Recorded::Rested(action) => {
                Entry::Action(action)
            }
            Recorded::Authority(authority, why) => Entry::Decided(authority, why),
            Recorded::LanTrouble(_) => return,
        };
        if self.open.node.is_some() || !self.chunks.is_empty() {
            self.open.entries.push(entry);
        }
    }

    fn kept(&self) -> usize {
        let closed: usize = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
        closed + self.open.entries.len()
    }

    fn begin_chunk(&mut self, at: Instant, node: Box<Node>) {
        self.close();
        self.open = Chunk { begun: at, node: Some(node), entries: Vec::new() };
        // The first chunk goes when what begins with a later node is enough.
        let enough = |chunk: &Arc<Chunk>| chunk.node.is_some() && at.since(chunk.begun) >= KEPT;
        while let Some(next) = self.chunks.iter().skip(1).position(enough) {
            self.chunks.drain(..=next);
        }
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.node.is_some() || !open.entries.is_empty() {
            self.chunks.push_back(Arc::new(open));
        }
    }

    /// Something happened that people will ask about. An attempt in vain may be repeated for days.
    pub fn incident(&mut self, at: Instant, change: Kind, in_vain: bool) {
        if in_vain {
            if self.vain.is_some_and(|last| at.since(last) < VAIN_EVERY) {
                return;
            }
            self.vain = Some(at);
        }
        let new = Incident { change, first: at, last: at };
        let incident = self.incident.get_or_insert(new);
        incident.last = at;
        // It is named after what this node did, if it did something.
        if change != Kind::PeerServes {
            incident.change = change;
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Instant) {
        let is_over = |incident: &Incident| {
            now.since(incident.last) >= SETTLED || now.since(incident.first) >= LONGEST
        };
        if let Some(incident) = self.incident.take_if(|incident| is_over(incident)) {
            self.write(incident.change.word());
        }
    }

    /// Writes what is kept; says where it is, or why not.
    fn write(&mut self, why: &str) -> oneshot::Receiver<Result<PathBuf, String>> {
        self.close();
        let (written, result) = oneshot::channel();
        let zero = jiff::Timestamp::now() - clock::now().since(Instant::ZERO);
        let heading =
            Heading { zero: zero.to_string(), why: why.to_owned(), ..self.heading.clone() };
        let task = Task { heading, chunks: self.chunks.iter().cloned().collect(), written };
        // Without the thread the receiver learns that nobody answers.
        let _ = self.to.send(task);
        result
    }
}

impl Task {
    fn write(&self, recordings: &Recordings) -> Result<PathBuf, String> {
        let first = self.chunks.first().and_then(|chunk| chunk.node.as_ref());
        let first = first.ok_or("nothing is recorded yet")?;
        let name = format!("{:.3}-{}", jiff::Timestamp::now(), self.heading.why).replace(':', "-");
        let write = |to: &mut dyn std::io::Write| {
            let mut writer = Writer::begin(to, &self.heading, first)?;
            for entry in self.chunks.iter().flat_map(|chunk| &chunk.entries) {
                writer.add(entry)?;
            }
            writer.end().map(drop)
        };
        recordings.add(&name, write).map_err(|error| error.to_string())
    }
}

/// The answer to `record`.
pub(super) async fn record(shared: &Shared) -> Reply {
    let written = {
        let mut journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.recorder.write("ordered")
    };
    match written.await {
        Ok(Ok(path)) => Reply::Done(Value::String(format!("recorded: {}", path.display()))),
        Ok(Err(error)) => Reply::Refused(format!("the recording cannot be written: {error}")),
        Err(_) => Reply::Refused("nobody writes recordings: the log says why".into()),
    }
}

/// The daemon ends: what was to be written later is written now, and what led to an end that nobody
/// ordered.
pub(super) async fn end(shared: &Shared, in_order: bool) {
    // The last records are on their way from the pulse.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let written = {
        let mut journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = journal.timeline.untold().map(|change| change.kind);
        let recorder = &mut journal.recorder;
        let change = untold.or(recorder.incident.take().map(|incident| incident.change));
        match (change, in_order) {
            (Some(change), true) => recorder.write(change.word()),
            (None, true) => return,
            (Some(_) | None, false) => recorder.write("failed"),
        }
    };
    if tokio::time::timeout(AT_THE_END, written).await.is_err() {
        tracing::error!("the last recording was not seen written");
    }
}
