//! How far a rejoin has come, on disk beside the data directory: whoever finds it goes on there.
//!
//! ```text
//! main           the data directory
//! main.rejoin    mark (JSON), config/ (this host's own configuration files), wal/, socket/
//! main.new       a base backup, being made or waiting to be swapped in
//! main.old       the directory that it replaced, until the standby streams
//! main.kept-…    a directory whose rows could not be salvaged: never removed
//! ```
//! The mark names the directory that it speaks of by its inode: one that somebody else put in its
//! place is not meant.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::process::Owner;
use super::trouble::Trouble;
use crate::protocol::log::Fork;

/// The directories of a rejoin.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) data: PathBuf,
}

impl Places {
    /// Beside the directory itself, where a symbolic link may lead.
    pub(super) fn of(data_dir: &Path) -> Places {
        let data = fs::canonicalize(data_dir)
            .or_else(|_| fs::read_link(data_dir))
            .unwrap_or_else(|_| data_dir.to_owned());
        // Without a slash at its end.
        Places { data: data.components().collect() }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.data.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    pub(super) fn rejoin(&self) -> PathBuf {
        self.beside(".rejoin")
    }

    pub(super) fn side(&self) -> PathBuf {
        self.beside(".new")
    }

    pub(super) fn old(&self) -> PathBuf {
        self.beside(".old")
    }

    pub(super) fn kept(&self, id: &str) -> PathBuf {
        self.beside(&format!(".kept-{id}"))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.rejoin().join("socket")
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.rejoin().join("wal")
    }

    pub(super) fn probe(&self) -> PathBuf {
        self.rejoin().join("probe")
    }

    fn config(&self) -> PathBuf {
        self.rejoin().join("config")
    }
}

/// What is true of the data directory. Without a mark it is a standby's whose log came from the peer,
/// or a primary's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// It was a primary's, and nobody has compared its log with the peer's: it follows nobody until
    /// the node orders that. (A server that follows a timeline of the same number as its own does
    /// not notice that it is another one.)
    Own,
    /// Its own log is whole; it may lack `standby.signal` and is no primary all the same.
    Salvaging,
    /// Its files are being rewound or replaced: it cannot be started. Everything that it alone knew
    /// is salvaged, or the directory is to be kept under this name.
    Changing {
        /// The end of the name under which it is kept, if its rows could not be salvaged.
        keep: Option<String>,
    },
    /// Its files are the peer's, and need more of the peer's log before they are consistent: it is
    /// started only as one that follows. (Without the peer it would wait for that log for ever.)
    Fetched,
    /// A copy of the peer's is complete in `.new`, the directory with this inode.
    Copied {
        /// Of `.new`.
        new: u64,
        /// As in `Changing`.
        keep: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Inode of the data directory.
    of: u64,
    mark: Mark,
    /// How often its salvage failed.
    #[serde(default)]
    failed: u32,
}

pub(super) fn pairs(forks: &[Fork]) -> Vec<(u32, u64)> {
    forks.iter().map(|fork| (fork.timeline, fork.at)).collect()
}

pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}

fn trouble(path: &Path) -> impl Fn(io::Error) -> Trouble {
    let path = path.to_owned();
    move |error| Trouble::File { path: path.clone(), error }
}

impl Places {
    /// What the disk says of the data directory; `None` when it says nothing.
    pub(super) fn mark(&self) -> Result<Option<Mark>, Trouble> {
        Ok(self.record()?.map(|record| record.mark))
    }

