//! The resource agents, called as a cluster calls them.
//!
//! `case` plays the pages of `cases/`; `outside` asks other people's programs what they think of
//! the agents, and `cluster_config` what they think of a printed configuration; `killed` kills
//! agents at any moment; `owners` holds them against the daemon; `bench` is `make bench-ocf`.

#[path = "../netns/mod.rs"]
mod netns;

mod bench;
mod case;
mod cluster_config;
mod host;
mod killed;
mod outside;
mod owners;

use std::path::{Path, PathBuf};

/// The pages, each played beside the others.
fn pages() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ocf/cases");
    let entries = std::fs::read_dir(directory).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(!pages.is_empty());
    pages
}

#[test]
fn every_case_answers_as_it_is_written() {
    let pages = pages();
    std::thread::scope(|scope| {
        for page in &pages {
            scope.spawn(move || case::play_all(page));
        }
    });
}
