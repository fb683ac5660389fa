//! What the daemon's next life, or whoever stands in for a dead one, must know of the units that
//! this one has started: one small file per service. Void after a boot, when none of them runs.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A unit that the daemon has started, or is about to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    boot: String,
    /// Its name.
    pub unit: String,
    /// It must not go on without a daemon: the peer may run it meanwhile.
    pub ends_with_daemon: bool,
}

impl Record {
    /// A record of this boot.
    ///
    /// # Errors
    /// The kernel does not say which boot this is.
    pub fn new(unit: &str, ends_with_daemon: bool) -> io::Result<Record> {
        Ok(Record { boot: boot()?, unit: unit.to_owned(), ends_with_daemon })
    }
}

/// Writes it down for `service`.
///
/// # Errors
/// The file could not be written.
pub fn write(directory: &Path, service: &str, record: &Record) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let path = file(directory, service);
    let temporary = path.with_extension("new-unit");
    std::fs::write(&temporary, serde_json::to_vec(record)?)?;
    std::fs::rename(&temporary, &path)
}

/// Removes it, once the unit was seen stopped.
///
/// # Errors
/// The file is there and could not be removed.
pub fn remove(directory: &Path, service: &str) -> io::Result<()> {
    match std::fs::remove_file(file(directory, service)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The record of a service, if there is one of this boot.
///
/// # Errors
/// It could not be read or is damaged: whether something is left is not known.
pub fn read(directory: &Path, service: &str) -> io::Result<Option<Record>> {
    let bytes = match std::fs::read(file(directory, service)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record: Record = serde_json::from_slice(&bytes)?;
    Ok((record.boot == boot()?).then_some(record))
}

/// All of them, by the name of the service.
///
/// # Errors
/// As [`read`], and the directory could not be read.
pub fn all(directory: &Path) -> io::Result<Vec<(String, Record)>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(service) = name.to_str().and_then(|name| name.strip_suffix(".unit"))
            && let Some(record) = read(directory, service)?
        {
            found.push((service.to_owned(), record));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn file(directory: &Path, service: &str) -> PathBuf {
    directory.join(format!("{service}.unit"))
}

fn boot() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_boot_names_nothing() {
        let directory = std::env::temp_dir().join(format!("dts-unit-{}", std::process::id()));
        let record = Record::new("kamailio.service", true).unwrap();
        write(&directory, "sip", &record).unwrap();
        assert_eq!(all(&directory).unwrap(), [("sip".to_owned(), record.clone())]);

        let path = file(&directory, "sip");
        let other = std::fs::read_to_string(&path).unwrap().replace(&boot().unwrap(), "other");
        std::fs::write(&path, other).unwrap();
        assert_eq!(read(&directory, "sip").unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(read(&directory, "sip").is_err());
        remove(&directory, "sip").unwrap();
        remove(&directory, "sip").unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
