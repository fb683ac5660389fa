//! The vocabulary as plain data: every type of which an event, an action or a node is made, and whose
//! fields are not private to its own file (the others say theirs there).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::action::{Action, DatabaseDeed};
use super::arbiter::Arbitration;
use super::durable::Durable;
use super::event::{
    Answerer, DatabaseSeen, DatabaseState, Event, LanSeen, Order, Presence, Replica, ServicesGoal,
    ServicesSeen, Ticket,
};
use super::health::{Grade, Health};
use super::heartbeat::{Echo, GroupReport, Heartbeat, Promise, Stance};
use super::identity::{GroupId, NodeId, Session, Term};
use super::lead::{Authority, Basis, Reason, Why};
use super::log::{Branches, Fork, Log};
use super::moves::Policy;
use super::node::{Claim, Durability, Group, Node, Orders, Pending, Setup, TurnClock};
use super::timing::Timing;
use super::value::{Data, Misfit, Value, field, fields, known, made, told, variants};
use super::witness::{Holder, Ledger, Refusal, Reply, Request, Verdict, Wish};

// What comes in.
variants!(Event {
    Tick,
    HeartbeatReceived { heartbeat, at },
    Lan { group, seen },
    AddressesSeen { group, seen },
    Announced { group, sent },
    StateSaved { ticket, saved },
    DatabaseSeen { ticket, seen },
    ServicesSeen { group, seen },
    WitnessReplied { reply },
    Operator(order),
});
variants!(LanSeen {
    FloatingProbed { at },
    FloatingAnswered { at, by },
    PeerProbed { at },
    ReferenceAnswered { probed_at },
    ProbeFailed { at },
});
variants!(Answerer { Peer, Foreign });
variants!(Presence { Unknown, Absent, Partial, Held });
fields!(DatabaseSeen { at, state, synchronous, log, streaming, diverged, replica, system_id });
fields!(Replica { flush, synchronous });
variants!(DatabaseState { Unknown, Stopped, Starting, Standby, Writable });
fields!(ServicesSeen { goal, stopped, critical });
variants!(ServicesGoal { Standby, Prepare, Serve });
variants!(Order { TakeAnyway, Leave, Return, Switchover, Recover });

// What goes out.
variants!(Action {
    SendHeartbeat(heartbeat),
    ProbeLan { group, floating, references },
    AskWitness(request),
    HoldAddresses { group },
    ReleaseAddresses { group },
    Announce { group },
    SaveState { ticket, state },
    Database { ticket, deed },
    Services { group, goal },
});
variants!(DatabaseDeed {
    StartAsStandby,
    Follow,
    Rejoin { common },
    Promote,
    StartInPlace,
    StopNow,
    StopCleanly,
    Checkpoint,
    SetSynchronous(on),
});

// What both are made of.
fields!(Heartbeat {
    node,
    session,
    sequence,
    echo,
    stance,
    promise,
    term,
    served,
    lone,
    certifying,
    certified,
    excludes_you,
    log,
    system_id,
    groups,
    software,
    config_hash,
    maintenance,
});
fields!(Echo { session, sequence, age });
variants!(Stance { Joining, Standby, Held, Asking, Taking, Promoted, Active, Handing });
variants!(Promise { None, For(span), Leaving });
fields!(GroupReport { serving, health });
fields!(Health { database, network, services });
variants!(Grade { Failed, Unknown, Good });
fields!(Durable { term, served, branches, lone, peer_excluded, active, leaving, copy_unfinished });
fields!(Log { timeline, position, forks, branch, unfinished });
fields!(Fork { timeline, at, branch });
variants!(NodeId { A, B });

// The witness.
fields!(Request { node, session, sequence, ticket, term, grant, certificate, wish });
variants!(Wish { Query, Grant { despite_exclusion }, Exclude, Clear, Release });
fields!(Reply { node, session, sequence, ticket, verdict, ledger });
variants!(Verdict { Introduced, Done, Refused(refusal) });
variants!(Refusal { LowerTerm, HeldByPeer, Excluded, NotHolder, NoMemory });
fields!(Ledger { holder, excluded });
fields!(Holder { node, term, grant, released });

