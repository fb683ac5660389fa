//! A file that holds one password, for root's eyes only: the password of a fence device.

use std::path::Path;

use zeroize::Zeroizing;

use super::key::{KeyError, read_private};

/// Longest password, in bytes.
const LONGEST: usize = 1024;

/// Why a password file cannot be used; each says what to do, none what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// There is none.
    #[error("{0} does not exist; write the password into it, and run `chmod 600 {0}`")]
    Missing(String),
    /// Others could have read it.
    #[error(
        "{path} can be used by others (mode {mode:04o}); run `chmod 600 {path}`, and change the \
         password if somebody may have read it"
    )]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read, is not a plain file, or belongs to somebody else.
    #[error(transparent)]
    Unusable(KeyError),
    /// It holds no password.
    #[error("{path} holds no password ({wrong}); write the password alone, on one line")]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
}

/// Reads the password: the file's only line, without its end.
///
/// # Errors
/// See [`PasswordError`].
pub fn read(path: &Path) -> Result<Zeroizing<String>, PasswordError> {
    let text = read_private(path, LONGEST).map_err(|error| match error {
        KeyError::Missing(path) => PasswordError::Missing(path),
        KeyError::Open { path, mode } => PasswordError::Open { path, mode },
        other => PasswordError::Unusable(other),
    })?;
    parse(&text).map_err(|wrong| PasswordError::Content { path: path.display().to_string(), wrong })
}

fn parse(text: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    if text.len() > LONGEST {
        return Err("it is too long");
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err("it is empty"),
        line if line.contains(char::is_control) => Err("it has more than one line"),
        line => Ok(Zeroizing::new(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let read = |text: &[u8]| parse(text).map(|password| password.to_string());
        assert_eq!(read(b"s3cret word\n").as_deref(), Ok("s3cret word"));
        assert_eq!(read(b"s3cret\r\n").as_deref(), Ok("s3cret"));
        assert_eq!(read(b" blanks count ").as_deref(), Ok(" blanks count "));
        assert_eq!(read(b"\n"), Err("it is empty"));
        assert_eq!(read(b"one\ntwo\n"), Err("it has more than one line"));
        assert_eq!(read(&[b'x'; LONGEST + 1]), Err("it is too long"));
        assert_eq!(read(&[0xff]), Err("it is not text"));
    }
}
