//! What should be: on the disk, of the database's waiting, of following the peer.

use super::durable::Durable;
use super::event::DatabaseState;
use super::heartbeat::{Heartbeat, Stance};
use super::lead::{Authority, Comparison};
use super::log::Branches;
use super::node::{Claim, Durability, Node};
use super::plan::Follow;
use super::time::Instant;

impl Node {
    /// What should be on the disk.
    pub(super) fn desired(&self, now: Instant) -> Durable {
        let mut desired = self.durable;
        if self.orders.recover {
            return self.desire_of_recovery(desired);
        }
        match (self.authority, self.claim) {
            (Authority::Taking | Authority::Active, Some(claim)) => {
                self.desire_of_claim(claim, &mut desired);
            }
            (Authority::Taking | Authority::Active, None) => {}
            (Authority::Giving, _) if self.moves.handed.is_some() => {
                // The peer may hold newer rows from here on (rule 18).
                (desired.active, desired.peer_excluded) = (false, false);
            }
            (Authority::Giving, _) => desired.active = true,
            (Authority::Joining | Authority::Held | Authority::Standby | Authority::Asking, _) => {
                self.desire_of_waiting(now, &mut desired)
            }
        }
        desired
    }

    /// Nobody knows what the disk said: the log may hold anything, and is brought back, unless the
    /// peer's is no better. Then it is served under names of its own: what the peer's branches were
    /// called may be forgotten there too, and equal numbers prove nothing.
    fn desire_of_recovery(&self, mut desired: Durable) -> Durable {
        let peer = self.peer.last.as_ref().and_then(|peer| peer.log.as_ref());
        match self.log().filter(|_| peer.is_some_and(|log| log.unfinished)) {
            Some(log) => {
                desired.term = self.next_term();
                let oldest = log.forks.first().map_or(log.timeline, |fork| fork.timeline);
                desired.branches = log
                    .segments()
                    .filter(|segment| segment.timeline > oldest)
                    .fold(Branches::NONE, |names, segment| {
                        names.with(segment.timeline, desired.term)
                    });
            }
            None => desired.copy_unfinished = self.setup.database,
        }
        desired
    }

    fn desire_of_claim(&self, claim: Claim, desired: &mut Durable) {
        desired.term = match self.authority {
            Authority::Active => claim.term.max(self.raised_term()),
            _ => claim.term,
        };
        desired.active = true;
        desired.leaving = None;
        desired.lone = desired.lone.max(claim.adopted_lone);
        if let (Some(log), false) = (self.log(), claim.promoting) {
            // Named before it begins: a crash right after the promotion must not leave a branch
            // without a name, which any branch of that number would be taken for.
            desired.branches = desired.branches.with(log.timeline + 1, claim.term);
        }
        if !self.setup.database {
            if self.durable.term == claim.term {
                desired.served = claim.term;
            }
        } else if let (DatabaseState::Writable, Some(log), true) =
            (self.database.state, &self.database.log, claim.promoting)
            && desired.served != claim.term
        {
            desired.served = claim.term;
            desired.copy_unfinished = false;
            desired.branches = desired.branches.with(log.timeline, claim.term);
        }
        if self.authority != Authority::Active || desired.served != claim.term {
            return;
        }
        if self.issuer.lone() {
            desired.peer_excluded = true;
            desired.lone = desired.served;
        } else if self.issuer.may_clear_exclusion(&self.database)
            && !self.grant.may_exclude_peer(self.setup.me)
        {
            desired.peer_excluded = false;
        }
    }

    fn desire_of_waiting(&self, now: Instant, desired: &mut Durable) {
        if !self.prepared() {
            return;
        }
        desired.active = false;
        if self.orders.leave {
            desired.leaving = self.peer.last.as_ref().map(|peer| peer.session);
        } else if self.return_confirmed() {
            desired.leaving = None;
        }
        let peer = self.heard(now);
        let serving = peer.filter(|peer| peer.stance == Stance::Active);
        let loses = self.authority == Authority::Joining
            && peer.is_some()
            && self.comparison(now) == Comparison::Lose;
        if loses || (self.authority == Authority::Standby && serving.is_some()) {
            // The peer may hold newer rows from here on (rule 18).
            desired.peer_excluded = false;
        }
        let Some(peer) = serving.filter(|_| self.authority == Authority::Standby) else { return };
        if let Follow::ByRejoining { .. } = self.follow(now) {
            desired.copy_unfinished = true;
        }
        if self.follows_branch_of(peer) {
            desired.term = desired.term.max(peer.term);
            desired.served = peer.served;
            desired.lone = peer.lone;
            desired.copy_unfinished = false;
            if let Some(log) = &peer.log {
                desired.branches = Branches::of(log);
            }
        }
    }

    /// This node has replayed the branch that the peer serves (rule 13).
    fn follows_branch_of(&self, peer: &Heartbeat) -> bool {
        if !self.setup.database {
            return true;
        }
        match (self.log(), &peer.log) {
            (Some(mine), Some(theirs)) => {
                self.database.streaming && mine.timeline == theirs.timeline
            }
            (Some(_) | None, _) => false,
        }
    }

    /// The peer has heard that this node no longer leaves, or is not the one that was told (C27).
    fn return_confirmed(&self) -> bool {
        let (Some(told), Some(peer)) = (self.durable.leaving, &self.peer.last) else {
            return false;
        };
        let echoes_return = peer.echo.is_some_and(|echo| {
            self.sent.echoed(&echo).is_some() && echo.sequence >= self.orders.returned_from
        });
        peer.session != told || echoes_return || self.fence.off()
    }

    pub(super) fn follow(&self, now: Instant) -> Follow {
        // What is not known of its log cannot be followed, and says nothing against it.
        let serves = self.heard(now).is_some_and(|peer| {
            peer.stance == Stance::Active
                && self.authority == Authority::Standby
                && peer.system_id == self.database.system_id
                && peer.log.is_some()
        });
        if !serves || !self.setup.database || self.outranks() || self.log().is_none() {
            Follow::No
        } else if self.follows_directly()
            && !self.durable.copy_unfinished
            && !self.database.diverged
        {
            Follow::Directly
        } else if self.setup.rejoin {
            Follow::ByRejoining { common: self.common_with_peer() }
        } else {
            Follow::No
        }
    }

    /// Commits wait for the standby unless this node may and does acknowledge alone (rule 17).
    pub(super) fn synchronous(&self) -> bool {
        let lone_on_disk = self.durable.peer_excluded && self.durable.lone == self.durable.served;
        match self.setup.durability {
            Durability::Async => false,
            Durability::Strict | Durability::Available => {
                !(self.authority == Authority::Active && self.issuer.lone() && lone_on_disk)
            }
        }
    }
}
