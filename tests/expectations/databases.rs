//! What the nodes may expect of a pair of database servers, as sentences that hold for real
//! PostgreSQL and for the simulator's fake alike. Each is a function over [`Servers`] and starts
//! with a new pair: `a` is the primary, its commits wait for `b`, which streams.

use std::time::Duration;

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::{DatabaseSeen, DatabaseState};
use duotone::protocol::identity::NodeId;
use duotone::protocol::log::{Log, Relation};

const A: NodeId = NodeId::A;
const B: NodeId = NodeId::B;

/// Two servers, each with its adapter, and clients that write numbered rows.
pub trait Servers {
    /// Does a deed to its end and says what was then seen.
    fn perform(&mut self, at: NodeId, deed: DatabaseDeed) -> DatabaseSeen;

    /// The same, given up after this long; `None` when it had not ended.
    fn attempt(&mut self, at: NodeId, deed: DatabaseDeed, within: Duration)
    -> Option<DatabaseSeen>;

    fn look(&mut self, at: NodeId) -> DatabaseSeen;

    /// A client begins to write this row.
    fn commit(&mut self, at: NodeId, row: u64);

    /// The client that wrote this row was told that it is stored.
    fn acknowledged(&mut self, row: u64) -> bool;

    /// The rows that a running server has, in no order.
    fn rows(&mut self, at: NodeId) -> Vec<u64>;

    /// What receives the log on `b` stands still, or goes on.
    fn standby_hangs(&mut self, hangs: bool);

    /// All processes of the server die, as by power-off.
    fn kill(&mut self, at: NodeId);

    fn pass(&mut self, time: Duration);
}

/// A sentence and how to check it.
pub type Expectation = (&'static str, fn(&mut dyn Servers));

/// Of every deed but the two below.
pub const DEEDS: &[Expectation] = &[
    ("a dead primary can be started as a standby with its rows", dead_primary_stands_by),
    ("a running primary can be made a standby", primary_stands_by),
    ("a promotion begins a new timeline at the old one's end", promotion_begins_a_timeline),
    ("commits of a promoted server wait for a standby", promoted_waits),
    ("a primary is not promoted again", primary_is_not_promoted),
    ("a stopped server is not promoted", stopped_is_not_promoted),
    ("nothing is acknowledged by a server that was stopped at once", stop_now_is_silent),
    ("a stopped primary starts in place with what it had", starts_in_place),
    ("a standby is not made a primary by a start in place", standby_stays_standby),
    ("a commit waits for a standby that does not answer", commit_waits),
    ("commits that wait are let go when nobody is waited for", waiting_is_let_go),
    ("whether commits wait is read back", waiting_is_read_back),
    ("a standby has a prefix of its primary's log, and receives what is committed", receives),
    ("an old primary whose log is a prefix follows the new one", prefix_follows),
    ("a log that has left the peer's is seen, does not stream and keeps its rows", diverged),
];

/// Of following nobody unasked: the other branch may bear the same number.
pub const UNASKED: &[Expectation] = &[
    ("a server that is started as a standby follows only when told", follows_only_when_told),
    ("a log on a namesake of the peer's timeline is not overwritten", namesakes),
];

/// Of `StopCleanly`.
pub const CLEAN_STOP: &[Expectation] = &[
    ("a clean stop tells the log's end, and it is the standby's", clean_end_is_the_standbys),
    ("a clean stop ends without a standby too", clean_end_alone),
    ("a clean stop waits for a standby that hangs, and is ended by stopping at once", clean_hangs),
    ("a clean stop acknowledges nothing that the standby lacks", clean_stop_is_silent),
    ("a server that was stopped cleanly starts in place", starts_in_place_after_clean),
    ("after a clean stop the standby has all and is followed", clean_switch),
];

/// Of `Rejoin`.
pub const REJOIN: &[Expectation] = &[
    ("rejoining brings a log that has left back to the other's rows", rejoins),
    ("rejoining with a prefix only follows", rejoins_prefix),
    ("rejoining brings back a namesake of the other's timeline", rejoins_namesake),
];

/// What a sentence begins with, from a primary on `a` and a server on `b` that may follow it.
pub fn settle(servers: &mut dyn Servers) {
    servers.perform(B, DatabaseDeed::Follow);
    let seen = servers.perform(A, DatabaseDeed::SetSynchronous(true));
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Writable, Some(true)));
    until(servers, "b streams", |servers| servers.look(B).streaming);
    until(servers, "b counts", |servers| {
        servers.look(A).replica.is_some_and(|replica| replica.synchronous)
    });
    write(servers, A, 1);
    until(servers, "b has it", |servers| same_end(servers).is_some());
}

