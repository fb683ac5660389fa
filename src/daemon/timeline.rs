//! The change of role that is going on, or the last one, mark by mark: from the peer's last
//! heartbeat to the first announcement, from the order to the peer's taking, also when it came to
//! nothing.

use crate::protocol::action::Action;
use crate::protocol::event::{DatabaseState, Event, LanSeen, PeerPower, Presence};
use crate::protocol::health::Grade;
use crate::protocol::heartbeat::{Heartbeat, Stance};
use crate::protocol::identity::Term;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::timing::Timing;
use crate::protocol::witness::{Reply, Verdict};
use crate::pulse::report::{Record, Recorded};

pub use super::change::{Change, Kind, Mark, Noted};

/// What comes right after the end (the announcement, the database seen stopped) is waited for.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// Collects the marks.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub(super) timing: Timing,
    pub(super) last_heartbeat: Option<Instant>,
    pub(super) first_probe: Option<Instant>,
    pub(super) first_reference: Option<Instant>,
    /// When the peer was first heard without the addresses, while it has the role.
    pub(super) peer_let_go: Option<Instant>,
    pub(super) peer_says: Option<(Stance, Term)>,
    /// The term of the peer's that is in the history.
    pub(super) peer_term: Option<Term>,
    authority: Option<Authority>,
    serves: Option<Term>,
    pub(super) order: Option<(Instant, String)>,
    pub(super) change: Option<Change>,
    told: bool,
}

impl Timeline {
    /// Empty; `peer_term` is the peer's last term that the history has.
    pub fn new(timing: Timing, peer_term: Option<Term>) -> Timeline {
        Timeline {
            timing,
            last_heartbeat: None,
            first_probe: None,
            first_reference: None,
            peer_let_go: None,
            peer_says: None,
            peer_term,
            authority: None,
            serves: None,
            order: None,
            change: None,
            told: true,
        }
    }

    /// The change that goes on, or the last one.
    pub fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// The change that the history does not have yet.
    pub fn untold(&self) -> Option<&Change> {
        self.change.as_ref().filter(|_| !self.told)
    }

    /// Its marks, oldest first.
    pub fn marks(&self) -> &[Mark] {
        self.change.as_ref().map_or(&[], |change| &change.marks)
    }

    /// The time since its first mark, which is the peer's last heartbeat where there is one, in
    /// milliseconds.
    pub fn offset_ms(&self, at: Instant) -> f64 {
        let start = self.marks().first().map_or(at, |mark| mark.at);
        at.since(start).as_secs_f64() * 1000.0
    }

    /// Somebody ordered something, at `at`: the change that follows is by that order.
    pub fn ordered(&mut self, at: Instant, order: String) {
        self.order = Some((at, order));
    }

    /// Takes a record.
    pub fn note(&mut self, record: &Record) -> Noted {
        let mut noted = Noted::default();
        let before = self.marks().len();
        let began = match &record.what {
            Recorded::Authority(authority, why) => {
                self.decided(record.at, *authority, *why, &mut noted)
            }
            Recorded::Event(event) => {
                self.seen(record.at, event, &mut noted);
                false
            }
            Recorded::Action(action) => {
                self.begun(record.at, action);
                false
            }
            Recorded::NotTaken(_)
            | Recorded::LanTrouble(_)
            | Recorded::Node(_)
            | Recorded::Rested(_) => false,
        };
        let from = if began { 0 } else { before };
        noted.marks = self.marks().get(from..).map(<[Mark]>::to_vec).unwrap_or_default();
        self.completed(record.at, &mut noted);
        noted
    }

    /// Time passes: what was waited for after a change's end may not come.
    pub fn tick(&mut self, now: Instant) -> Option<Change> {
        let mut noted = Noted::default();
        self.completed(now, &mut noted);
        noted.complete.pop()
    }

