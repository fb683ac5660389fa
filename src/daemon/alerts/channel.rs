//! One channel of the alerts, on a thread of its own: one alert after the other, each tried again
//! for a while. Whether it works is said when that changes, not with each try.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::TRY;
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
            let failed = match channel.send(&waiting.alert, TRY).await {
                Ok(answer) => return self.sent(answer),
                Err(failed) => failed,
            };
            self.failed(&failed.why);
            let too_old = waiting.since.elapsed() + pause > GIVEN_UP_AFTER;
            if failed.for_good || too_old || self.queue.is_closed() {
                self.state().lost += 1;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // One more try, then.
                () = self.queue.closed() => {}
            }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::adapters::alert::Severity;
    use crate::config::{AlertKind, Alerts, Webhook};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn alert(number: usize) -> Alert {
        Alert {
            kind: AlertKind::Peer,
            severity: Severity::Info,
            pair: "office".into(),
            node: "pbx-a".into(),
            peer: "pbx-b".into(),
            term: "1a".into(),
            text: format!("number {number}."),
            at: SystemTime::now(),
            id: number.to_string(),
            held_back: None,
        }
    }

    /// A server that answers each connection with the next of these, or with the last one again.
    fn server(answers: &'static [&'static str]) -> (alert::Channel, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection");
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.ends_with(b"}") {
                    let read = stream.read(&mut buffer).expect("a request");
                    request.extend_from_slice(&buffer[..read]);
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let number_of = text.split("number ").nth(1).and_then(|t| t.split('.').next());
                told.lock().expect("whole").push(number_of.expect("a number").to_owned());
                let answer = answers[number.min(answers.len() - 1)];
                let length = "content-length: 0\r\nconnection: close";
                let _ = write!(stream, "HTTP/1.1 {answer}\r\n{length}\r\n\r\n");
            }
        });
        let webhook = Webhook { url, headers_file: None, ca: None };
        let alerts = Alerts {
            kinds: AlertKind::ALL.to_vec(),
            at_most: 6,
            within: PATIENCE,
            mail: None,
            webhook: Some(webhook),
            syslog: None,
        };
        (alert::Channel::all(&alerts).remove(0), heard)
    }

    #[track_caller]
    fn soon(what: &str, so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_server_that_comes_back_gets_every_alert_in_order() {
        let (channel, heard) = server(&["503 Later", "200 OK"]);
        let mut channel = Channel::begin(channel);
        (0..3).for_each(|number| channel.push(alert(number)));
        soon("the first try fails", || channel.desk.state().trouble.is_some());
        assert_eq!(channel.data()["works"], false);
        soon("all are sent", || channel.desk.state().sent == 3);
        assert_eq!(*heard.lock().expect("whole"), ["0", "0", "1", "2"]);
        let data = channel.data();
        assert_eq!((&data["works"], &data["lost"]), (&json!(true), &json!(0)));
        let thread = channel.end().expect("a thread");
        soon("it ends", || thread.is_finished());
    }

    #[test]
    fn what_is_refused_for_good_holds_up_nobody() {
        let (channel, heard) = server(&["413 Too Long", "200 OK"]);
        let channel = Channel::begin(channel);
        (0..2).for_each(|number| channel.push(alert(number)));
        soon("the second is sent", || channel.desk.state().sent == 1);
        assert_eq!(*heard.lock().expect("whole"), ["0", "1"]);
        assert_eq!(channel.data()["lost"], 1);
    }

    #[test]
    fn a_dead_server_costs_a_bounded_memory_and_no_time_at_the_end() {
        let (channel, _heard) = server(&["500 No"]);
        let mut channel = Channel::begin(channel);
        (0..1000).for_each(|number| channel.push(alert(number)));
        assert!(channel.desk.queue.counts().0 <= WAITING);
        assert!(channel.desk.state().lost >= 1000 - WAITING as u64 - 1);
        let thread = channel.end().expect("a thread");
        soon("each is tried once more, and it ends", || thread.is_finished());
        let (waiting, _) = channel.desk.queue.counts();
        assert_eq!((waiting, channel.desk.state().lost), (0, 1000));
    }
}
