//! What is asked over the LAN: a service that is dead from outside moves the role, a standby that is
//! cut off moves nothing; gateways are shown on both nodes.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::pair::{PATIENT, Pair, Wanted};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, run, soon};

const KAMAILIO: &str = "/usr/sbin/kamailio";

/// Kamailio on both hosts, good by the probe on loopback; the standby asks the floating address. A
/// short `critical_down`, so that what is to come comes.
fn wanted(times: &'static str) -> Option<Wanted> {
    if !std::path::Path::new(KAMAILIO).exists() {
        eprintln!("skipped: needs {KAMAILIO}");
        return None;
    }
    let services = r#"
[[service]]
name = "kamailio"
command = ["/usr/sbin/kamailio", "-DD", "-E", "-m", "16", "-M", "4", "-f", "HERE/kamailio.cfg", "-Y", "HERE"]
run_on = "both"
probes = [{ kind = "sip-tcp", target = "127.0.0.1:5060", interval = "300ms", timeout = "5s" }]

[remote_checks]
interval = "300ms"
[[remote_checks.probe]]
kind = "sip-tcp"
target = "192.0.2.10:5060"
timeout = "1s"

[[gateway]]
name = "router"
kind = "arp"
target = "192.0.2.1"
interval = "1s"
[[gateway]]
name = "third"
kind = "icmp"
target = "192.0.2.4"
interval = "1s"
[[gateway]]
name = "nowhere"
kind = "icmp"
target = "198.51.100.7"
interval = "1s"
"#;
    Some(Wanted { times, services: services.into(), ..Wanted::default() })
}

fn settled(times: &'static str) -> Option<(Pair, usize)> {
    let mut wanted = wanted(times)?;
    wanted.addresses.truncate(1);
    let mut pair = Pair::new(wanted)?;
    let here = pair.world.here().display().to_string();
    pair.wanted.services = pair.wanted.services.replace("HERE", &here);
    pair.configure();
    for host in HOSTS {
        let config = "#!KAMAILIO\ndebug=-1\nlog_stderror=yes\nchildren=1\ntcp_children=1\n\
                      auto_aliases=no\nlisten=udp:127.0.0.1:5060\n\
                      listen=tcp:0.0.0.0:5060\nloadmodule \"sl.so\"\n\
                      request_route { sl_send_reply(\"200\", \"OK\"); }\n";
        std::fs::write(pair.world.files(host).join("kamailio.cfg"), config).unwrap();
    }
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    Some((pair, active))
}

fn grade(status: &Value) -> Option<&str> {
    status["remote_checks"]["grade"].as_str()
}

#[test]
fn a_service_that_is_dead_from_outside_is_handed_over() {
    on_a_steady_machine(PAIR_BEARS, is_handed_over);
}

fn is_handed_over() {
    let Some((pair, active)) = settled("critical_down = \"1s\"") else { return };
    let standby = 1 - active;
    soon("the standby is answered", || grade(&pair.status(standby)) == Some("good"));
    assert_eq!(pair.status(active)["remote_checks"]["asking"], false, "only a standby asks");
    // A firewall: on loopback all is well.
    pair.world.within(HOSTS[active], || {
        let table = "add table inet wall; add chain inet wall in { type filter hook input priority \
                     0; }; add rule inet wall in iifname \"eth0\" tcp dport 5060 drop";
        run(std::process::Command::new("nft").arg(table));
    });
    soon("the standby serves", || pair.serves(standby));
    soon("the other stands by", || pair.status(active)["role"] == "standby");
    let services = pair.status(active)["services"].clone();
    assert_eq!(services[0]["grade"], "good", "it never failed for who asks on loopback");
    assert_eq!(services[0]["restarts"], 0, "{services:#}");
    soon("the new standby is answered", || grade(&pair.status(active)) == Some("good"));
    assert!(pair.ask(active, &["explain"]).out.contains("do their work"));
}

#[test]
fn a_standby_without_its_lan_moves_nothing() {
    on_a_steady_machine(PAIR_BEARS, moves_nothing);
}

fn moves_nothing() {
    let times = format!("{PATIENT}critical_down = \"1s\"");
    let Some((pair, active)) = settled(times.leak()) else { return };
    let standby = 1 - active;
    soon("the standby is answered", || grade(&pair.status(standby)) == Some("good"));
    gateways(&pair);
    // The router is the switch's own kernel here: it must not answer on a port that left the switch.
    pair.world.within("lan", || {
        std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").expect("a setting");
    });
    pair.world.cut(HOSTS[standby], "eth0");
    soon("nothing is known of the services", || {
        let status = pair.status(standby);
        let check = &status["remote_checks"]["checks"][0];
        let answer = check["answer"].as_str().unwrap_or_default();
        grade(&status) == Some("unknown") && answer.contains("no reference on the LAN answers")
    });
    // Longer than it would take if it counted.
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let status = pair.status(standby);
        assert_ne!(grade(&status), Some("failed"), "{:#}", status["remote_checks"]);
        assert!(pair.serves(active), "nothing moves");
        std::thread::sleep(Duration::from_millis(100));
    }
    pair.world.mend(HOSTS[standby], "eth0");
    soon("it is answered again", || grade(&pair.status(standby)) == Some("good"));
    assert!(pair.serves(active));
}

/// Both nodes say who is reached.
fn gateways(pair: &Pair) {
    for node in [0, 1] {
        soon("the gateways are graded", || {
            let status = pair.status(node);
            let grade = |index: usize| status["gateways"][index]["grade"].clone();
            [grade(0), grade(1)] == ["good", "good"] && !status["gateways"][2]["answer"].is_null()
        });
        let page = pair.ask(node, &["status"]).out;
        for wanted in ["gateway router", "arp 192.0.2.1, good", "icmp 192.0.2.4, good"] {
            assert!(page.contains(wanted), "{wanted}\nin {page}");
        }
        let explained = pair.ask(node, &["explain"]).out;
        assert!(explained.contains("gateway nowhere: "), "{explained}");
        // The role brings the default route: only the active node has one.
        soon("only the standby misses the way", || {
            let page = pair.ask(node, &["status"]).out;
            let warned = page.contains("NOT ON THE LAN, and no route leads to it");
            warned == (pair.status(node)["role"] == "standby")
        });
    }
}
