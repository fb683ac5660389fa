//! Bringing a log back that has left the peer's: salvage, then rewind or copy, then follow.
//!
//! Each step leaves a state on disk from which the next attempt goes on: before the files are
//! changed, everything is salvaged and `mark.rs` says so; from then on only a finished rewind or a
//! swapped copy ends it. The future may be dropped at any await and the process be killed anywhere:
//! the programs that it runs die with it, and nothing is begun before they are gone.

use std::time::Duration;

use tokio::time::{Instant as Deadline, sleep};

use super::divergence::{Divergence, compare};
use super::losing::position;
use super::mark::{Mark, Places};
use super::names::primary_conninfo;
use super::pace::Pace;
use super::process::Owner;
use super::progress::{Phase, Progress};
use super::source::Source;
use super::trouble::Trouble;
use super::{Database, control, files};
use crate::adapters::salvage::branch::Branch;
use crate::adapters::salvage::rows::ReadError;
use crate::adapters::salvage::{self, Manifest};
use crate::protocol::event::DatabaseState;
use crate::protocol::log::Log;

/// What has no deadline of its own: recovery, copies. The node's next order ends it.
pub(super) const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// A standby stops for the comparison; if it does not, it is made to.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Salvages that fail before the whole directory is kept instead of its rows.
const SALVAGES: u32 = 5;
/// From the start of the standby until it streams.
const STREAM_WITHIN: Duration = Duration::from_secs(10);

/// A log that has left the peer's.
struct Lost<'a> {
    log: &'a Log,
    source: &'a Source,
    timeline: u32,
    fork: u64,
}

impl Database {
    /// Salvages, rewinds or copies, and follows; whatever part of that was done is not done again.
    /// `common`: up to there the logs are the same, as the node knows it from the names of their
    /// branches.
    pub(super) async fn rejoin(
        &mut self,
        common: Option<u64>,
        by: Deadline,
    ) -> Result<(), Trouble> {
        let places = self.places().await?;
        let owner = Owner::of(&self.postgres)?;
        let mark = self.mark(&places).await?;
        if let Some(Mark::Changing { keep } | Mark::Copied { keep, .. }) = mark {
            // What tools an earlier life left behind is ended first.
            self.stop_now(by).await?;
            return self.finish_copy(&places, &owner, keep, by).await;
        }
        self.report(Phase::Comparing, 0, None);
        let (log, system_id) = self.end_of_log(by).await?;
        let source = self.source(&owner).await?;
        if system_id.is_some_and(|local| local != source.system_id) {
            let local = system_id.unwrap_or_default();
            return Err(Trouble::OtherSystem { local, peer: source.system_id });
        }
        let timeline = log.timeline;
        let forks = self.on_disk(move |data| files::all_forks(data, timeline)).await??;
        // A standby that was no primary since has nothing but the peer's.
        let mark = self.mark(&places).await?;
        let trusted = !matches!(mark, Some(Mark::Own | Mark::Salvaging));
        let seen = compare(&forks, log.timeline, log.position, &source, trusted);
        match seen.corrected(common.filter(|_| !trusted), &forks, &log) {
            Divergence::Namesake { timeline, position } => {
                let lost = Lost { log: &log, source: &source, timeline, fork: position };
                self.leave_namesake(&places, &owner, &lost, by).await
            }
            Divergence::None => self.follow_part(&places, &owner, &log, by).await,
            Divergence::Unknown => {
                let (timeline, fork) = forks.last().map_or((1, 0), |last| (last.timeline, last.at));
                let lost = Lost { log: &log, source: &source, timeline, fork };
                self.keep_and_copy(&places, &owner, &lost, Trouble::SameTimeline, by).await
            }
            Divergence::At { timeline, position } => {
                let fork = position;
                let lost = Lost { log: &log, source: &source, timeline, fork };
                self.leave_branch(&places, &owner, &lost, by).await
            }
        }
    }

    /// Where the own log ends, as the server says in recovery.
    async fn end_of_log(&mut self, by: Deadline) -> Result<(Log, Option<u64>), Trouble> {
        self.start_as_standby(by).await?;
        self.until_it_answers(Deadline::now() + LONG).await?;
        let seen = self.look_again().await;
        match (seen.state, seen.log) {
            (DatabaseState::Standby, Some(log)) => Ok((log, seen.system_id)),
            _ => Err(self.trouble.take().unwrap_or(Trouble::NotUp)),
        }
    }

