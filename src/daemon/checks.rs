//! Remote checks: while this node stands by, it asks the active node's services over the LAN, and
//! tells the node what the answers mean together. What follows is the protocol's.
//!
//! No answer says nothing while this host may be off the LAN itself: it counts only when a reference
//! of `[floating]` answers this host at that time. An answer of any kind (a refusal, a wrong status)
//! came from the host that was asked, and needs no such proof.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::asked::{Asked, word};
use super::journal::Journal;
use super::{Shared, offers, work};
use crate::adapters::clock;
use crate::adapters::probes::{Answer, Bad, CouldNotRun, Question, Tally};
use crate::config::{Config, Probe, RemoteChecks, Trigger};
use crate::protocol::event::Event;
use crate::protocol::health::Grade;
use crate::protocol::identity::GroupId;
use crate::protocol::lead::Authority;
use crate::protocol::time::Instant;
use crate::pulse::neighbours;
use crate::pulse::report::Snapshot;

/// Questions wait for their turn when so many answers are not looked at yet.
const ANSWERS: usize = 16;

type Heard = (usize, Grade, Answer);

/// Asks while this node stands by and hears that the peer has the role; tells the node every change.
/// When it stops asking, nothing is known any more.
pub(super) async fn tend(shared: Arc<Shared>, mut snapshots: watch::Receiver<Option<Snapshot>>) {
    loop {
        if let Some(asked) = wanted(&shared, &snapshots) {
            let told = ask_while_wanted(&shared, &mut snapshots, asked).await;
            note(&shared, Vec::new());
            if told != Grade::Unknown {
                tell(&shared, Grade::Unknown).await;
            }
        }
        if snapshots.has_changed().is_err()
            || wanted(&shared, &snapshots).is_none() && snapshots.changed().await.is_err()
        {
            return;
        }
    }
}

/// What is to be asked now, and who proves that this host is on the LAN.
#[derive(Clone, PartialEq)]
struct Wanted {
    checks: RemoteChecks,
    interface: String,
    references: Vec<IpAddr>,
}

fn wanted(shared: &Shared, snapshots: &watch::Receiver<Option<Snapshot>>) -> Option<Wanted> {
    let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
    let checks = config.remote_checks.as_ref()?;
    let snapshot = snapshots.borrow();
    let status = &snapshot.as_ref()?.status;
    let asks = status.authority == Authority::Standby && offers::peer_serves(status);
    asks.then(|| Wanted {
        checks: checks.clone(),
        interface: config.floating.interface.clone(),
        references: config.floating.references.clone(),
    })
}

/// Returns what the node was told last.
async fn ask_while_wanted(
    shared: &Arc<Shared>,
    snapshots: &mut watch::Receiver<Option<Snapshot>>,
    asked: Wanted,
) -> Grade {
    let (sender, mut answers) = mpsc::channel(ANSWERS);
    let mut asking = JoinSet::new();
    let mut rows = Vec::new();
    for (index, probe) in asked.checks.probes.iter().enumerate() {
        let what = probe.kind.to_string();
        rows.push(Asked::nothing(what.clone(), what));
        asking.spawn_local(keep_asking(index, probe.clone(), asked.clone(), sender.clone()));
    }
    note(shared, rows.clone());
    let mut told = Grade::Unknown;
    loop {
        tokio::select! {
            heard = answers.recv() => {
                let Some((index, grade, answer)) = heard else { return told };
                if let Some(row) = rows.get_mut(index) {
                    (row.grade, row.last) = (grade, Some((clock::now(), answer)));
                }
                let together = together(asked.checks.trigger, rows.iter().map(|row| row.grade));
                note(shared, rows.clone());
                if together != told {
                    told = together;
                    tell(shared, told).await;
                }
            }
            changed = snapshots.changed() => {
                if changed.is_err() || wanted(shared, snapshots).as_ref() != Some(&asked) {
                    return told;
                }
            }
        }
    }
}

