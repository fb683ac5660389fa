//! What is there, start and stop, the way back of an old primary.

use std::fs;

use duotone::adapters::owner::{self, Resource};

use crate::cluster::until;
use crate::pair::{A, B, Pair};

#[test]
fn a_state_has_its_code() {
    let Some(pair) = Pair::new("codes", "available") else { return };
    assert_eq!(pair.code(A), 7);
    assert_eq!(pair.act(A, "stop").code, 0, "what does not run is stopped");
    assert_eq!(pair.start(A).code, 0);
    assert_eq!(pair.start(A).code, 0, "twice");
    assert_eq!(pair.code(A), 190, "a standby that follows nobody");
    let probe = [("OCF_RESKEY_CRM_meta_interval", "0")];
    assert_eq!(pair.act_with(A, "monitor", &probe).code, 0, "a probe gets the plain answer");
    assert_eq!(pair.promote(A).code, 0);
    assert_eq!(pair.code(A), 191, "a primary without its standby");
    assert_eq!(pair.act_with(A, "monitor", &probe).code, 8);
    assert_eq!(pair.act_with(A, "monitor", &[("OCF_CHECK_LEVEL", "10")]).code, 191);
    assert_eq!(pair.start(B).code, 0);
    pair.until_code(B, 0);
    pair.until_code(A, 8);
    assert_eq!(pair.act_with(B, "monitor", &[("OCF_CHECK_LEVEL", "10")]).code, 0);
    assert_eq!(pair.demote(A).code, 0);
    assert_eq!(pair.demote(A).code, 0, "twice");
    assert_eq!(pair.act_with(A, "monitor", &probe).code, 0);
    pair.a.kill_all();
    assert_eq!(pair.code(A), 7);
    assert_eq!(pair.stop(A).code, 0, "a dead one is stopped");
    assert_eq!(pair.stop(B).code, 0);
    assert!(pair.b.processes().is_empty());
}

#[test]
fn what_cannot_be_told_is_not_stopped() {
    let Some(pair) = Pair::served("told", "available") else { return };
    crate::cluster::signal(pair.a.postmaster(), "STOP");
    let short = [("OCF_RESKEY_CRM_meta_timeout", "4000")];
    let ended = pair.act_with(A, "monitor", &short);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.reason.contains("does not answer"), "{ended:?}");
    // Hung as it is, it is ended.
    let ended = pair.act_with(A, "stop", &[("OCF_RESKEY_CRM_meta_timeout", "8000")]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(pair.code(A), 7);
}

#[test]
fn wrong_parameters_are_told_at_once_and_with_reasons() {
    let Some(pair) = Pair::new("wrong", "available") else { return };
    let wrong = [("OCF_RESKEY_hosts", "pbx-a"), ("OCF_RESKEY_durability", "some")];
    let ended = pair.act_with(A, "validate-all", &wrong);
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.reason.contains("hosts") && ended.reason.contains("durability"), "{ended:?}");
    let ended = pair.act_with(A, "validate-all", &[("OCF_RESKEY_CRM_meta_on_node", "other")]);
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.reason.contains("crm_node -n"), "{ended:?}");
    let ended = pair.act_with(A, "start", &[("OCF_RESKEY_bin_dir", "/nowhere")]);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.reason.contains("/nowhere/postgres"), "{ended:?}");
    let nowhere = [("OCF_RESKEY_data_dir", "/nowhere")];
    assert_eq!(pair.act_with(A, "validate-all", &nowhere).code, 5);
    assert_eq!(pair.act_with(A, "monitor", &nowhere).code, 7);
    assert_eq!(pair.act_with(A, "stop", &wrong).code, 0, "nothing runs there");
    assert_eq!(pair.act(A, "validate-all").code, 0);
}

