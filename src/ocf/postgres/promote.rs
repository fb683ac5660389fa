//! Promotion: only of a server that holds every acknowledged row, as far as the durability demands.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Instance;
use super::cluster::Position;
use super::gate::{Other, Verdict, decide};
use super::score::{self, Mark};
use crate::ocf::code::{Answer, Code};
use crate::protocol::action::DatabaseDeed;
use crate::protocol::event::{DatabaseSeen, DatabaseState};

/// A standby that is behind one that still runs receives the rest from it in this time.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

impl Instance {
    /// Each step is done again, or found done, by the promotion that follows one that was killed.
    pub(super) async fn promote(&mut self) -> Result<Code, Answer> {
        let seen = self.settled().await;
        let peer_runs = self.is_peer_running().await?;
        match seen.state {
            DatabaseState::Writable => {}
            DatabaseState::Standby => {
                if self.pass_gate(peer_runs).await? != Mark::Whole {
                    self.cluster.set_mark(&self.cluster.me, true).await?;
                }
            }
            DatabaseState::Stopped | DatabaseState::Starting | DatabaseState::Unknown => {
                return Err(self.failure(&seen, "it is not a standby that answers"));
            }
        }
        let seen = if peer_runs && self.waits() {
            self.database.perform(DatabaseDeed::Promote).await
        } else {
            // It comes up with commits that wait; they go on when it is known who will lack them.
            self.cluster.remember_told(false)?;
            let mark = self.cluster.set_mark(&self.cluster.peer, false);
            let (marked, _) = tokio::join!(mark, self.database.perform(DatabaseDeed::Promote));
            marked?;
            self.database.perform(DatabaseDeed::SetSynchronous(false)).await
        };
        if seen.state != DatabaseState::Writable {
            return Err(self.failure(&seen, "it did not become the primary"));
        }
        self.cluster.set_score(&self.cluster.me, score::PRIMARY).await?;
        Ok(Code::Success)
    }

    /// Compares with the other server, or asks the marks when there is none to compare with. Returns
    /// the own mark.
    async fn pass_gate(&mut self, peer_runs: bool) -> Result<Mark, Answer> {
        let mark = self.cluster.mark(&self.cluster.me).await?;
        let by = Instant::now() + self.call.left(CATCH_UP_WITHIN);
        loop {
            let Some(mine) = position(&self.database.look().await) else {
                return Err(Answer::new(Code::Generic, "the end of the own log cannot be seen"));
            };
            let other = match peer_runs {
                false => Other::Gone,
                true => match self.cluster.published().await? {
                    Some(theirs) => Other::At(theirs),
                    None => Other::Silent,
                },
            };
            match decide(mine, other, mark, self.setup.durability) {
                Verdict::Promote => return Ok(mark),
                Verdict::PromoteWithLoss => {
                    tracing::warn!(
                        "promoting a server of which nobody knows that it holds every row \
                         (durability is not strict): its log ends at {mine}; what the other one \
                         has beyond that is salvaged when it comes back"
                    );
                    return Ok(mark);
                }
                Verdict::Held => return Err(self.held(mine).await?),
                Verdict::Behind(_) | Verdict::Wait if Instant::now() < by => sleep(POLL).await,
                Verdict::Behind(theirs) => return Err(self.behind(mine, theirs).await?),
                // Its server does not answer, and nothing acknowledged can be missing here.
                Verdict::Wait if mark == Mark::Whole => return Ok(mark),
                Verdict::Wait => return Err(self.silent()),
            }
        }
    }

    async fn held(&self, mine: Position) -> Result<Answer, Answer> {
        self.cluster.set_mark(&self.cluster.me, false).await?;
        self.cluster.set_score(&self.cluster.me, score::NEVER).await?;
        let (me, peer) = (&self.cluster.me, &self.cluster.peer);
        Ok(Answer::new(
            Code::Generic,
            format!(
                "not promoted: the log ends at {mine}, and nobody knows that it holds every row \
                 that {peer} acknowledged (durability=strict). Bring {peer} back; or, if it is lost \
                 for good, accept the loss: set durability=available and run \
                 \"crm_resource --cleanup -r {} -N {me}\"",
                self.call.instance
            ),
        ))
    }

    /// The other one is to be promoted instead.
    async fn behind(&self, mine: Position, theirs: Position) -> Result<Answer, Answer> {
        self.cluster.set_score(&self.cluster.peer, score::AHEAD).await?;
        self.cluster.set_score(&self.cluster.me, score::BEHIND).await?;
        self.cluster.forget_positions().await?;
        let peer = &self.cluster.peer;
        Ok(Answer::new(
            Code::Generic,
            format!(
                "not promoted: the log ends at {mine} here and at {theirs} on {peer}, which is now \
                 preferred; a location constraint that wants the role here has to go first"
            ),
        ))
    }

    fn silent(&self) -> Answer {
        let peer = &self.cluster.peer;
        Answer::new(
            Code::Generic,
            format!(
                "not promoted: the instance on {peer} runs and has not said where its log ends \
                 (does the clone have notify=true?)"
            ),
        )
    }
}

/// Where a log ends.
pub(super) fn position(seen: &DatabaseSeen) -> Option<Position> {
    seen.log.as_ref().map(|log| Position { timeline: log.timeline, at: log.position })
}