fn until(servers: &mut dyn Servers, what: &str, so: impl Fn(&mut dyn Servers) -> bool) {
    for _ in 0..2400 {
        if so(servers) {
            return;
        }
        servers.pass(Duration::from_millis(25));
    }
    panic!("not within a minute: {what}");
}

const A_WHILE: Duration = Duration::from_millis(500);

/// Writes a row and waits until it is acknowledged.
fn write(servers: &mut dyn Servers, at: NodeId, row: u64) {
    servers.commit(at, row);
    until(servers, "acknowledged", |servers| servers.acknowledged(row));
}

/// Writes a row that is not acknowledged for a while.
fn write_in_vain(servers: &mut dyn Servers, at: NodeId, row: u64) {
    servers.commit(at, row);
    servers.pass(A_WHILE);
    assert!(!servers.acknowledged(row), "row {row} was acknowledged");
}

fn log(seen: &DatabaseSeen) -> Log {
    seen.log.clone().unwrap_or_else(|| panic!("no log: {seen:?}"))
}

/// The log that both have, if it is the same.
fn same_end(servers: &mut dyn Servers) -> Option<Log> {
    let (a, b) = (servers.look(A).log?, servers.look(B).log?);
    (a.relation(&b) == Relation::Equal).then_some(a)
}

fn sorted(mut rows: Vec<u64>) -> Vec<u64> {
    rows.sort_unstable();
    rows
}

fn dead_primary_stands_by(servers: &mut dyn Servers) {
    let end = log(&servers.look(A));
    servers.kill(A);
    assert_eq!(servers.look(A).state, DatabaseState::Stopped);
    let seen = servers.perform(A, DatabaseDeed::StartAsStandby);
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Standby, Some(true)));
    assert_eq!(log(&seen).timeline, end.timeline);
    assert!(log(&seen).position >= end.position);
    assert_eq!(servers.rows(A), [1]);
}

fn primary_stands_by(servers: &mut dyn Servers) {
    let seen = servers.perform(A, DatabaseDeed::StartAsStandby);
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Standby, Some(true)));
    assert_eq!(servers.rows(A), [1]);
    write_in_vain(servers, A, 2);
    assert_eq!(servers.rows(A), [1]);
}

fn promotion_begins_a_timeline(servers: &mut dyn Servers) {
    servers.kill(A);
    let before = log(&servers.look(B));
    let seen = servers.perform(B, DatabaseDeed::Promote);
    assert_eq!(seen.state, DatabaseState::Writable);
    assert!(!seen.streaming && !seen.diverged);
    let after = log(&seen);
    assert_eq!(after.timeline, before.timeline + 1);
    let fork = after.forks.last().expect("a fork");
    assert_eq!((fork.timeline, fork.at), (before.timeline, before.position));
    assert_eq!(after.relation(&before), Relation::Longer);
}

fn promoted_waits(servers: &mut dyn Servers) {
    servers.kill(A);
    let seen = servers.perform(B, DatabaseDeed::Promote);
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Writable, Some(true)));
    write_in_vain(servers, B, 2);
    servers.perform(B, DatabaseDeed::SetSynchronous(false));
    until(servers, "let go", |servers| servers.acknowledged(2));
}

fn primary_is_not_promoted(servers: &mut dyn Servers) {
    let before = log(&servers.look(A));
    let seen = servers.perform(A, DatabaseDeed::Promote);
    assert_eq!(seen.state, DatabaseState::Writable);
    assert_eq!(log(&seen).timeline, before.timeline);
    write(servers, A, 2);
}

/// What is followed is for the node to say.
fn follows_only_when_told(servers: &mut dyn Servers) {
    servers.perform(B, DatabaseDeed::StopNow);
    write_in_vain(servers, A, 2);
    let seen = servers.perform(B, DatabaseDeed::StartAsStandby);
    assert_eq!(seen.state, DatabaseState::Standby);
    servers.pass(4 * A_WHILE);
    assert!(!servers.look(B).streaming && servers.look(A).replica.is_none());
    assert!(!servers.acknowledged(2));
    assert!(servers.perform(B, DatabaseDeed::Follow).streaming);
    until(servers, "acknowledged", |servers| servers.acknowledged(2));
}

