//! What is done to the pair in each scenario. Nothing is judged here: `outcome` looks at what was
//! seen.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::clock::{self, ms_between, pause, wait_until};
use super::host::{Host, signal};
use super::job::Job;
use super::node;
use super::recovery::{
    PATIENCE, Struck, comes_back, is_held, serves_again, taken_over, together, wait_for_age,
};
use super::scenario::{Figure, Scenario};
use super::stage::Stage;
use super::world::NODES;
use super::{Durability, Say};

/// Does what a story says, to its end.
///
/// # Errors
/// The lab itself failed, or the user interrupts.
pub fn strike(stage: &mut Stage, scenario: Scenario, say: &Say) -> anyhow::Result<Struck> {
    match scenario {
        Scenario::PowerOff => power_off_in_calls(stage, say),
        Scenario::Return => host_returns(stage, say),
        Scenario::Switchover => switchover(stage, say),
        Scenario::CutEth1 => cut_eth1(stage, say),
        Scenario::KillPbx => kill_pbx(stage, say),
        Scenario::CutEth0 => cut_eth0(stage, say),
        Scenario::CutBoth => cut_both(stage, say),
        Scenario::CutPaths => cut_paths(stage, say),
        Scenario::Freeze => freeze(stage, say),
        Scenario::Pause => pause_host(stage, say),
        Scenario::KillDaemon => kill_daemon(stage, say),
        Scenario::HangDaemon => hang_daemon(stage, say),
        Scenario::KillDatabase => kill_database(stage, say),
        Scenario::HangDatabase => hang_database(stage, say),
        Scenario::StandbyLost => standby_lost(stage, say),
        Scenario::PowerBoth => power_both(stage, say, &[0, 1]),
        Scenario::PowerBothOne => {
            let standby = stage.other();
            power_both(stage, say, &[standby])
        }
        Scenario::SplitLan => split_lan(stage, say),
        Scenario::TenTakeovers => ten_takeovers(stage, say),
    }
}

/// Takes a host's power and waits until calls are answered.
///
/// # Errors
/// The lab itself failed, or the user interrupts.
pub fn power_off(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let mut struck = Struck::at(stage.power_off(active)?);
    say.line(&format!("{} has no power", NODES[active]));
    taken_over(stage, &mut struck, say)?;
    stage.read_log(active);
    stage.active = stage.other();
    Ok(struck)
}

/// The same with phones that have registered and calls that are up: they are still there.
fn power_off_in_calls(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let before = stage.before()?;
    say.line("desk phones have registered, and calls are up");
    let mut struck = power_off(stage, say)?;
    let survived = stage.after(before)?;
    say.line(&survived.to_string());
    if !survived.all() {
        struck.missed(survived.to_string());
    }
    struck.survived = Some(survived);
    Ok(struck)
}

fn host_returns(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let off = stage.world.hosts.iter().position(Option::is_none);
    let node = off.context("no host is without power")?;
    let (at, wall) = stage.power_on(node)?;
    say.line(&format!("{} has power again", NODES[node]));
    let mut struck = Struck::at(at);
    comes_back(stage, &mut struck, node, (at, wall), say)?;
    Ok(struck)
}

