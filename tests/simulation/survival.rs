//! What each arbitration survives: every single fault and every pair of lasting ones, played without
//! chance, and the README's table written from what happened.
//!
//! `REWRITE=1` writes the table anew; otherwise the README must hold exactly this one.

use std::fmt::Write as _;
use std::path::Path;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::event::DatabaseState;
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::NodeId;
use duotone::protocol::node::Durability;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::dice::Dice;
use crate::fence::Mood;
use crate::settings::Settings;
use crate::trace::Trace;
use crate::world::World;

const BEGIN: &str = "<!-- survival: written by the simulator -->";
const END: &str = "<!-- end of survival -->";

/// What breaks, and stays broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    ActiveDies,
    StandbyDies,
    DaemonDies,
    PathsCut,
    ActiveOffTheLan,
    ActiveIsolated,
    DatabaseDies,
    ArbiterDies,
    LanSplits,
    BothDieActiveReturns,
    BothDieStandbyReturns,
}

impl Fault {
    const SINGLE: [Fault; 11] = [
        Fault::ActiveDies,
        Fault::StandbyDies,
        Fault::DaemonDies,
        Fault::PathsCut,
        Fault::ActiveOffTheLan,
        Fault::ActiveIsolated,
        Fault::DatabaseDies,
        Fault::ArbiterDies,
        Fault::LanSplits,
        Fault::BothDieActiveReturns,
        Fault::BothDieStandbyReturns,
    ];

    /// The second comes when the pair has settled with the first.
    const DOUBLE: [(Fault, Fault); 7] = [
        (Fault::StandbyDies, Fault::ArbiterDies),
        (Fault::ArbiterDies, Fault::StandbyDies),
        (Fault::ArbiterDies, Fault::ActiveDies),
        (Fault::PathsCut, Fault::ArbiterDies),
        (Fault::PathsCut, Fault::ActiveDies),
        (Fault::PathsCut, Fault::ActiveIsolated),
        (Fault::PathsCut, Fault::StandbyDies),
    ];

    fn words(self) -> &'static str {
        match self {
            Fault::ActiveDies => "the active host dies",
            Fault::StandbyDies => "the standby dies",
            Fault::DaemonDies => "the active host's daemon dies, its kernel lives",
            Fault::PathsCut => "every path between the hosts is cut",
            Fault::ActiveOffTheLan => "the active host's LAN cable is cut",
            Fault::ActiveIsolated => "the active host is cut off from everything",
            Fault::DatabaseDies => "the active host's database dies and does not start",
            Fault::ArbiterDies => "the arbiter dies (`lan`: every reference; both: the witness)",
            Fault::LanSplits => "the LAN is split, and the paths with it",
            Fault::BothDieActiveReturns => "both die, only the active one returns",
            Fault::BothDieStandbyReturns => "both die, only the standby returns",
        }
    }

    /// In a pair whose active node is `a`, with the pause before each.
    fn commands(self, arbitration: Arbitration) -> Vec<(Nanos, Command)> {
        let (a, b) = (NodeId::A, NodeId::B);
        let paths = || vec![Command::Cut(Cable::Eth1, None), Command::Cut(Cable::Eth0Path, None)];
        let at_once = |commands: Vec<Command>| commands.into_iter().map(|one| (0, one)).collect();
        match self {
            Fault::ActiveDies => at_once(vec![Command::PowerOff(a)]),
            Fault::StandbyDies => at_once(vec![Command::PowerOff(b)]),
            Fault::DaemonDies => at_once(vec![Command::KillDaemon(a, false)]),
            Fault::PathsCut => at_once(paths()),
            Fault::ActiveOffTheLan => at_once(vec![Command::Cut(Cable::Lan, Some(a))]),
            Fault::ActiveIsolated => {
                let mut all = paths();
                all.push(Command::Cut(Cable::Lan, Some(a)));
                all.push(Command::Cut(Cable::Witness, Some(a)));
                at_once(all)
            }
            Fault::DatabaseDies => {
                at_once(vec![Command::StartFails(a, true), Command::KillDatabase(a)])
            }
            Fault::ArbiterDies if arbitration.witness => at_once(vec![Command::Witness(false)]),
            Fault::ArbiterDies if arbitration.fence => {
                at_once(vec![Command::Fence(a, Mood::Fails), Command::Fence(b, Mood::Fails)])
            }
            Fault::ArbiterDies => at_once(vec![Command::Cut(Cable::Gateway, None)]),
            Fault::LanSplits => {
                let mut all = paths();
                all.push(Command::SplitLan(true));
                at_once(all)
            }
            Fault::BothDieActiveReturns | Fault::BothDieStandbyReturns => {
                let back = if self == Fault::BothDieActiveReturns { a } else { b };
                vec![
                    (0, Command::PowerOff(a)),
                    (0, Command::PowerOff(b)),
                    (3 * SECOND, Command::PowerOn(back)),
                ]
            }
        }
    }
}

