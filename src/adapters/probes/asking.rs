//! The probes of one running service, each asked at its own pace.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Answer, Question, Tally};
use crate::config::{Probe, ProbeKind};
use crate::protocol::health::Grade;

/// While a service starts it is asked at this pace, so that a takeover does not wait for the
/// probe's interval.
const WHILE_STARTING: Duration = Duration::from_millis(50);
/// The same for a command, which costs a process each time.
const COMMAND_WHILE_STARTING: Duration = Duration::from_millis(500);

/// Asks until it is dropped.
pub struct Asking {
    answers: mpsc::Receiver<(usize, Grade, Answer)>,
    grades: Vec<Grade>,
    names: Vec<String>,
    last: Option<Said>,
    _tasks: JoinSet<()>,
}

/// An answer, and whose it is if there are several probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    name: Option<String>,
    answer: Answer,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        self.answer.fmt(f)
    }
}

impl Asking {
    /// Begins to ask a service. `fresh`: its process was just started, so bad answers do not count
    /// before its first good one, for as long as the probe's grace.
    #[must_use]
    pub fn start(probes: &[Probe], fresh: bool) -> Self {
        let (sender, answers) = mpsc::channel(probes.len().max(1));
        let names = probes.iter().map(|probe| probe.kind.to_string()).collect();
        let mut tasks = JoinSet::new();
        for (index, probe) in probes.iter().enumerate() {
            tasks.spawn(keep_asking(index, probe.clone(), fresh, sender.clone()));
        }
        Asking {
            answers,
            grades: vec![Grade::Unknown; probes.len()],
            names,
            last: None,
            _tasks: tasks,
        }
    }

    /// There is nothing to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grades.is_empty()
    }

    /// The worst grade of all probes; good when there is none.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grades.iter().copied().min().unwrap_or(Grade::Good)
    }

    /// The newest answer, or the newest one that was not good of a probe that is not good.
    #[must_use]
    pub fn last(&self) -> Option<&Said> {
        self.last.as_ref()
    }

    /// Waits for the next answer; for ever when there is nothing to ask. Safe to cancel.
    pub async fn next(&mut self) {
        match self.answers.recv().await {
            Some((index, grade, answer)) => {
                let worst = self.grade();
                if let Some(known) = self.grades.get_mut(index) {
                    *known = grade;
                }
                // A good answer of one probe must not hide why another one fails.
                let hides = matches!(answer, Answer::Good(_))
                    && worst != Grade::Good
                    && self.grade() != Grade::Good;
                if !hides || self.last.is_none() {
                    let several = self.names.len() > 1;
                    let name = self.names.get(index).filter(|_| several).cloned();
                    self.last = Some(Said { name, answer });
                }
            }
            None => std::future::pending().await,
        }
    }
}

async fn keep_asking(
    index: usize,
    probe: Probe,
    fresh: bool,
    answers: mpsc::Sender<(usize, Grade, Answer)>,
) {
    let begun = Instant::now();
    let Probe { interval, grace, .. } = probe;
    let while_starting = match probe.kind {
        ProbeKind::Command(_) => COMMAND_WHILE_STARTING,
        ProbeKind::Tcp(_)
        | ProbeKind::Sip(_)
        | ProbeKind::Http(_)
        | ProbeKind::Sql(_)
        | ProbeKind::Icmp(_) => WHILE_STARTING,
    };
    let mut starting = fresh;
    let mut tally = Tally::new(probe.rise, probe.fall);
    let mut question = Question::new(probe);
    loop {
        let asked = Instant::now();
        let answer = question.ask().await;
        starting = starting && tally.grade() != Grade::Good && begun.elapsed() < grace;
        let grade = match answer {
            Answer::Bad(_) if starting => tally.grade(),
            Answer::Good(_) | Answer::Bad(_) | Answer::CouldNotRun(_) => tally.take(&answer),
        };
        if answers.send((index, grade, answer)).await.is_err() {
            return;
        }
        let hurry = starting && grade != Grade::Good;
        let pace = if hurry { interval.min(while_starting) } else { interval };
        tokio::time::sleep_until(asked + pace).await;
    }
}
