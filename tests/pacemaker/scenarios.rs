//! What goes wrong on a pair under Pacemaker, one thing after the other on one cluster. Each ends
//! with a good pair and every acknowledged row; nobody lends a hand but where it says so.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::cluster;
use crate::command::soon;
use crate::contestant::Contestant;
use crate::lab::Lab;
use crate::network::NODES;
use crate::sip;

type Play = fn(&Lab, usize) -> anyhow::Result<String>;

/// Each is given the node that serves, and says what it saw.
const SCENARIOS: &[(&str, Play)] = &[
    ("switchover", switchover),
    ("power-off, and the host comes back", power_off),
    ("kill of PostgreSQL", kill_of_postgres),
    ("kill of the PBX", kill_of_pbx),
    ("eth1 cut", cable_cut),
    ("power-off while eth1 is cut", diverged),
    ("standby, online", standby),
    ("maintenance mode", maintenance),
    ("agent killed in the middle of a promotion", promotion_killed),
];

/// Long enough for every monitor to have run.
const MONITORS: Duration = Duration::from_secs(8);

#[test]
fn a_pair_under_pacemaker_keeps_the_promise() {
    if !crate::ready(&["/usr/sbin/kamailio"]) {
        return;
    }
    let began = Instant::now();
    let say = |words: &str| eprintln!("pacemaker: {} s: {words}", began.elapsed().as_secs());
    let lab = Lab::build(Contestant::DuotonePbx).unwrap_or_else(|error| panic!("{error:#}"));
    say("two bare hosts are a cluster");
    let chosen = std::env::var("PACEMAKER_ONLY").unwrap_or_default();
    for (name, play) in SCENARIOS.iter().filter(|(name, _)| name.contains(&chosen)) {
        match whole(&lab, *play) {
            Ok(seen) => say(&format!("{name}: {seen}")),
            Err(error) => {
                panic!("NOT KEPT {name}: {error:#}\n{}", cluster::told(&lab.machines))
            }
        }
    }
}

/// What an administrator gets who loads what the program prints, and changes nothing.
#[test]
fn a_printed_configuration_is_a_working_pair() {
    if !crate::ready(&["/usr/sbin/kamailio"]) {
        return;
    }
    let lab = Lab::build(Contestant::Printed).unwrap_or_else(|error| panic!("{error:#}"));
    for play in [switchover as Play, power_off] {
        whole(&lab, play)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster::told(&lab.machines)));
    }
}

fn whole(lab: &Lab, play: Play) -> anyhow::Result<String> {
    let node = lab.good()?;
    let seen = play(lab, node)?;
    lab.good()?;
    soon("the PBX answers", cluster::PATIENCE, || sip::answers(&lab.machines.network))?;
    let rows = lab.every_row_is_there()?;
    let both = lab.watch.both();
    ensure!(both.is_zero(), "two owners for {both:?}");
    Ok(format!("{seen}; {rows} rows"))
}

fn crm_resource(lab: &Lab, words: &[&str]) -> anyhow::Result<()> {
    let clone = format!("{}-clone", lab.contestant.database());
    let all = [&["crm_resource", "--resource", &clone], words].concat();
    lab.machines.run(lab.somebody()?, &all).map(drop)
}

/// Nothing is to be moved by it, and nobody fenced.
fn nothing_moves(lab: &Lab, node: usize, fenced: [usize; 2]) -> anyhow::Result<()> {
    let now = [0, 1].map(|node| lab.machines.fenced(node));
    ensure!(now == fenced, "a host was fenced: {fenced:?}, now {now:?}");
    let owner = lab.promoted()?;
    ensure!(owner == node, "the role went from {} to {}", NODES[node], NODES[owner]);
    Ok(())
}

fn fenced(lab: &Lab) -> [usize; 2] {
    [0, 1].map(|node| lab.machines.fenced(node))
}

fn switchover(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let (other, before) = (1 - node, fenced(lab));
    let since = Instant::now();
    crm_resource(lab, &["--move", "--promoted", "--node", NODES[other]])?;
    lab.serves(other)?;
    let outage = lab.outage(since)?;
    crm_resource(lab, &["--clear"])?;
    lab.good()?;
    nothing_moves(lab, other, before)?;
    Ok(format!("no answer for {outage:.1?}"))
}

fn power_off(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let (other, before) = (1 - node, fenced(lab)[node]);
    let since = Instant::now();
    lab.machines.power_off(node)?;
    lab.serves(other)?;
    let outage = lab.outage(since)?;
    ensure!(lab.machines.fenced(node) > before, "{} was not fenced", NODES[node]);
    lab.every_row_is_there()?;
    let since = Instant::now();
    lab.boot(node)?;
    ensure!(lab.good()? == other, "the role went back");
    Ok(format!("no answer for {outage:.1?}, a good pair {:.1?} after the boot", since.elapsed()))
}

fn kill_of_postgres(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let file = lab.machines.disk(node).join("var/lib/postgresql/data/postmaster.pid");
    let text = fs::read_to_string(file)?;
    let postmaster = text.lines().next().context("a process id")?.to_owned();
    let since = Instant::now();
    lab.machines.run(node, &["kill", "-KILL", &postmaster])?;
    let after = lab.good_after(since)?;
    Ok(format!("no answer for {:.1?}, {} serves", lab.outage(since)?, NODES[after]))
}

