//! A replay in words: what was new to the node, what it decided and why, and what it did.

use super::{Entry, Heading};
use crate::protocol::action::Action;
use crate::protocol::durable::Durable;
use crate::protocol::event::{Event, LanSeen};
use crate::protocol::heartbeat::Heartbeat;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::node::Node;
use crate::protocol::peer::Liveness;
use crate::protocol::time::Instant;
use crate::protocol::witness::{Verdict, Wish};

/// One line for each change; what comes again and again is told once.
pub struct Story {
    pub text: String,
    zero: Instant,
    who: String,
    decided: (Authority, Why),
    saved: Option<Durable>,
    /// The last thing that was told of each kind.
    told: Vec<(&'static str, String)>,
}

impl Story {
    pub fn begin(heading: &Heading, zero: Instant, node: &Node) -> Story {
        let Heading { software, pair, node: name, zero: _, why } = heading;
        let decided = node.authority();
        let (setup, _) = node.began();
        let mut story = Story {
            text: format!("# {name} of {pair}, duotone {software}: {why}\n"),
            zero,
            who: setup.me.to_string(),
            decided,
            saved: setup.durable,
            told: Vec::new(),
        };
        story.line(zero, &format!("{}  ({})", decided.0, decided.1));
        story
    }

    /// An event, and what the node did about it.
    pub fn tell(&mut self, at: Instant, event: &Event, done: &[Entry], node: &Node) {
        let before = self.decided.0;
        self.event(at, event);
        if *event == Event::Tick {
            let peer = match node.status(at).peer {
                Liveness::Alive => "the peer is heard",
                Liveness::Late => "the peer is late",
                Liveness::Lost => "the peer is silent",
            };
            self.changed(at, "peer", peer);
        }
        // The decision first: the actions are what follows from it.
        for entry in done {
            if let Entry::Decided(authority, why) = entry
                && self.decided != (*authority, *why)
            {
                self.decided = (*authority, *why);
                self.line(at, &format!("{authority}  ({why})"));
            }
        }
        if before != self.decided.0 {
            self.told.retain(|(kind, _)| *kind != "announce");
        }
        for entry in done {
            if let Entry::Action(action) = entry {
                self.action(at, action);
            }
        }
    }

    fn line(&mut self, at: Instant, what: &str) {
        let after = at.since(self.zero).as_secs_f64();
        self.text += &format!("{after:.3} {}  {what}\n", self.who);
    }

