//! From a goal to deeds: an ordered list of truths; the first unmet one becomes an action.
//!
//! Retry, restart after a crash and an administrator who deletes the address by hand are the same
//! code path. Unknown is not true.

use super::action::DatabaseDeed;
use super::arbiter::Proof;
use super::event::{DatabaseSeen, DatabaseState, Presence, ServicesGoal, ServicesSeen};
use super::health::Grade;
use super::place::Goal;

/// A truth that a goal needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// The claim was consented to: nothing is changed before (rules 6 and 12).
    Consented,
    /// What the disk should say, it says.
    StateDurable,
    /// The database is a primary.
    DatabaseWritable,
    /// Commits wait for the standby, or not, as decided.
    SynchronousAsDecided,
    /// What starts before the address runs.
    ServicesPrepared,
    /// The right to claim is proved now.
    ArbitrationProved,
    /// The kernel has the addresses.
    AddressesHeld,
    /// The LAN was told.
    Announced,
    /// What starts after the address was told to run.
    ServicesServing,
    /// The kernel has none of the addresses.
    AddressesReleased,
    /// The database is seen not writable.
    DatabaseNotWritable,
    /// What runs only on the active node was told to stop.
    ServicesStoodDown,
    /// The database is in recovery, its log known.
    DatabaseStandingBy,
    /// The database follows the peer.
    DatabaseFollowing,
    /// The database has little left to write before it can stop.
    DatabaseCheckpointed,
    /// The database has ended, in order when it could.
    DatabaseStopped,
}

/// From first to last (rule 12).
pub const SERVE: &[Step] = &[
    Step::Consented,
    Step::StateDurable,
    Step::DatabaseWritable,
    Step::SynchronousAsDecided,
    Step::ServicesPrepared,
    Step::ArbitrationProved,
    Step::AddressesHeld,
    Step::Announced,
    Step::ServicesServing,
];

/// Stop attracting clients before stopping the database, and that before everything slow (rule 4).
pub const STAND_BY: &[Step] = &[
    Step::AddressesReleased,
    Step::DatabaseNotWritable,
    Step::StateDurable,
    Step::ServicesStoodDown,
    Step::DatabaseStandingBy,
    Step::SynchronousAsDecided,
    Step::DatabaseFollowing,
];

/// The checkpoint first: until then clients notice nothing (rule 25).
pub const HAND_OVER: &[Step] = &[
    Step::DatabaseCheckpointed,
    Step::AddressesReleased,
    Step::ServicesStoodDown,
    Step::DatabaseStopped,
    Step::StateDurable,
];

/// Everything that the steps look at, for one group.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The kernel's addresses.
    pub presence: Presence,
    /// The database; `None` when the pair has none.
    pub database: Option<&'a DatabaseSeen>,
    /// A promotion is under way, or its end is: what was last seen of the database may be untrue.
    pub promoting: bool,
    /// The database was looked at in this session; before that there is nothing to be hasty about.
    pub looked: bool,
    /// The disk says what it should.
    pub durable: bool,
    /// Commits should wait for the standby.
    pub synchronous: bool,
    /// The group's services; `None` before the first report.
    pub services: Option<ServicesSeen>,
    /// What the services were last told.
    pub services_told: Option<ServicesGoal>,
    /// The right to claim.
    pub proof: Proof,
    /// The burst of announcements is done, and none is due.
    pub announced: bool,
    /// This node was active under its present term: a dead database is started as it was.
    pub in_place: bool,
    /// The arbiter, or the peer and the LAN, consent, or did before the promotion.
    pub consented: bool,
    /// How the peer is to be followed, if it is.
    pub follow: Follow,
    /// The checkpoint of a handover was written, or tried.
    pub checkpointed: bool,
    /// The database was told to stop in order and is not seen stopped yet.
    pub stopping: bool,
    /// The active node's database has not answered for longer than it may.
    pub hung: bool,
}