fn switchover(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let (giver, taker) = (stage.active, stage.other());
    let host = stage.world.host(giver)?;
    let mut command = std::process::Command::new(host.program());
    command.args(["switchover", "--reason", "shown by the demo", "--socket"]);
    command.arg(host.files.join("control.sock")).stdin(std::process::Stdio::null());
    let mut struck = Struck::at(clock::now());
    say.line(&format!("the role is to move from {} to {}", NODES[giver], NODES[taker]));
    let output = command.output().context("run duotone switchover")?;
    struck.figures.push((Figure::Command, ms_between(struck.fault, clock::now())));
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        struck.missed(format!("the switchover was refused: {}", words.trim()));
    }
    taken_over(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn cut_eth1(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(stage.world.cut_link(true)?);
    say.line("eth1 drops everything, silently");
    pause(Duration::from_secs(5))?;
    stage.world.cut_link(false)?;
    say.line("eth1 works again");
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn kill_pbx(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(clock::now());
    let killed = stage.world.host(stage.active)?.signal_all("kamailio", Signal::SIGKILL);
    anyhow::ensure!(killed > 0, "there was no kamailio to kill on {}", stage.active_name());
    say.line(&format!("kamailio on {} is killed", stage.active_name()));
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn cut_eth0(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let mut struck = Struck::at(stage.world.cut_lan(active, true)?);
    say.line(&format!("the LAN cable of {} is cut", NODES[active]));
    taken_over(stage, &mut struck, say)?;
    stage.world.cut_lan(active, false)?;
    say.line("it works again");
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn cut_both(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let mut struck = Struck::at(stage.world.cut_host(active, true)?);
    say.line(&format!("both cables of {} are cut", NODES[active]));
    // What it writes is on the cut host's log alone, and is never acknowledged.
    let job = stage.start_job(active)?;
    taken_over(stage, &mut struck, say)?;
    if !stage.read_log_of_living(active, Duration::from_secs(10))? {
        struck.forbidden(format!("{} does not stop acknowledging", NODES[active]));
    }
    end_job(stage, job, say)?;
    wait_for_age(struck.fault, Duration::from_secs(5))?;
    let wall = SystemTime::now();
    let healed = stage.world.cut_host(active, false)?;
    say.line("both work again");
    comes_back(stage, &mut struck, active, (healed, wall), say)?;
    Ok(struck)
}

fn cut_paths(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(stage.world.cut_paths(true)?);
    say.line("no frame passes from host to host");
    pause(Duration::from_secs(6))?;
    stage.world.cut_paths(false)?;
    say.line("all paths work again");
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn freeze(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let mut struck = Struck::at(clock::now());
    stage.world.host(active)?.freeze();
    say.line(&format!("{} is frozen; its kernel lives", NODES[active]));
    taken_over(stage, &mut struck, say)?;
    stage.read_log(active);
    stage.log_is_read(active)?;
    wait_for_age(struck.fault, Duration::from_secs(10))?;
    let (thawed, wall) = (clock::now(), SystemTime::now());
    stage.world.host(active)?.thaw();
    say.line("it thaws");
    comes_back(stage, &mut struck, active, (thawed, wall), say)?;
    Ok(struck)
}

/// As a paused virtual machine: nothing reaches it and nothing leaves it, and its kernel has the
/// addresses when it goes on, because it goes on before they expire.
fn pause_host(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let fault = stage.world.cut_host(active, true)?;
    stage.watch.darken(active, fault, false);
    stage.world.host(active)?.freeze();
    let mut struck = Struck::at(fault);
    say.line(&format!("{} stands still, kernel and all", NODES[active]));
    // An answer that was on its way is none of the other's.
    let other = stage.other();
    wait_until(Duration::from_millis(1100), Duration::from_millis(5), || {
        stage.watch.held_since(other, fault)
            && stage.watch.last_answer().is_some_and(|at| at > fault)
    })?;
    let (thawed, wall) = (clock::now(), SystemTime::now());
    stage.world.cut_host(active, false)?;
    stage.watch.lighten(active, thawed);
    stage.world.host(active)?.thaw();
    say.line("it goes on");
    taken_over(stage, &mut struck, say)?;
    comes_back(stage, &mut struck, active, (thawed, wall), say)?;
    Ok(struck)
}

fn daemon(host: &Host, name: &str) -> anyhow::Result<u32> {
    node::daemon(host).with_context(|| format!("no daemon runs on {name}"))
}

fn kill_daemon(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let pid = daemon(stage.world.host(active)?, NODES[active])?;
    let mut struck = Struck::at(clock::now());
    signal(pid, Signal::SIGKILL);
    say.line(&format!("the daemon of {} is killed", NODES[active]));
    replaced(stage, &mut struck, say)?;
    let started = stage.start_daemon(active)?;
    say.line("it is started again");
    comes_back(stage, &mut struck, active, started, say)?;
    Ok(struck)
}

fn hang_daemon(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let active = stage.active;
    let pid = daemon(stage.world.host(active)?, NODES[active])?;
    let mut struck = Struck::at(clock::now());
    signal(pid, Signal::SIGSTOP);
    say.line(&format!("the daemon of {} hangs", NODES[active]));
    taken_over(stage, &mut struck, say)?;
    wait_for_age(struck.fault, Duration::from_secs(10))?;
    let (goes_on, wall) = (clock::now(), SystemTime::now());
    signal(pid, Signal::SIGCONT);
    say.line("it goes on");
    comes_back(stage, &mut struck, active, (goes_on, wall), say)?;
    Ok(struck)
}

/// The other serves, and the database of the node whose daemon is gone was stopped: its log is read.
fn replaced(stage: &mut Stage, struck: &mut Struck, say: &Say) -> anyhow::Result<()> {
    let active = stage.active;
    taken_over(stage, struck, say)?;
    if stage.database_is_gone(active, Duration::from_secs(5))? {
        stage.read_log(active);
        stage.log_is_read(active)?;
    } else {
        struck.forbidden(format!("the database of {} outlives its daemon", NODES[active]));
    }
    Ok(())
}

fn kill_database(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(clock::now());
    let killed = stage.world.host(stage.active)?.signal_all("postgres", Signal::SIGKILL);
    anyhow::ensure!(killed > 0, "there was no database to kill on {}", stage.active_name());
    say.line(&format!("the database of {} is killed", stage.active_name()));
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn hang_database(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(clock::now());
    let stopped = stage.world.host(stage.active)?.signal_all("postgres", Signal::SIGSTOP);
    anyhow::ensure!(stopped > 0, "there was no database to stop on {}", stage.active_name());
    say.line(&format!("the database of {} hangs", stage.active_name()));
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn standby_lost(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let standby = stage.other();
    let mut struck = Struck::at(stage.power_off(standby)?);
    say.line(&format!("{}, the standby, has no power", NODES[standby]));
    serves_again(stage, &mut struck, say)?;
    let on = stage.power_on(standby)?;
    say.line("it has power again");
    comes_back(stage, &mut struck, standby, on, say)?;
    Ok(struck)
}

/// Both lose their power; `first` get it back at once, whoever is left when these serve.
fn power_both(stage: &mut Stage, say: &Say, first: &[usize]) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(stage.power_off(stage.active)?);
    stage.power_off(stage.other())?;
    say.line("both hosts have no power");
    for node in [0, 1] {
        stage.read_log(node);
    }
    pause(Duration::from_millis(500))?;
    for &node in first {
        stage.power_on(node)?;
        say.line(&format!("{} has power again", NODES[node]));
    }
    if let (&[node], Durability::Strict) = (first, stage.durability) {
        is_held(stage, &mut struck, node, say)?;
        stage.power_on(1 - node)?;
        say.line(&format!("{} has power again", NODES[1 - node]));
    }
    serves_again(stage, &mut struck, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

/// Both go on, each with a half of the LAN; a job on the old active host writes what only it has.
fn split_lan(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut struck = Struck::at(stage.world.split(true)?);
    say.line("the LAN is split between the hosts, and eth1 is cut");
    let job = stage.start_job(stage.active)?;
    serves_again(stage, &mut struck, say)?;
    wait_for_age(struck.fault, Duration::from_secs(8))?;
    stage.world.split(false)?;
    say.line("it is whole again");
    // The loser stops its database at once; its log is read by the pair itself alone.
    pause(Duration::from_secs(1))?;
    end_job(stage, job, say)?;
    together(stage, &mut struck, say)?;
    Ok(struck)
}

fn end_job(stage: &mut Stage, job: Job, say: &Say) -> anyhow::Result<()> {
    let told = job.end()?;
    say.line(&format!("{} was told that {} rows are stored", told.name, told.acknowledged.len()));
    stage.jobs.push(told);
    Ok(())
}

fn ten_takeovers(stage: &mut Stage, say: &Say) -> anyhow::Result<Struck> {
    let mut all: Option<Struck> = None;
    for round in 1..=10 {
        let active = stage.active;
        let at = stage.power_off(active)?;
        let struck = all.get_or_insert_with(|| Struck::at(at));
        let faults = struck.broken.len();
        if !stage.served_since(at, PATIENCE)? {
            struck.missed(format!("round {round}: no service in {PATIENCE:?}"));
        }
        stage.read_log(active);
        pause(Duration::from_millis(300))?;
        let on = stage.power_on(active)?;
        comes_back(stage, struck, active, on, say)?;
        if stage.active == active {
            struck.missed(format!("round {round}: the other did not take over"));
        }
        if struck.broken.len() > faults {
            break;
        }
        say.line(&format!("{round}: {} serves, {} is back", stage.active_name(), NODES[active]));
    }
    all.context("ten rounds were to be played")
}
