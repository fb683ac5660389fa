//! What a takeover from a dead host cut: its last lists beside what lives on this node now. A call
//! of the last list that this node's own command does not list within `settle` was cut; who was
//! registered there is looked for here until everybody is seen.
//!
//! Kept on disk as soon as the role is taken, so that a restart of the daemon loses nothing.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::Shared;
use super::change::Kind as ChangeKind;
use super::lists::{self, Kind, Seen};
use crate::adapters::clock;
use crate::adapters::control_socket::Reply;
use crate::adapters::live::{self, Entry, Listing};
use crate::adapters::takeovers_file::{self, Closed, Expected, Fate, Scoreboard, Takeover};
use crate::config::Calls;
use crate::protocol::lead::Authority;
use crate::protocol::time::Instant;

/// So many takeovers are kept.
const KEPT: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A scoreboard that changes is written so often at most.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The takeovers that are kept, newest last.
pub type Takeovers = Mutex<Vec<Takeover>>;

/// What is on disk at the daemon's start.
pub fn at_start(directory: &std::path::Path) -> Vec<Takeover> {
    takeovers_file::load(directory).unwrap_or_else(|error| {
        tracing::error!("what earlier takeovers cut cannot be read: {error}");
        Vec::new()
    })
}

/// The newest takeover, as it is followed.
struct Following {
    /// When it was, or when this daemon has found it on disk.
    since: Instant,
    /// Calls that were listed here since.
    alive: HashSet<String>,
    /// The newest list that was looked at, of each kind.
    looked: [Option<Instant>; 2],
    written: Instant,
    unwritten: bool,
}

impl Following {
    fn from(since: Instant) -> Following {
        Following {
            since,
            alive: HashSet::new(),
            looked: [None; 2],
            written: since,
            unwritten: false,
        }
    }
}

/// Follows each takeover to its end.
pub(super) async fn tend(shared: Arc<Shared>, calls: Arc<Calls>) {
    let mut following = Following::from(clock::now());
    let mut last = None;
    loop {
        sleep(LOOK_EVERY).await;
        match lists::authority(&shared) {
            Some(Authority::Active) => {}
            Some(Authority::Standby) if lose(&shared) => {
                write(&shared).await;
                continue;
            }
            Some(_) | None => continue,
        }
        match came(&shared) {
            Came::Taken(at, term) if last != Some(at) => {
                last = Some(at);
                following = Following::from(at);
                note(&shared, term, at);
                write(&shared).await;
            }
            Came::Taken(..) | Came::Unknown => {}
            Came::InOrder => drop(shared.lists.take_peers()),
        }
        look(&shared, &calls, &mut following).await;
    }
}

/// How this node came to serve.
enum Came {
    /// By a takeover from a silent peer, which ended then, under this term.
    Taken(Instant, Option<String>),
    /// With the peer's knowledge: what it told of its time in the role is over.
    InOrder,
    /// The change is not complete in the journal yet.
    Unknown,
}

fn came(shared: &Shared) -> Came {
    let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(change) = journal.timeline.change() else { return Came::Unknown };
    match (change.kind, change.outcome, change.ended) {
        (ChangeKind::Takeover, Some("serves"), Some(at)) => {
            Came::Taken(at, change.term.map(|term| term.to_string()))
        }
        (ChangeKind::Takeover, _, _) => Came::Unknown,
        (_, _, _) => Came::InOrder,
    }
}

/// Writes down what the peer last told.
fn note(shared: &Shared, term: Option<String>, at: Instant) {
    let [calls, endpoints] = shared.lists.take_peers();
    let age = |seen: &Seen| at.since(seen.at).as_millis() as u64;
    let age_ms = calls.as_ref().map(age);
    let listing = calls.map(|seen| (*seen.listing).clone()).unwrap_or_default();
    let mut kept = locked(shared);
    // Names of phones are of use only as long as they may come back.
    kept.iter_mut().for_each(|earlier| earlier.endpoints = None);
    let wall = jiff::Timestamp::now() - clock::now().since(at);
    kept.push(Takeover {
        time: wall.to_string(),
        from: shared.peer_name(),
        term,
        calls: if age_ms.is_some() { Fate::Waiting } else { Fate::Unknown },
        list_age_ms: age_ms,
        were_up: listing.count(),
        unnamed: listing.left_out,
        go_on: 0,
        list: listing.entries,
        closed: None,
        endpoints: endpoints.map(|seen| Scoreboard {
            list_age_ms: age(&seen),
            unnamed: seen.listing.left_out,
            expected: expected(&seen.listing),
        }),
    });
    let surplus = kept.len().saturating_sub(KEPT);
    kept.drain(..surplus);
}

