//! When something that failed may be tried again.

use std::time::Duration;

use tokio::time::{Instant as Deadline, sleep_until};

const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Pauses between attempts: doubling, up to a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    not_before: Option<Deadline>,
    pause: Duration,
}

impl Pace {
    /// Nothing has failed.
    pub(super) const AT_ONCE: Pace = Pace { not_before: None, pause: PAUSE };

    /// It failed just now.
    pub(super) fn failed(&mut self) {
        self.not_before = Some(Deadline::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// It failed and cost nobody anything: the next pause is the shortest again.
    pub(super) fn forgive(&mut self) {
        self.pause = PAUSE;
    }

    /// Waits until it may be tried again.
    pub(super) async fn wait(&self) {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
    }
}
