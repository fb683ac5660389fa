//! What the last hard takeovers cut, on disk: one file of JSON, replaced as a whole.
//!
//! Nothing decides by it. Every function here blocks on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::live::Entry;

const NAME: &str = "takeovers.json";

/// One takeover from a host that did not hand over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Takeover {
    /// When, by the wall clock (RFC 3339).
    pub time: String,
    /// From whom.
    pub from: String,
    /// Under which term.
    pub term: Option<String>,
    /// What is known of the calls.
    pub calls: Fate,
    /// How old the peer's last list of calls was, milliseconds; `None`: there was none.
    pub list_age_ms: Option<u64>,
    /// Calls of that list, those among them that it did not name for want of room.
    pub were_up: u64,
    /// Of these, without a name.
    pub unnamed: u64,
    /// Of these, up on this node as well.
    pub go_on: u64,
    /// While it is waited: the calls of the list. Then: those that were cut.
    pub list: Vec<Entry>,
    /// What became of their records; `None`: nothing was to be closed yet.
    pub closed: Option<Closed>,
    /// The phones that are expected; of the newest takeover only.
    pub endpoints: Option<Scoreboard>,
}

/// What is known of the calls of a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is waited for them to be up here.
    Waiting,
    /// `list` holds those that were cut.
    Told,
    /// The peer had told no list, or this node lost the role before it could tell.
    Unknown,
}

/// What came of the command that closes records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// It ended well.
    pub done: bool,
    /// When it was last run.
    pub time: String,
    /// Why not.
    pub trouble: Option<String>,
}

/// Who was registered before, and when each was seen after.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scoreboard {
    /// How old the peer's last list of endpoints was, milliseconds.
    pub list_age_ms: u64,
    /// Endpoints that it did not name for want of room.
    pub unnamed: u64,
    /// The others.
    pub expected: Vec<Expected>,
}

/// One that was registered before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Expected {
    /// As the peer last listed it.
    pub entry: Entry,
    /// How long after the takeover it was first seen here, milliseconds.
    pub seen_ms: Option<u64>,
}

/// What the directory holds, newest last; nothing when there is no file.
///
/// # Errors
/// It is there and cannot be read.
pub fn load(directory: &Path) -> io::Result<Vec<Takeover>> {
    match fs::read(directory.join(NAME)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Puts it on disk.
///
/// # Errors
/// It may not be there.
pub fn save(directory: &Path, takeovers: &[Takeover]) -> io::Result<()> {
    let temporary = directory.join(format!("{NAME}.new"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(takeovers)?)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}
