//! The pair's key and its file, and the tag by which pairs on one network are told apart.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of an HMAC-SHA256 tag (RFC 2104, FIPS 180-4).
pub const TAG_LEN: usize = 32;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// A key, ready for use; its state is wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// From its bytes, which the caller wipes.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Key {
        // RFC 2104: a key shorter than the hash's block is padded with zeros.
        let mut block = [0u8; 64].into();
        let padded: &mut hmac::digest::Key<Hmac<Sha256>> = &mut block;
        padded[..KEY_LEN].copy_from_slice(bytes);
        let key = Key(Hmac::new(padded));
        padded.as_mut_slice().zeroize();
        key
    }

    /// The tag of these bytes.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// Does the tag fit? Takes the same time wherever it differs.
    pub fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.verify_slice(tag).is_ok()
    }

    /// Reads a key file: 64 hexadecimal digits, surrounded by white space at most, in a regular
    /// file that nobody but its owner can read.
    ///
    /// # Errors
    /// Everything that can be wrong with the file, each with its own message.
    pub fn read(path: &Path) -> Result<Key, KeyFileError> {
        let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
        // Without O_NONBLOCK, opening a pipe would wait for its writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = match opened {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeyFileError::Missing { path: path.to_owned() });
            }
            other => other.map_err(failed)?,
        };
        // Of the open file, not of the name: nobody can exchange it in between.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(KeyFileError::NotAFile { path: path.to_owned() });
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new([0u8; 256]);
        let mut len = 0;
        while len < text.len() {
            match file.read(&mut text[len..]).map_err(failed)? {
                0 => break,
                more => len += more,
            }
        }
        parse(text[..len].trim_ascii(), path)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn parse(digits: &[u8], path: &Path) -> Result<Key, KeyFileError> {
    if digits.len() != 2 * KEY_LEN {
        return Err(KeyFileError::Length { path: path.to_owned(), found: digits.len() });
    }
    let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
    for (position, digit) in digits.iter().enumerate() {
        let Some(value) = char::from(*digit).to_digit(16) else {
            return Err(KeyFileError::NotHex { path: path.to_owned(), position: position + 1 });
        };
        // A hexadecimal digit is below 16.
        bytes[position / 2] = bytes[position / 2] << 4 | value as u8;
    }
    Ok(Key::new(&bytes))
}

/// Writes a new random key to a file that must not exist yet, readable by its owner alone.
///
/// # Errors
/// The file exists, cannot be written, or the kernel has no randomness.
pub fn create(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(bytes.as_mut()).map_err(|error| failed(error.into()))?;
    let mut text = Zeroizing::new([b'\n'; 2 * KEY_LEN + 1]);
    for (position, digit) in text[..2 * KEY_LEN].iter_mut().enumerate() {
        let nibble = bytes[position / 2] >> (4 * (1 - position % 2)) & 0xf;
        *digit = b"0123456789abcdef"[usize::from(nibble)];
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.as_mut().map_err(|error| error.kind().into()).and_then(|file| {
        file.write_all(text.as_ref())?;
        file.sync_all()
    });
    match (file, written) {
        (Err(error), _) | (_, Err(error)) => Err(failed(error)),
        (Ok(_), Ok(())) => Ok(()),
    }
}

/// What is wrong with a key file, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("key file {path} does not exist; make one with `duotone keygen {path}` and copy it \
             to the other host", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("key file {path} cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("key file {path} cannot be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("key file {path} is not a regular file", path = path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others can read it, so it is no secret.
    #[error("key file {path} has mode {mode:04o}: others can read it; `chmod 600 {path}`, and make \
             a new key if anybody else uses this host", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Too long or too short.
    #[error("key file {path} must hold 64 hexadecimal digits, not {found} characters; make one \
             with `duotone keygen`", path = path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Characters between the white space; 256 stands for "or more".
        found: usize,
    },
    /// Something else than hexadecimal digits.
    #[error("key file {path}: character {position} is not a hexadecimal digit",
            path = path.display())]
    NotHex {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        position: usize,
    },
}

/// The keys that a node accepts; it sends with the first.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Sends and is accepted.
    pub current: Key,
    /// Accepted as well, while keys are changed.
    pub old: Option<Key>,
}

impl Keys {
    /// Does the tag fit any of them?
    pub fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool {
        self.current.verifies(bytes, tag)
            || self.old.as_ref().is_some_and(|old| old.verifies(bytes, tag))
    }
}

/// Sixteen bytes that stand for the pair's name in every datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairTag([u8; PairTag::LEN]);

impl PairTag {
    /// Its length.
    pub const LEN: usize = 16;

    /// Of the pair's name.
    pub fn of(name: &str) -> PairTag {
        let digest = Sha256::new().chain_update(b"duotone pair\0").chain_update(name).finalize();
        let mut tag = [0; PairTag::LEN];
        tag.copy_from_slice(&digest[..PairTag::LEN]);
        PairTag(tag)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; PairTag::LEN] {
        &self.0
    }
}
