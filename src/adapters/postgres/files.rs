//! The cluster's files that duotone reads or writes itself, because the server does not run.
//!
//! The data directory belongs to another user than the daemon's, so nothing in it is followed
//! blindly: no symbolic links, and new files are made as new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::control::Control;
use super::process::Owner;
use super::trouble::Trouble;
use crate::protocol::log::{Fork, Log};

/// `pg_control_version` of the layouts whose first field is known to be the system identifier.
const CONTROL_VERSION: u32 = 1300;
/// A history file is a line per promotion; anything longer is not one.
const TEXT_MAX: u64 = 4 << 20;

/// The cluster's system identifier from `global/pg_control` (`src/include/catalog/pg_control.h`).
pub(super) fn system_id(data_dir: &Path) -> Option<u64> {
    let mut bytes = [0; 12];
    open(&data_dir.join("global/pg_control")).ok()?.read_exact(&mut bytes).ok()?;
    let [id @ .., v0, v1, v2, v3] = bytes;
    (u32::from_ne_bytes([v0, v1, v2, v3]) == CONTROL_VERSION).then(|| u64::from_ne_bytes(id))
}

/// The last forks before `timeline`, oldest first, from its history file.
pub(super) fn forks(data_dir: &Path, timeline: u32) -> Result<Vec<Fork>, Trouble> {
    let all = all_forks(data_dir, timeline)?;
    let oldest = all.len().saturating_sub(Log::MAX_FORKS);
    Ok(all.into_iter().skip(oldest).collect())
}

/// Every fork before `timeline`, oldest first.
pub(super) fn all_forks(data_dir: &Path, timeline: u32) -> Result<Vec<Fork>, Trouble> {
    if timeline == 1 {
        return Ok(Vec::new());
    }
    let path = history_path(data_dir, timeline);
    let text = read_text(&path).map_err(|error| Trouble::File { path: path.clone(), error })?;
    parse_history(&text).ok_or(Trouble::Answer("timeline history"))
}

/// Where the log of a primary ends that was shut down in order; `None` after any other end.
pub(super) fn stopped_log(data_dir: &Path) -> Result<Option<Log>, Trouble> {
    let control = Control::read(data_dir)?;
    let Some(position) = control.end_of_log() else { return Ok(None) };
    let forks = forks(data_dir, control.timeline)?;
    let log = Log { timeline: control.timeline, position, forks, branch: None, unfinished: false };
    Ok(Some(log))
}

/// A later timeline's history is here (the server fetches the peer's before it follows) and this
/// log is no part of it: the server says "forked off before current recovery point".
pub(super) fn left_behind(data_dir: &Path, timeline: u32, position: u64) -> bool {
    // As the server looks for the newest timeline: one after another until one is missing.
    let newest = (timeline.saturating_add(1)..)
        .map_while(|later| read_text(&history_path(data_dir, later)).ok())
        .last();
    let Some(forks) = newest.as_deref().and_then(parse_history) else { return false };
    match forks.iter().find(|fork| fork.timeline == timeline) {
        Some(fork) => fork.at < position,
        None => true,
    }
}

pub(super) fn history_path(data_dir: &Path, timeline: u32) -> PathBuf {
    data_dir.join(format!("pg_wal/{timeline:08X}.history"))
}

/// Lines of "timeline, tab, position, tab, reason" (`src/backend/access/transam/timeline.c`).
pub(super) fn parse_history(text: &str) -> Option<Vec<Fork>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let timeline = fields.next()?.parse().ok()?;
            Some(Fork { timeline, at: parse_position(fields.next()?)?, branch: None })
        })
        .collect()
}

/// A log position as PostgreSQL writes it: two hexadecimal halves.
pub(super) fn parse_position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |digits| u32::from_str_radix(digits, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}

/// The file that makes the server start as a standby.
pub(super) fn standby_signal(data_dir: &Path) -> PathBuf {
    data_dir.join("standby.signal")
}

/// Makes the stopped server start as a standby the next time, durably.
pub(super) fn put_standby_signal(data_dir: &Path, owner: &Owner) -> Result<(), Trouble> {
    let path = standby_signal(data_dir);
    let written = match fs::symlink_metadata(&path) {
        Ok(there) if there.is_file() => Ok(()),
        Ok(_) | Err(_) => replace(&path, b"", owner),
    };
    written.map_err(|error| Trouble::File { path, error })
}

/// The stopped server's next start is no standby's.
pub(super) fn remove_signals(data_dir: &Path) -> Result<(), Trouble> {
    for name in ["standby.signal", "recovery.signal"] {
        let path = data_dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Trouble::File { path, error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Sets these in the stopped server's `postgresql.auto.conf`, as ALTER SYSTEM would, durably.
pub(super) fn set(
    data_dir: &Path,
    owner: &Owner,
    settings: &[(&str, &str)],
) -> Result<(), Trouble> {
    let path = data_dir.join("postgresql.auto.conf");
    let edit = || {
        let old = match read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let new = with_settings(&old, settings);
        if new == old { Ok(()) } else { replace(&path, new.as_bytes(), owner) }
    };
    edit().map_err(|error| Trouble::File { path: path.clone(), error })
}

fn with_settings(old: &str, settings: &[(&str, &str)]) -> String {
    let is_set_here = |line: &str| {
        let name = line.split(['=', ' ', '\t']).next().unwrap_or_default();
        settings.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let mut new = String::new();
    for line in old.lines().filter(|line| !is_set_here(line.trim_start())) {
        new.push_str(line);
        new.push('\n');
    }
    for (key, value) in settings {
        // The configuration file's own lexer: quotes doubled, backslashes too.
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        new.push_str(&format!("{key} = '{value}'\n"));
    }
    new
}

/// Makes a file the owner's.
pub(super) fn give(path: &Path, owner: &Owner) -> Result<(), Trouble> {
    std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))
        .map_err(|error| Trouble::File { path: path.to_owned(), error })
}

/// Writes a file as a whole: temporary file, fsync, rename, fsync of the directory.
pub(super) fn replace(path: &Path, content: &[u8], owner: &Owner) -> io::Result<()> {
    let temporary = path.with_extension("duotone");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    fchown(&file, Some(owner.uid), Some(owner.gid))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    File::open(directory)?.sync_all()
}

pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(TEXT_MAX).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::{parse_history, parse_position, with_settings};
    use crate::protocol::log::Fork;

    #[test]
    fn a_history_is_read_line_by_line() {
        let text = "1\t0/3000060\tno recovery target specified\n\n2\tA/10\tno reason\n";
        let forks = [
            Fork { timeline: 1, at: 0x3000060, branch: None },
            Fork { timeline: 2, at: 0xA_0000_0010, branch: None },
        ];
        assert_eq!(parse_history(text).as_deref(), Some(&forks[..]));
        assert_eq!(parse_history("1\tgarbage"), None);
        assert_eq!(parse_position("FFFFFFFF/FFFFFFFF"), Some(u64::MAX));
        assert_eq!(parse_position("100000000/0"), None);
    }

    #[test]
    fn settings_replace_their_earlier_lines_only() {
        let old = "# do not edit\nport = '1'\nPrimary_Conninfo = 'x'\nprimary_slot_name = 's'\n";
        let new = with_settings(old, &[("primary_conninfo", r"password='a\b'")]);
        let expected = concat!(
            "# do not edit\nport = '1'\nprimary_slot_name = 's'\n",
            r"primary_conninfo = 'password=''a\\b'''",
            "\n"
        );
        assert_eq!(new, expected);
        assert_eq!(with_settings(&new, &[("primary_conninfo", r"password='a\b'")]), new);
    }
}
