//! The history of role changes on disk: one JSON object a line, appended durably, the oldest
//! forgotten.
//!
//! Nothing decides by it. A line that cannot be read (a crash in the middle of writing it, a bad
//! disk) is skipped and counted; the lines around it count. Every function here blocks on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file that has grown to this is put aside, and the one put aside before is dropped: two of
/// these are kept, a thousand switches or so.
const LARGEST: u64 = 512 * 1024;

/// Two files in a directory.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    directory: PathBuf,
    largest: u64,
}

/// What could be read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// The entries, oldest first.
    pub entries: Vec<Value>,
    /// Lines that are no JSON object.
    pub damaged: usize,
}

impl HistoryFile {
    /// In this directory, which exists when something is appended.
    pub fn new(directory: &Path) -> HistoryFile {
        HistoryFile { directory: directory.to_owned(), largest: LARGEST }
    }

    /// The same, put aside at another size, in bytes.
    #[must_use]
    pub fn with_largest(self, largest: u64) -> HistoryFile {
        HistoryFile { largest, ..self }
    }

    fn current(&self) -> PathBuf {
        self.directory.join("history.jsonl")
    }

    fn older(&self) -> PathBuf {
        self.directory.join("history.1.jsonl")
    }

    /// Appends an entry; it is on disk when this returns.
    ///
    /// # Errors
    /// It may not be, or only a part of it, which the next reading skips.
    pub fn append(&self, entry: &Value) -> io::Result<()> {
        let path = self.current();
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        if length >= self.largest {
            fs::rename(&path, self.older())?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(&path)?;
        let mut line = entry.to_string();
        if ends_within_a_line(&mut file)? {
            line.insert(0, '\n');
        }
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        // A file that was made, or renamed, is on disk only with its directory.
        File::open(&self.directory)?.sync_all()
    }

    /// Everything that is kept.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for path in [self.older(), self.current()] {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(entry @ Value::Object(_)) => found.entries.push(entry),
                    Ok(_) | Err(_) => found.damaged += 1,
                }
            }
        }
        Ok(found)
    }
}

/// A crash may have left the beginning of a line.
fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("dthist{}{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn numbers(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry["n"].as_u64().unwrap()).collect()
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let scratch = Scratch::new("torn");
        let history = HistoryFile::new(&scratch.0);
        assert_eq!(history.read().unwrap(), Found::default());
        history.append(&json!({"n": 1})).unwrap();
        let path = history.current();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"{\"n\": 2, \"steps\": [");
        fs::write(&path, bytes).unwrap();
        history.append(&json!({"n": 3})).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"\xff\xfe\n[4]\n");
        fs::write(&path, bytes).unwrap();
        history.append(&json!({"n": 5})).unwrap();
        let found = history.read().unwrap();
        assert_eq!((numbers(&found), found.damaged), (vec![1, 3, 5], 3));
    }

    #[test]
    fn it_is_bounded_and_the_newest_are_kept() {
        let scratch = Scratch::new("bound");
        let history = HistoryFile::new(&scratch.0).with_largest(100);
        for n in 0..200u64 {
            history.append(&json!({"n": n})).unwrap();
        }
        let kept = numbers(&history.read().unwrap());
        assert!(kept.len() >= 10 && kept.len() < 50, "{kept:?}");
        assert_eq!(*kept.last().unwrap(), 199);
        assert!(kept.is_sorted());
        let size: u64 = [history.current(), history.older()]
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(size < 250, "{size}");
    }
}
