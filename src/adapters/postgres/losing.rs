//! Reads the losing branch: every record of the own log past the fork.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::control::Control;
use super::mark::Places;
use super::process::{self, Owner};
use super::progress::Phase;
use super::trouble::Trouble;
use super::{Database, files, tool};
use crate::adapters::salvage::branch::Branch;
use crate::protocol::log::Log;

/// A position as PostgreSQL writes it.
pub(super) fn position(at: u64) -> String {
    format!("{:X}/{:X}", at >> 32, at & 0xFFFF_FFFF)
}

/// The name of the file of the log with this number (`XLogFileName`).
pub(super) fn segment_name(timeline: u32, number: u64, size: u64) -> String {
    let per_id = 0x1_0000_0000 / size;
    format!("{timeline:08X}{:08X}{:08X}", number / per_id, number % per_id)
}

impl Database {
    /// The records of the stopped cluster's log from `fork` on; its log ended at `log` at least.
    pub(super) async fn losing_branch(
        &mut self,
        places: &Places,
        owner: &Owner,
        fork: u64,
        log: &Log,
    ) -> Result<Branch, Trouble> {
        self.report(Phase::ReadingLog, 0, None);
        let (there, for_files, log) = (places.clone(), owner.clone(), log.clone());
        let timeline = log.timeline;
        self.change_long(move |data_dir| {
            there.make_empty(&there.wal(), &for_files)?;
            link_segments(data_dir, &there.wal(), fork, &log)
        })
        .await?;
        let mut command = process::tool(&self.postgres, owner, "pg_waldump", &places.wal());
        command.arg("-p").arg(places.wal());
        command.args(["-t", &timeline.to_string(), "-s", &position(fork)]);
        let mut branch = Branch::default();
        let ended = tool::run(command, "pg_waldump", |line| branch.read(line), |_| {}).await?;
        // The log has no last record: reading ends where nothing more can be read.
        let at_its_end = ["error in WAL record at", "could not find a valid record after"]
            .iter()
            .any(|end| ended.said.contains(end))
            // Or exactly with a file.
            || ended.said.contains("could not find file");
        match ended.status.success() || at_its_end {
            true => Ok(branch),
            false => Err(ended.trouble("pg_waldump")),
        }
    }
}

impl Database {
    /// The stopped cluster's log on this timeline has a record here.
    pub(super) async fn has_record(
        &self,
        owner: &Owner,
        timeline: u32,
        at: u64,
    ) -> Result<bool, Trouble> {
        let wal = self.postgres.data_dir.join("pg_wal");
        let mut command = process::tool(&self.postgres, owner, "pg_waldump", &wal);
        command.arg("-p").arg(&wal).args(["-n", "1"]);
        command.args(["-t", &timeline.to_string(), "-s", &position(at)]);
        let mut found = false;
        tool::run(command, "pg_waldump", |line| found |= line.starts_with("rmgr: "), |_| {})
            .await?;
        Ok(found)
    }
}

/// The files of the log from `fork` on under the names of one timeline, each from the newest
/// timeline that has it, as the server itself reads them (`XLogFileReadAnyTLI`).
fn link_segments(data_dir: &Path, to: &Path, fork: u64, log: &Log) -> Result<(), Trouble> {
    let size = Control::read(data_dir)?.segment;
    let mut timelines: Vec<(u32, u64)> =
        files::all_forks(data_dir, log.timeline)?.iter().map(|f| (f.timeline, f.at)).collect();
    timelines.push((log.timeline, u64::MAX));
    let wal = data_dir.join("pg_wal");
    for number in fork / size.. {
        let mut begins = 0;
        let mut found = None;
        for &(timeline, ends) in &timelines {
            let path = wal.join(segment_name(timeline, number, size));
            if begins < (number + 1) * size && path.is_file() {
                found = Some(path);
            }
            begins = ends;
        }
        match found {
            Some(path) => {
                let link = to.join(segment_name(log.timeline, number, size));
                symlink(&path, &link).map_err(|error| Trouble::File { path: link, error })?;
            }
            None if number * size < log.position => {
                return Err(Trouble::BranchIncomplete(position(fork)));
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The history of a timeline that the cluster is not known to be on.
pub(super) struct Foreign {
    pub(super) path: PathBuf,
    /// Where it leaves the cluster's own timeline; `None` if it does not come from there at all.
    pub(super) fork: Option<(u32, u64)>,
}

/// Histories of later timelines than the stopped cluster's own.
pub(super) fn foreign_histories(data_dir: &Path) -> Vec<Foreign> {
    let Ok(control) = Control::read(data_dir) else { return Vec::new() };
    let own = control.timeline.max(control.minimum_timeline);
    let Ok(entries) = fs::read_dir(data_dir.join("pg_wal")) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".history");
        let number = number.and_then(|number| u32::from_str_radix(number, 16).ok());
        let Some(timeline) = number.filter(|timeline| *timeline > own) else { continue };
        let Ok(forks) = files::all_forks(data_dir, timeline) else { continue };
        let fork = forks.iter().find(|fork| fork.timeline == own);
        found.push(Foreign { path, fork: fork.map(|fork| (own, fork.at)) });
    }
    found
}
