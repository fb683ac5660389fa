//! Services that are units of a real systemd, which runs in namespaces of the test's own.
#![allow(missing_docs)]

mod machine;
#[path = "../services_lab/mod.rs"]
mod services_lab;

use std::path::Path;

use duotone::adapters::services::{Services, State};
use duotone::adapters::systemd::{Systemd, stop_recorded};
use duotone::config::{Limits, RunOn, Runner, Service};
use duotone::protocol::event::ServicesGoal::{Serve, Standby};
use duotone::protocol::health::Grade;

use machine::{Machine, lines};
use services_lab::*;

fn unit(name: &str) -> Service {
    Service {
        runner: Runner::Unit(format!("{name}.service")),
        command: Vec::new(),
        run_on: RunOn::Active,
        ..sleeper(name)
    }
}

fn supervise(scratch: &Scratch, services: Vec<Service>) -> Services {
    Services::supervise(services, scratch.0.join("run"))
}

async fn good(services: &Services) {
    report(services, |seen| seen.stopped && seen.critical == Grade::Good).await;
}

async fn stopped(services: &Services) {
    report(services, |seen| seen.goal == Standby && seen.stopped).await;
}

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

#[tokio::test]
async fn a_unit_runs_where_it_should_and_only_there() {
    let Some(machine) = Machine::boot("a_unit_runs_where_it_should_and_only_there") else { return };
    let scratch = Scratch::new("unit-runs");
    machine.unit("sip.service", SLEEP);
    // It runs before anything is known of who serves, as one that is enabled would.
    assert!(machine.systemctl(&["start", "sip.service"]).0);
    let services = supervise(&scratch, vec![unit("sip")]);
    let found = status(&services, "sip", |one| one.state == State::Running).await;
    assert!(found.pid.is_some() && !found.wanted, "nobody has decided: {found:?}");
    services.set_goal(Standby);
    stopped(&services).await;
    assert_eq!(machine.show("sip.service", "ActiveState"), "inactive");

    services.set_goal(Serve);
    good(&services).await;
    let first = status(&services, "sip", |one| one.pid.is_some()).await;
    assert_eq!(machine.show("sip.service", "MainPID"), first.pid.unwrap().to_string());

    // Killed, it is started again by the ladder: its own Restart= is "no".
    assert!(machine.systemctl(&["kill", "--signal=KILL", "sip.service"]).0);
    report(&services, |seen| seen.critical == Grade::Failed).await;
    good(&services).await;
    let second = status(&services, "sip", |one| one.restarts == 1).await;
    assert_ne!(second.pid, first.pid);
    // Stopped by somebody else, too.
    assert!(machine.systemctl(&["stop", "sip.service"]).0);
    status(&services, "sip", |one| one.restarts == 2 && one.grade == Grade::Good).await;

    services.set_goal(Standby);
    stopped(&services).await;
    assert_eq!(machine.show("sip.service", "ActiveState"), "inactive");
    assert!(lines(&scratch.0.join("run/sip.unit")).is_empty(), "its record is gone");
    // Whoever else starts it: it is stopped again.
    assert!(machine.systemctl(&["start", "sip.service"]).0);
    until("it is stopped again", || machine.show("sip.service", "ActiveState") == "inactive").await;
    stopped(&services).await;
    services.stop_all().await;
}

#[tokio::test]
async fn what_the_unit_itself_starts_again_is_left_to_it_and_not_called_good() {
    let Some(machine) =
        Machine::boot("what_the_unit_itself_starts_again_is_left_to_it_and_not_called_good")
    else {
        return;
    };
    let scratch = Scratch::new("unit-restart");
    let starts = scratch.file("starts");
    machine.unit(
        "sip.service",
        &format!(
            "[Service]\nExecStart=/bin/sh -c 'echo x >> {starts}; exec sleep 1000'\n\
             Restart=always\nRestartSec=1500ms\n"
        ),
    );
    let services = supervise(&scratch, vec![unit("sip")]);
    services.set_goal(Serve);
    good(&services).await;
    assert!(machine.systemctl(&["kill", "--signal=KILL", "sip.service"]).0);
    let told = |one: &duotone::adapters::services::ServiceStatus| {
        let reason = one.reason.clone().unwrap_or_default();
        reason == "killed by signal 9; systemd starts sip.service again (Restart=)"
    };
    let waiting = status(&services, "sip", told).await;
    assert_eq!((waiting.grade, waiting.state), (Grade::Failed, State::Running));
    let again = status(&services, "sip", |one| one.grade == Grade::Good).await;
    assert_eq!(again.restarts, 1, "it is counted");
    assert_eq!(lines(&scratch.0.join("starts")).len(), 2, "and nobody has started it besides");
    // While systemd waits, it can be stopped for good.
    assert!(machine.systemctl(&["kill", "--signal=KILL", "sip.service"]).0);
    status(&services, "sip", told).await;
    services.set_goal(Standby);
    stopped(&services).await;
    assert_eq!(machine.show("sip.service", "ActiveState"), "inactive");
    services.stop_all().await;
}

