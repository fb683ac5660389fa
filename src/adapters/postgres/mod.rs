//! The local PostgreSQL server: what it is doing, and the deeds done to it.
//!
//! [`Database::look`] says what is seen now; [`Database::perform`] does one deed and then looks.
//! Both hold no policy and never retry. What cannot be seen is `Unknown` or `None`.
//!
//! **Cancelling.** Either future may be dropped at any await. A statement that it left behind is
//! cancelled in the server, and its end awaited, before the next one is sent; a server process
//! that it started is remembered and ended by [`DatabaseDeed::StopNow`].
//!
//! **Never a primary by accident.** The server is started without `standby.signal` by
//! [`DatabaseDeed::StartInPlace`] alone, and not even then if that file says that it was a standby,
//! and isolated (`isolated.rs`) where nobody can reach it.
//!
//! Tested with PostgreSQL 15.

mod check;
mod connection;
mod control;
mod copying;
mod deeds;
mod divergence;
mod files;
mod isolated;
mod losing;
mod mark;
mod names;
mod pace;
mod probe;
mod process;
mod progress;
mod receiving;
mod rejoin;
mod source;
mod stopped;
mod synchronous;
mod tool;
mod trouble;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant as Deadline;
use tokio_postgres::SimpleQueryRow;

pub use check::Finding;
pub use probe::{PeerRole, is_stopped};
pub use progress::{Phase, Progress};
pub use trouble::Trouble;

use self::connection::{Answers, Warm, field, flag};
use self::names::{Waits, application_name};
use self::pace::Pace;
use self::receiving::Receiving;
use self::synchronous::Applied;
use crate::adapters::clock;
use crate::config::Postgres;
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::{DatabaseSeen, DatabaseState, Replica};
use crate::protocol::identity::NodeId;
use crate::protocol::log::{Fork, Log};
use crate::protocol::time::Instant;
use crate::protocol::timing::Timing;

const CHECKPOINT: &str = include_str!("../../../sql/checkpoint.sql");

/// The local server.
#[derive(Debug)]
pub struct Database {
    postgres: Postgres,
    own_name: String,
    /// The application name that duotone gives the peer's server.
    peer_node: String,
    /// The one under which it follows this server: seen, or else the same.
    peer_name: String,
    look_within: Duration,
    deed_within: Duration,
    /// How long an immediate shutdown may take before it is made a kill.
    quit_within: Duration,
    warm: Warm,
    /// The server that this value started, so that it is known before it can be seen in its
    /// directory, and reaped.
    started: Option<std::process::Child>,
    /// Where its early messages go; `None`: where this process's do.
    output: Option<std::fs::File>,
    /// Held by whoever changes the cluster's files, also when nobody waits for it any more.
    files: Arc<Mutex<()>>,
    forks: Option<(u32, Vec<Fork>)>,
    applied: Option<Applied>,
    trouble: Option<Trouble>,
    /// The peer no longer has the part of its log that this one needs next.
    gone: bool,
    receiving: Receiving,
    next_copy: Pace,
    next_salvage: Pace,
    progress: watch::Sender<Option<Progress>>,
}

impl Database {
    /// The server of node `me`. Nothing is done or asked yet.
    pub fn new(postgres: &Postgres, timing: &Timing, names: &[String; 2], me: NodeId) -> Database {
        let peer_name = application_name(&names[me.peer().index()]);
        Database {
            own_name: application_name(&names[me.index()]),
            warm: Warm::new(postgres, &peer_name),
            peer_node: peer_name.clone(),
            peer_name,
            look_within: timing
                .lost_after
                .clamp(Duration::from_millis(200), Duration::from_secs(1)),
            deed_within: timing.step_deadline,
            quit_within: (timing.release / 2)
                .clamp(Duration::from_millis(20), Duration::from_millis(500)),
            postgres: postgres.clone(),
            started: None,
            output: None,
            files: Arc::default(),
            forks: None,
            applied: None,
            trouble: None,
            gone: false,
            receiving: Receiving::default(),
            next_copy: Pace::AT_ONCE,
            next_salvage: Pace::AT_ONCE,
            progress: watch::Sender::new(None),
        }
    }

    /// Has the early messages of servers that it starts go to `output`: for a process that ends
    /// before they do, and whose own output nobody reads then.
    pub fn set_output(&mut self, output: std::fs::File) {
        self.output = Some(output);
    }

