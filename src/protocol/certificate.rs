//! The in-sync certificate: how the standby holds it, and how the active node issues it, stops, and
//! goes lone (rules 15 to 19).

use serde::{Deserialize, Serialize};

use super::event::{DatabaseSeen, DatabaseState};
use super::heartbeat::{Heartbeat, Stance};
use super::sent::Sent;
use super::time::{Duration, Instant};
use super::timing::Timing;

/// The standby's side: "you are a synchronous, caught-up replica", as a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Certificate {
    until: Option<Instant>,
}

impl Certificate {
    /// It may be used now.
    pub fn usable(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it ends.
    pub fn ends(&self) -> Option<Instant> {
        self.until
    }

    /// This node has handed its role over (rule 26).
    pub fn grant(&mut self, now: Instant, timing: &Timing) {
        self.until = self.until.max(Some(now + timing.certificate_usable()));
    }

    /// Takes a heartbeat of the peer (rules 15 and 26).
    pub fn hear(
        &mut self,
        heartbeat: &Heartbeat,
        echoed: Option<Sent>,
        holds_by: HoldsBy,
        timing: &Timing,
    ) {
        let says_so = heartbeat.certifying && !heartbeat.excludes_you;
        let renewed = match (heartbeat.stance, holds_by) {
            (_, HoldsBy::Nothing) => false,
            (Stance::Active | Stance::Handing, HoldsBy::StandingBy | HoldsBy::CleanEnd) => says_so,
            (
                Stance::Joining
                | Stance::Standby
                | Stance::Held
                | Stance::Asking
                | Stance::Taking
                | Stance::Promoted,
                holds_by,
            ) => holds_by == HoldsBy::CleanEnd,
        };
        if !renewed {
            self.until = None;
        } else if let Some(sent) = echoed {
            self.until = self.until.max(Some(sent.at + timing.certificate_usable()));
        }
    }

    /// A wake, a restart, the end of an attempt.
    pub fn forget(&mut self) {
        self.until = None;
    }
}

/// By what a node that is not active has everything that the pair acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldsBy {
    /// Nothing: it may lack rows, or has promised to stay away.
    Nothing,
    /// It follows the active peer, which says so.
    StandingBy,
    /// It was active, and has ended in order: nobody who does not serve yet can have more.
    CleanEnd,
}

/// What the issuer sees at one turn of an active node.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The lease holds and the peer is a standby.
    pub standby: bool,
    /// The database, as last seen.
    pub database: &'a DatabaseSeen,
    /// `peer excluded` is on the disk.
    pub excluded: bool,
    /// The peer is heard with a higher standing: who acknowledges alone now may do so in vain.
    pub contested: bool,
    /// Whether commits ever wait (not under `async`).
    pub waits: bool,
    /// What the arbiter has said to acknowledging alone.
    pub arbiter: ArbiterWord,
}

/// Whether the arbiter lets this node acknowledge alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArbiterWord {
    /// It need not be asked: certificates run out by themselves (rule 17 a and b).
    None,
    /// The witness has to be told first: it might name the peer later (C5).
    Awaited,
    /// The peer has to be off first, or to say itself that it holds none: a certificate that only
    /// time has ended might be used by a host whose clock stood still (rules 10 and 17 b, C13).
    OffAwaited,
    /// The peer can use no certificate any more (rule 17 c and d).
    PeerExcluded,
}

/// The active node's side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issuer {
    /// Certifying heartbeats leave.
    certifying: bool,
    /// No certificate of this node can be in use after this; never before the session's start plus
    /// a certificate's life, since an earlier session may have certified.
    outstanding_until: Instant,
    /// The first sequence after the last certifying one; an echo of it with "no certificate" ends
    /// the wait (rule 17 b).
    withdrawn_at: Option<u64>,
    /// The peer confirmed that it holds none.
    confirmed_none: bool,
    /// This node acknowledges alone, or is about to.
    lone: bool,
    /// It would, and waits for what must come before.
    wants_lone: bool,
    /// The end of the log when synchronous mode was first seen on (rule 16).
    sync_began_at: Option<u64>,
    /// Replication's progress: the flush position and since when it stands still short of the end.
    progress: Option<(u64, Instant)>,
    healthy_since: Option<Instant>,
    /// The role was handed over by a peer that has everything, and nothing that commits wait for
    /// was acknowledged since without it (rule 26).
    inherited: bool,
}

impl Issuer {
    /// Of a session that began at `start`. `excluded`: the disk says that the peer was excluded,
    /// which is cleared before certifying, so that no certificate can be outstanding.
    pub fn new(start: Instant, excluded: bool, timing: &Timing) -> Self {
        let outstanding_until = if excluded { start } else { start + timing.certificate };
        Issuer {
            certifying: false,
            outstanding_until,
            withdrawn_at: None,
            confirmed_none: false,
            lone: false,
            wants_lone: false,
            sync_began_at: None,
            progress: None,
            healthy_since: None,
            inherited: false,
        }
    }

    /// The next heartbeat certifies.
    pub fn certifying(&self) -> bool {
        self.certifying
    }

    /// Commits do not, or should not, wait for the standby.
    pub fn lone(&self) -> bool {
        self.lone
    }

    /// It should acknowledge alone, and waits for what must come before (rule 17).
    pub fn wants_lone(&self) -> bool {
        self.wants_lone
    }

    /// From when on this node may acknowledge alone, if nothing shortens the wait (rule 17 a).
    pub fn outstanding_until(&self) -> Instant {
        self.outstanding_until
    }

