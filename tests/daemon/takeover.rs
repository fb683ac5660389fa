//! The active node is lost, or leaves: the other takes over, and nobody ever sees two.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pair::{Pair, V4, V6, Wanted, running, said, service};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, signal, soon};

const MACS: [&str; 2] = ["02:00:00:00:00:00", "02:00:00:00:00:01"];

/// So long that what had to wait for its end is told from what did not, on any machine.
const LONG_LIFE: Duration = Duration::from_secs(60);

fn long_lived() -> Wanted {
    Wanted { times: "address_lifetime = \"60s\"", ..Wanted::default() }
}

/// The third machine knows the active node, and is told of the other without asking.
fn learn(pair: &Pair, active: usize) {
    for address in [V4, V6] {
        soon("the third machine reaches the active node", || {
            pair.world.call(address);
            pair.world.neighbour(address).as_deref() == Some(MACS[active])
        });
    }
}

fn told(pair: &Pair, active: usize) {
    for address in [V4, V6] {
        soon(&format!("{address} is announced"), || {
            pair.world.neighbour(address).as_deref() == Some(MACS[active])
        });
    }
}

/// Every mark of the timeline is there, in this order, in time and in the log.
fn tells(pair: &Pair, node: usize, wanted: &[&str]) {
    let status = pair.status(node);
    let marks = status["timeline"].as_array().expect("a timeline").clone();
    let at = |what: &str| {
        let found = marks.iter().position(|mark| mark["what"] == what);
        found.unwrap_or_else(|| panic!("no {what} in {marks:#?}"))
    };
    let order: Vec<usize> = wanted.iter().map(|what| at(what)).collect();
    assert!(order.is_sorted(), "{wanted:?} are not in order: {marks:#?}");
    let times = marks.iter().map(|mark| mark["at_ns"].as_u64().expect("a time"));
    assert!(times.is_sorted(), "{marks:#?}");
    let log = pair.log(node);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" ms ")).collect();
    for what in wanted {
        let step = format!(" ms {what}: ");
        let of_step = lines.iter().filter(|line| line.contains('+') && line.contains(&step));
        assert_eq!(of_step.count(), 1, "one line for {what}: {lines:#?}");
    }
}

#[test]
fn a_host_without_power_is_replaced() {
    on_a_steady_machine(PAIR_BEARS, is_replaced);
}

fn is_replaced() {
    let Some((mut pair, active)) = Pair::settled(Wanted::default()) else { return };
    let standby = 1 - active;
    learn(&pair, active);
    pair.power_off(active);
    pair.serves_soon(standby);
    told(&pair, standby);
    tells(
        &pair,
        standby,
        &[
            "last-heartbeat",
            "late",
            "asking",
            "evidence",
            "lost",
            "consent",
            "term",
            "services",
            "proved",
            "address",
            "active",
            "announced",
        ],
    );
    assert_eq!(running(&pair.status(standby)), ["pbx"]);
    let peer = &pair.status(standby)["peer_seen"]["liveness"];
    assert_eq!(peer, "lost");
    pair.ownership.assert_never_two();

    // It comes back as standby. What its kernel had went with the power.
    for address in [V4, V6] {
        pair.world.ip(HOSTS[active], &format!("addr flush dev eth0 to {address}"));
    }
    pair.ownership.power(active, true);
    pair.world.mend(HOSTS[active], "eth0");
    pair.world.mend(HOSTS[active], "eth1");
    pair.start(active);
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
}

#[test]
fn a_dead_daemon_s_address_expires_before_the_other_takes_it() {
    on_a_steady_machine(PAIR_BEARS, expires_first);
}

fn expires_first() {
    let wanted = Wanted {
        services: service("pbx", "both", "before-address", "sleep 600 & exec sleep 600"),
        ..Wanted::default()
    };
    let Some((mut pair, active)) = Pair::settled(wanted) else { return };
    let standby = 1 - active;
    assert!(pair.world.processes(HOSTS[active]).len() >= 3);
    pair.kill(active);
    // The dead daemon's kernel still answers: its lifetime of 2 s, then a silent window of half a second.
    let took = pair.serves_soon(standby);
    assert!(took > Duration::from_millis(500), "{took:?}");
    assert!(!pair.world.has(HOSTS[active], V4));
    soon("its services are gone, children and all", || {
        pair.world.processes(HOSTS[active]).is_empty()
    });
    pair.ownership.assert_never_two();
    let gone = pair.ownership.changes();
    let gone = gone.iter().find(|change| change.host == active && !change.held);
    assert!(gone.is_some(), "the kernel took it away");

    pair.start(active);
    assert_eq!(pair.settle(), standby, "a returning node stands by");
    assert!(!pair.log(active).contains("panic"));
}

