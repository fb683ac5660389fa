//! The cases in which a whole host is lost, or not really; and their order.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::guest::NAMES;
use crate::pair::Pair;
use crate::restarts;
use crate::results::Results;
use crate::units;

/// A case begins with a good pair that serves and ends with one; it tells what was seen.
type Case = fn(&mut Pair) -> anyhow::Result<String>;

const CASES: &[(&str, Case)] = &[
    ("power cut", power_cut),
    ("pause", pause),
    ("unit stop", restarts::unit_stop),
    ("WatchdogSec", restarts::watchdog),
    ("unit restart", restarts::unit_restart),
    ("units", units::units),
    ("kernel panic", kernel_panic),
    ("boot", boot),
    ("host watchdog", host_watchdog),
];

/// Runs them all, or those that `GUESTS_CASES` names (with commas).
pub fn run(results: &mut Results) -> anyhow::Result<()> {
    let wanted = std::env::var("GUESTS_CASES").ok();
    let wanted =
        |name: &str| wanted.as_deref().is_none_or(|list| list.split(',').any(|case| case == name));
    results.plan(CASES.iter().map(|(name, _)| *name));
    let mut pair = Pair::installed().context("installation")?;
    pair.settle().context("the first good pair")?;
    pair.rows_flow(3)?;
    results.passed("installed", "a good pair, set up by the README's steps");
    for (name, case) in CASES.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("guests: {name}");
        match case(&mut pair) {
            Ok(seen) => results.passed(name, &seen),
            Err(error) => {
                results.failed(name, &format!("{error:#}"));
                journals(&pair);
                // The next case is judged by itself, if there is a pair to judge.
                pair.settle().context("no good pair after a failed case")?;
            }
        }
    }
    Ok(())
}

fn journals(pair: &Pair) {
    for guest in &pair.guests {
        let said = guest.agent.run("journalctl -b -u duotone -n 60 --no-pager -o short-monotonic");
        eprintln!(
            "--- {}\n{}",
            NAMES[guest.number],
            said.unwrap_or_else(|error| error.to_string())
        );
    }
}

/// Both off in order, both on: the roles are there without anybody's doing, and PostgreSQL is
/// duotone's child, not its own unit's.
fn boot(pair: &mut Pair) -> anyhow::Result<String> {
    let Pair { guests, network, .. } = pair;
    for guest in guests.iter() {
        guest.agent.last_words("systemctl poweroff")?;
    }
    for guest in guests.iter_mut() {
        guest.off()?;
    }
    for guest in guests.iter_mut() {
        guest.start(network)?;
    }
    for guest in guests.iter_mut() {
        guest.booted()?;
    }
    let active = pair.settle()?;
    for (node, guest) in pair.guests.iter().enumerate() {
        let name = NAMES[node];
        let unit =
            guest.agent.shell_for(Duration::from_secs(240), "systemctl is-active duotone")?;
        ensure!(unit.out.trim() == "active", "{name}: the unit: {unit:?}");
        let own = "systemctl is-active postgresql@15-main";
        let own = guest.agent.shell_for(Duration::from_secs(240), own)?;
        ensure!(own.out.trim() == "inactive", "{name}: PostgreSQL's own unit: {own:?}");
        let never = "journalctl -b -u postgresql@15-main --no-pager -q | wc -l";
        let never = guest.agent.run(never)?;
        ensure!(never.trim() == "0", "{name}: its own unit did something in this boot: {never}");
        let group = "cat /proc/$(head -1 /var/lib/postgresql/15/main/postmaster.pid)/cgroup";
        let group = guest.agent.run(group)?;
        ensure!(group.contains("duotone.service"), "{name}: PostgreSQL is in {group}");
    }
    pair.rows_flow(3)?;
    pair.never_two(Duration::ZERO)?;
    Ok(format!(
        "{} active, {} standby; postgresql@15-main never started, both servers are in duotone's \
         control group",
        NAMES[active],
        NAMES[1 - active]
    ))
}

/// The page cache is lost with the power. What was said on the wire and what was acknowledged are
/// not.
fn power_cut(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.rows_flow(20)?;
    // Shows that the cut is one: the one file must survive, the other must not.
    let marks = "rm -f /root/unsynced /root/synced; sync -f /root; echo synced > /root/synced; \
         sync /root/synced /root; echo unsynced > /root/unsynced";
    pair.guests[active].agent.run(marks)?;
    let said = pair.ear.said()[active];
    pair.guests[active].power_cut()?;
    let (of_cut, of_peer) = (said, pair.serves_soon(standby)?);
    pair.rows_flow(5)?;
    pair.every_row_is_there(standby)?;
    let found = returns(pair, active)?;
    ensure!(
        found.term >= of_cut[0] && found.served >= of_cut[1],
        "said {of_cut:?} on the wire, and the disk of the next life says {found:?}"
    );
    let marks = pair.guests[active].agent.run("cat /root/synced; cat /root/unsynced || true")?;
    ensure!(marks.trim() == "synced", "not a power cut: {marks:?}");
    let rows = survived(pair, active, standby)?;
    Ok(format!(
        "{} served after {} s; the unsynced file was lost, the synced one was not; said {} on the \
         wire, found {} on the disk; it rejoined; all {rows} acknowledged rows are on both",
        NAMES[standby],
        of_peer.as_secs(),
        of_cut[0],
        found.term
    ))
}

