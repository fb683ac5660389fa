//! What the cluster knows and is told: the one place that runs Pacemaker's tools.
//!
//! Three things are kept there, each an attribute of a node that ends with the node's membership:
//!
//! ```text
//! duotone-whole-RESOURCE     yes | no       this node's server holds every acknowledged row
//! duotone-position-RESOURCE  TIMELINE/LSN   where its log ends, while a promotion is prepared
//! master-RESOURCE            N              its promotion score
//! ```
//! Attributes are applied by a daemon of the cluster, after the tool that sets them has ended. What
//! safety depends on is therefore read back: that daemon shows its own node a value only when every
//! member is sent it, in the same order.
//!
//! Without a cluster (a call by hand, `ocf-tester`) nothing is told and nothing is known.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::score::Mark;
use crate::adapters::owner;
use crate::ocf::code::{Answer, Code};
use crate::ocf::parameter::Reader;

/// A tool that hangs must not take the whole time of an action.
const TOOL_WITHIN: Duration = Duration::from_secs(10);
const READ_BACK_WITHIN: Duration = Duration::from_secs(5);
const READ_BACK_POLL: Duration = Duration::from_millis(20);
/// What was told is told again after this time.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// `CRM_EX_NOSUCH`: there is no such attribute.
const NO_SUCH: i32 = 105;

/// Where a log ends. A later timeline is ahead of an earlier one, however long that is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) timeline: u32,
    pub(super) at: u64,
}

impl Position {
    fn parse(text: &str) -> Option<Position> {
        let (timeline, at) = text.split_once('/')?;
        Some(Position { timeline: timeline.parse().ok()?, at: u64::from_str_radix(at, 16).ok()? })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{:X}", self.timeline, self.at)
    }
}

/// The cluster, as this resource uses it.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// There is one.
    there: bool,
    resource: String,
    pub(super) me: String,
    pub(super) peer: String,
}

impl Cluster {
    /// Anonymous clones have one name on both nodes; a number would be no part of it.
    pub(super) fn read(reader: &Reader<'_>, instance: &str, me: &str, peer: &str) -> Cluster {
        let resource = instance.split(':').next().unwrap_or(instance).to_owned();
        let there = reader.variable("OCF_RESKEY_CRM_meta_on_node").is_some();
        Cluster { there, resource, me: me.to_owned(), peer: peer.to_owned() }
    }

    /// There is somebody who decides over two nodes.
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// This node has told, not long ago, that the peer holds everything: a regular monitor need not
    /// ask the cluster's tools, which take longer than all of its own work.
    pub(super) fn has_told_whole(&self) -> bool {
        let since = |path: PathBuf| fs::metadata(path)?.modified();
        let age = self.told().and_then(since).map(|when| when.elapsed().unwrap_or(TOLD_FOR));
        age.is_ok_and(|age| age < TOLD_FOR)
    }

    /// Keeps in mind, until the host boots, that it was told; or that it is no longer so.
    pub(super) fn remember_told(&self, whole: bool) -> Result<(), Answer> {
        let remember = || match (self.told()?, whole) {
            (path, true) => fs::write(path, "whole\n"),
            (path, false) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        };
        let reason = |error| format!("what was told of {} is not kept: {error}", self.peer);
        remember().map_err(|error| Answer::new(Code::Generic, reason(error)))
    }

    fn told(&self) -> io::Result<PathBuf> {
        Ok(owner::directory()?.join(format!("told-{}-{}", self.resource, self.me)))
    }

    /// Says how much this node should be wanted as the promoted one. (`crm_attribute -p` without a
    /// name misreads a negative value, Pacemaker 2.1.5.)
    pub(super) async fn set_score(&self, node: &str, score: i32) -> Result<(), Answer> {
        let promotion = format!("--promotion={}", self.resource);
        let (node, update) = (format!("--node={node}"), format!("--update={score}"));
        self.tell("crm_attribute", &[&promotion, &node, "--lifetime=reboot", &update]).await
    }

    pub(super) async fn mark(&self, node: &str) -> Result<Mark, Answer> {
        Ok(match self.value(&self.whole(), node).await?.as_deref() {
            Some("yes") => Mark::Whole,
            Some("no") => Mark::Lacking,
            Some(_) | None => Mark::Unknown,
        })
    }

    /// Ends when it can be relied on.
    pub(super) async fn set_mark(&self, node: &str, whole: bool) -> Result<(), Answer> {
        if !self.there {
            return Ok(());
        }
        let (word, wanted) = if whole { ("yes", Mark::Whole) } else { ("no", Mark::Lacking) };
        self.set(&self.whole(), node, word, &[]).await?;
        let by = Instant::now() + READ_BACK_WITHIN;
        while self.mark(node).await? != wanted {
            if Instant::now() >= by {
                let reason = format!(
                    "the cluster does not show {} = {word} of {node}, which was just set: look at \
                     pacemaker-attrd",
                    self.whole()
                );
                return Err(Answer::new(Code::Generic, reason));
            }
            sleep(READ_BACK_POLL).await;
        }
        Ok(())
    }

