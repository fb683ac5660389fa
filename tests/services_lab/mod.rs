//! What the tests of services share: a scratch directory, services made of shell scripts or of
//! this test binary, and waiting with a bound.
#![allow(dead_code, missing_docs)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use duotone::adapters::process::session;
use duotone::adapters::services::{ServiceStatus, Services};
use duotone::config::{Limits, Probe, ProbeKind, RunOn, Runner, Service, Start};
use duotone::protocol::event::ServicesSeen;

/// A directory that goes away with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Services run as other users too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, mode).unwrap();
        Scratch(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Of a daemon that was killed, when no life follows that would remove its control groups.
        for entry in std::fs::read_dir(self.0.join("run")).into_iter().flatten().flatten() {
            let record = std::fs::read(entry.path()).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
            if let Some(group) = record["group"].as_str() {
                let _ = std::fs::remove_dir(group);
            }
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn script(name: &str, script: &str) -> Service {
    Service {
        name: name.into(),
        runner: Runner::Daemon,
        command: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
        user: None,
        directory: "/".into(),
        environment: Vec::new(),
        limits: Limits::default(),
        run_on: RunOn::Both,
        start: Start::BeforeAddress,
        critical: true,
        probes: Vec::new(),
        restart_delay: ms(50),
        restart_max: ms(400),
        stop_timeout: ms(2000),
    }
}

pub fn sleeper(name: &str) -> Service {
    script(name, "exec sleep 1000")
}

/// This test binary itself, running its ignored test `entry`.
pub fn myself(name: &str, entry: &str, environment: &[(&str, String)]) -> Service {
    let exe = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    Service {
        command: [&exe, entry, "--exact", "--ignored", "--nocapture"].map(Into::into).to_vec(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        ..script(name, "")
    }
}

pub fn probe(kind: ProbeKind) -> Probe {
    Probe { kind, interval: ms(50), timeout: ms(100), fall: 3, rise: 1, grace: ms(150) }
}

/// Far longer than anything takes: a test says what comes to be, not how fast a busy machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds of what is reported.
pub async fn report(services: &Services, condition: impl Fn(ServicesSeen) -> bool) -> ServicesSeen {
    let mut seen = services.seen();
    let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.is_some_and(&condition)));
    match waited.await {
        Ok(seen) => seen.unwrap().unwrap(),
        Err(_) => panic!("still {:?}; {:#?}", *services.seen().borrow(), services.status()),
    }
}

/// Waits until `condition` holds of one service.
pub async fn status(
    services: &Services,
    name: &str,
    condition: impl Fn(&ServiceStatus) -> bool,
) -> ServiceStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = services.status();
        if let Some(one) = all.iter().find(|one| one.name == name).filter(|one| condition(one)) {
            return one.clone();
        }
        assert!(Instant::now() < end, "{name}: {all:#?}");
        tokio::time::sleep(ms(2)).await;
    }
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(ms(5)).await;
    }
}

pub fn alive(pid: i32) -> bool {
    session::seen(pid).unwrap().is_some_and(|process| !process.dead)
}

pub fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