fn expected(listing: &Listing) -> Vec<Expected> {
    listing.entries.iter().map(|entry| Expected { entry: entry.clone(), seen_ms: None }).collect()
}

/// This node does not serve: what it does not know yet it will not learn. False when it knows.
fn lose(shared: &Shared) -> bool {
    let mut lost = false;
    for takeover in locked(shared).iter_mut().filter(|one| one.calls == Fate::Waiting) {
        takeover.calls = Fate::Unknown;
        lost = true;
    }
    lost
}

/// Compares with the newest lists of this node.
async fn look(shared: &Shared, calls: &Calls, following: &mut Following) {
    let now = clock::now();
    for kind in Kind::ALL {
        let newer = |seen: &Seen| {
            seen.at >= following.since && following.looked[kind as usize] != Some(seen.at)
        };
        let Some(seen) = shared.lists.own(kind).filter(newer) else { continue };
        following.looked[kind as usize] = Some(seen.at);
        let ids = seen.listing.entries.iter().map(|entry| live::id(entry).to_owned());
        match kind {
            Kind::Calls => following.alive.extend(ids),
            Kind::Endpoints => {
                let ms = seen.at.since(following.since).as_millis() as u64;
                following.unwritten |= see(shared, &ids.collect(), ms);
            }
        }
    }
    // Without one list of its own a node knows nothing of what lives.
    let settled = now.since(following.since) >= calls.settle;
    if settled && following.looked[Kind::Calls as usize].is_some() && told(shared, &following.alive)
    {
        write(shared).await;
        if calls.close.is_some() {
            close(shared, calls).await;
        }
    }
    if following.unwritten && now.since(following.written) >= WRITE_EVERY {
        write(shared).await;
        (following.unwritten, following.written) = (false, now);
    }
}

/// Which phones are seen for the first time.
fn see(shared: &Shared, ids: &BTreeSet<String>, ms: u64) -> bool {
    let mut kept = locked(shared);
    let Some(board) = kept.last_mut().and_then(|newest| newest.endpoints.as_mut()) else {
        return false;
    };
    let mut news = false;
    for one in board.expected.iter_mut().filter(|one| one.seen_ms.is_none()) {
        if ids.contains(live::id(&one.entry)) {
            one.seen_ms = Some(ms);
            news = true;
        }
    }
    news
}

/// What was waited for is told now; false when nothing was.
fn told(shared: &Shared, alive: &HashSet<String>) -> bool {
    let mut kept = locked(shared);
    let Some(newest) = kept.last_mut().filter(|newest| newest.calls == Fate::Waiting) else {
        return false;
    };
    let named = newest.list.len();
    newest.list = cut(std::mem::take(&mut newest.list), alive);
    newest.go_on = (named - newest.list.len()) as u64;
    newest.calls = Fate::Told;
    let (count, from) = (newest.list.len(), &newest.from);
    tracing::warn!("{count} calls of {from} were cut by the takeover, {} go on", newest.go_on);
    true
}

/// Those that are not alive.
fn cut(list: Vec<Entry>, alive: &HashSet<String>) -> Vec<Entry> {
    list.into_iter().filter(|entry| !alive.contains(live::id(entry))).collect()
}

/// Closes the records of every takeover whose records are not closed; what could be closed and what
/// not, in words.
async fn close(shared: &Shared, calls: &Calls) -> Vec<Result<String, String>> {
    let Some(command) = &calls.close else { return Vec::new() };
    let open: Vec<(String, Vec<Entry>)> = {
        let kept = locked(shared);
        let open = kept.iter().filter(|one| {
            let closed = one.closed.as_ref().is_some_and(|closed| closed.done);
            one.calls == Fate::Told && !one.list.is_empty() && !closed
        });
        open.map(|one| (one.time.clone(), one.list.clone())).collect()
    };
    let mut came = Vec::new();
    for (time, list) in open {
        let count = list.len();
        let trouble = live::tell(command, &list, calls.close_timeout).await.err();
        let trouble = trouble.map(|error| error.to_string());
        came.push(match &trouble {
            None => Ok(format!("the records of {count} calls that were cut at {time} are closed")),
            Some(trouble) => Err(format!("the records of {time} are not closed: {trouble}")),
        });
        let mut kept = locked(shared);
        if let Some(one) = kept.iter_mut().find(|one| one.time == time) {
            let now = jiff::Timestamp::now().to_string();
            one.closed = Some(Closed { done: trouble.is_none(), time: now, trouble });
        }
    }
    for one in &came {
        match one {
            Ok(done) => tracing::info!("{done}"),
            Err(trouble) => tracing::error!("{trouble}; again: duotone calls close"),
        }
    }
    if !came.is_empty() {
        write(shared).await;
    }
    came
}

