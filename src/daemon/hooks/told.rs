//! What the hooks were told last, and what they are to be told next: one small total comparison.

use crate::config::HookEvent;
use crate::daemon::change::Kind;
use crate::daemon::telling::View;
use crate::protocol::heartbeat::Stance;
use crate::protocol::identity::NodeId;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::peer::Liveness;

/// The last word about the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// None yet.
    Nothing,
    /// `before-takeover`.
    Taking,
    /// `after-takeover`.
    Active,
    /// `before-standby`.
    GivingUp,
    /// `after-standby`.
    Standby,
}

/// What was told last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    role: Role,
    maintenance: bool,
    conflict: bool,
}

/// What there is to tell of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What this node may do about the role.
    pub authority: Authority,
    /// The peer is heard now: whether it says that it serves.
    pub peer_serves: Option<bool>,
    /// The role was given up because the peer serves with a better right.
    pub superseded: bool,
    /// The last change took the role back to the preferred node.
    pub failed_back: bool,
    /// This node is in maintenance.
    pub maintenance: bool,
}

impl Seen {
    /// From how things stand; `preferred` is relative to this node.
    pub fn of(view: &View<'_>, preferred: Option<(NodeId, NodeId)>) -> Seen {
        let status = view.status;
        let heard = status.peer == Liveness::Alive;
        let says = status.peer_says.as_ref().filter(|_| heard);
        let change = view.change.filter(|change| change.ended.is_some());
        let kind = change.map(|change| (change.kind, change.outcome));
        let at_home = preferred.is_some_and(|(me, preferred)| me == preferred);
        let away = preferred.is_some_and(|(me, preferred)| me != preferred);
        Seen {
            authority: status.authority,
            peer_serves: says.map(|says| says.stance == Stance::Active),
            superseded: change.is_some_and(|change| {
                change.kind == Kind::Demotion && change.why == Why::Superseded
            }),
            failed_back: match kind {
                Some((Kind::HandoverTaken, _)) => at_home,
                Some((Kind::HandoverGiven, Some("handed-over"))) => away,
                _ => false,
            },
            maintenance: view.maintenance.is_some(),
        }
    }
}

impl Told {
    /// Before the first comparison.
    pub const NOTHING: Told = Told { role: Role::Nothing, maintenance: false, conflict: false };

    /// Both nodes were seen to serve, and the end of that was not seen.
    pub fn in_conflict(&self) -> bool {
        self.conflict
    }

    /// What is to be told now, in this order; it counts as told then.
    ///
    /// After every `before-…` comes an `after-…`, as soon as the node serves or stands by, though
    /// not always the one of the same name: a takeover that came to nothing ends in
    /// `after-standby`.
    pub fn see(&mut self, seen: Seen) -> Vec<HookEvent> {
        let mut events = self.role(seen);
        if seen.authority == Authority::Active && seen.peer_serves == Some(true) {
            self.conflict = true;
        }
        let over = match seen.authority {
            Authority::Active => seen.peer_serves == Some(false),
            Authority::Standby => true,
            Authority::Joining
            | Authority::Held
            | Authority::Asking
            | Authority::Taking
            | Authority::Giving => false,
        };
        if self.conflict && over {
            self.conflict = false;
            events.push(HookEvent::ConflictEnded);
        }
        if self.maintenance != seen.maintenance {
            self.maintenance = seen.maintenance;
            events.push(HookEvent::Maintenance);
        }
        events
    }

