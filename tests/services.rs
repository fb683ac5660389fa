//! The services' supervisor with real processes.
#![allow(missing_docs)]

mod services_lab;

use std::net::UdpSocket;

use duotone::adapters::process::cgroup::Cgroup;
use duotone::adapters::process::session;
use duotone::adapters::services::{Services, State};
use duotone::config::{Limits, Probe, ProbeKind, RunOn, Service, SipProbe, Start, Transport};
use duotone::protocol::event::ServicesGoal::{Prepare, Serve, Standby};
use duotone::protocol::health::Grade;
use nix::sys::signal::Signal;
use services_lab::*;

async fn pid_of(services: &Services, name: &str) -> i32 {
    status(services, name, |one| one.pid.is_some()).await.pid.unwrap()
}

#[tokio::test]
async fn the_goal_decides_who_runs() {
    let scratch = Scratch::new("goals");
    let services = Services::supervise(
        vec![
            Service { run_on: RunOn::Active, ..sleeper("active") },
            Service { run_on: RunOn::Active, start: Start::AfterAddress, ..sleeper("late") },
            Service { run_on: RunOn::Standby, ..sleeper("standby") },
            sleeper("both"),
        ],
        scratch.0.join("run"),
    );
    assert_eq!(*services.seen().borrow(), None);
    for (goal, expected) in [
        (Standby, vec!["standby", "both"]),
        (Prepare, vec!["active", "both"]),
        (Serve, vec!["active", "late", "both"]),
        (Standby, vec!["standby", "both"]),
    ] {
        services.set_goal(goal);
        report(&services, |seen| seen.goal == goal && seen.stopped && seen.critical == Grade::Good)
            .await;
        let running: Vec<_> =
            services.status().into_iter().filter(|one| one.pid.is_some()).collect();
        let names: Vec<_> = running.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, expected, "{goal:?}");
        assert!(running.iter().all(|one| alive(one.pid.unwrap())));
    }
    let both = pid_of(&services, "both").await;
    services.stop_all().await;
    assert!(!alive(both));
    assert!(services.status().iter().all(|one| one.state == State::Stopped && one.pid.is_none()));
}

