//! What the last run saw, kept in the repository: `tests/guests/RESULTS.md`.

use std::fs;
use std::process::Command;
use std::time::Instant;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/RESULTS.md");

pub struct Results {
    begun: Instant,
    /// Case, outcome, what was seen.
    rows: Vec<(String, &'static str, String)>,
    planned: Vec<&'static str>,
}

impl Results {
    pub fn begun() -> Results {
        Results { begun: Instant::now(), rows: Vec::new(), planned: Vec::new() }
    }

    /// What is still to come; told as not run until it was.
    pub fn plan(&mut self, cases: impl Iterator<Item = &'static str>) {
        self.planned = cases.collect();
    }

    pub fn passed(&mut self, case: &str, seen: &str) {
        self.row(case, "passed", seen);
    }

    pub fn failed(&mut self, case: &str, why: &str) {
        self.row(case, "FAILED", why);
    }

    fn row(&mut self, case: &str, outcome: &'static str, seen: &str) {
        let after = self.begun.elapsed().as_secs();
        eprintln!("guests: {after} s: {case}: {outcome}: {seen}");
        let seen = seen.lines().next().unwrap_or_default().replace('|', "/");
        self.rows.push((case.to_owned(), outcome, seen));
        // After each case: a run that is broken off has said what it saw until then.
        self.write();
    }

    pub fn good(&self) -> bool {
        self.rows.iter().all(|(_, outcome, _)| *outcome != "FAILED")
    }

    pub fn table(&self) -> String {
        let row = |(case, outcome, seen): &(String, &str, String)| {
            format!("| {case} | {outcome} | {seen} |\n")
        };
        let head = "| case | outcome | what was seen |\n|---|---|---|\n".to_owned();
        let judged = |case: &&str| self.rows.iter().any(|(name, ..)| name == case);
        let rest = self.planned.iter().filter(|case| !judged(case));
        let rest = rest.map(|case| format!("| {case} | not run | |\n"));
        head + &self.rows.iter().map(row).chain(rest).collect::<String>()
    }

    /// Nothing is written of a run that was told to leave cases out.
    fn write(&self) {
        if std::env::var_os("GUESTS_CASES").is_some() {
            return;
        }
        let commit = said("git", &["describe", "--always", "--abbrev=12", "--dirty"]);
        let date = said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
        let text = format!(
            "# Real guests: the last run\n\n\
             Written by `make test-guests`. Two QEMU guests (software emulation, 1 CPU and 768 MB \
             each), Debian 12,\nits kernel, systemd and PostgreSQL 15; `systemd/duotone.service` \
             installed as the README says. Times are\nof an emulated machine: only order and \
             survival mean something.\n\n\
             {date}, commit {commit}, {} minutes.\n\n{}",
            self.begun.elapsed().as_secs().div_ceil(60),
            self.table()
        );
        if let Err(error) = fs::write(FILE, text) {
            eprintln!("guests: {FILE}: {error}");
        }
    }
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|error| format!("({program}: {error})"))
}
