//! What is waited for after a fault, and what it took: who serves, who stands by again. What does
//! not come about is told, and the story goes on.

use std::time::{Duration, SystemTime};

use super::Say;
use super::clock::{self, Interrupted, ms_between, pause, wait_until};
use super::judgement::Breach;
use super::postgres;
use super::scenario::{Contestant, Figure};
use super::stage::{Stage, TOGETHER};
use super::survival::Survived;
use super::world::NODES;
use crate::protocol::time::Instant;

/// How long anything is waited for that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long is looked on after service is back: whatever goes wrong late is to be seen.
const LOOK_ON: Duration = Duration::from_secs(1);

/// What was done, and what was measured on the way.
pub struct Struck {
    /// When the fault began.
    pub fault: Instant,
    /// Measured besides.
    pub figures: Vec<(Figure, f64)>,
    /// What did not come about.
    pub broken: Vec<Breach>,
    /// What of before was answered after, where that was tried.
    pub survived: Option<Survived>,
}

impl Struck {
    /// Nothing more than that yet.
    pub fn at(fault: Instant) -> Self {
        Struck { fault, figures: Vec::new(), broken: Vec::new(), survived: None }
    }

    /// Something that was to come did not.
    pub fn missed(&mut self, words: impl Into<String>) {
        self.broken.push(Breach::of_service(words));
    }

    /// A node did what it may never do.
    pub fn forbidden(&mut self, words: impl Into<String>) {
        self.broken.push(Breach::of_safety(words));
    }
}

/// Alone, and without proof that it has every row, a node is held and says why.
pub fn is_held(stage: &Stage, struck: &mut Struck, node: usize, say: &Say) -> anyhow::Result<()> {
    let held = wait_until(PATIENCE, Duration::from_millis(100), || {
        stage.status(node).text("role") == "held"
    })?;
    let why = stage.status(node).text("why").to_owned();
    if held {
        say.line(&format!("{} is held: {why}", NODES[node]));
    } else {
        struck.forbidden(format!("{} is not held: {why}", NODES[node]));
    }
    Ok(())
}

/// Waits until the other host has the address, calls are answered through it and records stored.
pub fn taken_over(stage: &Stage, struck: &mut Struck, say: &Say) -> anyhow::Result<()> {
    let (other, fault) = (stage.other(), struck.fault);
    let took =
        wait_until(PATIENCE, Duration::from_millis(5), || stage.watch.held_since(other, fault))?;
    if !took {
        struck.missed(format!("{} has no address within {PATIENCE:?}", NODES[other]));
    }
    serves_again(stage, struck, say)
}

/// Waits until calls are answered and records stored from now on, and looks on for a while.
pub fn serves_again(stage: &Stage, struck: &mut Struck, say: &Say) -> anyhow::Result<()> {
    if stage.served_since(clock::now(), PATIENCE)? {
        say.line("calls are answered, records stored");
    } else {
        struck.missed(format!("no service within {PATIENCE:?}"));
    }
    pause(LOOK_ON)?;
    Ok(())
}

/// Waits until one serves and the other is its good standby.
pub fn together(stage: &mut Stage, struck: &mut Struck, say: &Say) -> anyhow::Result<()> {
    if stage.contestant == Contestant::BareFloor {
        return Ok(());
    }
    match stage.settle() {
        Ok(()) => {
            say.line("the standby is good");
            // A commit that still waits is part of what this fault did.
            if !stage.served_since(clock::now(), PATIENCE)? {
                struck.missed(format!("no commit within {PATIENCE:?} of a good standby"));
            }
        }
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => struck.missed(error.to_string()),
    }
    Ok(())
}

/// Waits for a node to stand by again, and measures that from `since`.
pub fn comes_back(
    stage: &mut Stage,
    struck: &mut Struck,
    node: usize,
    since: (Instant, SystemTime),
    say: &Say,
) -> anyhow::Result<()> {
    if rejoined(stage, struck, node, since)? {
        let whole = struck.broken.len();
        together(stage, struck, say)?;
        if struck.broken.len() == whole {
            struck.figures.push((Figure::Certified, ms_between(since.0, clock::now())));
        }
    }
    Ok(())
}

/// Waits until the other node's database sends its log to this node's new one.
fn rejoined(
    stage: &Stage,
    struck: &mut Struck,
    node: usize,
    (since, wall): (Instant, SystemTime),
) -> anyhow::Result<bool> {
    let socket = stage.socket(1 - node);
    let streams =
        wait_until(TOGETHER, Duration::from_millis(50), || postgres::streams_since(&socket, wall))?;
    if streams {
        struck.figures.push((Figure::Rejoin, ms_between(since, clock::now())));
    } else {
        let status = stage.status(node);
        struck.missed(format!(
            "{} does not stream within {TOGETHER:?}; it is {}: {}",
            NODES[node],
            status.text("role"),
            status.text("why")
        ));
    }
    Ok(streams)
}

/// Waits until that much time has passed since the fault.
pub fn wait_for_age(fault: Instant, age: Duration) -> Result<(), Interrupted> {
    pause(age.saturating_sub(clock::now().since(fault)))
}
