//! Services are bound to the daemon's life, and start clean: a daemon made of this test binary
//! is run, killed and followed by another one.
#![allow(missing_docs)]

mod services_lab;

use std::process::{Child, Command, Stdio};

use duotone::adapters::services::Services;
use duotone::config::Service;
use duotone::protocol::event::ServicesGoal::Serve;
use duotone::protocol::health::Grade;
use nix::sys::signal::Signal;
use services_lab::*;

/// A daemon in its own process; killed with the test.
struct Daemon(Child);

impl Daemon {
    fn start(before: &[&str], scratch: &Scratch, script: &str, user: &str) -> Daemon {
        let exe = std::env::current_exe().unwrap();
        let mut words: Vec<&str> = before.to_vec();
        words.extend([exe.to_str().unwrap(), "daemon", "--exact", "--ignored", "--nocapture"]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("DTS_RUN", scratch.0.join("run")).env("DTS_SCRIPT", script);
        command.env("DTS_USER", user).env("NOTIFY_SOCKET", "/run/not/yours");
        Daemon(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: the daemon of those below.
#[test]
#[ignore = "a daemon for other tests"]
fn daemon() {
    let Ok(run) = std::env::var("DTS_RUN") else { return };
    let user = std::env::var("DTS_USER").unwrap();
    let service = Service {
        user: (!user.is_empty()).then_some(user),
        environment: vec![("GREETING".into(), "hello there".into())],
        directory: "/usr".into(),
        ..script("sip", &std::env::var("DTS_SCRIPT").unwrap())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let services = Services::supervise(vec![service], run.into());
        services.set_goal(Serve);
        std::future::pending::<()>().await;
    });
}

fn pid_in(scratch: &Scratch, file: &str) -> Option<i32> {
    scratch.read(file).trim().parse().ok()
}

#[tokio::test]
async fn a_killed_daemon_takes_its_service_along() {
    let scratch = Scratch::new("along");
    let script = format!("echo $$ > {}; exec sleep 1000", scratch.file("pid"));
    let mut daemon = Daemon::start(&[], &scratch, &script, "");
    until("the service runs", || pid_in(&scratch, "pid").is_some()).await;
    let pid = pid_in(&scratch, "pid").unwrap();
    tokio::time::sleep(ms(300)).await;
    assert!(alive(pid), "the death signal must not come from a thread that merely ended");
    daemon.kill();
    until("the service is gone", || !alive(pid)).await;
}

#[tokio::test]
async fn what_survived_is_stopped_before_anything_starts() {
    let scratch = Scratch::new("left");
    let pid_file = scratch.file("pid");
    // Deaf to the death signal.
    let script = format!("trap '' TERM; echo $$ > {pid_file}; while :; do sleep 0.05; done");
    let mut daemon = Daemon::start(&[], &scratch, &script, "");
    let record = scratch.0.join("run/sip.run");
    until("recorded", || record.exists() && pid_in(&scratch, "pid").is_some()).await;
    let old = pid_in(&scratch, "pid").unwrap();
    daemon.kill();
    tokio::time::sleep(ms(200)).await;
    assert!(alive(old), "it must survive for this test to mean anything");

    // The next life knows the service by another name only.
    let witness = scratch.file("old-was-there");
    let renamed = services_lab::script(
        "pbx",
        &format!("grep -q 'State:.[^ZX]' /proc/{old}/status && touch {witness}; exec sleep 1000"),
    );
    let services = Services::supervise(vec![renamed], scratch.0.join("run"));
    services.set_goal(Serve);
    let first = report(&services, |_| true).await;
    assert!(!first.stopped && first.critical == Grade::Unknown, "{first:?}");
    report(&services, |seen| seen.stopped && seen.critical == Grade::Good).await;
    assert!(!alive(old));
    assert!(!scratch.0.join("old-was-there").exists());
    assert!(!record.exists());
    assert_eq!(services.status().len(), 1);
    services.stop_all().await;
}

#[tokio::test]
async fn a_stranger_with_a_recorded_number_is_left_alone() {
    let scratch = Scratch::new("stranger");
    let mut stranger = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    let pid = i32::try_from(stranger.id()).unwrap();
    until("its own session", || {
        duotone::adapters::process::session::seen(pid).unwrap().is_some_and(|p| p.session == pid)
    })
    .await;
    let session = duotone::adapters::process::session::Session { id: pid, started: 1, group: None };
    let run = scratch.0.join("run");
    duotone::adapters::process::record::write(&run, "sip", &session).unwrap();
    let services = Services::supervise(Vec::new(), run.clone());
    services.set_goal(Serve);
    report(&services, |seen| seen.stopped).await;
    until("the record is void", || !run.join("sip.run").exists()).await;
    assert!(alive(pid));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_service_starts_clean() {
    if !is_root() {
        return;
    }
    let real_time = Command::new("chrt").args(["-f", "1", "true"]).status();
    if !real_time.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs real-time scheduling (chrt, CAP_SYS_NICE)");
        return;
    }
    let scratch = Scratch::new("clean");
    let facts = scratch.file("facts");
    let script = format!(
        "{{ id -un; id -Gn; pwd; echo \"$GREETING/$HOME/$USER/${{NOTIFY_SOCKET:-none}}\"; \
         grep -E '^Sig(Blk|Ign)' /proc/self/status; \
         cut -d' ' -f41 /proc/self/stat; cut -d' ' -f6 /proc/$$/stat; echo $$; }} > {facts}.new; \
         mv {facts}.new {facts}; exec sleep 1000"
    );
    // A daemon with groups, real-time through and through, that ignores a signal.
    let real_time = ["setpriv", "--groups", "4,24", "chrt", "-f", "1", "nohup"];
    let daemon = Daemon::start(&real_time, &scratch, &script, "nobody");
    until("facts", || scratch.0.join("facts").exists()).await;
    let policy = Command::new("chrt").args(["-p", &daemon.0.id().to_string()]).output().unwrap();
    assert!(String::from_utf8_lossy(&policy.stdout).contains("SCHED_FIFO"), "{policy:?}");

    let facts = scratch.read("facts");
    let lines: Vec<_> = facts.lines().collect();
    assert_eq!(lines[0], "nobody");
    assert_eq!(lines[1], "nogroup", "root's groups must be gone");
    assert_eq!(lines[2], "/usr");
    assert_eq!(lines[3], "hello there//nonexistent/nobody/none");
    assert_eq!(lines[4], "SigBlk:\t0000000000000000");
    let ignored = u64::from_str_radix(lines[5].trim_start_matches("SigIgn:\t"), 16).unwrap();
    // 32 and 33 belong to the C library, which lets nobody touch them.
    assert_eq!(ignored & !(0b11 << 31), 0, "{}", lines[5]);
    assert_eq!(lines[6], "0", "SCHED_OTHER");
    assert_eq!(lines[7], lines[8], "leader of its own session");

    // The death signal outlives the change of user.
    let pid: i32 = lines[8].parse().unwrap();
    kill(i32::try_from(daemon.0.id()).unwrap(), Signal::SIGKILL);
    until("the service is gone", || !alive(pid)).await;
}
