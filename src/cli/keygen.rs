//! `duotone keygen`.

use std::path::{Path, PathBuf};

use crate::config::{key, key_file_of};

use super::{Error, Exit, say};

/// Makes a key at `path`, or where the configuration expects it.
pub(super) fn make(path: Option<PathBuf>, config: &Path) -> Result<Exit, Error> {
    let path = path.unwrap_or_else(|| key_file_of(config));
    key::create(&path)?;
    say(&format!(
        "{} made (mode 0600). Copy it to the other host over a safe path, with the same mode.",
        path.display()
    ))
}
