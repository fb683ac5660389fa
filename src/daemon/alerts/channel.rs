//! One channel of the alerts, on a thread of its own: one alert after the other, each tried again
//! for a while. Whether it works is said when that changes, not with each try.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::adapters::alert::{self, Alert, rfc3339};
use crate::daemon::backlog::Backlog;

/// So many alerts may wait for a server that does not answer.
const WAITING: usize = 64;
/// Between the first two tries; doubled up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An alert that is older is given up after one more try.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// The way to the thread.
pub struct Channel {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

struct Desk {
    name: &'static str,
    queue: Backlog<Waiting>,
    state: Mutex<State>,
}

struct Waiting {
    since: Instant,
    alert: Alert,
}

#[derive(Default)]
struct State {
    sent: u64,
    lost: u64,
    /// Why the last try failed; `None` after one that did not.
    trouble: Option<String>,
    answer: Option<(SystemTime, String)>,
}

impl Channel {
    /// Starts the thread.
    pub fn begin(mut channel: alert::Channel) -> Channel {
        let name = channel.name();
        let desk = Arc::new(Desk { name, queue: Backlog::new(WAITING), state: Mutex::default() });
        let shared = Arc::clone(&desk);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(shared.run(&mut channel));
                    // The name service may hold a thread for longer than anybody waits.
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!("no runtime for alerts by {name}: {error}"),
            }
        };
        let thread = std::thread::Builder::new().name(format!("alert-{name}")).spawn(run);
        let failed = |error| tracing::error!("no thread for alerts by {name}: {error}");
        Channel { desk, thread: thread.map_err(failed).ok() }
    }

    /// To be sent soon.
    pub fn push(&self, alert: Alert) {
        if self.desk.queue.push(Waiting { since: Instant::now(), alert }).is_some() {
            self.desk.state().lost += 1;
        }
    }

    /// What waits is tried once more, and nothing new.
    pub fn end(&mut self) -> Option<JoinHandle<()>> {
        self.desk.queue.close();
        self.thread.take()
    }

    /// For `status`.
    pub fn data(&self) -> Value {
        let (waiting, _) = self.desk.queue.counts();
        let state = self.desk.state();
        json!({
            "channel": self.desk.name,
            "works": match (&state.trouble, &state.answer) {
                (Some(_), _) => Some(false),
                (None, Some(_)) => Some(true),
                (None, None) => None,
            },
            "trouble": state.trouble,
            "waiting": waiting,
            "sent": state.sent,
            "lost": state.lost,
            "last_sent": state.answer.as_ref().map(|(at, _)| rfc3339(*at)),
            "last_answer": state.answer.as_ref().map(|(_, answer)| answer),
        })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.desk.queue.close();
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, channel: &mut alert::Channel) {
        while let Some(waiting) = self.queue.next().await {
            self.deliver(channel, waiting).await;
        }
    }

    async fn deliver(&self, channel: &mut alert::Channel, waiting: Waiting) {
        let mut pause = FIRST_PAUSE;
        loop {
            let failed = match channel.send(&waiting.alert).await {
                Ok(answer) => return self.sent(answer),
                Err(failed) => failed,
            };
            self.failed(&failed.why);
            let too_old = waiting.since.elapsed() + pause > GIVEN_UP_AFTER;
            if failed.for_good || too_old || self.queue.is_closed() {
                self.state().lost += 1;
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn sent(&self, answer: String) {
        let mut state = self.state();
        if state.trouble.take().is_some() {
            let lost = state.lost;
            tracing::info!("alerts by {} are sent again; {lost} were lost so far", self.name);
        }
        state.sent += 1;
        state.answer = Some((SystemTime::now(), answer));
    }

    fn failed(&self, why: &str) {
        let mut state = self.state();
        if state.trouble.is_none() {
            tracing::warn!("alerts by {} cannot be sent: {why}", self.name);
        }
        state.trouble = Some(why.to_owned());
    }
}