    /// Tells the other node where the log of this one ends.
    pub(super) async fn publish(&self, position: Position) -> Result<(), Answer> {
        self.set(&self.position(), &self.me, &position.to_string(), &["--private"]).await
    }

    /// Where the peer has said that its log ends.
    pub(super) async fn published(&self) -> Result<Option<Position>, Answer> {
        let value = self.value(&self.position(), &self.peer).await?;
        Ok(value.as_deref().and_then(Position::parse))
    }

    /// What this node and the peer said of their logs is no longer so.
    pub(super) async fn forget_positions(&self) -> Result<(), Answer> {
        for node in [&self.me, &self.peer] {
            if self.value(&self.position(), node).await?.is_some() {
                let (name, node) =
                    (format!("--name={}", self.position()), format!("--node={node}"));
                self.tell("attrd_updater", &["--delete", &name, &node]).await?;
            }
        }
        Ok(())
    }

    /// Whether the cluster takes the peer's instance for running: one that was stopped, or whose
    /// host was fenced, is not.
    pub(super) async fn is_peer_running(&self) -> Result<bool, Answer> {
        if !self.there {
            return Ok(false);
        }
        let name = format!("--resource={}", self.resource);
        let said = self.run("crm_resource", &["--locate", "--quiet", &name]).await?;
        match said.code {
            Some(0) => Ok(said.names(&self.peer)),
            _ => Err(said.failure("crm_resource")),
        }
    }

    /// Whether the peer's host is a member of the cluster as this one sees it.
    pub(super) async fn is_peer_member(&self) -> Result<bool, Answer> {
        let said = self.run("crm_node", &["--partition"]).await?;
        match said.code {
            Some(0) => Ok(said.names(&self.peer)),
            _ => Err(said.failure("crm_node")),
        }
    }

    fn whole(&self) -> String {
        format!("duotone-whole-{}", self.resource)
    }

    fn position(&self) -> String {
        format!("duotone-position-{}", self.resource)
    }

    async fn set(&self, name: &str, node: &str, value: &str, more: &[&str]) -> Result<(), Answer> {
        let words =
            [format!("--name={name}"), format!("--node={node}"), format!("--update={value}")];
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.tell("attrd_updater", &words).await
    }

    async fn value(&self, name: &str, node: &str) -> Result<Option<String>, Answer> {
        if !self.there {
            return Ok(None);
        }
        let words = [format!("--name={name}"), format!("--node={node}")];
        let said = self.run("attrd_updater", &["--query", &words[0], &words[1]]).await?;
        match said.code {
            // name="…" host="…" value="…"
            Some(0) => Ok(said.quoted("value").filter(|value| !value.is_empty())),
            Some(NO_SUCH) => Ok(None),
            Some(_) if said.err.contains("does not exist") => Ok(None),
            Some(_) | None => Err(said.failure("attrd_updater")),
        }
    }

    async fn tell(&self, tool: &'static str, words: &[&str]) -> Result<(), Answer> {
        if !self.there {
            return Ok(());
        }
        let said = self.run(tool, words).await?;
        if said.code == Some(0) { Ok(()) } else { Err(said.failure(tool)) }
    }

    async fn run(&self, tool: &'static str, words: &[&str]) -> Result<Said, Answer> {
        let mut command = Command::new(tool);
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        let ended = match timeout(TOOL_WITHIN, command.output()).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                let reason = format!("{tool} cannot be run: {error}");
                return Err(Answer::new(Code::Generic, reason));
            }
            Err(_) => {
                let seconds = TOOL_WITHIN.as_secs();
                let reason = format!("{tool} did not end within {seconds} s: is Pacemaker well?");
                return Err(Answer::new(Code::Generic, reason));
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&ended.stdout), text(&ended.stderr));
        Ok(Said { code: ended.status.code(), out, err })
    }
}

/// What a tool said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn names(&self, node: &str) -> bool {
        self.out.split_whitespace().any(|word| word == node)
    }

    fn quoted(&self, key: &str) -> Option<String> {
        let (_, rest) = self.out.split_once(&format!("{key}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    }

    fn failure(&self, tool: &str) -> Answer {
        let last = self.err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Answer::new(Code::Generic, format!("{tool}: {}", last.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_later_timeline_is_ahead() {
        let position = |text| Position::parse(text).expect("a position");
        assert!(position("2/10") > position("1/FF"));
        assert!(position("2/A0") > position("2/9F"));
        assert_eq!(position("2/A0").to_string(), "2/A0");
        assert_eq!(Position::parse("2"), None);
    }
}
