//! Gateways and trunks: hosts that the PBX needs, asked by both nodes whether they are reached. Only
//! shown; what the node itself makes of its LAN are the references of `[floating]`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shared;
use super::asked::Asked;
use super::journal::Journal;
use crate::adapters::clock;
use crate::adapters::probes::{Answer, Bad, CouldNotRun, Question, Tally};
use crate::config::check::assigned;
use crate::config::floating::contains;
use crate::config::{Gateway, ProbeKind, Reach};
use crate::protocol::health::Grade;
use crate::protocol::time::Instant;
use crate::pulse::neighbours;

/// How often to look whether other gateways are configured now.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Answers that are not looked at yet.
const ANSWERS: usize = 16;
/// The port does not matter for the question whether there is a route.
const ANY_PORT: u16 = 9;
/// What [`neighbours::reached`] waits for an answer.
const LAN_TIMEOUT: Duration = Duration::from_millis(500);

struct Heard {
    index: usize,
    grade: Grade,
    answer: Answer,
    warning: Option<&'static str>,
}

/// What is asked, and where.
#[derive(Clone, PartialEq)]
struct Wanted {
    gateways: Vec<Gateway>,
    interface: String,
    floating: Vec<(IpAddr, u8)>,
}

/// Asks for as long as the daemon runs.
pub(super) async fn tend(shared: Arc<Shared>) {
    loop {
        let asked = wanted(&shared);
        let (sender, mut answers) = mpsc::channel(ANSWERS);
        let mut asking = JoinSet::new();
        let mut rows = Vec::new();
        for (index, gateway) in asked.gateways.iter().enumerate() {
            rows.push(Asked::nothing(gateway.name.clone(), what(&gateway.reach)));
            asking.spawn_local(keep_asking(index, asked.clone(), sender.clone()));
        }
        note(&shared, rows.clone());
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                Some(heard) = answers.recv() => {
                    if let Some(row) = rows.get_mut(heard.index) {
                        log(row, &heard);
                        (row.grade, row.warning) = (heard.grade, heard.warning);
                        row.last = Some((clock::now(), heard.answer));
                    }
                    note(&shared, rows.clone());
                }
                _ = look.tick() => if wanted(&shared) != asked { break },
            }
        }
    }
}

fn wanted(shared: &Shared) -> Wanted {
    let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
    Wanted {
        gateways: config.gateways.clone(),
        interface: config.floating.interface.clone(),
        floating: config.floating.addresses.clone(),
    }
}

fn what(reach: &Reach) -> String {
    match reach {
        Reach::Lan { target, .. } => format!("arp {target}"),
        Reach::Probe(probe) => probe.kind.to_string(),
    }
}

async fn keep_asking(index: usize, asked: Wanted, answers: mpsc::Sender<Heard>) {
    let Some(gateway) = asked.gateways.get(index) else { return };
    let (interval, mut tally) = match &gateway.reach {
        Reach::Lan { interval, rise, fall, .. } => (*interval, Tally::new(*rise, *fall)),
        Reach::Probe(probe) => (probe.interval, Tally::new(probe.rise, probe.fall)),
    };
    let mut question = match &gateway.reach {
        Reach::Lan { .. } => None,
        Reach::Probe(probe) => Some(Question::new((**probe).clone())),
    };
    loop {
        let begun = tokio::time::Instant::now();
        let answer = match (&gateway.reach, &mut question) {
            (Reach::Lan { target, .. }, _) => on_the_lan(&asked.interface, *target).await,
            (Reach::Probe(_), Some(question)) => question.ask().await,
            (Reach::Probe(_), None) => return,
        };
        let warning = match &gateway.reach {
            Reach::Lan { .. } => None,
            Reach::Probe(probe) => warning(&probe.kind, &asked.floating),
        };
        let grade = tally.take(&answer);
        if answers.send(Heard { index, grade, answer, warning }).await.is_err() {
            return;
        }
        tokio::time::sleep_until(begun + interval).await;
    }
}

/// By frames, so that a standby without an address can ask too; from a thread that may wait.
async fn on_the_lan(interface: &str, target: IpAddr) -> Answer {
    let asked = tokio::time::Instant::now();
    let interface = interface.to_owned();
    let reached = move || neighbours::reached(&interface, &[target]);
    match tokio::task::spawn_blocking(reached).await {
        Ok(Ok(answered)) if answered.contains(&target) => Answer::Good(asked.elapsed()),
        Ok(Ok(_)) => Answer::Bad(Bad::NoAnswer(LAN_TIMEOUT)),
        Ok(Err(error)) => Answer::CouldNotRun(CouldNotRun::NoWay(error.to_string())),
        Err(_) => Answer::CouldNotRun(CouldNotRun::NoWay("it was broken off".into())),
    }
}

/// A gateway that is in no network of this host, and to which no route leads.
fn warning(kind: &ProbeKind, floating: &[(IpAddr, u8)]) -> Option<&'static str> {
    let target = kind.address()?;
    let of_an_interface = || {
        let assigned = assigned().unwrap_or_default();
        assigned.iter().filter_map(|it| it.address).any(|prefix| contains(prefix, target))
    };
    let near = floating.iter().any(|prefix| contains(*prefix, target)) || of_an_interface();
    let any: SocketAddr = match target {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    // Connecting a datagram socket sends nothing: the kernel looks for a route.
    let routed = || UdpSocket::bind(any).and_then(|it| it.connect((target, ANY_PORT))).is_ok();
    (!near && !routed()).then_some("NOT ON THE LAN, and no route leads to it")
}

/// A change is a line in the log.
fn log(row: &Asked, heard: &Heard) {
    let Asked { name, what, .. } = row;
    let answer = &heard.answer;
    match (row.grade, heard.grade) {
        (was, now) if was == now => {}
        (_, Grade::Good) => tracing::info!("gateway {name} ({what}) is reached: {answer}"),
        (_, Grade::Failed) => tracing::warn!("gateway {name} ({what}) is NOT reached: {answer}"),
        (_, Grade::Unknown) => {
            tracing::warn!("gateway {name} ({what}) cannot be asked any more: {answer}");
        }
    }
}

fn note(shared: &Shared, rows: Vec<Asked>) {
    shared.journal.lock().unwrap_or_else(PoisonError::into_inner).gateways = rows;
}

/// For `status`.
pub fn data(journal: &Journal, now: Instant) -> Value {
    journal.gateways.iter().map(|row| row.data(now)).collect()
}

/// For `explain`.
pub fn evidence(journal: &Journal, now: Instant) -> Vec<String> {
    journal.gateways.iter().map(|row| format!("gateway {}", row.line(now))).collect()
}
