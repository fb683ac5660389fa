//! The key file: made here, read here, and every fault of it named.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use duotone::wire::Key;
use duotone::wire::key::{KeyFileError, create};

/// A directory of the test's own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dtl-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_key_file_that_was_made_here_is_read() {
    let folder = Folder::new("made");
    let path = folder.0.join("pair.key");
    create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let made = Key::read(&path).unwrap();
    let again = Key::read(&path).unwrap();
    assert_eq!(made.tag(b"x"), again.tag(b"x"));
    assert!(matches!(create(&path), Err(KeyFileError::Write { .. })), "overwrote a key");
    let other = folder.0.join("other.key");
    create(&other).unwrap();
    assert_ne!(Key::read(&other).unwrap().tag(b"x"), made.tag(b"x"));
}

#[test]
fn the_digits_are_the_key() {
    let folder = Folder::new("digits");
    let text = format!(" {}\n", "0fF0".repeat(16));
    let read = Key::read(&folder.file("key", text, 0o400)).unwrap();
    let bytes: Vec<u8> = [0x0f, 0xf0].repeat(16);
    assert_eq!(read.tag(b"x"), Key::new(&bytes.try_into().unwrap()).tag(b"x"));
}

#[test]
fn each_fault_has_its_own_message() {
    let folder = Folder::new("faults");
    let good = "ab".repeat(32);
    let said = |path: PathBuf| Key::read(&path).unwrap_err().to_string();
    assert!(said(folder.0.join("none")).contains("duotone keygen"));
    assert!(said(folder.0.clone()).contains("not a regular file"));
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
        let message = said(folder.file("exposed", &good, mode));
        assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
        assert!(message.contains("chmod 600"), "{message}");
        assert!(!message.contains("abab"), "prints the key");
    }
    assert!(said(folder.file("short", &good[1..], 0o600)).contains("not 63 characters"));
    assert!(said(folder.file("long", good.repeat(99), 0o600)).contains("not 256 characters"));
    assert!(said(folder.file("empty", "", 0o600)).contains("not 0 characters"));
    let bad = format!("{}g{}", &good[..10], &good[11..]);
    assert!(said(folder.file("digit", bad, 0o600)).contains("character 11"));
}
