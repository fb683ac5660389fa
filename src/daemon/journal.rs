//! What happened, for people: one log line per change, one timed line per step of a takeover.

use std::thread::JoinHandle;

use tokio::sync::watch;

use super::arbiters;
use super::asked::Asked;
use super::change::Change;
use super::fence;
use super::history::{self, History};
use super::maintenance::Running;
use super::recorder::Recorder;
use super::status;
use super::telling::{Telling, View};
use super::timeline::Timeline;
use super::watchdog::Feeding;
use super::witness;
use crate::adapters::postgres::Progress;
use crate::adapters::services::ServiceStatus;
use crate::config::Config;
use crate::protocol::action::Action;
use crate::protocol::arbiter::Arbitration;
use crate::protocol::event::{Event, LanSeen};
use crate::protocol::identity::NodeId;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::peer::Liveness;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::timing::Timing;
use crate::pulse::report::{Record, Recorded, Snapshot};
use crate::wire::Refused;

/// The daemon's memory for people.
pub struct Journal {
    peer_name: String,
    me: NodeId,
    pub(super) timeline: Timeline,
    pub(super) latest: Option<Snapshot>,
    /// How far a long deed at the database has come; `None` without a database.
    pub(super) progress: Option<watch::Receiver<Option<Progress>>>,
    /// Why the last look or deed at the database fell short.
    pub(super) database_trouble: Option<String>,
    history: History,
    pub(super) telling: Telling,
    pub(super) recorder: Recorder,
    said: Option<(Authority, Why)>,
    liveness: Option<Liveness>,
    reported_lost_records: u64,
    trouble: Option<(Instant, String)>,
    /// Refusals of heartbeats that were told, by link.
    refused: Vec<Vec<Refused>>,
    other_system: bool,
    timing: Timing,
    /// When the first snapshot was made.
    began: Option<Instant>,
    witness_silent: bool,
    arbitration: Arbitration,
    /// What the fence's devices were last seen to do.
    pub(super) fence: Option<fence::Report>,
    /// What the standby asked the active node over the LAN, and was answered.
    pub(super) checks: Vec<Asked>,
    /// What the gateways answered.
    pub(super) gateways: Vec<Asked>,
    /// What the host's watchdog gets; `None` without one.
    pub(super) watchdog: Option<Feeding>,
}

impl Journal {
    /// Empty.
    pub fn new(config: &Config) -> Journal {
        Journal {
            peer_name: config.peer_name().to_owned(),
            me: config.me,
            timeline: Timeline::new(
                config.timing,
                history::last_peer_term(&config.state_dir, config.peer_name()),
            ),
            latest: None,
            progress: None,
            database_trouble: None,
            history: History::begin(config),
            telling: Telling::begin(config),
            recorder: Recorder::begin(config),
            said: None,
            liveness: None,
            reported_lost_records: 0,
            trouble: None,
            refused: vec![Vec::new(); config.links.len()],
            other_system: false,
            timing: config.timing,
            began: None,
            witness_silent: false,
            arbitration: config.arbitration,
            fence: None,
            checks: Vec::new(),
            gateways: Vec::new(),
            watchdog: None,
        }
    }

    /// Something happened.
    pub fn note(&mut self, record: &Record) {
        match &record.what {
            Recorded::Authority(authority, why) => self.authority(*authority, *why),
            Recorded::Event(event) => self.event(event),
            Recorded::Action(action) => log_action(action),
            Recorded::Node(_) | Recorded::Rested(_) => {}
            Recorded::NotTaken(action) => {
                tracing::error!("the slow world had no room for {action:?}");
            }
            Recorded::LanTrouble(trouble) => self.lan_trouble(record.at, trouble),
        }
        let noted = self.timeline.note(record);
        for mark in noted.marks {
            tracing::info!(
                target: "duotone::takeover",
                "+{:.1} ms {}: {}", self.timeline.offset_ms(mark.at), mark.what, mark.text
            );
        }
        for change in &noted.complete {
            self.changed(record.at, change);
        }
    }

