//! A snapshot for people and for the daemon's records; no decision reads it.

use super::event::{DatabaseSeen, DatabaseState, Presence, ServicesSeen};
use super::fence::FenceSight;
use super::health::{Grade, Health};
use super::heartbeat::{GroupReport, Heartbeat, Stance};
use super::identity::Term;
use super::lead::{Authority, Why};
use super::moves::Hindrance;
use super::node::Node;
use super::peer::Liveness;
use super::time::{Duration, Instant};
use super::witness::Reply;

use alloc::vec::Vec;

/// What a node does and what it goes by.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// What it may do about the role.
    pub authority: Authority,
    /// Why.
    pub why: Why,
    /// What its heartbeats say.
    pub stance: Stance,
    /// Since when it has this authority.
    pub since: Instant,
    /// What is on its disk.
    pub durable: super::durable::Durable,
    /// The term that it claims or serves under.
    pub claim: Option<Term>,
    /// The peer's silence, in the words of people.
    pub peer: Liveness,
    /// The peer echoes this node's heartbeats.
    pub two_way: bool,
    /// When the peer was last heard.
    pub last_heard: Option<Instant>,
    /// The newest heartbeat of the peer.
    pub peer_says: Option<Heartbeat>,
    /// When the lease ends; `None` when there is none (or it has no end, see `peer_left`).
    pub lease_ends: Option<Instant>,
    /// The lease has no end: the peer has left.
    pub peer_left: bool,
    /// When the certificate that it holds ends.
    pub certificate_ends: Option<Instant>,
    /// It certifies the standby.
    pub certifying: bool,
    /// What keeps it from handing its role over now.
    pub hindrance: Option<Hindrance>,
    /// It acknowledges, or is about to acknowledge, without the standby.
    pub lone: bool,
    /// It could promote what it has if the peer died now.
    pub may_take: bool,
    /// The arbiter's answer now: a reference answered lately.
    pub on_the_lan: bool,
    /// Probes cannot leave the LAN interface.
    pub deaf: bool,
    /// Somebody answered for a floating address lately.
    pub answered: Option<super::event::Answerer>,
    /// What the witness says; `None` when none is configured.
    pub witness: Option<WitnessSight>,
    /// What the fence says; `None` when none is configured.
    pub fence: Option<FenceSight>,
    /// The database.
    pub database: DatabaseSeen,
    /// The addresses, per group.
    pub presence: Vec<Presence>,
    /// The services, per group.
    pub services: Vec<Option<ServicesSeen>>,
    /// Role and health, per group.
    pub groups: Vec<GroupReport>,
}

/// The witness, as a node sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WitnessSight {
    /// Its newest answer, and when the question to it left.
    pub heard: Option<(Instant, Reply)>,
    /// When this node's grant ends.
    pub grant_ends: Option<Instant>,
}

impl Node {
    /// What this node does and what it goes by, at `now`.
    pub fn status(&self, now: Instant) -> Status {
        let timing = &self.setup.timing;
        let recent = |at: Instant| now.since(at) < Duration::from_secs(5);
        Status {
            authority: self.authority,
            why: self.why,
            stance: self.stance(),
            since: self.since,
            durable: self.durable,
            claim: self.claim.map(|claim| claim.term),
            peer: self.peer.liveness(now, timing),
            two_way: self.peer.two_way(now, timing),
            last_heard: self.peer.last_heard(),
            peer_says: self.peer.last.clone(),
            lease_ends: self.lease.ends().filter(|ends| *ends > now),
            peer_left: self.lease.unlimited(),
            certificate_ends: self.certificate.ends().filter(|ends| *ends > now),
            certifying: matches!(self.authority, Authority::Active | Authority::Giving)
                && self.issuer.certifying(),
            hindrance: self.hindrance(now),
            lone: self.authority == Authority::Active && self.issuer.lone(),
            may_take: self.may_take(now),
            on_the_lan: self
                .groups
                .iter()
                .all(|group| group.lan.on_the_lan(now, timing.long_validity)),
            deaf: self.groups.iter().any(|group| group.lan.deaf),
            answered: self
                .groups
                .iter()
                .find_map(|group| group.lan.answered.filter(|(at, _)| recent(*at)))
                .map(|(_, by)| by),
            witness: self.setup.arbitration.witness.then(|| WitnessSight {
                heard: self.grant.heard().copied(),
                grant_ends: self.grant.ends().filter(|ends| *ends > now),
            }),
            fence: self.setup.arbitration.fence.then(|| self.fence.sight()),
            database: self.database.clone(),
            presence: self.groups.iter().map(|group| group.presence).collect(),
            services: self.groups.iter().map(|group| group.services).collect(),
            groups: (0..self.groups.len()).map(|index| self.report(now, index)).collect(),
        }
    }

    /// What this node does and why, for a record that notes only changes.
    pub fn authority(&self) -> (Authority, Why) {
        (self.authority, self.why)
    }

    /// The authorities entered in the last turn, each with what led to it: a turn may pass through
    /// several, and the last one's reason does not tell why the first was left.
    pub fn path(&self) -> &[(Authority, Why)] {
        &self.path
    }

    /// What a turn decided that began with `before`: the authorities that it entered, and the reason in
    /// which it ended.
    pub fn decided(&self, before: (Authority, Why)) -> impl Iterator<Item = (Authority, Why)> + '_ {
        let after = self.authority();
        let settled = (after != before && self.path.last() != Some(&after)).then_some(after);
        self.path.iter().copied().chain(settled)
    }

    pub(super) fn health(&self, now: Instant, index: usize) -> Health {
        let group = &self.groups[index];
        let critical_down = self.setup.timing.critical_down;
        let lasts = |since: Option<Instant>, span: Duration| {
            since.is_some_and(|since| now.since(since) >= span)
        };
        let active = self.authority == Authority::Active;
        let database = match (self.setup.database, self.database.state) {
            (false, _) => Grade::Good,
            (true, DatabaseState::Writable | DatabaseState::Standby) => Grade::Good,
            // It is started again where it is; only beyond that it has failed.
            (true, _) if active && lasts(self.moves.down_since, critical_down) => Grade::Failed,
            (true, DatabaseState::Stopped) if !active => Grade::Failed,
            (true, DatabaseState::Stopped | DatabaseState::Unknown | DatabaseState::Starting) => {
                Grade::Unknown
            }
        };
        let mute_for = self.setup.timing.calm_period() * 3;
        let network = if group.lan.deaf
            || lasts(group.references_mute_since, mute_for)
            || lasts(self.moves.bare_since, self.setup.timing.lost_after * 2)
        {
            Grade::Failed
        } else {
            Grade::Good
        };
        let gave_up =
            self.moves.services_gave_up.is_some_and(|at| now.since(at) < self.setup.policy.within);
        // A standby that has lost the LAN finds that out within the pause between two questions.
        let mistaken = self.setup.timing.calm_period() * 2;
        let found_failed = lasts(group.found_failed_since, critical_down.max(mistaken));
        Health {
            database,
            network,
            services: match (group.services, group.services_failed_since) {
                // They failed here beyond repair: the peer's failing ones are no worse.
                (_, _) if gave_up => Grade::Failed,
                // They answer here, and nobody on the LAN hears them.
                (_, _) if found_failed => Grade::Failed,
                // A short failure is the restart ladder's business.
                (Some(_), Some(since)) if now.since(since) < critical_down => Grade::Unknown,
                (Some(seen), _) => seen.critical,
                (None, _) => Grade::Unknown,
            },
        }
    }
}
