//! The mutations of the protocol keep up with it: each still applies, each rule has one, and what
//! the last run of all of them wrote names them all as found. The run itself is `make mutations`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The rules of the protocol are numbered from 1 to this.
const RULES: u32 = 29;

/// Rules that the simulator cannot see broken, and why.
const NOT_SEEN: &[(u32, &str)] = &[
    (19, "the core has no action that cancels a session which waits for the standby"),
    (
        23,
        "what a stalled node goes by has expired by its clock, or is answered before it can claim",
    ),
];

/// Mutations that no run has tried to the end since the core or the simulator changed under them.
const NOT_RUN: &[&str] = &[];

struct Mutation {
    name: String,
    /// What it breaks, as its first line says: `rule 7: ...` or `P4: ...`.
    rule: String,
    text: String,
}

fn mutations() -> Vec<Mutation> {
    let folder = Path::new(ROOT).join("tests/mutations");
    let mut found: Vec<Mutation> = fs::read_dir(folder)
        .expect("the mutations are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable patch");
            Mutation {
                name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                rule: text.lines().next().unwrap_or_default().to_owned(),
                text,
            }
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[test]
fn each_applies_to_the_protocol_as_it_is() {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(ROOT).output();
    if git(&["--version"]).is_err() {
        eprintln!("skipped: needs git");
        return;
    }
    let mut stale = Vec::new();
    for Mutation { name, text, .. } in mutations() {
        let patch = format!("tests/mutations/{name}.patch");
        let checked = git(&["apply", "--check", &patch]).expect("git runs");
        if !checked.status.success() {
            stale.push(format!("{name}: {}", String::from_utf8_lossy(&checked.stderr)));
        }
        for file in text.lines().filter_map(|line| line.strip_prefix("+++ ")) {
            assert!(file.starts_with("b/src/protocol/"), "{name} changes {file}");
        }
    }
    assert!(stale.is_empty(), "make them anew or retire them:\n{}", stale.join("\n"));
}

#[test]
fn every_rule_that_the_simulator_sees_has_one() {
    let all = mutations();
    assert!(all.len() >= 24, "only {} mutations", all.len());
    let mut covered = BTreeSet::new();
    for Mutation { name, rule, .. } in &all {
        let (which, what) = rule.split_once(": ").expect("`rule N: what it says`");
        assert!(!what.is_empty(), "{name} does not say what it breaks");
        match which.strip_prefix("rule ").map(str::parse::<u32>) {
            Some(Ok(number)) => {
                assert!((1..=RULES).contains(&number), "{name}: there is no {which}");
                covered.insert(number);
            }
            Some(Err(_)) => panic!("{name}: {which} is no rule"),
            None => assert!(which.starts_with('P'), "{name}: {which} is no promise"),
        }
    }
    for number in 1..=RULES {
        let why = NOT_SEEN.iter().find(|(unseen, _)| *unseen == number);
        match (covered.contains(&number), why) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("no mutation breaks rule {number}"),
            (true, Some((_, why))) => panic!("rule {number} is seen broken, although: {why}"),
        }
    }
}

#[test]
fn the_last_run_of_all_found_each() {
    let results = fs::read_to_string(Path::new(ROOT).join("tests/mutations/RESULTS.md"))
        .expect("`make mutations` writes it");
    let found: BTreeSet<&str> = results
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split_once(" | "))
        .filter(|(name, rest)| *name != "mutation" && rest.contains(" | found | "))
        .map(|(name, _)| name)
        .collect();
    let names: BTreeSet<String> = mutations().into_iter().map(|mutation| mutation.name).collect();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let never: Vec<&&str> =
        names.difference(&found).filter(|name| !NOT_RUN.contains(name)).collect();
    let known = NOT_RUN.iter().find(|name| found.contains(*name));
    assert_eq!(known, None, "it was run: take it out of the list");
    let gone: Vec<&&str> = found.difference(&names).collect();
    assert!(never.is_empty() && gone.is_empty(), "not found: {never:?}; found, but gone: {gone:?}");
}
