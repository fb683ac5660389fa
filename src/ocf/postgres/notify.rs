//! What the cluster tells of the other instance. Whatever goes wrong here is looked at again by the
//! next monitor; the cluster ignores the answer.

use super::Instance;
use super::promote::position;
use crate::ocf::code::{Answer, Code};
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::DatabaseState;

impl Instance {
    pub(super) async fn notify(&mut self) -> Code {
        if let Err(answer) = self.hear().await {
            tracing::warn!("{}", answer.reason);
        }
        Code::Success
    }

    async fn hear(&mut self) -> Result<(), Answer> {
        let seen = self.database.look().await;
        match seen.state {
            DatabaseState::Writable if self.notice.is("pre", "demote") => {
                // Afterwards the clean stop has little left to write.
                self.database.perform(DatabaseDeed::Checkpoint).await;
            }
            DatabaseState::Writable if self.notice.is("post", "promote") => {
                self.cluster.forget_positions().await?;
            }
            DatabaseState::Writable
                if self.notice.is("post", "start") || self.notice.is("post", "stop") =>
            {
                let peer_runs = self.notice.is_running(&self.cluster.peer);
                self.tend(seen, peer_runs).await?;
            }
            DatabaseState::Standby if self.notice.is("pre", "promote") => {
                let alone = self.notice.is_running(&self.cluster.peer) == Some(false);
                if let Some(position) = position(&seen).filter(|_| !alone) {
                    self.cluster.publish(position).await?;
                }
            }
            DatabaseState::Standby if self.notice.is("post", "promote") => {
                self.follow().await?;
            }
            DatabaseState::Writable
            | DatabaseState::Standby
            | DatabaseState::Stopped
            | DatabaseState::Starting
            | DatabaseState::Unknown => {}
        }
        Ok(())
    }

    /// Of a standby, when there is a primary. A log that was a primary's is compared first.
    pub(super) async fn follow(&mut self) -> Result<(), Answer> {
        self.keep_output()?;
        match self.was_primary().await? {
            true => self.rejoin().await,
            false => self.database.perform(DatabaseDeed::Follow).await,
        };
        if let Some(trouble) = self.database.trouble() {
            tracing::warn!("following {}: {trouble}", self.cluster.peer);
        }
        Ok(())
    }
}
