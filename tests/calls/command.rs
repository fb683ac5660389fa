//! Commands that print lists: good ones, and those that fail, hang, flood or are not there.

use std::time::{Duration, Instant};

use duotone::adapters::live::{self, CommandError, Listing};

/// Far longer than a shell needs.
const LONG: Duration = Duration::from_secs(60);

fn list(line: &str, limit: Duration) -> Result<Listing, CommandError> {
    let command = ["/bin/sh", "-c", line].map(str::to_owned);
    runtime().block_on(live::list(&command, limit))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn lines_become_entries_and_members_pass_through() {
    let listing = list("echo '{\"id\":\"7\",\"codec\":[\"pcma\"]}'; echo oops", LONG).unwrap();
    assert_eq!((listing.entries.len(), listing.broken), (1, 1));
    assert_eq!(listing.entries[0]["codec"][0], "pcma");
    assert_eq!(list(":", LONG).unwrap(), Listing::default(), "no call is up");
}

/// A command that fails has told nothing, whatever it printed before.
#[test]
fn a_failure_is_no_list() {
    let told = list("echo '{\"id\":\"7\"}'; echo 'no database' >&2; exit 3", LONG).unwrap_err();
    assert!(told.to_string().contains("no database"), "{told}");
    assert!(matches!(told, CommandError::Failed { .. }));
    let command = vec!["/nowhere/list".to_owned()];
    let told = runtime().block_on(live::list(&command, LONG)).unwrap_err();
    assert!(matches!(told, CommandError::Start { .. }), "{told}");
}

#[test]
fn one_that_hangs_is_killed_with_what_it_started() {
    let mark = format!("60{}", std::process::id());
    let began = Instant::now();
    let told = list(&format!("sleep {mark} & sleep {mark}"), Duration::from_millis(300));
    assert!(matches!(told.unwrap_err(), CommandError::TooLong { .. }));
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    let end = Instant::now() + LONG;
    while sleeps(&mark) {
        assert!(Instant::now() < end, "a child of it is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sleeps(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line == format!("sleep\0{mark}\0").into_bytes())
}

#[test]
fn a_flood_is_bounded() {
    let flood = "i=0; while [ $i -lt 3 ]; do head -c 3000000 /dev/zero; echo; i=$((i+1)); done; \
                 echo '{\"id\":\"1\"}'";
    let listing = list(flood, LONG).unwrap();
    assert_eq!((listing.entries.len(), listing.broken), (1, 3));
}

#[test]
fn what_is_told_arrives_as_lines() {
    let file = std::env::temp_dir().join(format!("dtcalls{}", std::process::id()));
    let listing = Listing::read(b"{\"id\":\"1\",\"to\":\"b\"}\n{\"id\":\"2\"}\n");
    let line = format!("cat > {}", file.display());
    let command = ["/bin/sh", "-c", &line].map(str::to_owned);
    runtime().block_on(live::tell(&command, &listing.entries, LONG)).unwrap();
    let text = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Listing::read(&text), listing);
}