/// The primary's host loses power with rows that only it has; the standby takes over; the host
/// comes back and is started, no more.
#[test]
fn an_old_primary_comes_back_by_itself() {
    let Some(pair) = Pair::served("back", "available") else { return };
    pair.a.sql("INSERT INTO calls VALUES (2)");
    // A row that nobody is told of: its commit waits for a standby that no longer receives.
    crate::cluster::signal(pair.b.process_titled("walreceiver"), "STOP");
    let mut client = pair.a.sql_in_background("INSERT INTO calls VALUES (3)");
    until("the row is in a's log", || {
        pair.a.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
    });
    pair.power_off(A);
    let _ = client.wait();
    // What is in its socket is not received any more.
    crate::cluster::signal(pair.b.process_titled("walreceiver"), "KILL");
    until("b is back after its crash", || pair.b.is_ready());
    let ended = pair.promote(B);
    assert_eq!(ended.code, 0, "{ended:?}");
    pair.b.sql("INSERT INTO calls VALUES (4)");
    assert!(!pair.waits(B), "a is fenced");
    assert_eq!(pair.code(A), 7);
    let ended = pair.start(A);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.log.contains("coming back: "), "{ended:?}");
    pair.until_code(A, 0);
    assert_eq!((pair.mark(A).as_deref(), pair.score(A)), (Some("yes"), 100), "it scores at once");
    assert!(pair.waits(B));
    pair.b.sql("INSERT INTO calls VALUES (5)");
    assert_eq!(pair.rows(B), "1,2,4,5");
    until("a has them", || pair.rows(A) == "1,2,4,5");
    let salvage = fs::read_dir(pair.a.config().salvage_dir).expect("a salvage").count();
    assert_eq!(salvage, 1, "row 3 is kept");
}

#[test]
fn a_start_that_was_killed_is_gone_on_with() {
    let Some(pair) = Pair::served("killed", "available") else { return };
    pair.power_off(A);
    assert_eq!(pair.promote(B).code, 0);
    pair.b.sql("INSERT INTO calls VALUES (2)");
    for after in [5, 60, 200, 500, 1000] {
        let child = pair.begin(A, "start", &[]);
        std::thread::sleep(std::time::Duration::from_millis(after));
        kill_group(child);
    }
    assert_eq!(pair.start(A).code, 0);
    pair.until_code(A, 0);
    until("a has it", || pair.rows(A) == "1,2");
    assert_eq!(pair.stop(A).code, 0);
    assert!(pair.a.processes().is_empty());
}

#[test]
fn the_daemon_and_the_agent_do_not_manage_one_server() {
    let Some(pair) = Pair::new("owned", "available") else { return };
    let directory = [Resource::DataDirectory(pair.a.data())];
    let daemon = owner::hold(&directory).expect("nobody has it");
    let ended = pair.start(A);
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.reason.contains("duotone run, process"), "{ended:?}");
    drop(daemon);
    assert_eq!(pair.start(A).code, 0);
    assert!(owner::hold(&directory).is_err(), "the cluster has started it");
    assert_eq!(pair.stop(A).code, 0);
    owner::hold(&directory).expect("it is given up");
}

/// The contract of every agent (package resource-agents), by hand as it were: without a cluster.
#[test]
fn the_tester_of_agents_passes_it() {
    let tester = "/usr/sbin/ocf-tester";
    if !std::path::Path::new(tester).exists() {
        eprintln!("skipped: needs {tester} (apt-get install resource-agents)");
        return;
    }
    let Some(pair) = Pair::new("tester", "available") else { return };
    let host = nix::unistd::gethostname().expect("a name").into_string().expect("text");
    let config = pair.a.config();
    let mut command = std::process::Command::new(tester);
    command.args(["-n", "tested"]).env("DUOTONE", env!("CARGO_BIN_EXE_duotone"));
    for parameter in [
        format!("data_dir={}", config.data_dir.display()),
        format!("bin_dir={}", config.bin_dir.display()),
        format!("os_user={}", config.os_user),
        format!("user={}", config.user),
        format!("socket_dir={}", config.socket_dir.display()),
        format!("port={}", config.port),
        // It splits at spaces.
        format!("hosts={host}=127.0.0.2,other=127.0.0.1"),
        format!("salvage_dir={}", config.salvage_dir.display()),
        format!("log_file={}", pair.a.dir.join("log").display()),
    ] {
        command.args(["-o", &parameter]);
    }
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/ocf/postgres"));
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("passed all tests"), "{said}");
    owner::give_up(&[Resource::DataDirectory(pair.a.data())], "tested").expect("given up");
}

pub fn kill_group(mut child: std::process::Child) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    let group = Pid::from_raw(child.id().try_into().expect("a pid"));
    let _ = killpg(group, Signal::SIGKILL);
    child.wait().expect("it is reaped");
}