    /// A change of role is complete.
    fn changed(&mut self, at: Instant, change: &Change) {
        if self.history.add(change) {
            let in_vain = history::in_vain(change);
            self.recorder.incident(at, change.kind, in_vain);
            self.telling.changed(change);
        }
    }

    /// Nothing more is told to hooks and people; what is under way is to be waited for.
    pub fn end_telling(&mut self) -> Vec<JoinHandle<()>> {
        // It would be complete a little later: nobody is there then.
        if let Some(change) = self.timeline.untold().filter(|change| change.ended.is_some()) {
            self.telling.changed(change);
        }
        self.telling.end()
    }

    /// How things stand; every record from before it was noted.
    pub fn snapshot(
        &mut self,
        snapshot: &Snapshot,
        maintenance: Option<&Running>,
        services: &[ServiceStatus],
    ) {
        if let Some(change) = self.timeline.tick(snapshot.at) {
            self.changed(snapshot.at, &change);
        }
        self.recorder.tick(snapshot.at);
        let liveness = snapshot.status.peer;
        if self.liveness != Some(liveness) {
            match (self.liveness, liveness) {
                (None, Liveness::Lost | Liveness::Late) => {}
                (_, Liveness::Alive) => tracing::info!("{} is heard", self.peer_name),
                (Some(_), Liveness::Late) => {
                    tracing::warn!("heartbeats of {} are late", self.peer_name);
                }
                (Some(_), Liveness::Lost) => tracing::warn!("{} is silent", self.peer_name),
            }
            self.liveness = Some(liveness);
        }
        if snapshot.lost.records > self.reported_lost_records {
            let lost = snapshot.lost.records - self.reported_lost_records;
            tracing::warn!("{lost} records did not fit: this log has a gap");
            self.reported_lost_records = snapshot.lost.records;
        }
        self.refusals(snapshot);
        self.systems(snapshot);
        self.began.get_or_insert(snapshot.at);
        self.latest = Some(snapshot.clone());
        self.witness(snapshot.at);
        let (witness_answers, fence_works) =
            (self.witness_answers(snapshot.at), self.fence_works());
        self.telling.see(&View {
            at: snapshot.at,
            status: &snapshot.status,
            change: self.timeline.change(),
            maintenance,
            services,
            witness_answers,
            fence_works,
        });
    }

    /// Whether the witness answers, as far as can be told.
    pub fn witness_answers(&self, now: Instant) -> Option<bool> {
        witness::answers(self.latest.as_ref()?, self.began?, now, &self.timing)
    }

    /// Said when it falls silent, before it is needed, and when it is heard again.
    fn witness(&mut self, now: Instant) {
        match self.witness_answers(now) {
            Some(false) if !self.witness_silent => {
                tracing::warn!("{}", arbiters::witness_silent(self.arbitration));
                self.witness_silent = true;
            }
            Some(true) if self.witness_silent => {
                tracing::info!("the witness answers again");
                self.witness_silent = false;
            }
            Some(_) | None => {}
        }
    }

    /// Whether every device of the fence works, as far as can be told.
    pub fn fence_works(&self) -> Option<bool> {
        self.fence.as_ref().map(fence::works)
    }

    /// What the fence's devices were seen to do: said when one of them begins to fail, before it is
    /// needed, when they work again, and what came of each order.
    pub fn fence(&mut self, mut report: fence::Report) {
        if let Some(snapshot) = &self.latest {
            report.doubt(&snapshot.status);
        }
        let peer = &self.peer_name;
        let failed = |report: &fence::Report| -> Vec<String> {
            let troubled = report.seen.0.iter().filter(|seen| seen.trouble.is_some());
            troubled.map(|seen| seen.device.clone()).collect()
        };
        let (before, now) = (self.fence.as_ref().map_or(Vec::new(), failed), failed(&report));
        if report.ordered {
            tracing::warn!("fence: {peer} was to be powered off and is {}", report.power());
        }
        if report.ordered || now != before {
            report.seen.troubles().for_each(|trouble| tracing::warn!("fence: {trouble}"));
            if !now.is_empty() {
                tracing::warn!("{}", arbiters::fence_broken(self.arbitration));
            } else if !before.is_empty() {
                tracing::info!("the fence works again");
            }
        }
        self.fence = Some(report);
    }

