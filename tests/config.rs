//! The configuration file: what is read from it, and what each mistake is told.

use std::time::Duration;

use duotone::config::check::{Assigned, Finding, network};
use duotone::config::estimate::Estimate;
use duotone::config::{Config, Link, Mode, RunOn, Runner};
use duotone::protocol::identity::NodeId;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../examples/duotone.toml");

const PLAIN: &str = include_str!("made/pair.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "duotone.toml", Some("pbx-a")).map_err(|errors| errors.to_string())
}

/// `PLAIN` with one text replaced, and the messages that it then gives.
fn wrong(old: &str, new: &str) -> String {
    assert!(PLAIN.contains(old), "{old} is not in the plain file");
    parse(&PLAIN.replacen(old, new, 1)).expect_err(new)
}

/// `PLAIN` with more at its end.
fn wrong_with(more: &str) -> String {
    parse(&format!("{PLAIN}{more}")).expect_err(more)
}

#[test]
fn the_example_is_read() {
    let a = parse(EXAMPLE).expect("the example");
    let b = Config::parse(EXAMPLE, "duotone.toml", Some("pbx-b")).expect("the example");
    assert_eq!((a.me, b.me), (NodeId::A, NodeId::B));
    assert_eq!((a.name(), a.peer_name()), ("pbx-a", "pbx-b"));
    assert_eq!(a.hash, b.hash);
    let [Link::Udp { local, peer, .. }, Link::Ethernet { interface }] = a.links.as_slice() else {
        panic!("{:?}", a.links)
    };
    assert_eq!(
        (local.to_string(), peer.to_string()),
        ("10.9.0.1:7331".into(), "10.9.0.2:7331".into())
    );
    assert_eq!(interface, "eth0");
    let Link::Udp { local, .. } = &b.links[0] else { panic!("{:?}", b.links) };
    assert_eq!(local.to_string(), "10.9.0.2:7331");
    assert_eq!(a.floating.references, a.floating.gateways);
    assert_eq!(a.floating.refresh, Duration::from_secs(30));
    assert_eq!(a.postgres.as_ref().map(|p| p.peer_host.to_string()), Some("10.9.0.2".into()));
    assert_eq!(b.postgres.as_ref().map(|p| p.peer_host.to_string()), Some("10.9.0.1".into()));
    assert_eq!((a.services[0].run_on, a.services[0].critical), (RunOn::Both, true));
    assert_eq!(a.services[0].probes[0].kind.to_string(), "sip-udp 127.0.0.1:5060");
}

#[test]
fn another_text_has_another_hash() {
    let hash = |text: &str| parse(text).expect("valid").hash;
    assert_ne!(hash(PLAIN), hash(&PLAIN.replace("192.0.2.10", "192.0.2.11")));
}

#[test]
fn all_mistakes_come_at_once_with_their_places() {
    let text = "[pair]\nname = \"my office\"\n\n[timing]\ninterval = \"50\"\nlost_afer = \"1s\"\n";
    let errors = Config::parse(text, "duotone.toml", Some("pbx-a")).expect_err("six mistakes");
    let lines: Vec<String> = errors.to_string().lines().map(str::to_owned).collect();
    for wanted in [
        "duotone.toml:2:8: [pair]: name: \"my office\" contains ' '; write only A-Z a-z 0-9 _ -",
        "duotone.toml:5:12: interval: \"50\" has no unit; write \"50ms\"",
        "duotone.toml:6:1: [timing]: unknown key \"lost_afer\"; did you mean \"lost_after\"?",
        "duotone.toml:1:1: [floating] is missing",
        "duotone.toml:1:1: a pair has exactly two nodes, not 0",
        "duotone.toml:1:1: no heartbeat path",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{wanted}\nin\n{errors}");
    }
    assert_eq!(lines.len(), 6, "{errors}");
}

