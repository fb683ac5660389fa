//! Starting, following, promoting, stopping.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant as Deadline, sleep};

use super::connection::{bind, field, flag};
use super::mark::Mark;
use super::names::{Waits, primary_conninfo};
use super::process::{Owner, Process};
use super::trouble::Trouble;
use super::{Database, files, losing, process};
use crate::protocol::event::DatabaseState;

const PROMOTE: &str = include_str!("../../../sql/promote.sql");
const IN_RECOVERY: &str = include_str!("../../../sql/in_recovery.sql");
const RELOAD: &str = include_str!("../../../sql/reload.sql");
const SHOW_PRIMARY_CONNINFO: &str = include_str!("../../../sql/show_primary_conninfo.sql");
const SET_PRIMARY_CONNINFO: &str = include_str!("../../../sql/set_primary_conninfo.sql");

/// `pg_promote` itself would look every 100 ms.
const PROMOTION_POLL: Duration = Duration::from_millis(1);
/// At first; each attempt costs the server a process, so a long recovery is asked less often.
const START_POLL: Duration = Duration::from_millis(5);
const START_POLL_MAX: Duration = Duration::from_millis(100);
pub(super) const STREAM_POLL: Duration = Duration::from_millis(20);
const END_POLL: Duration = Duration::from_millis(1);
/// A standby that does not stream by then is left to try on; looks will see it.
const STREAM_WITHIN: Duration = Duration::from_secs(1);
/// After SIGKILL, before what is left is looked for again.
const KILL_WITHIN: Duration = Duration::from_millis(20);

impl Database {
    /// Promotes a standby. Commits wait for the peer from the first one on: that is made sure of
    /// before, and without it there is no promotion.
    pub(super) async fn promote(&mut self, by: Deadline) -> Result<(), Trouble> {
        if !self.in_recovery(by).await? {
            return Ok(());
        }
        self.ensure_synchronous(by).await?;
        self.warm.execute("promoting", PROMOTE, by).await?;
        while self.in_recovery(by).await? {
            sleep(PROMOTION_POLL).await;
        }
        Ok(())
    }

    pub(super) async fn in_recovery(&mut self, by: Deadline) -> Result<bool, Trouble> {
        flag(&self.warm.row("waiting for the promotion", IN_RECOVERY, by).await?, "in_recovery")
    }

    /// Has the server run as a standby that follows nobody yet; a primary is stopped at once first.
    pub(super) async fn start_as_standby(&mut self, by: Deadline) -> Result<(), Trouble> {
        match self.look_again().await.state {
            DatabaseState::Standby => Ok(()),
            // The file is there only if the server was started with it: promotion removes it, and
            // it is put there only while nothing runs. Long recoveries are not begun again.
            DatabaseState::Starting if self.has_standby_signal().await? => {
                self.until_it_answers(by).await
            }
            DatabaseState::Stopped
            | DatabaseState::Starting
            | DatabaseState::Writable
            | DatabaseState::Unknown => {
                self.stop_now(by).await?;
                self.trouble = None;
                self.start_stopped_as_standby(by).await
            }
        }
    }

    async fn start_stopped_as_standby(&mut self, by: Deadline) -> Result<(), Trouble> {
        let owner = Owner::of(&self.postgres)?;
        let places = self.places().await?;
        match self.mark(&places).await? {
            // Half rewound or half copied, it cannot be started: the rest of that comes first.
            Some(Mark::Changing { keep } | Mark::Copied { keep, .. }) => {
                self.finish_copy(&places, &owner, keep, by).await
            }
            Some(Mark::Fetched) => {
                let primary = primary_conninfo(&self.postgres, &self.own_name);
                self.launch_as_standby(&owner, &primary, by).await
            }
            Some(Mark::Salvaging | Mark::Own) | None => {
                // Whom it follows is decided after the logs were compared: a receiver that finds the
                // number of its own timeline at the peer overwrites its own branch with that.
                self.launch_as_standby(&owner, "", by).await
            }
        }
    }

    /// Starts the stopped server as a standby that follows `primary`, a connection string; nobody
    /// when that is empty.
    pub(super) async fn launch_as_standby(
        &mut self,
        owner: &Owner,
        primary: &str,
        by: Deadline,
    ) -> Result<(), Trouble> {
        self.forget_foreign_histories(owner, by).await?;
        let primary = primary.to_owned();
        self.peer_name.clone_from(&self.peer_node);
        let standby_names = Waits::setting_for(&self.peer_name);
        let (places, for_files) = (self.places().await?, owner.clone());
        self.change_files(by, move |data_dir| {
            let was_standby = files::standby_signal(data_dir).symlink_metadata().is_ok();
            if !was_standby && places.mark()?.is_none() {
                places.set_mark(&Mark::Own, &for_files)?;
            }
            // Before anything else, so that whoever starts the server now starts a standby.
            files::put_standby_signal(data_dir, &for_files)?;
            let settings = [
                ("primary_conninfo", primary.as_str()),
                // Whoever waits for this standby waits for its next word after a reconnection.
                ("wal_receiver_status_interval", "1s"),
                ("wal_retrieve_retry_interval", "500ms"),
                ("synchronous_standby_names", standby_names.as_str()),
            ];
            files::set(data_dir, &for_files, &settings)
        })
        .await?;
        self.start(owner, by).await
    }

