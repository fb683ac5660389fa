//! The orderly end: give up the role, tell the peer, stop what runs here.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::work::Work;
use super::{Shared, telling, work};
use crate::protocol::event::{Event, Order};
use crate::protocol::lead::Authority;
use crate::protocol::peer::Liveness;
use crate::protocol::plan::not_writable;

/// A handover with slow times, or on a slow host, may need most of it. systemd's own limit
/// (TimeoutStopSec) is longer than both together.
const RELEASE_WITHIN: Duration = Duration::from_secs(30);
const SERVICES_WITHIN: Duration = Duration::from_secs(20);

/// Leaves the pair, and returns when everything was seen given up (true) or time is up; then the
/// dead man and the unit's `ExecStopPost=` have the last word.
pub(super) async fn leave(shared: &Arc<Shared>, mut work: Work) -> bool {
    tracing::info!("leaving: the role and the addresses are given up");
    work::tell(&shared.post, Event::Operator(Order::Leave)).await;
    let end = Instant::now() + RELEASE_WITHIN;
    let (interval, with_database) = {
        let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        (config.timing.interval, config.postgres.is_some())
    };
    let mut left = false;
    while Instant::now() < end {
        let snapshot = work.snapshots.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            let status = &snapshot.status;
            let released = status.authority == Authority::Held
                && !status.durable.active
                && (!with_database || not_writable(status.database.state));
            let told = status.durable.leaving.is_some() || status.peer == Liveness::Lost;
            if released && told {
                // One interval more, so that the promise has left on every link.
                sleep(interval * 3).await;
                left = true;
                break;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    if !left {
        tracing::error!("the role, the addresses or the database were not seen given up");
    }
    // The hooks and alerts of this end are seen through beside it.
    let told = shared.journal.lock().unwrap_or_else(PoisonError::into_inner).end_telling();
    let (stopped, ()) =
        tokio::join!(timeout(SERVICES_WITHIN, shared.services.stop_all()), telling::ended(told));
    let stopped = stopped.is_ok();
    if !stopped {
        tracing::error!("not every service was seen stopped");
    }
    left && stopped
}