#[test]
fn each_mistake_in_pair_nodes_and_links_says_what_to_write() {
    for (old, new, wanted) in [
        ("name = \"office\"", "name = 5", "name: 5 is not text; write name = \"…\""),
        ("name = \"office\"", "", "[pair]: name is missing"),
        ("name = \"office\"", "name = \"o\"\npreset = \"voise\"", "did you mean \"voice\"?"),
        ("name = \"office\"", "name = \"o\"\ndurability = \"safe\"", "\"strict\", \"available\""),
        (
            "name = \"office\"",
            "name = \"o\"\narbitration = [\"witness\"]",
            "[witness] is missing; write [witness] with address = \"192.0.2.9:4690\"",
        ),
        (
            "name = \"office\"",
            "name = \"o\"\narbitration = [\"watchdog\"]",
            "write \"lan\", \"witness\" or \"fence\"",
        ),
        ("name = \"office\"", "name = \"o\"\narbitration = []", "needs an arbiter"),
        ("name = \"office\"", "name = \"o\"\nkey_file = \"pair.key\"", "not a whole path"),
        ("name = \"office\"", "name = \"o\"\nsyslog = \"yes\"", "write it without quotes"),
        ("name = \"pbx-b\"", "name = \"pbx-a\"", "the same node twice: \"pbx-a\""),
        ("[[node]]\nname = \"pbx-b\"", "", "exactly two nodes, not 1"),
        ("[[node]]", "[[node]]\nname = \"pbx-c\"\n[[node]]", "exactly two nodes, not 3"),
        ("kind = \"udp\"", "kind = \"upd\"", "did you mean \"udp\"?"),
        ("kind = \"udp\"", "", "[[link]]: kind is missing"),
        ("kind = \"udp\"", "kind = \"ethernet\"", "an ethernet link has no addresses"),
        ("interface = \"eth1\"", "interface = \"an/interface\"", "cannot be an interface"),
        ("interface = \"eth1\"", "interface = \"eth1\"\nport = 70000", "from 1 to 65535"),
        ("pbx-b = \"10.9.0.2\"", "pbx-b = \"fd00::2\"", "are of different families"),
        ("pbx-b = \"10.9.0.2\"", "pbx-b = \"10.9.0.1\"", "both nodes have 10.9.0.1"),
        ("pbx-b = \"10.9.0.2\"", "pbx-c = \"10.9.0.2\"", "no node is named \"pbx-c\""),
        (", pbx-b = \"10.9.0.2\"", "", "node \"pbx-b\" has none; add pbx-b = \"…\""),
        ("pbx-b = \"10.9.0.2\"", "pbx-b = \"10.9.0.2/24\"", "without a prefix length"),
        ("pbx-b = \"10.9.0.2\"", "pbx-b = \"192.0.2.10\"", "192.0.2.10 is a floating address"),
        ("[[link]]", "[link]", "link is repeated; write [[link]], with two brackets"),
        ("[pair]", "[pair", "this is not TOML"),
        ("name = \"office\"", "name = \"office\"\nname = \"again\"", "duplicate key"),
    ] {
        let errors = wrong(old, new);
        assert!(errors.contains(wanted), "{new}: wanted {wanted}\nin {errors}");
    }
}

