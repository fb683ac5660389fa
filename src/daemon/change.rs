//! One change of role as a node sees it, in memory and as an entry of the history.

use serde_json::{Value, json};

use crate::protocol::identity::Term;
use crate::protocol::lead::Why;
use crate::protocol::time::{Duration, Instant};

/// One moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// When, on the boot-time clock.
    pub at: Instant,
    /// Which, for programs: stable words.
    pub what: &'static str,
    /// For people.
    pub text: String,
}

/// What kind of change, as this node sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Both nodes join, and this one takes the role.
    Start,
    /// This node takes the role from a silent peer.
    Takeover,
    /// This node takes the role that its living peer hands over.
    HandoverTaken,
    /// This node hands the role to its living peer.
    HandoverGiven,
    /// This node gives the role up.
    Demotion,
    /// The peer serves under a term that was not seen before.
    PeerServes,
}

impl Kind {
    /// What a node that asks or takes is about, by its reason.
    pub fn of(why: Why) -> Kind {
        match why {
            Why::Agreed => Kind::Start,
            Why::Offered => Kind::HandoverTaken,
            _ => Kind::Takeover,
        }
    }

    /// For programs; stable.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Start => "start",
            Kind::Takeover => "takeover",
            Kind::HandoverTaken => "handover-taken",
            Kind::HandoverGiven => "handover-given",
            Kind::Demotion => "demotion",
            Kind::PeerServes => "peer-serves",
        }
    }
}

/// One change of role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub kind: Kind,
    /// What led to it, as the core has it.
    pub why: Why,
    /// The same for people.
    pub reason: String,
    /// Who ordered it, and why, when somebody did.
    pub order: Option<String>,
    /// The term under which this node served before, if it did.
    pub before: Option<Term>,
    /// The term under which the role is served afterwards, when it is known.
    pub term: Option<Term>,
    /// How it ended, for programs; `None` while it goes on.
    pub outcome: Option<&'static str>,
    /// When it ended.
    pub ended: Option<Instant>,
    /// What happened, oldest first.
    pub marks: Vec<Mark>,
}

/// What a record added.
#[derive(Debug, Default)]
pub struct Noted {
    /// Marks, for the log.
    pub marks: Vec<Mark>,
    /// Changes that are complete, for the history.
    pub complete: Vec<Change>,
}

impl Change {
    /// When it began: at its first mark.
    pub fn began(&self) -> Option<Instant> {
        self.marks.first().map(|mark| mark.at)
    }

    /// How long nobody served, as far as this node knows: from the peer's last heartbeat, or from
    /// when it was heard to let the role go, until this node held the addresses.
    pub fn outage(&self) -> Option<Duration> {
        let from = match self.kind {
            Kind::Takeover => "last-heartbeat",
            Kind::HandoverTaken => "peer-lets-go",
            Kind::Start | Kind::HandoverGiven | Kind::Demotion | Kind::PeerServes => return None,
        };
        let from = self.marks.iter().find(|mark| mark.what == from)?;
        let ended = self.ended.filter(|_| self.outcome == Some("serves"))?;
        Some(ended.since(from.at))
    }

    /// As an entry: `time` is the wall time of its first mark, for people, who reads it goes by
    /// nothing else; `me` and `peer` are names. The fields are stable; see the README.
    pub fn entry(&self, time: &str, me: &str, peer: &str) -> Value {
        let start = self.began().unwrap_or(Instant::ZERO);
        let ms = |at: Instant| (at.since(start).as_secs_f64() * 1e5).round() / 100.0;
        let (from, to) = match self.kind {
            Kind::Start => (None, Some(me)),
            Kind::Takeover | Kind::HandoverTaken => (Some(peer), Some(me)),
            Kind::HandoverGiven => (Some(me), Some(peer)),
            Kind::Demotion => (Some(me), None),
            Kind::PeerServes => (None, Some(peer)),
        };
        json!({
            "time": time,
            "node": me,
            "kind": self.kind.word(),
            "reason": self.reason,
            "order": self.order,
            "from": from,
            "to": to,
            "term_before": self.before.map(|term| term.to_string()),
            "term": self.term.map(|term| term.to_string()),
            "outcome": self.outcome.unwrap_or("unknown"),
            "took_ms": self.ended.map(ms),
            "steps": self.marks.iter()
                .map(|mark| json!({"ms": ms(mark.at), "what": mark.what, "text": mark.text}))
                .collect::<Vec<_>>(),
        })
    }
}
