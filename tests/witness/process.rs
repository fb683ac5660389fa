//! The real process on loopback: killed, restarted, flooded, asked how it stands.

use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duotone::protocol::witness::{Refusal, Reply, Verdict, Wish};
use serde_json::Value;

use crate::asker::{A, Asker, B, Directory, TAKE};

const DUOTONE: &str = env!("CARGO_BIN_EXE_duotone");
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running witness; it dies with this value.
struct Running {
    directory: Directory,
    port: u16,
    child: Child,
}

impl Running {
    fn start() -> Running {
        let directory = Directory::new();
        let key = directory.key("office.key", 1);
        // Free a moment ago, and of the range that the kernel gives to nobody who asks by number.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| directory.0.join(name).display().to_string();
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nstate_dir = \"{}\"\nsocket = \"{}\"\n[[pair]]\n\
             name = \"office\"\nkey_file = \"{}\"\n",
            path("state"),
            path("control.sock"),
            key.display()
        );
        fs::write(directory.0.join("witness.toml"), text).unwrap();
        let child = run(&directory);
        Running { directory, port, child }
    }

    /// `kill -9`, and another life.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(&self.directory);
    }

    fn verb(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(DUOTONE);
        command.arg("witness").args(words).arg("--config");
        let output = command.arg(self.directory.0.join("witness.toml")).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), out + &String::from_utf8_lossy(&output.stderr))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the witness\n{}", self.log());
        }
    }
}

fn run(directory: &Directory) -> Child {
    let log = fs::File::options().create(true).append(true).open(directory.0.join("log")).unwrap();
    let mut command = Command::new(DUOTONE);
    command.args(["witness", "run", "--config"]).arg(directory.0.join("witness.toml"));
    for name in ["DUOTONE_CONFIG", "DUOTONE_SOCKET", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

/// A node with a socket, with short times.
struct Caller {
    asker: Asker,
    socket: UdpSocket,
}

impl Caller {
    fn new(running: &Running, mut asker: Asker) -> Caller {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", running.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        asker.grant = Duration::from_millis(1_500);
        asker.certificate = Duration::from_millis(100);
        Caller { asker, socket }
    }

    /// Asks until there is an answer to the wish itself; how often it had to.
    fn ask(&mut self, wish: Wish) -> (Reply, u32) {
        let start = Instant::now();
        for tries in 1.. {
            assert!(start.elapsed() < PATIENCE, "no answer");
            let _ = self.socket.send(&self.asker.request(wish));
            let mut bytes = [0; 512];
            // Refused: the witness is not up yet.
            let Ok(length) = self.socket.recv(&mut bytes) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let reply = self.asker.hear(&bytes[..length]);
            // The answer to an earlier attempt may come late.
            if reply.sequence == self.asker.sequence && reply.verdict != Verdict::Introduced {
                return (reply, tries);
            }
        }
        unreachable!("the loop has no end");
    }

    fn ask_until(&mut self, wish: Wish, verdict: Verdict) -> Duration {
        let start = Instant::now();
        while self.ask(wish).0.verdict != verdict {
            assert!(start.elapsed() < PATIENCE, "never {verdict:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        start.elapsed()
    }
}

#[test]
fn a_killed_witness_remembers_and_waits_a_whole_grant() {
    let mut running = Running::start();
    let mut a = Caller::new(&running, Asker::new(A, 1));
    let mut b = Caller::new(&running, Asker { term: 6, ..Asker::new(B, 2) });
    a.ask_until(TAKE, Verdict::Done);
    assert_eq!(b.ask(TAKE).0.verdict, Verdict::Refused(Refusal::HeldByPeer));
    running.kill_and_restart();
    let (refused, _) = b.ask(TAKE);
    assert_eq!(refused.verdict, Verdict::Refused(Refusal::HeldByPeer));
    assert_eq!(refused.ledger.holder.map(|holder| holder.node), Some(A));
    b.ask_until(TAKE, Verdict::Done);

    let (code, out) = running.verb(&["status", "--json"]);
    let status: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}"));
    let office = &status["pairs"][0];
    assert_eq!(office["holder"], "b");
    assert_eq!(office["term"], "6b");
    assert!(office["in_force_ms"].as_u64().is_some_and(|ms| ms <= 1_500));
    assert!(office["nodes"][1]["last_heard_ms"].is_u64(), "{office:#}");
    let (code, out) = running.verb(&["status"]);
    assert!(code == 0 && out.contains("pair office: node b holds the role, term 6b"), "{out}");
    let (code, out) = running.verb(&["check"]);
    assert!(code == 0 && out.contains("valid"), "{out}");
    let log = running.log();
    assert!(log.contains("node a is granted the role under term 5a"), "{log}");
    assert!(log.contains("node b is granted the role under term 6b, after node a"), "{log}");
}

#[test]
fn a_flood_of_garbage_does_not_keep_a_pair_from_its_witness() {
    let running = Running::start();
    let mut a = Caller::new(&running, Asker::new(A, 1));
    a.ask_until(TAKE, Verdict::Done);
    let over = AtomicBool::new(false);
    let (tries, sent) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(("127.0.0.1", running.port)).unwrap();
            let mut liar = Asker::of("office", 77, B, 666);
            let kinds = [liar.request(TAKE), vec![0; 100], b"duow".to_vec(), vec![b'x'; 1_400]];
            let mut sent = 0u64;
            while !over.load(Ordering::Relaxed) {
                for kind in &kinds {
                    sent += u64::from(socket.send(kind).is_ok());
                }
                // Some ten thousand a second, on two processors that others use as well.
                if sent.is_multiple_of(40) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            sent
        });
        let renewal = |_| {
            std::thread::sleep(Duration::from_millis(20));
            a.ask(TAKE).1
        };
        let tries: u32 = (0..50).map(renewal).sum();
        over.store(true, Ordering::Relaxed);
        (tries, flood.join().unwrap())
    });
    assert!(sent > 500, "a flood of {sent}");
    assert!(tries <= 75, "{tries} attempts for 50 renewals among {sent} datagrams");
    let (_, out) = running.verb(&["status", "--json"]);
    let status: Value = serde_json::from_str(&out).expect("an answer");
    let refused = status["strangers"]["refused"].as_object().expect("counted");
    assert!(!refused.is_empty(), "{status:#}");
    assert!(status["pairs"][0]["counters"]["granted"].as_u64() >= Some(50));
}

#[test]
fn nobody_listens_when_it_is_not_running() {
    let mut running = Running::start();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let (code, out) = running.verb(&["status"]);
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("systemctl start duotone-witness"), "{out}");
}
