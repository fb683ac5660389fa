//! The recent past of the core in memory, and what surrounds a change of role on disk, to be replayed
//! (`duotone replay`).
//!
//! The pulse gives every record to the journal anyway; here they are kept for a minute. A file is
//! written on a thread of its own, some seconds after the change, so that it has what came of it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
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
/// So many may wait for a slow disk: each keeps its past in memory.
const WAITING: usize = 2;
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
    to: SyncSender<Task>,
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
        let (to, tasks) = sync_channel::<Task>(WAITING);
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
        let heading = Heading {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            pair: config.pair.clone(),
            node: config.name().to_owned(),
            zero: String::new(),
            why: String::new(),
        };
        Recorder::new(heading, to)
    }

    fn new(heading: Heading, to: SyncSender<Task>) -> Recorder {
        Recorder {
            chunks: VecDeque::new(),
            open: Chunk::default(),
            number: 0,
            incident: None,
            vain: None,
            heading,
            to,
        }
    }

    /// Keeps a record, and forgets what is too old.
    pub fn keep(&mut self, record: Record) {
        let lost = record.number != self.number;
        self.number = record.number + 1;
        if lost {
            // What is left could not be replayed: the next node begins anew.
            self.chunks.clear();
            self.open = Chunk::default();
        } else if self.kept() >= MOST {
            self.forget_oldest();
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

    /// Forgets up to the next node: what has none before it could not be replayed.
    fn forget_oldest(&mut self) {
        match self.chunks.iter().skip(1).position(|chunk| chunk.node.is_some()) {
            Some(next) => drop(self.chunks.drain(..=next)),
            None => {
                self.chunks.clear();
                if self.open.node.is_none() || self.open.entries.len() >= MOST {
                    self.open = Chunk::default();
                }
            }
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
        // The receiver learns that nobody answers.
        if let Err(error) = self.to.try_send(task) {
            tracing::error!("a recording is not written: {error}");
        }
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

/// The daemon ends in order: what was to be written later is written now.
pub(super) async fn end(shared: &Shared) {
    // The last records are on their way from the pulse.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let written = {
        let mut journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = journal.timeline.untold().map(|change| change.kind);
        let recorder = &mut journal.recorder;
        let change = untold.or(recorder.incident.take().map(|incident| incident.change));
        let Some(change) = change else { return };
        recorder.write(change.word())
    };
    if tokio::time::timeout(AT_THE_END, written).await.is_err() {
        tracing::error!("the last recording was not seen written");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::config::preset::Preset;
    use crate::protocol::arbiter::Arbitration;
    use crate::protocol::event::Event;
    use crate::protocol::identity::{NodeId, Session};
    use crate::protocol::moves::Policy;
    use crate::protocol::node::{Durability, Setup};
    use crate::recording::{self, Recording};

    fn node(at: Instant) -> Box<Node> {
        let setup = Setup {
            me: NodeId::A,
            session: Session(1),
            timing: Preset::Voice.timing(),
            durability: Durability::Available,
            database: false,
            rejoin: true,
            groups: 1,
            refresh: None,
            durable: None,
            software: [0, 1, 0],
            config_hash: 1,
            dark_standby: false,
            references: true,
            policy: Policy::DEFAULT,
            arbitration: Arbitration::LAN,
        };
        Box::new(Node::new(setup, at))
    }

    fn recorder() -> (Recorder, Receiver<Task>) {
        let (to, tasks) = sync_channel(WAITING);
        let text = String::new;
        let heading =
            Heading { software: text(), pair: text(), node: text(), zero: text(), why: text() };
        (Recorder::new(heading, to), tasks)
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Ten ticks a second, and a node every ten seconds.
    fn run(recorder: &mut Recorder, seconds: std::ops::Range<u64>) {
        for tenth in seconds.start * 10..seconds.end * 10 {
            let at = at(tenth * 100);
            if tenth % 100 == 0 {
                keep(recorder, at, Recorded::Node(node(at)));
            }
            keep(recorder, at, Recorded::Event(Event::Tick));
        }
    }

    fn keep(recorder: &mut Recorder, at: Instant, what: Recorded) {
        let number = recorder.number;
        recorder.keep(Record { number, at, what });
    }

    /// What is written, read back.
    fn written(recorder: &mut Recorder, tasks: &Receiver<Task>) -> Recording {
        // Nobody waits for it here.
        drop(recorder.write("test"));
        let task = tasks.try_recv().unwrap();
        // Tests run side by side.
        let thread = std::thread::current().id();
        let scratch = format!("dtrecorder{}-{thread:?}", std::process::id());
        let scratch = std::env::temp_dir().join(scratch);
        let path = task.write(&Recordings::new(&scratch)).unwrap();
        let found = recording::read(&std::fs::read(path).unwrap()).unwrap();
        let _ = std::fs::remove_dir_all(scratch);
        found
    }

    fn first(found: &Recording) -> Instant {
        match found.entries.first() {
            Some(Entry::Event(at, _)) => *at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_minute_is_kept_and_begins_with_a_node() {
        let (mut recorder, tasks) = recorder();
        run(&mut recorder, 0..30);
        let found = written(&mut recorder, &tasks);
        assert_eq!((first(&found), found.entries.len()), (at(0), 300));
        // What was written stays: the next file needs it as well.
        run(&mut recorder, 30..205);
        let found = written(&mut recorder, &tasks);
        assert_eq!((first(&found), found.entries.len()), (at(140_000), 650));
        assert_eq!(found.node.began().1, at(140_000));
    }

    #[test]
    fn what_follows_a_gap_begins_with_the_next_node() {
        let (mut recorder, tasks) = recorder();
        run(&mut recorder, 0..15);
        let number = recorder.number + 1;
        recorder.keep(Record { number, at: at(15_000), what: Recorded::Event(Event::Tick) });
        run(&mut recorder, 16..25);
        let found = written(&mut recorder, &tasks);
        assert_eq!((first(&found), found.entries.len()), (at(20_000), 50));
    }

    #[test]
    fn a_flood_does_not_fill_the_memory() {
        let (mut recorder, _tasks) = recorder();
        run(&mut recorder, 0..1);
        for _ in 0..MOST * 3 {
            keep(&mut recorder, at(1000), Recorded::Event(Event::Tick));
            assert!(recorder.kept() <= MOST);
        }
        // The oldest goes, not the newest.
        let (mut recorder, tasks) = self::recorder();
        run(&mut recorder, 0..25);
        while recorder.kept() < MOST {
            keep(&mut recorder, at(25_000), Recorded::Event(Event::Tick));
        }
        keep(&mut recorder, at(25_000), Recorded::Event(Event::Tick));
        assert_eq!(first(&written(&mut recorder, &tasks)), at(10_000));
        assert!(size_of::<Entry>() * MOST < 16 << 20, "{} bytes each", size_of::<Entry>());
    }

    #[test]
    fn an_incident_is_written_when_it_is_over_and_vain_ones_seldom() {
        let (mut recorder, tasks) = recorder();
        let minutes = |minutes: u64| at(minutes * 60_000);
        let written_after = |recorder: &mut Recorder, span: u64, begun: Instant| {
            recorder.tick(begun + Duration::from_secs(span));
            tasks.try_recv().ok().map(|task| task.heading.why)
        };
        recorder.incident(minutes(1), Kind::Takeover, false);
        recorder.incident(minutes(1) + Duration::from_secs(5), Kind::PeerServes, false);
        assert_eq!(written_after(&mut recorder, 14, minutes(1)), None);
        assert_eq!(written_after(&mut recorder, 15, minutes(1)).as_deref(), Some("takeover"));
        for second in 0..45 {
            let now = minutes(2) + Duration::from_secs(second);
            recorder.incident(now, Kind::Takeover, false);
        }
        assert!(written_after(&mut recorder, 44, minutes(2)).is_some(), "at the longest 40 s");
        recorder.incident(minutes(10), Kind::Takeover, true);
        assert!(written_after(&mut recorder, 10, minutes(10)).is_some());
        recorder.incident(minutes(11), Kind::Takeover, true);
        assert!(written_after(&mut recorder, 10, minutes(11)).is_none());
        recorder.incident(minutes(21), Kind::Takeover, true);
        assert!(written_after(&mut recorder, 10, minutes(21)).is_some());
    }
}