#[test]
fn a_released_address_is_free_at_once() {
    on_a_steady_machine(PAIR_BEARS, is_free_at_once);
}

fn is_free_at_once() {
    let Some((mut pair, active)) = Pair::settled(long_lived()) else { return };
    let standby = 1 - active;
    pair.kill(active);
    // As the unit's ExecStopPost= does.
    let released = said(&mut pair.duotone(active, &["release"]));
    assert_eq!(released.code, 0, "{released:?}");
    assert_eq!(released.out, format!("{V4}, {V6} released from eth0\n"));
    assert!(!pair.world.has(HOSTS[active], V4) && !pair.world.has(HOSTS[active], V6));
    let took = pair.serves_soon(standby);
    assert!(took < LONG_LIFE / 2, "no lifetime had to end: {took:?}");
    pair.ownership.assert_never_two();
}

#[test]
fn a_frozen_daemon_that_thaws_drops_the_role_before_anything_else() {
    let Some((pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    signal(pair.pid(active), Signal::SIGSTOP);
    pair.serves_soon(standby);
    signal(pair.pid(active), Signal::SIGCONT);
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
    assert!(!pair.world.has(HOSTS[active], V4));

    // A hiccup is none: the lease holds.
    let term = pair.status(standby)["term"].clone();
    signal(pair.pid(standby), Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(200));
    signal(pair.pid(standby), Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis(2000));
    assert_eq!(pair.settle(), standby);
    assert_eq!(pair.status(standby)["term"], term);
}

#[test]
fn a_node_that_is_told_to_stop_hands_over_at_once_and_returns_as_standby() {
    on_a_steady_machine(PAIR_BEARS, hands_over_and_returns);
}

fn hands_over_and_returns() {
    let Some((mut pair, active)) = Pair::settled(long_lived()) else { return };
    let standby = 1 - active;
    learn(&pair, active);
    let before = pair.status(standby)["term"].clone();
    assert_eq!(pair.terminate(active), Some(0));
    assert!(pair.world.processes(HOSTS[active]).is_empty(), "its services have ended");
    assert!(!pair.world.has(HOSTS[active], V4) && !pair.world.has(HOSTS[active], V6));
    pair.serves_soon(standby);
    told(&pair, standby);
    pair.ownership.assert_never_two();
    let changes = pair.ownership.changes();
    let time = |host: usize, held: bool| {
        let mut found = changes.iter().filter(|change| change.host == host && change.held == held);
        found.next_back().expect("a change").at
    };
    let gap = time(standby, true).duration_since(time(active, false));
    assert!(gap < LONG_LIFE / 2, "nobody had the address for {gap:?}");
    assert_ne!(pair.status(standby)["term"], before);
    assert_eq!(pair.status(standby)["peer_seen"]["left"], true);

    pair.start(active);
    assert_eq!(pair.settle(), standby);
    assert_eq!(pair.status(standby)["peer_seen"]["left"], false);
    // And the other way round, so that leaving is no one-way road.
    assert_eq!(pair.terminate(standby), Some(0));
    pair.serves_soon(active);
    pair.ownership.assert_never_two();
}

#[test]
fn a_whole_interface_moves_bare_or_down() {
    on_a_steady_machine(PAIR_BEARS, interface_moves);
}

fn interface_moves() {
    for link in ["bare", "down"] {
        let wanted = Wanted {
            mode: match link {
                "bare" => "mode = \"interface\"\nstandby_link = \"bare\"",
                _ => "mode = \"interface\"\nstandby_link = \"down\"",
            },
            ..Wanted::default()
        };
        let Some((mut pair, active)) = Pair::settled(wanted) else { return };
        let standby = 1 - active;
        let up = |node: usize| {
            let shown = pair.world.ip(HOSTS[node], "-br link show dev eth0");
            shown.split(['<', ',', '>']).any(|flag| flag == "UP")
        };
        assert!(up(active), "{link}");
        assert_eq!(up(standby), link == "bare", "{link}");
        assert!(!pair.world.addresses(HOSTS[standby]).contains("192.0.2."), "{link}");
        learn(&pair, active);
        pair.power_off(active);
        pair.serves_soon(standby);
        told(&pair, standby);
        let route = pair.world.ip(HOSTS[standby], "route show default");
        assert!(route.contains("via 192.0.2.1"), "{link}: {route}");
        pair.ownership.assert_never_two();
    }
}
