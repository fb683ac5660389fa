//! Puts salvaged rows into the serving database: only rows whose key is free there, so that doing it
//! again changes nothing.
//!
//! Constraints and triggers act as on any insert. One transaction per database.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error as ServerError, Statement};

use super::session::Session;
use super::{FilesError, Line, Salvage, Table, write};

const STATE: &str = include_str!("../../../sql/merge_state.sql");
const COLUMNS: &str = include_str!("../../../sql/merge_columns.sql");
const INSERT: &str = include_str!("../../../sql/merge_insert.sql");
const INSERT_KEYLESS: &str = include_str!("../../../sql/merge_insert_keyless.sql");
const PRESENT: &str = include_str!("../../../sql/merge_present.sql");
const SEQUENCE: &str = include_str!("../../../sql/merge_sequence.sql");

/// In the salvage's directory: what the last merge did.
pub const FILE: &str = "merged.json";

/// What a merge did.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Merged {
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Into the server of this node.
    pub node: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Table by table.
    pub tables: Vec<Counts>,
}

/// What became of a table's rows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Counts {
    /// `database.schema.table`.
    pub table: String,
    /// Put in (or, in a dry run, would be).
    pub inserted: u64,
    /// Were there, equal.
    pub present: u64,
    /// Another row has the key, or another unique value: the serving one stays.
    pub different: u64,
    /// Could not be put in.
    pub failed: u64,
    /// Why the first of them could not.
    pub why: Option<String>,
}

/// Why nothing was merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The local server is a standby: nothing can be written here.
    #[error("the local server is a standby and takes no rows")]
    Standby,
    /// The rows are another cluster's.
    #[error(
        "the rows come from a cluster with system identifier {rows}, and the local server has \
         {server}"
    )]
    OtherSystem {
        /// The salvage's.
        rows: u64,
        /// The server's.
        server: u64,
    },
    /// The server's words.
    #[error("PostgreSQL: {}", said(.0))]
    Server(#[from] ServerError),
    /// The salvage's files.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// The server to merge into.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Directory of its socket.
    pub socket_dir: &'a Path,
    /// Its port.
    pub port: u16,
    /// A superuser.
    pub user: &'a str,
    /// A database to ask first.
    pub database: &'a str,
    /// The node that it belongs to.
    pub node: &'a str,
}

impl Target<'_> {
    /// Merges a salvage, or only counts what a merge would do.
    ///
    /// # Errors
    /// See [`MergeError`]; what a single row meets is counted instead.
    pub async fn merge(&self, salvage: &Salvage, dry_run: bool) -> Result<Merged, MergeError> {
        let session = self.open(self.database).await?;
        let state = session.client.query_one(STATE, &[]).await?;
        let server = state.get::<_, String>("system_id").parse().unwrap_or(0);
        if server != salvage.manifest.system_id {
            return Err(MergeError::OtherSystem { rows: salvage.manifest.system_id, server });
        }
        if state.get("in_recovery") {
            return Err(MergeError::Standby);
        }
        let mut by_database: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
        for table in salvage.manifest.tables.iter().filter(|table| table.rows > 0) {
            by_database.entry(&table.database).or_default().push(table);
        }
        let mut tables = Vec::new();
        for (database, its_tables) in by_database {
            match self.open(database).await {
                Ok(session) => {
                    tables.extend(one(&session.client, salvage, &its_tables, dry_run).await?);
                }
                Err(error) => tables.extend(its_tables.iter().map(|table| Counts {
                    failed: table.rows,
                    why: Some(said(&error)),
                    ..none(table)
                })),
            }
        }
        let at = jiff::Timestamp::now().to_string();
        let merged = Merged { at, node: self.node.to_owned(), dry_run, tables };
        if !dry_run {
            write(&salvage.directory, FILE, &merged)?;
        }
        Ok(merged)
    }

    async fn open(&self, database: &str) -> Result<Session, ServerError> {
        Session::open(self.socket_dir, self.port, self.user, database).await
    }
}

fn none(table: &Table) -> Counts {
    Counts { table: table.full_name(), inserted: 0, present: 0, different: 0, failed: 0, why: None }
}

