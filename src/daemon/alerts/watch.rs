//! What there is to tell people: how things stand, compared with what they were told last.

use std::collections::BTreeMap;

use super::News;
use crate::adapters::alert::Severity::{self, Critical, Info, Warning};
use crate::config::{AlertKind, Config};
use crate::daemon::change::{Change, Kind};
use crate::daemon::hooks::Failures;
use crate::daemon::telling::View;
use crate::daemon::{arbiters, status};
use crate::protocol::arbiter::Arbitration;
use crate::protocol::health::Grade;
use crate::protocol::heartbeat::Stance;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::node::Durability;
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;
use crate::protocol::time::{Duration, Instant};

/// A standby that is no good one for so long is told of.
const UNFIT_FOR: Duration = Duration::from_secs(60);
/// So long a node may be held or joining on its way to something else.
const HELD_FOR: Duration = Duration::from_secs(3);
/// So long nobody may serve before people hear of it; a fence may take most of that.
const NOBODY_FOR: Duration = Duration::from_secs(30);
/// A peer that was never heard is told of after this.
const NEVER_HEARD_FOR: Duration = Duration::from_secs(60);

/// What people were told.
pub struct Watch {
    peer: String,
    /// A takeover may lose rows, or not: there is a database, and its durability.
    database: Option<Durability>,
    arbitration: Arbitration,
    began: Option<Instant>,
    /// The peer was told to be silent, or heard.
    silent: Option<bool>,
    held: Lasting,
    nobody: Lasting,
    unfit: Lasting,
    services: BTreeMap<String, bool>,
    witness: bool,
    fence: bool,
    hooks: (u64, u64),
    /// This node held the certificate when it last stood by.
    certified: bool,
}

/// Something that is told of when it has lasted, and again when it has gone.
#[derive(Clone, Copy, Default)]
struct Lasting {
    since: Option<Instant>,
    told: bool,
}

/// What to tell of it now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Begins,
    Ends,
    Nothing,
}

impl Lasting {
    fn see(&mut self, is: bool, now: Instant, patience: Duration) -> Turn {
        if !is {
            self.since = None;
            return if std::mem::take(&mut self.told) { Turn::Ends } else { Turn::Nothing };
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now.since(since) < patience {
            return Turn::Nothing;
        }
        self.told = true;
        Turn::Begins
    }
}

impl Watch {
    /// Nothing was told yet.
    pub fn new(config: &Config) -> Watch {
        Watch {
            peer: config.peer_name().to_owned(),
            database: config.postgres.is_some().then_some(config.durability),
            arbitration: config.arbitration,
            began: None,
            silent: None,
            held: Lasting::default(),
            nobody: Lasting::default(),
            unfit: Lasting::default(),
            services: BTreeMap::new(),
            witness: false,
            fence: false,
            hooks: (0, 0),
            certified: false,
        }
    }

    /// What is new.
    pub fn see(&mut self, view: &View<'_>, conflict: (bool, bool), hooks: &Failures) -> Vec<News> {
        let mut news = Vec::new();
        self.began.get_or_insert(view.at);
        if matches!(view.status.authority, Authority::Standby | Authority::Asking) {
            self.certified = view.status.certificate_ends.is_some();
        }
        self.peer(view, &mut news);
        self.held(view, &mut news);
        self.standby(view, &mut news);
        self.services(view, &mut news);
        self.arbiters(view, &mut news);
        self.conflict(conflict, &mut news);
        self.hooks(hooks, &mut news);
        news
    }

