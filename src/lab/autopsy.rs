//! What a log that may be left behind had in it, read before anybody can change it: a cold copy of
//! the data directory, recovered and read alone, while the host is without power, frozen, or has
//! stopped its database. The pair's own salvage is judged by it and is not asked.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::Context;

use super::history::Branch;
use super::host::postgres_user;
use super::namespaces::run_with_input;
use super::postgres::BIN;

/// A reading under way.
pub struct Autopsy {
    copied: JoinHandle<anyhow::Result<JoinHandle<anyhow::Result<Branch>>>>,
}

/// A copy that was taken; its rows are still being read.
pub struct Taken(JoinHandle<anyhow::Result<Branch>>);

impl Autopsy {
    /// Starts to copy a host's data directory, on which nothing runs, to `place`.
    pub fn start(name: String, data: PathBuf, place: PathBuf) -> Self {
        let copied = std::thread::spawn(move || {
            copy(&data, &place)?;
            Ok(std::thread::spawn(move || {
                let rows = read(&place);
                let _ = fs::remove_dir_all(&place);
                Ok(Branch { name, rows: rows? })
            }))
        });
        Autopsy { copied }
    }

    /// Waits until the copy is complete: from then on the host may go on.
    pub fn taken(self) -> anyhow::Result<Taken> {
        Ok(Taken(joined(self.copied)?))
    }
}

impl Taken {
    /// Waits for the rows.
    pub fn rows(self) -> anyhow::Result<Branch> {
        joined(self.0)
    }
}

fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the reading of a log that was left behind failed"))?
}

fn copy(data: &Path, place: &Path) -> anyhow::Result<()> {
    let (from, to) = (data.to_string_lossy(), place.to_string_lossy());
    run_with_input(Command::new("cp").args(["-a", "--reflink=auto", &from, &to]), "")?;
    // It is to recover what it has, alone, and to end there.
    for name in ["standby.signal", "recovery.signal", "postmaster.pid"] {
        match fs::remove_file(place.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The single-user server recovers the copy, writes the rows to a file, and ends.
fn read(place: &Path) -> anyhow::Result<Vec<u64>> {
    let user = postgres_user()?;
    let path = place.to_string_lossy().into_owned();
    let mut server = Command::new(format!("{BIN}/postgres"));
    server.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    server.args(["--single", "-D", &path, "-c", "fsync=off", "-c", "synchronous_standby_names="]);
    server.args(["-c", "log_min_messages=fatal", "postgres"]);
    let statement = format!("COPY (SELECT id FROM cdr) TO '{path}/rows'\n");
    run_with_input(&mut server, &statement).context("read a log that was left behind")?;
    let text = fs::read_to_string(place.join("rows")).context("the rows of a log left behind")?;
    text.lines().map(|line| line.parse().context("a row's number")).collect()
}
