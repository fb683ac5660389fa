//! What this node's heartbeats say.

use alloc::vec::Vec;

use super::action::Action;
use super::event::Presence;
use super::health::Grade;
use super::heartbeat::{GroupReport, Heartbeat, Promise};
use super::lead::Authority;
use super::node::Node;
use super::time::Instant;

impl Node {
    pub(super) fn speak(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let stance = self.stance();
        if now < self.clock.heartbeat_due && stance == self.clock.said {
            return;
        }
        let certifying = matches!(self.authority, Authority::Active | Authority::Giving)
            && self.issuer.certifying();
        let sequence = self.sent.note(now, self.peer.last_heard());
        self.issuer.sent(sequence, now, certifying, &self.setup.timing);
        self.clock.heartbeat_due = now + self.setup.timing.interval;
        self.clock.said = stance;
        actions.push(Action::SendHeartbeat(Heartbeat {
            node: self.setup.me,
            session: self.setup.session,
            sequence,
            echo: self.peer.echo(now),
            stance,
            promise: self.promise(),
            term: self.durable.term,
            served: self.durable.served,
            lone: self.durable.lone,
            certifying,
            certified: self.certificate.usable(now),
            excludes_you: self.durable.peer_excluded,
            log: self.stated_log(),
            system_id: self.database.system_id,
            groups: (0..self.groups.len()).map(|index| self.report(now, index)).collect(),
            software: self.setup.software,
            config_hash: self.setup.config_hash,
            maintenance: false,
        }));
    }

    /// Rule 1, and only while nothing of this node's can act against it: not while it asks or
    /// takes, not before it is seen released, not while it might hold newer rows than the peer.
    fn promise(&self) -> Promise {
        let told = self.peer.last.as_ref().map(|peer| peer.session);
        match self.authority {
            // The offer is an ordinary promise (rule 25).
            Authority::Giving if self.moves.handed.is_some() => {
                Promise::For(self.setup.timing.lost_after)
            }
            Authority::Asking | Authority::Taking | Authority::Active | Authority::Giving => {
                Promise::None
            }
            Authority::Joining | Authority::Held | Authority::Standby => {
                if !self.prepared() {
                    Promise::None
                } else if self.orders.leave && told.is_some() && self.durable.leaving == told {
                    Promise::Leaving
                } else if self.durable.peer_excluded {
                    Promise::None
                } else {
                    Promise::For(self.setup.timing.lost_after)
                }
            }
        }
    }

    pub(super) fn report(&self, now: Instant, index: usize) -> GroupReport {
        let group = &self.groups[index];
        let health = self.health(now, index);
        // Who may be off the LAN itself cannot tell.
        let answered = self.setup.timing.probe_interval * 2;
        let on_the_lan = health.network == Grade::Good
            && group.references_mute_since.is_none_or(|since| now.since(since) < answered);
        let can_tell = self.authority == Authority::Standby && on_the_lan;
        GroupReport {
            serving: group.presence == Presence::Held,
            health,
            finds_peer_failed: can_tell && group.remote == Grade::Failed,
        }
    }
}
