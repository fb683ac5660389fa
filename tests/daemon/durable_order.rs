//! A term is on the disk before the first heartbeat that speaks of it: the real daemon's system
//! calls, one after the other. What a file system may lose (an unsynced file, an unsynced name) is
//! taken for lost here, so that a missing `fsync` is seen on any disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use duotone::adapters::state_file::StateFile;
use duotone::protocol::durable::Durable;
use duotone::protocol::heartbeat::Heartbeat;
use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::wire::{Key, Keys, PairTag, decode};

use crate::pair::{DUOTONE, KEY, Pair, Wanted};
use crate::world::{HOSTS, soon};

const CALLS: &str =
    "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg,sendmmsg";

/// A traced daemon is slow: few heartbeats and probes, and time for each.
const SLOW: &str = "interval = \"200ms\"\ndelay = \"150ms\"\nlost_after = \"3s\"\n\
     release = \"200ms\"\narbiter = \"400ms\"\nprobe_interval = \"150ms\"\nprobes = 3\n\
     short_validity = \"600ms\"\nlong_validity = \"3s\"\n";

const TRACED: Duration = Duration::from_secs(150);

/// One system call: when it began (what it sends may be on the wire from then on), or when it
/// ended well (only then may anybody rely on it).
#[derive(Debug, PartialEq)]
enum Call {
    Truncated,
    Written(Vec<u8>),
    FileSynced,
    Renamed,
    DirectorySynced,
    Sent(Vec<u8>),
}

/// What would be left of the state file if the power went now.
struct Disk {
    /// A state directory whose file is what was traced, read by the daemon's own reader.
    reader: StateFile,
    written: Vec<u8>,
    /// `None`: the name would stand for a file whose content was never synced.
    synced: Option<Vec<u8>>,
    renamed: Option<Vec<u8>>,
    durable: Durable,
}

impl Disk {
    fn fresh(directory: &Path) -> Disk {
        let reader = StateFile::open(directory).unwrap();
        Disk { reader, written: Vec::new(), synced: None, renamed: None, durable: Durable::FRESH }
    }

    fn after(&mut self, call: &Call) {
        match call {
            Call::Truncated => (self.written, self.synced) = (Vec::new(), None),
            Call::Written(bytes) => {
                self.written.extend(bytes);
                self.synced = None;
            }
            Call::FileSynced => self.synced = Some(self.written.clone()),
            Call::Renamed => self.renamed = self.synced.take(),
            Call::DirectorySynced => {
                if let Some(bytes) = self.renamed.take() {
                    fs::write(self.reader.path(), bytes).unwrap();
                    self.durable = self.reader.load().expect("whole").expect("there");
                }
            }
            Call::Sent(_) => {}
        }
    }
}

/// Reads a trace of `strace -f -y -xx`: one line per call, or two when another thread came between.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: Vec<(&str, String)> = Vec::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            calls.extend(sent(start));
            begun.push((thread, start.to_owned()));
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            let Some(at) = begun.iter().position(|(of, _)| *of == thread) else { continue };
            let (_, start) = begun.swap_remove(at);
            calls.extend(ended(&format!("{start}{end}")));
        } else {
            calls.extend(sent(line));
            calls.extend(ended(line));
        }
    }
    calls
}

fn sent(line: &str) -> Option<Call> {
    line.starts_with("send").then(|| Call::Sent(bytes(line)))
}

fn ended(line: &str) -> Option<Call> {
    let (call, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let names =
        |name: &str| arguments.split(['<', '>', '"']).any(|part| unhex(part).ends_with(name));
    let of_file = names("/state.new");
    match call {
        "openat" if of_file && arguments.contains("O_TRUNC") => Some(Call::Truncated),
        "write" if of_file => Some(Call::Written(bytes(arguments))),
        "fsync" | "fdatasync" if of_file => Some(Call::FileSynced),
        "rename" | "renameat" | "renameat2" if of_file => Some(Call::Renamed),
        "fsync" if names("/here/state") => Some(Call::DirectorySynced),
        _ => None,
    }
}

/// Every string of a call, one after the other.
fn bytes(line: &str) -> Vec<u8> {
    line.split('"').skip(1).step_by(2).flat_map(hex).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("two digits")).collect()
}

fn unhex(text: &str) -> String {
    match text.starts_with("\\x") {
        true => String::from_utf8_lossy(&hex(text)).into_owned(),
        false => text.to_owned(),
    }
}

