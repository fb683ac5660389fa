//! One node's judgement: events are recorded, a tick judges, places, plans and acts.
//!
//! Owns everything that a decision looks at; `evidence.rs` reads it into a decision, `turn.rs` turns
//! the decision into actions. Nothing here knows a clock: time comes with each event.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::action::{Action, DatabaseDeed};
use super::arbiter::{Arbitration, Lan};
use super::certificate::{Certificate, HoldsBy, Issuer};
use super::durable::Durable;
use super::event::{
    DatabaseSeen, DatabaseState, Event, LanSeen, Order, Presence, ServicesGoal, ServicesSeen,
    Ticket,
};
use super::fence::Fence;
use super::grant::Grant;
use super::health::Grade;
use super::heartbeat::{Heartbeat, Stance};
use super::identity::{NodeId, Session, Term};
use super::lead::{Authority, Basis, Why};
use super::lease::Lease;
use super::moves::{Moves, Policy};
use super::peer::Peer;
use super::sent::SentLog;
use super::time::{Duration, Instant};
use super::timing::Timing;
use super::witness::Reply;

/// What a node is given at its start; nothing else is learnt from outside but events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Which node this is.
    pub me: NodeId,
    /// This life's random number.
    pub session: Session,
    /// All times.
    pub timing: Timing,
    /// What a commit waits for.
    pub durability: Durability,
    /// There is a database.
    pub database: bool,
    /// A log that has left the peer's can be brought back by the database adapter (rewind, copy).
    pub rejoin: bool,
    /// How many groups there are: 1 to `GroupId::MAX`.
    pub groups: usize,
    /// Between two refreshing announcements; `None` for none.
    pub refresh: Option<Duration>,
    /// What the disk remembers: `None` when the state file is damaged (the node is held).
    pub durable: Option<Durable>,
    /// Software version, for the heartbeat.
    pub software: [u16; 3],
    /// Configuration hash, for the heartbeat.
    pub config_hash: u64,
    /// The LAN interface is down while this node stands by: its references cannot be asked then.
    pub dark_standby: bool,
    /// Hosts of the LAN are known that always answer: without any this node cannot tell whether the
    /// LAN would miss it. `lan` needs them.
    pub references: bool,
    /// Which moves need no order.
    pub policy: Policy,
    /// Whose word a takeover needs.
    pub arbitration: Arbitration,
}

/// What a commit waits for, and what a node may do alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Durability {
    /// Never promote a replica that may lack rows.
    Strict,
    /// Wait for the standby; serve with stated loss rather than not at all.
    Available,
    /// Never wait.
    Async,
}

/// One node's judgement. Pure: the same events at the same times give the same actions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    pub(super) setup: Setup,
    pub(super) durable: Durable,
    pub(super) damaged: bool,

    pub(super) authority: Authority,
    pub(super) why: Why,
    pub(super) since: Instant,
    /// The authorities entered in the last turn, with what led to each.
    pub(super) path: Vec<(Authority, Why)>,
    pub(super) started: Instant,
    pub(super) claim: Option<Claim>,
    /// The last attempt failed: not again before this.
    pub(super) retry_at: Instant,

    pub(super) peer: Peer,
    pub(super) sent: SentLog,
    pub(super) lease: Lease,
    pub(super) certificate: Certificate,
    pub(super) issuer: Issuer,
    pub(super) moves: Moves,
    pub(super) grant: Grant,
    #[serde(default = "Fence::unasked")]
    pub(super) fence: Fence,

    pub(super) database: DatabaseSeen,
    pub(super) groups: Vec<Group>,

    pub(super) orders: Orders,
    pub(super) pending: Pending,
    pub(super) clock: TurnClock,
}

/// The attempt, or the role, under one term.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The claimed term.
    pub term: Term,
    /// Whose word it goes by.
    pub basis: Basis,
    /// The promotion was ordered: from here on the branch may be this node's own.
    pub promoting: bool,
    /// The promotion was seen not to succeed.
    pub failed: bool,
    /// A lone term of the peer's that this log contains (C21).
    pub adopted_lone: Term,
    /// When the addresses were first held.
    pub held_at: Option<Instant>,
    /// What the peer says to heartbeats before this one was said before the offer was withdrawn.
    pub withdrawn_from: u64,
}

/// One group's facts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    pub presence: Presence,
    /// When the addresses were last known to be held, if they are not now.
    pub held_until: Instant,
    pub lan: Lan,
    /// Since when questions to the references have gone unanswered.
    pub references_mute_since: Option<Instant>,
    pub services: Option<ServicesSeen>,
    pub services_told: Option<ServicesGoal>,
    pub services_failed_since: Option<Instant>,
    /// What this node's questions to the peer's services say, while it stands by.
    #[serde(default)]
    pub remote: Grade,
    /// Since when the standby has found the services of this active node failed.
    #[serde(default)]
    pub found_failed_since: Option<Instant>,
    pub announced: u32,
    pub announce_due: Instant,
    pub renew_due: Instant,
    pub address_retry: Instant,
    pub probe_due: Instant,
    pub probed_at: Instant,
}

