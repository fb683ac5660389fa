//! The state file: what is written comes back, and nothing else is ever believed.

use std::fs;
use std::path::{Path, PathBuf};

use duotone::adapters::state_file::{Damaged, OpenError, StateFile};
use duotone::protocol::durable::Durable;
use duotone::protocol::identity::{NodeId, Session, Term};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("dtsf-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Directory(path)
    }

    fn open(&self) -> StateFile {
        StateFile::open(&self.0).expect("open")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rich() -> Durable {
    Durable {
        term: Term { counter: 7, node: NodeId::B },
        served: Term { counter: 6, node: NodeId::A },
        branches: [
            (3, Term { counter: 2, node: NodeId::B }),
            (12, Term { counter: 6, node: NodeId::A }),
        ]
        .into_iter()
        .collect(),
        lone: Term { counter: 5, node: NodeId::B },
        peer_excluded: true,
        active: true,
        leaving: Some(Session(0)),
        copy_unfinished: true,
    }
}

#[test]
fn what_was_saved_comes_back_after_a_reopen() {
    let directory = Directory::new("round");
    for state in [Durable::FRESH, rich(), Durable { leaving: None, active: false, ..rich() }] {
        assert_eq!(directory.open().save(&state).expect("save"), state);
        assert_eq!(directory.open().load().expect("load"), Some(state));
    }
    assert!(!directory.0.join("state.new").exists(), "the temporary file was renamed");
}

#[test]
fn nothing_written_is_not_damage() {
    let directory = Directory::new("fresh");
    assert_eq!(directory.open().load().expect("load"), None);
}

#[test]
fn a_directory_is_used_by_one_daemon_at_a_time() {
    let directory = Directory::new("lock");
    let first = directory.open();
    assert!(matches!(StateFile::open(&directory.0), Err(OpenError::InUse(_))));
    drop(first);
    directory.open();
}

#[test]
fn every_truncation_is_detected() {
    let directory = Directory::new("short");
    let (file, bytes) = written(&directory);
    for length in 0..bytes.len() {
        assert_damaged(&file, &bytes[..length], &format!("cut to {length} bytes"));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_damaged(&file, &longer, "one byte too many");
}

#[test]
fn every_single_byte_change_is_detected() {
    let directory = Directory::new("flip");
    let (file, bytes) = written(&directory);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert_damaged(&file, &changed, &format!("byte {at} changed by {flip:#x}"));
        }
    }
}

#[test]
fn a_later_version_is_named_as_such() {
    let directory = Directory::new("version");
    let (file, mut bytes) = written(&directory);
    bytes[9] = 2;
    fs::write(file.path(), &bytes).expect("write");
    assert!(matches!(file.load(), Err(Damaged::Version { found: 2 })), "{:?}", file.load());
}

#[test]
fn a_file_that_cannot_be_read_is_damaged_not_absent() {
    let directory = Directory::new("unreadable");
    let file = directory.open();
    fs::create_dir(file.path()).expect("a directory in its place");
    assert!(matches!(file.load(), Err(Damaged::Unreadable(_))));
}

#[test]
fn a_write_that_failed_leaves_the_old_value() {
    let directory = Directory::new("failed");
    let (file, _) = written(&directory);
    fs::create_dir(directory.0.join("state.new")).expect("in the way of the temporary file");
    assert!(file.save(&Durable::FRESH).is_err());
    assert_eq!(file.load().expect("load"), Some(rich()));
}

fn written(directory: &Directory) -> (StateFile, Vec<u8>) {
    let file = directory.open();
    file.save(&rich()).expect("save");
    let bytes = read(&file.path());
    (file, bytes)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("read")
}

fn assert_damaged(file: &StateFile, bytes: &[u8], what: &str) {
    fs::write(file.path(), bytes).expect("write");
    match file.load() {
        Err(_) => {}
        Ok(value) => panic!("{what}: believed as {value:?}"),
    }
}
