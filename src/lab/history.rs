//! The history checker: every client's log and the final tables of both hosts against two
//! promises. Pure: it reads no file and asks nobody.
//!
//! - **P2** every acknowledged row is in the database that serves; where the durability allows a
//!   loss, the row is counted and is in a salvage.
//! - **P5** every row of a log that was left behind (read before it was rewound) is in the database
//!   that serves or in a salvage.
//!
//! And what no database may show: a row twice, a row that nobody wrote, a standby with rows that
//! its primary lacks.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use crate::protocol::time::Instant;

/// A line of a client's log: on disk before it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The row's number.
    pub number: u64,
    /// When "stored" was heard.
    pub at: Instant,
}

/// A client that writes one numbered row after the other, each until it is acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Who, for people.
    pub name: String,
    /// Every number it has asked for so far.
    pub asked: RangeInclusive<u64>,
    /// What it was told is stored, in order.
    pub acknowledged: Vec<Acknowledged>,
}

/// A call that was answered, as its log has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnsweredCall {
    /// Its Call-ID.
    pub id: String,
    /// When the INVITE left.
    pub invited: Instant,
    /// When the 200 came.
    pub answered: Instant,
}

/// The rows of a log that was left behind, as they were before anything touched it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Whose log, for people.
    pub name: String,
    /// The numbers of its rows.
    pub rows: Vec<u64>,
}

/// What happens to rows that the serving database lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// There must be none.
    Never,
    /// Durability or arbitration states them: they are counted, and each is in a salvage as soon as
    /// the host that has it is back (`returned`).
    Stated {
        /// Every host is back and stands by or serves.
        returned: bool,
    },
}

/// Everything that is known of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// The writing clients.
    pub clients: Vec<Client>,
    /// The log of answered calls.
    pub calls: Vec<AnsweredCall>,
    /// The rows of the database that serves; `None` when none does.
    pub serving: Option<Vec<u64>>,
    /// The rows of the other node's database, read before the serving one's; `None` when it stands
    /// by nowhere.
    pub standby: Option<Vec<u64>>,
    /// Logs that were left behind.
    pub branches: Vec<Branch>,
    /// Every row in every salvage of both hosts.
    pub salvaged: Vec<u64>,
    /// Whether acknowledged rows may be missing.
    pub loss: Loss,
}

/// What must not be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Violation {
    /// P2: acknowledged, and in no database that serves.
    Lost(u64),
    /// P2: acknowledged, lost as stated, and in no salvage either.
    LostUnsalvaged(u64),
    /// P5: on a log that was left behind, and now nowhere.
    ThrownAway(String, u64),
    /// A row stands twice.
    Twice(Place, u64),
    /// A row that no client asked for.
    Unwritten(Place, u64),
    /// The standby has a row that the serving database lacks.
    NoCopy(u64),
    /// A client's log is not what such a client writes.
    BadLog(String),
}

/// Where a row was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// The database that serves.
    Serving,
    /// The standby's.
    Standby,
    /// A salvage.
    Salvage,
    /// A log left behind.
    Branch,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Serving => "the serving database",
            Place::Standby => "the standby",
            Place::Salvage => "a salvage",
            Place::Branch => "a log left behind",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost(row) => write!(f, "P2: acknowledged row {row} is lost"),
            Violation::LostUnsalvaged(row) => {
                write!(f, "P2: acknowledged row {row} is lost and in no salvage")
            }
            Violation::ThrownAway(name, row) => {
                write!(f, "P5: row {row} of {name} was thrown away")
            }
            Violation::Twice(place, row) => write!(f, "row {row} stands twice in {place}"),
            Violation::Unwritten(place, row) => {
                write!(f, "row {row} in {place} was written by nobody")
            }
            Violation::NoCopy(row) => {
                write!(f, "row {row} is on the standby and not in the serving database")
            }
            Violation::BadLog(what) => write!(f, "a client's log: {what}"),
        }
    }
}

/// The sums, and every violation in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Account {
    /// Acknowledged rows.
    pub acknowledged: usize,
    /// Rows of the serving database.
    pub present: usize,
    /// Acknowledged, and not in the serving database.
    pub missing: usize,
    /// Rows in salvages that the serving database lacks.
    pub salvaged: usize,
    /// Rows of logs left behind that the serving database lacks.
    pub left_behind: usize,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// Judges a history.
