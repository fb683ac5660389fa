//! The two ways to the peer's files: `pg_rewind`, and a base backup beside the directory that then
//! takes its place.

use tokio::time::Instant as Deadline;

use super::control::Control;
use super::mark::{Mark, Places, inode};
use super::pace::Pace;
use super::process::{self, Owner};
use super::progress::{Phase, kilobytes};
use super::source::Source;
use super::tool::Ended;
use super::trouble::Trouble;
use super::{Database, files, tool};

/// Attempts at a rewind before the whole cluster is copied.
const REWINDS: u32 = 2;

impl Database {
    /// Rewinds the cluster, which is shut down in order and salvaged. The inner error says why it
    /// has to be copied instead; the outer one ends the attempt.
    pub(super) async fn rewind(
        &mut self,
        places: &Places,
        owner: &Owner,
        source: &Source,
    ) -> Result<Result<(), Trouble>, Trouble> {
        let mut why = Trouble::NotRewound("not tried");
        for _ in 0..REWINDS {
            self.report(Phase::Checkpoint, 0, None);
            if let Err(refused) = self.checkpoint_source(owner).await {
                why = refused;
                continue;
            }
            let (there, for_files) = (places.clone(), owner.clone());
            self.change_long(move |_| {
                there.save_config(&for_files)?;
                there.set_mark(&Mark::Changing { keep: None }, &for_files)
            })
            .await?;
            let ended = self.run_rewind(owner).await?;
            match self.judge(&ended, source).await {
                Ok(()) => return Ok(Ok(())),
                Err(trouble) => why = trouble,
            }
            if has_changed_files(&ended) {
                // What is half rewound cannot be rewound again.
                break;
            }
            self.set_mark(places, owner, Mark::Salvaging).await?;
        }
        Ok(Err(why))
    }

    async fn run_rewind(&mut self, owner: &Owner) -> Result<Ended, Trouble> {
        self.report(Phase::Rewinding, 0, None);
        let mut command =
            process::tool(&self.postgres, owner, "pg_rewind", &self.postgres.data_dir);
        command.arg("--target-pgdata").arg(&self.postgres.data_dir);
        command.args(["--no-ensure-shutdown", "--progress", "--source-server"]);
        command.arg(self.source_conninfo(Some(&self.postgres.database)));
        let told = |line: &str| {
            if let Some((done, total)) = kilobytes(line) {
                self.report(Phase::Rewinding, done, Some(total));
            }
        };
        tool::run(command, "pg_rewind", |_| {}, told).await
    }

    /// A good end alone proves nothing: before the source's first checkpoint `pg_rewind` finds
    /// nothing to do on a diverged cluster, and says that this is well.
    async fn judge(&self, ended: &Ended, source: &Source) -> Result<(), Trouble> {
        if !ended.status.success() {
            return Err(ended.trouble("pg_rewind"));
        }
        if ended.said.contains("no rewind required") {
            return Err(Trouble::NotRewound("not rewound: it says that none is required"));
        }
        let control = self.on_disk(Control::read).await??;
        match control.minimum_timeline == source.timeline {
            true => Ok(()),
            false => Err(Trouble::NotRewound("not on the peer's timeline")),
        }
    }

    /// Copies the whole cluster from the peer into the place of this one.
    pub(super) async fn copy(
        &mut self,
        places: &Places,
        owner: &Owner,
        keep: Option<String>,
        by: Deadline,
    ) -> Result<(), Trouble> {
        self.stop_now(Deadline::now() + super::rejoin::LONG).await?;
        let (there, for_files, mark) =
            (places.clone(), owner.clone(), Mark::Changing { keep: keep.clone() });
        self.change_long(move |_| {
            there.save_config(&for_files)?;
            there.set_mark(&mark, &for_files)
        })
        .await?;
        self.finish_copy(places, owner, keep, by).await
    }

    /// Goes on with a copy that was begun, in whatever state it is.
    pub(super) async fn finish_copy(
        &mut self,
        places: &Places,
        owner: &Owner,
        keep: Option<String>,
        by: Deadline,
    ) -> Result<(), Trouble> {
        let complete = match self.mark(places).await? {
            Some(Mark::Copied { new, .. }) => {
                let there = places.clone();
                self.on_disk(move |_| {
                    (inode(&there.side()) == Some(new) || inode(&there.data) == Some(new))
                        .then_some(new)
                })
                .await?
            }
            Some(Mark::Changing { .. } | Mark::Salvaging | Mark::Own) | None => None,
        };
        let new = match complete {
            Some(new) => new,
            None => self.copy_aside(places, owner, keep.clone()).await?,
        };
        let there = places.clone();
        self.change_long(move |_| there.swap(new, keep.as_deref())).await?;
        self.forks = None;
        self.finish(places, owner, by).await
    }

    /// A base backup in the directory beside, with this host's configuration; its inode.
    async fn copy_aside(
        &mut self,
        places: &Places,
        owner: &Owner,
        keep: Option<String>,
    ) -> Result<u64, Trouble> {
        self.next_copy.wait().await;
        // Counts until it has succeeded, however it ends: copies burden the peer.
        self.next_copy.failed();
        self.report(Phase::Copying, 0, None);
        let (there, for_files) = (places.clone(), owner.clone());
        self.change_long(move |_| there.make_empty(&there.side(), &for_files)).await?;
        // In the cluster's directory, where it is found should it outlive its order.
        let data = places.data.clone();
        let home = self.on_disk(move |_| data.is_dir().then_some(data)).await?;
        let home = home.unwrap_or_else(|| places.side());
        let mut command = process::tool(&self.postgres, owner, "pg_basebackup", &home);
        command.arg("--pgdata").arg(places.side());
        command.args(["--wal-method=stream", "--checkpoint=fast", "--progress"]);
        command
            .arg("--dbname")
            .arg(super::names::primary_conninfo(&self.postgres, "pg_basebackup"));
        let told = |line: &str| {
            if let Some((done, total)) = kilobytes(line) {
                self.report(Phase::Copying, done, Some(total));
            }
        };
        let ended = tool::run(command, "pg_basebackup", |_| {}, told).await?;
        if self.progress.borrow().is_some_and(|now| now.done == 0) {
            // It cost the peer nothing: that is asked again as soon as ever.
            self.next_copy.forgive();
        }
        ended.succeeded("pg_basebackup")?;
        let (there, for_files) = (places.clone(), owner.clone());
        self.change_long(move |_| {
            let new = there.side();
            there.restore_config(&new)?;
            files::put_standby_signal(&new, &for_files)?;
            let number = inode(&new).ok_or(Trouble::Answer("inode"))?;
            there.set_mark(&Mark::Copied { new: number, keep }, &for_files)
        })
        .await?;
        self.next_copy = Pace::AT_ONCE;
        match self.mark(places).await? {
            Some(Mark::Copied { new, .. }) => Ok(new),
            Some(_) | None => Err(Trouble::Answer("mark of the copy")),
        }
    }
}

/// It says so just before it changes the first file.
fn has_changed_files(ended: &Ended) -> bool {
    ended.said.contains("need to copy") && !ended.said.contains("no rewind required")
}