/// How it ends, long after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// One node serves, with every acknowledged row.
    Serves,
    /// One node serves; rows that only the other acknowledged are with that one, to be salvaged.
    ServesWithoutRows,
    /// Two nodes serve: the stated exception of P1.
    TwoOwners,
    /// Nobody serves until the arbiter is back, which is enough.
    WaitsForTheArbiter,
    /// One node serves, and acknowledges nothing until the arbiter, or the peer, is back.
    CommitsWait,
    /// Nobody serves until somebody switches the host on that the fence powered off.
    PoweredOff,
    /// Nobody serves until a person says so, or the peer comes back.
    Held,
    /// Nobody serves, and nothing says why.
    Nothing,
}

impl Ending {
    fn words(self) -> &'static str {
        match self {
            Ending::Serves => "serves",
            Ending::ServesWithoutRows => "serves, loss stated",
            Ending::TwoOwners => "**two owners**",
            Ending::WaitsForTheArbiter => "waits for the arbiter",
            Ending::CommitsWait => "serves, commits wait for the arbiter",
            Ending::PoweredOff => "waits for the host that was powered off",
            Ending::Held => "held",
            Ending::Nothing => "nobody serves",
        }
    }
}

fn ending(arbitration: Arbitration, durability: Durability, faults: &[Fault]) -> Ending {
    let settings = Settings { durability, ..Settings::plain() }.under(arbitration);
    let mut world = World::new(settings, Dice::fixed(), Trace::silent());
    assert!(world.run_until_seen(10 * SECOND, World::settled));
    assert!(world.settled_on(NodeId::A), "the table speaks of `a` as the active one");
    world.run_until(world.now + 3 * SECOND);
    for fault in faults {
        for (pause, command) in fault.commands(arbitration) {
            world.run_until(world.now + pause);
            world.apply(&command);
        }
        world.run_until(world.now + 15 * SECOND);
    }
    let ending = seen(&world);
    if let Some(broken) = world.checker.broken {
        panic!("{broken}");
    }
    match ending {
        Ending::Serves | Ending::ServesWithoutRows | Ending::TwoOwners => return ending,
        Ending::Held
        | Ending::Nothing
        | Ending::CommitsWait
        | Ending::PoweredOff
        | Ending::WaitsForTheArbiter => {}
    }
    for mended in [
        Command::Witness(true),
        Command::Mend(Cable::Gateway, None),
        Command::Fence(NodeId::A, Mood::Works),
        Command::Fence(NodeId::B, Mood::Works),
    ] {
        world.apply(&mended);
    }
    // The fence is asked again after a while.
    world.run_until(world.now + 20 * SECOND);
    match seen(&world) {
        Ending::Serves if ending == Ending::CommitsWait => ending,
        Ending::Serves => Ending::WaitsForTheArbiter,
        Ending::ServesWithoutRows | Ending::TwoOwners => panic!("{:?}", seen(&world)),
        Ending::CommitsWait => Ending::Nothing,
        Ending::WaitsForTheArbiter | Ending::Held | Ending::Nothing | Ending::PoweredOff => ending,
    }
}