    /// How far a long deed has come, while there is one.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.subscribe()
    }

    /// Why the last look or deed saw or did less than everything.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What the server is doing now. Takes about a millisecond while it answers; ends within
    /// `lost_after` (200 ms to 1 s), and as long again for its processes, when it does not.
    pub async fn look(&mut self) -> DatabaseSeen {
        self.trouble = None;
        self.progress.send_replace(None);
        self.look_again().await
    }

    /// Does one deed, within `step_deadline` (a rejoin, and the end of one that was begun before a
    /// start as standby, take as long as they take), and then looks. Whatever went wrong shows in what
    /// is seen, and in [`Database::trouble`].
    pub async fn perform(&mut self, deed: DatabaseDeed) -> DatabaseSeen {
        self.trouble = None;
        let by = Deadline::now() + self.deed_within;
        let done = match deed {
            DatabaseDeed::StartAsStandby => self.start_as_standby(by).await,
            DatabaseDeed::Rejoin { common } => self.rejoin(common, by).await,
            DatabaseDeed::Follow => self.follow(by).await,
            DatabaseDeed::Promote => self.promote(by).await,
            DatabaseDeed::StartInPlace => self.start_in_place(by).await,
            DatabaseDeed::StopNow => self.stop_now(by).await,
            DatabaseDeed::StopCleanly => self.stop_cleanly(by).await,
            DatabaseDeed::Checkpoint => {
                self.warm.execute("writing a checkpoint", CHECKPOINT, by).await
            }
            DatabaseDeed::SetSynchronous(on) => self.set_synchronous(on, by).await,
        };
        self.progress.send_replace(None);
        self.trouble = done.err();
        self.look_again().await
    }

    /// Looks, and keeps the trouble of the deed before it, if there was one.
    async fn look_again(&mut self) -> DatabaseSeen {
        let at = clock::now();
        let by = Deadline::now() + self.look_within;
        let mut answers = self.warm.look(by).await;
        if answers.as_ref().is_err_and(Trouble::is_lost_connection) {
            // The loss of a kept connection says nothing yet about the server.
            answers = self.warm.look(by).await;
        }
        let seen = match answers {
            Ok(answers) => self.answered(at, &answers, by).await,
            Err(trouble) => Err(trouble),
        };
        match seen {
            Ok(seen) => seen,
            Err(trouble) => {
                let seen = self.unanswered(at, &trouble).await;
                // That a stopped server does not accept needs no reason.
                if seen.state != DatabaseState::Stopped
                    || !matches!(trouble, Trouble::Connect { .. })
                {
                    self.trouble.get_or_insert(trouble);
                }
                seen
            }
        }
    }

    /// The server answered.
    async fn answered(
        &mut self,
        at: Instant,
        answers: &Answers,
        by: Deadline,
    ) -> Result<DatabaseSeen, Trouble> {
        let look = &answers.look;
        let state = match flag(look, "in_recovery")? {
            true => DatabaseState::Standby,
            false => DatabaseState::Writable,
        };
        let replica = match state {
            DatabaseState::Writable => self.replica(look),
            _ => {
                // Whoever follows this server later will have been started by duotone.
                self.peer_name.clone_from(&self.peer_node);
                None
            }
        };
        let waits = Waits::parse(field(look, "standby_names")?, field(look, "synchronous_commit")?);
        let synchronous = match waits {
            Waits::ForNobody => Some(false),
            Waits::For(_) if waits.is_for(&self.peer_name) => Some(true),
            Waits::For(_) | Waits::ForOthers => None,
        };
        let applied = self.is_applied(look, by).await;
        let (log, system_id) = self.log(&answers.system).await;
        let streaming = state == DatabaseState::Standby
            && field(look, "receiver_status")? == "streaming"
            && self.is_peer(field(look, "sender_host")?)
            // A receiver that is about to be refused.
            && !self.gone;
        self.receiving.note(field(look, "receiver_pid")?, streaming);
        Ok(DatabaseSeen {
            at,
            state,
            synchronous: synchronous.filter(|_| applied),
            streaming,
            diverged: state == DatabaseState::Standby
                && !streaming
                && (self.gone || self.is_left_behind(log.as_ref()).await),
            log,
            replica,
            system_id,
        })
    }

    /// The peer's replica; learns under which name it is connected.
    fn replica(&mut self, look: &SimpleQueryRow) -> Option<Replica> {
        let name = field(look, "replica_name").ok()?;
        if name != self.peer_name {
            self.peer_name = name.to_owned();
        }
        // NULL until the replica has reported.
        let flush = field(look, "replica_flush").ok()?.parse().ok()?;
        let kind = field(look, "replica_sync").ok()?;
        Some(Replica { flush, synchronous: matches!(kind, "sync" | "quorum") })
    }

    /// A literal address must be the peer's; a name may well be.
    fn is_peer(&self, host: &str) -> bool {
        host.parse().map_or(true, |address: std::net::IpAddr| address == self.postgres.peer_host)
    }

    /// Timeline, end and forks, by `IDENTIFY_SYSTEM`: in recovery the server takes the received
    /// position only if it is past the replayed one and on the same timeline, as a lone received
    /// position begins anew at a segment boundary.
    async fn log(&mut self, system: &SimpleQueryRow) -> (Option<Log>, Option<u64>) {
        let system_id = field(system, "systemid").ok().and_then(|id| id.parse().ok());
        let timeline = field(system, "timeline").ok().and_then(|number| number.parse().ok());
        let position = field(system, "xlogpos").ok().and_then(files::parse_position);
        let (Some(timeline), Some(position)) = (timeline, position) else {
            return (None, system_id);
        };
        match self.forks(timeline).await {
            Ok(forks) => {
                let log = Log { timeline, position, forks, branch: None, unfinished: false };
                (Some(log), system_id)
            }
            Err(trouble) => {
                self.trouble.get_or_insert(trouble);
                (None, system_id)
            }
        }
    }

    async fn forks(&mut self, timeline: u32) -> Result<Vec<Fork>, Trouble> {
        if let Some((_, forks)) = self.forks.as_ref().filter(|(known, _)| *known == timeline) {
            return Ok(forks.clone());
        }
        let forks = self.on_disk(move |data_dir| files::forks(data_dir, timeline)).await??;
        self.forks = Some((timeline, forks.clone()));
        Ok(forks)
    }

    async fn is_left_behind(&self, log: Option<&Log>) -> bool {
        let Some(Log { timeline, position, .. }) = log else { return false };
        let (timeline, position) = (*timeline, *position);
        self.on_disk(move |data_dir| files::left_behind(data_dir, timeline, position))
            .await
            .unwrap_or(false)
    }

    /// The server did not answer: its processes say whether it is there at all.
    async fn unanswered(&mut self, at: Instant, why: &Trouble) -> DatabaseSeen {
        // Another start may bring another timeline's history or configuration.
        self.forks = None;
        self.applied = None;
        let state = match self.processes().await {
            Ok(processes) if processes.is_empty() && !self.is_being_born() => {
                DatabaseState::Stopped
            }
            Ok(_) => self.starting_or_unknown(why).await,
            Err(trouble) => {
                self.trouble.get_or_insert(trouble);
                DatabaseState::Unknown
            }
        };
        let log = match state {
            DatabaseState::Stopped => self.on_disk(files::stopped_log).await,
            _ => Ok(Ok(None)),
        };
        DatabaseSeen {
            at,
            state,
            synchronous: None,
            // A directory that cannot be read has no log; starting it will say why.
            log: log.ok().and_then(Result::ok).flatten(),
            streaming: false,
            diverged: false,
            replica: None,
            system_id: self.on_disk(files::system_id).await.ok().flatten(),
        }
    }

    async fn starting_or_unknown(&self, why: &Trouble) -> DatabaseState {
        let says = match self.on_disk(process::pid_file).await {
            Ok(Some(file)) => file.state,
            Ok(None) | Err(_) => String::new(),
        };
        match says.as_str() {
            "starting" | "standby" => DatabaseState::Starting,
            // A server that stops may still serve those who are connected.
            "stopping" => DatabaseState::Unknown,
            _ if why.is_cannot_connect_now() || self.is_being_born() => DatabaseState::Starting,
            _ => DatabaseState::Unknown,
        }
    }

    async fn processes(&self) -> Result<Vec<process::Process>, Trouble> {
        Ok(self.on_disk(process::scan).await??)
    }

    /// The server that this value started has not ended, though it may not be in its directory
    /// yet.
    fn is_being_born(&self) -> bool {
        self.started.as_ref().is_some_and(|child| process::is_pid_alive(child.id()))
    }

    /// Looks at files or processes without blocking the other tasks, and not for long.
    async fn on_disk<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let data_dir = self.postgres.data_dir.clone();
        let started = Deadline::now();
        let work = tokio::task::spawn_blocking(move || look(&data_dir));
        match tokio::time::timeout(self.look_within, work).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(_)) => Err(Trouble::Thread),
            Err(_) => Err(Trouble::Overdue {
                doing: "looking at its data directory",
                after: started.elapsed(),
            }),
        }
    }

    /// As [`Database::change_files`], for as long as it takes.
    async fn change_long(
        &self,
        change: impl FnOnce(&Path) -> Result<(), Trouble> + Send + 'static,
    ) -> Result<(), Trouble> {
        self.change_files(Deadline::now() + rejoin::LONG, change).await
    }

    /// Work on a disk that other tasks need not wait for.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        tokio::task::spawn_blocking(work).await.map_err(|_| Trouble::Thread)
    }

    /// Changes the cluster's files; one after another, even if the future that waits is dropped.
    async fn change_files(
        &self,
        by: Deadline,
        change: impl FnOnce(&Path) -> Result<(), Trouble> + Send + 'static,
    ) -> Result<(), Trouble> {
        let data_dir = self.postgres.data_dir.clone();
        let files = Arc::clone(&self.files);
        let started = Deadline::now();
        let work = tokio::task::spawn_blocking(move || {
            let _turn = files.lock().unwrap_or_else(PoisonError::into_inner);
            change(&data_dir)
        });
        match tokio::time::timeout_at(by, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Trouble::Thread),
            Err(_) => {
                Err(Trouble::Overdue { doing: "changing its files", after: started.elapsed() })
            }
        }
    }
}
