//! Millions of runs: `make simulate SEEDS=…`. Shows how far it is and how fast, and ends with the
//! first seed that breaks a promise.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::batch::{number, tell};
use crate::coverage::Coverage;
use crate::exceptions::Exceptions;
use crate::runs::Run;
use crate::speed;
use crate::trace::Trace;

/// Between two lines about the progress.
const REPORT: Duration = Duration::from_secs(10);

struct Seen {
    exceptions: Exceptions,
    coverage: Coverage,
    broken: Option<(u64, String)>,
}

#[test]
#[ignore = "takes as long as it is told to: make simulate"]
fn simulate() {
    let many = number("SEEDS").unwrap_or(1_000_000);
    let from = number("FROM").unwrap_or(1 << 32);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = number("THREADS").unwrap_or(cores).max(1);
    println!("seeds {from} to {}, {threads} threads", from + many - 1);
    let (next, runs) = (AtomicU64::new(0), AtomicU64::new(0));
    let (events, busy) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let seen = Mutex::new(Seen {
        exceptions: Exceptions::default(),
        coverage: Coverage::new(),
        broken: None,
    });
    let work = || {
        let mut told = 0;
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= many {
                break;
            }
            let ended = Run::of(from + at).go(Trace::silent());
            if runs.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
                let here = speed::busy().unwrap_or(0);
                busy.fetch_add(here - told, Ordering::Relaxed);
                told = here;
            }
            events.fetch_add(ended.handled, Ordering::Relaxed);
            let mut seen = seen.lock().unwrap();
            seen.exceptions.add(&ended.exceptions);
            seen.coverage.add(&ended.coverage);
            if let Some(sentence) = ended.broken {
                // The lowest: whoever is still at work may know a lower one.
                let here = (from + at, sentence);
                seen.broken =
                    Some(seen.broken.take().map_or(here.clone(), |known| known.min(here)));
                stop.store(true, Ordering::Relaxed);
            }
        }
        busy.fetch_add(speed::busy().unwrap_or(0) - told, Ordering::Relaxed);
    };
    let begin = Instant::now();
    let report = || {
        let (runs, events) = (runs.load(Ordering::Relaxed), events.load(Ordering::Relaxed));
        let wall = begin.elapsed();
        let rate = speed::told(events, busy.load(Ordering::Relaxed), wall, threads);
        println!("{runs} of {many} runs, {events} events in {wall:.0?}: {rate}");
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut reported = Instant::now();
        while !workers.iter().all(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            if reported.elapsed() >= REPORT {
                report();
                reported = Instant::now();
            }
        }
    });
    report();
    let seen = seen.into_inner().unwrap();
    println!("exceptions used: {:?}\n{}", seen.exceptions, seen.coverage.summary());
    if let Some((seed, sentence)) = seen.broken {
        panic!("{}\nseed {seed}: {sentence}", tell(seed));
    }
}