fn seen(world: &World) -> Ending {
    // Not `World::serves`: phones on the LAN need no gateway.
    let serves = |host: &NodeId| {
        let it = &world.hosts[host.index()];
        it.alive()
            && it.addresses.any()
            && it.database.state == DatabaseState::Writable
            && world.network.on_lan(*host)
    };
    let serving: Vec<NodeId> = NodeId::ALL.into_iter().filter(serves).collect();
    let held = |host: &NodeId| {
        let it = &world.hosts[host.index()];
        it.daemon_runs() && it.daemon.stance == Stance::Held
    };
    let off = |host: &NodeId| !world.hosts[host.index()].powered;
    match serving[..] {
        [_, _] => Ending::TwoOwners,
        [host]
            if !world.network.reaches_gateway(host)
                || world.now < world.checker.last_served + 300 * MILLI =>
        {
            let lost = world.branches.missing(world.hosts[host.index()].database.log).next();
            let forgiven = world.branches.0.iter().any(|branch| branch.forgiven > 0);
            if lost.is_some() || forgiven { Ending::ServesWithoutRows } else { Ending::Serves }
        }
        [_] => Ending::CommitsWait,
        // Who is held and off the LAN would serve nobody.
        _ if NodeId::ALL.iter().any(|host| held(host) && world.network.on_lan(*host)) => {
            Ending::Held
        }
        _ if world.checker.fenced > 0 && NodeId::ALL.iter().any(off) => Ending::PoweredOff,
        _ if NodeId::ALL.iter().any(held) => Ending::Held,
        _ => Ending::Nothing,
    }
}

fn table() -> String {
    let columns = [
        (Arbitration::LAN, Durability::Strict, "lan, strict"),
        (Arbitration::LAN, Durability::Available, "lan, available"),
        (Arbitration::WITNESS, Durability::Strict, "witness, strict"),
        (Arbitration::WITNESS, Durability::Available, "witness, available"),
        (Arbitration::FENCE, Durability::Strict, "fence, strict"),
        (Arbitration::FENCE, Durability::Available, "fence, available"),
        (Arbitration::WITNESS_AND_FENCE, Durability::Strict, "both, strict"),
        (Arbitration::WITNESS_AND_FENCE, Durability::Available, "both, available"),
    ];
    let mut text = String::from("| what breaks, and stays broken |");
    for (_, _, name) in columns {
        let _ = write!(text, " {name} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
    let singles = Fault::SINGLE.iter().map(|fault| vec![*fault]);
    let doubles = Fault::DOUBLE.iter().map(|(first, second)| vec![*first, *second]);
    for faults in singles.chain(doubles) {
        let words: Vec<&str> = faults.iter().map(|fault| fault.words()).collect();
        let _ = write!(text, "| {} |", words.join("; then "));
        for (arbitration, durability, _) in columns {
            let _ = write!(text, " {} |", ending(arbitration, durability, &faults).words());
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_readme_says_what_each_arbitration_survives() {
    let table = table();
    assert!(!table.contains(Ending::Nothing.words()), "a fault ends in silence:\n{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else {
        // The protocol and its tests alone, without the rest of the project.
        return println!("{table}");
    };
    let begin = readme.find(BEGIN).expect("the README's table begins") + BEGIN.len();
    let end = readme.find(END).expect("the README's table ends");
    if std::env::var("REWRITE").is_ok() {
        let text = format!("{}\n{table}{}", &readme[..begin], &readme[end..]);
        std::fs::write(&path, text).unwrap();
    } else {
        assert_eq!(readme[begin..end].trim(), table.trim(), "REWRITE=1 writes it anew");
    }
}