    /// One line for each reason on each link; `status` has the numbers.
    fn refusals(&mut self, snapshot: &Snapshot) {
        for (link, told) in snapshot.links.iter().zip(&mut self.refused) {
            for (reason, _) in link.hearing.refused.iter() {
                if !told.contains(&reason) {
                    tracing::warn!("{}: a datagram was refused: {reason}", link.link);
                    told.push(reason);
                }
            }
        }
    }

    /// Said when it is found, and again when it has been otherwise.
    fn systems(&mut self, snapshot: &Snapshot) {
        let finding = status::other_system(&snapshot.status);
        match &finding {
            Some(finding) if !self.other_system => tracing::error!("database: {finding}"),
            Some(_) | None => {}
        }
        self.other_system = finding.is_some();
    }

    /// A lasting trouble comes with every probe: one line a minute says it.
    fn lan_trouble(&mut self, at: Instant, trouble: &str) {
        let repeated = self.trouble.as_ref().is_some_and(|(last, text)| {
            text == trouble && at.since(*last) < Duration::from_secs(60)
        });
        if !repeated {
            tracing::warn!("LAN: {trouble}");
            self.trouble = Some((at, trouble.to_owned()));
        }
    }

    fn authority(&mut self, authority: Authority, why: Why) {
        if self.said == Some((authority, why)) {
            return;
        }
        match self.said {
            Some((before, _)) if before != authority => {
                tracing::info!("{before} -> {authority}: {why}");
            }
            Some(_) | None => tracing::info!("{authority}: {why}"),
        }
        self.said = Some((authority, why));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Lan { seen: LanSeen::FloatingAnswered { by, .. }, .. } => {
                tracing::debug!("a floating address is answered by a {by:?} host");
            }
            Event::Lan { seen: LanSeen::PeerProbed { .. }, .. } => {
                let wins = if self.me == NodeId::A { "this node" } else { &self.peer_name };
                tracing::debug!("somebody probes for a floating address; {wins} would win");
            }
            Event::AddressesSeen { seen, .. } => tracing::debug!("addresses: {seen:?}"),
            Event::Operator(order) => tracing::warn!("an administrator orders {order:?}"),
            Event::RemoteChecked { grade, .. } => {
                tracing::info!("the active node's services, asked over the LAN: {grade:?}");
            }
            Event::FailbackHours { open } => {
                let word = if *open { "begin" } else { "end" };
                tracing::info!("the hours in which the role may go back by itself {word}");
            }
            Event::StateSaved { saved: None, .. } => {
                tracing::error!("what is on disk is not known: no step that needs it is taken");
                self.telling.alerts.state_lost();
            }
            Event::Tick
            | Event::HeartbeatReceived { .. }
            | Event::Lan { .. }
            | Event::Announced { .. }
            | Event::StateSaved { .. }
            | Event::DatabaseSeen { .. }
            | Event::ServicesSeen { .. }
            | Event::FenceReported { .. }
            | Event::WitnessReplied { .. } => {}
        }
    }
}

fn log_action(action: &Action) {
    match action {
        Action::Database { deed, .. } => tracing::info!("database: {deed:?}"),
        Action::Services { goal, .. } => tracing::info!("services: {goal:?}"),
        Action::SaveState { state, .. } => tracing::debug!("state to disk: {state:?}"),
        Action::ReleaseAddresses { .. } => tracing::info!("addresses: release"),
        Action::PowerOffPeer { .. } => tracing::warn!("fence: power the peer off"),
        Action::SendHeartbeat(_)
        | Action::AskWitness(_)
        | Action::ProbeLan { .. }
        | Action::HoldAddresses { .. }
        | Action::Announce { .. } => {}
    }
}