async fn keep_asking(index: usize, probe: Probe, asked: Wanted, answers: mpsc::Sender<Heard>) {
    let interval = probe.interval;
    let mut tally = Tally::new(probe.rise, probe.fall);
    let mut question = Question::new(probe);
    loop {
        let begun = tokio::time::Instant::now();
        let answer = match question.ask().await {
            Answer::Bad(Bad::NoAnswer(_)) if !on_the_lan(&asked).await => {
                let why = "no answer, and no reference on the LAN answers this host either";
                Answer::CouldNotRun(CouldNotRun::NoWay(why.into()))
            }
            answer => answer,
        };
        let grade = tally.take(&answer);
        if answers.send((index, grade, answer)).await.is_err() {
            return;
        }
        tokio::time::sleep_until(begun + interval).await;
    }
}

/// A reference answers this host now. Asked by frames, so that it works without an address, and from
/// a thread that may wait.
async fn on_the_lan(asked: &Wanted) -> bool {
    let (interface, references) = (asked.interface.clone(), asked.references.clone());
    let reached = move || neighbours::reached(&interface, &references);
    match tokio::task::spawn_blocking(reached).await {
        Ok(Ok(answered)) => !answered.is_empty(),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// What several answers mean.
fn together(trigger: Trigger, mut grades: impl Iterator<Item = Grade> + Clone) -> Grade {
    let worst = grades.clone().min().unwrap_or_default();
    match trigger {
        Trigger::Any => worst,
        // One that answers is enough; one that could not be asked might.
        Trigger::All => match (grades.clone().all(|grade| grade == Grade::Failed), worst) {
            (true, _) => worst,
            (false, _) if grades.any(|grade| grade == Grade::Good) => Grade::Good,
            (false, _) => Grade::Unknown,
        },
    }
}

async fn tell(shared: &Shared, grade: Grade) {
    let event = Event::RemoteChecked { group: GroupId::MAIN, grade };
    work::tell(&shared.post, event).await;
}

fn note(shared: &Shared, rows: Vec<Asked>) {
    shared.journal.lock().unwrap_or_else(PoisonError::into_inner).checks = rows;
}

/// For `status`; `Null` when nothing is configured.
pub fn data(config: &Config, journal: &Journal, now: Instant) -> Value {
    let Some(checks) = &config.remote_checks else { return Value::Null };
    let grades = journal.checks.iter().map(|row| row.grade);
    json!({
        "asking": !journal.checks.is_empty(),
        "trigger": match checks.trigger {
            Trigger::Any => "any",
            Trigger::All => "all",
        },
        "grade": word(together(checks.trigger, grades)),
        "checks": journal.checks.iter().map(|row| row.data(now)).collect::<Vec<_>>(),
    })
}

/// For `explain`.
pub fn evidence(config: &Config, journal: &Journal, now: Instant) -> Vec<String> {
    let Some(checks) = &config.remote_checks else { return Vec::new() };
    let peer = config.peer_name();
    let together = together(checks.trigger, journal.checks.iter().map(|row| row.grade));
    let mut lines: Vec<String> =
        journal.checks.iter().map(|row| format!("remote check {}", row.line(now))).collect();
    if !lines.is_empty() {
        lines.push(match together {
            Grade::Good => format!("asked over the LAN, the services of {peer} do their work"),
            Grade::Unknown => format!("asked over the LAN, nothing is known of {peer}'s services"),
            Grade::Failed => {
                format!("asked over the LAN, the services of {peer} DO NOT do their work")
            }
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use Grade::{Failed, Good, Unknown};

    #[test]
    fn one_is_enough_or_all_are_needed() {
        for (grades, any, all) in [
            (&[][..], Unknown, Unknown),
            (&[Good, Good], Good, Good),
            (&[Good, Failed], Failed, Good),
            (&[Failed, Failed], Failed, Failed),
            (&[Unknown, Failed], Failed, Unknown),
            (&[Unknown, Good], Unknown, Good),
            (&[Unknown, Unknown], Unknown, Unknown),
        ] {
            assert_eq!(together(Trigger::Any, grades.iter().copied()), any, "{grades:?}");
            assert_eq!(together(Trigger::All, grades.iter().copied()), all, "{grades:?}");
        }
    }
}
