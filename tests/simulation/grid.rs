//! Every pair of faults on a grid of times, without chance, with the clocks at both ends of their
//! bound and every release as long as it may be: what a random run meets once in a million.

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;
use duotone::protocol::node::Durability;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::dice::Dice;
use crate::fence::Mood;
use crate::mutated;
use crate::settings::{Settings, drifty};
use crate::trace::{Trace, seconds};
use crate::world::World;

const A: NodeId = NodeId::A;
const B: NodeId = NodeId::B;

fn faults(arbitration: Arbitration) -> Vec<Command> {
    let mut faults = vec![
        Command::PowerOff(A),
        Command::PowerOff(B),
        Command::KillDaemon(A, false),
        Command::KillDaemon(B, false),
        Command::HangDaemon(A),
        Command::Freeze(A, 700 * MILLI, false),
        Command::Freeze(B, 700 * MILLI, false),
        Command::Cut(Cable::Eth1, None),
        Command::Cut(Cable::Eth1, Some(A)),
        Command::Cut(Cable::Eth1, Some(B)),
        Command::Cut(Cable::Lan, Some(A)),
        Command::Cut(Cable::Lan, Some(B)),
        Command::Mend(Cable::Lan, Some(A)),
        Command::Cut(Cable::Gateway, None),
        Command::Replication(false),
        Command::DeleteAddress(A),
    ];
    if arbitration.witness {
        faults.extend([
            Command::Witness(false),
            Command::WitnessForgets,
            Command::Cut(Cable::Witness, Some(A)),
            Command::Cut(Cable::WitnessReplies, Some(A)),
            Command::Cut(Cable::WitnessReplies, Some(B)),
        ]);
    }
    if arbitration.fence {
        faults.extend([
            Command::Fence(A, Mood::Fails),
            Command::Fence(B, Mood::Hangs),
            Command::Fence(A, Mood::Blind),
            Command::Cut(Cable::Fence, Some(A)),
            Command::SplitLan(true),
        ]);
    }
    faults
}

/// Under which each grid is played.
const KINDS: [(Arbitration, Durability); 5] = [
    (Arbitration::LAN, Durability::Strict),
    (Arbitration::LAN, Durability::Available),
    (Arbitration::WITNESS, Durability::Strict),
    (Arbitration::FENCE, Durability::Strict),
    (Arbitration::WITNESS_AND_FENCE, Durability::Available),
];

fn settings(arbitration: Arbitration, durability: Durability, ppm: [i64; 2]) -> Settings {
    Settings { durability, timing: drifty(), eth0_path: false, ppm, ..Settings::plain() }
        .under(arbitration)
}

/// Applies the commands, each after its pause; heals; gives the broken sentence with the story.
fn play(settings: &Settings, steps: &[(Nanos, &Command)], trace: Trace) -> Option<String> {
    let mut world = World::new(settings.clone(), Dice::fixed(), trace);
    for host in NodeId::ALL {
        let (_, longest) = settings.release();
        world.hosts[host.index()].trouble.release_takes = Some(longest);
    }
    if !world.run_until_seen(10 * SECOND, World::settled) {
        return Some("not settled".to_owned());
    }
    world.run_until(world.now + 400 * MILLI);
    for (pause, command) in steps {
        world.run_until(world.now + pause);
        world.apply(command);
    }
    world.run_until(world.now + 1500 * MILLI);
    world.apply(&Command::Heal);
    let within = world.now + 30 * SECOND;
    if !world.run_until_seen(within, World::settled) {
        world.break_rule("P6: not settled after all was healed".to_owned());
    }
    let story = world.trace.lines.take().unwrap_or_default();
    world.checker.broken.map(|broken| format!("{broken}\n{}", story.join("\n")))
}