fn stopped_is_not_promoted(servers: &mut dyn Servers) {
    servers.kill(B);
    assert_eq!(servers.perform(B, DatabaseDeed::Promote).state, DatabaseState::Stopped);
    let seen = servers.perform(B, DatabaseDeed::StartAsStandby);
    assert_eq!(log(&seen).timeline, log(&servers.look(A)).timeline);
}

fn stop_now_is_silent(servers: &mut dyn Servers) {
    servers.standby_hangs(true);
    write_in_vain(servers, A, 2);
    let seen = servers.perform(A, DatabaseDeed::StopNow);
    assert_eq!((seen.state, seen.log), (DatabaseState::Stopped, None));
    assert_eq!(seen.synchronous, None);
    write_in_vain(servers, A, 3);
    servers.standby_hangs(false);
    servers.pass(A_WHILE);
    assert!(!servers.acknowledged(2) && !servers.acknowledged(3));
    let seen = servers.perform(A, DatabaseDeed::StopNow);
    assert_eq!(seen.state, DatabaseState::Stopped, "stopped already");
}

fn starts_in_place(servers: &mut dyn Servers) {
    let before = log(&servers.look(A));
    servers.perform(A, DatabaseDeed::StopNow);
    let seen = servers.perform(A, DatabaseDeed::StartInPlace);
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Writable, Some(true)));
    assert_eq!(log(&seen).timeline, before.timeline);
    assert_eq!(servers.rows(A), [1]);
    // The standby comes back by itself.
    write(servers, A, 2);
}

fn standby_stays_standby(servers: &mut dyn Servers) {
    assert_eq!(servers.perform(B, DatabaseDeed::StartInPlace).state, DatabaseState::Standby);
    servers.perform(B, DatabaseDeed::StopNow);
    assert_eq!(servers.perform(B, DatabaseDeed::StartInPlace).state, DatabaseState::Stopped);
    assert_eq!(servers.perform(B, DatabaseDeed::StartAsStandby).state, DatabaseState::Standby);
}

fn commit_waits(servers: &mut dyn Servers) {
    servers.standby_hangs(true);
    write_in_vain(servers, A, 2);
    assert_eq!(servers.rows(B), [1]);
    servers.standby_hangs(false);
    until(servers, "acknowledged", |servers| servers.acknowledged(2));
    until(servers, "received", |servers| sorted(servers.rows(B)) == [1, 2]);
}

fn waiting_is_let_go(servers: &mut dyn Servers) {
    servers.standby_hangs(true);
    write_in_vain(servers, A, 2);
    let seen = servers.perform(A, DatabaseDeed::SetSynchronous(false));
    assert_eq!(seen.synchronous, Some(false));
    until(servers, "let go", |servers| servers.acknowledged(2));
    write(servers, A, 3);
    assert_eq!(servers.rows(B), [1]);
}

fn waiting_is_read_back(servers: &mut dyn Servers) {
    for at in [A, B] {
        for waits in [false, true, true] {
            let seen = servers.perform(at, DatabaseDeed::SetSynchronous(waits));
            assert_eq!(seen.synchronous, Some(waits), "{at}");
            assert_eq!(servers.look(at).synchronous, Some(waits), "{at}");
        }
    }
    servers.perform(A, DatabaseDeed::StopNow);
    let seen = servers.perform(A, DatabaseDeed::SetSynchronous(false));
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Stopped, None));
}

fn receives(servers: &mut dyn Servers) {
    for row in 2..8 {
        write(servers, A, row);
        let (standby, primary) = (servers.look(B), servers.look(A));
        assert!(standby.streaming && !standby.diverged && standby.replica.is_none());
        let relation = log(&primary).relation(&log(&standby));
        assert!(matches!(relation, Relation::Longer | Relation::Equal), "{relation:?}");
        let replica = primary.replica.expect("connected");
        assert!(replica.flush <= log(&primary).position);
        assert_eq!(standby.system_id, primary.system_id);
    }
    until(servers, "received", |servers| sorted(servers.rows(B)) == [1, 2, 3, 4, 5, 6, 7]);
    until(servers, "the same end", |servers| same_end(servers).is_some());
    let end = log(&servers.look(A)).position;
    assert!(servers.look(A).replica.is_some_and(|replica| replica.flush == end));
}

fn prefix_follows(servers: &mut dyn Servers) {
    servers.perform(A, DatabaseDeed::StopNow);
    servers.perform(B, DatabaseDeed::Promote);
    let seen = servers.perform(A, DatabaseDeed::Follow);
    assert_eq!((seen.state, seen.diverged), (DatabaseState::Standby, false));
    follows(servers);
}

