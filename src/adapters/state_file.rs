//! The node's memory on disk: one file, replaced as a whole, checked when it is read.
//!
//! Layout, all numbers big-endian: magic (8 bytes), version (2), length of the body (4), body,
//! SHA-256 of everything before it (32). A file that is not exactly so is damaged, whatever the
//! reason: the node is held until a person decides (a memory that lies costs two owners).
//!
//! Every function here blocks on the disk: call it on a blocking thread.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::state_directory::{self, StateDirectory};
use crate::protocol::durable::Durable;
use crate::protocol::identity::{NodeId, Session, Term};
use crate::protocol::log::Branches;

pub use super::state_directory::OpenError;

const NAME: &str = "state";
const MAGIC: &[u8; 8] = b"duotone\x01";
const VERSION: u16 = 1;
const HEADER: usize = MAGIC.len() + 2 + 4;
const BODY: usize = 3 * TERM + BRANCHES + 3 + 1 + 8;
const BRANCHES: usize = Branches::REMEMBERED * (4 + TERM);
const TERM: usize = 9;
const CHECKSUM: usize = 32;
const TOTAL: usize = HEADER + BODY + CHECKSUM;

/// The file, in a directory that is locked for the life of this value.
#[derive(Debug)]
pub struct StateFile(StateDirectory);

/// What is on disk cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It is there and cannot be read.
    #[error("the state file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Too short or too long.
    #[error("the state file has {found} bytes instead of {expected}")]
    Length {
        /// What is there.
        found: usize,
        /// What the layout wants.
        expected: usize,
    },
    /// It does not begin as a state file.
    #[error("this is not a duotone state file")]
    Magic,
    /// A later duotone wrote it.
    #[error("the state file has version {found}; this duotone reads up to {VERSION}: upgrade it")]
    Version {
        /// The file's.
        found: u16,
    },
    /// Bytes changed since it was written.
    #[error("the state file's checksum does not match its content")]
    Checksum,
    /// The checksum is right and the content means nothing.
    #[error("the state file holds an impossible {0}")]
    Content(&'static str),
}

/// A write did not end with the value on disk.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A step failed; the old value or the new one is on disk.
    #[error("writing the state file: {0}")]
    Io(#[from] io::Error),
    /// What was read back is damaged.
    #[error("read back after writing: {0}")]
    ReadBack(Damaged),
    /// The file was gone when it was read back.
    #[error("the state file is gone after writing it")]
    Gone,
}

impl StateFile {
    /// Makes the directory if need be (mode 0700) and locks it.
    pub fn open(directory: &Path) -> Result<StateFile, OpenError> {
        StateDirectory::open(directory).map(StateFile)
    }

    /// Where the state is.
    pub fn path(&self) -> PathBuf {
        self.0.path().join(NAME)
    }

