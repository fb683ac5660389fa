//! The story of a run, told only when somebody reads it.

use duotone::protocol::action::Action;
use duotone::protocol::event::{DatabaseSeen, Ticket};
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::NodeId;
use duotone::protocol::node::Node;
use duotone::protocol::time::Instant;
use duotone::protocol::witness::Wish;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::world::World;

/// Lines, when they are wanted.
pub struct Trace {
    pub lines: Option<Vec<String>>,
}

impl Trace {
    pub fn silent() -> Trace {
        Trace { lines: None }
    }

    pub fn told() -> Trace {
        Trace { lines: Some(Vec::new()) }
    }

    pub fn wanted(&self) -> bool {
        self.lines.is_some()
    }

    pub fn note(&mut self, now: Nanos, host: NodeId, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} {host}  {}", seconds(now), what()));
        }
    }

    /// What was done to the world.
    pub fn world(&mut self, now: Nanos, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} -- {}", seconds(now), what()));
        }
    }
}

pub fn seconds(now: Nanos) -> String {
    format!("{}.{:03}", now / SECOND, now % SECOND / MILLI)
}

impl World {
    pub fn note_status(&mut self, host: NodeId, node: &Node, now: Instant) {
        let daemon = &mut self.hosts[host.index()].daemon;
        daemon.stance = node.stance();
        if matches!(daemon.stance, Stance::Active | Stance::Standby) {
            self.checker.forced[host.index()] = false;
        }
        if !self.trace.wanted() {
            return;
        }
        let status = status(node, now);
        if daemon.status != status {
            daemon.status.clone_from(&status);
            self.trace.note(self.now, host, || status);
        }
    }

    pub fn trace_action(&mut self, host: NodeId, action: &Action) {
        if !self.trace.wanted() {
            return;
        }
        let it = &self.hosts[host.index()];
        let what = match action {
            Action::SendHeartbeat(heartbeat) => {
                let spoken = &it.spoken;
                let said = |now: bool, before: bool, what: &str| match (now, before) {
                    (true, false) => format!(" +{what}"),
                    (false, true) => format!(" -{what}"),
                    _ => String::new(),
                };
                let text = said(heartbeat.certified, spoken.certified, "certified")
                    + &said(heartbeat.certifying, spoken.certifying, "certifying");
                if text.is_empty() {
                    return;
                }
                format!("says{text}")
            }
            Action::ProbeLan { .. } => return,
            Action::AskWitness(request) => match request.wish {
                Wish::Query => return,
                // The renewals of one who holds it tell nothing.
                Wish::Grant { .. } if it.spoken.asked == Some(request.wish) => return,
                wish => format!("asks the witness: {wish:?}"),
            },
            Action::PowerOffPeer { .. } => "do power the peer off".to_owned(),
            Action::HoldAddresses { .. } if it.addresses.any() => return,
            Action::HoldAddresses { .. } => "do hold address".to_owned(),
            Action::ReleaseAddresses { .. } => "do release address".to_owned(),
            Action::Announce { .. } => "do announce".to_owned(),
            Action::SaveState { state, .. } => {
                let old = it.writes.back().map_or(it.disk, |(_, state)| *state);
                let mut text = "do save".to_owned();
                let mut changed = |differs: bool, what: String| {
                    if differs {
                        text += &format!(" {what}");
                    }
                };
                changed(old.term != state.term, format!("term {}", state.term));
                changed(old.served != state.served, format!("served {}", state.served));
                changed(old.lone != state.lone, format!("lone {}", state.lone));
                let mark = |on: bool, what: &str| format!("{}{what}", if on { "+" } else { "-" });
                changed(old.active != state.active, mark(state.active, "active"));
                let excluded = state.peer_excluded;
                changed(old.peer_excluded != excluded, mark(excluded, "peer-excluded"));
                changed(old.leaving != state.leaving, mark(state.leaving.is_some(), "leaving"));
                let copy = state.copy_unfinished;
                changed(old.copy_unfinished != copy, mark(copy, "copy-unfinished"));
                text
            }
            Action::Database { deed, .. } => format!("do database {deed:?}"),
            Action::Services { goal, .. } => format!("do services {goal:?}"),
        };
        self.trace.note(self.now, host, || what);
    }

    pub fn trace_look(&mut self, host: NodeId, ticket: Option<Ticket>, seen: &DatabaseSeen) {
        if ticket.is_some() {
            let place = self.hosts[host.index()].database.log;
            let timeline = self.branches.0[place.branch].timeline;
            self.trace.note(self.now, host, || {
                format!("seen database {:?} on timeline {timeline}", seen.state)
            });
        }
    }
}

fn status(node: &Node, now: Instant) -> String {
    let status = node.status(now);
    format!("{}  ({})", status.authority, status.why)
}