    /// The log is part of the peer's: it follows, unless the peer has not kept what it lacks.
    async fn follow_part(
        &mut self,
        places: &Places,
        owner: &Owner,
        log: &Log,
        by: Deadline,
    ) -> Result<(), Trouble> {
        self.report(Phase::Starting, 0, None);
        self.gone = self.is_gone(log).await?;
        if self.gone {
            return self.copy(places, owner, None, by).await;
        }
        self.follow(by).await?;
        if !self.look_again().await.streaming {
            return Ok(());
        }
        self.clear(places).await
    }

    /// Salvages the losing branch and goes to the peer's.
    async fn leave_branch(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
        by: Deadline,
    ) -> Result<(), Trouble> {
        if !self.salvage_branch(places, owner, lost, by).await? {
            return Ok(());
        }
        match self.rewind(places, owner, lost.source).await? {
            Ok(()) => self.finish(places, owner, by).await,
            Err(why) => {
                self.copy(places, owner, None, by).await.map_err(|copy| match copy {
                    // The copy's failure is what stands in the way now.
                    Trouble::Program { .. } => copy,
                    _ => why,
                })
            }
        }
    }

    /// Salvages a branch whose timelines have the numbers of the peer's: a rewind goes by the
    /// numbers and would find nothing to do.
    async fn leave_namesake(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
        by: Deadline,
    ) -> Result<(), Trouble> {
        if self.salvage_branch(places, owner, lost, by).await? {
            self.copy(places, owner, None, by).await?;
        }
        Ok(())
    }

    /// Salvages the losing branch; `false` when its rows cannot be read, again and again or for good,
    /// and the whole directory was kept and a copy made instead.
    async fn salvage_branch(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
        by: Deadline,
    ) -> Result<bool, Trouble> {
        if self.stop_cleanly(Deadline::now() + STOP_WITHIN).await.is_err() {
            self.stop_now(Deadline::now() + STOP_WITHIN).await?;
        }
        self.next_salvage.wait().await;
        let Err(why) = self.read_and_salvage(places, owner, lost).await else {
            self.next_salvage = Pace::AT_ONCE;
            return Ok(true);
        };
        if !is_about_rows(&why) {
            self.next_salvage.failed();
            let (there, for_files) = (places.clone(), owner.clone());
            self.change_long(move |_| there.salvage_failed(&for_files)).await?;
            let there = places.clone();
            if self.on_disk(move |_| there.failed_salvages()).await?? < SALVAGES {
                return Err(why);
            }
        }
        self.stop_now(Deadline::now() + STOP_WITHIN).await?;
        self.keep_and_copy(places, owner, lost, why, by).await.map(|()| false)
    }

    async fn read_and_salvage(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
    ) -> Result<(), Trouble> {
        let branch = self.losing_branch(places, owner, lost.fork, lost.log).await?;
        self.salvage(places, owner, lost, &branch).await
    }

    /// Salvages what was not salvaged before; afterwards the cluster is shut down in order.
    async fn salvage(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
        branch: &Branch,
    ) -> Result<(), Trouble> {
        let manifest = self.manifest(lost, Some(branch));
        let home = self.postgres.salvage_dir.clone();
        let (system, fork) = (manifest.system_id, manifest.fork.clone());
        let (timeline, last) = (manifest.timeline, manifest.last_commit.clone());
        let done = self
            .blocking(move || {
                salvage::list(&home).map(|all| {
                    all.iter().map(|one| &one.manifest).any(|one| {
                        one.complete
                            && one.system_id == system
                            && one.timeline == timeline
                            && one.fork == fork
                            && one.last_commit == last
                    })
                })
            })
            .await??;
        let is_clean = self.on_disk(control::Control::read).await??.state != control::State::Other;
        let needed = !done && branch.transactions > 0;
        if !needed && is_clean {
            return Ok(());
        }
        self.start_isolated(places, owner).await?;
        if needed {
            self.write_salvage(places, branch, manifest).await?;
        }
        self.stop_isolated().await
    }