fn kill_of_pbx(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let before = fenced(lab);
    let since = Instant::now();
    ensure!(kill(lab, node, "kamailio") > 0, "no kamailio on {}", NODES[node]);
    let gone = || Ok(!sip::answers(&lab.machines.network)?);
    soon("the PBX is gone", cluster::PATIENCE, gone)?;
    soon("the PBX answers", cluster::PATIENCE, || sip::answers(&lab.machines.network))?;
    let away = since.elapsed();
    lab.good()?;
    nothing_moves(lab, node, before)?;
    Ok(format!("the PBX answers after {away:.1?}"))
}

fn cable_cut(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let before = fenced(lab);
    let since = Instant::now();
    lab.machines.network.cut_cable(true)?;
    std::thread::sleep(MONITORS);
    nothing_moves(lab, node, before)?;
    lab.machines.network.cut_cable(false)?;
    lab.good()?;
    nothing_moves(lab, node, before)?;
    Ok(format!("commits waited {:.1?}", lab.outage(since)?))
}

/// What the old primary alone has, it never acknowledged; it is in the salvage when it is back.
fn diverged(lab: &Lab, node: usize) -> anyhow::Result<String> {
    lab.machines.network.cut_cable(true)?;
    // A few rows are on the disk of the primary, and wait for the standby.
    let before = lab.writer.tried();
    soon("rows are tried", cluster::PATIENCE, || Ok(lab.writer.tried() > before + 3))?;
    let tried = lab.writer.tried();
    lab.machines.power_off(node)?;
    lab.machines.network.cut_cable(false)?;
    lab.serves(1 - node)?;
    lab.every_row_is_there()?;
    lab.boot(node)?;
    ensure!(lab.good()? == 1 - node, "the role went back");
    let there = lab.rows(1 - node)?;
    let acknowledged = lab.writer.stored();
    let alone: Vec<i64> =
        (1..=tried).filter(|row| !there.contains(row) && !acknowledged.contains(row)).collect();
    let salvaged = lab.salvaged(node)?;
    let found = alone.iter().filter(|row| salvaged.contains(row)).count();
    ensure!(found > 0, "nothing of {alone:?} was salvaged: {salvaged:?}");
    Ok(format!("{found} rows that were never acknowledged are in the salvage"))
}

fn standby(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let (other, before) = (1 - node, fenced(lab));
    let since = Instant::now();
    lab.machines.run(other, &["crm_standby", "--node", NODES[node], "--update", "on"])?;
    lab.serves(other)?;
    let outage = lab.outage(since)?;
    lab.machines.run(other, &["crm_standby", "--node", NODES[node], "--delete"])?;
    lab.good()?;
    nothing_moves(lab, other, before)?;
    Ok(format!("no answer for {outage:.1?}"))
}

/// The administrator works on the PBX; the cluster looks on.
fn maintenance(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let before = fenced(lab);
    let set = |value| {
        let words = ["crm_attribute", "-t", "crm_config", "-n", "maintenance-mode", "-v", value];
        lab.machines.run(node, &words).map(drop)
    };
    set("true")?;
    soon("the cluster looks on", cluster::PATIENCE, || {
        Ok(lab.machines.run(node, &["crm_mon", "-1"])?.contains("unmanaged"))
    })?;
    ensure!(kill(lab, node, "kamailio") > 0, "no kamailio on {}", NODES[node]);
    std::thread::sleep(MONITORS);
    ensure!(!sip::answers(&lab.machines.network)?, "it was started in maintenance mode");
    ensure!(lab.watch.owners() == [node], "the address went: {:?}", lab.watch.owners());
    lab.rows_flow()?;
    set("false")?;
    soon("the PBX answers", cluster::PATIENCE, || sip::answers(&lab.machines.network))?;
    lab.good()?;
    nothing_moves(lab, node, before)?;
    Ok("the PBX stayed down until its end, and came back then".to_owned())
}

fn promotion_killed(lab: &Lab, node: usize) -> anyhow::Result<String> {
    let other = 1 - node;
    crm_resource(lab, &["--move", "--promoted", "--node", NODES[other]])?;
    let agent = || {
        let all = lab.machines.processes(other, "duotone").into_iter();
        let mut promoting = all.filter(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.ends_with(b"\0ocf\0postgres\0promote\0")
        });
        promoting.next()
    };
    let end = Instant::now() + cluster::PATIENCE;
    let killed = loop {
        // Its process group, as the cluster does to an agent that is out of time.
        if let Some(group) = agent() {
            let group = nix::unistd::Pid::from_raw(group as i32);
            if nix::sys::signal::killpg(group, nix::sys::signal::SIGKILL).is_ok() {
                break group;
            }
        }
        ensure!(Instant::now() < end, "no promotion was seen");
        std::thread::sleep(Duration::from_millis(1));
    };
    soon("one is promoted", cluster::PATIENCE, || lab.promoted().map(|_| true))?;
    crm_resource(lab, &["--clear"])?;
    let after = lab.good()?;
    Ok(format!("{killed} was killed, {} serves", NODES[after]))
}

/// Ends all processes of this name on a host; how many there were.
fn kill(lab: &Lab, node: usize, name: &str) -> usize {
    let all = lab.machines.processes(node, name);
    let kill = |pid: &u32| {
        let pid = nix::unistd::Pid::from_raw(*pid as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).is_ok()
    };
    all.iter().filter(|pid| kill(pid)).count()
}