#[tokio::test]
async fn when_systemd_gives_up_the_ladder_goes_on() {
    let Some(machine) = Machine::boot("when_systemd_gives_up_the_ladder_goes_on") else { return };
    let scratch = Scratch::new("unit-limit");
    let ready = scratch.file("ready");
    machine.unit(
        "sip.service",
        &format!(
            "StartLimitIntervalSec=1h\nStartLimitBurst=2\n[Service]\nRestart=on-failure\n\
             RestartSec=0\nExecStart=/bin/sh -c 'test -e {ready} || exit 3; exec sleep 1000'\n"
        ),
    );
    let services = supervise(&scratch, vec![unit("sip")]);
    services.set_goal(Serve);
    // Two starts in an hour are systemd's limit, not the ladder's.
    let tries = status(&services, "sip", |one| one.restarts >= 5).await;
    assert_eq!((tries.grade, tries.reason.as_deref()), (Grade::Failed, Some("exited with code 3")));
    report(&services, |seen| seen.critical == Grade::Failed).await;
    std::fs::write(&ready, "").unwrap();
    good(&services).await;
    services.stop_all().await;
    assert_eq!(machine.show("sip.service", "ActiveState"), "inactive");
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let Some(machine) = Machine::boot("what_cannot_run_says_why") else { return };
    let scratch = Scratch::new("unit-bad");
    machine.unit("needed.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    machine
        .unit("needs.service", &format!("Requires=needed.service\nAfter=needed.service\n{SLEEP}"));
    machine.unit("broken.service", "[Service]\nType=simple\n");
    machine.unit("condition.service", &format!("ConditionPathExists=/nonexistent\n{SLEEP}"));
    machine.unit("missing.service", "[Service]\nExecStart=/nonexistent/pbx\n");
    std::os::unix::fs::symlink("/dev/null", "/run/systemd/system/masked.service").unwrap();
    let names = ["masked", "absent", "broken", "needs", "condition", "missing"];
    let services = supervise(&scratch, names.map(unit).to_vec());
    services.set_goal(Serve);
    for (name, says) in [
        ("masked", "masked"),
        ("absent", "not found"),
        ("broken", "bad unit file"),
        ("needs", "systemd has not started it"),
        ("condition", "systemd has not started it"),
        ("missing", "exited with code 203"),
    ] {
        let one = status(&services, name, |one| one.restarts > 0 && one.reason.is_some()).await;
        assert_eq!(one.grade, Grade::Failed, "{name}");
        let said = one.reason.unwrap();
        assert!(said.contains(says), "{name}: {said}");
    }
    services.stop_all().await;
}

#[tokio::test]
async fn a_deaf_unit_is_killed_and_so_is_what_it_leaves_behind() {
    let Some(machine) = Machine::boot("a_deaf_unit_is_killed_and_so_is_what_it_leaves_behind")
    else {
        return;
    };
    let scratch = Scratch::new("unit-deaf");
    let pids = scratch.file("pids");
    machine.unit(
        "deaf.service",
        "[Service]\nTimeoutStopSec=1h\nSendSIGKILL=no\n\
         ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'\n",
    );
    machine.unit(
        "leaver.service",
        &format!(
            "[Service]\nKillMode=process\nExecStart=/bin/sh -c 'setsid sleep 1000 & echo x > \
                  {pids}; exec sleep 1000'\n"
        ),
    );
    let brief = |name| Service { stop_timeout: ms(500), ..unit(name) };
    let services = supervise(&scratch, vec![brief("deaf"), brief("leaver")]);
    services.set_goal(Serve);
    good(&services).await;
    until("it has a child", || !lines(&scratch.0.join("pids")).is_empty()).await;
    let group = machine.show("leaver.service", "ControlGroup");
    let group = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let members = || lines(&group.join("cgroup.procs")).len();
    assert_eq!(members(), 2);
    let asked = std::time::Instant::now();
    services.set_goal(Standby);
    let first = report(&services, |seen| seen.goal == Standby).await;
    assert!(!first.stopped);
    stopped(&services).await;
    assert!(asked.elapsed() >= ms(500), "{:?}", asked.elapsed());
    assert_eq!(machine.show("deaf.service", "MainPID"), "0");
    assert_eq!(members(), 0, "nobody is left in its control group");
    services.stop_all().await;
}

#[tokio::test]
async fn a_systemd_that_replaces_itself_is_found_again() {
    let Some(machine) = Machine::boot("a_systemd_that_replaces_itself_is_found_again") else {
        return;
    };
    let scratch = Scratch::new("unit-reexec");
    machine.unit("sip.service", SLEEP);
    let services = supervise(&scratch, vec![unit("sip")]);
    services.set_goal(Serve);
    good(&services).await;
    let before = status(&services, "sip", |one| one.pid.is_some()).await;
    for _ in 0..2 {
        assert!(machine.systemctl(&["daemon-reexec"]).0);
        good(&services).await;
    }
    assert!(machine.systemctl(&["daemon-reload"]).0);
    let after = status(&services, "sip", |one| one.grade == Grade::Good).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0), "nothing has happened to it");
    // And it is listened to: a failure after it is seen.
    assert!(machine.systemctl(&["kill", "--signal=KILL", "sip.service"]).0);
    status(&services, "sip", |one| one.restarts == 1 && one.grade == Grade::Good).await;
    services.stop_all().await;
}