    /// A heartbeat leaves.
    pub fn sent(&mut self, sequence: u64, at: Instant, certified: bool, timing: &Timing) {
        if certified {
            self.outstanding_until = self.outstanding_until.max(at + timing.certificate);
            self.withdrawn_at = None;
            self.confirmed_none = false;
        } else if self.withdrawn_at.is_none() {
            self.withdrawn_at = Some(sequence);
        }
    }

    /// Takes a heartbeat of the peer that arrived at `at`: does it confirm that it holds no
    /// certificate (rule 17 b)? While this node does not serve, the peer may hold one by its own
    /// clean end (rule 26), whatever it said before: from that end on, or, as far as this node can
    /// tell, from when its promise has run out.
    pub fn hear(
        &mut self,
        heartbeat: &Heartbeat,
        at: Instant,
        echo_is_mine: bool,
        serves: bool,
        timing: &Timing,
    ) {
        if !serves && (heartbeat.certified || heartbeat.lets_go()) {
            let from = if heartbeat.certified { at } else { at + timing.lost_after };
            self.outstanding_until = self.outstanding_until.max(from + timing.certificate);
            (self.confirmed_none, self.withdrawn_at) = (false, None);
        }
        let Some(echo) = heartbeat.echo.filter(|_| echo_is_mine) else { return };
        if !heartbeat.certified && self.withdrawn_at.is_some_and(|first| echo.sequence >= first) {
            self.confirmed_none = true;
        }
    }

    /// The role begins or ends: replication must be seen afresh. What was certified stays so.
    pub fn restart(&mut self) {
        self.certifying = false;
        (self.lone, self.wants_lone) = (false, false);
        self.sync_began_at = None;
        self.progress = None;
        self.healthy_since = None;
        self.inherited = false;
    }

    /// The role was handed over: the giver has everything until this node acknowledges alone, and
    /// is certified from the first active heartbeat (rule 26, C22).
    pub fn inherit(&mut self) {
        self.inherited = true;
    }

    /// One turn of an active node.
    pub fn turn(&mut self, now: Instant, sight: Sight<'_>, timing: &Timing) {
        if !sight.waits {
            self.lone = true;
            return;
        }
        if self.certifying && sight.standby && sight.database.state != DatabaseState::Writable {
            // What is not writable acknowledges nothing that the standby lacks.
            self.inherited = true;
            (self.healthy_since, self.progress) = (None, None);
            return;
        }
        let healthy = sight.standby && self.replicates(now, sight.database, timing);
        self.healthy_since = if healthy { self.healthy_since.or(Some(now)) } else { None };
        if self.lone {
            // Flapping replication would make every commit wait for a replica that hangs again.
            let steady = self.healthy_since.is_some_and(|since| {
                now.since(since) >= Self::STEADY_FOR && near_end(sight.database)
            });
            if steady {
                self.lone = false;
                self.sync_began_at = None;
                self.progress = None;
            }
            return;
        }
        if sight.database.synchronous == Some(true) {
            self.sync_began_at =
                self.sync_began_at.or(sight.database.log.as_ref().map(|log| log.position));
        } else {
            self.sync_began_at = None;
        }
        let caught_up = match (self.sync_began_at, sight.database.replica) {
            (Some(end), Some(replica)) => replica.synchronous && replica.flush >= end,
            (None, _) | (_, None) => false,
        };
        self.inherited &= !caught_up && sight.standby && !self.stalled(now, timing);
        self.certifying = !sight.excluded
            && ((healthy && caught_up)
                || (self.inherited && sight.database.synchronous == Some(true)));
        let broken = !sight.standby || (!healthy && self.stalled(now, timing));
        self.wants_lone = broken && !sight.contested && !self.certifying;
        let may = match sight.arbiter {
            ArbiterWord::None => self.none_outstanding(now),
            ArbiterWord::Awaited => false,
            ArbiterWord::OffAwaited => self.confirmed_none,
            ArbiterWord::PeerExcluded => true,
        };
        if self.wants_lone && may {
            (self.lone, self.wants_lone) = (true, false);
        }
    }

    /// Caught up and only the durable mark forbids certifying: it is to be cleared. Not by who is
    /// about to acknowledge alone: what it clears now it would have to set again.
    pub fn may_clear_exclusion(&self, database: &DatabaseSeen) -> bool {
        !self.lone
            && !self.wants_lone
            && match (self.sync_began_at, database.replica) {
                (Some(end), Some(replica)) => replica.synchronous && replica.flush >= end,
                (None, _) | (_, None) => false,
            }
    }

    /// A replica must have followed for this long before commits wait for it again.
    const STEADY_FOR: Duration = Duration::from_millis(500);

    fn none_outstanding(&self, now: Instant) -> bool {
        now >= self.outstanding_until || self.confirmed_none
    }

    /// Notes progress; replication works when the replica is connected and moves or is at the end.
    fn replicates(&mut self, now: Instant, database: &DatabaseSeen, timing: &Timing) -> bool {
        if database.state != DatabaseState::Writable {
            return false;
        }
        let end = database.log.as_ref().map(|log| log.position);
        let flush = database.replica.map(|replica| replica.flush);
        let (Some(end), Some(flush)) = (end, flush) else {
            self.progress = self.progress.or(Some((0, now)));
            return false;
        };
        match self.progress {
            Some((known, _)) if flush <= known && flush < end => {}
            Some(_) | None => self.progress = Some((flush, now)),
        }
        !self.stalled(now, timing)
    }

    fn stalled(&self, now: Instant, timing: &Timing) -> bool {
        self.progress.is_some_and(|(_, since)| now.since(since) >= timing.replication_stall)
    }
}

fn near_end(database: &DatabaseSeen) -> bool {
    const NEAR: u64 = 16 << 20;
    match (&database.log, database.replica) {
        (Some(log), Some(replica)) => replica.flush + NEAR >= log.position,
        (None, _) | (_, None) => false,
    }
}