/// `a` follows `b`, and a commit on `b` waits for it and gets through.
fn follows(servers: &mut dyn Servers) {
    streams_from(servers, A, B);
}

fn streams_from(servers: &mut dyn Servers, standby: NodeId, primary: NodeId) {
    until(servers, "it streams", |servers| {
        let (one, other) = (servers.look(standby), servers.look(primary));
        let timeline = |seen: &DatabaseSeen| seen.log.as_ref().map(|log| log.timeline);
        one.streaming && !one.diverged && timeline(&one) == timeline(&other)
    });
    let seen = servers.perform(primary, DatabaseDeed::SetSynchronous(true));
    assert_eq!(seen.synchronous, Some(true));
    write(servers, primary, 90);
    until(servers, "the same rows", |servers| {
        let rows = servers.rows(standby);
        rows.contains(&90) && sorted(rows) == sorted(servers.rows(primary))
    });
}

/// Row 2 is only on `a`, row 3 only on `b`, which serves; `a` is stopped.
fn part(servers: &mut dyn Servers) {
    servers.kill(B);
    servers.perform(A, DatabaseDeed::SetSynchronous(false));
    write(servers, A, 2);
    servers.kill(A);
    let seen = servers.perform(B, DatabaseDeed::StartAsStandby);
    assert_eq!(seen.state, DatabaseState::Standby);
    servers.perform(B, DatabaseDeed::Promote);
    servers.perform(B, DatabaseDeed::SetSynchronous(false));
    write(servers, B, 3);
}

fn diverged(servers: &mut dyn Servers) {
    part(servers);
    let seen = servers.perform(A, DatabaseDeed::Follow);
    assert_eq!(seen.state, DatabaseState::Standby);
    until(servers, "seen to have left", |servers| servers.look(A).diverged);
    servers.pass(A_WHILE);
    let (a, b) = (servers.look(A), servers.look(B));
    assert!(a.diverged && !a.streaming, "{a:?}");
    assert_eq!(log(&a).relation(&log(&b)), Relation::Diverged);
    assert_eq!(sorted(servers.rows(A)), [1, 2]);
    assert_eq!(sorted(servers.rows(B)), [1, 3]);
}

/// Each is promoted from the same timeline while the other is dead: both are now on the next one,
/// by number. `b` must not take `a`'s log for its own before anybody has compared them.
fn part_with_one_number(servers: &mut dyn Servers) -> Log {
    servers.perform(A, DatabaseDeed::StopNow);
    servers.perform(B, DatabaseDeed::Promote);
    servers.perform(B, DatabaseDeed::SetSynchronous(false));
    write(servers, B, 2);
    let alone = log(&servers.look(B));
    servers.kill(B);
    servers.perform(A, DatabaseDeed::StartAsStandby);
    servers.perform(A, DatabaseDeed::Promote);
    servers.perform(A, DatabaseDeed::SetSynchronous(false));
    for row in 3..20 {
        write(servers, A, row);
    }
    assert_eq!(log(&servers.look(A)).timeline, alone.timeline);
    servers.perform(B, DatabaseDeed::StartAsStandby);
    alone
}

fn namesakes(servers: &mut dyn Servers) {
    let alone = part_with_one_number(servers);
    servers.pass(4 * A_WHILE);
    let seen = servers.look(B);
    assert!(!seen.streaming);
    assert_eq!(log(&seen), alone);
    assert_eq!(sorted(servers.rows(B)), [1, 2]);
}

fn clean_end_is_the_standbys(servers: &mut dyn Servers) {
    for row in 2..5 {
        write(servers, A, row);
    }
    let before = log(&servers.look(A));
    let seen = servers.perform(A, DatabaseDeed::StopCleanly);
    assert_eq!(seen.state, DatabaseState::Stopped);
    let end = log(&seen);
    assert_eq!(end.relation(&before), Relation::Longer);
    until(servers, "the standby has it", |servers| {
        let standby = log(&servers.look(B));
        assert_ne!(standby.relation(&end), Relation::Longer, "{standby:?} {end:?}");
        standby.relation(&end) == Relation::Equal
    });
    assert_eq!(servers.look(A).log, Some(end.clone()), "a later look says the same");
    let again = servers.perform(A, DatabaseDeed::StopNow);
    assert_eq!((again.state, again.log), (DatabaseState::Stopped, Some(end)));
}