#[tokio::test]
async fn a_systemd_that_cannot_be_reached_leaves_everything_unknown() {
    let Some(machine) = Machine::boot("a_systemd_that_cannot_be_reached_leaves_everything_unknown")
    else {
        return;
    };
    let scratch = Scratch::new("unit-unknown");
    machine.unit("sip.service", SLEEP);
    let host = scratch.0.join("host");
    let systemd = Systemd::below(&host);
    let services = Services::supervise_under(vec![unit("sip")], scratch.0.join("run"), systemd);
    services.set_goal(Standby);
    let seen = report(&services, |seen| seen.goal == Standby).await;
    assert!(!seen.stopped, "not seen is not stopped");
    services.set_goal(Serve);
    let seen = report(&services, |seen| seen.goal == Serve).await;
    assert_eq!(seen.critical, Grade::Unknown, "neither good nor failed");
    let one = status(&services, "sip", |one| one.reason.is_some()).await;
    assert!(one.reason.as_deref().unwrap().contains("cannot reach systemd"), "{one:?}");
    assert_eq!(one.restarts, 0);

    std::os::unix::fs::symlink("/", &host).unwrap();
    good(&services).await;
    // It stands still: nothing is known, and nothing is claimed.
    machine.freeze(true);
    services.set_goal(Standby);
    let still = report(&services, |seen| seen.goal == Standby).await;
    assert!(!still.stopped);
    let told = |one: &duotone::adapters::services::ServiceStatus| {
        one.reason.as_deref().is_some_and(|reason| reason.contains("cannot reach systemd"))
    };
    status(&services, "sip", told).await;
    machine.freeze(false);
    stopped(&services).await;
    assert_eq!(machine.show("sip.service", "ActiveState"), "inactive");
    services.stop_all().await;
}

#[tokio::test]
async fn a_reload_with_another_unit_replaces_it() {
    let Some(machine) = Machine::boot("a_reload_with_another_unit_replaces_it") else { return };
    let scratch = Scratch::new("unit-reload");
    machine.unit("old.service", SLEEP);
    machine.unit("new.service", SLEEP);
    let named = |unit: &str| Service { runner: Runner::Unit(unit.into()), ..self::unit("sip") };
    let services = supervise(&scratch, vec![named("old.service")]);
    services.set_goal(Serve);
    good(&services).await;
    let state = |unit: &str| machine.show(unit, "ActiveState");
    services.reload(vec![named("new.service")]);
    until("the new one runs", || state("new.service") == "active").await;
    assert_eq!(state("old.service"), "inactive");
    // A command in its place, and back.
    services.reload(vec![Service { run_on: RunOn::Active, ..sleeper("sip") }]);
    until("no unit runs", || state("new.service") == "inactive").await;
    good(&services).await;
    services.reload(vec![named("old.service")]);
    until("a unit runs", || state("old.service") == "active").await;
    good(&services).await;
    services.stop_all().await;
    assert_eq!(state("old.service"), "inactive");
}

fn transient(name: &str, words: &str) -> Service {
    Service { runner: Runner::TransientUnit, ..script(name, words) }
}

/// A life of the daemon that ends by a crash: nothing is stopped, and nobody watches any more.
fn a_life(scratch: &Scratch, services: Vec<Service>) {
    let records = scratch.0.join("run");
    let life = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let services = Services::supervise(services, records);
            services.set_goal(Serve);
            good(&services).await;
            // Dropping it would stop them.
            std::mem::forget(services);
        });
    });
    life.join().unwrap();
}