/// How a standby comes to receive the peer's log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Follow {
    /// Not at all: the peer does not serve, or must not be followed.
    No,
    /// By streaming: its log is a prefix of the peer's.
    Directly,
    /// By salvage and rewind or copy: its log has left the peer's.
    ByRejoining {
        /// Where the two logs part, if that is known.
        common: Option<u64>,
    },
}

/// What one unmet step wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Write the state.
    Save,
    /// Do this to the database.
    Database(DatabaseDeed),
    /// Tell the services.
    Services(ServicesGoal),
    /// Claim the addresses.
    Hold,
    /// Give them up.
    Release,
    /// Tell the LAN.
    Announce,
    /// Wait for something to be seen.
    Wait,
}

impl Step {
    /// Is it so?
    pub fn is_met(self, facts: &Facts<'_>) -> bool {
        match self {
            Step::Consented => facts.in_place || facts.consented,
            Step::StateDurable => facts.durable,
            Step::DatabaseWritable => facts
                .database
                .is_none_or(|seen| seen.state == DatabaseState::Writable && !facts.stopping),
            Step::SynchronousAsDecided => facts.database.is_none_or(|seen| {
                !matches!(seen.state, DatabaseState::Writable | DatabaseState::Standby)
                    || seen.synchronous == Some(facts.synchronous)
            }),
            Step::ServicesPrepared => facts.services.is_some_and(|seen| {
                seen.goal >= ServicesGoal::Prepare && seen.critical == Grade::Good
            }),
            Step::ArbitrationProved => {
                facts.presence == Presence::Held || facts.proof == Proof::Given
            }
            Step::AddressesHeld => facts.presence == Presence::Held,
            Step::Announced => facts.announced,
            Step::ServicesServing => facts.services_told == Some(ServicesGoal::Serve),
            Step::AddressesReleased => facts.presence == Presence::Absent,
            Step::DatabaseNotWritable => {
                facts.database.is_none_or(|seen| not_writable(seen.state) && !facts.promoting)
            }
            Step::ServicesStoodDown => facts.services_told == Some(ServicesGoal::Standby),
            Step::DatabaseStandingBy => facts
                .database
                .is_none_or(|seen| seen.state == DatabaseState::Standby && seen.log.is_some()),
            Step::DatabaseFollowing => {
                facts.follow == Follow::No || facts.database.is_none_or(|seen| seen.streaming)
            }
            Step::DatabaseCheckpointed => {
                facts.checkpointed
                    || facts.database.is_none_or(|seen| seen.state != DatabaseState::Writable)
            }
            Step::DatabaseStopped => {
                facts.database.is_none_or(|seen| seen.state == DatabaseState::Stopped)
            }
        }
    }

