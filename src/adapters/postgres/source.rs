//! The peer's server, as the one to come back from: asked by the server's own client programs, so
//! that password file, authentication and encryption are what the replica's connection has.

use std::time::Duration;

use super::files::{parse_history, parse_position};
use super::losing::{position, segment_name};
use super::names::primary_conninfo;
use super::process::{self, Owner};
use super::trouble::Trouble;
use super::{Database, files, tool};
use crate::protocol::log::Fork;

const CHECKPOINT: &str = include_str!("../../../sql/checkpoint.sql");
const IDENTIFY_SYSTEM: &str = include_str!("../../../sql/identify_system.sql");

/// A peer that is there answers sooner.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Where the peer's log stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub(super) system_id: u64,
    pub(super) timeline: u32,
    pub(super) position: u64,
    /// Every timeline before this one, oldest first.
    pub(super) forks: Vec<Fork>,
}

impl Database {
    /// The connection string to the peer's server: with a database for statements, else as a
    /// replica.
    pub(super) fn source_conninfo(&self, database: Option<&str>) -> String {
        let conninfo = primary_conninfo(&self.postgres, &self.own_name);
        match database {
            Some(name) => {
                let name = name.replace('\\', "\\\\").replace('\'', "\\'");
                format!("{conninfo} dbname='{name}'")
            }
            None => format!("{conninfo} replication=true"),
        }
    }

    /// Timeline, position and history of the peer's server.
    pub(super) async fn source(&self, owner: &Owner) -> Result<Source, Trouble> {
        let answer = self.ask_source(owner, None, IDENTIFY_SYSTEM.trim()).await?;
        let mut fields = answer.trim().split('|');
        let mut field = |name| fields.next().ok_or(Trouble::Answer(name));
        let number = |_| Trouble::Answer("system identifier");
        let system_id = field("system identifier")?.parse().map_err(number)?;
        let timeline: u32 = field("timeline")?.parse().map_err(|_| Trouble::Answer("timeline"))?;
        let position = parse_position(field("position")?).ok_or(Trouble::Answer("position"))?;
        let forks = match timeline {
            1 => Vec::new(),
            _ => {
                let ask = format!("TIMELINE_HISTORY {timeline}");
                let answer = self.ask_source(owner, None, &ask).await?;
                let text = answer.split_once('|').map(|(_name, text)| text);
                text.and_then(parse_history).ok_or(Trouble::Answer("timeline history"))?
            }
        };
        Ok(Source { system_id, timeline, position, forks })
    }

    /// Has the peer's server write a checkpoint, without which `pg_rewind` may not see that it was
    /// promoted.
    pub(super) async fn checkpoint_source(&self, owner: &Owner) -> Result<(), Trouble> {
        self.ask_source(owner, Some(&self.postgres.database), CHECKPOINT).await.map(drop)
    }

    /// Whether the peer's server still sends its log from this file of it on, up to `end`, which it
    /// has written. Its statements may not be this role's to run, so it is tried: `pg_receivewal`
    /// goes on after the last whole file that it finds in its directory.
    pub(super) async fn source_sends(
        &self,
        owner: &Owner,
        timeline: u32,
        number: u64,
        size: u64,
        end: u64,
    ) -> Result<bool, Trouble> {
        let places = self.places().await?;
        let directory = places.probe();
        let (there, for_files) = (places.clone(), owner.clone());
        self.change_long(move |_| {
            there.make_empty(&there.probe(), &for_files)?;
            let before = number.checked_sub(1).ok_or(Trouble::Answer("position"))?;
            let path = there.probe().join(segment_name(timeline, before, size));
            let make = || std::fs::File::create_new(&path)?.set_len(size);
            make().map_err(|error| Trouble::File { path: path.clone(), error })?;
            files::give(&path, &for_files)
        })
        .await?;
        let mut command = process::tool(&self.postgres, owner, "pg_receivewal", &directory);
        command.arg("--directory").arg(&directory).args(["--no-loop", "--no-sync"]);
        command.args(["--endpos", &position(end)]);
        command.arg("--dbname").arg(primary_conninfo(&self.postgres, "pg_receivewal"));
        let ended =
            tokio::time::timeout(PROBE_WITHIN, tool::run(command, "pg_receivewal", |_| {}, |_| {}));
        let ended = ended.await.map_err(|_| Trouble::Overdue {
            doing: "asking the peer for its log",
            after: PROBE_WITHIN,
        })??;
        match ended.status.success() {
            true => Ok(true),
            false if ended.said.contains("has already been removed") => Ok(false),
            false => Err(ended.trouble("pg_receivewal")),
        }
    }

    pub(super) async fn ask_source(
        &self,
        owner: &Owner,
        database: Option<&str>,
        statement: &str,
    ) -> Result<String, Trouble> {
        let mut command = process::tool(&self.postgres, owner, "psql", "/".as_ref());
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.source_conninfo(database)]);
        command.args(["-c", statement]);
        let mut answer = String::new();
        let keep = |line: &str| {
            answer.push_str(line);
            answer.push('\n');
        };
        tool::run(command, "psql", keep, |_| {}).await?.succeeded("psql")?;
        Ok(answer)
    }
}
