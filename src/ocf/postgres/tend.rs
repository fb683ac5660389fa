//! What the primary's agent does for commits and marks, from what is so now: it may be done at any
//! time, and be killed anywhere.
//!
//! ```text
//! the standby's instance is stopped or fenced   mark it as lacking, then no longer wait for it
//! its server streams                            wait for it, see it caught up, then mark it as whole
//! neither                                       commits wait
//! ```
//! The actions on one instance never overlap, so the marks have one writer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Instance;
use super::score::{self, Mark};
use crate::ocf::code::Answer;
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::DatabaseSeen;
use crate::protocol::node::Durability;

/// A standby that is further behind than this catches up before commits wait for it, bytes.
const NEAR: u64 = 16 << 20;
const CATCH_UP_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

impl Instance {
    /// Of a primary: `peer_runs` as the cluster says, `None` to ask it where it matters.
    pub(super) async fn tend(
        &mut self,
        seen: DatabaseSeen,
        peer_runs: Option<bool>,
    ) -> Result<DatabaseSeen, Answer> {
        if !self.waits() {
            return Ok(match seen.synchronous {
                Some(false) => seen,
                Some(true) | None => {
                    self.database.perform(DatabaseDeed::SetSynchronous(false)).await
                }
            });
        }
        let near = seen.replica.zip(seen.log.as_ref());
        let near = near.is_some_and(|(replica, log)| log.position < replica.flush + NEAR);
        // The connection of a host that was fenced lingers.
        if near && peer_runs != Some(false) {
            return self.wait_for_standby(seen).await;
        }
        if seen.replica.is_some() && peer_runs != Some(false) || seen.synchronous == Some(false) {
            return Ok(seen);
        }
        let peer_runs = match peer_runs {
            Some(told) => told,
            None => self.cluster.is_peer_running().await?,
        };
        if peer_runs {
            return Ok(seen);
        }
        self.disown_peer().await?;
        tracing::warn!("{} is stopped: commits no longer wait for it", self.cluster.peer);
        Ok(self.database.perform(DatabaseDeed::SetSynchronous(false)).await)
    }

    async fn wait_for_standby(&mut self, seen: DatabaseSeen) -> Result<DatabaseSeen, Answer> {
        let mut seen = match seen.synchronous {
            Some(true) => seen,
            Some(false) | None => self.database.perform(DatabaseDeed::SetSynchronous(true)).await,
        };
        if seen.synchronous != Some(true) {
            return Ok(seen);
        }
        // What was acknowledged without it lies before this.
        let Some(end) = seen.log.as_ref().map(|log| log.position) else { return Ok(seen) };
        let by = Instant::now() + self.call.left(CATCH_UP_WITHIN);
        loop {
            let whole = seen.replica.is_some_and(|it| it.synchronous && it.flush >= end);
            if whole && seen.synchronous == Some(true) {
                break;
            }
            if Instant::now() >= by {
                return Ok(seen);
            }
            sleep(POLL).await;
            seen = self.database.look().await;
        }
        self.own_peer().await?;
        Ok(seen)
    }

    /// The peer holds everything that is acknowledged from now on, too.
    async fn own_peer(&self) -> Result<(), Answer> {
        if self.cluster.has_told_whole() {
            return Ok(());
        }
        let peer = &self.cluster.peer;
        self.cluster.set_mark(peer, true).await?;
        let score = score::standby(Mark::Whole, self.setup.durability);
        self.cluster.set_score(peer, score).await?;
        self.cluster.remember_told(true)
    }

    /// From now on the peer may lack rows.
    pub(super) async fn disown_peer(&self) -> Result<(), Answer> {
        let peer = &self.cluster.peer;
        self.cluster.remember_told(false)?;
        self.cluster.set_mark(peer, false).await?;
        let score = score::standby(Mark::Lacking, self.setup.durability);
        self.cluster.set_score(peer, score).await
    }

    /// Commits are to wait for the standby while there is one.
    pub(super) fn waits(&self) -> bool {
        self.setup.durability != Durability::Async
    }
}
