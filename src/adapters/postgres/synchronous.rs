//! Whether commits wait for the standby, and whether the server really does so yet.
//!
//! Sessions decide by a flag in shared memory that the checkpointer alone copies from the
//! configuration (`SyncRepUpdateSyncStandbysDefined`). A session that shows the new setting
//! therefore proves nothing: a checkpointer busy with a slow disk may lag by minutes, and commits
//! go on unwaited. No view shows the flag, but this does: after a SIGHUP sent to the checkpointer
//! it sleeps, with no SIGHUP pending, one unbroken sleep in a wait that begins only after it has
//! handled its configuration.

use std::time::Duration;

use tokio::time::{Instant as Deadline, sleep};
use tokio_postgres::SimpleQueryRow;

use super::Database;
use super::connection::{bind, field};
use super::names::Waits;
use super::process;
use super::trouble::Trouble;

const SET_STANDBY_NAMES: &str = include_str!("../../../sql/set_standby_names.sql");
const SHOW_STANDBY_NAMES: &str = include_str!("../../../sql/show_standby_names.sql");
const RELOAD: &str = include_str!("../../../sql/reload.sql");
const END_LINGERING_WALSENDERS: &str = include_str!("../../../sql/end_lingering_walsenders.sql");
const END_WALSENDERS: &str = include_str!("../../../sql/end_walsenders.sql");
const CHECKPOINTER: &str = include_str!("../../../sql/checkpointer.sql");

const POLL: Duration = Duration::from_millis(1);
/// Waits of the checkpointer that it enters only with its configuration handled: its main loop's,
/// and the pause between two pages of a spread checkpoint (`CheckpointWriteDelay`).
const RESTING: [&str; 2] = ["CheckpointerMain", "CheckpointWriteDelay"];
/// A look does not wait longer than this for the checkpointer.
const LOOK_WAITS: Duration = Duration::from_millis(50);

/// A configuration that the checkpointer is known to have handled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Applied {
    standby_names: String,
    /// When this connection's session loaded it, in the server's words.
    loaded: String,
}

impl Applied {
    fn of(look: &SimpleQueryRow) -> Result<Applied, Trouble> {
        Ok(Applied {
            standby_names: field(look, "standby_names")?.to_owned(),
            loaded: field(look, "loaded")?.to_owned(),
        })
    }
}

impl Database {
    /// Makes commits wait for the peer's replica, or not; returns when the server does so.
    ///
    /// Turned off, sessions that wait are released by the server itself, as acknowledged, without
    /// its warning; none is ever cancelled (rule 19).
    pub(super) async fn set_synchronous(&mut self, on: bool, by: Deadline) -> Result<(), Trouble> {
        if on {
            let end = bind(END_LINGERING_WALSENDERS, &[("peer_name", &self.peer_name)]);
            self.warm.execute("ending walsenders that linger", &end, by).await?;
        }
        let excludes = !on && !self.in_recovery(by).await?;
        let wanted = if on { Waits::setting_for(&self.peer_name) } else { String::new() };
        let set = bind(SET_STANDBY_NAMES, &[("standby_names", &wanted)]);
        self.applied = None;
        self.warm.execute("setting synchronous_standby_names", &set, by).await?;
        self.warm.execute("reloading its configuration", RELOAD, by).await?;
        self.until_setting_is(SHOW_STANDBY_NAMES, "standby_names", &wanted, by).await?;
        let applied = Applied::of(&self.warm.look(by).await?.look)?;
        match self.until_checkpointer_rests(by).await? {
            true if applied.standby_names == wanted => self.applied = Some(applied),
            true | false => return Err(Trouble::NotApplied("synchronous_standby_names")),
        }
        if excludes {
            let end = bind(END_WALSENDERS, &[("peer_name", &self.peer_name)]);
            self.warm.execute("ending the peer's walsenders", &end, by).await?;
        }
        Ok(())
    }

    /// Makes sure, on a standby or a primary, that commits wait (or will wait) for the peer.
    pub(super) async fn ensure_synchronous(&mut self, by: Deadline) -> Result<(), Trouble> {
        let look = self.warm.look(by).await?.look;
        let waits =
            Waits::parse(field(&look, "standby_names")?, field(&look, "synchronous_commit")?);
        if waits.is_for(&self.peer_name) && self.applied == Some(Applied::of(&look)?) {
            return Ok(());
        }
        self.set_synchronous(true, by).await
    }

    /// What the session shows is what the server does.
    pub(super) async fn is_applied(&mut self, look: &SimpleQueryRow, by: Deadline) -> bool {
        let Ok(shown) = Applied::of(look) else { return false };
        if self.applied.as_ref() == Some(&shown) {
            return true;
        }
        let by = by.min(Deadline::now() + LOOK_WAITS);
        match self.until_checkpointer_rests(by).await {
            Ok(true) => {
                self.applied = Some(shown);
                true
            }
            Ok(false) => {
                self.trouble.get_or_insert(Trouble::NotApplied("synchronous_standby_names"));
                false
            }
            Err(trouble) => {
                self.trouble.get_or_insert(trouble);
                false
            }
        }
    }

    /// Polls one setting of this session until it has the value.
    pub(super) async fn until_setting_is(
        &mut self,
        sql: &str,
        name: &'static str,
        wanted: &str,
        by: Deadline,
    ) -> Result<(), Trouble> {
        loop {
            let row = self.warm.row("waiting for a setting", sql, by).await?;
            if field(&row, name)? == wanted {
                return Ok(());
            }
            if Deadline::now() >= by {
                return Err(Trouble::NotApplied(name));
            }
            sleep(POLL).await;
        }
    }

    /// Has the checkpointer handle its configuration; `false` when it is too busy to do so in time.
    async fn until_checkpointer_rests(&mut self, by: Deadline) -> Result<bool, Trouble> {
        let checkpointer = self.checkpointer(by).await?.0;
        process::hang_up(checkpointer)?;
        loop {
            let before = process::sleep_without_hangup(checkpointer)?;
            let (pid, wait) = self.checkpointer(by).await?;
            let after = process::sleep_without_hangup(checkpointer)?;
            let resting = RESTING.contains(&wait.as_str());
            if pid == checkpointer && resting && before.is_some() && before == after {
                return Ok(true);
            }
            if Deadline::now() >= by {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }

    async fn checkpointer(&mut self, by: Deadline) -> Result<(i32, String), Trouble> {
        let row = self.warm.row("asking for its checkpointer", CHECKPOINTER, by).await?;
        let pid = field(&row, "pid")?.parse().map_err(|_| Trouble::Answer("pid"))?;
        Ok((pid, field(&row, "wait_event")?.to_owned()))
    }
}
