//! The judgement itself: what it must call broken on any machine, and what it must not.

use super::super::scenario::Scenario;
use super::*;

const QUIET: Waits = Waits { still_ms: 4.0, ordinary_ms: 20.0, disk_ms: 10.0 };
const STALLED: Waits = Waits { still_ms: 450.0, ordinary_ms: 470.0, disk_ms: 500.0 };

fn unharmed() -> Ownership {
    Ownership { overlap_ms: 0.0, false_claims: 0, moves: 0, held_at: None, claimed_at: None }
}

/// A run in which everything is as it should be where nothing moves.
fn kept(ownership: &Ownership, machine: Waits) -> Case<'_> {
    Case {
        statement: Scenario::CutEth1.statement(),
        was: 0,
        is: Some(0),
        answered: true,
        ownership,
        calls_lost: 0,
        outage_ms: 30.0,
        stall_ms: 2000.0,
        machine,
    }
}

fn words(broken: &[Breach], kind: Kind) -> String {
    let of: Vec<&str> =
        broken.iter().filter(|one| one.kind == kind).map(|one| one.words.as_str()).collect();
    of.join("; ")
}

#[test]
fn what_is_as_stated_is_kept() {
    let ownership = unharmed();
    assert_eq!(judge(&kept(&ownership, QUIET)), []);
}

#[test]
fn a_real_outage_is_broken_on_a_quiet_machine_and_on_a_stalled_one() {
    let ownership = unharmed();
    let outage = |outage_ms: f64, machine: Waits| {
        words(&judge(&Case { outage_ms, ..kept(&ownership, machine) }), Kind::Service)
    };
    assert_eq!(outage(1070.0, QUIET), "", "1 s, and four times the longest wait");
    assert_eq!(outage(1100.0, QUIET), "a caller's outage took 1100 ms, more than 1.1s");
    assert_eq!(outage(2900.0, STALLED), "");
    assert_eq!(outage(3100.0, STALLED), "a caller's outage took 3100 ms, more than 3.0s");
    let stall = words(&judge(&Case { stall_ms: 9000.0, ..kept(&ownership, QUIET) }), Kind::Service);
    assert_eq!(stall, "a commit took 9000 ms, more than 8.1s");
}

#[test]
fn what_moved_or_was_lost_is_broken_on_any_machine() {
    let touched = Ownership { moves: 4, ..unharmed() };
    for machine in [QUIET, STALLED] {
        let case = Case { is: Some(1), calls_lost: 7, ..kept(&touched, machine) };
        let told = words(&judge(&case), Kind::Service);
        assert_eq!(told, "the role moved; an address was touched 4 times; 7 calls were lost");
        let case = Case { is: None, answered: false, ..kept(&touched, machine) };
        let told = words(&judge(&case), Kind::Service);
        assert!(told.contains("nobody serves") && told.contains("no call was answered"), "{told}");
        let moved = Statement { role: Role::Moved, ..Scenario::PowerOff.statement() };
        let case = Case { statement: moved, ..kept(&touched, machine) };
        assert_eq!(words(&judge(&case), Kind::Service), "the other does not serve");
    }
}

#[test]
fn two_owners_are_excused_by_no_machine() {
    let two = Ownership { overlap_ms: 0.1, ..unharmed() };
    let told = judge(&kept(&two, STALLED));
    assert_eq!(words(&told, Kind::Safety), "the address had two owners for 0.1 ms");
    let claim = Ownership { false_claims: 1, ..unharmed() };
    let told = judge(&kept(&claim, STALLED));
    assert!(words(&told, Kind::Safety).contains("without having it"), "{told:?}");

    // The wake window is a time: 250 ms on a quiet machine.
    let window = |overlap_ms: f64, machine: Waits| {
        let ownership = Ownership { overlap_ms, ..unharmed() };
        let statement = Statement { role: Role::Either, ..Scenario::Freeze.statement() };
        words(&judge(&Case { statement, ..kept(&ownership, machine) }), Kind::Safety)
    };
    assert_eq!(window(300.0, QUIET), "");
    assert_eq!(window(400.0, QUIET), "the address had two owners for 400.0 ms");
    assert_eq!(window(400.0, STALLED), "");
    // A split LAN that makes no second owner was none.
    let statement = Scenario::SplitLan.statement();
    let told = judge(&Case { statement, ..kept(&unharmed(), QUIET) });
    assert_eq!(words(&told, Kind::Service), "the LAN was not split");
}

#[test]
fn only_a_machine_that_stood_still_longer_than_is_borne_is_an_excuse() {
    let bearable = Bearable::of(Preset::Voice);
    assert!(bearable.still > Duration::from_millis(50), "{bearable:?}");
    assert!(bearable.still < Duration::from_millis(250), "{bearable:?}");
    let excuse = |still_ms: f64, ordinary_ms: f64, disk_ms: f64| {
        bearable.excuse(&Waits { still_ms, ordinary_ms, disk_ms })
    };
    assert_eq!(excuse(50.0, 490.0, 490.0), None);
    let told = excuse(300.0, 310.0, 320.0).expect("an excuse");
    assert!(told.starts_with("the machine itself stood still for 300ms, and "), "{told}");
    assert!(excuse(50.0, 600.0, 10.0).is_some() && excuse(50.0, 20.0, 600.0).is_some());
}
