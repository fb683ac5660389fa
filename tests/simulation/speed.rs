//! How fast the simulator is, whatever else the machine does.

/// How long the calling thread has had a core, in nanoseconds; `None` when the kernel does not tell.
pub fn busy() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().next()?.parse().ok()
}

/// Events per second of one core; `wall` times the threads where the kernel does not tell.
pub fn told(events: u64, busy: u64, wall: std::time::Duration, threads: u64) -> String {
    let (nanos, of) = match busy {
        0 => (wall.as_nanos() as u64 * threads, "thread"),
        _ => (busy, "core"),
    };
    let rate = events as f64 / (nanos.max(1) as f64 / 1e9);
    format!("{:.2} million events per second of one {of}", rate / 1e6)
}
