//! The rows of a losing branch, as files: one directory per salvage, one file per table, one JSON
//! object per line, and a manifest.
//!
//! A salvage is written into a directory of another name and renamed when everything in it is on
//! disk: what [`list`] finds is complete. What was being written when the host died is written anew.

pub mod branch;
pub mod merge;
pub mod rows;
pub mod session;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a salvage holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Manifest {
    /// Its name: when and where the logs parted.
    pub id: String,
    /// The node whose rows they are.
    pub node: String,
    /// The node whose log won.
    pub peer: String,
    /// When it was written (RFC 3339, UTC).
    pub written: String,
    /// The cluster's system identifier.
    pub system_id: u64,
    /// The timeline on which the logs parted.
    pub fork_timeline: u32,
    /// Where they parted, as PostgreSQL writes a position.
    pub fork: String,
    /// The timeline that this node was on.
    pub timeline: u32,
    /// The timeline that the peer serves.
    pub peer_timeline: u32,
    /// How many transactions were committed past the fork.
    pub transactions: u64,
    /// The last of their commit records.
    pub last_commit: Option<String>,
    /// Every row that these transactions left is here.
    pub complete: bool,
    /// Why not, and where the whole data directory was kept instead.
    pub kept: Option<Kept>,
    /// The tables that have rows here, or lost some.
    pub tables: Vec<Table>,
}

/// A data directory that was kept because its rows could not be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Kept {
    /// The directory.
    pub directory: PathBuf,
    /// Why its rows are not here.
    pub why: String,
}

/// A table's part of a salvage.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The columns of its primary key, in order; empty without one.
    pub key: Vec<String>,
    /// Rows in its file.
    pub rows: u64,
    /// Rows that the branch deleted; they are counted only, and none is deleted elsewhere.
    pub deleted: u64,
    /// Its file in the salvage's directory; `None` when it has no rows.
    pub file: Option<String>,
}

impl Table {
    /// As people write it: `database.schema.table`.
    pub fn full_name(&self) -> String {
        format!("{}.{}.{}", self.database, self.schema, self.table)
    }
}

/// One salvaged row.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Line {
    /// Its database.
    pub database: String,
    /// Its schema.
    pub schema: String,
    /// Its table.
    pub table: String,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// The transaction that wrote it.
    pub xid: u32,
    /// When that was committed (the server's clock, UTC).
    pub committed: String,
    /// The position of the commit record.
    pub lsn: String,
    /// The whole row as `to_jsonb` gives it; as text, because numbers here have more digits than
    /// elsewhere.
    pub row: Box<serde_json::value::RawValue>,
}

/// A finished salvage on disk.
#[derive(Clone, Debug)]
pub struct Salvage {
    /// Its directory.
    pub directory: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// The last merge, if there was one.
    pub merged: Option<merge::Merged>,
}

/// Something about the salvage's files failed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file or directory.
    #[error("salvage: {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is not what this program writes.
    #[error("salvage: {path}: {error}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

fn io(path: &Path) -> impl Fn(io::Error) -> FilesError {
    let path = path.to_owned();
    move |error| FilesError::Io { path: path.clone(), error }
}

/// Every finished salvage, oldest first. A directory that is not there holds none.
///
/// # Errors
/// One cannot be read.
pub fn list(directory: &Path) -> Result<Vec<Salvage>, FilesError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(io(directory))?.path();
        if path.join(MANIFEST).exists() && path.extension().is_none() {
            found.push(open(&path)?);
        }
    }
    found.sort_by(|one, other| one.manifest.id.cmp(&other.manifest.id));
    Ok(found)
}

/// One finished salvage, by its directory.
///
/// # Errors
/// It is not there, or not what this program writes.
pub fn open(directory: &Path) -> Result<Salvage, FilesError> {
    let merged = directory.join(merge::FILE);
    Ok(Salvage {
        directory: directory.to_owned(),
        manifest: read(&directory.join(MANIFEST))?,
        merged: merged.exists().then(|| read(&merged)).transpose()?,
    })
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, FilesError> {
    let text = fs::read_to_string(path).map_err(io(path))?;
    serde_json::from_str(&text).map_err(|error| FilesError::Format { path: path.to_owned(), error })
}

impl Salvage {
    /// The rows of a table, in the order of the file.
    ///
    /// # Errors
    /// The file cannot be opened; each row that is not one of this program's.
    pub fn rows(
        &self,
        table: &Table,
    ) -> Result<impl Iterator<Item = Result<Line, FilesError>> + use<>, FilesError> {
        let file = table.file.as_ref().map(|name| self.directory.join(name));
        let lines = match &file {
            Some(path) => Some(BufReader::new(File::open(path).map_err(io(path))?).lines()),
            None => None,
        };
        let path = file.unwrap_or_default();
        Ok(lines.into_iter().flatten().map(move |line| {
            serde_json::from_str(&line.map_err(io(&path))?)
                .map_err(|error| FilesError::Format { path: path.clone(), error })
        }))
    }
}

const MANIFEST: &str = "manifest.json";
/// The extension of a salvage that is being written.
const PART: &str = "part";

/// A salvage that is being written.
#[derive(Debug)]
pub struct Part {
    /// Where its files go.
    pub directory: PathBuf,
    home: PathBuf,
}

impl Part {
    /// An empty one in the salvage directory, which is made if need be (mode 0700); what an earlier
    /// life left unfinished is removed.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn begin(home: &Path) -> Result<Part, FilesError> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(io(home))?;
        for entry in fs::read_dir(home).map_err(io(home))? {
            let path = entry.map_err(io(home))?.path();
            if path.extension().is_some_and(|end| end == PART) {
                fs::remove_dir_all(&path).map_err(io(&path))?;
            }
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = home.join(format!("{}-{count}.{PART}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(io(&directory))?;
        Ok(Part { directory, home: home.to_owned() })
    }

    /// Makes it a finished salvage, durably. Its files are on disk already.
    ///
    /// # Errors
    /// The manifest or the rename.
    pub fn finish(self, manifest: &Manifest) -> Result<(), FilesError> {
        write(&self.directory, MANIFEST, manifest)?;
        let mut to = self.home.join(&manifest.id);
        for number in 2.. {
            if !to.exists() {
                break;
            }
            to = self.home.join(format!("{}-{number}", manifest.id));
        }
        fs::rename(&self.directory, &to).map_err(io(&to))?;
        File::open(&self.home).and_then(|home| home.sync_all()).map_err(io(&self.home))
    }

    /// Nothing of it is to stay.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn discard(self) -> Result<(), FilesError> {
        fs::remove_dir_all(&self.directory).map_err(io(&self.directory))
    }
}

/// Writes a file as a whole: temporary file, fsync, rename, fsync of the directory.
pub(super) fn write(
    directory: &Path,
    name: &str,
    content: &impl Serialize,
) -> Result<(), FilesError> {
    let (path, temporary) = (directory.join(name), directory.join(format!("{name}.tmp")));
    let put = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        serde_json::to_writer_pretty(&mut file, content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    };
    put().map_err(io(&path))
}
