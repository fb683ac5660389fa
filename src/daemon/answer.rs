//! What people ask over the control socket, answered from the latest snapshot.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Shared, explain, reload, status, work};
use crate::adapters::control_socket::{Reply, Request, Verb};
use crate::protocol::event::{Event, Order, Presence};
use crate::protocol::lead::{Authority, Why};
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;

/// A forced takeover is watched for this long; it goes on regardless.
const WATCHED_FOR: Duration = Duration::from_secs(15);

/// Answers one request.
pub async fn answer(shared: Arc<Shared>, request: Request) -> Reply {
    match request.verb {
        Verb::Status => Reply::Done({
            let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
            let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
            status::data(&config, &journal, &shared.services.status())
        }),
        Verb::Explain => Reply::Done({
            let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
            let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
            explain::data(&config, &journal)
        }),
        Verb::IsActive => Reply::Done(json!({"active": node(&shared).is_some_and(|status| {
            status.authority == Authority::Active
                && status.presence.iter().all(|presence| *presence == Presence::Held)
        })})),
        Verb::Failover => failover(&shared, &request).await,
        Verb::Leave => order(&shared, Order::Leave, "leaving").await,
        Verb::Return => order(&shared, Order::Return, "returning").await,
        Verb::Reload => match reload::reload(&shared) {
            Ok(done) => Reply::Done(Value::String(done)),
            Err(refused) => Reply::Refused(refused),
        },
        Verb::Release => Reply::Refused(
            "the daemon releases when it gives up the role; `duotone release` without a daemon is \
             for after its end"
                .into(),
        ),
    }
}

async fn order(shared: &Arc<Shared>, order: Order, done: &str) -> Reply {
    work::tell(&shared.post, Event::Operator(order)).await;
    Reply::Done(Value::String(done.into()))
}

/// Only the legal move is offered; an unsafe one is refused with its reason.
async fn failover(shared: &Arc<Shared>, request: &Request) -> Reply {
    let force = request.args.get("force").and_then(Value::as_bool).unwrap_or(false);
    let reason = request.args.get("reason").and_then(Value::as_str).unwrap_or("").trim();
    let Some(status) = node(shared) else {
        return Reply::Refused("the daemon has just started; ask again in a second".into());
    };
    if let Some(refused) = refusal(&status, force) {
        return Reply::Refused(refused);
    }
    if reason.is_empty() {
        return Reply::Refused("--force needs --reason \"why the peer is known to be off\"".into());
    }
    tracing::warn!("forced failover by user id {}: {reason}", request.uid);
    work::tell(&shared.post, Event::Operator(Order::TakeAnyway)).await;
    let end = tokio::time::Instant::now() + WATCHED_FOR;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if node(shared).is_some_and(|status| status.authority == Authority::Active) {
            return Reply::Done(Value::String("this node serves".into()));
        }
    }
    let why = node(shared).map_or(String::new(), |status| format!(": {}", status.why));
    Reply::Refused(format!("ordered, but this node does not serve yet{why}"))
}

fn refusal(status: &Status, force: bool) -> Option<String> {
    match status.authority {
        Authority::Active => {
            return Some(
                "this node is active; moving the role to a living peer is not in this version"
                    .into(),
            );
        }
        Authority::Taking => return Some("this node is already taking the role".into()),
        Authority::Giving => return Some("this node is handing the role to its peer".into()),
        Authority::Held | Authority::Joining | Authority::Standby | Authority::Asking => {}
    }
    if status.peer != Liveness::Lost {
        return Some(
            "the peer is heard: a role is not taken from a living peer; stop its daemon first"
                .into(),
        );
    }
    match (status.authority, status.why, force) {
        (Authority::Held, Why::DamagedState, _) => Some(
            "this node's state file is damaged: move it away and start the daemon again".into(),
        ),
        (Authority::Held, Why::MayLackRows | Why::HasLeft, false) => Some(format!(
            "{}; --force --reason takes the role anyway: you state that the peer is off, and rows \
             that only it has are lost unless it comes back",
            status.why
        )),
        (_, _, false) => Some(format!("nothing to order: {}", status.why)),
        (_, _, true) => None,
    }
}

fn node(shared: &Shared) -> Option<Status> {
    let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.latest.as_ref().map(|snapshot| snapshot.status.clone())
}
