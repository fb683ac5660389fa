//! The walls: who may import whom, what the core may not know, what does not merge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Each room and what it must not name.
const WALLS: &[(&str, &[&str])] = &[
    (
        "src/protocol",
        &[
            "crate::wire",
            "crate::pulse",
            "crate::adapters",
            "crate::config",
            "crate::daemon",
            "crate::cli",
            "crate::lab",
            "crate::logging",
            "std::",
            "tokio",
            "tracing",
            "libc",
            "async fn",
            "rand",
            "serde_json",
        ],
    ),
    (
        "src/wire",
        &[
            "crate::pulse",
            "crate::adapters",
            "crate::config",
            "crate::daemon",
            "crate::cli",
            "crate::lab",
            "tokio",
        ],
    ),
    (
        "src/pulse",
        &[
            "crate::adapters",
            "crate::daemon",
            "crate::cli",
            "crate::lab",
            "tracing::",
            "println!",
            "Mutex",
            "RwLock",
            ".await",
        ],
    ),
    ("src/adapters", &["crate::pulse", "crate::daemon", "crate::cli", "crate::lab"]),
    ("src/ocf", &["crate::daemon", "crate::cli", "crate::lab", "crate::witness"]),
    ("src/witness", &["crate::pulse", "crate::daemon", "crate::cli", "crate::lab"]),
    (
        "src/config",
        &["crate::pulse", "crate::adapters", "crate::daemon", "crate::cli", "crate::lab"],
    ),
];

#[test]
fn imports_point_one_way() {
    let mut broken = Vec::new();
    for (room, forbidden) in WALLS {
        for file in rust_files(&Path::new(ROOT).join(room)) {
            for (number, line) in code_lines(&file) {
                for word in forbidden.iter().filter(|word| line.contains(**word)) {
                    broken.push(format!("{}:{number}: {room} must not know {word}", show(&file)));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// As `no_std + alloc` it can reach no clock, socket or file.
#[test]
fn protocol_compiles_alone_without_std() {
    let alone = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    run(Command::new(Path::new(ROOT).join("tests/simulation/alone")).arg(&alone));
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    run(Command::new(cargo).args(["check", "--offline", "--quiet"]).current_dir(&alone));
}

fn run(command: &mut Command) {
    let result = command.output().expect("it runs");
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

#[test]
fn nothing_unfinished_and_no_vague_names() {
    let unfinished =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "unimpl".to_owned() + "emented!"];
    let vague = ["utils", "common", "manager", "handler", "helpers", "util", "misc"];
    let mut broken = Vec::new();
    for file in rust_files(&Path::new(ROOT).join("src")) {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if vague.contains(&stem) {
            broken.push(format!("{}: a name that explains nothing", show(&file)));
        }
        let text = fs::read_to_string(&file).expect("source is readable");
        for word in unfinished.iter().filter(|word| text.contains(word.as_str())) {
            broken.push(format!("{}: {word}", show(&file)));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// A file of this size holds two things, or one that nobody reads to its end.
#[test]
fn files_are_short() {
    const LINES_MAX: usize = 500;
    let long: Vec<String> = rust_files(&Path::new(ROOT).join("src"))
        .into_iter()
        .filter_map(|file| {
            let lines = fs::read_to_string(&file).expect("source is readable").lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", show(&file)))
        })
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// `unwrap` and `expect` outside tests can end the daemon while it holds the address: each needs
/// its proof in a comment on the same line or the line above.
#[test]
fn panics_carry_their_proof() {
    let mut broken = Vec::new();
    for file in rust_files(&Path::new(ROOT).join("src")) {
        if show(&file).contains("src/lab") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("source is readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let panics = [".unwrap()", ".expect("].iter().any(|call| line.contains(call));
            let above = index.checked_sub(1).map_or("", |above| lines[above]);
            if panics
                && !line.trim_start().starts_with("//")
                && !line.contains("//")
                && !above.contains("//")
            {
                broken.push(format!("{}:{}: {}", show(&file), index + 1, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).expect("source is readable");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    code.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

fn rust_files(room: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(room) else { return files };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn show(file: &Path) -> String {
    file.strip_prefix(ROOT).unwrap_or(file).display().to_string()
}
