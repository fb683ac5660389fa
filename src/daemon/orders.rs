//! What administrators order: refused with the reason when it is not legal, carried out, watched,
//! and answered with what came of it.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::change::{Change, Kind};
use super::offers::{self, FORCE};
use super::{Shared, maintenance, work};
use crate::adapters::clock;
use crate::adapters::control_socket::{Reply, Request};
use crate::config::unit::parse_time;
use crate::protocol::event::{Event, Order};
use crate::protocol::lead::{Authority, Why};
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;

/// An order is watched for at most this long; it goes on regardless. The control socket's own
/// limit is longer.
const WATCHED_FOR: Duration = Duration::from_secs(100);
/// A node leaves or returns within a few heartbeats, unless its database is being changed.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The sentence of a daemon that has had no turn yet.
const TOO_EARLY: &str = "the daemon has just started; ask again in a second";

/// Hands the role to the standby, without loss. `back`: only to the preferred node.
pub async fn switchover(shared: &Shared, request: &Request, back: bool) -> Reply {
    let Some(status) = shared.status() else { return Reply::Refused(TOO_EARLY.into()) };
    let peer = shared.peer_name();
    if let Some(refused) = not_to_be_moved(shared, &status, &peer, back) {
        return Reply::Refused(refused);
    }
    let word = if back { "failback" } else { "switchover" };
    let since = clock::now();
    note(shared, request, word, since);
    work::tell(&shared.post, Event::Operator(Order::Switchover)).await;
    let begun_within = shared.timing().lost_after * 2 + Duration::from_secs(1);
    loop {
        sleep(LOOK_EVERY).await;
        let waited = clock::now().since(since);
        match given(shared, since) {
            Some(change) if change.outcome.is_some() => return outcome(&change, since, &peer),
            Some(_) if waited < WATCHED_FOR => {}
            Some(_) => {
                return Reply::Refused(
                    "the handover still goes on; `duotone status` shows how far it is".into(),
                );
            }
            None if waited < begun_within => {}
            None => {
                let why = shared.status().and_then(|status| status.hindrance);
                let why = why.map_or_else(
                    || "no reason is known".to_owned(),
                    |hindrance| offers::sentence(hindrance, &peer),
                );
                return Reply::Refused(format!("nothing was moved: {why}"));
            }
        }
    }
}

fn not_to_be_moved(shared: &Shared, status: &Status, peer: &str, back: bool) -> Option<String> {
    let word = if back { "failback" } else { "switchover" };
    if back {
        let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        match config.policy.preferred {
            None => {
                return Some(
                    "no preferred node is configured: write preferred = \"NODE\" into [pair], or \
                     use duotone switchover"
                        .into(),
                );
            }
            Some(node) if node == config.me && status.authority == Authority::Active => {
                return Some("the preferred node is this one, and it serves".into());
            }
            Some(_) => {}
        }
    }
    match (status.authority, status.hindrance) {
        (Authority::Active, None) => None,
        (Authority::Active, Some(hindrance)) => Some(offers::sentence(hindrance, peer)),
        (Authority::Giving, _) => Some(format!("this node is handing the role to {peer}")),
        (Authority::Taking, _) => Some("this node is taking the role just now".into()),
        (Authority::Standby | Authority::Asking | Authority::Joining | Authority::Held, _) => {
            Some(if offers::peer_serves(status) {
                format!("{peer} serves, not this node; run there: duotone {word}")
            } else {
                format!("this node does not serve ({}: {})", status.authority, status.why)
            })
        }
    }
}

/// The handover that began after `since`.
fn given(shared: &Shared, since: Instant) -> Option<Change> {
    let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    let change = journal.timeline.change()?;
    let ours = change.kind == Kind::HandoverGiven && change.began().is_some_and(|at| at >= since);
    ours.then(|| change.clone())
}

