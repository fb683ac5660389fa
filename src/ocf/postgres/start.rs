//! Start: always ends in a standby, and brings back by itself what has left the primary's log.

use super::score::{self, Mark};
use super::{Instance, owned};
use crate::adapters::owner;
use crate::adapters::postgres::{PeerRole, Progress};
use crate::ocf::code::{Answer, Code};
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::{DatabaseSeen, DatabaseState};

impl Instance {
    /// Killed anywhere, it is gone on with by the next one: the adapter keeps on disk how far it is.
    pub(super) async fn start(&mut self) -> Result<Code, Answer> {
        self.host()?;
        owner::claim(&self.resources(), &self.call.instance).map_err(owned)?;
        self.keep_output()?;
        let seen = self.database.look().await;
        if seen.state == DatabaseState::Standby && seen.streaming {
            return Ok(Code::Success);
        }
        self.cluster.forget_positions().await?;
        let was_primary = self.was_primary().await?;
        if seen.state == DatabaseState::Writable {
            // Somebody else started it. Its standby gets the end of its log.
            self.end_cleanly().await;
        }
        let primary = self.is_peer_primary().await;
        let seen = match primary {
            true => self.rejoin().await,
            false => self.database.perform(DatabaseDeed::StartAsStandby).await,
        };
        match seen.state {
            DatabaseState::Standby => {}
            DatabaseState::Stopped
            | DatabaseState::Starting
            | DatabaseState::Unknown
            | DatabaseState::Writable => {
                return Err(self.failure(&seen, "it does not come up as a standby"));
            }
        }
        let mark = self.cluster.mark(&self.cluster.me).await?;
        let score = match (primary, was_primary, mark) {
            // Nobody serves, and it was the last that did, as far as it knows.
            (false, true, Mark::Whole | Mark::Unknown) => score::AHEAD,
            (true, _, _) | (_, false, _) | (_, _, Mark::Lacking) => {
                score::standby(mark, self.setup.durability)
            }
        };
        self.cluster.set_score(&self.cluster.me, score).await?;
        Ok(Code::Success)
    }

    /// A primary that cannot be reached is none: this one then stands by on its own log, and follows
    /// when it is reached.
    async fn is_peer_primary(&self) -> bool {
        match self.database.peer_role().await {
            Ok(role) => role == PeerRole::Primary,
            Err(trouble) => {
                tracing::warn!("{} cannot be reached: {trouble}", self.cluster.peer);
                false
            }
        }
    }

    pub(super) async fn was_primary(&self) -> Result<bool, Answer> {
        let seen = self.database.was_primary().await;
        seen.map_err(|trouble| Answer::new(Code::Generic, trouble.to_string()))
    }

    /// Salvage, rewind or copy, and follow, with its progress in the log.
    pub(super) async fn rejoin(&mut self) -> DatabaseSeen {
        let mut progress = self.database.progress();
        let work = self.database.perform(DatabaseDeed::Rejoin { common: None });
        tokio::pin!(work);
        let mut said = None;
        loop {
            tokio::select! {
                seen = &mut work => break seen,
                Ok(()) = progress.changed() => {
                    let now = *progress.borrow_and_update();
                    let step = now.map(|now: Progress| (now.phase, now.percent().map(|it| it / 10)));
                    if let Some(now) = now.filter(|_| step != said) {
                        tracing::info!("coming back: {now}");
                    }
                    said = step;
                }
            }
        }
    }
}
