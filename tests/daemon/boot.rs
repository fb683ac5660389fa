//! A pair that boots, and what its users read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::pair::{DUOTONE, Pair, V4, V6, Wanted, running, said, service};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, soon};

fn everything() -> Wanted {
    let saw = |name: &str| format!("ip -br addr show dev eth0 > $HERE/{name}; exec sleep 600");
    Wanted {
        services: [
            service("pbx", "both", "before-address", "exec sleep 600"),
            service("billing", "active", "before-address", "exec sleep 600"),
            service("trunks", "active", "after-address", &saw("trunks.saw")),
            service("reports", "standby", "before-address", "exec sleep 600"),
        ]
        .concat(),
        ..Wanted::default()
    }
}

/// The test's own directory is known only when the world is there.
fn settled(mut wanted: Wanted) -> Option<(Pair, usize)> {
    let mut pair = Pair::new(wanted.clone())?;
    let here = pair.world.here().display().to_string();
    wanted.services = wanted.services.replace("$HERE", &here);
    pair.wanted = wanted;
    pair.configure();
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    Some((pair, active))
}

#[test]
fn a_pair_boots_and_its_users_can_read_how_it_stands() {
    on_a_steady_machine(PAIR_BEARS, boots_and_is_read);
}

fn boots_and_is_read() {
    let Some((mut pair, active)) = settled(everything()) else { return };
    assert_eq!(active, 0, "nothing speaks against the lower node");
    kernel(&pair);
    what_runs(&pair);
    verbs(&pair);
    status(&pair);
    explain(&pair);
    other_users(&pair);
    second_daemon(&pair);
    assert_eq!(pair.terminate(1), Some(0));
    let Some(seen) = after_the_end(&pair) else { panic!("nothing was said") };
    assert!(seen.contains("nobody listens"), "{seen}");
    pair.ownership.assert_never_two();
}

fn kernel(pair: &Pair) {
    let world = &pair.world;
    for address in [V4, V6] {
        assert!(world.has("a", address) && !world.has("b", address), "{address}");
    }
    let route = world.ip("a", "route show default");
    assert!(route.contains("via 192.0.2.1") && route.contains(&format!("src {V4}")), "{route}");
    assert_eq!(world.ip("b", "route show default"), "");
}

fn what_runs(pair: &Pair) {
    assert_eq!(running(&pair.status(0)), ["pbx", "billing", "trunks"]);
    assert_eq!(running(&pair.status(1)), ["pbx", "reports"]);
    let saw = pair.file(0, "trunks.saw").expect("written");
    assert!(saw.contains(V4) && saw.contains(V6), "started before the address: {saw}");
}

fn verbs(pair: &Pair) {
    let (yes, no) = (pair.ask(0, &["is-active"]), pair.ask(1, &["is-active"]));
    assert_eq!((yes.code, yes.out.as_str()), (0, "active\n"), "{}", yes.err);
    assert_eq!((no.code, no.out.as_str()), (1, "not active\n"), "{}", no.err);
    for node in 0..2 {
        let refused = pair.ask(node, &["failover"]);
        assert_eq!(refused.code, 6, "{refused:?}");
        let why = [
            "to move the role to the peer: duotone switchover",
            "a role is not taken from a living peer",
        ];
        assert!(refused.err.contains(why[node]), "{refused:?}");
    }
    let forced = pair.ask(1, &["failover", "--force", "--reason", "for the sake of it"]);
    assert!(forced.code == 6 && forced.err.contains("the peer is heard"), "{forced:?}");
}