#[tokio::test]
async fn a_takeover_does_not_wait_for_what_runs_already() {
    let scratch = Scratch::new("prepare");
    let services = Services::supervise(vec![sleeper("sip")], scratch.0.join("run"));
    services.set_goal(Standby);
    report(&services, |seen| seen.critical == Grade::Good).await;
    let before = pid_of(&services, "sip").await;
    let mut seen = services.seen();
    let mut took = Vec::new();
    for _ in 0..10 {
        let asked = std::time::Instant::now();
        services.set_goal(Prepare);
        seen.wait_for(|seen| seen.is_some_and(|seen| seen.goal == Prepare)).await.unwrap();
        took.push(asked.elapsed());
        let first = seen.borrow_and_update().unwrap();
        assert!(first.stopped && first.critical == Grade::Good, "{first:?}");
        services.set_goal(Standby);
        report(&services, |seen| seen.goal == Standby).await;
    }
    // A busy machine may be slow now and then, waiting would be slow each time.
    assert!(took.iter().any(|took| *took < ms(50)), "{took:?}");
    services.set_goal(Prepare);
    report(&services, |seen| seen.goal == Prepare).await;
    seen.borrow_and_update();
    assert_eq!(pid_of(&services, "sip").await, before);
    // Asked again, it answers again.
    services.set_goal(Prepare);
    tokio::time::timeout(ms(30_000), seen.changed()).await.unwrap().unwrap();
    services.stop_all().await;
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_never_looks_good() {
    let scratch = Scratch::new("loop");
    let log = scratch.file("starts");
    let services = Services::supervise(
        // Longer than the settling time, so that only the ladder can unmask it.
        vec![script("sip", &format!("echo x >> {log}; sleep 0.12; exit 3"))],
        scratch.0.join("run"),
    );
    services.set_goal(Serve);
    report(&services, |seen| seen.critical == Grade::Failed).await;
    let at_400 = status(&services, "sip", |one| one.restarts == 3).await;
    assert_eq!(at_400.reason.as_deref(), Some("exited with code 3"));
    let mut seen = services.seen();
    let began = std::time::Instant::now();
    let grades = tokio::time::timeout(ms(1200), async {
        loop {
            assert_eq!(seen.borrow_and_update().unwrap().critical, Grade::Failed);
            seen.changed().await.unwrap();
        }
    });
    assert!(grades.await.is_err(), "it only ends by the time limit");
    // 400 ms of pause and 120 ms of life each.
    let starts = scratch.read("starts").lines().count();
    let most = 5 + began.elapsed().as_millis() as usize / 400;
    assert!((4..=most).contains(&starts), "{starts} starts, {:?}", began.elapsed());
    services.stop_all().await;
}

#[tokio::test]
async fn a_failure_is_seen_and_mended() {
    let scratch = Scratch::new("mend");
    let services = Services::supervise(vec![sleeper("sip")], scratch.0.join("run"));
    services.set_goal(Serve);
    report(&services, |seen| seen.critical == Grade::Good).await;
    let pid = pid_of(&services, "sip").await;
    kill(pid, Signal::SIGKILL);
    report(&services, |seen| seen.critical == Grade::Failed).await;
    report(&services, |seen| seen.critical == Grade::Good).await;
    let now = status(&services, "sip", |one| one.restarts == 1).await;
    assert_ne!(now.pid, Some(pid));
    assert_eq!(now.reason, None);
    services.stop_all().await;
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed_and_not_called_stopped_before() {
    let scratch = Scratch::new("stubborn");
    let ready = scratch.file("ready");
    let stubborn = Service {
        run_on: RunOn::Active,
        stop_timeout: ms(300),
        ..script("sip", &format!("trap '' TERM; echo > {ready}; while :; do sleep 0.05; done"))
    };
    let services = Services::supervise(vec![stubborn], scratch.0.join("run"));
    services.set_goal(Serve);
    until("ready", || scratch.0.join("ready").exists()).await;
    let pid = pid_of(&services, "sip").await;
    let asked = std::time::Instant::now();
    services.set_goal(Standby);
    let first = report(&services, |seen| seen.goal == Standby).await;
    assert!(!first.stopped);
    report(&services, |seen| seen.stopped).await;
    assert!(asked.elapsed() >= ms(300), "{:?}", asked.elapsed());
    assert!(!alive(pid));
    assert!(duotone::adapters::process::leftovers(&scratch.0.join("run")).unwrap().is_empty());
}

#[tokio::test]
async fn no_grandchild_is_left_even_in_a_group_of_its_own() {
    let scratch = Scratch::new("grand");
    let pids = scratch.file("pids");
    let family = script(
        "sip",
        // With job control each child gets a process group of its own. One of them is deaf.
        &format!(
            "set -m; sleep 1000 & echo $! >> {pids}; \
             sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo $! >> {pids}; wait"
        ),
    );
    let services = Services::supervise(vec![family], scratch.0.join("run"));
    let grandchildren = || -> Vec<i32> {
        scratch.read("pids").lines().filter_map(|line| line.parse().ok()).collect()
    };
    services.set_goal(Serve);
    until("two grandchildren", || grandchildren().len() == 2).await;
    let first = grandchildren();
    assert!(first.iter().all(|&pid| alive(pid)));

    // The parent alone dies: its orphans go before it is started again.
    kill(pid_of(&services, "sip").await, Signal::SIGKILL);
    until("two more", || grandchildren().len() == 4).await;
    assert!(first.iter().all(|&pid| !alive(pid)));

    services.stop_all().await;
    assert!(grandchildren().iter().all(|&pid| !alive(pid)));
}

#[tokio::test]
async fn one_that_left_the_session_is_found_in_the_control_group() {
    let scratch = Scratch::new("escape");
    let Some(group) = Cgroup::make(&format!("probe-{}", std::process::id())) else {
        return eprintln!("skipped: no control group of version 2 can be made here");
    };
    group.remove().unwrap();
    let pids = scratch.file("pids");
    // A daemon in the classic sense, deaf; its parent may end or be stopped.
    let deaf = "trap \"\" TERM; while :; do sleep 0.05; done";
    let words = format!("setsid sh -c '{deaf}' & echo $! >> {pids}; exec sleep 1000");
    let brief = Service { stop_timeout: ms(300), ..script("sip", &words) };
    let services = Services::supervise(vec![brief], scratch.0.join("run"));
    let escaped = || -> Vec<i32> {
        scratch.read("pids").lines().filter_map(|line| line.parse().ok()).collect()
    };
    services.set_goal(Serve);
    until("one has escaped", || escaped().len() == 1).await;
    let first = escaped()[0];
    let (of_it, leader) = (session::seen(first).unwrap(), pid_of(&services, "sip").await);
    assert_ne!(of_it.map(|seen| seen.session), Some(leader), "it must have left");
    kill(leader, Signal::SIGKILL);
    until("another has", || escaped().len() == 2).await;
    assert!(!alive(first), "its orphan went before it was started again");
    services.stop_all().await;
    assert!(!alive(escaped()[1]));
}

#[tokio::test]
async fn a_command_has_its_limits() {
    let scratch = Scratch::new("limits");
    let seen = scratch.file("seen");
    let words = format!("ulimit -n > {seen}; ulimit -c >> {seen}; exec sleep 1000");
    let limits = Limits { open_files: Some(321), core: Some(0), ..Limits::default() };
    let services = Services::supervise(
        vec![Service { limits, ..script("sip", &words) }],
        scratch.0.join("run"),
    );
    services.set_goal(Serve);
    until("it has said them", || scratch.read("seen").lines().count() == 2).await;
    assert_eq!(scratch.read("seen").lines().collect::<Vec<_>>(), ["321", "0"]);
    // Other limits are another process.
    let first = pid_of(&services, "sip").await;
    services.reload(vec![script("sip", &words)]);
    status(&services, "sip", |one| one.pid.is_some_and(|pid| pid != first)).await;
    services.stop_all().await;
}

#[tokio::test]
async fn a_mute_service_fails_its_probe_and_a_frozen_one_can_be_stopped() {
    let scratch = Scratch::new("mute");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = myself("sip", "fake_sip_server", &[("DTS_PORT", port.to_string())]);
    let mut sip = Service { stop_timeout: ms(20_000), ..server };
    // The server needs 300 ms to come up; it is asked every 50 ms meanwhile, and three bad answers
    // would be failure.
    let options =
        probe(ProbeKind::Sip(SipProbe::new(([127, 0, 0, 1], port).into(), Transport::Udp)));
    sip.probes = vec![Probe { interval: ms(300), grace: ms(20_000), ..options }];
    let services = Services::supervise(vec![sip], scratch.0.join("run"));
    services.set_goal(Serve);
    let first = report(&services, |seen| seen.critical != Grade::Unknown).await;
    assert_eq!(first.critical, Grade::Good, "starting is not failing");
    let pid = pid_of(&services, "sip").await;

    kill(pid, Signal::SIGSTOP);
    report(&services, |seen| seen.critical == Grade::Failed).await;
    let frozen = status(&services, "sip", |one| one.state == State::Running).await;
    assert_eq!(frozen.reason.as_deref(), Some("no answer within 100 ms"));
    assert_eq!((frozen.pid, frozen.restarts), (Some(pid), 0));
    kill(pid, Signal::SIGCONT);
    report(&services, |seen| seen.critical == Grade::Good).await;

    kill(pid, Signal::SIGSTOP);
    let asked = std::time::Instant::now();
    services.stop_all().await;
    assert!(!alive(pid));
    assert!(asked.elapsed() < ms(10_000), "it was continued, so SIGTERM was enough");
}

/// Not a test: the server of the one above, run by the supervisor.
#[test]
#[ignore = "a server for another test"]
fn fake_sip_server() {
    let Ok(port) = std::env::var("DTS_PORT") else { return };
    std::thread::sleep(ms(300));
    let socket = UdpSocket::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let (_, headers) = text.split_once("\r\n").unwrap();
        socket.send_to(format!("SIP/2.0 200 OK\r\n{headers}").as_bytes(), from).unwrap();
    }
}

#[tokio::test]
async fn a_probe_that_nobody_answers_fails_after_the_start_is_over() {
    let scratch = Scratch::new("closed");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = probe(ProbeKind::Tcp(([127, 0, 0, 1], port).into()));
    let watched = Service { probes: vec![closed], ..sleeper("sip") };
    let quiet = Service { critical: false, ..script("extra", "exit 1") };
    let services = Services::supervise(vec![watched, quiet], scratch.0.join("run"));
    services.set_goal(Serve);
    let seen = report(&services, |seen| seen.critical == Grade::Failed).await;
    assert!(seen.stopped);
    let one = status(&services, "sip", |_| true).await;
    assert_eq!(one.reason.as_deref(), Some("refused"));
    // Not critical: its failure is told, and nothing more.
    services.reload(vec![sleeper("sip"), Service { critical: false, ..script("extra", "exit 1") }]);
    report(&services, |seen| seen.critical == Grade::Good).await;
    assert_eq!(status(&services, "extra", |_| true).await.grade, Grade::Failed);
    services.stop_all().await;
}

#[tokio::test]
async fn reload_touches_only_what_changed() {
    let scratch = Scratch::new("reload");
    let services = Services::supervise(
        vec![sleeper("same"), sleeper("other"), sleeper("gone")],
        scratch.0.join("run"),
    );
    services.set_goal(Serve);
    report(&services, |seen| seen.critical == Grade::Good).await;
    let same = pid_of(&services, "same").await;
    let other = pid_of(&services, "other").await;
    let gone = pid_of(&services, "gone").await;

    services.reload(vec![
        sleeper("new"),
        Service { stop_timeout: ms(77), critical: false, ..sleeper("same") },
        script("other", "exec sleep 2000"),
    ]);
    let done = |pid: i32| !alive(pid);
    until("the old ones gone", || done(gone) && done(other)).await;
    status(&services, "other", |one| one.grade == Grade::Good).await;
    status(&services, "new", |one| one.grade == Grade::Good).await;
    report(&services, |seen| seen.stopped && seen.critical == Grade::Good).await;
    let names: Vec<_> = services.status().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["new", "same", "other"]);
    assert_eq!(pid_of(&services, "same").await, same);
    assert!(alive(same));
    let other_now = status(&services, "other", |_| true).await;
    assert_ne!(other_now.pid, Some(other));
    assert_eq!(other_now.restarts, 0, "a changed command is no failure");
    services.stop_all().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let scratch = Scratch::new("cannot");
    let missing = Service { command: vec!["/nonexistent/pbx".into()], ..sleeper("program") };
    let nobody = Service { user: Some("no-such-user-here".into()), ..sleeper("user") };
    let services = Services::supervise(vec![missing, nobody], scratch.0.join("run"));
    services.set_goal(Serve);
    report(&services, |seen| seen.critical == Grade::Failed).await;
    let program = status(&services, "program", |one| one.restarts > 0).await;
    let reason = program.reason.unwrap();
    assert!(reason.starts_with("cannot execute \"/nonexistent/pbx\": No such file"), "{reason}");
    let user = status(&services, "user", |one| one.reason.is_some()).await;
    assert!(user.reason.unwrap().starts_with("user \"no-such-user-here\""));
    services.stop_all().await;
}

#[tokio::test]
async fn a_takeover_does_not_wait_for_a_pause() {
    let scratch = Scratch::new("pause");
    let slow = Service {
        restart_delay: ms(60_000),
        restart_max: ms(60_000),
        ..script("sip", &format!("test -e {}; exec sleep $((1000 * !$?))", scratch.file("ready")))
    };
    let services = Services::supervise(vec![slow], scratch.0.join("run"));
    services.set_goal(Standby);
    status(&services, "sip", |one| one.state == State::Pausing).await;
    std::fs::write(scratch.0.join("ready"), "").unwrap();
    services.set_goal(Prepare);
    status(&services, "sip", |one| one.pid.is_some()).await;
    services.stop_all().await;
}