pub fn check(history: &History) -> Account {
    let set = |rows: &[u64]| rows.iter().copied().collect::<BTreeSet<u64>>();
    let serving = set(history.serving.as_deref().unwrap_or_default());
    let salvaged = set(&history.salvaged);
    let mut account = Account {
        present: serving.len(),
        salvaged: salvaged.difference(&serving).count(),
        ..Account::default()
    };
    let bad = &mut account.violations;
    for client in &history.clients {
        log_is_sane(client, bad);
        account.acknowledged += client.acknowledged.len();
        for row in client.acknowledged.iter().map(|one| one.number) {
            if serving.contains(&row) {
                continue;
            }
            account.missing += 1;
            match history.loss {
                Loss::Never => bad.push(Violation::Lost(row)),
                Loss::Stated { returned: true } if !salvaged.contains(&row) => {
                    bad.push(Violation::LostUnsalvaged(row));
                }
                Loss::Stated { .. } => {}
            }
        }
    }
    let mut left_behind = BTreeSet::new();
    for branch in &history.branches {
        for row in branch.rows.iter().filter(|row| !serving.contains(row)) {
            left_behind.insert(*row);
            if !salvaged.contains(row) {
                bad.push(Violation::ThrownAway(branch.name.clone(), *row));
            }
        }
    }
    account.left_behind = left_behind.len();
    rows_are_sane(history, bad);
    if let (Some(standby), Some(_)) = (&history.standby, &history.serving) {
        let foreign = standby.iter().filter(|row| !serving.contains(row));
        bad.extend(foreign.map(|row| Violation::NoCopy(*row)));
    }
    calls_are_sane(&history.calls, bad);
    bad.sort();
    bad.dedup();
    account
}

/// No row twice in one table, and none that nobody asked for anywhere.
fn rows_are_sane(history: &History, bad: &mut Vec<Violation>) {
    let none = Vec::new();
    let tables = [
        (Place::Serving, history.serving.as_ref().unwrap_or(&none)),
        (Place::Standby, history.standby.as_ref().unwrap_or(&none)),
    ];
    let branches = history.branches.iter().map(|branch| (Place::Branch, &branch.rows));
    for (place, rows) in tables.into_iter().chain(branches) {
        let mut seen = BTreeSet::new();
        bad.extend(
            rows.iter().filter(|row| !seen.insert(**row)).map(|row| Violation::Twice(place, *row)),
        );
        unwritten(&history.clients, place, rows, bad);
    }
    // A row may be in two salvages: of two losses of one host, or of both hosts.
    unwritten(&history.clients, Place::Salvage, &history.salvaged, bad);
}

fn unwritten(clients: &[Client], place: Place, rows: &[u64], bad: &mut Vec<Violation>) {
    let asked = |row: &u64| clients.iter().any(|client| client.asked.contains(row));
    bad.extend(rows.iter().filter(|row| !asked(row)).map(|row| Violation::Unwritten(place, *row)));
}

/// One number after the other, none later than asked for, time going forward.
fn log_is_sane(client: &Client, bad: &mut Vec<Violation>) {
    let Client { name, asked, acknowledged } = client;
    let mut expected = *asked.start();
    for (index, line) in acknowledged.iter().enumerate() {
        if line.number != expected || !asked.contains(&line.number) {
            bad.push(Violation::BadLog(format!("{name}: {} instead of {expected}", line.number)));
        }
        if index > 0 && line.at < acknowledged[index - 1].at {
            bad.push(Violation::BadLog(format!("{name}: {} before its time", line.number)));
        }
        expected = line.number + 1;
    }
}

fn calls_are_sane(calls: &[AnsweredCall], bad: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for call in calls {
        if call.answered < call.invited {
            bad.push(Violation::BadLog(format!("call {} answered before it was made", call.id)));
        }
        if !seen.insert(&call.id) {
            bad.push(Violation::BadLog(format!("call {} answered twice", call.id)));
        }
    }
}

/// Reads a client's log of records: one line `number nanoseconds` each. A last line without its end
/// was never synced, and does not count.
///
/// # Errors
/// A line that such a client does not write.
pub fn read_records(text: &str) -> Result<Vec<Acknowledged>, Violation> {
    whole_lines(text)
        .map(|line| {
            let (number, at) = line.split_once(' ')?;
            Some(Acknowledged { number: number.parse().ok()?, at: instant(at)? })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Violation::BadLog("a line of the records is torn".to_owned()))
}

/// Reads the log of answered calls: `invited answered call-id` each.
///
/// # Errors
/// A line that the watcher does not write.
pub fn read_calls(text: &str) -> Result<Vec<AnsweredCall>, Violation> {
    whole_lines(text)
        .map(|line| {
            let mut fields = line.splitn(3, ' ');
            let (invited, answered) = (instant(fields.next()?)?, instant(fields.next()?)?);
            Some(AnsweredCall { id: fields.next()?.to_owned(), invited, answered })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Violation::BadLog("a line of the calls is torn".to_owned()))
}

fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

fn instant(nanos: &str) -> Option<Instant> {
    nanos.parse().ok().map(Instant::from_nanos)
}

#[cfg(test)]
mod tests;
