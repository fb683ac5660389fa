//! `ocf:duotone:postgres`: a PostgreSQL pair as a promotable clone.
//!
//! It decides nothing that the cluster decides. What it adds: a start that always ends in a standby
//! and brings back by itself what has left the primary's log ([`start`]), marks that say who holds
//! every acknowledged row ([`tend`]), and a promotion that goes by them ([`gate`]).

mod cluster;
mod gate;
mod monitor;
mod notice;
mod notify;
mod promote;
mod score;
mod setup;
mod start;
mod state;
mod stop;
mod tend;
mod validate;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::cluster::Cluster;
use self::notice::Notice;
use self::setup::Setup;
use super::Agent;
use super::action::{Action, Offer};
use super::call::Call;
use super::code::{Answer, Code};
use super::parameter::Reader;
use crate::adapters::owner::{Refused, Resource};
use crate::adapters::postgres::{self, Database};
use crate::protocol::event::{DatabaseSeen, DatabaseState};

/// The agent.
pub const AGENT: Agent = Agent {
    name: "postgres",
    short: "PostgreSQL primary and standby on two nodes",
    long: "Runs PostgreSQL 15 on two nodes as a promotable clone (clone-max=2, promoted-max=1, \
           notify=true): one primary, and one standby that commits wait for. It needs fencing. \
           \n\nA start always ends in a standby. A server that crashed as the primary comes back by \
           itself: the rows that it alone has are written to salvage_dir, then it is rewound (or \
           copied anew) and follows. That takes as long as it takes, so the start's timeout is long; \
           a start that was killed is gone on with by the next one. \
           \n\nA server is promoted when it is known to hold every acknowledged row, or when its log \
           is not behind that of the other one, which is asked; otherwise durability decides. \
           Commits stop waiting for the standby when the cluster has stopped it or fenced its host, \
           and wait again when it streams. While both hosts are members and replication is cut they \
           wait until the standby's monitor gives it up. \
           \n\nMonitor, depth 0: the server answers in its role; degraded (190, 191) is a standby \
           that does not stream, and a primary that has no standby. Depth 10 writes a little to \
           the log and to the disk as well, which finds a disk that hangs. \
           \n\nThe server is started by the cluster alone: disable its own service. The daemon \
           (duotone run) must not run for the same data directory.",
    parameters: setup::PARAMETERS,
    offers: &[
        Offer::once(Action::Start, 3600),
        Offer::once(Action::Stop, 120),
        Offer::once(Action::Promote, 60),
        Offer::once(Action::Demote, 120),
        Offer { interval: 10, role: "Promoted", ..Offer::once(Action::Monitor, 30) },
        Offer { interval: 11, role: "Unpromoted", ..Offer::once(Action::Monitor, 30) },
        Offer { interval: 30, depth: 10, role: "Promoted", ..Offer::once(Action::Monitor, 30) },
        Offer::once(Action::Notify, 60),
        Offer::once(Action::ValidateAll, 20),
        Offer::once(Action::MetaData, 5),
    ],
    perform,
};

const POLL: Duration = Duration::from_millis(100);

/// The instance on this node, for one action.
struct Instance {
    setup: Setup,
    call: Call,
    cluster: Cluster,
    notice: Notice,
    database: Database,
    /// A regular monitor of the cluster that has started it; otherwise it is asked what is there.
    regular: bool,
}

fn perform(action: Action, mut reader: Reader<'_>) -> Result<Code, Answer> {
    let setup = Setup::read(&mut reader);
    let call = Call::read(&reader);
    let notice = Notice::read(&reader);
    let [me, peer] = [setup.me, setup.me.peer()].map(|node| &setup.names[node.index()]);
    let cluster = Cluster::read(&reader, &call.instance, me, peer);
    let interval = reader.variable("OCF_RESKEY_CRM_meta_interval");
    let regular = cluster.is_there() && interval.is_some_and(|interval| interval != "0");
    if let Err(wrong) = reader.finish() {
        // A stop that fails has the host fenced, and what does not run needs no stop.
        let is_done = action == Action::Stop && postgres::is_stopped(&setup.postgres.data_dir);
        return if is_done { Ok(Code::Success) } else { Err(wrong) };
    }
    // A second logger in one process is that of a test.
    let _ = crate::logging::start(false);
    let database = Database::new(&setup.postgres, &Setup::timing(&call), &setup.names, setup.me);
    let mut instance = Instance { setup, call, cluster, notice, database, regular };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Answer::new(Code::Generic, format!("no runtime: {error}")))?;
    let answer = runtime.block_on(instance.perform(action));
    // A disk that hangs keeps a thread, which must not keep the answer.
    runtime.shutdown_background();
    answer
}