// The node.
fields!(Setup {
    me,
    session,
    timing,
    durability,
    database,
    rejoin,
    groups,
    refresh,
    durable,
    software,
    config_hash,
    dark_standby,
    references,
    policy,
    arbitration,
});
fields!(Timing {
    interval,
    delay,
    late_after,
    lost_after,
    start_grace,
    drift_ppm,
    release,
    arbiter,
    probe_interval,
    probes,
    short_window,
    long_window,
    short_validity,
    long_validity,
    first_attempt,
    short_validity_for,
    address_lifetime,
    lan_window,
    certificate,
    replication_stall,
    grant,
    grant_renewal,
    step_deadline,
    critical_down,
});
variants!(Durability { Strict, Available, Async });
fields!(Policy { preferred, failback_after, moves, within });
fields!(Arbitration { witness });
fields!(Node {
    setup,
    durable,
    damaged,
    authority,
    why,
    since,
    path,
    started,
    claim,
    retry_at,
    peer,
    sent,
    lease,
    certificate,
    issuer,
    moves,
    grant,
    database,
    groups,
    orders,
    pending,
    clock,
});
variants!(Authority { Joining, Held, Standby, Asking, Taking, Active, Giving });
variants!(Basis { Agreement, Offer, TakeBack, Arbitration });
fields!(Claim { term, basis, promoting, failed, adopted_lone, held_at, withdrawn_from });
fields!(Group {
    presence,
    held_until,
    lan,
    references_mute_since,
    services,
    services_told,
    services_failed_since,
    announced,
    announce_due,
    renew_due,
    address_retry,
    probe_due,
    probed_at,
});
fields!(Orders { leave, take_anyway, recover, returned_from });
fields!(Pending { next_ticket, save, save_retry, database, database_retry });
fields!(TurnClock { last, due, heartbeat_due, said });
variants!(Reason { Ordered, Leaving, PeerIsBetter, Failback });
variants!(Why {
    Started,
    Preparing,
    Listening,
    PeerServes,
    PeerTakes,
    PeerMustYield,
    ComparingLogs,
    AwaitingPromise,
    PeerHasTheLog,
    Agreed,
    PeerSilent,
    MayLackRows,
    DamagedState,
    HasLeft,
    PeerIdle,
    Woke,
    ToldToLeave,
    DatabaseNotReady,
    PeerHeard,
    AwaitingConsent,
    AddressAnswered,
    Consent,
    Establishing,
    Superseded,
    PromiseLapsed,
    StepFailed,
    ConsentLost,
    Serving,
    NotEntitled,
    NoLongerHeld,
    PeerHands,
    Offered,
    HandingOver(reason),
    LettingGo,
    AwaitingTaker,
    HandedOver,
    HandoverUndone,
    TakingBack,
});

/// Numbers with a name.
macro_rules! numbered {
    ($($type:ident)*) => {$(
        impl Data for $type {
            fn to_value(&self) -> Value {
                self.0.to_value()
            }

            fn from_value(value: &Value) -> Result<Self, Misfit> {
                Data::from_value(value).map($type)
            }
        }
    )*};
}
numbered!(Session GroupId Ticket);

impl Data for Term {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string().into())
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        let wrong = || value.instead_of("a term such as 5a");
        let Value::Text(text) = value else { return Err(wrong()) };
        let ends = |node: &NodeId| text.ends_with(&node.to_string());
        let node = NodeId::ALL.into_iter().find(ends).ok_or_else(wrong)?;
        let counter = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        Ok(Term { counter, node })
    }

    fn absent() -> Option<Self> {
        Some(Term::ZERO)
    }
}

impl Data for Branches {
    fn to_value(&self) -> Value {
        self.iter().collect::<Vec<_>>().to_value()
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        let pairs: Vec<(u32, Term)> = Data::from_value(value)?;
        Ok(pairs.into_iter().collect())
    }

    fn absent() -> Option<Self> {
        Some(Branches::NONE)
    }
}

/// The pending deed, when it was ordered, and under which ticket.
impl Data for (Ticket, DatabaseDeed, super::time::Instant) {
    fn to_value(&self) -> Value {
        Value::List(vec![self.0.to_value(), self.1.to_value(), self.2.to_value()])
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::List(list) if list.len() == 3 => Ok((
                Data::from_value(&list[0])?,
                Data::from_value(&list[1])?,
                Data::from_value(&list[2])?,
            )),
            other => Err(other.instead_of("ticket, deed and time")),
        }
    }
}