    /// What the disk remembers; `None` if nothing was ever written.
    pub fn load(&self) -> Result<Option<Durable>, Damaged> {
        self.0.read(NAME, TOTAL)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Puts `state` on disk, durably and as a whole, and returns what was then read back.
    ///
    /// After an error the old value or the new one is on disk: it is not known which.
    pub fn save(&self, state: &Durable) -> Result<Durable, SaveError> {
        self.0.replace(NAME, &encode(state))?;
        self.load().map_err(SaveError::ReadBack)?.ok_or(SaveError::Gone)
    }
}

/// Renames the state file of a directory, durably, to a name that is free; where it is now. For a
/// damaged one, whose node is told to begin anew.
///
/// # Errors
/// There is none, or the system refused.
pub fn put_aside(directory: &Path) -> io::Result<PathBuf> {
    state_directory::put_aside(directory, NAME)
}

fn encode(state: &Durable) -> Vec<u8> {
    // Destructured, so that a new field cannot be forgotten here.
    let Durable { term, served, branches, lone, peer_excluded, active, leaving, copy_unfinished } =
        *state;
    let mut bytes = Vec::with_capacity(TOTAL);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&(BODY as u32).to_be_bytes());
    let put_term = |bytes: &mut Vec<u8>, term: Term| {
        bytes.extend_from_slice(&term.counter.to_be_bytes());
        bytes.push(term.node.index() as u8);
    };
    for term in [term, served, lone] {
        put_term(&mut bytes, term);
    }
    // PostgreSQL counts timelines from 1: zero is an empty place.
    let empty = std::iter::repeat((0, Term::ZERO));
    for (timeline, term) in branches.iter().chain(empty).take(Branches::REMEMBERED) {
        bytes.extend_from_slice(&timeline.to_be_bytes());
        put_term(&mut bytes, term);
    }
    bytes.extend_from_slice(&[peer_excluded, active, copy_unfinished].map(u8::from));
    bytes.push(u8::from(leaving.is_some()));
    bytes.extend_from_slice(&leaving.map_or(0, |session| session.0).to_be_bytes());
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Durable, Damaged> {
    let length = Damaged::Length { found: bytes.len(), expected: TOTAL };
    let mut fields = Fields(bytes);
    let Some(magic) = fields.take::<8>() else { return Err(length) };
    if &magic != MAGIC {
        return Err(Damaged::Magic);
    }
    let Some(version) = fields.take().map(u16::from_be_bytes) else { return Err(length) };
    if version != VERSION {
        return Err(Damaged::Version { found: version });
    }
    if bytes.len() != TOTAL || fields.take().map(u32::from_be_bytes) != Some(BODY as u32) {
        return Err(length);
    }
    let (content, checksum) = bytes.split_at(HEADER + BODY);
    if Sha256::digest(content)[..] != *checksum {
        return Err(Damaged::Checksum);
    }
    fields.durable()
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn durable(&mut self) -> Result<Durable, Damaged> {
        Ok(Durable {
            term: self.term()?,
            served: self.term()?,
            lone: self.term()?,
            branches: self.branches()?,
            peer_excluded: self.flag()?,
            active: self.flag()?,
            copy_unfinished: self.flag()?,
            leaving: self.session()?,
        })
    }

    fn term(&mut self) -> Result<Term, Damaged> {
        let counter = self.take().map(u64::from_be_bytes);
        let node = self.take::<1>().and_then(|[index]| {
            NodeId::ALL.into_iter().find(|node| node.index() == usize::from(index))
        });
        match (counter, node) {
            (Some(counter), Some(node)) => Ok(Term { counter, node }),
            (None, _) | (_, None) => Err(Damaged::Content("term")),
        }
    }

    fn branches(&mut self) -> Result<Branches, Damaged> {
        let mut known = Vec::with_capacity(Branches::REMEMBERED);
        for _ in 0..Branches::REMEMBERED {
            let timeline = self.take().map(u32::from_be_bytes);
            let timeline = timeline.ok_or(Damaged::Content("timeline"))?;
            let term = self.term()?;
            match known.last() {
                _ if timeline == 0 => {}
                Some(&(before, _)) if before >= timeline => {
                    return Err(Damaged::Content("order of timelines"));
                }
                Some(_) | None => known.push((timeline, term)),
            }
        }
        Ok(known.into_iter().collect())
    }

    fn flag(&mut self) -> Result<bool, Damaged> {
        match self.take::<1>() {
            Some([0]) => Ok(false),
            Some([1]) => Ok(true),
            Some(_) | None => Err(Damaged::Content("flag")),
        }
    }

    fn session(&mut self) -> Result<Option<Session>, Damaged> {
        let present = self.flag()?;
        let number = self.take().map(u64::from_be_bytes).ok_or(Damaged::Content("session"))?;
        match (present, number) {
            (true, number) => Ok(Some(Session(number))),
            (false, 0) => Ok(None),
            (false, _) => Err(Damaged::Content("session")),
        }
    }
}
