//! Who holds the floating address, and when: every guest's kernel is asked by a small program in the
//! guest, which writes what it saw, with the guest's own clock, to a virtio port.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One look: when it arrived here, the guest's boot-time clock in nanoseconds, and the answer.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub arrived: Instant,
    pub guest_ns: u64,
    pub held: bool,
}

/// Looks between which the guest's clock ran on: a boot or a pause begins a new run.
type Runs = Arc<Mutex<Vec<Vec<Look>>>>;

pub struct Watch {
    socket: PathBuf,
    runs: Runs,
}

impl Watch {
    pub fn new(socket: &Path) -> Watch {
        Watch { socket: socket.to_owned(), runs: Arc::default() }
    }

    /// The guest was turned on: listens until it is off.
    pub fn began(&self) {
        self.cut();
        let (socket, runs) = (self.socket.clone(), Arc::clone(&self.runs));
        std::thread::spawn(move || {
            let start = Instant::now();
            let stream = loop {
                match UnixStream::connect(&socket) {
                    Ok(stream) => break stream,
                    Err(_) if start.elapsed() > Duration::from_secs(30) => return,
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            };
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut words = line.split(' ').map(str::parse);
                let (Some(Ok(guest_ns)), Some(Ok(held))) = (words.next(), words.next()) else {
                    continue;
                };
                let look = Look { arrived: Instant::now(), guest_ns, held: held != 0 };
                if let Some(run) = runs.lock().unwrap().last_mut() {
                    run.push(look);
                }
            }
        });
    }

    pub fn ended(&self) {
        self.cut();
    }

    /// The guest's clock and this one's part here.
    pub fn cut(&self) {
        self.runs.lock().unwrap().push(Vec::new());
    }

    pub fn last(&self) -> Option<Look> {
        self.runs.lock().unwrap().iter().rev().find_map(|run| run.last().copied())
    }

    /// Every look since the last cut.
    pub fn looks(&self) -> Vec<Look> {
        self.runs.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// When it was held, by this machine's clock.
    fn spans(&self) -> Vec<(Instant, Instant)> {
        self.runs.lock().unwrap().iter().flat_map(|run| spans(run)).collect()
    }
}

/// The guest's clock is laid over this one's by the look that was on its way for the shortest time.
fn spans(run: &[Look]) -> Vec<(Instant, Instant)> {
    let Some(first) = run.first() else { return Vec::new() };
    let since = |look: &Look| Duration::from_nanos(look.guest_ns.saturating_sub(first.guest_ns));
    let Some(zero) = run.iter().filter_map(|look| look.arrived.checked_sub(since(look))).min()
    else {
        return Vec::new();
    };
    let held = run.chunk_by(|one, next| one.held == next.held).filter(|looks| looks[0].held);
    held.map(|looks| (zero + since(&looks[0]), zero + since(&looks[looks.len() - 1]))).collect()
}

/// For how long both held it, longest first.
pub fn both(watches: [&Watch; 2]) -> Vec<Duration> {
    let [one, other] = watches.map(Watch::spans);
    let mut both: Vec<Duration> = one
        .iter()
        .flat_map(|(from, to)| {
            other.iter().map(move |(begin, end)| {
                let (from, to) = (*from.max(begin), *to.min(end));
                to.saturating_duration_since(from)
            })
        })
        .filter(|span| !span.is_zero())
        .collect();
    both.sort_by(|one, next| next.cmp(one));
    both
}

/// Runs in the guest. The local table is the kernel's word, and costs no process.
pub const PROGRAM: &str = r#"use Time::HiRes qw(clock_gettime sleep);
open my $port, '>', '/dev/virtio-ports/watch' or die "port: $!";
while (1) {
    open my $table, '<', '/proc/net/fib_trie' or die "table: $!";
    my $text = do { local $/; <$table> };
    my $held = $text =~ m{ 192\.0\.2\.10\n\s+/32 host LOCAL} ? 1 : 0;
    syswrite $port, sprintf("%.0f %d\n", clock_gettime(7) * 1e9, $held);
    sleep 0.025;
}
"#;