/// By order of a person.
pub async fn close_by_order(shared: &Shared) -> Reply {
    let calls = shared.config.lock().unwrap_or_else(PoisonError::into_inner).calls.clone();
    let Some(calls) = calls.filter(|calls| calls.close.is_some()) else {
        return Reply::Refused(
            "nothing closes records here: write close = [\"/…\"] into [calls]".into(),
        );
    };
    let came = close(shared, &calls).await;
    let words: Vec<&str> =
        came.iter().map(|one| one.as_ref().map_or_else(String::as_str, String::as_str)).collect();
    match came.iter().all(Result::is_ok) {
        true if came.is_empty() => Reply::Done(Value::String("no record is open".into())),
        true => Reply::Done(Value::String(words.join("\n"))),
        false => Reply::Refused(words.join("\n")),
    }
}

/// What was cut, for people and programs: every takeover in short, and the `n`-th newest in full.
pub fn data(shared: &Shared, n: usize) -> Value {
    let kept = locked(shared);
    let wanted = kept.len().checked_sub(n).and_then(|at| kept.get(at));
    json!({
        "takeovers": kept.iter().rev().map(|one| json!({
            "time": one.time, "from": one.from, "term": one.term, "calls": one.calls,
            "were_up": one.were_up, "go_on": one.go_on,
            "cut": (one.calls == Fate::Told).then_some(one.list.len()),
            "closed": one.closed.as_ref().map(|closed| closed.done),
        })).collect::<Vec<_>>(),
        "takeover": wanted.map(|one| json!({
            "time": one.time, "from": one.from, "term": one.term, "calls": one.calls,
            "list_age_ms": one.list_age_ms, "were_up": one.were_up, "unnamed": one.unnamed,
            "go_on": one.go_on, "closed": one.closed,
            "cut": (one.calls == Fate::Told).then_some(&one.list),
        })),
    })
}

/// The scoreboard of the newest takeover; `Null` without one.
pub fn scoreboard(shared: &Shared) -> Value {
    let kept = locked(shared);
    let Some((newest, board)) = kept.last().and_then(|one| Some((one, one.endpoints.as_ref()?)))
    else {
        return Value::Null;
    };
    let mut seen: Vec<u64> = board.expected.iter().filter_map(|one| one.seen_ms).collect();
    seen.sort_unstable();
    let all = board.expected.len();
    let stragglers = board.expected.iter().filter(|one| one.seen_ms.is_none());
    json!({
        "time": newest.time,
        "from": newest.from,
        "list_age_ms": board.list_age_ms,
        "unnamed": board.unnamed,
        "expected": all,
        "seen": seen.len(),
        "ms_to_50": reached(&seen, all, 50),
        "ms_to_95": reached(&seen, all, 95),
        "ms_to_100": reached(&seen, all, 100),
        "stragglers": stragglers.map(|one| &one.entry).collect::<Vec<_>>(),
    })
}

/// When so many percent of all were seen; `seen` is in order.
fn reached(seen: &[u64], all: usize, percent: usize) -> Option<u64> {
    let wanted = (all * percent).div_ceil(100);
    wanted.checked_sub(1).and_then(|last| seen.get(last)).copied()
}

async fn write(shared: &Shared) {
    let (directory, kept) = (shared.state_dir(), locked(shared).clone());
    let saved = tokio::task::spawn_blocking(move || takeovers_file::save(&directory, &kept)).await;
    if let Err(error) = saved.map_err(std::io::Error::other).and_then(|saved| saved) {
        tracing::error!("what the takeover cut is not on disk: {error}");
    }
}

fn locked(shared: &Shared) -> std::sync::MutexGuard<'_, Vec<Takeover>> {
    shared.takeovers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_listed_once_was_not_cut() {
        let list =
            Listing::read(b"{\"id\":\"1\"}\n{\"id\":\"2\",\"x\":3}\n{\"id\":\"3\"}\n").entries;
        let alive = HashSet::from(["1".to_owned(), "3".to_owned(), "9".to_owned()]);
        let cut = cut(list, &alive);
        assert_eq!(cut.len(), 1);
        assert_eq!((cut[0]["id"].as_str(), cut[0]["x"].as_u64()), (Some("2"), Some(3)));
    }

    #[test]
    fn percents_are_reached_when_as_many_are_seen() {
        let seen = [10, 20, 30];
        assert_eq!(reached(&seen, 4, 50), Some(20));
        assert_eq!(reached(&seen, 4, 95), None, "four of four are wanted");
        assert_eq!(reached(&seen, 3, 100), Some(30));
        assert_eq!(reached(&seen, 3, 50), Some(20), "two of three");
        assert_eq!(reached(&[], 0, 100), None);
    }
}