    fn role(&mut self, seen: Seen) -> Vec<HookEvent> {
        use HookEvent::{AfterStandby, AfterTakeover, BeforeStandby, BeforeTakeover, Failback};
        let (role, mut events) = match (seen.authority, self.role) {
            (Authority::Active, Role::Active)
            | (Authority::Taking, Role::Taking)
            | (Authority::Giving, Role::GivingUp)
            | (Authority::Standby, Role::Standby) => return Vec::new(),
            (Authority::Active, _) => (Role::Active, vec![AfterTakeover]),
            (Authority::Taking, _) => (Role::Taking, vec![BeforeTakeover]),
            (Authority::Giving, _) => (Role::GivingUp, vec![BeforeStandby]),
            (Authority::Standby, Role::Active) => {
                (Role::Standby, vec![BeforeStandby, AfterStandby])
            }
            (Authority::Standby, _) => (Role::Standby, vec![AfterStandby]),
            (Authority::Joining | Authority::Held | Authority::Asking, Role::Active) => {
                (Role::GivingUp, vec![BeforeStandby])
            }
            // Where that leads is not known yet.
            (Authority::Joining | Authority::Held | Authority::Asking, _) => return Vec::new(),
        };
        if self.role == Role::Active && role != Role::Active && seen.superseded {
            self.conflict = true;
        }
        if seen.failed_back && matches!(role, Role::Active | Role::Standby) {
            events.push(Failback);
        }
        self.role = role;
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Seen = Seen {
        authority: Authority::Joining,
        peer_serves: None,
        superseded: false,
        failed_back: false,
        maintenance: false,
    };

    fn words(steps: &[Seen]) -> String {
        let mut told = Told::NOTHING;
        let mut events = Vec::new();
        for seen in steps {
            events.extend(told.see(*seen).into_iter().map(HookEvent::word));
            assert_eq!(told.see(*seen), [], "{seen:?} is told once");
        }
        events.join(" ")
    }

    fn path(authorities: &[Authority]) -> String {
        let step = |authority: &Authority| Seen { authority: *authority, ..CALM };
        words(&authorities.iter().map(step).collect::<Vec<_>>())
    }

    #[test]
    fn each_way_of_the_role_is_told_in_order() {
        use Authority::{Active, Asking, Giving, Held, Joining, Standby, Taking};
        for (way, wanted) in [
            (
                &[Joining, Standby, Asking, Taking, Active][..],
                "after-standby before-takeover after-takeover",
            ),
            (&[Active, Giving, Joining, Standby], "after-takeover before-standby after-standby"),
            (&[Active, Held, Joining, Standby], "after-takeover before-standby after-standby"),
            (&[Standby, Taking, Standby], "after-standby before-takeover after-standby"),
            (
                &[Standby, Taking, Held, Joining, Standby],
                "after-standby before-takeover after-standby",
            ),
            (&[Active, Giving, Active], "after-takeover before-standby after-takeover"),
            (
                &[Active, Giving, Taking, Active],
                "after-takeover before-standby before-takeover after-takeover",
            ),
            (
                &[Active, Joining, Taking, Active],
                "after-takeover before-standby before-takeover after-takeover",
            ),
            (&[Standby, Asking, Joining, Standby], "after-standby"),
            // What was between was not seen: the last word is right all the same.
            (
                &[Standby, Active, Standby],
                "after-standby after-takeover before-standby after-standby",
            ),
        ] {
            assert_eq!(path(way), wanted, "{way:?}");
        }
    }

    #[test]
    fn a_conflict_has_an_end_on_both_nodes() {
        let active = Seen { authority: Authority::Active, ..CALM };
        let winner = [
            active,
            Seen { peer_serves: Some(true), ..active },
            active,
            Seen { peer_serves: Some(false), ..active },
        ];
        assert_eq!(words(&winner), "after-takeover conflict-ended");
        let loser = [
            active,
            Seen { authority: Authority::Joining, superseded: true, ..CALM },
            Seen { authority: Authority::Standby, superseded: true, ..CALM },
        ];
        assert_eq!(words(&loser), "after-takeover before-standby after-standby conflict-ended");
        // The same demotion still being the last change is no new conflict.
        let later = [
            Seen { authority: Authority::Standby, superseded: true, ..CALM },
            Seen { authority: Authority::Taking, superseded: true, ..CALM },
            Seen { authority: Authority::Standby, superseded: true, ..CALM },
        ];
        assert_eq!(words(&later), "after-standby before-takeover after-standby");
    }

    #[test]
    fn failback_and_maintenance_are_told_once() {
        let back = Seen { failed_back: true, ..CALM };
        let way = [
            Seen { authority: Authority::Taking, ..CALM },
            Seen { authority: Authority::Active, ..back },
            Seen { authority: Authority::Active, peer_serves: Some(false), ..back },
        ];
        assert_eq!(words(&way), "before-takeover after-takeover failback");
        let held = Seen { authority: Authority::Held, maintenance: true, ..CALM };
        let standby = Seen { authority: Authority::Standby, ..CALM };
        assert_eq!(words(&[standby, held, standby]), "after-standby maintenance maintenance");
    }
}
