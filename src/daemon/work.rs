//! The node's slow actions: each is carried out, and what was seen goes back to the pulse.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Shared;
use super::fence;
use super::journal::Journal;
use super::{checks, gateways};
use crate::adapters::postgres::{Database, Finding};
use crate::adapters::state_file::StateFile;
use crate::protocol::action::{Action, DatabaseDeed};
use crate::protocol::durable::Durable;
use crate::protocol::event::{DatabaseState, Event, PeerPower, Ticket};
use crate::protocol::heartbeat::Stance;
use crate::protocol::identity::GroupId;
use crate::protocol::lead::Authority;
use crate::protocol::peer::Liveness;
use crate::pulse::queue::{Letter, Post, PostError};
use crate::pulse::report::{Outlets, Record, Snapshot};

/// Between two regular looks at the database, while something is to come of them.
const LOOK_OFTEN: Duration = Duration::from_millis(100);
/// The same, while the peer hands its role over: the end of its log is waited for.
const LOOK_AT_ONCE: Duration = Duration::from_millis(5);
/// The same, while the standby is certified and nothing is expected to change.
const LOOK_SELDOM: Duration = Duration::from_millis(300);

/// The running work; its latest view of the node.
pub(super) struct Work {
    pub snapshots: watch::Receiver<Option<Snapshot>>,
}

impl Work {
    /// Starts everything that answers the pulse. The state file gets a thread of its own: a disk
    /// that hangs must not keep the database from being stopped.
    pub fn begin(shared: &Arc<Shared>, state: StateFile, outlets: Outlets) -> Work {
        let Outlets { actions, snapshots: incoming, records } = outlets;
        let (latest, snapshots) = watch::channel(None);
        let saves = disk(state, shared.post.clone());
        let (deeds, inbox) = mpsc::unbounded_channel();
        tokio::task::spawn_local(database(Arc::clone(shared), inbox));
        tokio::task::spawn_local(services(Arc::clone(shared)));
        tokio::task::spawn_local(checks::tend(Arc::clone(shared), snapshots.clone()));
        tokio::task::spawn_local(gateways::tend(Arc::clone(shared)));
        let (fencing, orders) = mpsc::unbounded_channel();
        tokio::task::spawn_local(fence::tend(Arc::clone(shared), orders));
        tokio::task::spawn_local(dispatch(Arc::clone(shared), actions, saves, deeds, fencing));
        tokio::task::spawn_local(follow(Arc::clone(shared), records, incoming, latest));
        Work { snapshots }
    }
}

/// What the pulse reports, in its order: the records from before a snapshot are noted before it.
async fn follow(
    shared: Arc<Shared>,
    mut records: mpsc::Receiver<Record>,
    mut snapshots: mpsc::Receiver<Snapshot>,
    latest: watch::Sender<Option<Snapshot>>,
) {
    let note = |record: Record| {
        let mut journal = journal(&shared);
        journal.note(&record);
        journal.recorder.keep(record);
    };
    loop {
        let snapshot = tokio::select! {
            Some(record) = records.recv() => {
                note(record);
                continue;
            }
            Some(snapshot) = snapshots.recv() => snapshot,
            else => return,
        };
        while let Ok(record) = records.try_recv() {
            note(record);
        }
        let maintenance = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let services = shared.services.status();
        journal(&shared).snapshot(&snapshot, maintenance.as_ref(), &services);
        if latest.send(Some(snapshot)).is_err() {
            return;
        }
    }
}

async fn dispatch(
    shared: Arc<Shared>,
    mut actions: mpsc::Receiver<Action>,
    saves: std::sync::mpsc::Sender<(Ticket, Durable)>,
    deeds: mpsc::UnboundedSender<(Ticket, DatabaseDeed)>,
    fencing: mpsc::UnboundedSender<Ticket>,
) {
    while let Some(action) = actions.recv().await {
        match action {
            Action::SaveState { ticket, state } => {
                if saves.send((ticket, state)).is_err() {
                    tell(&shared.post, Event::StateSaved { ticket, saved: None }).await;
                }
            }
            Action::Database { ticket, deed } => {
                if deeds.send((ticket, deed)).is_err() {
                    // The step becomes overdue: the node knows.
                    tracing::error!("nobody tends the database any more");
                }
            }
            Action::Services { group: _, goal } => shared.services.set_goal(goal),
            Action::PowerOffPeer { ticket } => {
                if fencing.send(ticket).is_err() {
                    let power = PeerPower::Unknown;
                    tell(&shared.post, Event::FenceReported { ticket, power }).await;
                }
            }
            // The pulse does these itself.
            Action::SendHeartbeat(_)
            | Action::AskWitness(_)
            | Action::ProbeLan { .. }
            | Action::HoldAddresses { .. }
            | Action::ReleaseAddresses { .. }
            | Action::Announce { .. } => {}
        }
    }
}

