//! What the service manager sees.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::pair::{DUOTONE, Pair, Wanted, said};
use crate::world::{signal, soon};

/// What was said to the manager within this time.
fn told(socket: &UnixDatagram, span: Duration) -> Vec<String> {
    let end = Instant::now() + span;
    let mut told = Vec::new();
    let mut buffer = [0; 256];
    while Instant::now() < end {
        if let Ok(length) = socket.recv(&mut buffer) {
            told.push(String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
        }
    }
    told
}

#[test]
fn the_manager_is_told_of_readiness_life_and_end() {
    let Some(mut pair) = Pair::new(Wanted::patient()) else { return };
    let path = pair.world.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let path = path.display().to_string();
    pair.start_with(0, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "400000")]);
    let mut first = Vec::new();
    soon("it says that it is ready", || {
        first.extend(told(&socket, Duration::from_millis(100)));
        first.iter().any(|line| line == "READY=1")
    });
    assert_eq!(pair.ask(0, &["is-active"]).code, 1, "ready means that it answers");
    let mut beats = 0;
    soon("it says that it lives, again and again", || {
        let said = told(&socket, Duration::from_millis(100));
        beats += said.iter().filter(|line| *line == "WATCHDOG=1").count();
        beats >= 5
    });
    soon("alone, it serves", || pair.serves(0));
    let pid = pair.status(0)["services"][0]["pid"].as_i64().expect("a service");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));

    // Nobody has read for a while: it answers all the same, and says at last that it ends.
    signal(pair.pid(0), Signal::SIGTERM);
    let mut last = Vec::new();
    soon("it says that it ends", || {
        last.extend(told(&socket, Duration::from_millis(100)));
        last.iter().any(|line| line == "STOPPING=1")
    });
    assert_eq!(pair.end(0), Some(0));
}

#[test]
fn the_unit_is_understood_by_systemd() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: needs systemd-analyze (package systemd)");
        return;
    }
    let directory = std::env::temp_dir().join(format!("dtdu{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let unit = directory.join("duotone.service");
    let text = include_str!("../../systemd/duotone.service").replace("/usr/bin/duotone", DUOTONE);
    fs::write(&unit, &text).unwrap();
    let good = said(Command::new("systemd-analyze").arg("verify").arg(&unit));
    fs::write(&unit, text.replace("WatchdogSec=", "WatchDogSecs=")).unwrap();
    let bad = said(Command::new("systemd-analyze").arg("verify").arg(&unit));
    fs::remove_dir_all(&directory).unwrap();
    let about =
        |said: &crate::pair::Said| said.err.lines().filter(|line| line.contains("duotone")).count();
    assert_eq!((good.code, about(&good)), (0, 0), "{good:?}");
    assert!(about(&bad) > 0, "a mistake would be seen: {bad:?}");
}
