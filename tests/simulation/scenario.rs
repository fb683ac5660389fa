//! The golden scenarios: scripts in `tests/scenarios/*.txt`, each block followed by the story that
//! it gives. Chance is off: every span takes its middle.
//!
//! A block is commands, `----`, the story, and an empty line. The stories are compared exactly;
//! `REWRITE=1` writes them anew. The `expect` lines say what a scenario means, and hold whatever the
//! story says, so that a rewrite cannot hide a break.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::NodeId;
use duotone::protocol::node::Durability;

use crate::clock::{MILLI, SECOND};
use crate::command::{self, parse_host, parse_span};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::exceptions::Exceptions;
use crate::mutated;
use crate::settings::{Settings, drifty, voice};
use crate::trace::Trace;
use crate::world::World;

const RULE: &str = "----";

#[test]
fn every_scenario_tells_its_story() {
    let rewrite = std::env::var("REWRITE").is_ok();
    let only = std::env::var("SCENARIO").ok();
    let compares = !mutated::promises_only();
    let mut wrong = Vec::new();
    for path in scenarios() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let played = play(&text, false);
        wrong.extend(played.wrong.iter().map(|what| format!("{name}: {what}")));
        if let Some(what) = played.wrong.first() {
            mutated::found(&format!("story {name}"), what);
        }
        if rewrite {
            fs::write(&path, &played.text).unwrap();
        } else if compares && played.text != text {
            wrong.push(format!("{name}: the story differs\n{}", differences(&text, &played.text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A recording begins in the middle of a node's life: what is recorded of a node is all of it.
#[test]
fn a_node_goes_on_from_its_record() {
    for path in scenarios() {
        let text = fs::read_to_string(&path).unwrap();
        let (whole, recorded) = (play(&text, false), play(&text, true));
        assert_eq!(
            whole.text,
            recorded.text,
            "{}: {}",
            path.display(),
            differences(&whole.text, &recorded.text)
        );
    }
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// The decisions that the stories reach.
pub fn coverage() -> Coverage {
    let mut all = Coverage::new();
    for path in scenarios() {
        all.add(&play(&fs::read_to_string(path).unwrap(), false).coverage);
    }
    all
}

struct Played {
    /// The file as it should be.
    text: String,
    wrong: Vec<String>,
    coverage: Coverage,
}

fn play(text: &str, recorded: bool) -> Played {
    let mut settings = Settings { recorded, ..Settings::plain() };
    let mut world: Option<World> = None;
    let mut played = Played { text: String::new(), wrong: Vec::new(), coverage: Coverage::new() };
    let mut expectations = 0;
    let mut in_story = false;
    let mut told = 0;
    for line in text.lines() {
        if in_story {
            in_story = !line.is_empty();
            if in_story {
                continue;
            }
        }
        played.text += line;
        played.text += "\n";
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if world.is_none() && set(&mut settings, line) {
            continue;
        }
        let world =
            world.get_or_insert_with(|| World::new(settings.clone(), Dice::fixed(), Trace::told()));
        if line == RULE {
            in_story = true;
            let lines = world.trace.lines.as_deref().unwrap_or_default();
            for line in &lines[told..] {
                played.text += line;
                played.text += "\n";
            }
            told = lines.len();
            continue;
        }
        expectations += usize::from(line.starts_with("expect "));
        let untold = world.now == 0 && line == "settle";
        if let Err(what) = obey(world, line) {
            played.wrong.push(format!("at {}: `{line}`: {what}", crate::trace::seconds(world.now)));
        }
        if untold {
            // How a new pair settles is a scenario of its own.
            world.trace = Trace::told();
        }
    }
    if let Some(world) = world {
        played.coverage.add(&world.coverage);
        if let Some(broken) = world.checker.broken {
            // Whatever else is not as expected is so because the run ended there.
            played.wrong.insert(0, broken);
        }
    }
    if expectations == 0 {
        played.wrong.push("expects nothing".to_owned());
    }
    played
}

/// A line before the first command: what the pair is.
fn set(settings: &mut Settings, line: &str) -> bool {
    match *line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["links", "eth1"] => settings.eth0_path = false,
        ["links", "eth1", "eth0"] => settings.eth0_path = true,
        ["remote", "checks"] => settings.remote_checks = true,
        ["arbitration", "lan"] => *settings = settings.clone().under(Arbitration::LAN),
        ["arbitration", "witness"] => *settings = settings.clone().under(Arbitration::WITNESS),
        ["arbitration", "fence"] => *settings = settings.clone().under(Arbitration::FENCE),
        ["arbitration", "witness", "fence"] => {
            *settings = settings.clone().under(Arbitration::WITNESS_AND_FENCE);
        }
        ["durability", "strict"] => settings.durability = Durability::Strict,
        ["durability", "available"] => settings.durability = Durability::Available,
        ["durability", "async"] => settings.durability = Durability::Async,
        ["timing", "voice"] => settings.timing = voice(),
        ["timing", "drifty"] => settings.timing = drifty(),
        ["delays", "worst"] => settings.worst = true,
        ["preferred", host] => settings.policy.preferred = parse_host(host),
        ["failback", "after", span] => {
            settings.policy.failback_after = parse_span(span).map(Duration::from_nanos);
        }
        ["moves", many, "within", span] => match (many.parse(), parse_span(span)) {
            (Ok(moves), Some(within)) => {
                settings.policy.moves = moves;
                settings.policy.within = Duration::from_nanos(within);
            }
            _ => return false,
        },
        ["clock", host, ppm] => match (parse_host(host), ppm.parse()) {
            (Some(host), Ok(ppm)) => settings.ppm[host.index()] = ppm,
            _ => return false,
        },
        _ => return false,
    }
    true
}

fn obey(world: &mut World, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["settle"] => {
            let within = world.now + 20 * SECOND;
            if !world.run_until_seen(within, World::settled) {
                return Err("not settled within 20 s".to_owned());
            }
            // On the full second, so that a story does not change with how its pair settled.
            world.run_until((world.now + 500 * MILLI).next_multiple_of(SECOND));
        }
        ["run", span] => {
            let span = parse_span(span).ok_or("no time")?;
            world.run_until(world.now + span);
        }
        ["show", host] => world.show(parse_host(host).ok_or("no host")?)?,
        ["nothing", "moves", "from", host] => world.checker.still = parse_host(host),
        ["anything", "moves"] => world.checker.still = None,
        ["expect", ref what @ ..] => {
            return match meets(world, what) {
                Some(true) => Ok(()),
                Some(false) => Err(situation(world)),
                None => Err("not understood".to_owned()),
            };
        }
        _ => world.apply(&command::parse(line).ok_or("not understood")?),
    }
    Ok(())
}

/// `None` when the words are no expectation.
fn meets(world: &World, what: &[&str]) -> Option<bool> {
    let owns = |host: NodeId| {
        let it = &world.hosts[host.index()];
        it.alive() && it.addresses.any()
    };
    let owners = NodeId::ALL.into_iter().filter(|&host| owns(host)).count();
    let exceptions = world.checker.exceptions;
    let commits = world.now < world.checker.last_served + 300 * MILLI;
    let lost = || {
        world.branches.0.iter().any(|branch| branch.forgiven > 0)
            || NodeId::ALL.into_iter().filter(|&host| world.serves(host)).any(|host| {
                world.branches.missing(world.hosts[host.index()].database.log).next().is_some()
            })
    };
    Some(match *what {
        ["settled", "on", host] => world.settled_on(parse_host(host)?),
        ["commits"] => commits,
        ["no", "commits"] => !commits,
        ["nothing", "lost"] => !lost(),
        ["rows", "lost"] => lost(),
        ["nobody", "owns"] => owners == 0,
        ["no", "exception"] => {
            Exceptions { stale_loss: 0, recovered: 0, nothing_left: 0, ..exceptions }
                == Exceptions::default()
        }
        ["exception", "remnant"] => exceptions.remnant > 0,
        ["exception", "wake-window"] => exceptions.wake_window > 0,
        ["exception", "hidden-freeze"] => exceptions.hidden_freeze > 0,
        ["exception", "probes-lost"] => exceptions.probes_lost > 0,
        ["exception", "split-lan"] => exceptions.split_lan > 0,
        [host, "owns"] => owners == 1 && owns(parse_host(host)?),
        [host, "serves"] => owners == 1 && world.serves(parse_host(host)?),
        [host, "on"] => world.hosts[parse_host(host)?.index()].powered,
        [host, "off"] => !world.hosts[parse_host(host)?.index()].powered,
        [host, "disbelieves-its-fence"] => {
            let it = &world.hosts[parse_host(host)?.index()];
            let status = it.daemon.node.as_ref()?.status(it.clock.instant(world.now));
            status.fence.is_some_and(|fence| fence.lied_at.is_some())
        }
        [host, "certified"] => world.hosts[parse_host(host)?.index()].spoken.certified,
        [host, "uncertified"] => !world.hosts[parse_host(host)?.index()].spoken.certified,
        [host, "excludes-peer"] => world.hosts[parse_host(host)?.index()].disk.peer_excluded,
        [host, stance] => {
            let it = &world.hosts[parse_host(host)?.index()];
            it.daemon_runs() && it.daemon.stance == parse_stance(stance)?
        }
        _ => return None,
    })
}

fn parse_stance(word: &str) -> Option<Stance> {
    Stance::ALL.into_iter().find(|stance| format!("{stance:?}").eq_ignore_ascii_case(word))
}

fn situation(world: &World) -> String {
    let hosts: Vec<String> = NodeId::ALL
        .into_iter()
        .map(|host| {
            let it = &world.hosts[host.index()];
            format!(
                "{host}: {:?} {:?}, address {}, database {:?}",
                it.daemon.state,
                it.daemon.stance,
                it.holds_address(),
                it.database.state
            )
        })
        .collect();
    format!("{}; {:?}", hosts.join("; "), world.checker.exceptions)
}

/// The first lines that differ, with a little around them.
fn differences(wanted: &str, got: &str) -> String {
    let (wanted, got): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), got.lines().collect());
    let same = wanted.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(3);
    let mut text = String::new();
    for line in &wanted[from..same] {
        text += &format!("    {line}\n");
    }
    for line in wanted.iter().skip(same).take(8) {
        text += &format!("  - {line}\n");
    }
    for line in got.iter().skip(same).take(8) {
        text += &format!("  + {line}\n");
    }
    text
}