/// One database in one transaction. A row may need another table's row first (a foreign key), so
/// tables with failures are gone through again as long as that helps.
async fn one(
    client: &Client,
    salvage: &Salvage,
    tables: &[&Table],
    dry_run: bool,
) -> Result<Vec<Counts>, MergeError> {
    client.batch_execute("BEGIN").await?;
    let mut counts: Vec<Counts> = tables.iter().map(|table| none(table)).collect();
    let mut first = true;
    loop {
        let before: u64 = counts.iter().map(|table| table.inserted).sum();
        for (table, count) in tables.iter().zip(&mut counts) {
            if first || count.failed > 0 {
                *count = put(client, salvage, table, count.inserted).await?;
            }
        }
        first = false;
        let after: u64 = counts.iter().map(|table| table.inserted).sum();
        if after == before || counts.iter().all(|table| table.failed == 0) {
            break;
        }
    }
    if dry_run {
        client.batch_execute("ROLLBACK").await?;
        return Ok(counts);
    }
    for (table, count) in tables.iter().zip(&counts) {
        if count.inserted > 0 {
            advance_sequences(client, table).await?;
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(counts)
}

/// The statements for one table.
struct Statements {
    insert: Statement,
    present: Statement,
}

/// Goes through a table's rows; `earlier` of them were put in before.
async fn put(
    client: &Client,
    salvage: &Salvage,
    table: &Table,
    earlier: u64,
) -> Result<Counts, MergeError> {
    let mut counts = Counts { inserted: earlier, ..none(table) };
    let statements = match prepare(client, table).await? {
        Ok(statements) => statements,
        Err(why) => {
            return Ok(Counts { failed: table.rows, why: Some(why), ..counts });
        }
    };
    let mut present = 0;
    for line in salvage.rows(table)? {
        match row(client, &statements, &line?).await? {
            Fate::Inserted => counts.inserted += 1,
            Fate::Present => present += 1,
            Fate::Different => counts.different += 1,
            Fate::Failed(why) => {
                counts.failed += 1;
                counts.why.get_or_insert(why);
            }
        }
    }
    counts.present = present - earlier.min(present);
    Ok(counts)
}

enum Fate {
    Inserted,
    Present,
    Different,
    Failed(String),
}

async fn row(client: &Client, statements: &Statements, line: &Line) -> Result<Fate, MergeError> {
    client.batch_execute("SAVEPOINT salvaged_row").await?;
    let text = line.row.get();
    let fate = match client.execute(&statements.insert, &[&text]).await {
        Ok(0) => match client.query_one(&statements.present, &[&text]).await {
            Ok(row) if row.get("present") => Fate::Present,
            Ok(_) => Fate::Different,
            Err(error) => failed(error)?,
        },
        Ok(_) => Fate::Inserted,
        Err(error) => failed(error)?,
    };
    let end = match fate {
        Fate::Failed(_) => "ROLLBACK TO salvaged_row; RELEASE salvaged_row",
        Fate::Inserted | Fate::Present | Fate::Different => "RELEASE salvaged_row",
    };
    client.batch_execute(end).await?;
    Ok(fate)
}

/// What the server says of one row; a lost connection is more than that.
fn failed(error: ServerError) -> Result<Fate, MergeError> {
    match error.as_db_error() {
        Some(_) => Ok(Fate::Failed(said(&error))),
        None => Err(error.into()),
    }
}

/// The statements, or why the table takes no rows.
async fn prepare(client: &Client, table: &Table) -> Result<Result<Statements, String>, MergeError> {
    let rows = client.query(COLUMNS, &[&table.schema, &table.table]).await?;
    let Some(first) = rows.first() else {
        return Ok(Err("there is no such table".to_owned()));
    };
    let quoted: String = first.get("quoted");
    let columns: Vec<String> = rows.iter().map(|row| row.get("column")).collect();
    let same_key: Vec<String> = table
        .key
        .iter()
        .map(|column| format!("\"{}\"", column.replace('"', "\"\"")))
        .map(|column| format!("present_row.{column} = salvaged_row.{column}"))
        .chain(["true".to_owned()])
        .collect();
    let fill = |sql: &str| {
        sql.replace(":\"table\"", &quoted)
            .replace(":columns", &columns.join(", "))
            .replace(":same_key", &same_key.join(" AND "))
    };
    let insert = if table.key.is_empty() { INSERT_KEYLESS } else { INSERT };
    let prepared = async {
        Ok::<_, ServerError>(Statements {
            insert: client.prepare(&fill(insert)).await?,
            present: client.prepare(&fill(PRESENT)).await?,
        })
    };
    Ok(Ok(prepared.await?))
}

/// A sequence that stands behind a salvaged number would give it out again.
async fn advance_sequences(client: &Client, table: &Table) -> Result<(), MergeError> {
    for row in client.query(COLUMNS, &[&table.schema, &table.table]).await? {
        let Some(sequence) = row.get::<_, Option<String>>("sequence") else { continue };
        let sql = SEQUENCE
            .replace(":\"table\"", row.get("quoted"))
            .replace(":\"column\"", row.get("column"))
            .replace(":\"sequence\"", &sequence);
        client.batch_execute(&sql).await?;
    }
    Ok(())
}

fn said(error: &ServerError) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned())
}
