//! What the node may expect of a machine, as sentences that hold for the real kernel and for the
//! simulator's fake alike. Each is a function over a trait with two operations; [`ADDRESSES`]
//! lists them.

use std::time::Duration;

use duotone::protocol::event::{Event, Presence};
use duotone::protocol::identity::GroupId;

/// A machine with one interface, no floating address on it, a peer that is silent.
pub trait Machine {
    /// Carries out an action of the node, or what somebody else does by hand, and returns the
    /// events that it ends in.
    fn perform(&mut self, deed: Deed) -> Vec<Event>;

    /// Lets this time pass and returns what the machine reports meanwhile, the last report last.
    fn pass(&mut self, time: Duration) -> Vec<Event>;
}

/// Something that happens to a machine.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// `Action::HoldAddresses` of the group `main`.
    Hold,
    /// `Action::ReleaseAddresses` of the group `main`.
    Release,
    /// An administrator deletes one floating address.
    DeleteOneByHand,
    /// An administrator deletes all floating addresses.
    DeleteAllByHand,
}

/// A sentence and how to check it.
pub type Expectation = (&'static str, fn(&mut dyn Machine, Lifetime));

/// The kernel's lifetime of an address: what is configured, and after which time it is gone for
/// certain.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub configured: Duration,
    pub worst: Duration,
}

/// All sentences about addresses; each starts with a new machine.
pub const ADDRESSES: &[Expectation] = &[
    ("held after hold", held_after_hold),
    ("absent after release", absent_after_release),
    ("release of an absent address is absent", release_of_absent_is_absent),
    ("hold of a held address is held", hold_of_held_is_held),
    ("expires without renewal", expires_without_renewal),
    ("stays when renewed", stays_when_renewed),
    ("seen when deleted by hand", seen_when_deleted_by_hand),
    ("partial when one of several is deleted by hand", partial_when_one_is_deleted),
    ("held again after a deletion by hand", held_again_after_deletion),
];

const SOON: Duration = Duration::from_millis(50);

fn presences(events: &[Event]) -> Vec<Presence> {
    let seen = events.iter().filter_map(|event| match event {
        Event::AddressesSeen { group: GroupId::MAIN, seen } => Some(*seen),
        _ => None,
    });
    seen.collect()
}

/// The one presence that an action must end in.
fn ends_in(machine: &mut dyn Machine, deed: Deed) -> Presence {
    let events = machine.perform(deed);
    match presences(&events)[..] {
        [seen] => seen,
        _ => panic!("{deed:?} must end in exactly one AddressesSeen, not {events:?}"),
    }
}

fn last(events: &[Event]) -> Option<Presence> {
    presences(events).last().copied()
}

fn held_after_hold(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
}

fn absent_after_release(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    assert_eq!(ends_in(machine, Deed::Release), Presence::Absent);
    let later = presences(&machine.pass(SOON));
    assert!(later.iter().all(|seen| *seen == Presence::Absent), "{later:?}");
}

fn release_of_absent_is_absent(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Release), Presence::Absent);
    assert_eq!(ends_in(machine, Deed::Release), Presence::Absent);
}

fn hold_of_held_is_held(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
}

fn expires_without_renewal(machine: &mut dyn Machine, lifetime: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    let early = presences(&machine.pass(lifetime.configured - lifetime.configured / 4));
    assert!(early.iter().all(|seen| *seen == Presence::Held), "gone too early: {early:?}");
    let late = machine.pass(lifetime.worst - lifetime.configured + lifetime.configured / 4);
    assert_eq!(last(&late), Some(Presence::Absent));
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
}

fn stays_when_renewed(machine: &mut dyn Machine, lifetime: Lifetime) {
    for _ in 0..4 {
        assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
        let meanwhile = presences(&machine.pass(lifetime.configured / 2));
        assert!(meanwhile.iter().all(|seen| *seen == Presence::Held), "{meanwhile:?}");
    }
}

fn seen_when_deleted_by_hand(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    let mut events = machine.perform(Deed::DeleteAllByHand);
    events.extend(machine.pass(SOON));
    assert!(matches!(last(&events), Some(Presence::Absent | Presence::Partial)), "{events:?}");
}

fn partial_when_one_is_deleted(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    let mut events = machine.perform(Deed::DeleteOneByHand);
    events.extend(machine.pass(SOON));
    assert_eq!(last(&events), Some(Presence::Partial));
}

fn held_again_after_deletion(machine: &mut dyn Machine, _: Lifetime) {
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
    machine.perform(Deed::DeleteAllByHand);
    machine.pass(SOON);
    assert_eq!(ends_in(machine, Deed::Hold), Presence::Held);
}
