//! Stop and demote. A server that is dead has been stopped; one that cannot be seen ended has not.

use std::time::Duration;

use tokio::time::timeout;

use super::score::{self, Mark};
use super::{Instance, owned};
use crate::adapters::owner;
use crate::ocf::code::{Answer, Code};
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::DatabaseState;

impl Instance {
    pub(super) async fn stop(&mut self) -> Result<Code, Answer> {
        let ours = owner::no_daemon(&self.resources()).map_err(owned);
        if ours.is_ok() {
            self.end_cleanly().await;
        }
        let seen = self.database.look().await;
        let seen = match seen.state {
            DatabaseState::Stopped => seen,
            DatabaseState::Starting
            | DatabaseState::Unknown
            | DatabaseState::Standby
            | DatabaseState::Writable => {
                // A daemon's is not to be stopped from here, and is not stopped either.
                ours?;
                self.database.perform(DatabaseDeed::StopNow).await
            }
        };
        match seen.state {
            DatabaseState::Stopped => {
                let given_up = owner::give_up(&self.resources(), &self.call.instance);
                given_up.map_err(|error| owned(error.into()))?;
                Ok(Code::Success)
            }
            DatabaseState::Starting
            | DatabaseState::Unknown
            | DatabaseState::Standby
            | DatabaseState::Writable => Err(self.failure(&seen, "it was not seen to end")),
        }
    }

    /// The standby gets the shutdown checkpoint; one that hangs does not keep the primary for longer
    /// than half of the time.
    pub(super) async fn end_cleanly(&mut self) {
        let within = self.call.left(Duration::MAX) / 2;
        // What came of it is looked at by the caller.
        let _ = timeout(within, self.database.perform(DatabaseDeed::StopCleanly)).await;
    }

    /// The primary becomes a standby, ready to follow the other one as soon as that is promoted.
    pub(super) async fn demote(&mut self) -> Result<Code, Answer> {
        let seen = self.settled().await;
        match seen.state {
            // The cluster stops what is dead next, and starts it.
            DatabaseState::Stopped | DatabaseState::Standby => return Ok(Code::Success),
            DatabaseState::Writable | DatabaseState::Starting | DatabaseState::Unknown => {}
        }
        self.keep_output()?;
        let peer_runs = self.is_peer_running().await?;
        self.end_cleanly().await;
        let ended = self.database.look().await;
        // Only the log of a clean end is known to be a part of what the other one has or will get.
        let deed = match (peer_runs, ended.state) {
            (true, DatabaseState::Stopped) if ended.log.is_some() => DatabaseDeed::Follow,
            _ => DatabaseDeed::StartAsStandby,
        };
        let seen = self.database.perform(deed).await;
        if seen.state != DatabaseState::Standby {
            return Err(self.failure(&seen, "it does not come up as a standby"));
        }
        let mark = self.cluster.mark(&self.cluster.me).await?;
        let score = match (peer_runs, mark) {
            (false, Mark::Whole | Mark::Unknown) => score::AHEAD,
            (_, mark) => score::standby(mark, self.setup.durability),
        };
        self.cluster.set_score(&self.cluster.me, score).await?;
        Ok(Code::Success)
    }
}
