//! Alerts: what people are told of without asking. What there is to tell is found in `watch.rs` by
//! comparing, `limit.rs` keeps it from being too much, `channel.rs` brings it out.

mod channel;
mod limit;
mod watch;

use std::thread::JoinHandle;
use std::time::SystemTime;

use serde_json::{Value, json};

use self::channel::Channel;
use self::limit::Limiter;
use self::watch::Watch;
use super::change::Change;
use super::hooks::Failures;
use super::telling::View;
use crate::adapters::alert::{self, Alert, Severity};
use crate::adapters::clock;
use crate::config::{AlertKind, Config};
use crate::protocol::durable::Durable;
use crate::protocol::identity::Term;
use crate::protocol::time::{Duration, Instant};

/// One try takes no longer, whatever the server does or does not do.
const TRY: Duration = Duration::from_secs(20);

/// What a comparison found worth telling.
pub type News = (AlertKind, Severity, String);

/// The alerts of one node.
pub struct Alerts {
    watch: Watch,
    out: Option<Out>,
    pair: String,
    node: String,
    peer: String,
    term: Term,
    /// Drawn at the start, and counted.
    life: u64,
    number: u64,
}

/// Where they go.
struct Out {
    kinds: Vec<AlertKind>,
    limiter: Limiter,
    channels: Vec<Channel>,
}

impl Alerts {
    /// Starts a thread for each channel.
    pub fn begin(config: &Config) -> Alerts {
        Alerts {
            watch: Watch::new(config),
            out: Out::begin(config),
            pair: config.pair.clone(),
            node: config.name().to_owned(),
            peer: config.peer_name().to_owned(),
            term: Durable::FRESH.term,
            life: life(),
            number: 0,
        }
    }

    /// The channels are made anew; what waited in the old ones is tried once more.
    pub fn reload(&mut self, config: &Config) {
        self.out = Out::begin(config);
    }

    /// Tells what is new. `conflict`: whether both nodes serve, before and now.
    pub fn see(&mut self, view: &View<'_>, conflict: (bool, bool), hooks: &Failures) {
        self.term = view.status.claim.unwrap_or(view.status.durable.term);
        for news in self.watch.see(view, conflict, hooks) {
            self.tell(view.at, news);
        }
        let Some(out) = &mut self.out else { return };
        for alert in out.limiter.due(view.at) {
            out.send(&alert);
        }
    }

    /// A change of role is complete.
    pub fn changed(&mut self, change: &Change) {
        if let Some(news) = self.watch.changed(change) {
            self.tell(clock::now(), news);
        }
    }

    /// What is on the disk is not known any more.
    pub fn state_lost(&mut self) {
        let text = "what is on its disk is not known: no step that needs it is taken; look at the \
                    disk of the state directory";
        self.tell(clock::now(), (AlertKind::State, Severity::Critical, text.to_owned()));
    }

    fn tell(&mut self, at: Instant, (kind, severity, text): News) {
        let Some(out) = &mut self.out else { return };
        if !out.kinds.contains(&kind) {
            return;
        }
        self.number += 1;
        let alert = Alert {
            kind,
            severity,
            pair: self.pair.clone(),
            node: self.node.clone(),
            peer: self.peer.clone(),
            term: self.term.to_string(),
            text: Alert::one_line(&format!("{}: {text}", self.node)),
            at: SystemTime::now(),
            id: format!("{:016x}.{}", self.life, self.number),
            held_back: None,
        };
        if let Some(alert) = out.limiter.offer(at, alert) {
            out.send(&alert);
        }
    }

    /// What waits is tried once more, and nothing new.
    pub fn end(&mut self) -> Vec<JoinHandle<()>> {
        let channels = self.out.iter_mut().flat_map(|out| &mut out.channels);
        channels.filter_map(Channel::end).collect()
    }

    /// For `status`; `Null` when none are configured.
    pub fn data(&self) -> Value {
        let Some(out) = &self.out else { return Value::Null };
        json!({
            "channels": out.channels.iter().map(Channel::data).collect::<Vec<_>>(),
            "held_back": out.limiter.held_back,
        })
    }
}

impl Out {
    fn begin(config: &Config) -> Option<Out> {
        let alerts = config.alerts.as_ref()?;
        Some(Out {
            kinds: alerts.kinds.clone(),
            limiter: Limiter::new(alerts.at_most, alerts.within),
            channels: alert::Channel::all(alerts).into_iter().map(Channel::begin).collect(),
        })
    }

    fn send(&self, alert: &Alert) {
        for channel in &self.channels {
            channel.push(alert.clone());
        }
    }
}

/// Sends one alert through every channel now, without a daemon; what each answered. `None` when no
/// channel is configured.
///
/// # Errors
/// The system gives no runtime to send with.
pub fn test(config: &Config) -> std::io::Result<Option<Value>> {
    let Some(alerts) = &config.alerts else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let alert = Alert {
        kind: AlertKind::Role,
        severity: Severity::Info,
        pair: config.pair.clone(),
        node: config.name().to_owned(),
        peer: config.peer_name().to_owned(),
        term: Durable::FRESH.term.to_string(),
        text: format!("{}: this is a test: nothing has happened", config.name()),
        at: SystemTime::now(),
        id: format!("{:016x}.test", life()),
        held_back: None,
    };
    let answers = runtime.block_on(async {
        let mut answers = Vec::new();
        for mut channel in alert::Channel::all(alerts) {
            let answer = channel.send(&alert, TRY).await;
            answers.push(json!({
                "channel": channel.name(),
                "sent": answer.is_ok(),
                "answer": answer.unwrap_or_else(|failed| failed.why),
            }));
        }
        answers
    });
    runtime.shutdown_background();
    Ok(Some(Value::Array(answers)))
}

/// Not the same twice; without the kernel's dice the clock has to do.
fn life() -> u64 {
    getrandom::u64().unwrap_or_else(|_| clock::now().as_nanos())
}
