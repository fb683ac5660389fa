//! A file that holds HTTP headers, for root's eyes only: the authorization of a webhook.

use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::key::{KeyError, read_private};

/// Longest file, in bytes.
const LONGEST: usize = 16 << 10;

/// Why a headers file cannot be used; each says what to do, none what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum HeadersError {
    /// There is none.
    #[error("{0} does not exist; write `Name: value` lines into it, and run `chmod 600 {0}`")]
    Missing(String),
    /// Others could have read it.
    #[error("{path} can be used by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read, is not a plain file, or belongs to somebody else.
    #[error(transparent)]
    Unusable(KeyError),
    /// It holds something else.
    #[error("{path}: line {line} is no header; write `Name: value` on each line")]
    Content {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
    },
}

/// Reads the headers, one to a line; empty lines and those that begin with `#` count for nothing.
///
/// # Errors
/// See [`HeadersError`].
pub fn read(path: &Path) -> Result<HeaderMap, HeadersError> {
    let text = read_private(path, LONGEST).map_err(|error| match error {
        KeyError::Missing(path) => HeadersError::Missing(path),
        KeyError::Open { path, mode } => HeadersError::Open { path, mode },
        other => HeadersError::Unusable(other),
    })?;
    parse(&text).map_err(|line| HeadersError::Content { path: path.display().to_string(), line })
}

fn parse(text: &[u8]) -> Result<HeaderMap, usize> {
    let mut headers = HeaderMap::new();
    if text.len() > LONGEST {
        return Err(text.split(|byte| *byte == b'\n').count());
    }
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (name, value) = header(line).ok_or(number + 1)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let mut value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    // It is not shown where headers are.
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_header() {
        let found = parse(b"# of the chat\nAuthorization: Bearer s3cret\r\n\nX-Pair:office\n");
        let found = found.expect("valid");
        assert_eq!(found["authorization"], "Bearer s3cret");
        assert_eq!(found["x-pair"], "office");
        assert!(!format!("{found:?}").contains("s3cret"));
        assert_eq!(parse(b"a: b\nno header\n").unwrap_err(), 2);
        assert_eq!(parse(b": b\n").unwrap_err(), 1);
        assert_eq!(parse(b"a b: c").unwrap_err(), 1);
    }
}