    fn record(&self) -> Result<Option<Record>, Trouble> {
        let path = self.rejoin().join("mark");
        let text = match files::read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(trouble(&path)(error)),
        };
        let record: Record =
            serde_json::from_str(&text).map_err(|error| trouble(&path)(io::Error::other(error)))?;
        let (there, of) = (inode(&self.data), record.of);
        let is_meant = match &record.mark {
            Mark::Own | Mark::Salvaging | Mark::Fetched => there == Some(of),
            Mark::Changing { .. } => there.is_none_or(|there| there == of),
            // It is there, or was swapped in already.
            Mark::Copied { new, .. } => there.is_none_or(|there| there == of || there == *new),
        };
        Ok(is_meant.then_some(record))
    }

    /// One salvage more has failed.
    pub(super) fn salvage_failed(&self, owner: &Owner) -> Result<(), Trouble> {
        let failed = self.failed_salvages()?.saturating_add(1);
        self.put(Mark::Salvaging, failed, owner)
    }

    /// How many have, those of earlier lives included.
    pub(super) fn failed_salvages(&self) -> Result<u32, Trouble> {
        Ok(self.record()?.map_or(0, |record| record.failed))
    }

    /// Puts it on disk.
    pub(super) fn set_mark(&self, mark: &Mark, owner: &Owner) -> Result<(), Trouble> {
        let failed = if *mark == Mark::Salvaging { self.failed_salvages()? } else { 0 };
        self.put(mark.clone(), failed, owner)
    }

    fn put(&self, mark: Mark, failed: u32, owner: &Owner) -> Result<(), Trouble> {
        let path = self.rejoin().join("mark");
        let of = inode(&self.data).unwrap_or_default();
        let write = || {
            self.make_own(owner)?;
            let text =
                serde_json::to_string(&Record { of, mark, failed }).map_err(io::Error::other)?;
            files::replace(&path, text.as_bytes(), owner)
        };
        write().map_err(trouble(&path))
    }

    /// Its log is the peer's from here on.
    pub(super) fn remove_mark(&self) -> Result<(), Trouble> {
        let path = self.rejoin().join("mark");
        let take = || match fs::remove_file(&path) {
            Ok(()) => File::open(self.rejoin())?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        take().map_err(trouble(&path))
    }

    /// Writes a small file and waits for the disk.
    pub(super) fn write_probe(&self, owner: &Owner) -> Result<(), Trouble> {
        let path = self.rejoin().join("written");
        let write = || {
            self.make_own(owner)?;
            files::replace(&path, b"probe\n", owner)
        };
        write().map_err(trouble(&path))
    }

    fn make_own(&self, owner: &Owner) -> io::Result<()> {
        make_dir(&self.rejoin(), owner)?;
        sync_parent(&self.data)
    }

    /// An empty directory of the owner's.
    pub(super) fn make_empty(&self, path: &Path, owner: &Owner) -> Result<(), Trouble> {
        let make = || {
            self.make_own(owner)?;
            remove(path)?;
            make_dir(path, owner)
        };
        make().map_err(trouble(path))
    }

    /// This host's own configuration files, set aside before the peer's come in their place. Those
    /// of an earlier, unfinished change stay: they are the true ones.
    pub(super) fn save_config(&self, owner: &Owner) -> Result<(), Trouble> {
        let torn = matches!(self.mark()?, Some(Mark::Changing { .. } | Mark::Copied { .. }));
        let (from, to) = (self.data.clone(), self.config());
        if torn && to.exists() {
            return Ok(());
        }
        let part = to.with_extension("part");
        let save = || {
            self.make_own(owner)?;
            remove(&part)?;
            make_dir(&part, owner)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                if is_config(&entry.file_name().to_string_lossy()) {
                    copy(&entry.path(), &part.join(entry.file_name()))?;
                }
            }
            File::open(&part)?.sync_all()?;
            remove(&to)?;
            fs::rename(&part, &to)?;
            sync_parent(&to)
        };
        save().map_err(trouble(&to))
    }

    /// Puts them into `target`.
    pub(super) fn restore_config(&self, target: &Path) -> Result<(), Trouble> {
        let restore = || {
            for entry in fs::read_dir(self.config())? {
                let entry = entry?;
                let to = target.join(entry.file_name());
                remove(&to)?;
                copy(&entry.path(), &to)?;
            }
            File::open(target)?.sync_all()
        };
        restore().map_err(trouble(target))
    }

    /// The complete copy takes the place of the data directory; whatever part of that was done
    /// before is not done again.
    pub(super) fn swap(&self, new: u64, keep: Option<&str>) -> Result<(), Trouble> {
        let swap = || {
            if inode(&self.data) != Some(new) {
                if self.data.symlink_metadata().is_ok() {
                    let away = keep.map_or_else(|| self.old(), |id| self.kept(id));
                    remove_unless(&away, keep.is_some())?;
                    fs::rename(&self.data, &away)?;
                }
                fs::rename(self.side(), &self.data)?;
            }
            sync_parent(&self.data)
        };
        swap().map_err(trouble(&self.data))
    }

    /// What a finished rejoin has no use for.
    pub(super) fn clear(&self) -> Result<(), Trouble> {
        for path in [self.old(), self.side(), self.wal(), self.socket(), self.probe()] {
            remove(&path).map_err(trouble(&path))?;
        }
        Ok(())
    }
}

/// Names that PostgreSQL's documentation proposes for files that an administrator keeps in the data
/// directory.
fn is_config(name: &str) -> bool {
    name == "conf.d"
        || [".conf", ".crt", ".key", ".pem", ".crl", ".der"].iter().any(|end| name.ends_with(end))
}

fn make_dir(path: &Path, owner: &Owner) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(path)?.is_dir() {
                true => Ok(()),
                false => Err(error),
            }
        }
        Err(error) => Err(error),
        Ok(()) => chown(path, Some(owner.uid), Some(owner.gid)),
    }
}

fn remove_unless(path: &Path, keep: bool) -> io::Result<()> {
    match keep {
        true if path.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        true => Ok(()),
        false => remove(path),
    }
}

/// Removes a file or a directory, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file, link or directory with its mode and owner, durably; what is none of these is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(meta.uid()), Some(meta.gid()));
    }
    if meta.is_dir() {
        DirBuilder::new().mode(0o700).create(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if meta.is_file() {
        io::copy(&mut files::open(from)?, &mut File::create_new(to)?)?;
    } else {
        return Ok(());
    }
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    File::open(to)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}