    /// A change of role is complete.
    pub fn changed(&self, change: &Change) -> Option<News> {
        let peer = &self.peer;
        let term = change.term.map_or(String::new(), |term| format!(", term {term}"));
        let order = change.order.as_ref().map_or(String::new(), |order| format!(", by {order}"));
        let outage = change.outage().map_or(String::new(), |outage| {
            format!(", nobody served for {} ms", outage.as_millis())
        });
        let why = &change.reason;
        let (severity, text) = match (change.kind, change.outcome) {
            (Kind::Takeover, Some("serves")) => {
                let loss = self.loss().map_or(String::new(), |loss| format!("; {loss}"));
                (Critical, format!("took the role from {peer}: {why}{outage}{loss}"))
            }
            (Kind::HandoverTaken, Some("serves")) => {
                (Warning, format!("took the role that {peer} handed over{outage}; nothing is lost"))
            }
            (Kind::HandoverGiven, Some("handed-over")) => {
                (Warning, format!("handed the role to {peer}: {why}"))
            }
            (Kind::HandoverGiven, Some("taken-back")) => {
                (Critical, format!("took the role back that {peer} did not take: {why}"))
            }
            (Kind::HandoverGiven, _) => {
                (Warning, format!("a handover to {peer} was broken off: {why}"))
            }
            (Kind::Start, Some("serves")) => {
                (Info, format!("serves, both nodes have started: {why}"))
            }
            (Kind::Demotion, _) => (Critical, format!("GAVE THE ROLE UP: {why}")),
            (Kind::Takeover | Kind::HandoverTaken | Kind::Start, _) => {
                let last = change.marks.last().map_or("", |mark| mark.text.as_str());
                (Critical, format!("tried to take the role and gave up: {last}"))
            }
            // The node that serves tells it.
            (Kind::PeerServes, _) => return None,
        };
        Some((AlertKind::Role, severity, format!("{text}{term}{order}")))
    }

    /// What a takeover has lost.
    fn loss(&self) -> Option<&'static str> {
        Some(match self.database? {
            Durability::Async => "rows that were not replicated are lost",
            Durability::Strict | Durability::Available if self.certified => {
                "no acknowledged row is lost"
            }
            Durability::Strict | Durability::Available => {
                "ROWS MAY BE LOST: this node held no certificate"
            }
        })
    }

    fn peer(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let peer = &self.peer;
        let left = view.status.peer_left;
        let waited = self.began.is_some_and(|began| view.at.since(began) >= NEVER_HEARD_FOR);
        let (silent, told) = match (self.silent, view.status.peer) {
            (Some(true), Liveness::Alive) => {
                (false, Some((Info, format!("{peer} is heard again"))))
            }
            (Some(false) | None, Liveness::Alive) => (false, None),
            (Some(false), Liveness::Lost) if left => (
                true,
                Some((Info, format!("{peer} left the pair in order, and there is no standby"))),
            ),
            (Some(false), Liveness::Lost) => (true, Some((Warning, format!("{peer} is silent")))),
            (None, Liveness::Lost) if waited => {
                (true, Some((Warning, format!("{peer} was not heard since this daemon started"))))
            }
            (_, Liveness::Late) | (Some(true), Liveness::Lost) | (None, Liveness::Lost) => return,
        };
        self.silent = Some(silent);
        news.extend(told.map(|(severity, text)| (AlertKind::Peer, severity, text)));
    }

    fn held(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let status = view.status;
        let by_order = view.maintenance.is_some() || status.why == Why::ToldToLeave;
        let held = status.authority == Authority::Held && !by_order;
        let why = status.why.to_string();
        let advice = status::advice(status);
        let advice = advice.map_or(String::new(), |advice| format!(". Do: {advice}"));
        let damaged = status.why == Why::DamagedState;
        let kind = if damaged { AlertKind::State } else { AlertKind::Held };
        match self.held.see(held, view.at, HELD_FOR) {
            Turn::Begins => news.push((kind, Critical, format!("is HELD: {why}{advice}"))),
            Turn::Ends if status.authority != Authority::Held => {
                let text = format!("is no longer held, it is {}: {why}", status.authority);
                news.push((AlertKind::Held, Info, text));
            }
            Turn::Ends | Turn::Nothing => {}
        }
        let waits = match status.authority {
            Authority::Joining | Authority::Standby | Authority::Asking => {
                status.peer == Liveness::Lost && !by_order
            }
            Authority::Held | Authority::Taking | Authority::Active | Authority::Giving => false,
        };
        let doing = status::doing(status);
        if self.nobody.see(waits, view.at, NOBODY_FOR) == Turn::Begins {
            let text =
                format!("NOBODY is known to serve, and this node may not: {doing}, {why}{advice}");
            news.push((AlertKind::Held, Critical, text));
        }
    }

    fn standby(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let fault = self.fault(view.status);
        let whose = match view.status.authority {
            Authority::Active => format!("its standby {} is", self.peer),
            _ => "is".to_owned(),
        };
        match self.unfit.see(fault.is_some(), view.at, UNFIT_FOR) {
            Turn::Begins => {
                let fault = fault.unwrap_or("unknown");
                let text =
                    format!("{whose} NO GOOD standby for {} s: {fault}", UNFIT_FOR.as_secs());
                news.push((AlertKind::Standby, Warning, text));
            }
            // Of a peer that has fallen silent another alert tells.
            Turn::Ends if view.status.peer != Liveness::Lost => {
                news.push((AlertKind::Standby, Info, format!("{whose} a good standby again")));
            }
            Turn::Ends | Turn::Nothing => {}
        }
    }

