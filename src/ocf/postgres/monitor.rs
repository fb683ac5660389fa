//! Monitor: what is there; and, of a cluster that has started it, what is missing for both roles.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Instance;
use super::score::Mark;
use super::state::code;
use crate::adapters::postgres::PeerRole;
use crate::ocf::code::{Answer, Code};
use crate::protocol::event::{DatabaseSeen, DatabaseState};

/// A write that takes longer is a disk that hangs.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// Longer than a cluster needs to notice that a host is dead.
const CUT_FOR: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);

impl Instance {
    pub(super) async fn monitor(&mut self) -> Result<Code, Answer> {
        let mut seen = self.settled().await;
        if matches!(seen.state, DatabaseState::Starting | DatabaseState::Unknown) {
            return Err(self.failure(&seen, "it does not answer"));
        }
        if self.regular {
            seen = match seen.state {
                DatabaseState::Writable => self.tend(seen, None).await?,
                DatabaseState::Standby if !seen.streaming => self.try_to_follow(seen).await?,
                _ => seen,
            };
        }
        if self.call.depth >= 10 && seen.state != DatabaseState::Stopped {
            self.write_probe().await?;
        }
        Ok(code(&seen, self.waits(), !self.regular))
    }

    async fn write_probe(&mut self) -> Result<(), Answer> {
        let within = self.call.left(PROBE_WITHIN);
        self.database.write_probe(within).await.map_err(|trouble| {
            let reason = format!("the server answers and cannot write: {trouble}");
            Answer::new(Code::Generic, reason)
        })
    }

    /// A standby that does not stream. One whose log has left the primary's is brought back by a
    /// start, which has the time for it.
    async fn try_to_follow(&mut self, seen: DatabaseSeen) -> Result<DatabaseSeen, Answer> {
        match self.database.peer_role().await {
            Ok(PeerRole::Primary) => {}
            // The cluster is about to see that, or has seen it.
            Ok(PeerRole::Standby | PeerRole::Stopped) => return Ok(seen),
            Err(_) => return self.wait_for_peer(seen).await,
        }
        if seen.diverged || self.was_primary().await? {
            let reason = format!(
                "its log is not known to be a part of {}'s: started again, it is brought back",
                self.cluster.peer
            );
            return Err(Answer::new(Code::Generic, reason));
        }
        self.follow().await?;
        Ok(self.database.look().await)
    }

    /// Replication is cut, and commits may be waiting for this standby. A host that is dead leaves
    /// the cluster in this time; of one that does not, this standby has to be stopped for the
    /// primary to go on alone.
    async fn wait_for_peer(&mut self, seen: DatabaseSeen) -> Result<DatabaseSeen, Answer> {
        let mut seen = seen;
        if self.cluster.mark(&self.cluster.me).await? != Mark::Whole {
            return Ok(seen);
        }
        let by = Instant::now() + self.call.left(CUT_FOR);
        while Instant::now() < by {
            sleep(POLL).await;
            seen = self.database.look().await;
            if seen.streaming || !self.cluster.is_peer_member().await? {
                return Ok(seen);
            }
        }
        if !self.cluster.is_peer_running().await? {
            return Ok(seen);
        }
        let reason = format!(
            "it does not receive the log of {peer}, whose commits wait for it, and {peer} is a member \
             of the cluster: stopped, so that {peer} goes on alone; look at the network between the \
             addresses in hosts",
            peer = self.cluster.peer
        );
        Err(Answer::new(Code::Generic, reason))
    }
}
