//! The fence's agents as they are met: one that works, and those that hang, lie, fail, flood or are
//! not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use duotone::adapters::fence::{FenceSeen, look, power_off};
use duotone::config::{Fence, FenceDevice};
use duotone::protocol::event::PeerPower;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads what it is told into `action`, `plug` and so on, and notes it; `$here` is its directory.
const READS: &str = "here=${0%/*}\nwhile IFS== read -r key value; do \
     echo \"$key=$value\" >> $here/told; \
     case $key in action|plug|password) eval $key='$value';; esac; done\n";

/// Agents that a test wrote, and what they know; removed when it ends.
struct Bench(PathBuf);

impl Bench {
    fn new() -> Bench {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dtfence{}x{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Bench(path)
    }

    /// An agent that does this with what it was told.
    fn agent(&self, does: &str) -> Fence {
        self.device("agent", &format!("{READS}{does}"))
    }

    fn device(&self, name: &str, script: &str) -> Fence {
        let agent = self.0.join(name);
        fs::write(&agent, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("mode");
        let device = FenceDevice {
            name: name.to_owned(),
            agent,
            options: vec![("ip".into(), "10.9.1.7".into())],
            of_peer: vec![("plug".into(), "7".into())],
            password_file: None,
        };
        Fence { monitor: Duration::from_secs(60), devices: vec![device] }
    }

    fn password(&self, fence: &mut Fence, password: &str) {
        let path = self.0.join("password");
        fs::write(&path, format!("{password}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        fence.devices[0].password_file = Some(path);
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn off(fence: &Fence, limit: Duration) -> FenceSeen {
    runtime().block_on(power_off(fence, limit))
}

fn looks(fence: &Fence, limit: Duration) -> FenceSeen {
    runtime().block_on(look(fence, limit))
}

fn trouble(seen: &FenceSeen) -> String {
    seen.troubles().collect::<Vec<_>>().join("\n")
}

/// Whether a process lives that is no zombie.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[track_caller]
fn soon(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A plug that is off only when it is asked for the second time after the order.
const WORKS: &str = "case $action in \
     off) touch $here/asked; echo 'Success: Powered OFF';; \
     status) test -e $here/asked || exit 0; echo >> $here/asked; \
         test $(wc -l < $here/asked) -ge 2 && exit 2; exit 0;; \
     monitor) ;; \
     *) echo \"unknown action $action\" >&2; exit 1;; esac";

#[test]
fn an_agent_that_works_is_told_everything_on_standard_input() {
    let bench = Bench::new();
    let mut fence = bench.agent(&format!(
        "tr '\\0' ' ' < /proc/$$/cmdline >> $here/line; env >> $here/environment\n{WORKS}"
    ));
    bench.password(&mut fence, "s3cret=1 \"x");
    let seen = looks(&fence, PATIENCE);
    assert_eq!((seen.power(), trouble(&seen).as_str()), (PeerPower::On, ""));
    assert_eq!(
        bench.file("told"),
        "action=monitor\nip=10.9.1.7\nplug=7\npassword=s3cret=1 \"x\n\
         action=status\nip=10.9.1.7\nplug=7\npassword=s3cret=1 \"x\n"
    );
    let line = bench.file("line");
    let words: Vec<&str> = line.split_whitespace().collect();
    let program = bench.0.join("agent").display().to_string();
    assert_eq!(words, ["/bin/sh", &program, "/bin/sh", &program], "no arguments");
    let environment = bench.file("environment");
    for variable in environment.lines() {
        let name = variable.split('=').next().unwrap_or_default();
        assert!(
            ["PATH", "LC_ALL", "HOME", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name),
            "{name}"
        );
    }
    let seen = off(&fence, PATIENCE);
    assert_eq!((seen.power(), trouble(&seen).as_str()), (PeerPower::Off, ""));
    let told = bench.file("told");
    assert_eq!(told.matches("action=off").count(), 1, "once: {told}");
    assert_eq!(told.matches("action=status").count(), 3, "until it was off: {told}");
    assert_eq!(looks(&fence, PATIENCE).power(), PeerPower::Off);
}

#[test]
fn an_agent_that_hangs_is_killed_with_its_children() {
    let bench = Bench::new();
    let fence = bench.device(
        "hangs",
        "here=${0%/*}; trap '' TERM; sleep 600 & echo $! > $here/child; echo $$ > $here/self; \
         echo 'connecting' >&2; while :; do sleep 1; done",
    );
    let began = Instant::now();
    let seen = off(&fence, Duration::from_secs(16));
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(seen.power(), PeerPower::Unknown);
    let told = trouble(&seen);
    assert!(
        told.contains("hangs: off: no answer within 12s: the agent was killed: connecting"),
        "{told}"
    );
    for name in ["child", "self"] {
        let pid = bench.file(name);
        assert!(!pid.is_empty(), "{name}");
        soon("it is dead", || !lives(&pid));
    }
}

#[test]
fn an_agent_whose_caller_goes_away_is_killed() {
    let bench = Bench::new();
    let fence = bench.device("hangs", "echo $$ > ${0%/*}/self; exec sleep 600");
    runtime().block_on(async {
        let runs = async {
            while bench.file("self").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            seen = look(&fence, PATIENCE) => panic!("it hangs: {seen:?}"),
            () = runs => {}
        }
    });
    let pid = bench.file("self");
    assert!(!pid.is_empty());
    soon("it is dead", || !lives(&pid));
}

#[test]
fn an_agent_that_lies_is_not_believed() {
    let bench = Bench::new();
    let fence = bench.agent("case $action in off) exit 0;; status) exit 0;; esac");
    let seen = off(&fence, Duration::from_secs(10));
    assert_eq!(seen.power(), PeerPower::On);
    assert_eq!(trouble(&seen), "agent: status says that it is on");
    assert!(bench.file("told").matches("action=status").count() >= 2, "{}", bench.file("told"));
}

#[test]
fn an_agent_that_fails_is_reported_and_not_tried_again() {
    let bench = Bench::new();
    let fails_once = "test -e $here/failed || { touch $here/failed; \
         echo \"login failed for $password\" >&2; exit 1; }\n";
    let mut fence = bench.agent(&format!(
        "case $action in off) {fails_once} touch $here/off;; \
         status) test -e $here/off && exit 2; exit 0;; esac"
    ));
    bench.password(&mut fence, "s3cret");
    let seen = off(&fence, PATIENCE);
    assert_eq!(seen.power(), PeerPower::On);
    let told = trouble(&seen);
    assert_eq!(
        told,
        "agent: off: the agent exited with code 1: login failed for ***; status says that it is on"
    );
    assert_eq!(bench.file("told").matches("action=off").count(), 1);
    assert_eq!(bench.file("told").matches("action=status").count(), 1);
    assert_eq!(off(&fence, PATIENCE).power(), PeerPower::Off, "the next order is another try");
}

#[test]
fn an_agent_that_cannot_tell_makes_the_power_unknown() {
    let bench = Bench::new();
    let fence = bench.agent("test $action = off || { echo 'no route to host' >&2; exit 1; }");
    let seen = off(&fence, Duration::from_secs(10));
    assert_eq!(seen.power(), PeerPower::Unknown);
    let told = trouble(&seen);
    assert_eq!(told, "agent: status: the agent exited with code 1: no route to host");
    let seen = looks(&fence, PATIENCE);
    assert_eq!(seen.power(), PeerPower::Unknown);
    let told = trouble(&seen);
    assert_eq!(told, "agent: monitor: the agent exited with code 1: no route to host");
    // Any other code, and a signal, are no answer either.
    for end in ["exit 3", "kill -9 $$"] {
        let seen = looks(&bench.agent(end), PATIENCE);
        assert_eq!(seen.power(), PeerPower::Unknown, "{end}");
        assert!(!trouble(&seen).is_empty(), "{end}");
    }
}

#[test]
fn an_agent_that_talks_without_end_harms_nobody() {
    let bench = Bench::new();
    let fence = bench.device(
        "talks",
        "head -c 30000000 /dev/zero | tr '\\0' x; head -c 30000000 /dev/zero | tr '\\0' '\\n' >&2; \
         printf 'last \\033[2Jwords\\n' >&2; exit 1",
    );
    let seen = looks(&fence, PATIENCE);
    assert_eq!(seen.power(), PeerPower::Unknown);
    assert_eq!(trouble(&seen), "talks: monitor: the agent exited with code 1: last [2Jwords");
}

#[test]
fn an_agent_that_is_not_there_is_told() {
    let bench = Bench::new();
    let mut fence = bench.agent("exit 2");
    fs::remove_file(&fence.devices[0].agent).expect("removed");
    let seen = off(&fence, PATIENCE);
    assert_eq!(seen.power(), PeerPower::Unknown);
    assert!(trouble(&seen).contains("off: cannot execute"), "{}", trouble(&seen));
    // A password that is missing is no reason to ask without one.
    fence.devices = bench.agent("exit 2").devices;
    fence.devices[0].password_file = Some(bench.0.join("nowhere"));
    let seen = off(&fence, PATIENCE);
    assert_eq!(seen.power(), PeerPower::Unknown);
    assert!(trouble(&seen).contains("nowhere does not exist"), "{}", trouble(&seen));
    assert_eq!(bench.file("told"), "", "it was not run");
}

#[test]
fn two_supplies_are_off_when_both_are() {
    let bench = Bench::new();
    let off_after =
        |name: &str, code: u8| bench.device(name, &format!("{READS}exit {code}")).devices;
    let fence = |devices: Vec<Vec<FenceDevice>>| Fence {
        monitor: Duration::from_secs(60),
        devices: devices.concat(),
    };
    let limit = Duration::from_secs(10);
    let both = fence(vec![off_after("left", 2), off_after("right", 2)]);
    assert_eq!(off(&both, limit).power(), PeerPower::Off);
    let one = fence(vec![off_after("left", 2), off_after("right", 0)]);
    let seen = off(&one, limit);
    assert_eq!(seen.power(), PeerPower::On);
    assert_eq!(trouble(&seen), "right: status says that it is on");
    let unsure = fence(vec![off_after("left", 1), off_after("right", 2)]);
    assert_eq!(off(&unsure, limit).power(), PeerPower::Unknown);
}
