//! Probes, remote checks and gateways in the configuration file.
#![allow(missing_docs)]

use std::time::Duration;

use duotone::config::{Config, Probe, ProbeKind, Reach, Transport, Trigger};

const PLAIN: &str = include_str!("made/pair.toml");

const SERVICES: &str = include_str!("../examples/probes.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "duotone.toml", Some("pbx-a")).map_err(|errors| errors.to_string())
}

fn with(more: &str) -> Result<Config, String> {
    parse(&format!("{PLAIN}{more}"))
}

fn service(fields: &str) -> String {
    format!("[[service]]\nname = \"sip\"\ncommand = [\"/bin/sip\"]\nprobes = [{{ {fields} }}]\n")
}

fn probe(fields: &str) -> Probe {
    let config = with(&service(fields)).unwrap_or_else(|errors| panic!("{fields}: {errors}"));
    config.services[0].probes[0].clone()
}

#[test]
fn the_example_has_every_kind() {
    let config = with(SERVICES).expect("the example");
    let asked: Vec<String> =
        config.services[0].probes.iter().map(|probe| probe.kind.to_string()).collect();
    assert_eq!(
        asked,
        [
            "sip-udp 127.0.0.1:5060",
            "sip-tcp 127.0.0.1:5060",
            "sip-tls 127.0.0.1:5061",
            "tcp [::1]:5038",
            "http://127.0.0.1:8080/status",
            "https://pbx.example.org/status",
            "sql \"SELECT count(*) FROM version\"",
            "command /usr/local/bin/check-trunks",
        ]
    );
    let checks = config.remote_checks.expect("remote checks");
    assert_eq!(checks.trigger, Trigger::All);
    let [sip, page] = checks.probes.as_slice() else { panic!("{checks:?}") };
    assert_eq!((sip.interval, sip.fall), (Duration::from_secs(5), 4));
    assert_eq!(page.kind.to_string(), "tcp 192.0.2.10:443");
    let names: Vec<&str> = config.gateways.iter().map(|gateway| gateway.name.as_str()).collect();
    assert_eq!(names, ["router", "itsp", "trunk"]);
    assert!(matches!(config.gateways[0].reach, Reach::Lan { .. }));
}

#[test]
fn what_is_not_written_is_as_before() {
    let plain = probe("kind = \"sip-udp\", target = \"127.0.0.1:5060\", interval = \"2s\"");
    assert_eq!(plain.timeout, Duration::from_millis(500));
    assert_eq!((plain.fall, plain.rise, plain.grace), (3, 1, Duration::from_secs(6)));
    let ProbeKind::Sip(sip) = &plain.kind else { panic!("{plain:?}") };
    let accepted = [200, 302, 404, 499, 501].map(|status| sip.accept.contains(status));
    assert_eq!(accepted, [true; 5]);
    assert_eq!([500, 503, 603].map(|status| sip.accept.contains(status)), [false; 3]);
    let tls = probe(
        "kind = \"sip-tls\", target = \"127.0.0.1:5061\", accept = [\"2xx\", \"404\"], \
         server_name = \"pbx.example.org\", grace = \"10s\"",
    );
    assert_eq!(tls.grace, Duration::from_secs(10));
    let ProbeKind::Sip(sip) = &tls.kind else { panic!("{tls:?}") };
    assert_eq!(
        [200, 299, 404, 300, 403].map(|status| sip.accept.contains(status)),
        [true, true, true, false, false]
    );
    let Transport::Tls(tls) = &sip.transport else { panic!("{sip:?}") };
    assert!(tls.verify && tls.ca.is_none());
    let checks =
        "[remote_checks]\n[[remote_checks.probe]]\nkind = \"tcp\"\ntarget = \"192.0.2.10:1\"\n";
    for (preset, interval) in [("voice", 1), ("thirty", 30)] {
        let text =
            PLAIN.replace("name = \"office\"", &format!("name = \"o\"\npreset = \"{preset}\""));
        let config = parse(&format!("{text}{checks}")).expect("valid");
        let checks = config.remote_checks.expect("there");
        assert_eq!(
            (checks.probes[0].interval, checks.probes[0].fall),
            (Duration::from_secs(interval), 3)
        );
    }
}

