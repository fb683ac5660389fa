//! One alert, and the channels through which people get it. Each try ends in what the server
//! answered; whether it is tried again is not decided here.

mod mail;
mod webhook;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::config::{AlertKind, AlertSyslog, Alerts, Mail, Webhook};
pub use crate::logging::Severity;
use crate::logging::Syslog;

/// The longest text, in characters: it is a mail's subject.
const LONGEST: usize = 300;

/// What people are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// The pair.
    pub pair: String,
    /// The node that tells it; what it says is its own view.
    pub node: String,
    /// The other node.
    pub peer: String,
    /// The term under which the node served, or last knew the role to be served.
    pub term: String,
    /// One line.
    pub text: String,
    /// When it was seen.
    pub at: SystemTime,
    /// Not two alike, also of two nodes and after a restart.
    pub id: String,
    /// Earlier ones of this kind that were not told.
    pub held_back: Option<HeldBack>,
}

/// Alerts of one kind that were too many to be told one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldBack {
    /// How many.
    pub count: u64,
    /// When the first one was.
    pub since: SystemTime,
}

impl Alert {
    /// Text of one line and of a bounded length: names and reasons come from outside.
    #[must_use]
    pub fn one_line(text: &str) -> String {
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut line: String = clean.take(LONGEST).collect();
        if text.chars().nth(LONGEST).is_some() {
            line.push('…');
        }
        line
    }

    /// What is read first: the pair, and the text with what was held back.
    #[must_use]
    pub fn headline(&self) -> String {
        let more = self.held_back.map_or(String::new(), |held| {
            format!(" (and {} more since {})", held.count, rfc3339(held.since))
        });
        Alert::one_line(&format!("duotone {}: {}{more}", self.pair, self.text))
    }

    /// For programs. The fields are stable; see the README.
    #[must_use]
    pub fn data(&self) -> Value {
        json!({
            "version": 1,
            "id": self.id,
            "at": rfc3339(self.at),
            "kind": self.kind.word(),
            "severity": self.severity.word(),
            "pair": self.pair,
            "node": self.node,
            "peer": self.peer,
            "term": self.term,
            "text": self.text,
            "held_back": self.held_back.map_or(0, |held| held.count),
            "held_back_since": self.held_back.map(|held| rfc3339(held.since)),
        })
    }
}

/// In UTC, with milliseconds.
pub fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| "?".to_owned(), |at| format!("{at:.3}"))
}

/// Why an alert was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// For people.
    pub why: String,
    /// The server refuses this one for good: the same again would be refused again.
    pub for_good: bool,
}

impl Failed {
    fn now(why: impl ToString) -> Failed {
        Failed { why: why.to_string(), for_good: false }
    }
}

/// One way to people. What is slow to make (TLS with the system's certificates) is made at the
/// first alert and kept.
pub enum Channel {
    /// By mail.
    Mail(Mail, mail::Transport),
    /// By an HTTP request.
    Webhook(Webhook, webhook::Client),
    /// By a line to syslog.
    Syslog(Syslog),
}

impl Channel {
    /// Those of a configuration.
    pub fn all(alerts: &Alerts) -> Vec<Channel> {
        let mail = alerts.mail.iter().map(|mail| Channel::Mail(mail.clone(), None));
        let webhook = alerts.webhook.iter().map(|hook| Channel::Webhook(hook.clone(), None));
        let syslog = alerts.syslog.iter().map(|AlertSyslog { facility, socket }| {
            Channel::Syslog(Syslog::with_facility(socket.as_deref(), facility))
        });
        mail.chain(webhook).chain(syslog).collect()
    }

    /// For people and programs; stable.
    pub const fn name(&self) -> &'static str {
        match self {
            Channel::Mail(..) => "mail",
            Channel::Webhook(..) => "webhook",
            Channel::Syslog(_) => "syslog",
        }
    }

    /// Sends it once; what the server answered. Ends within `limit`.
    ///
    /// # Errors
    /// What did not work, with the server's own words where it said some.
    pub async fn send(&mut self, alert: &Alert, limit: Duration) -> Result<String, Failed> {
        let sent = async {
            match self {
                Channel::Mail(mail, transport) => mail::send(mail, transport, alert, limit).await,
                Channel::Webhook(hook, client) => webhook::send(hook, client, alert).await,
                Channel::Syslog(syslog) => syslog
                    .alert(alert.severity, &alert.headline())
                    .map(|()| "handed to syslog".to_owned())
                    .map_err(Failed::now),
            }
        };
        let silent = |_| Failed::now(format!("no answer within {limit:?}"));
        timeout(limit, sent)
            .await
            .map_err(silent)?
            .map_err(|failed| Failed { why: Alert::one_line(&failed.why), ..failed })
    }
}

/// Work that reads files or computes for long, off the thread that waits for answers.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work).await.map_err(Failed::now)?
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn alert(text: &str) -> Alert {
        Alert {
            kind: AlertKind::Role,
            severity: Severity::Warning,
            pair: "office".into(),
            node: "pbx-b".into(),
            peer: "pbx-a".into(),
            term: "5b".into(),
            text: Alert::one_line(text),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            id: "1".into(),
            held_back: None,
        }
    }

    #[test]
    fn a_text_is_one_line_whatever_it_was_made_of() {
        let evil = alert("a\r\nBcc: all@example.com\n\n.\n");
        assert_eq!(evil.headline(), "duotone office: a  Bcc: all@example.com  . ");
        assert_eq!(Alert::one_line(&"ü".repeat(1000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_was_held_back_is_told() {
        let mut alert = alert("pbx-a is heard again");
        assert_eq!(alert.data()["at"], "1970-01-01T00:00:01.500Z");
        assert_eq!(alert.data()["held_back"], 0);
        let since = SystemTime::UNIX_EPOCH;
        alert.held_back = Some(HeldBack { count: 4, since });
        assert!(alert.headline().ends_with("(and 4 more since 1970-01-01T00:00:00.000Z)"));
        assert_eq!(alert.data()["held_back_since"], "1970-01-01T00:00:00.000Z");
    }
}