    fn completed(&mut self, now: Instant, noted: &mut Noted) {
        let Some(change) = self.change.as_ref().filter(|_| !self.told) else { return };
        let Some(ended) = change.ended else { return };
        let has = |what: &str| change.marks.iter().any(|mark| mark.what == what);
        let settled = match change.outcome {
            Some("serves" | "taken-back") => has("announced"),
            Some("released") => has("released") && has("stopped"),
            Some(_) | None => true,
        };
        if settled || now.since(ended) >= SETTLES_WITHIN {
            noted.complete.push(change.clone());
            self.told = true;
        }
    }

    fn decided(&mut self, at: Instant, authority: Authority, why: Why, noted: &mut Noted) -> bool {
        use Authority::{Active, Asking, Giving, Held, Joining, Standby, Taking};
        let before = self.authority.replace(authority);
        match (before, authority) {
            (Some(Giving), Taking) => {
                self.mark(at, "taking-back", why);
                false
            }
            (Some(Active), Giving) => {
                self.begin(at, Kind::HandoverGiven, why, noted);
                self.mark(at, "giving", why);
                true
            }
            (_, Giving) => {
                match why {
                    Why::AwaitingTaker => self.mark_once(at, "offered", why),
                    Why::PeerTakes => self.mark_once(at, "peer-takes", why),
                    _ => {}
                }
                false
            }
            (Some(Asking | Taking), Asking) => false,
            (Some(Asking | Taking), Taking) => {
                self.upgrade(why);
                self.mark_once(at, "consent", self.consent(why));
                false
            }
            // The offer stands, and what was in its way is gone.
            (Some(Standby), Taking) if self.waits() => {
                self.mark_once(at, "consent-again", self.consent(why));
                false
            }
            (_, Asking | Taking) => {
                self.begin(at, Kind::of(why), why, noted);
                if authority == Taking {
                    self.mark(at, "consent", self.consent(why));
                } else if self.marks().is_empty() {
                    self.mark(at, "asking", why);
                }
                true
            }
            (Some(Active), Active) => false,
            (_, Active) => {
                let (what, outcome) = match (before, why) {
                    (_, Why::HandoverUndone) => ("undone", "undone"),
                    _ if self.gives() => ("active", "taken-back"),
                    _ => ("active", "serves"),
                };
                self.mark_once(at, what, why);
                self.end(at, outcome);
                if let Some(change) = &mut self.change {
                    self.serves = change.term.or(self.serves);
                    if outcome == "undone" {
                        change.term = change.before;
                    }
                }
                false
            }
            (Some(Giving), Standby | Joining | Held) => {
                let taken = why == Why::HandedOver;
                self.mark(at, if taken { "peer-serves" } else { "broken-off" }, why);
                self.end(at, if taken { "handed-over" } else { "broken-off" });
                if let (true, Some((_, term)), Some(change)) =
                    (taken, self.peer_says, &mut self.change)
                {
                    change.term = Some(term);
                    self.peer_term = Some(term);
                }
                self.serves = None;
                false
            }
            (Some(Taking), Standby) if self.waits() && why != Why::PeerServes => {
                self.mark_once(at, "waits", why);
                false
            }
            (Some(Standby), Standby) if self.waits() && why == Why::PeerServes => {
                self.mark(at, "given-up", why);
                self.end(at, "given-up");
                false
            }
            (Some(Asking | Taking), Standby | Joining | Held) => {
                self.mark(at, "given-up", why);
                self.end(at, "given-up");
                false
            }
            (Some(Active), Standby | Joining | Held) => {
                self.begin(at, Kind::Demotion, why, noted);
                self.mark(at, "gave-up", why);
                self.end(at, "released");
                self.serves = None;
                true
            }
            (_, Standby | Joining | Held) => false,
        }
    }

    /// The present change is one that this node began by giving.
    fn gives(&self) -> bool {
        self.change
            .as_ref()
            .is_some_and(|change| change.kind == Kind::HandoverGiven && change.ended.is_none())
    }

    /// The peer's offer is being taken.
    fn waits(&self) -> bool {
        self.open() == Some(Kind::HandoverTaken)
    }

    fn upgrade(&mut self, why: Why) {
        if let (Some(change), Why::Offered) = (&mut self.change, why) {
            change.kind = Kind::HandoverTaken;
        }
    }

