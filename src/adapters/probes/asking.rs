//! The probes of one running service, each asked at its own pace.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Answer, Question, Tally};
use crate::config::Probe;
use crate::protocol::health::Grade;

/// While a service starts it is asked at this pace, so that a takeover does not wait for the
/// probe's interval.
const WHILE_STARTING: Duration = Duration::from_millis(50);

/// Asks until it is dropped.
pub struct Asking {
    answers: mpsc::Receiver<(usize, Grade, Answer)>,
    grades: Vec<Grade>,
    last: Option<Answer>,
    _tasks: JoinSet<()>,
}

impl Asking {
    /// Begins to ask a service. `fresh`: its process was just started, so bad answers do not count
    /// before its first good one, for as long as the probe's grace.
    #[must_use]
    pub fn start(probes: &[Probe], fresh: bool) -> Self {
        let (sender, answers) = mpsc::channel(probes.len().max(1));
        let mut tasks = JoinSet::new();
        for (index, probe) in probes.iter().enumerate() {
            tasks.spawn(keep_asking(index, probe.clone(), fresh, sender.clone()));
        }
        Asking { answers, grades: vec![Grade::Unknown; probes.len()], last: None, _tasks: tasks }
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
    pub fn last(&self) -> Option<&Answer> {
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
                    self.last = Some(answer);
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
        let pace = if hurry { interval.min(WHILE_STARTING) } else { interval };
        tokio::time::sleep_until(asked + pace).await;
    }
}
