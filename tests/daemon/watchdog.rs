//! The host's watchdog, played by a pipe: it is fed while the daemon works, disarmed by an orderly
//! end, and neither by a daemon that hangs nor by one that was killed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pair::{Pair, Wanted};
use crate::world::{HOSTS, run, signal, soon};

/// The device's end: what it was given since it was last asked.
struct Dog(File);

impl Dog {
    fn given(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // No data is an error of a pipe that is not waited for; what was read stays.
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }
}

#[test]
fn the_host_s_watchdog_is_fed_while_the_daemon_works() {
    let wanted = Wanted { pair: "watchdog = \"HERE/dog\"", ..Wanted::patient() };
    let Some(mut pair) = Pair::new(wanted) else { return };
    let dogs = HOSTS.map(|host| {
        let path = pair.world.files(host).join("dog");
        run(Command::new("mkfifo").arg(&path));
        let mut open = File::options();
        Dog(open.read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap())
    });
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    let [a, b] = dogs;
    let (mut own, mut other) = if active == 0 { (a, b) } else { (b, a) };
    for dog in [&mut own, &mut other] {
        soon("it is fed", || !dog.given().is_empty());
        soon("it is fed again", || !dog.given().is_empty());
    }
    assert_eq!(pair.status(active)["watchdog"], "fed");

    let standby = 1 - active;
    signal(pair.pid(standby), Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(500));
    other.given();
    std::thread::sleep(Duration::from_secs(3));
    assert!(other.given().is_empty(), "a daemon that hangs feeds nobody");
    signal(pair.pid(standby), Signal::SIGCONT);
    soon("it is fed again", || !other.given().is_empty());

    pair.kill(standby);
    assert!(!other.given().contains(&b'V'), "who is killed disarms nothing");
    let mut last = Vec::new();
    assert_eq!(pair.terminate(active), Some(0));
    last.extend(own.given());
    assert_eq!(last.last(), Some(&b'V'), "an orderly end disarms it");
}