/// The heartbeat in what was sent, behind whatever header its link has.
fn heartbeat(datagram: &[u8]) -> Option<Heartbeat> {
    let at = datagram.windows(4).position(|four| four == b"duot")?;
    let key: Vec<u8> = hex(&KEY.trim().as_bytes().chunks(2).fold(String::new(), |text, pair| {
        text + "\\x" + std::str::from_utf8(pair).expect("digits")
    }));
    let key = Key::new(&key.try_into().expect("32 bytes"));
    let keys = Keys { current: key, old: None };
    let reader = (NodeId::B, Session(0));
    let received = decode(&datagram[at..], &PairTag::of("office"), &keys, reader);
    Some(received.expect("its own heartbeat").heartbeat)
}

struct Traced(Child);

impl Traced {
    fn start(pair: &Pair, trace: &Path) -> Traced {
        let mut command = pair.world.command(HOSTS[0], "strace");
        // Strings longer than a datagram, whole, and paths of descriptors; every other call runs at
        // full speed.
        command
            .args(["-f", "--seccomp-bpf", "-y", "-xx", "-s", "2048", "-e", CALLS, "-o"])
            .arg(trace);
        command.args([DUOTONE, "run", "--node", "pbx-a", "--config"]);
        command.arg(pair.world.here().join("duotone.toml"));
        let log = fs::File::create(pair.world.files(HOSTS[0]).join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Traced(command.spawn().unwrap())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn traced() -> Option<(Pair, Vec<Call>)> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: needs strace");
        return None;
    }
    let pair = Pair::new(Wanted { times: SLOW, ..Wanted::default() })?;
    let trace: PathBuf = pair.world.dir.join("trace");
    let mut daemon = Traced::start(&pair, &trace);
    let start = Instant::now();
    while !pair.serves(0) {
        assert!(start.elapsed() < TRACED, "alone, it serves");
        std::thread::sleep(Duration::from_millis(100));
    }
    let daemons = pair.world.processes(HOSTS[0]);
    let pid = daemons.into_iter().find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.starts_with(DUOTONE.as_bytes()))
    });
    crate::world::signal(pid.expect("the daemon"), nix::sys::signal::Signal::SIGTERM);
    soon("it ends, and the trace with it", || daemon.0.try_wait().unwrap().is_some());
    let calls = calls(&fs::read_to_string(trace).unwrap());
    Some((pair, calls))
}

/// The first heartbeat that speaks of what a power cut would take away; what was spoken of at most,
/// and what the disk keeps in the end.
fn judge(calls: &[&Call], directory: &Path) -> Result<(Term, Durable), String> {
    let _ = fs::remove_dir_all(directory);
    let mut disk = Disk::fresh(directory);
    let mut spoken = Term::ZERO;
    for (number, call) in calls.iter().enumerate() {
        disk.after(call);
        let Call::Sent(datagram) = call else { continue };
        let Some(said) = heartbeat(datagram) else { continue };
        let kept = disk.durable;
        for (what, term, kept) in [
            ("term", said.term, kept.term),
            ("served term", said.served, kept.served),
            ("lone term", said.lone, kept.lone),
        ] {
            if term > kept {
                let keeps = format!("a power cut would leave {kept:?}");
                return Err(format!("call {number} speaks of the {what} {term:?}; {keeps}"));
            }
        }
        spoken = spoken.max(said.term);
    }
    Ok((spoken, disk.durable))
}

#[test]
fn a_term_is_on_the_disk_before_the_first_heartbeat_that_speaks_of_it() {
    let Some((pair, calls)) = traced() else { return };
    let lost = pair.world.dir.join("lost");
    let whole: Vec<&Call> = calls.iter().collect();
    let (spoken, kept) = judge(&whole, &lost).unwrap();
    assert!(spoken > Term::ZERO, "it claimed a term and said so: {} calls", calls.len());
    // The trace tells the whole truth: nothing is on the disk that was not seen to get there.
    let own = StateFile::open(&pair.world.files(HOSTS[0]).join("state")).unwrap();
    assert_eq!(own.load().unwrap(), Some(kept));
    // Each call is needed: a daemon that left one out would be found.
    for left_out in [Call::FileSynced, Call::Renamed, Call::DirectorySynced] {
        let rest: Vec<&Call> = calls.iter().filter(|call| **call != left_out).collect();
        assert!(judge(&rest, &lost).is_err(), "{left_out:?} is not missed");
    }
}