#[test]
fn moves_are_read_and_each_mistake_about_them_is_told() {
    let with = |lines: &str| {
        PLAIN.replacen("name = \"office\"", &format!("name = \"office\"\n{lines}"), 1)
    };
    let policy = parse(PLAIN).expect("the plain file").policy;
    assert_eq!((policy.preferred, policy.failback_after), (None, None));
    assert_eq!((policy.moves, policy.within), (3, Duration::from_secs(600)));
    let text = with(
        "preferred = \"pbx-b\"\nfailback = \"automatic\"\nfailback_after = \"2h\"\nmax_moves = 1\n\
         moves_window = \"1h\"\nfailback_hours = \"22:30-04:00\"",
    );
    let config = parse(&text).expect("valid");
    assert_eq!(config.failback_hours.map(|hours| hours.to_string()), Some("22:30-04:00".into()));
    let policy = config.policy;
    assert_eq!(policy.preferred, Some(NodeId::B));
    assert_eq!(policy.failback_after, Some(Duration::from_secs(7200)));
    assert_eq!((policy.moves, policy.within), (1, Duration::from_secs(3600)));
    let automatic = "preferred = \"pbx-a\"\nfailback = \"automatic\"";
    let half_an_hour = Some(Duration::from_secs(1800));
    assert_eq!(parse(&with(automatic)).expect("valid").policy.failback_after, half_an_hour);
    for (lines, place, told) in [
        ("preferred = \"pbx-c\"", ":4:13:", "write \"pbx-a\" or \"pbx-b\""),
        ("preferred = 1", ":4:13:", "preferred: 1 is not text"),
        ("failback = \"auto\"", ":4:12:", "write one of \"manual\", \"automatic\""),
        ("failback = \"automatic\"", ":2:1:", "write preferred = \"NODE\""),
        ("failback_after = \"1h\"", ":4:18:", "means nothing while failback is manual"),
        ("failback_hours = \"1-5\"", ":4:18:", "means nothing while failback is manual"),
        ("failback_hours = \"1-5\"", ":4:18:", "write two times of day, as in \"01:00-05:00\""),
        ("max_moves = -1", ":4:13:", "a whole number from 0 to 1000"),
        ("moves_window = \"5ms\"", ":4:16:", "moves_window is too short; write \"1s\""),
        ("moves_window = 10", ":4:16:", "has no unit"),
    ] {
        let errors = parse(&with(lines)).expect_err(lines);
        assert!(errors.contains(place) && errors.contains(told), "{lines}: {errors}");
    }
}

#[test]
fn each_mistake_in_floating_says_what_to_write() {
    for (old, new, wanted) in [
        ("192.0.2.10/24", "192.0.2.10", "no prefix length; write it as in \"192.0.2.10/24\""),
        ("192.0.2.10/24", "192.0.2.10/33", "from 1 to 32"),
        ("192.0.2.10/24", "192.0.2.0/24", "is the network itself"),
        ("192.0.2.10/24", "192.0.2.255/24", "is its broadcast address"),
        ("192.0.2.10/24", "127.0.0.2/8", "loopback"),
        ("\"192.0.2.10/24\"", "\"192.0.2.10/24\", \"192.0.2.10/25\"", "192.0.2.10 twice"),
        ("\"192.0.2.10/24\"", "", "no floating address; write at least one"),
        ("addresses = [\"192.0.2.10/24\"]", "", "addresses is missing"),
        ("\"192.0.2.1\"", "\"198.51.100.1\"", "198.51.100.1 is outside of 192.0.2.10/24"),
        ("\"192.0.2.1\"", "\"192.0.2.10\"", "192.0.2.10 is a floating address; name another host"),
        ("\"192.0.2.1\"", "\"192.0.2.1\", \"192.0.2.2\"", "the second of its family"),
        ("\"192.0.2.1\"", "\"fe80::1\"", "there is no IPv6 floating address"),
        ("gateways = [\"192.0.2.1\"]", "", "nobody proves that a node is on the LAN"),
        ("gateways = [\"192.0.2.1\"]", "references = []", "needs at least one"),
        ("gateways = [\"192.0.2.1\"]", "references = [\"gw\"]", "\"gw\" is not an IP address"),
        ("gateways = [\"192.0.2.1\"]", "gateways = \"192.0.2.1\"", "is not a list"),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\nmode = \"name\"",
            "\"address\", \"interface\"",
        ),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\nstandby_link = \"bare\"",
            "mode = \"interface\"",
        ),
        ("interface = \"eth0\"", "interface = \"eth0\"\nrefresh = \"1ms\"", "floods the LAN"),
        (
            "interface = \"eth0\"",
            "interface = \"eth1\"\nmode = \"interface\"",
            "kind = \"ethernet\"",
        ),
        ("[floating]", "[[floating]]", "floating is a section; write [floating]"),
        ("[floating]", "[floting]", "did you mean \"floating\"?"),
    ] {
        let errors = wrong(old, new);
        assert!(errors.contains(wanted), "{new}: wanted {wanted}\nin {errors}");
    }
}