    /// Told if it is something else than the last time.
    fn changed(&mut self, at: Instant, kind: &'static str, what: &str) {
        match self.told.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, last)) if last == what => return,
            Some((_, last)) => last.replace_range(.., what),
            None => self.told.push((kind, what.to_owned())),
        }
        self.line(at, what);
    }

    fn event(&mut self, at: Instant, event: &Event) {
        match event {
            Event::Tick | Event::Announced { sent: true, .. } => {}
            Event::HeartbeatReceived { heartbeat, .. } => {
                self.changed(at, "heard", &format!("hears {}", spoken(heartbeat)));
            }
            Event::Lan { seen, .. } => match seen {
                LanSeen::FloatingAnswered { by, .. } => {
                    self.changed(at, "lan", &format!("a floating address is answered: {by:?}"));
                }
                LanSeen::PeerProbed { .. } => {
                    self.changed(at, "probed", "somebody probes for a floating address");
                }
                LanSeen::ProbeFailed { .. } => self.changed(at, "lan", "probes cannot leave"),
                LanSeen::FloatingProbed { .. } => {}
                LanSeen::ReferenceAnswered { .. } => self.changed(at, "lan", "a reference answers"),
            },
            Event::AddressesSeen { seen, .. } => {
                self.changed(at, "address", &format!("seen address {seen:?}"));
            }
            Event::Announced { sent: false, .. } => self.line(at, "the announcement did not leave"),
            Event::StateSaved { saved: Some(_), .. } => self.line(at, "seen saved"),
            Event::StateSaved { saved: None, .. } => {
                self.line(at, "what is on disk is not known");
            }
            Event::DatabaseSeen { ticket, seen } => {
                let timeline =
                    seen.log.as_ref().map(|log| format!(" on timeline {}", log.timeline));
                let mark = |is: bool, what: &'static str| if is { what } else { "" };
                let text = format!(
                    "seen database {:?}{}{}{}",
                    seen.state,
                    timeline.unwrap_or_default(),
                    mark(seen.streaming, ", streaming"),
                    mark(seen.diverged, ", diverged"),
                );
                match ticket {
                    Some(_) => self.line(at, &text),
                    None => self.changed(at, "database", &text),
                }
            }
            Event::ServicesSeen { seen, .. } => {
                let stopped = if seen.stopped { ", the rest stopped" } else { "" };
                let text = format!("seen services {:?}: {:?}{stopped}", seen.goal, seen.critical);
                self.changed(at, "services", &text);
            }
            Event::RemoteChecked { grade, .. } => {
                let text = format!("the peer's services, asked over the LAN: {grade:?}");
                self.changed(at, "remote", &text);
            }
            Event::FailbackHours { open } => {
                let text = if *open { "the hours to go back begin" } else { "they end" };
                self.changed(at, "hours", text);
            }
            Event::WitnessReplied { reply } => {
                let what = match reply.verdict {
                    Verdict::Introduced => "does not know this node yet".to_owned(),
                    Verdict::Done => format!("is at term {}", reply.ledger.term()),
                    Verdict::Refused(refusal) => format!("refuses: {refusal:?}"),
                };
                self.changed(at, "witness", &format!("the witness {what}"));
            }
            Event::FenceReported { power, .. } => {
                self.line(at, &format!("seen the peer's power: {power:?}"));
            }
            Event::Operator(order) => self.line(at, &format!("an administrator orders {order:?}")),
        }
    }

    fn action(&mut self, at: Instant, action: &Action) {
        match action {
            Action::SendHeartbeat(heartbeat) => {
                self.changed(at, "says", &format!("says {}", spoken(heartbeat)));
            }
            Action::ProbeLan { .. } => {}
            Action::AskWitness(request) => match request.wish {
                Wish::Query => {}
                wish @ (Wish::Grant { .. } | Wish::Exclude | Wish::Clear | Wish::Release) => {
                    self.changed(at, "asks", &format!("asks the witness: {wish:?}"));
                }
            },
            Action::PowerOffPeer { .. } => self.line(at, "do power the peer off"),
            Action::HoldAddresses { .. } => self.changed(at, "claim", "do hold address"),
            Action::ReleaseAddresses { .. } => self.changed(at, "claim", "do release address"),
            Action::Announce { .. } => self.changed(at, "announce", "do announce"),
            Action::SaveState { state, .. } => {
                let text = format!("do save{}", saved(self.saved.as_ref(), state));
                self.saved = Some(*state);
                self.line(at, &text);
            }
            Action::Database { deed, .. } => self.line(at, &format!("do database {deed:?}")),
            Action::Services { goal, .. } => self.line(at, &format!("do services {goal:?}")),
        }
    }
}

/// What a heartbeat says about the role.
fn spoken(heartbeat: &Heartbeat) -> String {
    let Heartbeat { stance, term, .. } = heartbeat;
    let mark = |is: bool, what: &'static str| if is { what } else { "" };
    format!(
        "{stance:?} under term {term}{}{}{}{}",
        mark(heartbeat.groups.iter().any(|group| group.serving), ", with the addresses"),
        mark(heartbeat.certifying, ", certifying"),
        mark(heartbeat.certified, ", certified"),
        mark(heartbeat.excludes_you, ", excluding the peer"),
    )
}

/// What is written that was not so before.
fn saved(before: Option<&Durable>, state: &Durable) -> String {
    let old = before.copied().unwrap_or(Durable::FRESH);
    let mut text = String::new();
    let mut changed = |differs: bool, what: String| {
        if differs {
            text += &format!(" {what}");
        }
    };
    let mark = |on: bool, what: &str| format!("{}{what}", if on { "+" } else { "-" });
    changed(old.term != state.term, format!("term {}", state.term));
    changed(old.served != state.served, format!("served {}", state.served));
    changed(old.lone != state.lone, format!("lone {}", state.lone));
    changed(old.active != state.active, mark(state.active, "active"));
    changed(old.peer_excluded != state.peer_excluded, mark(state.peer_excluded, "peer-excluded"));
    changed(old.leaving != state.leaving, mark(state.leaving.is_some(), "leaving"));
    changed(
        old.copy_unfinished != state.copy_unfinished,
        mark(state.copy_unfinished, "copy-unfinished"),
    );
    text
}