fn clean_end_alone(servers: &mut dyn Servers) {
    servers.kill(B);
    until(servers, "gone", |servers| servers.look(A).replica.is_none());
    let before = log(&servers.look(A));
    let seen = servers.perform(A, DatabaseDeed::StopCleanly);
    assert_eq!(seen.state, DatabaseState::Stopped);
    assert_eq!(log(&seen).relation(&before), Relation::Longer);
}

fn clean_hangs(servers: &mut dyn Servers) {
    servers.standby_hangs(true);
    let seen = servers.attempt(A, DatabaseDeed::StopCleanly, 2 * A_WHILE);
    assert_eq!(seen, None, "the standby lacks the shutdown checkpoint");
    assert_eq!(servers.look(A).state, DatabaseState::Unknown);
    let seen = servers.perform(A, DatabaseDeed::StopNow);
    assert_eq!(seen.state, DatabaseState::Stopped);
    servers.standby_hangs(false);
    // PostgreSQL has written its checkpoint by then, and only waited to hear that it arrived: the
    // standby that goes on may find it in its socket, and never has more.
    if let Some(end) = seen.log {
        let standby = log(&servers.look(B));
        assert!(
            matches!(end.relation(&standby), Relation::Longer | Relation::Equal),
            "{end:?} {standby:?}"
        );
    }
}

fn clean_stop_is_silent(servers: &mut dyn Servers) {
    servers.standby_hangs(true);
    write_in_vain(servers, A, 2);
    assert_eq!(servers.attempt(A, DatabaseDeed::StopCleanly, A_WHILE), None);
    write_in_vain(servers, A, 3);
    servers.standby_hangs(false);
    until(servers, "it ends", |servers| servers.look(A).state == DatabaseState::Stopped);
    assert!(!servers.acknowledged(2) && !servers.acknowledged(3));
    // Nobody was told of row 2, and it is there.
    until(servers, "the standby has it", |servers| sorted(servers.rows(B)) == [1, 2]);
}

fn starts_in_place_after_clean(servers: &mut dyn Servers) {
    let end = log(&servers.perform(A, DatabaseDeed::StopCleanly));
    let seen = servers.perform(A, DatabaseDeed::StartInPlace);
    assert_eq!((seen.state, seen.synchronous), (DatabaseState::Writable, Some(true)));
    assert_eq!(log(&seen).timeline, end.timeline);
    write(servers, A, 2);
    servers.kill(A);
    assert_eq!(servers.look(A).log, None, "what was clean once is not for ever");
}

fn clean_switch(servers: &mut dyn Servers) {
    write(servers, A, 2);
    let end = log(&servers.perform(A, DatabaseDeed::StopCleanly));
    until(servers, "the standby has it", |servers| {
        log(&servers.look(B)).relation(&end) == Relation::Equal
    });
    let seen = servers.perform(B, DatabaseDeed::Promote);
    assert_eq!(seen.state, DatabaseState::Writable);
    assert_eq!(log(&seen).relation(&end), Relation::Longer);
    let seen = servers.perform(A, DatabaseDeed::Follow);
    assert!(!seen.diverged);
    follows(servers);
    assert_eq!(sorted(servers.rows(A)), [1, 2, 90]);
}

fn rejoins(servers: &mut dyn Servers) {
    part(servers);
    let seen = servers.perform(A, DatabaseDeed::Rejoin { common: None });
    assert_eq!(seen.state, DatabaseState::Standby);
    assert!(seen.streaming && !seen.diverged, "{seen:?}");
    assert_eq!(sorted(servers.rows(A)), [1, 3]);
    follows(servers);
}

fn rejoins_prefix(servers: &mut dyn Servers) {
    servers.perform(A, DatabaseDeed::StopNow);
    servers.perform(B, DatabaseDeed::Promote);
    let seen = servers.perform(A, DatabaseDeed::Rejoin { common: None });
    assert_eq!((seen.state, seen.diverged), (DatabaseState::Standby, false));
    follows(servers);
    assert_eq!(sorted(servers.rows(A)), [1, 90]);
}

fn rejoins_namesake(servers: &mut dyn Servers) {
    let alone = part_with_one_number(servers);
    let common = alone.forks.last().map(|fork| fork.at);
    let seen = servers.perform(B, DatabaseDeed::Rejoin { common });
    assert_eq!(seen.state, DatabaseState::Standby);
    assert!(seen.streaming && !seen.diverged, "{seen:?}");
    streams_from(servers, B, A);
    assert!(!servers.rows(B).contains(&2));
}