impl Instance {
    /// Answers before the cluster kills it.
    async fn perform(&mut self, action: Action) -> Result<Code, Answer> {
        let within = self.call.left(Duration::MAX);
        let done = timeout(within, async {
            match action {
                Action::Start => self.start().await,
                Action::Stop => self.stop().await,
                Action::Monitor => self.monitor().await,
                Action::Promote => self.promote().await,
                Action::Demote => self.demote().await,
                Action::Notify => Ok(self.notify().await),
                Action::ValidateAll => self.validate().await.map(|()| Code::Success),
                Action::ReloadAgent | Action::MetaData => Ok(Code::Unimplemented),
            }
        });
        done.await.unwrap_or_else(|_| {
            let reason = format!(
                "{} did not end within {} s; the next one goes on from here (a longer timeout for \
                 it may help)",
                action.word(),
                within.as_secs()
            );
            Err(Answer::new(Code::Generic, reason))
        })
    }

    /// Looks until the server answers, is gone, or half of the time is over: one that is starting,
    /// or busy for a moment, has not failed.
    async fn settled(&mut self) -> DatabaseSeen {
        let by = Instant::now() + self.call.left(Duration::MAX) / 2;
        loop {
            let seen = self.database.look().await;
            let answers = match seen.state {
                DatabaseState::Stopped | DatabaseState::Standby | DatabaseState::Writable => true,
                DatabaseState::Starting | DatabaseState::Unknown => false,
            };
            if answers || Instant::now() >= by {
                return seen;
            }
            sleep(POLL).await;
        }
    }

    /// Whether the other instance runs, as the cluster says.
    async fn is_peer_running(&self) -> Result<bool, Answer> {
        match self.notice.is_running(&self.cluster.peer) {
            Some(told) => Ok(told),
            None => self.cluster.is_peer_running().await,
        }
    }

    /// Servers that this action starts outlive it, and so does what they say.
    fn keep_output(&mut self) -> Result<(), Answer> {
        let path = &self.setup.log_file;
        let open = || {
            let mut options = OpenOptions::new();
            // The directory may be the database user's, who could have put a link there.
            options.append(true).create(true).mode(0o640).custom_flags(libc::O_NOFOLLOW);
            options.open(path)
        };
        let file = open().map_err(|error| {
            let reason = format!("log_file = {}: {error}", path.display());
            Answer::new(Code::Installed, reason)
        })?;
        self.database.set_output(file);
        Ok(())
    }

    /// What the daemon and the agents may not both manage.
    fn resources(&self) -> [Resource; 1] {
        [Resource::DataDirectory(self.setup.postgres.data_dir.clone())]
    }

    /// What was seen instead of what was wanted, and why.
    fn failure(&self, seen: &DatabaseSeen, wanted: &str) -> Answer {
        let state = match seen.state {
            DatabaseState::Unknown => "cannot be looked at",
            DatabaseState::Stopped => "is not running",
            DatabaseState::Starting => "is starting",
            DatabaseState::Standby => "is a standby",
            DatabaseState::Writable => "is a primary",
        };
        let why = match self.database.trouble() {
            Some(trouble) => format!(": {trouble}"),
            None => String::new(),
        };
        Answer::new(Code::Generic, format!("{wanted}: the server {state}{why}"))
    }
}

fn owned(refused: Refused) -> Answer {
    let code = match refused {
        Refused::Daemon { .. } | Refused::Agent { .. } => Code::Configured,
        Refused::Io(_) => Code::Generic,
    };
    Answer::new(code, refused.to_string())
}