fn kernel_panic(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.rows_flow(10)?;
    let said = pair.ear.said()[active];
    pair.guests[active].agent.last_words("echo c > /proc/sysrq-trigger")?;
    pair.guests[active].off()?;
    let took = pair.serves_soon(standby)?;
    pair.rows_flow(5)?;
    let found = returns(pair, active)?;
    ensure!(found.term >= said[0], "said {said:?}, the disk of the next life says {found:?}");
    let rows = survived(pair, active, standby)?;
    Ok(format!(
        "{} served {} s after the panic; the other rejoined; all {rows} acknowledged rows are on \
         both",
        NAMES[standby],
        took.as_secs()
    ))
}

/// With everything of the unit stopped and systemd not looking, only the device is left: it resets
/// the host, and the other serves.
fn host_watchdog(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    let mut device = String::new();
    // The standby first: its restart moves nothing.
    for node in [standby, active] {
        let agent = &pair.guests[node].agent;
        device = agent.run(
            "set -e
             # The device that QEMU emulates: what it resets is the machine.
             modprobe i6300esb
             test -e /dev/watchdog
             echo i6300esb | tee /etc/modules-load.d/watchdog.conf
             grep -q ^watchdog /etc/duotone/duotone.toml ||
                 sed -i '/^\\[pair\\]/a watchdog = \"/dev/watchdog\"' /etc/duotone/duotone.toml
             # Gone with the boot. A daemon that runs keeps the limit that it was started with.
             mkdir -p /run/systemd/system/duotone.service.d
             printf '[Service]\\nWatchdogSec=0\\n' > /run/systemd/system/duotone.service.d/never.conf
             systemctl daemon-reload",
        )?;
    }
    pair.guests[standby].agent.run("systemctl restart duotone")?;
    pair.settle()?;
    // The role may go with the restart of who has it.
    pair.guests[active].agent.run("systemctl restart duotone")?;
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.soon("the device is fed", |pair| Ok(pair.status(active)["watchdog"] == "fed"))?;
    pair.rows_flow(3)?;
    pair.guests[active].agent.last_words("systemctl kill --signal=STOP --kill-whom=all duotone")?;
    pair.guests[active].off()?;
    let took = pair.serves_soon(standby)?;
    pair.rows_flow(5)?;
    returns(pair, active)?;
    let rows = survived(pair, active, standby)?;
    Ok(format!(
        "{} reset the host; {} served {} s later; it rejoined; all {rows} acknowledged rows are on \
         both",
        device.trim(),
        NAMES[standby],
        took.as_secs()
    ))
}

/// Turns a lost host on again; the state file that it found.
pub fn returns(
    pair: &mut Pair,
    node: usize,
) -> anyhow::Result<duotone::protocol::durable::Durable> {
    pair.guests[node].start(&pair.network)?;
    pair.guests[node].booted()?;
    pair.soon("the state file was kept", |pair| Ok(pair.state_at_boot(node).is_ok()))?;
    pair.state_at_boot(node)
}

/// The one that returned stands by, nothing moved again, nothing is lost.
pub fn survived(pair: &mut Pair, lost: usize, active: usize) -> anyhow::Result<usize> {
    ensure!(pair.settle()? == active, "the role moved again");
    pair.rows_flow(3)?;
    pair.never_two(Duration::ZERO)?;
    let rows = pair.every_row_is_there(active)?;
    // What is acknowledged is on both: the pair is in sync.
    pair.every_row_is_there(lost)?;
    Ok(rows)
}

/// The hypervisor stops the active guest for longer than `lost_after`, and no clock of the guest
/// tells: when it goes on it believes in its lease until it hears the other.
fn pause(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    let standby = 1 - active;
    pair.rows_flow(5)?;
    let guest = &pair.guests[active];
    guest.pause()?;
    std::thread::sleep(Duration::from_secs(1));
    let before = guest.watch.last().context("nobody watches")?;
    ensure!(before.held, "the active node held no address");
    let took = pair.serves_soon(standby)?;
    pair.rows_flow(5)?;
    guest.watch.cut();
    guest.resume()?;
    let gone = pair.soon("the old one let the address go", |pair| {
        Ok(pair.guests[active].watch.looks().iter().any(|look| !look.held))
    });
    gone?;
    let looks = pair.guests[active].watch.looks();
    let gone = looks.iter().find(|look| !look.held).context("seen before")?;
    let back = looks.iter().skip_while(|look| look.held).any(|look| look.held);
    ensure!(!back, "it took the address again");
    let hidden = gone.guest_ns.saturating_sub(before.guest_ns);
    let window = Duration::from_nanos(hidden);
    ensure!(pair.settle()? == standby, "the role moved again");
    pair.never_two(window)?;
    let rows = pair.every_row_is_there(standby)?;
    pair.every_row_is_there(active)?;
    Ok(format!(
        "{} served after {} s; wake window {} ms by the guest's clock, a look every 25 ms; all \
         {rows} acknowledged rows are on both",
        NAMES[standby],
        took.as_secs(),
        window.as_millis()
    ))
}
