//! What is asked on the LAN, by whom, and how often (rules 5, 7 and 8).

use alloc::vec::Vec;

use super::action::Action;
use super::arbiter::Lan;
use super::event::Presence;
use super::identity::GroupId;
use super::lead::{Authority, Basis};
use super::node::Node;
use super::peer::Liveness;
use super::time::{Duration, Instant};

impl Node {
    pub(super) fn probe(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for index in 0..self.groups.len() {
            let Some(question) = self.question(now, &self.groups[index].lan, index) else {
                continue;
            };
            let group = &mut self.groups[index];
            if !question.floating {
                group.lan.restart();
            }
            if now >= group.probe_due {
                group.probe_due = now + question.period;
                actions.push(Action::ProbeLan {
                    group: GroupId(index as u8),
                    floating: question.floating,
                    references: question.references,
                });
            }
        }
    }

    /// What is to be asked on the LAN now; `None` when nothing is.
    fn question(&self, now: Instant, lan: &Lan, index: usize) -> Option<Question> {
        let timing = &self.setup.timing;
        let quiet = self.peer.liveness(now, timing) >= Liveness::Late;
        let held = self.groups[index].presence == Presence::Held;
        let brisk = timing.probe_interval;
        let calm = (timing.long_window / (2 * timing.probes.max(1))).max(brisk);
        let agreed = self.claim.is_some_and(|claim| claim.basis == Basis::Agreement);
        // Who does not see its references does not get in the way of a node that does (rule 8).
        let on_the_lan = lan.on_the_lan(now, timing.long_validity);
        match self.authority {
            Authority::Joining | Authority::Held => None,
            Authority::Standby if quiet => {
                Some(Question { floating: true, references: true, period: brisk })
            }
            Authority::Standby => None,
            Authority::Asking => {
                let long_since = now.since(self.since) > timing.long_window * 4;
                let period = if long_since { calm } else { brisk };
                Some(Question { floating: on_the_lan, references: true, period })
            }
            Authority::Taking if held => None,
            Authority::Taking => Some(Question {
                floating: agreed || on_the_lan,
                references: !agreed,
                period: brisk,
            }),
            Authority::Active => {
                let alone = !self.lease.unlimited()
                    && (quiet || self.lease_is_late().is_none_or(|late| now >= late));
                let short = self.validity(now) == timing.short_validity;
                let period = if short || !held { brisk } else { timing.reference_period() };
                (alone || !held).then_some(Question { floating: !held, references: alone, period })
            }
        }
    }

    /// When an active node begins to ask: `late_after` after the heartbeat left on which its lease
    /// rests, so that one round trip to the arbiter fits before the lease ends (inequality 3).
    /// Later than that, "late" by the last heartbeat heard may come after the lease.
    pub(super) fn lease_is_late(&self) -> Option<Instant> {
        let timing = &self.setup.timing;
        let whole = timing.lease(timing.lost_after);
        self.lease.ends().map(|ends| ends.before(whole.saturating_sub(timing.late_after)))
    }
}

struct Question {
    floating: bool,
    references: bool,
    period: Duration,
}