#[test]
fn each_mistake_about_a_probe_says_what_to_write() {
    for (fields, wanted) in [
        ("kind = \"sip-udp\", target = \"127.0.0.1:5060\", accept = []", "no status is good"),
        ("kind = \"sip-udp\", target = \"127.0.0.1:5060\", accept = [\"99\"]", "from 200 to 699"),
        (
            "kind = \"sip-udp\", target = \"127.0.0.1:5060\", accept = [\"2x\"]",
            "\"200\" or \"2xx\"",
        ),
        ("kind = \"sip-udp\", target = \"127.0.0.1:5060\", accept = [200]", "write it in quotes"),
        ("kind = \"sip-udp\", target = \"127.0.0.1:5060\", ca = \"/x\"", "unknown key \"ca\""),
        ("kind = \"sip-tls\", target = \"127.0.0.1:5061\", ca = \"x\"", "not a whole path"),
        (
            "kind = \"sip-tls\", target = \"127.0.0.1:5061\", ca = \"/x\", verify = false",
            "means nothing while verify is false",
        ),
        (
            "kind = \"sip-tls\", target = \"127.0.0.1:5061\", server_name = \"a b\"",
            "write a host name",
        ),
        ("kind = \"http\"", "url is missing; write url = \"http://127.0.0.1/\""),
        ("kind = \"http\", url = \"127.0.0.1\"", "is no URL"),
        ("kind = \"http\", url = \"https://h/\"", "the kind is http"),
        ("kind = \"https\", url = \"https://me:secret@h/\"", "ask a page without"),
        ("kind = \"http\", url = \"http://192.0.2.10/\"", "start = \"after-address\""),
        ("kind = \"http\", url = \"http://h/\", contains = \"\"", "from 1 to 1024 bytes"),
        ("kind = \"http\", url = \"http://h/\", verify = false", "unknown key \"verify\""),
        ("kind = \"sql\"", "connection is missing"),
        ("kind = \"sql\", connection = \"host=x prot=1 user=y\"", "prot"),
        ("kind = \"sql\", connection = \"host=x\"", "names no user"),
        ("kind = \"sql\", connection = \"user=x\"", "names no host"),
        ("kind = \"sql\", connection = \"host=x user=y password=z\"", "password_file = \"/…\""),
        ("kind = \"sql\", connection = \"host=x user=y sslmode=require\"", "does not encrypt"),
        ("kind = \"command\"", "command is missing"),
        ("kind = \"command\", command = [\"check\"]", "not a whole path"),
        ("kind = \"icmp\", target = \"192.0.2.1:1\"", "is not an IP address"),
        ("kind = \"icmp\", target = \"192.0.2.10\"", "start = \"after-address\""),
        ("kind = \"tcp\", target = \"127.0.0.1:1\", grace = 5", "has no unit"),
    ] {
        let errors = with(&service(fields)).expect_err(fields);
        assert!(errors.contains(wanted), "{fields}: wanted {wanted}\nin {errors}");
    }
    // Of a kind that is unknown, only the kind is told.
    let errors =
        with(&service("kind = \"sipudp\", target = \"127.0.0.1:5060\"")).expect_err("kind");
    assert!(errors.contains("did you mean \"sip-udp\"?"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn each_mistake_about_remote_checks_says_what_to_write() {
    let one = "[[remote_checks.probe]]\nkind = \"tcp\"\ntarget = \"192.0.2.10:1\"\n";
    assert!(with(&format!("[remote_checks]\n{one}")).is_ok());
    for (text, wanted) in [
        ("[remote_checks]\n".to_owned(), "asks nothing; write [[remote_checks.probe]]"),
        (format!("[remote_checks]\ntrigger = \"one\"\n{one}"), "\"any\", \"all\""),
        (format!("[remote_checks]\nretries = -1\n{one}"), "from 0 to 999"),
        (
            format!("[remote_checks]\nretry = 1\n{one}"),
            "unknown key \"retry\"; known here: interval, trigger",
        ),
        (format!("{one}every = \"1s\"\n"), "[[remote_checks.probe]]: unknown key \"every\""),
        (format!("[[remote_checks]]\n{one}"), "remote_checks"),
    ] {
        let errors = with(&text).expect_err(&text);
        assert!(errors.contains(wanted), "{text}: wanted {wanted}\nin {errors}");
    }
}

#[test]
fn gateways_are_read_and_each_mistake_is_told() {
    let arp = "[[gateway]]\nname = \"switch\"\nkind = \"arp\"\ntarget = \"192.0.2.2\"\n";
    let config = with(&format!("{arp}reference = true\n")).expect("valid");
    let references: Vec<String> =
        config.floating.references.iter().map(ToString::to_string).collect();
    assert_eq!(references, ["192.0.2.1", "192.0.2.2"]);
    // It is proof enough where there is no other.
    let bare = PLAIN.replace("gateways = [\"192.0.2.1\"]", "");
    assert!(parse(&format!("{bare}{arp}reference = true\n")).is_ok());
    assert!(parse(&format!("{bare}{arp}")).expect_err("unproven").contains("nobody proves"));
    let icmp = "[[gateway]]\nname = \"itsp\"\nkind = \"icmp\"\ntarget = \"198.51.100.7\"\n";
    for (text, wanted) in [
        ("[[gateway]]\n".to_owned(), "name is missing; write name = \"itsp\""),
        ("[[gateway]]\nname = \"a\"\n".to_owned(), "kind is missing; write kind = \"arp\""),
        (format!("{arp}{arp}"), "two gateways are named \"switch\""),
        (arp.replace("arp", "arping"), "write one of \"arp\", \"tcp\", \"sip-udp\""),
        (arp.replace("192.0.2.2", "198.51.100.1"), "is outside of 192.0.2.10/24"),
        (arp.replace("192.0.2.2", "192.0.2.10"), "is a floating address; name another host"),
        (format!("{arp}timeout = \"1s\"\n"), "unknown key \"timeout\""),
        (format!("{arp}interval = \"1ms\"\n"), "write \"1s\" or more"),
        (format!("{icmp}reference = true\n"), "write kind = \"arp\""),
        (icmp.replace("198.51.100.7", "itsp.example.org"), "is not an IP address"),
    ] {
        let errors = with(&text).expect_err(&text);
        assert!(errors.contains(wanted), "{text}: wanted {wanted}\nin {errors}");
    }
}