fn must_hold(settings: &Settings, steps: &[(Nanos, &Command)]) {
    if let Some(broken) = play(settings, steps, Trace::silent()) {
        let commands: Vec<String> = steps.iter().map(|(_, what)| what.to_string()).collect();
        mutated::found(&format!("grid ({})", commands.join(", ")), &broken);
        let story = play(settings, steps, Trace::told()).unwrap_or_default();
        let script: Vec<String> =
            steps.iter().map(|(at, what)| format!("  +{} {what}", seconds(*at))).collect();
        panic!(
            "{:?} {:?} {:?}\n{}\n{story}",
            settings.arbitration,
            settings.durability,
            settings.ppm,
            script.join("\n")
        );
    }
}

#[test]
fn every_pair_of_faults_on_a_grid() {
    let pauses = [0, 30, 90, 190, 240, 270, 300, 350, 600].map(|pause| pause * MILLI);
    for (arbitration, durability) in KINDS {
        let settings = settings(arbitration, durability, [-20_000, 20_000]);
        let faults = faults(arbitration);
        for first in &faults {
            for second in &faults {
                for pause in pauses {
                    must_hold(&settings, &[(0, first), (pause, second)]);
                }
            }
        }
    }
}

/// Rules 25 to 29: whatever breaks in whatever phase of a switchover, nothing is lost and the pair
/// is served again without anybody's help.
#[test]
fn every_fault_in_every_phase_of_a_switchover() {
    let order = Command::Order(A, Order::Switchover);
    let others = [
        Command::HangDaemon(B),
        Command::Freeze(A, 3 * SECOND, false),
        Command::Freeze(B, 3 * SECOND, false),
        Command::Freeze(A, 120 * MILLI, false),
        Command::Freeze(B, 120 * MILLI, false),
        Command::KillDatabase(A),
        Command::KillDatabase(B),
        Command::PromotionFails(B, true),
        Command::PromotionTakes(B, 2 * SECOND),
        Command::DiskTakes(A, 400 * MILLI),
        Command::DiskTakes(B, 400 * MILLI),
        Command::Order(B, Order::Leave),
        Command::Order(A, Order::Leave),
        Command::Order(B, Order::Switchover),
    ];
    for (arbitration, durability) in KINDS {
        let settings = settings(arbitration, durability, [20_000, -20_000]);
        for fault in faults(arbitration).iter().chain(&others) {
            for step in 0..32 {
                must_hold(&settings, &[(0, &order), (step * 23 * MILLI, fault)]);
            }
        }
    }
}

/// Rule 2: off the LAN, the active node lives on its lease alone. Whenever the last path is cut, its
/// address is gone and its database stopped before the peer begins to ask.
#[test]
fn the_lease_ends_before_the_promise() {
    let lan = Command::Cut(Cable::Lan, Some(A));
    let path = Command::Cut(Cable::Eth1, None);
    for ppm in [[-20_000, 20_000], [20_000, -20_000]] {
        let settings = settings(Arbitration::LAN, Durability::Available, ppm);
        for step in 0..120 {
            must_hold(&settings, &[(0, &lan), (SECOND + step * MILLI, &path)]);
        }
    }
}

/// Rule 7 (C7): the active node lives on a reference's answer, its LAN is cut, the peer's probe
/// window fits into the cut, and the LAN heals.
#[test]
fn a_reference_counts_for_less_than_a_window() {
    let path = Command::Cut(Cable::Eth1, None);
    let (cut, mend) = (Command::Cut(Cable::Lan, Some(A)), Command::Mend(Cable::Lan, Some(A)));
    for ppm in [[-20_000, 20_000], [20_000, -20_000]] {
        let quick = (MILLI, MILLI);
        let settings =
            Settings { promotion: quick, ..settings(Arbitration::LAN, Durability::Available, ppm) };
        for until_cut in (120..280).step_by(8) {
            for until_mend in (60..360).step_by(12) {
                let (cut_after, mend_after) = (until_cut * MILLI, until_mend * MILLI);
                must_hold(&settings, &[(0, &path), (cut_after, &cut), (mend_after, &mend)]);
            }
        }
    }
}