#[test]
fn a_wrong_service_is_told() {
    let service = "[[service]]\nname = \"sip\"\ncommand = [\"/bin/sip\"]\n";
    assert!(parse(&format!("{PLAIN}{service}")).is_ok());
    for (more, wanted) in [
        (format!("{service}{service}"), "two services are named \"sip\""),
        ("[[service]]\nname = \"a b\"\ncommand = [\"/b\"]\n".into(), "contains ' '"),
        ("[[service]]\nname = \"a\"\ncommand = []\n".into(), "names no program"),
        ("[[service]]\nname = \"a\"\ncommand = \"/b -x\"\n".into(), "is not a list"),
        ("[[service]]\nname = \"a\"\ncommand = [\"b\"]\n".into(), "not a whole path"),
        ("[[service]]\nname = \"a\"\n".into(), "command is missing"),
        (format!("{service}run_on = \"standby\"\ncritical = true\n"), "cannot be critical"),
        (format!("{service}run_on = \"everywhere\"\n"), "\"active\", \"standby\", \"both\""),
        (format!("{service}restart_max = \"10ms\"\n"), "restart_max is shorter"),
        (format!("{service}restart_dely = \"10ms\"\n"), "did you mean \"restart_delay\"?"),
        (probe("kind = \"tcp\""), "target is missing"),
        (probe("kind = \"sip\", target = \"127.0.0.1:5060\""), "\"tcp\", \"sip-udp\""),
        (probe("kind = \"tcp\", target = \"localhost:5060\""), "write an IP address and a port"),
        (probe("kind = \"tcp\", target = \"127.0.0.1\""), "write \"127.0.0.1:5060\""),
        (probe("kind = \"tcp\", target = \"127.0.0.1:0\""), "port 0"),
        (probe("kind = \"tcp\", target = \"0.0.0.0:5060\""), "is not one host"),
        (probe("kind = \"tcp\", target = \"192.0.2.10:5060\""), "start = \"after-address\""),
        (probe("kind = \"tcp\", target = \"127.0.0.1:1\", fall = 0"), "from 1 to 1000"),
        (probe("kind = \"tcp\", target = \"127.0.0.1:1\", timeout = \"1us\""), "\"10ms\" or more"),
        (
            probe("kind = \"tcp\", target = \"127.0.0.1:1\", every = \"1s\""),
            "unknown key \"every\"",
        ),
    ] {
        let errors = wrong_with(&more);
        assert!(errors.contains(wanted), "{more}: wanted {wanted}\nin {errors}");
    }
}