fn outcome(change: &Change, since: Instant, peer: &str) -> Reply {
    let ended = change.ended.unwrap_or(since);
    let took = ended.since(since).as_millis();
    let mark = |what: &str| change.marks.iter().find(|mark| mark.what == what);
    let last = change.marks.last().map_or("", |mark| mark.text.as_str());
    match change.outcome {
        Some("handed-over") => {
            let bare = mark("released").map(|mark| ended.since(mark.at).as_millis());
            let gap = bare.map_or(String::new(), |ms| {
                format!("; the addresses were away for at most {ms} ms")
            });
            Reply::Done(json!({
                "text": format!("{peer} serves: the role was handed over in {took} ms{gap}"),
                "outcome": "handed-over",
                "took_ms": took as u64,
                "away_ms": bare.map(|ms| ms as u64),
                "term": change.term.map(|term| term.to_string()),
            }))
        }
        Some("undone") => Reply::Refused(format!(
            "not moved: {last}; this node serves as before ({took} ms); `duotone timeline` has the \
             steps"
        )),
        Some("taken-back") => Reply::Refused(format!(
            "not moved: {peer} did not take the role, and this node took it back after {took} ms; \
             `duotone timeline` has the steps"
        )),
        Some(_) | None => Reply::Refused(format!(
            "the handover was broken off after {took} ms: {last}; `duotone status` says who serves"
        )),
    }
}

/// Takes the role without the peer: the only order that may lose rows.
pub async fn failover(shared: &Shared, request: &Request) -> Reply {
    let force = request.args.get("force").and_then(Value::as_bool).unwrap_or(false);
    let Some(status) = shared.status() else { return Reply::Refused(TOO_EARLY.into()) };
    if let Some(refused) = not_to_be_taken(&status, force) {
        return Reply::Refused(refused);
    }
    let reason = reason(request);
    if reason.is_empty() {
        return Reply::Refused("--force needs --reason \"why the peer is known to be off\"".into());
    }
    tracing::warn!("forced failover by user id {}: {reason}", request.uid);
    note(shared, request, "failover --force", clock::now());
    work::tell(&shared.post, Event::Operator(Order::TakeAnyway)).await;
    let serves = |status: &Status| status.authority == Authority::Active;
    match watch(shared, Duration::from_secs(15), serves).await {
        Ok(_) => Reply::Done(Value::String("this node serves".into())),
        Err(why) => Reply::Refused(format!("ordered, but this node does not serve yet: {why}")),
    }
}

fn not_to_be_taken(status: &Status, force: bool) -> Option<String> {
    match status.authority {
        Authority::Active => {
            return Some(
                "this node serves; to move the role to the peer: duotone switchover".into(),
            );
        }
        Authority::Taking => return Some("this node is already taking the role".into()),
        Authority::Giving => return Some("this node is handing the role to its peer".into()),
        Authority::Held | Authority::Joining | Authority::Standby | Authority::Asking => {}
    }
    if status.peer != Liveness::Lost && !offers::neither_is_whole(status) {
        return Some(
            "the peer is heard: a role is not taken from a living peer; run there: duotone \
             switchover, or stop its daemon"
                .into(),
        );
    }
    match (status.authority, status.why, force) {
        (Authority::Held, Why::DamagedState, _) => {
            Some("this node's state file is damaged; first: duotone recover".into())
        }
        (Authority::Held, Why::MayLackRows | Why::HasLeft, false) => Some(format!(
            "{}; --force --reason takes the role anyway: you state that the peer is off, and rows \
             that only it has are lost unless it comes back",
            status.why
        )),
        (_, _, false) => Some(format!("nothing to order: {}", status.why)),
        (_, _, true) => None,
    }
}

/// Leaves the pair until `return`, or until the daemon is started again.
pub async fn leave(shared: &Shared, request: &Request) -> Reply {
    match may_leave(shared) {
        Err(refused) => Reply::Refused(refused),
        Ok(()) => {
            note(shared, request, "leave", clock::now());
            work::tell(&shared.post, Event::Operator(Order::Leave)).await;
            left(shared, "this node has left the pair; duotone return brings it back".into()).await
        }
    }
}

/// Comes back, from `leave` and from maintenance alike.
pub async fn back(shared: &Shared) -> Reply {
    if let Err(error) = maintenance::end(shared).await {
        return Reply::Refused(error);
    }
    let returned =
        |status: &Status| status.authority != Authority::Held || status.why != Why::HasLeft;
    match watch(shared, LEAVES_WITHIN, returned).await {
        Ok(status) => Reply::Done(Value::String(format!(
            "this node takes part in the pair again; it is {}: {}",
            status.authority, status.why
        ))),
        Err(_) if shared.status().is_some_and(|status| status.peer == Liveness::Lost) => {
            Reply::Refused(format!(
                "ordered, but the peer is silent and may rely on this node's being away: bring it \
                 back; or, if it is off for good: {FORCE}"
            ))
        }
        Err(why) => Reply::Refused(format!("ordered, but not done yet: {why}")),
    }
}