/// What administrators have ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Orders {
    pub leave: bool,
    pub take_anyway: bool,
    /// The damaged state file is to be written anew.
    pub recover: bool,
    /// It is not the hour for the role to go back by itself.
    #[serde(default)]
    pub failback_barred: bool,
    /// Heartbeats from this sequence on carry the withdrawal of an earlier `leave`.
    pub returned_from: u64,
}

/// Actions whose ending has not been seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pending {
    pub next_ticket: u64,
    pub save: Option<(Ticket, Instant)>,
    pub save_retry: Instant,
    pub database: Option<(Ticket, DatabaseDeed, Instant)>,
    pub database_retry: Instant,
}

/// When turns happen, and when they should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct TurnClock {
    pub last: Instant,
    pub due: Instant,
    pub heartbeat_due: Instant,
    pub said: Stance,
}

impl Node {
    /// A node that has just started, at `now`, and knows nothing but its disk.
    pub fn new(setup: Setup, now: Instant) -> Node {
        let durable = setup.durable.unwrap_or(Durable::FRESH);
        let group = Group {
            presence: Presence::Unknown,
            held_until: Instant::ZERO,
            lan: Lan::default(),
            references_mute_since: None,
            services: None,
            services_told: None,
            services_failed_since: None,
            remote: Grade::Unknown,
            found_failed_since: None,
            announced: 0,
            announce_due: now,
            renew_due: now,
            address_retry: now,
            probe_due: now,
            probed_at: Instant::ZERO,
        };
        Node {
            damaged: setup.durable.is_none(),
            durable,
            authority: Authority::Joining,
            why: Why::Started,
            since: now,
            path: Vec::new(),
            started: now,
            claim: None,
            retry_at: now,
            peer: Peer::new(now),
            sent: SentLog::new(setup.session),
            lease: Lease::default(),
            certificate: Certificate::default(),
            issuer: Issuer::new(now, durable.peer_excluded, &setup.timing),
            moves: Moves::new(now),
            grant: Grant::new(now),
            fence: Fence::new(now),
            database: unseen(now),
            groups: vec![group; setup.groups],
            orders: Orders { returned_from: 1, ..Orders::default() },
            pending: Pending { save_retry: now, database_retry: now, ..Pending::default() },
            clock: TurnClock { last: now, due: now, heartbeat_due: now, said: Stance::Joining },
            setup,
        }
    }

    /// What it was given at its start, and when that was.
    pub fn began(&self) -> (&Setup, Instant) {
        (&self.setup, self.started)
    }