/// Writes states one after the other; each ends in what was read back.
fn disk(state: StateFile, post: Post) -> std::sync::mpsc::Sender<(Ticket, Durable)> {
    let (sender, orders) = std::sync::mpsc::channel::<(Ticket, Durable)>();
    let write = move || {
        for (ticket, durable) in orders {
            let saved = match state.save(&durable) {
                Ok(saved) => Some(saved),
                Err(error) => {
                    tracing::error!("{error}");
                    None
                }
            };
            let mut letter = Letter::Event(Event::StateSaved { ticket, saved });
            while let Err(PostError::Full(back)) = post.send(letter) {
                letter = *back;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("state".into()).spawn(write) {
        // The sender's other end is gone: every save is answered with "not known".
        tracing::error!("no thread for the state file: {error}");
    }
    sender
}

/// One deed at a time; a later one cancels an earlier one; between them, regular looks.
async fn database(
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<(Ticket, DatabaseDeed)>,
) {
    let Some(mut database) = server(&shared) else { return };
    journal(&shared).progress = Some(database.progress());
    let mut look_at = tokio::time::Instant::now();
    let mut next = None;
    let mut said = String::new();
    let mut checked = false;
    loop {
        let order = match next.take() {
            Some(order) => Some(order),
            None => tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = tokio::time::sleep_until(look_at) => None,
            },
        };
        look_at = tokio::time::Instant::now() + pause(&shared);
        let Some((ticket, deed)) = order else {
            let seen = tokio::select! {
                biased;
                order = orders.recv() => { next = order; None }
                seen = database.look() => Some(seen),
            };
            note_trouble(&shared, &database, &mut said);
            if let Some(seen) = seen {
                let answers =
                    matches!(seen.state, DatabaseState::Standby | DatabaseState::Writable);
                tell(&shared.post, Event::DatabaseSeen { ticket: None, seen }).await;
                if answers && !checked && next.is_none() {
                    tokio::select! {
                        biased;
                        order = orders.recv() => next = order,
                        findings = database.check() => checked = told(&findings),
                    }
                }
            }
            continue;
        };
        let seen = tokio::select! {
            biased;
            order = orders.recv() => { next = order; None }
            seen = database.perform(deed) => Some(seen),
        };
        note_trouble(&shared, &database, &mut said);
        // A cancelled deed ends in what is seen, like every other.
        let seen = match seen {
            Some(seen) => seen,
            None => database.look().await,
        };
        tell(&shared.post, Event::DatabaseSeen { ticket: Some(ticket), seen }).await;
    }
}

/// What the server's configuration lacks, once; false when it could not be looked at.
fn told(findings: &[Finding]) -> bool {
    if findings.iter().any(|finding| matches!(finding, Finding::NotReachable(_))) {
        return false;
    }
    for finding in findings {
        tracing::warn!("database: {finding}");
    }
    true
}

fn pause(shared: &Shared) -> Duration {
    let journal = journal(shared);
    let Some(status) = journal.latest.as_ref().map(|snapshot| &snapshot.status) else {
        return LOOK_OFTEN;
    };
    let lets_go = status.peer_says.as_ref().is_some_and(|peer| match peer.stance {
        Stance::Handing => true,
        Stance::Active => peer.groups.iter().any(|group| !group.serving),
        _ => false,
    });
    if lets_go && status.authority == Authority::Standby && status.peer == Liveness::Alive {
        LOOK_AT_ONCE
    } else if status.certifying || status.certificate_ends.is_some() {
        LOOK_SELDOM
    } else {
        LOOK_OFTEN
    }
}

/// A lasting trouble is one line, not ten a second.
fn note_trouble(shared: &Shared, database: &Database, said: &mut String) {
    let now = database.trouble().map(ToString::to_string).unwrap_or_default();
    if now != *said && !now.is_empty() {
        tracing::warn!("database: {now}");
    }
    if now != *said {
        journal(shared).database_trouble = (!now.is_empty()).then(|| now.clone());
    }
    *said = now;
}

fn journal(shared: &Shared) -> MutexGuard<'_, Journal> {
    shared.journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server(shared: &Shared) -> Option<Database> {
    let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
    let postgres = config.postgres.as_ref()?;
    Some(Database::new(postgres, &config.timing, &config.names, config.me))
}

async fn services(shared: Arc<Shared>) {
    let mut seen = shared.services.seen();
    while seen.changed().await.is_ok() {
        let now = *seen.borrow_and_update();
        if let Some(seen) = now {
            tell(&shared.post, Event::ServicesSeen { group: GroupId::MAIN, seen }).await;
        }
    }
}

/// Gives the pulse an event, waiting for room. A pulse that has ended needs none.
pub(super) async fn tell(post: &Post, event: Event) {
    self::post(post, Letter::Event(event)).await;
}

/// The same with any letter.
pub(super) async fn post(post: &Post, mut letter: Letter) {
    while let Err(PostError::Full(back)) = post.send(letter) {
        letter = *back;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
