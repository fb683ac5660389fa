//! The recordings on disk: a file for each, in a directory of the state directory; the oldest go when
//! all of them are too large together.
//!
//! Nothing decides by them, so nothing is synced: a power cut may cost the newest. Every function
//! here blocks on the disk.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// All of them together, in bytes.
const MOST: u64 = 32 << 20;

/// Of their names.
const ENDING: &str = "rec";

/// The directory.
#[derive(Clone, Debug)]
pub struct Recordings {
    directory: PathBuf,
    most: u64,
}

impl Recordings {
    /// In this state directory.
    pub fn new(state_dir: &Path) -> Recordings {
        Recordings { directory: state_dir.join("recordings"), most: MOST }
    }

    /// The same, with another bound.
    #[must_use]
    pub fn with_most(self, most: u64) -> Recordings {
        Recordings { most, ..self }
    }

    /// Writes one, under a name that sorts by time; where it is. It has its name when it is whole.
    ///
    /// # Errors
    /// It is not there.
    pub fn add(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.directory.join(format!("{name}.{ENDING}"));
        let unfinished = self.directory.join("unfinished");
        let mut new = OpenOptions::new();
        new.write(true).create(true).truncate(true).mode(0o600);
        let mut file = BufWriter::new(new.open(&unfinished)?);
        let written = write(&mut file).and_then(|()| file.flush());
        let written = written.and_then(|()| fs::rename(&unfinished, &path));
        self.forget_the_oldest()?;
        written.map(|()| path)
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut found: Vec<(PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|ending| ending == ENDING) {
                found.push((entry.path(), entry.metadata()?.len()));
            }
        }
        found.sort();
        let mut all: u64 = found.iter().map(|(_, length)| length).sum();
        found.pop();
        for (path, length) in found {
            if all > self.most {
                fs::remove_file(path)?;
                all -= length;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_the_newest_stays_whatever_its_size() {
        let scratch = std::env::temp_dir().join(format!("dtrec{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let recordings = Recordings::new(&scratch).with_most(250);
        let add = |name: &str, length: usize| {
            recordings.add(name, |to| to.write_all(&vec![b'x'; length])).unwrap()
        };
        let paths = ["1", "2", "3"].map(|name| add(name, 100));
        assert_eq!(paths.each_ref().map(|path| path.exists()), [false, true, true]);
        let large = add("4", 1000);
        assert!(large.exists() && !paths[2].exists());
        let failed = recordings.add("5", |_| Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err() && !scratch.join("recordings/5.rec").exists());
        let _ = fs::remove_dir_all(&scratch);
    }
}
