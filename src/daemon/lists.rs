//! What lives on the PBX, as the active node's own command lists it and as the standby is told of
//! it: the newest list of each kind, and nothing older.
//!
//! Outside of everything that decides. Who listens slowly misses lists; nobody waits for him.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::{Shared, takeovers};
use crate::adapters::clock;
use crate::adapters::live::{self, Incoming, Listing, Outgoing, Who};
use crate::config::Calls;
use crate::protocol::lead::Authority;
use crate::protocol::peer::Liveness;
use crate::protocol::time::Instant;

/// How often a role that may have changed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two attempts to reach the peer, or to listen for it.
const AGAIN: Duration = Duration::from_secs(1);
/// Who is connected at once, known or not.
const CONNECTIONS: usize = 4;

/// What is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Calls that are up.
    Calls,
    /// Phones that are registered.
    Endpoints,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Calls, Kind::Endpoints];

    fn word(self) -> &'static str {
        ["calls", "endpoints"][self as usize]
    }

    fn command(self, calls: &Calls) -> (Option<&[String]>, Duration) {
        match self {
            Kind::Calls => (calls.live.as_deref(), calls.interval),
            Kind::Endpoints => (calls.endpoints.as_deref(), calls.endpoints_interval),
        }
    }
}

/// A list, and of when it is.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When its command was started, on this node's clock.
    pub at: Instant,
    /// What it printed.
    pub listing: Arc<Listing>,
}

/// The newest lists.
#[derive(Debug)]
pub struct Lists {
    own: [watch::Sender<Option<Seen>>; 2],
    /// As the peer told them while it served.
    peers: Mutex<[Option<Seen>; 2]>,
    trouble: Mutex<[Option<String>; 2]>,
}

impl Lists {
    /// None yet.
    pub fn new() -> Lists {
        Lists {
            own: [watch::channel(None).0, watch::channel(None).0],
            peers: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// This node's own, while it serves.
    pub fn own(&self, kind: Kind) -> Option<Seen> {
        self.own[kind as usize].borrow().clone()
    }

    /// Takes the peer's away: they are of its time in the role.
    pub fn take_peers(&self) -> [Option<Seen>; 2] {
        std::mem::take(&mut *locked(&self.peers))
    }

    /// For people: who is listed now, by whom, and how old that is.
    pub fn data(&self, kind: Kind, calls: Option<&Calls>, active: bool, now: Instant) -> Value {
        let configured = calls.is_some_and(|calls| kind.command(calls).0.is_some());
        let seen = match active {
            true => self.own(kind),
            false => locked(&self.peers)[kind as usize].clone(),
        };
        // A list that ought to have been replaced several times says nothing of now.
        let fresh = calls.map(|calls| kind.command(calls).1 * 3 + calls.timeout);
        let age = seen.as_ref().map(|seen| now.since(seen.at));
        let listing = seen.as_ref().map(|seen| &*seen.listing);
        json!({
            "configured": configured,
            "active": active,
            "live": listing.map(Listing::count),
            "age_ms": age.map(|age| age.as_millis() as u64),
            "fresh": age.zip(fresh).is_some_and(|(age, fresh)| age <= fresh),
            "list": listing.map(|listing| &listing.entries),
            "broken_lines": listing.map(|listing| listing.broken),
            "left_out": listing.map(|listing| listing.left_out),
            "trouble": locked(&self.trouble)[kind as usize].clone(),
        })
    }

    fn note_trouble(&self, kind: Kind, trouble: Option<String>) {
        let mut all = locked(&self.trouble);
        if all[kind as usize] != trouble {
            match &trouble {
                Some(trouble) => tracing::warn!("{} cannot be listed: {trouble}", kind.word()),
                None => tracing::info!("{} are listed again", kind.word()),
            }
            all[kind as usize] = trouble;
        }
    }
}

/// Starts everything that follows calls and registrations, where that is configured.
pub(super) fn begin(shared: &Arc<Shared>, who: Who) {
    let calls = shared.config.lock().unwrap_or_else(PoisonError::into_inner).calls.clone();
    let Some(calls) = calls.map(Arc::new) else { return };
    for kind in Kind::ALL {
        if kind.command(&calls).0.is_some() {
            tokio::task::spawn_local(collect(Arc::clone(shared), Arc::clone(&calls), kind));
        }
    }
    tokio::task::spawn_local(serve(Arc::clone(shared), Arc::clone(&calls), who.clone()));
    tokio::task::spawn_local(follow(Arc::clone(shared), Arc::clone(&calls), who));
    tokio::task::spawn_local(takeovers::tend(Arc::clone(shared), calls));
}

/// Runs the command again and again while this node serves.
async fn collect(shared: Arc<Shared>, calls: Arc<Calls>, kind: Kind) {
    let (Some(command), interval) = kind.command(&calls) else { return };
    let own = &shared.lists.own[kind as usize];
    loop {
        if authority(&shared) != Some(Authority::Active) {
            own.send_if_modified(|own| own.take().is_some());
            sleep(LOOK_EVERY).await;
            continue;
        }
        let at = clock::now();
        match live::list(command, calls.timeout).await {
            Ok(listing) => {
                shared.lists.note_trouble(kind, None);
                own.send_replace(Some(Seen { at, listing: Arc::new(listing) }));
            }
            Err(error) => shared.lists.note_trouble(kind, Some(error.to_string())),
        }
        sleep(interval.saturating_sub(clock::now().since(at)).max(LOOK_EVERY / 2)).await;
    }
}

/// Lets the peer in, and tells it every new list.
async fn serve(shared: Arc<Shared>, calls: Arc<Calls>, who: Who) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut said = String::new();
    loop {
        let listener = match live::listen(calls.local) {
            Ok(listener) => listener,
            Err(error) => {
                let trouble = format!("{} cannot be listened at: {error}", calls.local);
                if trouble != said {
                    tracing::warn!("lists for the standby: {trouble}");
                    said = trouble;
                }
                sleep(AGAIN).await;
                continue;
            }
        };
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("lists for the standby: {error}");
                    sleep(AGAIN).await;
                    break;
                }
            };
            let place = Arc::clone(&places).try_acquire_owned();
            let Some(place) = place.ok().filter(|_| is_peer(from, calls.peer)) else { continue };
            let (shared, who) = (Arc::clone(&shared), who.clone());
            tokio::task::spawn_local(async move {
                match live::accept(stream, &who).await {
                    Ok(outgoing) => tell(&shared, outgoing).await,
                    Err(error) => tracing::debug!("{from} was not let in: {error}"),
                }
                drop(place);
            });
        }
    }
}

