//! The rows in the salvages of a host, read from its files as an administrator finds them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

/// The numbers of the call records in every salvage below a host's state directory, each as often
/// as it is there.
///
/// # Errors
/// A file cannot be read, or is not what a salvage is.
pub fn rows(state: &Path) -> anyhow::Result<Vec<u64>> {
    let mut rows = Vec::new();
    let directory = state.join("salvage");
    if directory.exists() {
        collect(&directory, &mut rows)?;
    }
    Ok(rows)
}

fn collect(directory: &Path, rows: &mut Vec<u64>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, rows)?;
        } else if path.extension().is_some_and(|kind| kind == "jsonl") {
            let text = fs::read_to_string(&path)?;
            for line in text.lines() {
                let line: Value = serde_json::from_str(line)
                    .with_context(|| format!("a line of {}", path.display()))?;
                if line["table"] == "cdr" {
                    let number = line["row"]["id"].as_u64();
                    rows.push(number.with_context(|| format!("no id in {}", path.display()))?);
                }
            }
        }
    }
    Ok(())
}