    /// Takes one event; returns what must now be done, in this order. Only `Tick` judges.
    #[must_use]
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => return self.turn(now),
            Event::HeartbeatReceived { heartbeat, at } => self.hear(heartbeat, at.min(now)),
            Event::Lan { group, seen } => {
                if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
                    if let LanSeen::ReferenceAnswered { .. } = seen {
                        group.references_mute_since = None;
                    }
                    group.lan.see(seen);
                }
            }
            Event::AddressesSeen { group, seen } => {
                if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
                    let (before, after) =
                        (group.presence == Presence::Held, seen == Presence::Held);
                    if after && !before {
                        (group.announced, group.announce_due) = (0, now);
                    }
                    if before && !after {
                        // It may have gone any time since this node last looked.
                        group.held_until = self.clock.last;
                    }
                    group.presence = seen;
                }
            }
            Event::Announced { group, sent } => {
                if let Some(group) = self.groups.get_mut(usize::from(group.0))
                    && sent
                {
                    group.announced += 1;
                }
            }
            Event::StateSaved { ticket, saved } => self.saved(now, ticket, saved),
            Event::DatabaseSeen { ticket, seen } => self.database_seen(now, ticket, seen),
            Event::ServicesSeen { group, seen } => {
                if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
                    let failed = seen.critical == Grade::Failed;
                    let since = group.services_failed_since.unwrap_or(now);
                    group.services_failed_since = failed.then_some(since);
                    group.services = Some(seen);
                }
            }
            Event::RemoteChecked { group, grade } => {
                if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
                    group.remote = grade;
                }
            }
            Event::FailbackHours { open } => self.orders.failback_barred = !open,
            Event::WitnessReplied { reply } => self.witness_replied(reply),
            Event::FenceReported { ticket, power } => {
                self.fence.report(now, ticket, power, &self.setup.timing);
            }
            Event::Operator(order) => self.ordered(now, order),
        }
        Vec::new()
    }

    fn hear(&mut self, heartbeat: Heartbeat, at: Instant) {
        if heartbeat.node != self.setup.me.peer() {
            return;
        }
        let echo = heartbeat.echo;
        let echoed = echo.and_then(|echo| self.sent.echoed(&echo));
        let standing_by = self.authority == Authority::Standby
            && self.database.state == DatabaseState::Standby
            && !self.orders.leave
            && self.durable.leaving.is_none();
        let same_life = self.peer.is_in(heartbeat.session);
        if !self.peer.hear(heartbeat, at, echoed) {
            return;
        }
        self.fence.hear(at, same_life, echoed.is_some(), &self.setup.timing);
        let Some(heartbeat) = self.peer.last.as_ref() else { return };
        self.lease.hear(heartbeat, at, echoed, &self.setup.timing);
        let holds_by = match (self.moves.handed_over, standing_by) {
            (true, _) if self.certificate.usable(at) => HoldsBy::CleanEnd,
            (_, true) => HoldsBy::StandingBy,
            (_, false) => HoldsBy::Nothing,
        };
        self.certificate.hear(heartbeat, echoed, holds_by, &self.setup.timing);
        let serves = matches!(self.authority, Authority::Active | Authority::Giving);
        self.issuer.hear(heartbeat, at, echoed.is_some(), serves, &self.setup.timing);
    }

    fn witness_replied(&mut self, reply: Reply) {
        if reply.node == self.setup.me && reply.session == self.setup.session {
            self.grant.hear(reply, &self.setup.timing);
            if self.grant.excludes(self.setup.me) {
                // Rule 15: "you were excluded".
                self.certificate.forget();
            }
        }
    }

    fn saved(&mut self, now: Instant, ticket: Ticket, saved: Option<Durable>) {
        if self.pending.save.is_some_and(|(pending, _)| pending == ticket) {
            self.pending.save = None;
            match saved {
                Some(durable) => {
                    self.durable = durable;
                    (self.damaged, self.orders.recover) = (false, false);
                }
                None => self.pending.save_retry = now + self.setup.timing.interval * 4,
            }
        }
    }

    fn database_seen(&mut self, now: Instant, ticket: Option<Ticket>, seen: DatabaseSeen) {
        if let (Some(ticket), Some((pending, deed, _))) = (ticket, self.pending.database)
            && pending == ticket
        {
            self.pending.database = None;
            if deed == DatabaseDeed::Checkpoint {
                self.moves.checkpointed = true;
            } else if !achieved(deed, &seen) {
                self.pending.database_retry = now + self.setup.timing.interval * 4;
                if deed == DatabaseDeed::Promote {
                    self.claim = self.claim.map(|claim| Claim { failed: true, ..claim });
                }
            }
        }
        if seen.at >= self.database.at {
            self.moves.database_seen(now, self.authority, seen.state);
            self.database = seen;
        }
    }

    fn ordered(&mut self, now: Instant, order: Order) {
        match order {
            // It has the role; an order is not kept for later.
            Order::TakeAnyway
                if matches!(self.authority, Authority::Active | Authority::Giving) => {}
            Order::TakeAnyway => self.orders.take_anyway = true,
            Order::Leave => self.orders.leave = true,
            Order::Return => {
                self.orders.leave = false;
                self.orders.returned_from = self.sent.last_sequence() + 1;
            }
            Order::Switchover if self.authority == Authority::Active => {
                self.moves.order(now, &self.setup.timing);
            }
            // It has nothing to hand over; an order is not kept for later.
            Order::Switchover => {}
            Order::Recover => self.orders.recover = self.damaged,
        }
    }

    /// What this node does, as its heartbeats say it: nothing that is not on its disk (P3).
    pub fn stance(&self) -> Stance {
        match (self.authority, self.claim) {
            (Authority::Joining, _) => Stance::Joining,
            (Authority::Held, _) => Stance::Held,
            (Authority::Standby, _) => Stance::Standby,
            (Authority::Asking, _) => Stance::Asking,
            (Authority::Active, _) => Stance::Active,
            (Authority::Giving, _) if self.moves.handed.is_some() => Stance::Handing,
            (Authority::Giving, _) => Stance::Active,
            (Authority::Taking, Some(claim)) if self.durable.term == claim.term => {
                if claim.promoting { Stance::Promoted } else { Stance::Taking }
            }
            (Authority::Taking, Some(_) | None) => Stance::Asking,
        }
    }
}

fn unseen(at: Instant) -> DatabaseSeen {
    DatabaseSeen {
        at,
        state: DatabaseState::Unknown,
        synchronous: None,
        log: None,
        streaming: false,
        diverged: false,
        replica: None,
        system_id: None,
    }
}

fn achieved(deed: DatabaseDeed, seen: &DatabaseSeen) -> bool {
    match deed {
        DatabaseDeed::StartAsStandby => seen.state == DatabaseState::Standby,
        DatabaseDeed::Follow | DatabaseDeed::Rejoin { .. } => seen.streaming,
        DatabaseDeed::Promote | DatabaseDeed::StartInPlace => seen.state == DatabaseState::Writable,
        DatabaseDeed::StopNow | DatabaseDeed::StopCleanly => super::plan::not_writable(seen.state),
        DatabaseDeed::SetSynchronous(on) => seen.synchronous == Some(on),
        DatabaseDeed::Checkpoint => true,
    }
}
