//! What people ask over the control socket, answered from the latest snapshot.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::lists::Kind;
use super::{Shared, explain, lists, orders, recorder, recover, reload, status, takeovers};
use crate::adapters::clock;
use crate::adapters::control_socket::{Reply, Request, Verb};
use crate::adapters::history_file::HistoryFile;
use crate::protocol::event::Presence;
use crate::protocol::lead::Authority;

/// Entries of the history that are given when nobody says how many.
const NEWEST: u64 = 20;

/// Answers one request.
pub async fn answer(shared: Arc<Shared>, request: Request) -> Reply {
    match request.verb {
        Verb::Status => Reply::Done({
            let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
            let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let running = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
            status::data(&config, &journal, running.as_ref(), &shared.services.status())
        }),
        Verb::Explain => Reply::Done({
            let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
            let journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let running = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
            explain::data(&config, &journal, running.as_ref())
        }),
        Verb::IsActive => Reply::Done(json!({"active": shared.status().is_some_and(|status| {
            status.authority == Authority::Active
                && status.presence.iter().all(|presence| *presence == Presence::Held)
        })})),
        Verb::History => history(&shared, &request).await,
        Verb::Calls => Reply::Done(match request.args.get("cut").and_then(Value::as_u64) {
            Some(n) => takeovers::data(&shared, usize::try_from(n).unwrap_or(usize::MAX)),
            None => live(&shared, Kind::Calls),
        }),
        Verb::CloseCalls => takeovers::close_by_order(&shared).await,
        Verb::Endpoints => Reply::Done({
            let mut data = live(&shared, Kind::Endpoints);
            data["takeover"] = takeovers::scoreboard(&shared);
            data
        }),
        Verb::Record => recorder::record(&shared).await,
        Verb::Failover => orders::failover(&shared, &request).await,
        Verb::Switchover => orders::switchover(&shared, &request, false).await,
        Verb::Failback => orders::switchover(&shared, &request, true).await,
        Verb::Maintenance => orders::maintenance(&shared, &request).await,
        Verb::Recover => recover::recover(&shared, &request).await,
        Verb::Leave => orders::leave(&shared, &request).await,
        Verb::Return => orders::back(&shared).await,
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

/// What lives on the node that serves.
fn live(shared: &Shared, kind: Kind) -> Value {
    let active = lists::authority(shared) == Some(Authority::Active);
    let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
    let mut data = shared.lists.data(kind, config.calls.as_ref(), active, clock::now());
    data["node"] = config.name().into();
    data["peer"] = config.peer_name().into();
    data
}

/// From the disk: what happened before this daemon's life counts as well.
async fn history(shared: &Shared, request: &Request) -> Reply {
    let newest = request.args.get("newest").and_then(Value::as_u64).unwrap_or(NEWEST);
    let newest = usize::try_from(newest).unwrap_or(usize::MAX);
    let file = HistoryFile::new(&shared.state_dir());
    let read = tokio::task::spawn_blocking(move || file.read()).await;
    match read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|e| e.to_string())) {
        Ok(found) => {
            let mut data = super::history::data(found, newest);
            let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
            data["pair"] = config.pair.clone().into();
            data["node"] = config.name().into();
            data["peer"] = config.peer_name().into();
            Reply::Done(data)
        }
        Err(error) => Reply::Refused(format!("the history cannot be read: {error}")),
    }
}
