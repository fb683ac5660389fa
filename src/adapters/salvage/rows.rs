//! Reads the rows that the transactions of a losing branch left, and writes them to files.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::branch::Branch;
use super::session::Session;
use super::{FilesError, Line, Part, Table, io as files};

const DATABASES: &str = include_str!("../../../sql/salvage_databases.sql");
const TABLES: &str = include_str!("../../../sql/salvage_tables.sql");
const ROWS: &str = include_str!("../../../sql/salvage_rows.sql");

/// Rows on their way to the disk.
const IN_FLIGHT: usize = 256;

/// Which server is read, and what of it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// Directory of its socket.
    pub socket_dir: &'a Path,
    /// Its port.
    pub port: u16,
    /// A superuser.
    pub user: &'a str,
    /// The database that lists the others.
    pub database: &'a str,
    /// `schema.table` or `database.schema.table` to leave out; `*` is any one name.
    pub exclude: &'a [String],
}

/// Why rows could not be salvaged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The server's words.
    #[error("salvage, {doing}: {}", .error.as_db_error().map_or_else(|| .error.to_string(), |said| said.message().to_owned()))]
    Server {
        /// What was read.
        doing: String,
        /// What it said.
        error: tokio_postgres::Error,
    },
    /// The files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A row whose transaction is not one of the branch's, or that is no JSON.
    #[error("salvage: the server's answer lacks a valid {0}")]
    Answer(&'static str),
}

fn server(doing: &str) -> impl Fn(tokio_postgres::Error) -> ReadError + use<> {
    let doing = doing.to_owned();
    move |error| ReadError::Server { doing: doing.clone(), error }
}

/// A table as the server lists it.
struct Found {
    table: Table,
    quoted: String,
    file: (u32, u32),
}

impl Reader<'_> {
    /// Writes every row that the branch's transactions left into files of `part`, and says which
    /// tables have any. `count` is told of every row.
    ///
    /// # Errors
    /// The server or the disk failed; what was written is not to be used.
    pub async fn read(
        &self,
        branch: &Branch,
        part: &Part,
        mut count: impl FnMut(u64),
    ) -> Result<Vec<Table>, ReadError> {
        let session = self.open(self.database).await?;
        let rows = session.client.query(DATABASES, &[]).await.map_err(server("databases"))?;
        drop(session);
        let xids: Vec<String> = branch.commits.keys().map(ToString::to_string).collect();
        let mut tables = Vec::new();
        let mut total = 0;
        for row in rows {
            let (oid, database): (u32, String) = (row.get("oid"), row.get("name"));
            if !branch.touched.iter().any(|(touched, _)| *touched == oid) {
                continue;
            }
            let session = self.open(&database).await?;
            for mut found in self.tables(&session, oid, &database).await? {
                // Whoever writes a row writes to its table's file.
                if !branch.touched.contains(&found.file) {
                    continue;
                }
                let path = part.directory.join(file_name(&found.table));
                let counted = |rows| count(total + rows);
                let rows = one(&session, branch, &xids, &found, path, counted).await?;
                total += rows;
                found.table.deleted = branch.deleted(found.file);
                found.table.rows = rows;
                found.table.file = (rows > 0).then(|| file_name(&found.table));
                if rows > 0 || found.table.deleted > 0 {
                    tables.push(found.table);
                }
            }
        }
        Ok(tables)
    }

    async fn open(&self, database: &str) -> Result<Session, ReadError> {
        Session::open(self.socket_dir, self.port, self.user, database)
            .await
            .map_err(server(&format!("connecting to database {database}")))
    }

    async fn tables(
        &self,
        session: &Session,
        oid: u32,
        database: &str,
    ) -> Result<Vec<Found>, ReadError> {
        let rows = session.client.query(TABLES, &[]).await.map_err(server(database))?;
        let found = rows.into_iter().map(|row| Found {
            quoted: row.get("quoted"),
            file: (oid, row.get::<_, Option<u32>>("file").unwrap_or_default()),
            table: Table {
                database: database.to_owned(),
                schema: row.get("schema"),
                table: row.get("name"),
                key: row.get("key"),
                rows: 0,
                deleted: 0,
                file: None,
            },
        });
        Ok(found.filter(|found| !self.excludes(&found.table)).collect())
    }

    fn excludes(&self, table: &Table) -> bool {
        let names = [&table.database, &table.schema, &table.table];
        self.exclude.iter().any(|pattern| {
            let parts: Vec<&str> = pattern.split('.').collect();
            let named = &names[names.len().saturating_sub(parts.len())..];
            parts.len() == named.len()
                && parts.iter().zip(named).all(|(part, name)| *part == "*" || part == name)
        })
    }
}

/// Reads one table; how many rows its file has.
async fn one(
    session: &Session,
    branch: &Branch,
    xids: &[String],
    found: &Found,
    path: PathBuf,
    mut count: impl FnMut(u64),
) -> Result<u64, ReadError> {
    let failed = server(&found.table.full_name());
    let sql = ROWS.replace(":\"table\"", &found.quoted);
    let rows = session.client.query_raw(&sql, [xids]).await.map_err(&failed)?;
    let mut rows = pin!(rows);
    let (mut lines, mut writer, mut written) = (None, None, 0);
    while let Some(row) = rows.try_next().await.map_err(&failed)? {
        let xid: u32 = row.get::<_, &str>("xid").parse().map_err(|_| ReadError::Answer("xid"))?;
        let commit = branch.commits.get(&xid).ok_or(ReadError::Answer("xid"))?;
        let line = Line {
            database: found.table.database.clone(),
            schema: found.table.schema.clone(),
            table: found.table.table.clone(),
            key: found.table.key.clone(),
            xid,
            committed: commit.time.clone(),
            lsn: commit.lsn.clone(),
            row: RawValue::from_string(row.get("row")).map_err(|_| ReadError::Answer("row"))?,
        };
        let text = serde_json::to_string(&line).map_err(|_| ReadError::Answer("row"))?;
        let sender = lines.get_or_insert_with(|| {
            let (sender, inbox) = mpsc::channel(IN_FLIGHT);
            let path = path.clone();
            writer = Some(tokio::task::spawn_blocking(move || write_lines(&path, inbox)));
            sender
        });
        // A writer that has ended says why below.
        if sender.send(text).await.is_err() {
            break;
        }
        written += 1;
        count(written);
    }
    drop(lines);
    match writer {
        Some(writer) => match writer.await {
            Ok(written) => written.map_err(|error| files(&path)(error).into()),
            Err(lost) => Err(files(&path)(io::Error::other(lost)).into()),
        },
        None => Ok(0),
    }
}

/// Writes the lines as they come, and has them on disk at the end; how many there were.
fn write_lines(path: &Path, mut inbox: mpsc::Receiver<String>) -> io::Result<u64> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    let mut count = 0;
    while let Some(line) = inbox.blocking_recv() {
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
        count += 1;
    }
    file.into_inner()?.sync_all()?;
    Ok(count)
}

/// `database.schema.table.jsonl`; everything but letters, digits and `_-` by its bytes.
fn file_name(table: &Table) -> String {
    let mut name = String::new();
    for part in [&table.database, &table.schema, &table.table] {
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte.into()),
                _ => name.push_str(&format!("%{byte:02X}")),
            }
        }
        name.push('.');
    }
    name + "jsonl"
}