#[test]
fn who_runs_a_service_is_said_once() {
    let unit = "[[service]]\nname = \"sip\"\nunit = \"kamailio.service\"\n";
    let service = |text: &str| parse(&format!("{PLAIN}{text}")).unwrap().services[0].clone();
    assert_eq!(service(unit).runner, Runner::Unit("kamailio.service".into()));
    assert!(service(unit).command.is_empty());
    let command = "[[service]]\nname = \"sip\"\ncommand = [\"/bin/sip\"]\n";
    assert_eq!(service(command).runner, Runner::Daemon);
    let own = format!(
        "{command}run = \"unit\"\nlimits = {{ open_files = 4096, core = \"0B\", memory = \
         \"512MiB\" }}\n"
    );
    assert_eq!(service(&own).runner, Runner::TransientUnit);
    let limits = service(&own).limits;
    assert_eq!((limits.open_files, limits.processes), (Some(4096), None));
    assert_eq!((limits.core, limits.memory), (Some(0), Some(512 << 20)));

    let named = |name: &str| unit.replace("kamailio.service", name);
    for (more, wanted) in [
        (format!("{unit}command = [\"/bin/sip\"]\n"), "command and unit are both there"),
        (format!("{unit}user = \"sip\"\n"), "write User= into a drop-in"),
        (format!("{unit}directory = \"/\"\n"), "write WorkingDirectory= into"),
        (format!("{unit}environment = {{ A = \"b\" }}\n"), "write Environment= into"),
        (format!("{unit}limits = {{ core = \"0B\" }}\n"), "limits is the unit's to say"),
        (format!("{unit}run = \"unit\"\n"), "run is the unit's to say"),
        (named("kamailio"), "write \"kamailio.service\""),
        (named("kamailio.socket"), "is no service"),
        (named("a b.service"), "contains ' '"),
        (named("asterisk@.service"), "write which one, as in \"asterisk@a.service\""),
        (named(".service"), "names no unit"),
        (named("duotone.service"), "is duotone's own"),
        (format!("{unit}{}", unit.replace("\"sip\"", "\"b\"")), "has the same unit"),
        (format!("{command}run = \"both\"\n"), "\"child\", \"unit\""),
        (format!("{command}limits = {{ memory = \"512M\" }}\n"), "B, KiB, MiB or GiB"),
        (format!("{command}limits = {{ open_files = 0 }}\n"), "from 1 to"),
        (format!("{command}limits = {{ files = 1 }}\n"), "unknown key \"files\""),
    ] {
        let errors = wrong_with(&more);
        assert!(errors.contains(wanted), "{more}: wanted {wanted}\nin {errors}");
    }
    // All at once.
    let errors = wrong_with(&format!("{unit}user = \"sip\"\nlimits = {{}}\n"));
    assert!(errors.contains("User=") && errors.contains("LimitNOFILE="), "{errors}");
}

fn probe(fields: &str) -> String {
    format!("[[service]]\nname = \"sip\"\ncommand = [\"/bin/sip\"]\nprobes = [{{ {fields} }}]\n")
}

#[test]
fn a_wrong_database_is_told() {
    let hosts = "hosts = { pbx-a = \"10.9.0.1\", pbx-b = \"10.9.0.2\" }\n";
    let both = "[postgres]\nbin_dir = \"/b\"\ndata_dir = \"/d\"\n";
    for (more, wanted) in [
        (format!("[postgres]\nbin_dir = \"/b\"\n{hosts}"), "data_dir is missing"),
        (format!("[postgres]\nbin_dir = \"/b\"\ndata_dir = \"d\"\n{hosts}"), "not a whole path"),
        (both.to_owned(), "hosts is missing"),
        (format!("{both}user = \"\"\n{hosts}"), "user is empty"),
        (format!("{both}port = 0\n{hosts}"), "from 1 to 65535"),
    ] {
        let errors = wrong_with(&more);
        assert!(errors.contains(wanted), "{more}: wanted {wanted}\nin {errors}");
    }
}

#[test]
fn an_unknown_node_is_told_both_names() {
    let errors = Config::parse(PLAIN, "f", Some("pbx-x")).expect_err("unknown").to_string();
    assert!(
        errors.contains("no node is named \"pbx-x\"; pass --node pbx-a or --node pbx-b"),
        "{errors}"
    );
    let errors = Config::parse(PLAIN, "f", None).expect_err("this host is not in it").to_string();
    assert!(errors.contains("which is this host's name"), "{errors}");
}

#[test]
fn the_host_name_picks_the_node_without_its_domain() {
    let host = nix::unistd::gethostname().expect("host name").to_string_lossy().into_owned();
    let short = host.split('.').next().unwrap_or(&host);
    let config = Config::parse(&PLAIN.replace("pbx-b", short), "f", None).expect("in it");
    assert_eq!(config.me, NodeId::B);
}

