//! What is asked on the LAN, by whom, and how often (rules 5, 7 and 8).

use alloc::vec::Vec;

use super::action::Action;
use super::arbiter::Lan;
use super::event::Presence;
use super::heartbeat::Stance;
use super::identity::GroupId;
use super::lead::Authority;
use super::node::Node;
use super::peer::Liveness;
use super::time::{Duration, Instant};

impl Node {
    pub(super) fn probe(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for index in 0..self.groups.len() {
            let question = self.question(now, &self.groups[index].lan, index);
            let known = self.setup.references;
            let question = question
                .map(|asked| Question { references: asked.references && known, ..asked })
                .filter(|asked| asked.floating || asked.references);
            let Some(question) = question else { continue };
            let group = &mut self.groups[index];
            if !question.floating {
                group.lan.restart();
            }
            // A question that has become urgent does not wait for the calm one's time.
            group.probe_due = group.probe_due.min(group.probed_at + question.period);
            if now >= group.probe_due {
                (group.probed_at, group.probe_due) = (now, now + question.period);
                if question.references {
                    group.references_mute_since.get_or_insert(now);
                }
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
        let agreed = self.agreed(now);
        // Who does not see its references does not get in the way of a node that does (rule 8).
        // With a witness nobody gets in the way: it is asked first.
        let on_the_lan = self.setup.arbitration.witness
            || !self.setup.references
            || lan.on_the_lan(now, timing.long_validity);
        match self.authority {
            Authority::Joining | Authority::Held => None,
            Authority::Standby if quiet => {
                Some(Question { floating: true, references: true, period: brisk })
            }
            // The windows are complete by the time that the role is offered (C12).
            Authority::Standby if self.peer_lets_go(now, index) => {
                Some(Question { floating: true, references: false, period: brisk })
            }
            // A standby whose link is down cannot ask, and is none the worse for it.
            Authority::Standby => (!self.setup.dark_standby).then(|| self.calmly()),
            Authority::Giving => None,
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
                if alone || !held {
                    // Whoever is alone asks for its own addresses too: after a split of the LAN
                    // nobody else tells it that there are two owners.
                    Some(Question { floating: true, references: alone, period })
                } else {
                    Some(self.calmly())
                }
            }
        }
    }

    /// Both nodes ask their references now and then, so that each knows whether the LAN would miss
    /// it (P7, and R17 of those who serve).
    fn calmly(&self) -> Question {
        Question { floating: false, references: true, period: self.setup.timing.calm_period() }
    }

    /// The peer gives up the group's addresses in order, or has.
    fn peer_lets_go(&self, now: Instant, index: usize) -> bool {
        self.heard(now).is_some_and(|peer| match peer.stance {
            Stance::Handing => true,
            Stance::Active => peer.groups.get(index).is_some_and(|report| !report.serving),
            Stance::Joining
            | Stance::Standby
            | Stance::Held
            | Stance::Asking
            | Stance::Taking
            | Stance::Promoted => false,
        })
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
