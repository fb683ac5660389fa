//! Commands that judge, and those that misbehave.

use duotone::adapters::probes::{Answer, Bad, CouldNotRun, ask};
use duotone::adapters::process::session;
use duotone::config::{CommandProbe, Probe, ProbeKind};

use crate::{PATIENCE, Scratch, ms, probe};

fn shell(line: &str) -> CommandProbe {
    CommandProbe { command: ["/bin/sh", "-c", line].map(Into::into).to_vec(), user: None }
}

fn asking(command: CommandProbe) -> Probe {
    probe(ProbeKind::Command(command), PATIENCE)
}

#[tokio::test]
async fn the_exit_code_judges_up_to_125() {
    let answer = ask(&asking(shell("exit 0"))).await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
    for (line, code, words) in [
        ("exit 1", 1, ""),
        ("echo all is well; echo 3 trunks are down >&2; exit 2", 2, ": 3 trunks are down"),
        ("printf 'a\\nb\\033[31m\\n\\n'; exit 125", 125, ": b[31m"),
    ] {
        let answer = ask(&asking(shell(line))).await;
        assert_eq!(answer, Answer::Bad(Bad::Exit { code, words: words.into() }), "{line}");
    }
}

#[tokio::test]
async fn what_did_not_run_says_nothing_of_the_service() {
    let missing = CommandProbe { command: vec!["/nonexistent/check".into()], user: None };
    let nobody = CommandProbe { user: Some("no-such-user-here".into()), ..shell("exit 0") };
    for (command, why) in [
        (missing, "No such file"),
        (nobody, "no-such-user-here"),
        (shell("/nonexistent/check"), "exited with code 127"),
        (shell("/etc/passwd"), "exited with code 126"),
        (shell("kill -9 $$"), "killed by signal 9"),
    ] {
        let answer = ask(&asking(command)).await;
        let told = matches!(&answer, Answer::CouldNotRun(CouldNotRun::Command(_)));
        assert!(told && answer.to_string().contains(why), "{why}: {answer}");
    }
}

#[tokio::test]
async fn it_runs_as_whom_it_should() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let as_nobody = CommandProbe { user: Some("nobody".into()), ..shell("id -un; exit 1") };
    let answer = ask(&asking(as_nobody)).await;
    assert_eq!(answer, Answer::Bad(Bad::Exit { code: 1, words: ": nobody".into() }));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_children_however_it_resists() {
    let scratch = Scratch::new("hang");
    let pids = scratch.path("pids");
    let line = format!(
        "trap '' TERM INT HUP; echo $$ > {0}; for i in 1 2; do \
         (trap '' TERM; exec sleep 600) & echo $! >> {0}; done; wait",
        pids.display()
    );
    let timeout = ms(2000);
    let answer = ask(&probe(ProbeKind::Command(shell(&line)), timeout)).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(timeout)));
    let pids = std::fs::read_to_string(pids).unwrap();
    let pids: Vec<i32> = pids.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
    let alive = |pid: &i32| session::seen(*pid).unwrap().is_some_and(|process| !process.dead);
    let end = std::time::Instant::now() + PATIENCE;
    while pids.iter().any(alive) {
        assert!(std::time::Instant::now() < end, "all of it is killed");
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn one_that_floods_is_not_kept_and_still_judges() {
    let line = "head -c 20000000 /dev/zero | tr '\\0' 'x'; echo; echo the last line; exit 3";
    let answer = ask(&asking(shell(line))).await;
    assert_eq!(answer, Answer::Bad(Bad::Exit { code: 3, words: ": the last line".into() }));
}
