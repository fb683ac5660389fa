//! For what only a machine that does its work in time can show: that nothing moves, that an answer
//! is young. Everything else waits for what must come, with a bound far above what it takes.

use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use duotone::lab::Yardstick;
use duotone::pulse::clock;

/// What the `voice` preset bears of a machine that stands still, its own lateness taken off.
#[allow(dead_code)] // not every test has a pair
pub const PAIR_BEARS: Duration = Duration::from_millis(90);

/// How often it is played altogether.
const PLAYS: usize = 3;

static PLAYED: AtomicU32 = AtomicU32::new(0);

/// Plays `check`. If it fails, and the machine itself stood still for longer than `borne`
/// meanwhile, that shows nothing and it is played again; the last play stands. Each play has a
/// thread of its own, so that the network it enters is left behind.
pub fn on_a_steady_machine(borne: Duration, check: impl Fn() + Sync + RefUnwindSafe) {
    for play in 1.. {
        let count = PLAYED.fetch_add(1, Ordering::Relaxed);
        let file = format!("duotone-steady-{}-{count}", std::process::id());
        let yardstick = Yardstick::start(&std::env::temp_dir().join(file)).expect("a small file");
        let began = clock::now();
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| catch_unwind(&check)).join().expect("what it panics with is caught")
        });
        let Err(why) = ended else { return };
        let waits = yardstick.since(began);
        if play == PLAYS || waits.still().max(waits.slow()) <= borne {
            resume_unwind(why);
        }
        eprintln!("played again, because the machine itself stood still: {waits:?}");
    }
}
