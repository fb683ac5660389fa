//! `recover`: for each held situation the one legal thing, or the exact words of the order that only
//! a person can give.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use super::offers::FORCE;
use super::{Shared, orders, work};
use crate::adapters::control_socket::{Reply, Request};
use crate::adapters::state_file;
use crate::protocol::event::{Event, Order};
use crate::protocol::lead::{Authority, Why};
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;

const RECOVERS_WITHIN: Duration = Duration::from_secs(20);

/// Does it.
pub async fn recover(shared: &Shared, request: &Request) -> Reply {
    let Some(status) = shared.status() else {
        return Reply::Refused("the daemon has just started; ask again in a second".into());
    };
    match (status.authority, status.why) {
        (Authority::Held, Why::DamagedState) => damaged(shared, request).await,
        (Authority::Held, Why::HasLeft) if status.peer != Liveness::Lost => {
            orders::back(shared).await
        }
        (Authority::Held, Why::HasLeft) => Reply::Refused(format!(
            "this node has left the pair and {peer} is silent, which may rely on that and serve: \
             start {peer}; or, if it is off for good: {FORCE}",
            peer = shared.peer_name()
        )),
        (Authority::Held, why) => Reply::Refused(format!(
            "{why}: start {peer}, which has them; or, if it is off for good and its last rows may \
             be lost: {FORCE}",
            peer = shared.peer_name()
        )),
        (
            Authority::Joining
            | Authority::Standby
            | Authority::Asking
            | Authority::Taking
            | Authority::Active
            | Authority::Giving,
            why,
        ) => Reply::Done(Value::String(format!(
            "nothing is held: this node is {} ({why})",
            status.authority
        ))),
    }
}

/// The damaged file is kept: it may tell somebody what happened.
async fn damaged(shared: &Shared, request: &Request) -> Reply {
    let directory = shared.state_dir();
    let moved = tokio::task::spawn_blocking(move || put_aside(&directory)).await;
    let aside = match moved.map_err(|error| error.to_string()).and_then(|moved| moved) {
        Ok(aside) => aside,
        Err(error) => {
            return Reply::Refused(format!("the damaged state file cannot be put aside: {error}"));
        }
    };
    tracing::warn!("recover by user id {}: the state file is now {}", request.uid, aside.display());
    work::tell(&shared.post, Event::Operator(Order::Recover)).await;
    let recovered = |status: &Status| status.why != Why::DamagedState;
    let with_database = {
        let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.postgres.is_some()
    };
    let then =
        if with_database { ", and its database is brought back from the peer's" } else { "" };
    match orders::watch(shared, RECOVERS_WITHIN, recovered).await {
        Ok(status) => Reply::Done(Value::String(format!(
            "the damaged state file is kept as {}; this node begins anew as one that never \
             served{then}; it is {}: {}",
            aside.display(),
            status.authority,
            status.why
        ))),
        Err(why) => Reply::Refused(format!("ordered, but not done yet: {why}")),
    }
}

fn put_aside(directory: &Path) -> Result<PathBuf, String> {
    state_file::put_aside(directory).map_err(|error| error.to_string())
}