#[test]
fn the_lan_is_a_second_heartbeat_path_unless_it_cannot_be() {
    let links = |text: &str| parse(text).expect("valid").links;
    assert_eq!(links(PLAIN).len(), 2);
    assert_eq!(links(PLAIN)[1], Link::Ethernet { interface: "eth0".into() });
    assert_eq!(links(&format!("{PLAIN}heartbeats = false\n")).len(), 1);
    let bare = format!("{PLAIN}mode = \"interface\"\n");
    assert_eq!(parse(&bare).expect("valid").floating.mode, Mode::Interface { bare: true });
    assert_eq!(links(&bare).len(), 2);
    assert_eq!(links(&format!("{bare}standby_link = \"down\"\n")).len(), 1);
}

#[test]
fn an_address_outside_the_interfaces_prefix_is_found() {
    let config = parse(PLAIN).expect("valid");
    let at = |interface: &str, address: &str| Assigned {
        interface: interface.into(),
        address: address
            .split_once('/')
            .map(|(ip, length)| (ip.parse().expect("ip"), length.parse().expect("length"))),
    };
    let found = |assigned: &[Assigned]| -> Vec<String> {
        network(&config, assigned).iter().map(ToString::to_string).collect()
    };
    let link = at("eth1", "10.9.0.1/30");
    assert_eq!(found(&[link.clone(), at("eth0", "192.0.2.7/24")]), Vec::<String>::new());
    // The floating address itself is no proof of the network around it.
    let told = found(&[link, at("eth0", "198.51.100.7/24"), at("eth0", "192.0.2.10/24")]);
    let outside = "192.0.2.10 is outside every prefix of eth0 (198.51.100.7/24)";
    assert!(told[0].contains(outside), "{told:?}");
    let told = found(&[at("eth1", ""), at("eth0", "192.0.2.7/24")]);
    assert!(told[0].contains("10.9.0.1 is not on eth1"), "{told:?}");
    assert!(matches!(
        network(&config, &[])[..],
        [Finding::NoInterface(_), Finding::NoInterface(_)]
    ));
}

#[test]
fn the_estimate_adds_up() {
    let estimate = Estimate::of(&parse(EXAMPLE).expect("valid"));
    let (typical, worst) = estimate.total();
    assert!((250..450).contains(&typical.as_millis()), "{estimate:?}");
    assert!(worst > typical && estimate.unknown.is_none());
    let down = format!("{PLAIN}mode = \"interface\"\nstandby_link = \"down\"\n");
    assert!(Estimate::of(&parse(&down).expect("valid")).unknown.is_some());
}

proptest! {
    #[test]
    fn hostile_text_is_refused_without_harm(
        at in 0..EXAMPLE.len(), junk in "[\\PC\"\\[\\]{}=\n]{0,12}", cut in 0..40usize,
    ) {
        let boundary = |from: usize| (from..=EXAMPLE.len()).find(|&i| EXAMPLE.is_char_boundary(i));
        let start = boundary(at).unwrap_or(EXAMPLE.len());
        let end = boundary(start + cut).unwrap_or(EXAMPLE.len());
        let text = format!("{}{junk}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        if let Err(errors) = parse(&text) {
            let first = errors.lines().next().unwrap_or_default();
            prop_assert!(first.starts_with("duotone.toml:"), "{}", errors);
        }
    }
}

#[test]
fn a_prefix_of_no_bits_is_refused_in_both_families() {
    for (good, bad, range) in [
        ("192.0.2.10/24", "192.0.2.10/0", "from 1 to 32, as in \"192.0.2.10/24\""),
        ("2001:db8::10/64", "2001:db8::10/0", "from 1 to 128, as in \"2001:db8::10/64\""),
    ] {
        let errors = parse(&EXAMPLE.replace(good, bad)).expect_err("a prefix of no bits");
        assert!(errors.contains(range), "{errors}");
    }
}

/// What the page for PBX administrators says to write can be read.
#[test]
fn every_block_of_the_page_is_valid() {
    let page = include_str!("../docs/pbx.md");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("one part at least"))
        .collect();
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        parse(&format!("{PLAIN}\n{block}")).unwrap_or_else(|errors| panic!("{block}\n{errors}"));
    }
}