fn status(pair: &Pair) {
    let human = [pair.ask(0, &["status"]), pair.ask(1, &["status"])];
    let first = |node: usize| human[node].out.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first(0), "pbx-a (this host) serves; the standby pbx-b is good. Nothing to do.");
    assert_eq!(first(1), "pbx-a serves; pbx-b (this host) stands by and is good. Nothing to do.");
    for (node, role) in [(0, "active"), (1, "standby")] {
        let status = pair.status(node);
        let field = |path: &str| {
            let found = status.pointer(path);
            found.unwrap_or_else(|| panic!("no {path} in {status:#}")).clone()
        };
        assert_eq!(field("/pair"), "office");
        assert_eq!(field("/node"), ["pbx-a", "pbx-b"][node]);
        assert_eq!(field("/role"), role);
        assert_eq!(field("/durability"), "available");
        assert_eq!(field("/peer_seen/liveness"), "alive");
        assert_eq!(field("/peer_seen/two_way"), true);
        assert_eq!(field("/peer_seen/same_configuration"), true);
        assert_eq!(field("/peer_seen/software"), env!("CARGO_PKG_VERSION"));
        assert_eq!(field("/addresses/list").as_array().map(Vec::len), Some(2));
        assert_eq!(field("/addresses/state"), ["held", "absent"][node]);
        assert_eq!(field("/pulse/lost_records"), 0);
        assert_eq!(field("/pulse/lost_actions"), 0);
        for link in 0..2 {
            assert_eq!(field(&format!("/links/{link}/direction")), "both", "link {link}");
            assert!(field(&format!("/links/{link}/received")).as_u64() > Some(5));
        }
        for path in ["/stance", "/doing", "/why", "/term", "/served_term", "/lease_ms", "/alone"] {
            field(path);
        }
    }
    assert_eq!(pair.status(0)["served_term"], pair.status(1)["peer_seen"]["term"]);
}

fn explain(pair: &Pair) {
    let (active, standby) = (pair.ask(0, &["explain"]), pair.ask(1, &["explain"]));
    assert_eq!((active.code, standby.code), (0, 0));
    assert!(active.out.contains("if pbx-b died now:\n  pbx-a would go on serving"), "{active:?}");
    assert!(standby.out.contains("pbx-b would ask the LAN after 380 ms"), "{standby:?}");
    assert!(!standby.out.contains("in the way"), "{standby:?}");
    for (said, link) in [(&active, "eth1 (udp)"), (&standby, "eth0 (ethernet)")] {
        assert!(said.out.contains(&format!("link {link}: both directions work")), "{said:?}");
    }
    let table = pair.ask(0, &["explain", "--table"]);
    assert!(table.code == 0 && table.out.lines().count() > 50);
}

/// The socket is root's; and were it everybody's, changes would still be.
fn other_users(pair: &Pair) {
    let copy = pair.world.dir.join("duotone");
    fs::copy(DUOTONE, &copy).unwrap();
    let ask = |verb: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        said(command.args([verb, "--socket"]).arg(pair.socket(0)))
    };
    for verb in ["status", "failover", "reload"] {
        let denied = ask(verb);
        assert!(denied.code == 5 && denied.err.contains("permission missing"), "{denied:?}");
    }
    fs::set_permissions(pair.socket(0), fs::Permissions::from_mode(0o666)).unwrap();
    for verb in ["failover", "reload"] {
        let denied = ask(verb);
        let why = format!("{verb} is for root; this is user id 65534");
        assert!(denied.code == 5 && denied.err.contains(&why), "{denied:?}");
    }
    assert_eq!((ask("status").code, ask("is-active").code), (0, 0));
}

fn second_daemon(pair: &Pair) {
    let second = said(&mut pair.duotone(0, &["run"]));
    assert_eq!(second.code, 7, "{second:?}");
    assert!(second.err.contains("in use by another duotone daemon: stop that one"), "{second:?}");
    assert!(pair.serves(0), "the first is not disturbed");
}

fn after_the_end(pair: &Pair) -> Option<String> {
    let mut last = None;
    for verb in ["status", "is-active", "explain", "failover", "reload"] {
        let nobody = pair.ask(1, &[verb]);
        assert_eq!(nobody.code, 4, "{verb}: {nobody:?}");
        last = Some(nobody.err);
    }
    soon("nothing is left on the host", || pair.world.processes(HOSTS[1]).is_empty());
    last
}