    /// What is wrong with the standby, as this node sees it; a silent peer and maintenance are told
    /// elsewhere.
    fn fault(&self, status: &Status) -> Option<&'static str> {
        let says = status.peer_says.as_ref().filter(|says| !says.maintenance)?;
        if status.peer == Liveness::Lost || status.peer_left {
            return None;
        }
        let waits = matches!(self.database, Some(Durability::Strict | Durability::Available));
        match status.authority {
            Authority::Active | Authority::Standby if !status.two_way => Some("heard one way only"),
            Authority::Active | Authority::Standby if status::other_system(status).is_some() => {
                Some("the two databases are not copies of one cluster")
            }
            Authority::Active if says.stance == Stance::Held => Some("it is held"),
            Authority::Active if says.stance != Stance::Standby => Some("it does not stand by"),
            Authority::Active if waits && !status.certifying => Some("its database is not in sync"),
            Authority::Standby if waits && status.certificate_ends.is_none() => {
                Some("it holds no in-sync certificate")
            }
            Authority::Active
            | Authority::Standby
            | Authority::Joining
            | Authority::Held
            | Authority::Asking
            | Authority::Taking
            | Authority::Giving => None,
        }
    }

    fn services(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let serves = view.status.authority == Authority::Active;
        for service in view.services {
            let before = self.services.get(&service.name).copied().unwrap_or(false);
            let failed = match (service.wanted, service.grade) {
                (true, Grade::Failed) => true,
                (true, Grade::Unknown) => before,
                (_, Grade::Good) | (false, _) => false,
            };
            if failed == before {
                continue;
            }
            self.services.insert(service.name.clone(), failed);
            let (name, critical) = (&service.name, service.critical);
            let reason = service.reason.as_ref().or(service.probe.as_ref());
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            let which = if critical { "critical service" } else { "service" };
            let told = match (failed, service.wanted) {
                (true, _) => {
                    let severity = if critical && serves { Critical } else { Warning };
                    let restarts = service.restarts;
                    Some((
                        severity,
                        format!("{which} {name} FAILED{reason} (restarts: {restarts})"),
                    ))
                }
                (false, true) => Some((Info, format!("{which} {name} works again"))),
                // It is not to run any more.
                (false, false) => None,
            };
            news.extend(told.map(|(severity, text)| (AlertKind::Service, severity, text)));
        }
    }

    fn arbiters(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let mut compare = |told: &mut bool, works: Option<bool>, lost: &str, back: &str| {
            let Some(works) = works else { return };
            if *told == works {
                *told = !works;
                let (severity, text) = if works { (Info, back) } else { (Warning, lost) };
                news.push((AlertKind::Arbiter, severity, text.to_owned()));
            }
        };
        let (witness, fence) =
            (arbiters::witness_silent(self.arbitration), arbiters::fence_broken(self.arbitration));
        compare(&mut self.witness, view.witness_answers, witness, "the witness answers again");
        compare(&mut self.fence, view.fence_works, fence, "the fence works again");
    }

    fn conflict(&self, (before, now): (bool, bool), news: &mut Vec<News>) {
        let peer = &self.peer;
        let told: Option<(Severity, String)> = match (before, now) {
            (false, true) => {
                Some((Critical, format!("BOTH NODES SERVE: {peer} is heard to serve, too")))
            }
            (true, false) => Some((
                Warning,
                format!(
                    "the conflict with {peer} has ended; see duotone history, and \
                                        duotone salvage list on the node that gave way"
                ),
            )),
            (true, true) | (false, false) => None,
        };
        news.extend(told.map(|(severity, text)| (AlertKind::Conflict, severity, text)));
    }

    fn hooks(&mut self, hooks: &Failures, news: &mut Vec<News>) {
        let (failed, dropped) = std::mem::replace(&mut self.hooks, (hooks.count, hooks.dropped));
        if hooks.count > failed {
            news.push((AlertKind::Hook, Warning, hooks.newest.clone()));
        }
        if hooks.dropped > dropped {
            let lost = hooks.dropped - dropped;
            let text =
                format!("hooks run too long: {lost} events could not wait and were not told");
            news.push((AlertKind::Hook, Warning, text));
        }
    }
}

#[cfg(test)]
mod tests;
