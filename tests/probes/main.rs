//! Probes against real servers on loopback.
#![allow(missing_docs)]

#[allow(dead_code, reason = "the database's own tests use the rest")]
#[path = "../postgres/cluster.rs"]
mod cluster;

mod asking;
mod certificates;
mod commands;
mod cost;
mod databases;
mod datagrams;
mod kamailio;
mod pages;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use duotone::config::{Probe, ProbeKind, SipProbe, Transport};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// For an answer that comes, on any machine.
const PATIENCE: Duration = ms(30_000);
/// For one that does not.
const SOON: Duration = ms(300);

fn probe(kind: ProbeKind, timeout: Duration) -> Probe {
    Probe { kind, interval: ms(1000), timeout, fall: 1, rise: 1, grace: ms(0) }
}

fn sip(target: SocketAddr, transport: Transport) -> ProbeKind {
    ProbeKind::Sip(SipProbe::new(target, transport))
}

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dtq-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Servers run as other users too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, mode).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server of the distribution, killed with the test, and all that it started.
struct Server(std::process::Child);

impl Server {
    fn start(command: &mut std::process::Command) -> Server {
        use std::os::unix::process::CommandExt;
        command.process_group(0).stdin(std::process::Stdio::null());
        Server(command.spawn().expect("start a server"))
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::killpg(group, signal).expect("signal a server");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Ports that nobody had a moment ago, for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether a program is there; said when it is not.
fn has(program: &str) -> bool {
    let there = std::path::Path::new(program).exists();
    if !there {
        eprintln!("skipped: needs {program}");
    }
    there
}