    /// What to do about it.
    pub fn deed(self, facts: &Facts<'_>) -> Deed {
        let state = facts.database.map(|seen| seen.state);
        match self {
            Step::StateDurable => Deed::Save,
            // A stop that was begun cannot be called back, only made short.
            Step::DatabaseWritable if facts.in_place && (facts.stopping || facts.hung) => {
                Deed::Database(DatabaseDeed::StopNow)
            }
            Step::DatabaseWritable => match state {
                // A promotion must come up with commits waiting for the standby.
                Some(DatabaseState::Standby) if !synchronous_as_decided(facts) => {
                    Deed::Database(DatabaseDeed::SetSynchronous(facts.synchronous))
                }
                Some(DatabaseState::Standby) if !facts.in_place => {
                    Deed::Database(DatabaseDeed::Promote)
                }
                Some(DatabaseState::Stopped) if facts.in_place => {
                    Deed::Database(DatabaseDeed::StartInPlace)
                }
                Some(DatabaseState::Stopped) => Deed::Database(DatabaseDeed::StartAsStandby),
                Some(
                    DatabaseState::Standby
                    | DatabaseState::Starting
                    | DatabaseState::Unknown
                    | DatabaseState::Writable,
                )
                | None => Deed::Wait,
            },
            Step::SynchronousAsDecided => {
                Deed::Database(DatabaseDeed::SetSynchronous(facts.synchronous))
            }
            Step::ServicesPrepared => match facts.services_told {
                Some(ServicesGoal::Prepare | ServicesGoal::Serve) => Deed::Wait,
                Some(ServicesGoal::Standby) | None => Deed::Services(ServicesGoal::Prepare),
            },
            Step::Consented | Step::ArbitrationProved => Deed::Wait,
            Step::AddressesHeld => Deed::Hold,
            Step::Announced => Deed::Announce,
            Step::ServicesServing => Deed::Services(ServicesGoal::Serve),
            Step::AddressesReleased => Deed::Release,
            Step::DatabaseNotWritable if facts.looked => Deed::Database(DatabaseDeed::StopNow),
            Step::DatabaseNotWritable => Deed::Wait,
            Step::ServicesStoodDown => Deed::Services(ServicesGoal::Standby),
            Step::DatabaseStandingBy => match state {
                Some(DatabaseState::Stopped) => Deed::Database(DatabaseDeed::StartAsStandby),
                Some(
                    DatabaseState::Standby
                    | DatabaseState::Starting
                    | DatabaseState::Unknown
                    | DatabaseState::Writable,
                )
                | None => Deed::Wait,
            },
            Step::DatabaseFollowing => match facts.follow {
                Follow::No => Deed::Wait,
                Follow::Directly => Deed::Database(DatabaseDeed::Follow),
                Follow::ByRejoining { common } => Deed::Database(DatabaseDeed::Rejoin { common }),
            },
            Step::DatabaseCheckpointed => Deed::Database(DatabaseDeed::Checkpoint),
            Step::DatabaseStopped => match state {
                Some(DatabaseState::Writable) => Deed::Database(DatabaseDeed::StopCleanly),
                Some(DatabaseState::Unknown) if facts.stopping => Deed::Wait,
                Some(
                    DatabaseState::Unknown
                    | DatabaseState::Starting
                    | DatabaseState::Standby
                    | DatabaseState::Stopped,
                ) => Deed::Database(DatabaseDeed::StopNow),
                None => Deed::Wait,
            },
        }
    }

    /// The steps after it may be begun while it is not met.
    fn lets_pass(self, goal: Goal, facts: &Facts<'_>) -> bool {
        match self {
            Step::SynchronousAsDecided
            | Step::ServicesStoodDown
            | Step::Announced
            | Step::ServicesServing => true,
            // The release time of the lease is there once, not once for each of the two.
            Step::AddressesReleased => true,
            // Whoever serves keeps the address while its services or its database are restarted,
            // and while a later mark is being written.
            Step::ServicesPrepared | Step::StateDurable | Step::DatabaseWritable => {
                goal == Goal::Serve && facts.in_place && facts.presence == Presence::Held
            }
            Step::Consented
            | Step::ArbitrationProved
            | Step::AddressesHeld
            | Step::DatabaseNotWritable
            | Step::DatabaseStandingBy
            | Step::DatabaseFollowing
            | Step::DatabaseCheckpointed
            | Step::DatabaseStopped => false,
        }
    }
}

/// The deeds of this turn, in order; several only where the later ones need not wait.
pub fn plan(goal: Goal, facts: &Facts<'_>, mut act: impl FnMut(Step, Deed)) {
    let steps = match goal {
        Goal::Serve => SERVE,
        Goal::StandBy => STAND_BY,
        Goal::HandOver => HAND_OVER,
    };
    for step in steps.iter().copied().filter(|step| !step.is_met(facts)) {
        act(step, step.deed(facts));
        if !step.lets_pass(goal, facts) {
            return;
        }
    }
}

/// `Unknown` may be writable.
pub fn not_writable(state: DatabaseState) -> bool {
    match state {
        DatabaseState::Stopped | DatabaseState::Starting | DatabaseState::Standby => true,
        DatabaseState::Unknown | DatabaseState::Writable => false,
    }
}

fn synchronous_as_decided(facts: &Facts<'_>) -> bool {
    facts.database.is_none_or(|seen| seen.synchronous == Some(facts.synchronous))
}