/// `maintenance on` for a while, or `off`.
pub async fn maintenance(shared: &Shared, request: &Request) -> Reply {
    match request.args.get("on").and_then(Value::as_bool) {
        Some(true) => {}
        Some(false) => return back(shared).await,
        None => return Reply::Refused("maintenance is switched on or off".into()),
    }
    let span = request.args.get("for").and_then(Value::as_str).unwrap_or("");
    let span = match parse_time(span) {
        Ok(span) if span >= Duration::from_secs(1) => span,
        Ok(_) => return Reply::Refused("--for: write a second or more".into()),
        Err(wrong) => return Reply::Refused(format!("--for: {wrong}")),
    };
    let reason = reason(request);
    if reason.is_empty() {
        return Reply::Refused("maintenance needs --reason TEXT, for whoever finds it".into());
    }
    let running = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    if !running && let Err(refused) = may_leave(shared) {
        return Reply::Refused(refused);
    }
    note(shared, request, "maintenance", clock::now());
    match maintenance::begin(shared, span, &reason).await {
        Err(error) => Reply::Refused(error),
        Ok(running) => {
            let until = running.until();
            let done = format!(
                "this node has left the pair until {until} and comes back by itself; sooner: \
                 duotone maintenance off"
            );
            left(shared, done).await
        }
    }
}

/// A node may leave while the other serves.
fn may_leave(shared: &Shared) -> Result<(), String> {
    let status = shared.status().ok_or(TOO_EARLY)?;
    match status.authority {
        Authority::Active => {
            Err("this node serves: switch over first: duotone switchover".to_owned())
        }
        Authority::Taking | Authority::Giving => {
            Err("the role is being moved just now; ask again in a second".to_owned())
        }
        Authority::Held if status.why == Why::DamagedState => {
            Err("this node's state file is damaged; first: duotone recover".to_owned())
        }
        Authority::Held if status.why == Why::HasLeft => Ok(()),
        Authority::Joining | Authority::Held | Authority::Standby | Authority::Asking => {
            if offers::peer_serves(&status) {
                Ok(())
            } else {
                Err(format!(
                    "{} is not known to serve: without this node nobody could",
                    shared.peer_name()
                ))
            }
        }
    }
}

async fn left(shared: &Shared, done: String) -> Reply {
    let has_left = |status: &Status| {
        status.authority == Authority::Held
            && status.why == Why::HasLeft
            && (status.durable.leaving.is_some() || status.peer == Liveness::Lost)
    };
    match watch(shared, LEAVES_WITHIN, has_left).await {
        Ok(_) => Reply::Done(Value::String(done)),
        Err(why) => Reply::Refused(format!("ordered, but this node has not left yet: {why}")),
    }
}

/// Waits until it is so; says how things stand when it is not so in time.
pub async fn watch(
    shared: &Shared,
    within: Duration,
    is_so: impl Fn(&Status) -> bool,
) -> Result<Status, String> {
    let since = clock::now();
    let mut last = None;
    while clock::now().since(since) < within {
        sleep(LOOK_EVERY).await;
        // Older ones know nothing of the order.
        last = shared.status_since(since).or(last);
        if let Some(status) = last.take_if(|status| is_so(status)) {
            return Ok(status);
        }
    }
    Err(last.map_or_else(
        || "the real-time thread says nothing".to_owned(),
        |status| format!("{}: {}", status.authority, status.why),
    ))
}

fn reason(request: &Request) -> String {
    let text = request.args.get("reason").and_then(Value::as_str).unwrap_or("").trim();
    text.replace(char::is_control, " ")
}

/// Who ordered what, for the log and for the change that follows.
fn note(shared: &Shared, request: &Request, what: &str, at: Instant) {
    let because = match reason(request).as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let order = format!("{what} by user id {}{because}", request.uid);
    tracing::info!("ordered: {order}");
    let mut journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.timeline.ordered(at, order);
}
