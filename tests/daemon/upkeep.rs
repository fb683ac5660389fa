//! While a node serves: cables that are cut, what others take away, what an administrator changes.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pair::{PATIENT, Pair, V4, V6, Wanted, running, service};
use crate::world::{HOSTS, signal, soon};

#[test]
fn what_is_cut_or_deleted_moves_nothing() {
    let times = format!("{PATIENT}address_lifetime = \"60s\"").leak();
    let wanted = Wanted { times, ..Wanted::default() };
    let Some((pair, active)) = Pair::settled(wanted) else { return };
    let term = pair.status(active)["term"].clone();
    cut_eth1(&pair, active);
    deleted_by_hand(&pair, active);
    assert_eq!(pair.settle(), active);
    assert_eq!(pair.status(active)["term"], term);
    let taken = pair.ownership.changes();
    assert!(taken.iter().all(|change| change.host == active), "{taken:#?}");
}

fn cut_eth1(pair: &Pair, active: usize) {
    let host = HOSTS[active];
    let direction =
        |node: usize, link: usize| pair.status(node)["links"][link]["direction"].clone();
    pair.world.cut(host, "eth1");
    soon("the cut is seen", || (0..2).all(|node| direction(node, 0) == "silent"));
    std::thread::sleep(Duration::from_millis(4500));
    for node in 0..2 {
        assert_eq!(direction(node, 1), "both", "frames on the LAN are a path");
        assert_eq!(pair.status(node)["peer_seen"]["liveness"], "alive");
    }
    assert!(pair.serves(active));
    pair.world.mend(host, "eth1");
    soon("the cable is seen again", || (0..2).all(|node| direction(node, 0) == "both"));
    // The carrier goes on both ends, as with a cable that is pulled out.
    pair.world.ip("lan", &format!("link set eth1-{host} down"));
    soon("the cut is seen", || direction(1 - active, 0) == "silent");
    pair.world.ip("lan", &format!("link set eth1-{host} up"));
    soon("the cable is seen again", || (0..2).all(|node| direction(node, 0) == "both"));
    assert!(pair.serves(active));
}

fn deleted_by_hand(pair: &Pair, active: usize) {
    let (world, host) = (&pair.world, HOSTS[active]);
    let route = || world.ip(host, "route show default").contains("via 192.0.2.1");
    let before = pair.ownership.changes().len();
    for (address, length) in [(V4, 24), (V6, 64)].repeat(3) {
        world.ip(host, &format!("addr del {address}/{length} dev eth0"));
        soon(&format!("{address} is back"), || world.has(host, address));
    }
    soon("all of it is seen", || pair.ownership.changes().len() >= before + 12);
    let changes = pair.ownership.changes();
    let gaps = changes[before..].chunks(2).map(|change| change[1].at - change[0].at);
    // Not by the next renewal, which is many seconds later.
    let quick = gaps.filter(|gap| *gap < Duration::from_secs(10)).count();
    assert!(quick >= 4, "{quick} of 6 came back at once: {changes:#?}");
    soon("the route is there", route);
    world.ip(host, "route del default");
    soon("the route is back", route);
    world.ip(host, "link set eth0 down");
    soon("everything is back", || world.has(host, V4) && world.has(host, V6) && route());
    soon("it says so", || pair.serves(active));
}

#[test]
fn a_standby_that_goes_and_comes_back_moves_nothing() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    for ending in ["in order", "by kill -9", "in order"] {
        match ending {
            "in order" => assert_eq!(pair.terminate(standby), Some(0)),
            _ => pair.kill(standby),
        }
        std::thread::sleep(Duration::from_millis(4500));
        assert!(pair.serves(active), "{ending}");
        pair.start(standby);
        assert_eq!(pair.settle(), active, "{ending}");
        assert_eq!(pair.status(active)["term"], term, "{ending}: it was taken again");
    }
    let taken = pair.ownership.changes();
    assert!(taken.iter().all(|change| change.host == active && change.held), "{taken:#?}");
}

#[test]
fn services_and_addresses_are_read_again_without_a_role_change() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    let pid = pair.status(active)["services"][0]["pid"].clone();
    let said = pair.ask(active, &["reload"]);
    assert_eq!((said.code, said.out.as_str()), (0, "nothing has changed\n"), "{}", said.err);

    pair.wanted.addresses.push("192.0.2.11/24");
    pair.wanted.services += &service("extra", "both", "before-address", "exec sleep 600");
    pair.configure();
    let said = pair.ask(active, &["reload"]);
    assert_eq!((said.code, said.out.as_str()), (0, "addresses and services read again\n"));
    signal(pair.pid(standby), Signal::SIGHUP);
    soon("the second address is there", || pair.world.has(HOSTS[active], "192.0.2.11"));
    for node in 0..2 {
        soon("the new service runs", || running(&pair.status(node)) == ["pbx", "extra"]);
    }
    assert_eq!(pair.settle(), active);

    pair.wanted.addresses.retain(|address| !address.starts_with("2001"));
    pair.wanted.services = service("pbx", "both", "before-address", "exec sleep 600");
    pair.configure();
    for node in 0..2 {
        signal(pair.pid(node), Signal::SIGHUP);
    }
    soon("the IPv6 address is gone", || !pair.world.has(HOSTS[active], V6));
    soon("the service is gone", || running(&pair.status(active)) == ["pbx"]);
    assert!(pair.world.has(HOSTS[active], V4) && pair.world.has(HOSTS[active], "192.0.2.11"));
    assert_eq!(pair.settle(), active);
    assert_eq!(pair.status(active)["term"], term, "nobody took anything");
    assert_eq!(pair.status(active)["services"][0]["pid"], pid, "what did not change runs on");
    soon("both have the same file", || {
        pair.status(active)["peer_seen"]["same_configuration"] == true
    });

    // What cannot be changed so is named, and nothing is.
    pair.wanted.durability = "strict";
    pair.wanted.addresses = vec!["192.0.2.10/24"];
    pair.configure();
    let refused = pair.ask(active, &["reload"]);
    let why = "these changes need a restart of the daemon: durability; nothing was changed";
    assert!(refused.code == 6 && refused.err.contains(why), "{refused:?}");
    pair.wanted.durability = "sometimes";
    pair.configure();
    let refused = pair.ask(active, &["reload"]);
    assert!(refused.code == 6 && refused.err.contains("duotone.toml:4:"), "{refused:?}");
    signal(pair.pid(active), Signal::SIGHUP);
    soon("the log says it", || pair.log(active).contains("reload refused: "));
    assert!(pair.world.has(HOSTS[active], "192.0.2.11") && pair.serves(active));
    pair.ownership.assert_never_two();
}