    /// Starts the server as the primary that it was, with commits waiting for the peer.
    pub(super) async fn start_in_place(&mut self, by: Deadline) -> Result<(), Trouble> {
        match self.look_again().await.state {
            DatabaseState::Writable => return Ok(()),
            DatabaseState::Standby => return Err(Trouble::IsStandby),
            DatabaseState::Starting => return self.until_it_answers(by).await,
            // It may be there and hang: ending it is another deed.
            DatabaseState::Unknown => return Ok(()),
            DatabaseState::Stopped => self.trouble = None,
        }
        let owner = Owner::of(&self.postgres)?;
        let places = self.places().await?;
        if !matches!(self.mark(&places).await?, None | Some(Mark::Own)) {
            return Err(Trouble::Unfinished(places.data));
        }
        let standby_names = Waits::setting_for(&self.peer_name);
        let for_files = owner.clone();
        self.change_files(by, move |data_dir| {
            for name in ["standby.signal", "recovery.signal"] {
                let path = data_dir.join(name);
                if path.symlink_metadata().is_ok() {
                    return Err(Trouble::WasStandby(path));
                }
            }
            files::set(
                data_dir,
                &for_files,
                &[("synchronous_standby_names", standby_names.as_str())],
            )
        })
        .await?;
        self.start(&owner, by).await
    }

