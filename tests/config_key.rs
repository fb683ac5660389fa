//! Key files: made once, read only when nobody else could have.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use duotone::config::{Config, key};

/// A directory of one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("duotone-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary directory");
        Directory(path)
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn told(path: &Path) -> String {
    key::read(path).expect_err("not a key").to_string()
}

#[test]
fn a_made_key_is_read_and_never_replaced() {
    let directory = Directory::new("key-made");
    let path = directory.0.join("pair.key");
    key::create(&path).expect("made");
    assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
    let first = key::read(&path).expect("own key");
    assert!(key::create(&path).expect_err("exists").to_string().contains("already exists"));
    assert_eq!(*key::read(&path).expect("still there"), *first);
    let other = directory.0.join("other.key");
    key::create(&other).expect("made");
    assert_ne!(*key::read(&other).expect("other"), *first);
}

#[test]
fn what_is_not_a_key_is_told() {
    let directory = Directory::new("key-wrong");
    let good = "0123456789abcdef".repeat(4);
    assert!(key::read(&directory.file("good", &format!("{good}\n"), 0o400)).is_ok());
    assert!(
        told(&directory.0.join("none")).contains("does not exist; make it with `duotone keygen")
    );
    let open = directory.file("open", &good, 0o640);
    assert!(told(&open).contains("mode 0640") && told(&open).contains("chmod 600"));
    assert!(told(&directory.file("short", "abcd", 0o600)).contains("64 hexadecimal digits"));
    assert!(told(&directory.file("letters", &"xy".repeat(32), 0o600)).contains("64 hexadecimal"));
    assert!(told(&directory.file("long", &good.repeat(9), 0o600)).contains("too long"));
    assert!(
        told(&directory.file("zero", &"00".repeat(32), 0o600)).contains("every byte is the same")
    );
    assert!(told(&directory.0).contains("not a plain file"));
    assert!(!told(&directory.file("leak", "secretsecret", 0o600)).contains("secretsecret"));
}

#[test]
fn a_pipe_in_the_place_of_the_key_does_not_block() {
    let directory = Directory::new("key-pipe");
    let path = directory.0.join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("pipe");
    assert!(told(&path).contains("not a plain file"));
}

#[test]
fn the_key_is_checked_with_the_file_and_named_with_its_line() {
    let directory = Directory::new("key-config");
    let missing = directory.0.join("none.key");
    let text = include_str!("../examples/duotone.toml")
        .replace("/etc/duotone/pair.key", &missing.display().to_string());
    let config = directory.file("duotone.toml", &text, 0o644);
    let errors = Config::load(&config, Some("pbx-a")).expect_err("no key").to_string();
    assert!(errors.contains("duotone.toml:8:12: key_file: ") && errors.contains("does not exist"));
    assert!(Config::load_without_keys(&config, Some("pbx-a")).is_ok());

    key::create(&missing).expect("made");
    assert!(Config::load(&config, Some("pbx-a")).is_ok());
    let same = format!("old_key_file = \"{}\"", missing.display());
    let text = text.replace("# old_key_file = \"/etc/duotone/old.key\"", &same);
    let config = directory.file("duotone.toml", &text, 0o644);
    let errors = Config::load(&config, Some("pbx-a")).expect_err("same key").to_string();
    assert!(errors.contains("holds the same key"), "{errors}");

    let gone = directory.0.join("gone.toml");
    let errors = Config::load(&gone, None).expect_err("no file").to_string();
    assert!(errors.contains("examples/duotone.toml"), "{errors}");
}