fn is_peer(from: SocketAddr, peer: SocketAddr) -> bool {
    from.ip() == peer.ip()
}

async fn tell(shared: &Shared, mut outgoing: Outgoing) {
    let mut lists = Kind::ALL.map(|kind| shared.lists.own[kind as usize].subscribe());
    // The newest are news to whoever has just connected.
    lists.iter_mut().for_each(watch::Receiver::mark_changed);
    loop {
        let [calls, endpoints] = &mut lists;
        let kind = tokio::select! {
            changed = calls.changed() => changed.map(|()| Kind::Calls),
            changed = endpoints.changed() => changed.map(|()| Kind::Endpoints),
            () = outgoing.closed() => return,
        };
        let Ok(kind) = kind else { return };
        let Some(seen) = lists[kind as usize].borrow_and_update().clone() else { continue };
        if let Err(error) = outgoing.send(&message(kind, &seen, clock::now())).await {
            tracing::debug!("the standby was not told: {error}");
            return;
        }
    }
}

/// A line that says what it is, and the list.
fn message(kind: Kind, seen: &Seen, now: Instant) -> Vec<u8> {
    let Listing { broken, left_out, .. } = *seen.listing;
    let age_ms = now.since(seen.at).as_millis() as u64;
    let head = json!({
        "list": kind.word(), "age_ms": age_ms, "broken": broken, "left_out": left_out,
    });
    let mut text = head.to_string().into_bytes();
    text.push(b'\n');
    text.extend(seen.listing.lines());
    text
}

/// What [`message`] made, as it is seen at `now`; `None` when it is none.
fn read(text: &[u8], now: Instant) -> Option<(Kind, Seen)> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let head: Value = serde_json::from_slice(&text[..end]).ok()?;
    let number = |key: &str| head.get(key)?.as_u64();
    let word = head.get("list")?.as_str()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word)?;
    let mut listing = Listing::read(&text[end + 1..]);
    listing.broken += number("broken")?;
    listing.left_out += number("left_out")?;
    let at = now.before(Duration::from_millis(number("age_ms")?));
    Some((kind, Seen { at, listing: Arc::new(listing) }))
}

/// As a standby, hears what the peer has to tell.
async fn follow(shared: Arc<Shared>, calls: Arc<Calls>, who: Who) {
    // The peer sends whenever it has a new list; a peer whose command fails sends nothing.
    let longest = calls.interval.max(calls.endpoints_interval) * 3 + calls.timeout;
    let mut said = false;
    loop {
        if stands_by(&shared) {
            match live::connect(calls.local, calls.peer, &who).await {
                Ok(incoming) => {
                    said = false;
                    hear(&shared, incoming, longest).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("{} tells no lists of calls: {error}", shared.peer_name());
                    }
                }
            }
        }
        sleep(AGAIN).await;
    }
}

async fn hear(shared: &Shared, mut incoming: Incoming, longest: Duration) {
    loop {
        let text = match incoming.next(longest).await {
            Ok(text) => text,
            Err(error) => {
                tracing::debug!("lists of the peer: {error}");
                return;
            }
        };
        let Some((kind, seen)) = read(&text, clock::now()) else {
            tracing::warn!(
                "a list of {} makes no sense; do the versions match?",
                shared.peer_name()
            );
            return;
        };
        // What it sent before it went down is its last word, also when this node serves by now.
        locked(&shared.lists.peers)[kind as usize] = Some(seen);
    }
}

pub(super) fn authority(shared: &Shared) -> Option<Authority> {
    let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.latest.as_ref().map(|snapshot| snapshot.status.authority)
}

fn stands_by(shared: &Shared) -> bool {
    let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.latest.as_ref().is_some_and(|snapshot| {
        let status = &snapshot.status;
        status.authority == Authority::Standby && status.peer == Liveness::Alive
    })
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_the_way_with_its_age() {
        let now = Instant::from_nanos(9_000_000_000);
        let mut listing = Listing::read(b"{\"id\":\"1\",\"from\":\"a\"}\n{\"id\":\"2\"}\n{}\n");
        listing.left_out = 7;
        let seen = Seen { at: now.before(Duration::from_millis(400)), listing: Arc::new(listing) };
        for kind in Kind::ALL {
            let (heard, copy) = read(&message(kind, &seen, now), now).unwrap();
            assert_eq!((heard, copy.at), (kind, seen.at));
            assert_eq!(copy.listing, seen.listing);
        }
        for nonsense in [&b""[..], b"x\n", b"{}\n", b"{\"list\":\"calls\",\"age_ms\":-1}\n"] {
            assert!(read(nonsense, now).is_none());
        }
    }
}