#[tokio::test]
async fn a_transient_unit_is_taken_over_by_the_next_life() {
    let Some(machine) = Machine::boot("a_transient_unit_is_taken_over_by_the_next_life") else {
        return;
    };
    let scratch = Scratch::new("unit-again");
    let seen = scratch.file("seen");
    let words = format!(
        "id -un > {seen}; ulimit -n >> {seen}; pwd >> {seen}; echo $GREETING >> {seen}; \
         mine=own; echo ${{mine}} >> {seen}; exec sleep 1000"
    );
    let sip = Service {
        user: Some("nobody".into()),
        directory: "/usr".into(),
        environment: vec![("GREETING".into(), "hello there".into())],
        limits: Limits { open_files: Some(4321), memory: Some(64 << 20), ..Limits::default() },
        ..transient("sip", &words)
    };
    let others = ["changed", "gone"].map(|name| transient(name, "exec sleep 1000"));
    let all: Vec<Service> = [sip.clone()].into_iter().chain(others).collect();
    a_life(&scratch, all);
    assert_eq!(lines(&scratch.0.join("seen")), ["nobody", "4321", "/usr", "hello there", "own"]);
    let main = |name: &str| machine.show(&format!("duotone-service-{name}.service"), "MainPID");
    assert_eq!(machine.show("duotone-service-sip.service", "MemoryMax"), (64 << 20).to_string());
    let before = [main("sip"), main("changed"), main("gone")];
    assert!(!before.contains(&"0".to_owned()), "all outlive the daemon: {before:?}");

    // Of the next life one is as it was, one has changed, and one is not configured any more.
    let changed = transient("changed", "exec sleep 2000");
    let services = supervise(&scratch, vec![sip, changed]);
    until("the one that nobody knows is stopped", || main("gone") == "0").await;
    assert_eq!(main("sip"), before[0], "nobody has decided yet");
    services.set_goal(Serve);
    good(&services).await;
    assert_eq!(main("sip"), before[0], "it was taken over");
    let now = main("changed");
    assert!(now != before[1] && now != "0", "it was replaced: {now}");
    let one = status(&services, "sip", |one| one.pid.is_some()).await;
    assert_eq!((one.pid.unwrap().to_string(), one.restarts), (before[0].clone(), 0));

    // It fails and is started again like any other; no failed unit stays behind.
    assert!(machine.systemctl(&["kill", "--signal=KILL", "duotone-service-sip.service"]).0);
    status(&services, "sip", |one| one.restarts == 1 && one.grade == Grade::Good).await;
    services.stop_all().await;
    until("no unit is left", || {
        machine
            .systemctl(&["list-units", "--all", "--plain", "--no-legend", "duotone-*"])
            .1
            .is_empty()
    })
    .await;
}

#[tokio::test]
async fn whoever_stands_in_for_a_dead_daemon_stops_what_must_not_go_on() {
    let Some(machine) =
        Machine::boot("whoever_stands_in_for_a_dead_daemon_stops_what_must_not_go_on")
    else {
        return;
    };
    let scratch = Scratch::new("unit-dead");
    machine.unit("own.service", SLEEP);
    machine.unit("both.service", SLEEP);
    let active = Service { run_on: RunOn::Active, ..transient("active", "exec sleep 1000") };
    let both = Service { run_on: RunOn::Both, ..unit("both") };
    a_life(&scratch, vec![unit("own"), active, both]);
    let state = |unit: &str| machine.show(unit, "ActiveState");
    assert_eq!(state("own.service"), "active");
    let systemd = Systemd::default();
    let records = scratch.0.join("run");
    let stopped = stop_recorded(&systemd, &records, ms(1000), ms(30_000)).await.unwrap();
    assert_eq!(stopped, ["duotone-service-active.service", "own.service"]);
    assert_eq!(state("own.service"), "inactive");
    assert_eq!(state("duotone-service-active.service"), "inactive");
    assert_eq!(state("both.service"), "active", "the peer does not care for this one");
    // Told again there is nothing to do, and a host that cannot be asked is said.
    assert!(stop_recorded(&systemd, &records, ms(100), ms(30_000)).await.unwrap().is_empty());
    std::fs::write(
        records.join("sip.unit"),
        std::fs::read_to_string(records.join("both.unit")).unwrap().replace("false", "true"),
    )
    .unwrap();
    let nobody = Systemd::below(&scratch.0);
    let error = stop_recorded(&nobody, &records, ms(100), ms(300)).await.unwrap_err();
    assert!(error.contains("both.service: ") && error.contains("cannot reach systemd"), "{error}");
}
