//! `duotone salvage`: the rows that only a losing branch had, as files, and back into the database.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::adapters::salvage::merge::{MergeError, Merged, Target};
use crate::adapters::salvage::{self, Line, Salvage};
use crate::config::{Config, Postgres};

use super::{Error, Exit, say};

/// Every salvage of this node.
pub(super) fn list(config: &Config, as_json: bool) -> Result<Exit, Error> {
    let all = salvage::list(&postgres(config)?.salvage_dir).map_err(Error::other)?;
    if as_json {
        let all: Vec<_> = all.iter().map(described).collect();
        return say(&json!({ "salvages": all }).to_string());
    }
    if all.is_empty() {
        return say("nothing was salvaged on this node");
    }
    let mut text = String::new();
    for one in &all {
        text.push_str(&summary(one));
    }
    say(&text)
}

/// One salvage, row by row.
pub(super) fn show(
    config: &Config,
    id: &str,
    table: Option<&str>,
    as_json: bool,
) -> Result<Exit, Error> {
    let found = find(postgres(config)?, id)?;
    let mut tables = found.manifest.tables.iter().filter(|one| {
        table.is_none_or(|name| [one.full_name().as_str(), one.table.as_str()].contains(&name))
    });
    let mut rows: Vec<Line> = Vec::new();
    let mut none = true;
    for one in tables.by_ref() {
        none = false;
        for row in found.rows(one).map_err(Error::other)? {
            rows.push(row.map_err(Error::other)?);
        }
    }
    if let Some(name) = table.filter(|_| none) {
        return Err(Error::Usage(format!("salvage {id} has no rows of a table {name}")));
    }
    if as_json {
        return say(&json!({ "salvage": described(&found), "rows": rows }).to_string());
    }
    let mut text = summary(&found);
    for row in rows {
        let Line { database, schema, table, committed, lsn, xid, row, .. } = row;
        text.push_str(&format!(
            "{database}.{schema}.{table}  {committed}  {lsn}  transaction {xid}\n  {row}\n"
        ));
    }
    say(&text)
}

/// Into the local server, which must be the serving one.
pub(super) fn merge(
    config: &Config,
    id: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Exit, Error> {
    let postgres = postgres(config)?;
    let found = find(postgres, id)?;
    if let Some(kept) = &found.manifest.kept {
        return Err(Error::Refused(format!(
            "this salvage has no rows to merge: the whole directory was kept as {} ({})",
            kept.directory.display(),
            kept.why
        )));
    }
    let target = Target {
        socket_dir: &postgres.socket_dir,
        port: postgres.port,
        user: &postgres.user,
        database: &postgres.database,
        node: config.name(),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::other)?;
    let merged = match runtime.block_on(target.merge(&found, dry_run)) {
        Ok(merged) => merged,
        Err(MergeError::Standby) => return Err(Error::Refused(elsewhere(config, &found))),
        Err(other @ MergeError::OtherSystem { .. }) => {
            return Err(Error::Refused(other.to_string()));
        }
        Err(other) => return Err(Error::other(other)),
    };
    let all_there = merged.tables.iter().all(|table| table.failed == 0);
    if as_json {
        let counts = json!({ "id": found.manifest.id, "merged": merged });
        say(&counts.to_string())?;
    } else {
        say(&counts(&merged))?;
    }
    Ok(if all_there { Exit::Ok } else { Exit::No })
}

fn postgres(config: &Config) -> Result<&Postgres, Error> {
    let none = || Error::Usage("this pair has no database: there is no [postgres]".to_owned());
    config.postgres.as_ref().ok_or_else(none)
}

/// By its name, the beginning of it, or its directory.
fn find(postgres: &Postgres, id: &str) -> Result<Salvage, Error> {
    if id.contains('/') {
        return salvage::open(Path::new(id)).map_err(|error| Error::Usage(error.to_string()));
    }
    let all = salvage::list(&postgres.salvage_dir).map_err(Error::other)?;
    let name = |one: &Salvage| one.directory.file_name().map(PathBuf::from).unwrap_or_default();
    let exact = all.iter().position(|one| name(one) == Path::new(id));
    let mut begin = all.iter().enumerate().filter(|(_, one)| one.manifest.id.starts_with(id));
    let place = match (exact, begin.next(), begin.next()) {
        (Some(place), ..) | (None, Some((place, _)), None) => place,
        (None, None, _) => {
            return Err(Error::Usage(format!(
                "there is no salvage {id} in {}; `duotone salvage list` names them",
                postgres.salvage_dir.display()
            )));
        }
        (None, Some(_), Some(_)) => {
            return Err(Error::Usage(format!("more than one salvage begins with {id}")));
        }
    };
    all.into_iter().nth(place).ok_or_else(|| Error::Usage(format!("there is no salvage {id}")))
}

fn elsewhere(config: &Config, found: &Salvage) -> String {
    let directory = found.directory.display();
    format!(
        "the local server of {} is a standby, and rows go where the role is: copy {directory} to \
         {} (scp -rp) and run `duotone salvage merge DIRECTORY` there, or move the role here first",
        config.name(),
        config.peer_name()
    )
}

fn described(found: &Salvage) -> serde_json::Value {
    json!({
        "directory": found.directory,
        "manifest": found.manifest,
        "merged": found.merged,
    })
}

fn summary(found: &Salvage) -> String {
    let manifest = &found.manifest;
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    let mut text = format!(
        "{}  {}: {} transactions past {} on timeline {} that {} (timeline {}) never had; {} rows; {}\n",
        found.directory.file_name().unwrap_or_default().to_string_lossy(),
        manifest.node,
        manifest.transactions,
        manifest.fork,
        manifest.fork_timeline,
        manifest.peer,
        manifest.peer_timeline,
        rows,
        match &found.merged {
            Some(merged) => format!("merged on {} at {}", merged.node, merged.at),
            None => "not merged".to_owned(),
        }
    );
    if let Some(kept) = &manifest.kept {
        text.push_str(&format!("  kept whole: {} ({})\n", kept.directory.display(), kept.why));
    }
    for table in &manifest.tables {
        let deleted = match table.deleted {
            0 => String::new(),
            count => format!(", {count} deleted there (not repeated here)"),
        };
        text.push_str(&format!("  {}: {} rows{deleted}\n", table.full_name(), table.rows));
    }
    text
}

fn counts(merged: &Merged) -> String {
    let mut text = match merged.dry_run {
        true => "a dry run; nothing was changed\n".to_owned(),
        false => String::new(),
    };
    for table in &merged.tables {
        text.push_str(&format!(
            "{}: {} inserted, {} there already, {} kept out by another row, {} failed\n",
            table.table, table.inserted, table.present, table.different, table.failed
        ));
        if let Some(why) = &table.why {
            text.push_str(&format!("  {why}\n"));
        }
    }
    if merged.tables.is_empty() {
        text.push_str("there are no rows to merge\n");
    }
    text
}
