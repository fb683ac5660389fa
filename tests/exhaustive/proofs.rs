//! What is walked, and what a walk must find when a bound is broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::identity::NodeId::{self, A, B};
use duotone::protocol::timing::Timing;

use crate::explore::{Broken, Reach, Seen, Walk};
use crate::pair::Bounds;
use crate::ticks::{ticks, timing};
use crate::toggles::Toggle;

/// Two disturbances, until after the longest certificate has run out: under every bound.
const WIDE: Reach = Reach { disturbances: 2, window: 26, lasting: 20, settled_within: 80 };

/// Three, for as long as a takeover takes: under the bounds in which most goes wrong.
const DEEP: Reach = Reach { disturbances: 3, window: 10, ..WIDE };

fn bounds(arbitration: Arbitration, delays: [u32; 2], first: NodeId) -> Bounds {
    let timing = timing(delays[0].max(delays[1]));
    assert_eq!(timing.violations(arbitration), Vec::new());
    Bounds { arbitration, timing: [timing; 2], delays, first }
}

fn toggles(arbitration: Arbitration) -> Vec<Toggle> {
    let mut toggles = vec![Toggle::BothWays];
    for host in NodeId::ALL {
        toggles.extend([
            Toggle::Cable(host),
            Toggle::Arbiter(host),
            Toggle::Power(host),
            Toggle::Daemon(host),
            Toggle::Freeze(host),
        ]);
    }
    toggles.extend(arbitration.witness.then_some(Toggle::Witness));
    toggles
}

fn walk(bounds: &Bounds, reach: Reach) -> (Seen, Result<(), Broken>) {
    let toggles = toggles(bounds.arbitration);
    let mut walk = Walk::new(bounds, reach, &toggles);
    let ended = walk.all();
    (walk.seen, ended)
}

#[test]
fn no_course_of_events_breaks_a_promise() {
    let mut walks = Vec::new();
    walks.push((bounds(Arbitration::LAN, [0, 0], A), DEEP));
    walks.push((bounds(Arbitration::WITNESS, [1, 1], A), DEEP));
    for arbitration in [Arbitration::LAN, Arbitration::WITNESS] {
        for delays in [[0, 0], [1, 1], [0, 1], [1, 0]] {
            walks.extend([A, B].map(|first| (bounds(arbitration, delays, first), WIDE)));
        }
    }
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Seen::default()));
    let work = || {
        while let Some((bounds, reach)) = walks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (seen, ended) = walk(bounds, *reach);
            if let Err(broken) = ended {
                panic!("{}", broken.story(bounds, *reach));
            }
            all.lock().expect("nobody has panicked").add(&seen);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let seen = all.into_inner().expect("nobody has panicked");
    println!("{} walks: {seen}", walks.len());
    // What the bounds give today, and a little less: a walk that ends early proves nothing.
    assert!(seen.courses >= 100_000, "only {} courses of events", seen.courses);
    assert!(seen.states >= 10_000, "only {} different states", seen.states);
    assert!(seen.ticks >= 2_000_000, "only {} ticks", seen.ticks);
}

/// The walk sees what it is there for: each bound that is broken gives a course that breaks a promise.
fn must_find(what: &str, delays: [u32; 2], breaks: impl Fn(&mut [Timing; 2])) -> Broken {
    let mut bounds = bounds(Arbitration::LAN, delays, A);
    breaks(&mut bounds.timing);
    match walk(&bounds, WIDE) {
        (_, Err(broken)) => {
            println!("{what}: {broken}");
            broken
        }
        (seen, Ok(())) => panic!("{what} breaks nothing in {seen}"),
    }
}

#[test]
fn a_lease_without_the_time_to_release_is_found() {
    let broken = must_find("no release time in the lease", [0, 0], |timing| {
        timing.iter_mut().for_each(|timing| timing.release = ticks(0));
    });
    assert!(broken.sentence.starts_with("P1"), "{broken}");
}

#[test]
fn acknowledging_alone_before_the_certificate_has_run_out_is_found() {
    let broken = must_find("lone before C", [1, 1], |timing| {
        timing[A.index()].certificate = ticks(1);
    });
    assert!(broken.sentence.starts_with("P2"), "{broken}");
}

#[test]
fn a_reference_that_counts_for_too_long_is_found() {
    let broken = must_find("a reference counts for longer than a window", [1, 1], |timing| {
        for timing in timing {
            (timing.short_validity, timing.long_validity) = (ticks(30), ticks(30));
        }
    });
    assert!(broken.sentence.starts_with("P1"), "{broken}");
}
