//! What a daemon's next life must know about the processes of this one: one small file per service.
//!
//! A process is named by (boot, pid namespace, pid, start time); a record of another boot or
//! namespace names nobody any more. Records are not fsynced: after a power loss they are void
//! anyway.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::session::Session;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    boot: String,
    pid_namespace: u64,
    pid: i32,
    started: u64,
    /// Its control group, if it has one of its own.
    #[serde(default)]
    group: Option<PathBuf>,
}

/// Writes down that the service `name` runs as `session`.
///
/// # Errors
/// The file could not be written.
pub fn write(directory: &Path, name: &str, session: &Session) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let (boot, pid_namespace) = here()?;
    let Session { id: pid, started, group } = session;
    let group = group.as_ref().map(|group| group.path().to_owned());
    let record = Record { boot, pid_namespace, pid: *pid, started: *started, group };
    let path = file(directory, name);
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, serde_json::to_vec(&record)?)?;
    std::fs::rename(&temporary, &path)
}

/// Removes the record, once the session has been seen gone.
///
/// # Errors
/// The file is there and could not be removed.
pub fn remove(directory: &Path, name: &str) -> io::Result<()> {
    match std::fs::remove_file(file(directory, name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The session of an earlier life, if one is recorded that may still be there.
///
/// # Errors
/// The record could not be read or is damaged: whether something is left is not known.
pub fn read(directory: &Path, name: &str) -> io::Result<Option<Session>> {
    let bytes = match std::fs::read(file(directory, name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record: Record = serde_json::from_slice(&bytes)?;
    let same_world = here()? == (record.boot, record.pid_namespace);
    let Record { pid: id, started, group, .. } = record;
    Ok(same_world.then_some(Session { id, started, group: group.map(Cgroup::recorded) }))
}

/// The names of all services that have a record.
///
/// # Errors
/// The directory is there and could not be read.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".run")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The control groups on record, of whichever boot and namespace; of a damaged record none.
///
/// # Errors
/// The directory or a record could not be read.
pub fn groups(directory: &Path) -> io::Result<Vec<Cgroup>> {
    let mut groups = Vec::new();
    for name in names(directory)? {
        let bytes = std::fs::read(file(directory, &name))?;
        let record = serde_json::from_slice::<Record>(&bytes).ok();
        groups.extend(record.and_then(|record| record.group).map(Cgroup::recorded));
    }
    Ok(groups)
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.run"))
}

fn here() -> io::Result<(String, u64)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok((boot, std::fs::metadata("/proc/self/ns/pid")?.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_boot_names_nobody() {
        let directory = std::env::temp_dir().join(format!("dts-record-{}", std::process::id()));
        let session = Session { id: 4711, started: 99, group: None };
        write(&directory, "sip", &session).unwrap();
        assert_eq!(read(&directory, "sip").unwrap(), Some(session));
        assert_eq!(names(&directory).unwrap(), ["sip"]);

        let path = file(&directory, "sip");
        let other = std::fs::read_to_string(&path).unwrap().replace(&here().unwrap().0, "other");
        std::fs::write(&path, other).unwrap();
        assert_eq!(read(&directory, "sip").unwrap(), None);

        std::fs::write(&path, "{").unwrap();
        assert!(read(&directory, "sip").is_err());
        remove(&directory, "sip").unwrap();
        remove(&directory, "sip").unwrap();
        assert_eq!(read(&directory, "sip").unwrap(), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
