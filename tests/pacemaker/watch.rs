//! Who has the floating address, looked at all the time in both hosts' kernels.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::network::{FLOATING, Network, letter};

/// A stretch of time in which every look found the address.
type Stretch = (Instant, Instant);

/// Looks until dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    held: [Arc<Mutex<Vec<Stretch>>>; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    pub fn start(network: &Network) -> anyhow::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let held: [Arc<Mutex<Vec<Stretch>>>; 2] = Default::default();
        let mut threads = Vec::new();
        for (node, own) in held.iter().enumerate() {
            let (stop, own) = (Arc::clone(&stop), Arc::clone(own));
            threads.push(network.thread(letter(node), move || look(&stop, &own))?);
        }
        Ok(Watch { stop, held, threads })
    }

    /// The nodes that have it now.
    pub fn owners(&self) -> Vec<usize> {
        // Longer than the time from one look to the next, on a busy machine.
        let fresh = Duration::from_millis(500);
        let last = |node: &usize| self.stretches(*node).last().map(|(_, to)| *to);
        (0..2).filter(|node| last(node).is_some_and(|to| to.elapsed() < fresh)).collect()
    }

    /// The longest time for which both had it.
    pub fn both(&self) -> Duration {
        let (a, b) = (self.stretches(0), self.stretches(1));
        let pairs = a.iter().flat_map(|one| b.iter().map(move |other| (one, other)));
        let overlaps = pairs
            .map(|(one, other)| one.1.min(other.1).saturating_duration_since(one.0.max(other.0)));
        overlaps.max().unwrap_or_default()
    }

    fn stretches(&self, node: usize) -> Vec<Stretch> {
        self.held[node].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn look(stop: &AtomicBool, held: &Mutex<Vec<Stretch>>) {
    let mut had = false;
    while !stop.load(Ordering::Relaxed) {
        // Before and after the look: a stretch is what is certain.
        let before = Instant::now();
        let has = has_address();
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.last_mut() {
            Some(stretch) if has && had => stretch.1 = before,
            _ if has => held.push((Instant::now(), Instant::now())),
            _ => {}
        }
        had = has;
        drop(held);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn has_address() -> bool {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut v4 = all.filter_map(|each| Some(each.address?.as_sockaddr_in()?.ip()));
    v4.any(|address| address.to_string() == FLOATING)
}
