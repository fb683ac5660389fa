//! A directory of small files that one daemon has for itself, each replaced as a whole.
//!
//! Every function here blocks on the disk: call it where blocking is allowed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The state directory, locked for the life of this value: two daemons never share one.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Holds the lock (`flock(2)`); the kernel drops it with the process.
    _lock: File,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds its lock.
    #[error(
        "state directory {0} is in use by another duotone daemon: stop that one first, or give \
         this node a state_dir of its own"
    )]
    InUse(PathBuf),
    /// It could not be made or locked.
    #[error("state directory {directory}: {error}: make it a directory that the daemon can write")]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl StateDirectory {
    /// Makes the directory if need be (mode 0700) and locks it.
    ///
    /// # Errors
    /// Another process has it, or the system refused.
    pub fn open(directory: &Path) -> Result<StateDirectory, OpenError> {
        let io = |error| OpenError::Io { directory: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .map_err(io)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StateDirectory { path: directory.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(directory.to_owned())),
            Err(error) => Err(io(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file's content, or as much of it as `most` bytes and one more, by which a file that is too
    /// long is told; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::with_capacity(most);
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts a file's new content on disk, durably and as a whole.
    ///
    /// # Errors
    /// A step failed; the old content or the new one is on disk: it is not known which.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, self.path.join(name))?;
        // The rename is on disk only with its directory.
        File::open(&self.path)?.sync_all()
    }
}

/// Renames a file of a directory, durably, to `name.damaged-N`, with an `N` that is free; where it
/// is now.
///
/// # Errors
/// There is none, or the system refused.
pub fn put_aside(directory: &Path, name: &str) -> io::Result<PathBuf> {
    let numbered = |n: u32| directory.join(format!("{name}.damaged-{n}"));
    let free = (1..).map(numbered).find(|path| fs::symlink_metadata(path).is_err());
    let free = free.ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(directory.join(name), &free)?;
    File::open(directory)?.sync_all()?;
    Ok(free)
}