    fn manifest(&self, lost: &Lost<'_>, branch: Option<&Branch>) -> Manifest {
        let now = jiff::Timestamp::now();
        let fork = position(lost.fork);
        Manifest {
            id: format!(
                "{}-tl{}-{}",
                now.strftime("%Y%m%dT%H%M%SZ"),
                lost.timeline,
                fork.replace('/', "-")
            ),
            node: self.own_name.clone(),
            peer: self.peer_node.clone(),
            written: now.to_string(),
            system_id: lost.source.system_id,
            fork_timeline: lost.timeline,
            fork,
            timeline: lost.log.timeline,
            peer_timeline: lost.source.timeline,
            transactions: branch.map_or(0, |branch| branch.transactions),
            last_commit: branch.and_then(|branch| branch.last_commit.clone()),
            complete: false,
            kept: None,
            tables: Vec::new(),
        }
    }

    /// The rows cannot be read: the whole directory is kept, for good, and a copy made.
    async fn keep_and_copy(
        &mut self,
        places: &Places,
        owner: &Owner,
        lost: &Lost<'_>,
        why: Trouble,
        by: Deadline,
    ) -> Result<(), Trouble> {
        self.stop_now(Deadline::now() + STOP_WITHIN).await?;
        let manifest = self.manifest(lost, None);
        let keep = manifest.id.clone();
        self.write_kept(places, manifest, &why).await?;
        self.copy(places, owner, Some(keep), by).await
    }

    /// The files are the peer's: starts the standby and waits until it streams.
    pub(super) async fn finish(
        &mut self,
        places: &Places,
        owner: &Owner,
        by: Deadline,
    ) -> Result<(), Trouble> {
        self.report(Phase::Starting, 0, None);
        self.gone = false;
        let (there, for_files) = (places.clone(), owner.clone());
        self.change_long(move |data| {
            there.restore_config(data)?;
            files::put_standby_signal(data, &for_files)?;
            there.remove_mark()
        })
        .await?;
        let primary = primary_conninfo(&self.postgres, &self.own_name);
        self.launch_as_standby(owner, &primary, by).await?;
        self.until_streaming(STREAM_WITHIN).await;
        if self.look_again().await.streaming {
            self.clear(places).await?;
        }
        Ok(())
    }

    /// The peer has removed the part of its log that the standby needs next.
    pub(super) async fn is_gone(&self, log: &Log) -> Result<bool, Trouble> {
        let owner = Owner::of(&self.postgres)?;
        let source = self.source(&owner).await?;
        let size = self.on_disk(control::Control::read).await??.segment;
        if log.position >= source.position {
            return Ok(false);
        }
        let number = log.position / size;
        let sends = self.source_sends(&owner, log.timeline, number, size, log.position + 1);
        Ok(!sends.await?)
    }

    pub(super) async fn places(&self) -> Result<Places, Trouble> {
        self.on_disk(Places::of).await
    }

    pub(super) async fn mark(&self, places: &Places) -> Result<Option<Mark>, Trouble> {
        let places = places.clone();
        self.on_disk(move |_| places.mark()).await?
    }

    pub(super) async fn set_mark(
        &self,
        places: &Places,
        owner: &Owner,
        mark: Mark,
    ) -> Result<(), Trouble> {
        let (places, owner) = (places.clone(), owner.clone());
        self.change_long(move |_| places.set_mark(&mark, &owner)).await
    }

    async fn clear(&self, places: &Places) -> Result<(), Trouble> {
        let places = places.clone();
        self.change_long(move |_| places.clear()).await
    }

    pub(super) fn report(&self, phase: Phase, done: u64, total: Option<u64>) {
        self.progress.send_replace(Some(Progress { phase, done, total }));
    }

    pub(super) async fn until_streaming(&mut self, within: Duration) {
        let by = Deadline::now() + within;
        while Deadline::now() < by {
            let seen = self.look_again().await;
            if seen.streaming || seen.diverged || seen.state == DatabaseState::Stopped {
                break;
            }
            sleep(super::deeds::STREAM_POLL).await;
        }
    }
}

/// Trying again would meet the same rows.
fn is_about_rows(why: &Trouble) -> bool {
    match why {
        Trouble::BranchIncomplete(_)
        | Trouble::Ended(_)
        | Trouble::Salvage(ReadError::Answer(_)) => true,
        Trouble::Salvage(ReadError::Server { error, .. }) => error.as_db_error().is_some(),
        _ => false,
    }
}
