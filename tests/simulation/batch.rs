//! The batch of random runs, and one run told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use duotone::protocol::arbiter::Arbitration;

use crate::coverage::Coverage;
use crate::exceptions::Exceptions;
use crate::keys::KeyTrouble;
use crate::mutated;
use crate::runs::Run;
use crate::scenario;
use crate::schedule::Trouble;
use crate::speed;
use crate::trace::Trace;

/// Tells the story of a broken run, cut down to what it needs.
pub fn tell(seed: u64) -> String {
    let whole = Run::of(seed);
    let story = whole.go(Trace::told());
    let Some(_) = story.broken else {
        return format!("{whole}\n{}\nkept every promise", story.lines.join("\n"));
    };
    let run = whole.cut_down();
    let ended = run.go(Trace::told());
    let from = ended.lines.len().saturating_sub(lines_wanted());
    format!(
        "{run}BROKEN: {}\n{}\nreplay with SEED={seed}",
        ended.broken.unwrap_or_default(),
        ended.lines[from..].join("\n")
    )
}

fn lines_wanted() -> usize {
    number("LINES_TOLD").unwrap_or(60) as usize
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a batch has seen.
struct Batch {
    exceptions: Exceptions,
    coverage: Coverage,
    handled: u64,
    /// How long the threads had a core, in nanoseconds.
    busy: u64,
    troubles: Vec<Trouble>,
    /// How many hosts were powered off by a fence.
    fenced: u64,
    broken: Vec<(u64, String)>,
}

fn batch(seeds: &[u64]) -> Batch {
    let next = AtomicU64::new(0);
    let enough = number("ENOUGH").unwrap_or(40);
    let total = Mutex::new(Batch {
        exceptions: Exceptions::default(),
        coverage: Coverage::new(),
        handled: 0,
        busy: 0,
        troubles: Vec::new(),
        fenced: 0,
        broken: Vec::new(),
    });
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(&seed) = seeds.get(at) else { break };
            let run = Run::of(seed);
            let ended = run.go(Trace::silent());
            let mut total = total.lock().unwrap();
            total.exceptions.add(&ended.exceptions);
            total.coverage.add(&ended.coverage);
            total.handled += ended.handled;
            total.troubles.extend(run.troubles);
            total.fenced += ended.fenced;
            total.broken.extend(ended.broken.map(|sentence| (seed, sentence)));
            if total.broken.len() as u64 >= enough {
                break;
            }
        }
        total.lock().unwrap().busy += speed::busy().unwrap_or(0);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap()
}

/// Every commit tries seeds that nobody has tried, and the same ones wherever it is checked: what
/// would refuse it can be seen before.
fn of_the_commit() -> Option<u64> {
    let mut git = std::process::Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let head = String::from_utf8(git.output().ok()?.stdout).ok()?;
    Some(u64::from_str_radix(head.get(..12)?, 16).ok()? * 10_000)
}

fn of_the_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_nanos() as u64 / 1_000 * 1_000)
}

#[test]
fn every_promise_is_kept_over_random_runs() {
    if let Some(seed) = number("SEED") {
        let story = tell(seed);
        println!("{story}");
        assert!(story.ends_with("kept every promise"), "seed {seed} breaks a promise");
        return;
    }
    let many = number("SEEDS").unwrap_or(18_000);
    let fresh = number("FRESH").or_else(of_the_commit).unwrap_or_else(of_the_clock);
    let mut seeds: Vec<u64> = (0..many).collect();
    let some = (many / 10).max(1);
    println!("fresh seeds: {fresh} to {}", fresh + some - 1);
    let promises_only = mutated::promises_only();
    if !promises_only {
        seeds.extend(fresh..fresh + some);
    }
    let begin = std::time::Instant::now();
    let mut seen = batch(&seeds);
    seen.coverage.add(&scenario::coverage());
    println!(
        "{} runs, {} events in {:.1?}; exceptions used: {:?}",
        seeds.len(),
        seen.handled,
        begin.elapsed(),
        seen.exceptions
    );
    println!("{}", speed::told(seen.handled, seen.busy, begin.elapsed(), 1));
    println!("{}", seen.coverage.summary());
    let gaps = seen.coverage.gaps();
    println!("{}", gaps.join("\n"));
    if let Some((seed, sentence)) = seen.broken.iter().min() {
        mutated::found(&format!("seed {seed}"), sentence);
        assert!(!promises_only, "seed {seed} breaks a promise");
        let list: Vec<String> =
            seen.broken.iter().map(|(seed, what)| format!("  {seed}: {what}")).collect();
        panic!("{}\nbroken:\n{}", tell(*seed), list.join("\n"));
    }
    if many >= 1_000 && !promises_only {
        assert!(gaps.is_empty(), "{}", gaps.join("\n"));
        let per_run = seen.troubles.len() as f64 / seeds.len() as f64;
        println!("{per_run:.1} troubles in a run");
        println!("{} hosts powered off by a fence", seen.fenced);
        assert!(seen.fenced >= many / 12, "only {} hosts were powered off", seen.fenced);
        assert!(per_run >= 2.0, "too little breaks: {per_run:.1} troubles in a run");
        let keys = KeyTrouble::ALL.map(Trouble::Keys);
        for trouble in Trouble::all(Arbitration::WITNESS_AND_FENCE).into_iter().chain(keys) {
            let times = seen.troubles.iter().filter(|made| **made == trouble).count() as u64;
            let wanted = match trouble {
                // A third of the seeds has a witness, a quarter a fence.
                Trouble::Witness(_) => many / 90,
                Trouble::Fence(_) => many / 120,
                // A third of seven tenths of a seventh.
                Trouble::Keys(_) => many / 50,
                Trouble::Host(_) | Trouble::Cable(_) | Trouble::Work(_) | Trouble::Order(_) => {
                    many / 60
                }
            };
            assert!(times >= wanted, "{trouble:?} was made only {times} times");
        }
        let Exceptions {
            wake_window,
            hidden_freeze,
            remnant,
            split_lan,
            probes_lost,
            stale_loss,
            recovered,
            // Rare: two faults of one node in the middle of the other's copy.
            nothing_left: _,
        } = seen.exceptions;
        for (name, times) in [
            ("wake window", wake_window),
            ("hidden freeze", hidden_freeze),
            ("remnant", remnant),
            ("split LAN", split_lan),
            ("lost probes", probes_lost),
            ("stale loss", stale_loss),
            ("recovered", recovered),
        ] {
            assert!(times > 0, "no run reached the exception: {name}");
        }
    }
}
