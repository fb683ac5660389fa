//! The cases in which only the daemon ends: by the administrator, or by systemd.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::guest::NAMES;
use crate::pair::Pair;

/// The standby's daemon is restarted: nothing moves. The active one's: an orderly stop, so the role
/// moves, and the restarted one stands by.
pub fn unit_restart(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.rows_flow(3)?;
    let served = pair.status(active)["served_term"].clone();
    pair.guests[standby].agent.run("systemctl restart duotone")?;
    ensure!(pair.settle()? == active, "the standby's restart moved the role");
    let still = pair.status(active)["served_term"].clone();
    ensure!(still == served, "the role left and came back: {served} {still}");
    pair.guests[active].agent.run("systemctl restart duotone")?;
    let serves = pair.settle()?;
    ensure!(serves == standby, "{} serves: an orderly stop gives the role up", NAMES[serves]);
    pair.rows_flow(3)?;
    pair.never_two(Duration::ZERO)?;
    let rows = pair.every_row_is_there(serves)?;
    Ok(format!(
        "of the standby's: nothing moved; of the active one's: handed over to {}; all {rows} \
         acknowledged rows are there",
        NAMES[serves]
    ))
}

/// `systemctl stop` on the active host returns when nothing of it serves any more; `start` makes it
/// a standby.
pub fn unit_stop(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.rows_flow(3)?;
    let agent = &pair.guests[active].agent;
    let after = "systemctl stop duotone
         ip -br addr show dev eth0
         echo \"processes: $(pgrep -cx 'duotone|postgres')\"
         systemctl show duotone -p ActiveState -p Result -p ExecStopPost";
    let seen = agent.run(after)?;
    ensure!(!seen.contains("192.0.2.10"), "the address outlives the unit: {seen}");
    ensure!(seen.contains("processes: 0"), "something outlives the unit: {seen}");
    ensure!(seen.contains("ActiveState=inactive"), "{seen}");
    ensure!(seen.contains("Result=success"), "{seen}");
    ensure!(released(&seen), "ExecStopPost= did not release: {seen}");
    let took = pair.serves_soon(standby)?;
    pair.rows_flow(5)?;
    ensure!(pair.status(standby)["peer_seen"]["left"] == true, "it was not told of the stop");
    pair.guests[active].agent.run("systemctl start duotone")?;
    ensure!(pair.settle()? == standby, "the role moved again");
    pair.never_two(Duration::ZERO)?;
    let rows = pair.every_row_is_there(standby)?;
    pair.every_row_is_there(active)?;
    Ok(format!(
        "no address and no process was left when `systemctl stop` returned; {} served {} s later; \
         all {rows} acknowledged rows are on both",
        NAMES[standby],
        took.as_secs()
    ))
}

/// A daemon that does not run any more and does not end: systemd ends it (SIGABRT), releases the
/// address and starts it again.
pub fn watchdog(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    pair.rows_flow(3)?;
    pair.guests[active].watch.forget();
    let agent = &pair.guests[active].agent;
    let pid = agent.run("systemctl show duotone -p MainPID --value")?;
    let since = agent.run("cut -d' ' -f1 /proc/uptime")?;
    agent.run("systemctl kill --signal=STOP --kill-whom=main duotone")?;
    pair.soon("systemd has started another one", |pair| {
        let shown = "systemctl show duotone -p MainPID -p ActiveState";
        let now = pair.guests[active].agent.run(shown)?;
        Ok(now.contains("ActiveState=active") && !now.contains(&format!("={}\n", pid.trim())))
    })?;
    let journal = format!(
        "journalctl -b -u duotone --no-pager -o short-monotonic | awk -F'[][ ]+' '$2 >= {}'",
        since.trim()
    );
    let journal = pair.guests[active].agent.run(&journal)?;
    ensure!(journal.contains("Watchdog timeout"), "not the watchdog: {journal}");
    ensure!(journal.contains("signal SIGABRT"), "not killed by SIGABRT: {journal}");
    ensure!(journal.contains("released from eth0"), "ExecStopPost= released nothing: {journal}");
    let let_go = pair.guests[active].watch.looks();
    ensure!(let_go.iter().any(|look| !look.held), "the address stayed");
    let serves = pair.settle()?;
    pair.rows_flow(3)?;
    pair.never_two(Duration::ZERO)?;
    let rows = pair.every_row_is_there(serves)?;
    let who = match serves == active {
        true => "the restarted one",
        false => "the peer",
    };
    pair.every_row_is_there(1 - serves).context("the other")?;
    Ok(format!(
        "systemd killed the stopped daemon (SIGABRT), ExecStopPost= released the address, {who} \
         ({}) serves; all {rows} acknowledged rows are on both",
        NAMES[serves]
    ))
}

/// `duotone release` ran after the daemon's end and said that the addresses are gone.
fn released(shown: &str) -> bool {
    let line = shown.lines().find(|line| line.starts_with("ExecStopPost="));
    line.is_some_and(|line| line.contains("code=exited") && line.contains("status=0"))
}
