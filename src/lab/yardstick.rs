//! What the machine itself did meanwhile: how long it let a thread wait that only had to wake, and
//! how long it took to write one small file. A pair on a machine that stands still is not late by
//! itself; what it may need is measured with this, and told with every scenario.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::clock;
use super::watch::run_first;
use crate::protocol::time::Instant;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(4);
/// Between two small files.
const BETWEEN_FILES: Duration = Duration::from_millis(50);
/// What is shorter is no wait worth keeping.
const NOTED: Duration = Duration::from_millis(5);
/// Above the pulse (20) and below the kernel's own (50): what keeps this one waiting is no process
/// of the lab.
const PRIORITY: u32 = 40;
/// How often what a pair does in a row may meet the longest wait: a takeover wakes the pulse, the
/// daemon, the database and the SIP server one after the other, and each writes before it goes on.
const IN_A_ROW: u32 = 4;

/// For whom a wait counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    /// A real-time thread, bound to one processor.
    First,
    /// A thread like any other.
    Ordinary,
    /// A write that must be on the disk.
    Disk,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    whose: Whose,
    from: Instant,
    to: Instant,
}

/// The longest waits of a time.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Waits {
    /// A processor ran no thread at all, not even a real-time one, milliseconds.
    pub still_ms: f64,
    /// An ordinary thread that had to wake waited so long for a processor, milliseconds.
    pub ordinary_ms: f64,
    /// Writing one small file took so long, milliseconds.
    pub disk_ms: f64,
}

impl Waits {
    /// What a limit for a quiet machine comes to on this one.
    pub fn stretch(&self, limit: Duration) -> Duration {
        limit + millis(self.still_ms.max(self.ordinary_ms).max(self.disk_ms)) * IN_A_ROW
    }

    /// How long the machine stood still.
    pub fn still(&self) -> Duration {
        millis(self.still_ms)
    }

    /// How long it kept waiting what is not real-time: a process or its write.
    pub fn slow(&self) -> Duration {
        millis(self.ordinary_ms.max(self.disk_ms))
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}

/// The running measurement.
pub struct Yardstick {
    stop: Arc<AtomicBool>,
    waits: Arc<Mutex<Vec<Wait>>>,
    /// When the write began that is not on the disk yet, nanoseconds; 0 when none is under way.
    writing: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Yardstick {
    /// Starts it; `file` is the small one that is written, and removed at the end.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn start(file: &Path) -> io::Result<Self> {
        let path = file.to_owned();
        write(&path)?;
        let mut yardstick = Yardstick {
            stop: Arc::default(),
            waits: Arc::default(),
            writing: Arc::default(),
            threads: Vec::new(),
        };
        for processor in processors() {
            yardstick.spawn(move |stop, waits| {
                let mut one = CpuSet::new();
                if one.set(processor).and_then(|()| sched_setaffinity(this_thread(), &one)).is_ok()
                {
                    run_first(PRIORITY);
                }
                wake(stop, waits, Whose::First);
            });
        }
        yardstick.spawn(|stop, waits| wake(stop, waits, Whose::Ordinary));
        let writing = Arc::clone(&yardstick.writing);
        yardstick.spawn(move |stop, waits| write_on(stop, waits, &writing, path));
        Ok(yardstick)
    }

    fn spawn(&mut self, work: impl FnOnce(&AtomicBool, &Mutex<Vec<Wait>>) + Send + 'static) {
        let (stop, waits) = (Arc::clone(&self.stop), Arc::clone(&self.waits));
        self.threads.push(std::thread::spawn(move || work(&stop, &waits)));
    }

    /// The longest waits that touched the time from `from` to now.
    pub fn since(&self, from: Instant) -> Waits {
        let mut waits = lock(&self.waits).clone();
        let began = self.writing.load(Ordering::SeqCst);
        if began != 0 {
            let from = Instant::from_nanos(began);
            waits.push(Wait { whose: Whose::Disk, from, to: clock::now() });
        }
        longest(&waits, from)
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(waits: &Mutex<Vec<Wait>>) -> MutexGuard<'_, Vec<Wait>> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn longest(waits: &[Wait], from: Instant) -> Waits {
    let of = |whose: Whose| {
        let counted = waits.iter().filter(|wait| wait.whose == whose && wait.to > from);
        counted.map(|wait| clock::ms_between(wait.from, wait.to)).fold(0.0, f64::max)
    };
    Waits { still_ms: of(Whose::First), ordinary_ms: of(Whose::Ordinary), disk_ms: of(Whose::Disk) }
}

fn this_thread() -> Pid {
    Pid::from_raw(0)
}

/// The processors that this process may run on.
fn processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(this_thread()) else { return vec![0] };
    (0..CpuSet::count()).filter(|&one| allowed.is_set(one).unwrap_or(false)).collect()
}

fn wake(stop: &AtomicBool, waits: &Mutex<Vec<Wait>>, whose: Whose) {
    let mut due = clock::now() + TICK;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.since(clock::now()));
        let to = clock::now();
        if to.since(due) >= NOTED {
            lock(waits).push(Wait { whose, from: due, to });
        }
        due = clock::now() + TICK;
    }
}

fn write_on(stop: &AtomicBool, waits: &Mutex<Vec<Wait>>, writing: &AtomicU64, path: PathBuf) {
    while !stop.load(Ordering::Relaxed) {
        let from = clock::now();
        writing.store(from.as_nanos(), Ordering::SeqCst);
        let written = write(&path);
        let to = clock::now();
        writing.store(0, Ordering::SeqCst);
        // A world that is being taken down has no directory any more.
        if written.is_ok() && to.since(from) >= NOTED {
            lock(waits).push(Wait { whose: Whose::Disk, from, to });
        }
        std::thread::sleep(BETWEEN_FILES);
    }
    let _ = fs::remove_file(path);
}

/// As a database appends one record, and as a state file is replaced.
fn write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(whose: Whose, from: u64, to: u64) -> Wait {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        Wait { whose, from: at(from), to: at(to) }
    }

    #[test]
    fn the_longest_of_each_kind_since_then_counts() {
        let waits = [
            wait(Whose::First, 10, 900),
            wait(Whose::First, 1000, 1040),
            wait(Whose::Ordinary, 990, 1090),
            wait(Whose::Ordinary, 1200, 1210),
            wait(Whose::Disk, 100, 2100),
        ];
        let seen = longest(&waits, Instant::from_nanos(1_000_000_000));
        assert_eq!((seen.still_ms, seen.ordinary_ms, seen.disk_ms), (40.0, 100.0, 2000.0));
        assert_eq!(seen.stretch(Duration::from_secs(1)), Duration::from_secs(9));
        assert_eq!((seen.still(), seen.slow()), (millis(40.0), millis(2000.0)));
        let quiet = longest(&waits, Instant::from_nanos(9_000_000_000));
        assert_eq!(quiet, Waits::default());
        assert_eq!(quiet.stretch(Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn a_machine_that_does_its_work_lets_nobody_wait_for_long() {
        let path = std::env::temp_dir().join(format!("duotone-yardstick-{}", std::process::id()));
        let began = clock::now();
        let yardstick = Yardstick::start(&path).unwrap();
        while yardstick.since(began) == Waits::default()
            && clock::now().since(began) < Duration::from_millis(300)
        {
            std::thread::sleep(TICK);
        }
        assert!(path.exists());
        drop(yardstick);
        assert!(!path.exists(), "nothing is left");
    }
}