    /// Whose word it is that lets the node take.
    fn consent(&self, why: Why) -> &'static str {
        match why {
            Why::Offered => "the peer hands over",
            Why::Agreed => "the peer agrees",
            _ => "the arbiter consents",
        }
    }

    fn begin(&mut self, at: Instant, kind: Kind, why: Why, noted: &mut Noted) {
        if let Some(change) = self.change.take().filter(|_| !self.told) {
            noted.complete.push(change);
        }
        let order = self.order.take();
        self.change = Some(Change {
            kind,
            why,
            reason: why.to_string(),
            // An order that nothing came of belongs to nothing.
            order: order.filter(|(ordered, _)| at.since(*ordered) < SETTLES_WITHIN).map(|o| o.1),
            before: self.serves,
            term: None,
            outcome: None,
            ended: None,
            marks: Vec::new(),
        });
        self.told = false;
        match kind {
            Kind::Takeover => self.evidence(at),
            Kind::HandoverTaken => {
                if let Some(let_go) = self.peer_let_go {
                    self.mark(let_go, "peer-lets-go", "the peer is heard to let the role go");
                }
            }
            Kind::Start | Kind::HandoverGiven | Kind::Demotion | Kind::PeerServes => {}
        }
    }

    fn end(&mut self, at: Instant, outcome: &'static str) {
        if let Some(change) = self.change.as_mut().filter(|change| change.ended.is_none()) {
            (change.outcome, change.ended) = (Some(outcome), Some(at));
        }
    }

    /// What came before the decision.
    fn evidence(&mut self, at: Instant) {
        let silent = |heard: &Instant| *heard + self.timing.lost_after <= at;
        let Some(heard) = self.last_heartbeat.filter(silent) else { return };
        self.mark(heard, "last-heartbeat", "the peer was last heard");
        self.mark(heard + self.timing.late_after, "late", "its next heartbeats are late");
        if let Some(probe) = self.first_probe {
            self.mark(probe, "asking", "first question on the LAN");
        }
        if let Some(reference) = self.first_reference {
            self.mark(reference, "evidence", "a reference answers: this node is on the LAN");
        }
        self.mark(heard + self.timing.lost_after, "lost", "the peer is silent");
        if let Some(change) = &mut self.change {
            change.marks.retain(|mark| mark.at <= at);
            change.marks.sort_by_key(|mark| mark.at);
        }
    }

    /// The change goes on.
    fn open(&self) -> Option<Kind> {
        self.change.as_ref().filter(|change| change.ended.is_none()).map(|change| change.kind)
    }

    fn takes(&self) -> bool {
        matches!(self.authority, Some(Authority::Asking | Authority::Taking))
            && self.open().is_some()
    }

    fn lets_go(&self) -> bool {
        !self.told
            && self
                .change
                .as_ref()
                .is_some_and(|change| matches!(change.kind, Kind::HandoverGiven | Kind::Demotion))
            && !self.takes()
    }

    fn heard(&mut self, at: Instant, heartbeat: &Heartbeat, noted: &mut Noted) {
        self.last_heartbeat = Some(at);
        (self.first_probe, self.first_reference) = (None, None);
        let says = (heartbeat.stance, heartbeat.term);
        let bare = heartbeat.groups.iter().any(|group| !group.serving);
        self.peer_let_go = match heartbeat.stance {
            Stance::Active if !bare => None,
            Stance::Active | Stance::Handing => self.peer_let_go.or(Some(at)),
            _ => None,
        };
        self.peer_says = Some(says);
        let new = heartbeat.stance == Stance::Active && self.peer_term != Some(heartbeat.term);
        if !new {
            return;
        }
        self.peer_term = Some(heartbeat.term);
        // Of what this node gave away the entry of the handover tells.
        if self.authority != Some(Authority::Giving) {
            let text = format!("heard to serve under term {}", heartbeat.term);
            noted.complete.push(Change {
                kind: Kind::PeerServes,
                why: Why::PeerServes,
                reason: Why::PeerServes.to_string(),
                order: None,
                before: None,
                term: Some(heartbeat.term),
                outcome: Some("seen"),
                ended: Some(at),
                marks: vec![Mark { at, what: "peer-serves", text }],
            });
        }
    }

    fn seen(&mut self, at: Instant, event: &Event, noted: &mut Noted) {
        match event {
            Event::HeartbeatReceived { at, heartbeat } => self.heard(*at, heartbeat, noted),
            Event::Lan { seen: LanSeen::ReferenceAnswered { .. }, .. } => {
                self.first_reference.get_or_insert(at);
            }
            Event::StateSaved { saved: Some(saved), .. } if self.takes() => {
                let text = format!("term {} is on disk", saved.term);
                if let Some(change) = &mut self.change {
                    change.term = Some(saved.term);
                }
                if saved.served == saved.term {
                    self.mark_once(at, "served", format!("served {text}"));
                } else {
                    self.mark_once(at, "term", text);
                }
            }
            Event::DatabaseSeen { seen, .. } => match seen.state {
                DatabaseState::Writable if self.takes() => {
                    self.mark_once(at, "promoted", "the database is writable");
                }
                DatabaseState::Stopped if self.lets_go() => {
                    self.mark_once(at, "stopped", "the database has stopped");
                }
                _ => {}
            },
            Event::ServicesSeen { seen, .. } if self.takes() && seen.critical == Grade::Good => {
                self.mark_once(at, "services", "the critical services run");
            }
            Event::AddressesSeen { seen: Presence::Held, .. } if self.takes() => {
                self.mark_once(at, "address", "the addresses are held");
            }
            Event::AddressesSeen { seen: Presence::Absent, .. } if self.lets_go() => {
                self.mark_once(at, "released", "the addresses are released");
            }
            Event::WitnessReplied { reply } if self.takes() && granted(reply) => {
                let text = format!("the witness granted term {}", reply.ledger.term());
                self.mark_once(at, "granted", text);
            }
            Event::FenceReported { power: PeerPower::Off, .. } if self.takes() => {
                self.mark_once(at, "fenced", "the peer is powered off");
            }
            Event::Announced { sent: true, .. } if !self.told => {
                self.mark_once(at, "announced", "the LAN was told");
            }
            Event::Tick
            | Event::Lan { .. }
            | Event::AddressesSeen { .. }
            | Event::Announced { .. }
            | Event::StateSaved { .. }
            | Event::ServicesSeen { .. }
            | Event::RemoteChecked { .. }
            | Event::FailbackHours { .. }
            | Event::WitnessReplied { .. }
            | Event::FenceReported { .. }
            | Event::Operator(_) => {}
        }
    }

    fn begun(&mut self, at: Instant, action: &Action) {
        match action {
            Action::ProbeLan { .. } => {
                self.first_probe.get_or_insert(at);
            }
            Action::HoldAddresses { .. } if self.takes() => {
                self.mark_once(at, "proved", "the right to claim is proved again");
            }
            Action::PowerOffPeer { .. } if self.takes() => {
                self.mark_once(at, "fence", "the fence is to power the peer off");
            }
            Action::SendHeartbeat(_)
            | Action::AskWitness(_)
            | Action::HoldAddresses { .. }
            | Action::ReleaseAddresses { .. }
            | Action::Announce { .. }
            | Action::PowerOffPeer { .. }
            | Action::SaveState { .. }
            | Action::Database { .. }
            | Action::Services { .. } => {}
        }
    }

    fn mark_once(&mut self, at: Instant, what: &'static str, text: impl ToString) {
        let marks = self.marks();
        if !marks.is_empty() && !marks.iter().any(|mark| mark.what == what) {
            self.mark(at, what, text);
        }
    }

    fn mark(&mut self, at: Instant, what: &'static str, text: impl ToString) {
        if let Some(change) = &mut self.change {
            change.marks.push(Mark { at, what, text: text.to_string() });
        }
    }
}

/// The asker holds the role by the witness's word.
fn granted(reply: &Reply) -> bool {
    let holder = reply.ledger.holder.filter(|holder| !holder.released);
    reply.verdict == Verdict::Done && holder.is_some_and(|holder| holder.node == reply.node)
}
