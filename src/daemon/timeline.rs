//! The last change of role, mark by mark: from the peer's last heartbeat to the first announcement.

use crate::protocol::action::Action;
use crate::protocol::event::{DatabaseState, Event, LanSeen, Presence};
use crate::protocol::health::Grade;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::time::Instant;
use crate::protocol::timing::Timing;
use crate::pulse::report::{Record, Recorded};

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

/// Collects the marks of the change that is going on, or of the last one.
#[derive(Clone, Debug)]
pub struct Timeline {
    timing: Timing,
    last_heartbeat: Option<Instant>,
    first_probe: Option<Instant>,
    first_reference: Option<Instant>,
    taking: bool,
    marks: Vec<Mark>,
}

impl Timeline {
    /// Empty.
    pub fn new(timing: Timing) -> Timeline {
        Timeline {
            timing,
            last_heartbeat: None,
            first_probe: None,
            first_reference: None,
            taking: false,
            marks: Vec::new(),
        }
    }

    /// The marks, oldest first.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Takes a record; returns the marks that it added, for the log.
    pub fn note(&mut self, record: &Record) -> &[Mark] {
        let before = self.marks.len();
        let cleared = match &record.what {
            Recorded::Authority(authority, why) => self.decided(record.at, *authority, *why),
            Recorded::Event(event) => {
                self.seen(record.at, event);
                false
            }
            Recorded::Action(action) => {
                self.begun(record.at, action);
                false
            }
            Recorded::NotTaken(_) | Recorded::LanTrouble(_) => false,
        };
        &self.marks[if cleared { 0 } else { before }..]
    }

    /// The time since the peer was last heard, or since the first mark, in milliseconds.
    pub fn offset_ms(&self, at: Instant) -> f64 {
        let start = self.marks.first().map_or(at, |mark| mark.at);
        at.since(start).as_secs_f64() * 1000.0
    }

    fn decided(&mut self, at: Instant, authority: Authority, why: Why) -> bool {
        match authority {
            Authority::Taking | Authority::Asking if !self.taking => {
                self.begin(at);
                if authority == Authority::Taking {
                    self.mark(at, "consent", self.consent(at));
                } else if self.marks.is_empty() {
                    self.mark(at, "asking", why);
                }
                true
            }
            Authority::Taking => {
                self.mark_once(at, "consent", self.consent(at));
                false
            }
            Authority::Active => {
                self.mark_once(at, "active", why);
                self.taking = false;
                false
            }
            Authority::Giving => {
                self.mark_once(at, "giving", why);
                false
            }
            Authority::Joining | Authority::Standby | Authority::Held if self.taking => {
                self.mark(at, "given-up", why);
                self.taking = false;
                false
            }
            Authority::Joining if self.marks.last().is_some_and(|mark| mark.what != "given-up") => {
                self.mark(at, "released", why);
                false
            }
            Authority::Joining | Authority::Standby | Authority::Held | Authority::Asking => false,
        }
    }

    /// Whose word it is that lets the node take.
    fn consent(&self, at: Instant) -> &'static str {
        if self.is_silent(at) { "the arbiter consents" } else { "the peer agrees" }
    }

    fn is_silent(&self, at: Instant) -> bool {
        self.last_heartbeat.is_none_or(|heard| heard + self.timing.lost_after <= at)
    }

    fn begin(&mut self, at: Instant) {
        self.marks.clear();
        self.taking = true;
        if let (Some(heard), true) = (self.last_heartbeat, self.is_silent(at)) {
            self.mark(heard, "last-heartbeat", "the peer was last heard");
            self.mark(heard + self.timing.late_after, "late", "its next heartbeats are late");
            if let Some(probe) = self.first_probe {
                self.mark(probe, "asking", "first question on the LAN");
            }
            if let Some(reference) = self.first_reference {
                self.mark(reference, "evidence", "a reference answers: this node is on the LAN");
            }
            self.mark(heard + self.timing.lost_after, "lost", "the peer is silent");
        }
        self.marks.retain(|mark| mark.at <= at);
    }

    fn seen(&mut self, at: Instant, event: &Event) {
        match event {
            Event::HeartbeatReceived { at, .. } => {
                self.last_heartbeat = Some(*at);
                (self.first_probe, self.first_reference) = (None, None);
            }
            Event::Lan { seen: LanSeen::ReferenceAnswered { .. }, .. } => {
                self.first_reference.get_or_insert(at);
            }
            Event::StateSaved { saved: Some(saved), .. } if self.taking => {
                let text = format!("term {} is on disk", saved.term);
                if saved.served == saved.term {
                    self.mark_once(at, "served", format!("served {text}"));
                } else {
                    self.mark_once(at, "term", text);
                }
            }
            Event::DatabaseSeen { seen, .. }
                if self.taking && seen.state == DatabaseState::Writable =>
            {
                self.mark_once(at, "promoted", "the database is writable");
            }
            Event::ServicesSeen { seen, .. } if self.taking && seen.critical == Grade::Good => {
                self.mark_once(at, "services", "the critical services run");
            }
            Event::AddressesSeen { seen: Presence::Held, .. } if self.taking => {
                self.mark_once(at, "address", "the addresses are held");
            }
            Event::Announced { sent: true, .. } => {
                self.mark_once(at, "announced", "the LAN was told");
            }
            Event::Tick
            | Event::Lan { .. }
            | Event::AddressesSeen { .. }
            | Event::Announced { .. }
            | Event::StateSaved { .. }
            | Event::DatabaseSeen { .. }
            | Event::ServicesSeen { .. }
            | Event::Operator(_) => {}
        }
    }

    fn begun(&mut self, at: Instant, action: &Action) {
        match action {
            Action::ProbeLan { .. } => {
                self.first_probe.get_or_insert(at);
            }
            Action::HoldAddresses { .. } if self.taking => {
                self.mark_once(at, "proved", "the right to claim is proved again");
            }
            Action::SendHeartbeat(_)
            | Action::HoldAddresses { .. }
            | Action::ReleaseAddresses { .. }
            | Action::Announce { .. }
            | Action::SaveState { .. }
            | Action::Database { .. }
            | Action::Services { .. } => {}
        }
    }

    fn mark_once(&mut self, at: Instant, what: &'static str, text: impl ToString) {
        if !self.marks.is_empty() && !self.marks.iter().any(|mark| mark.what == what) {
            self.mark(at, what, text);
        }
    }

    fn mark(&mut self, at: Instant, what: &'static str, text: impl ToString) {
        self.marks.push(Mark { at, what, text: text.to_string() });
    }
}