    /// Has a standby stream from the peer. A log that has left the peer's stays as it is: what is
    /// then seen says so.
    pub(super) async fn follow(&mut self, by: Deadline) -> Result<(), Trouble> {
        self.start_as_standby(by).await?;
        // The node has compared the logs, or does not order this.
        let places = self.places().await?;
        let fetched = self.mark(&places).await? == Some(Mark::Fetched);
        let again = self.receiving.ordered();
        let seen = self.look_again().await;
        if fetched && seen.state != DatabaseState::Standby {
            // It follows already, and is not consistent yet.
            return Ok(());
        }
        self.change_files(by, move |_| places.remove_mark()).await?;
        if again && let Some(log) = &seen.log {
            self.gone = self.is_gone(log).await?;
            if self.gone {
                return Ok(());
            }
        }
        if seen.streaming {
            return Ok(());
        }
        let wanted = primary_conninfo(&self.postgres, &self.own_name);
        let row = self.warm.row("asking whom it follows", SHOW_PRIMARY_CONNINFO, by).await?;
        if field(&row, "primary_conninfo")? != wanted {
            let set = bind(SET_PRIMARY_CONNINFO, &[("primary_conninfo", &wanted)]);
            self.warm.execute("setting primary_conninfo", &set, by).await?;
            self.warm.execute("reloading its configuration", RELOAD, by).await?;
            self.until_setting_is(SHOW_PRIMARY_CONNINFO, "primary_conninfo", &wanted, by).await?;
        }
        self.until_streaming(STREAM_WITHIN).await;
        let seen = self.look_again().await;
        self.gone = false;
        match &seen.log {
            Some(log) if seen.state == DatabaseState::Standby && !seen.streaming => {
                self.gone = self.is_gone(log).await?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// A crashed primary that finds the history of a later timeline at its start would leave its
    /// own rows behind at the fork. Where its own log goes on past that fork, the file goes; the
    /// server fetches it again after it has recovered all of its own log.
    async fn forget_foreign_histories(
        &mut self,
        owner: &Owner,
        by: Deadline,
    ) -> Result<(), Trouble> {
        for foreign in self.on_disk(losing::foreign_histories).await? {
            let goes_on = match foreign.fork {
                Some((timeline, at)) => self.has_record(owner, timeline, at).await?,
                None => true,
            };
            if goes_on {
                let path = foreign.path;
                self.change_files(by, move |_| {
                    std::fs::remove_file(&path).map_err(|error| Trouble::File { path, error })
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn has_standby_signal(&self) -> Result<bool, Trouble> {
        self.on_disk(|data_dir| files::standby_signal(data_dir).symlink_metadata().is_ok()).await
    }

    async fn start(&mut self, owner: &Owner, by: Deadline) -> Result<(), Trouble> {
        self.warm.discard();
        let postgres = self.postgres.clone();
        self.change_files(by, move |_| Ok(process::remove_stale_locks(&postgres)?)).await?;
        self.started =
            Some(process::start(&self.postgres, owner, &[], false, self.output.as_ref())?);
        self.until_it_answers(by).await
    }

    /// Waits for the server's first answer; a server that ends instead is reported at once. At the
    /// deadline nothing has failed: the look that follows sees it starting.
    pub(super) async fn until_it_answers(&mut self, by: Deadline) -> Result<(), Trouble> {
        let mut pause = START_POLL;
        loop {
            match self.warm.connect(by.min(Deadline::now() + self.look_within)).await {
                Ok(()) => return Ok(()),
                Err(other @ Trouble::OtherServer { .. }) => return Err(other),
                Err(_) => {}
            }
            if let Some(status) = self.started.as_mut().and_then(|child| child.try_wait().ok()?) {
                self.started = None;
                return Err(Trouble::Ended(status));
            }
            if self.started.is_none() && self.processes().await?.is_empty() {
                return Ok(());
            }
            if Deadline::now() >= by {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 5 / 4).min(START_POLL_MAX);
        }
    }

    /// Ends the server at once: immediate shutdown, then, when that takes too long (a hung
    /// postmaster passes nothing on to its children), SIGKILL to all. Either way nothing is
    /// acknowledged from then on, and the next start recovers. Ends when no process is left.
    pub(super) async fn stop_now(&mut self, by: Deadline) -> Result<(), Trouble> {
        self.warm.discard();
        self.applied = None;
        self.kill_unseen();
        let there = self.processes().await?;
        let postmaster = self.postmaster(&there).await?;
        // Backends whose postmaster is gone know SIGQUIT too.
        let first = postmaster.map_or_else(|| there.clone(), |postmaster| vec![postmaster]);
        send(&first, Signal::QUIT)?;
        self.until_ended(&there, by.min(Deadline::now() + self.quit_within)).await;
        loop {
            let mut left = self.processes().await?;
            self.reap();
            if left.is_empty() && !self.is_being_born() {
                return Ok(());
            }
            if Deadline::now() >= by {
                return Err(Trouble::StillRunning(left.len()));
            }
            self.kill_unseen();
            // The postmaster first, so that it starts nobody anew.
            left.sort_by_key(|process| Some(*process) != postmaster);
            send(&left, Signal::KILL)?;
            self.until_ended(&left, by.min(Deadline::now() + KILL_WITHIN)).await;
        }
    }

    /// Ends the server in order: fast shutdown. It ends by itself when its standby has the shutdown
    /// checkpoint; a standby that hangs delays it beyond the deadline, and it goes on stopping.
    pub(super) async fn stop_cleanly(&mut self, by: Deadline) -> Result<(), Trouble> {
        self.warm.discard();
        self.applied = None;
        self.kill_unseen();
        let there = self.processes().await?;
        // Without a postmaster its children end by themselves.
        let postmaster = self.postmaster(&there).await?;
        send(postmaster.as_slice(), Signal::INT)?;
        loop {
            self.reap();
            let left = self.processes().await?;
            if left.is_empty() && !self.is_being_born() {
                return Ok(());
            }
            if Deadline::now() >= by {
                return Err(Trouble::StillStopping(left.len()));
            }
            self.until_ended(&left, by.min(Deadline::now() + KILL_WITHIN)).await;
        }
    }

    async fn postmaster(&self, there: &[Process]) -> Result<Option<Process>, Trouble> {
        let file = self.on_disk(process::pid_file).await?;
        Ok(file.and_then(|file| there.iter().copied().find(|process| process.pid() == file.pid)))
    }

    /// Kills the server that this value started if it has not reached its directory yet: it has
    /// no children then.
    fn kill_unseen(&mut self) {
        if let Some(child) = &mut self.started
            && !process::is_in(child.id(), &self.postgres.data_dir)
        {
            // An error means that it has ended.
            let _ = child.kill();
        }
    }

    fn reap(&mut self) {
        if let Some(child) = &mut self.started
            && !matches!(child.try_wait(), Ok(None))
        {
            self.started = None;
        }
    }

    async fn until_ended(&mut self, processes: &[Process], by: Deadline) {
        while Deadline::now() < by && processes.iter().any(|process| process::is_alive(*process)) {
            self.reap();
            sleep(END_POLL).await;
        }
    }
}

fn send(processes: &[Process], signal: Signal) -> Result<(), Trouble> {
    for process in processes {
        process::signal(*process, signal)?;
    }
    Ok(())
}
