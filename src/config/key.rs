//! The key file of the heartbeats: 32 bytes in hexadecimal, for root's eyes only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::{Zeroize, Zeroizing};

/// The secret that both nodes share; wiped from memory when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// Why a key file cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("{0} does not exist; make it with `duotone keygen {0}` and copy it to the other host")]
    Missing(String),
    /// The caller may not read it, which is as it should be for anybody but root.
    #[error("{0} cannot be read by this user; run this as root (sudo)")]
    Denied(String),
    /// It is there and cannot be read.
    #[error("{0} cannot be read: {1}; check the path and the disk")]
    Unreadable(String, io::Error),
    /// It is a directory, a pipe, a device.
    #[error("{0} is not a plain file; name the file that `duotone keygen` made")]
    NotAFile(String),
    /// Others could have read it, so it may be no secret any more.
    #[error(
        "{path} can be used by others (mode {mode:04o}); run `chmod 600 {path}`, and make a new \
         key if somebody may have read it"
    )]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns it and could replace it.
    #[error("{path} belongs to user {owner}; run `chown root {path}`")]
    Foreign {
        /// The file.
        path: String,
        /// Its owner's user id.
        owner: u32,
    },
    /// It does not hold 64 hexadecimal digits.
    #[error(
        "{path} is not a key ({wrong}); make one with `duotone keygen` and copy it to both hosts"
    )]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it; never what it contains.
        wrong: &'static str,
    },
    /// `create` never replaces a file.
    #[error("{0} already exists and is left as it is; name another file, or remove it first")]
    Exists(String),
    /// It could not be written.
    #[error("{0} cannot be written: {1}")]
    Unwritable(String, io::Error),
    /// The kernel gave no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    NoRandom(String),
}

/// Reads the key.
///
/// # Errors
/// The file is missing, not plain, open to others, or holds something else.
pub fn read(path: &Path) -> Result<Key, KeyError> {
    let name = || path.display().to_string();
    let text = read_private(path, LONGEST_FILE)?;
    parse(&text).map_err(|wrong| KeyError::Content { path: name(), wrong })
}

/// Reads a file that is for root's eyes only: at most one byte more than `longest`.
///
/// # Errors
/// As [`read`], but for the content.
pub(super) fn read_private(path: &Path, longest: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let name = || path.display().to_string();
    // A pipe in its place must not block the daemon's start.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(name()),
        io::ErrorKind::PermissionDenied => KeyError::Denied(name()),
        _ => KeyError::Unreadable(name(), error),
    })?;
    let about = file.metadata().map_err(|error| KeyError::Unreadable(name(), error))?;
    if !about.is_file() {
        return Err(KeyError::NotAFile(name()));
    }
    if about.mode() & 0o077 != 0 {
        return Err(KeyError::Open { path: name(), mode: about.mode() & 0o7777 });
    }
    if about.uid() != 0 && about.uid() != nix::unistd::geteuid().as_raw() {
        return Err(KeyError::Foreign { path: name(), owner: about.uid() });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(longest + 1));
    (&file)
        .take(longest as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| KeyError::Unreadable(name(), error))?;
    Ok(text)
}

/// Makes a new key file with mode 0600; never replaces anything.
///
/// # Errors
/// The file exists, or it, or its directory, cannot be written.
pub fn create(path: &Path) -> Result<(), KeyError> {
    let name = || path.display().to_string();
    let mut key = Zeroizing::new([0u8; 32]);
    getrandom::fill(key.as_mut()).map_err(|error| KeyError::NoRandom(error.to_string()))?;
    let mut line = Zeroizing::new(String::with_capacity(65));
    for byte in key.iter() {
        line.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        line.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    line.push('\n');
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(name()),
        _ => KeyError::Unwritable(name(), error),
    })?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_directory(path)).map_err(|error| KeyError::Unwritable(name(), error))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// 64 digits and the blanks that editors leave.
const LONGEST_FILE: usize = 256;

fn parse(text: &[u8]) -> Result<Key, &'static str> {
    if text.len() > LONGEST_FILE {
        return Err("it is too long");
    }
    let digits = text.trim_ascii();
    if digits.len() != 64 {
        return Err("it does not have 64 hexadecimal digits");
    }
    let mut key = Zeroizing::new([0u8; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err("it does not have 64 hexadecimal digits");
        };
        *byte = (high * 16 + low) as u8;
    }
    if key.iter().all(|byte| *byte == key[0]) {
        key.zeroize();
        return Err("every byte is the same");
    }
    Ok(key)
}
