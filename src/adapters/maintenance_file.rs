//! A node's maintenance on disk: until when, for how long, why. One small file, replaced as a whole.
//!
//! Wall time is used here only, because only it goes on while the host is off; how far it is to be
//! believed is for the reader to decide. Every function here blocks on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maintenance {
    /// Its end, in seconds of wall time since 1970.
    pub until: u64,
    /// How long it was to last when it began, in seconds: no clock makes it last longer than this
    /// from now.
    pub span: u64,
    /// Why.
    pub reason: String,
}

/// It is there and cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system refused.
    #[error("the maintenance file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It means nothing.
    #[error("the maintenance file {0} is damaged")]
    Damaged(PathBuf),
}

fn path(directory: &Path) -> PathBuf {
    directory.join("maintenance")
}

/// What the directory holds; `None` when there is no maintenance.
///
/// # Errors
/// See [`LoadError`].
pub fn load(directory: &Path) -> Result<Option<Maintenance>, LoadError> {
    let path = path(directory);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let read = || {
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let number = |key: &str| value.get(key)?.as_u64();
        let reason = value.get("reason")?.as_str()?.to_owned();
        Some(Maintenance { until: number("until")?, span: number("span")?, reason })
    };
    read().map(Some).ok_or(LoadError::Damaged(path))
}

/// Puts it on disk.
///
/// # Errors
/// It may not be there.
pub fn save(directory: &Path, maintenance: &Maintenance) -> io::Result<()> {
    let temporary = directory.join("maintenance.new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let Maintenance { until, span, reason } = maintenance;
    file.write_all(json!({"until": until, "span": span, "reason": reason}).to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path(directory))?;
    File::open(directory)?.sync_all()
}

/// There is none from now on.
///
/// # Errors
/// It may still be there.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_file(path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_removed() {
        let directory = std::env::temp_dir().join(format!("dtmaint{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(load(&directory).unwrap(), None);
        remove(&directory).unwrap();
        let wanted = Maintenance { until: 1_800_000_000, span: 7200, reason: "disk \"b\"".into() };
        save(&directory, &wanted).unwrap();
        assert_eq!(load(&directory).unwrap(), Some(wanted));
        fs::write(path(&directory), "{\"until\": 1").unwrap();
        assert!(matches!(load(&directory), Err(LoadError::Damaged(_))));
        remove(&directory).unwrap();
        assert_eq!(load(&directory).unwrap(), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
