//! The section `[calls]`: what is read from it, and what each mistake is told.

use std::time::Duration;

use duotone::config::Config;

const PLAIN: &str = include_str!("../made/pair.toml");

fn parse(more: &str) -> Result<Config, String> {
    let text = format!("{PLAIN}{more}");
    Config::parse(&text, "duotone.toml", Some("pbx-b")).map_err(|errors| errors.to_string())
}

#[test]
fn it_is_read_with_its_defaults() {
    assert_eq!(parse("").unwrap().calls, None);
    let calls = parse("[calls]\nlive = [\"/bin/list\", \"calls\"]\n").unwrap().calls.unwrap();
    assert_eq!(calls.live, Some(vec!["/bin/list".to_owned(), "calls".to_owned()]));
    assert_eq!((calls.endpoints, calls.close), (None, None));
    assert_eq!((calls.interval, calls.settle), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!(calls.endpoints_interval, Duration::from_secs(10));
    assert_eq!(calls.local.to_string(), "10.9.0.2:7331", "the link's own end and port");
    assert_eq!(calls.peer.to_string(), "10.9.0.1:7331");
    let calls =
        parse("[calls]\nendpoints = [\"/bin/list\"]\nport = 4000\n").unwrap().calls.unwrap();
    assert_eq!((calls.local.port(), calls.peer.port()), (4000, 4000));
}

#[test]
fn all_mistakes_come_at_once() {
    let told = parse(
        "[calls]\nlive = [\"list\"]\nendpoints = []\nclose = \"x\"\ninterval = \"1ms\"\n\
         settle = 5\nport = 70000\nlife = 1\n",
    )
    .unwrap_err();
    for words in [
        "duotone.toml:20:9: [calls]: live: \"list\" is not a whole path",
        "endpoints names no program",
        "close: \"x\" is not a list",
        "interval is too short",
        "settle: 5 has no unit",
        "port: 70000 is not a whole number from 1 to 65535",
        "unknown key \"life\"",
    ] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    let told = parse("[calls]\nclose = [\"/bin/close\"]\n").unwrap_err();
    assert!(told.contains("nothing is to be followed"), "{told}");
    assert!(told.contains("close means nothing without live"), "{told}");
}

/// Frames have no addresses: the lists have no way to the standby.
#[test]
fn a_link_with_addresses_is_needed() {
    let frames = PLAIN
        .replace("kind = \"udp\"", "kind = \"ethernet\"")
        .replace("addresses = { pbx-a = \"10.9.0.1\", pbx-b = \"10.9.0.2\" }\n", "");
    let text = format!("{frames}[calls]\nlive = [\"/bin/list\"]\n");
    let told = Config::parse(&text, "duotone.toml", Some("pbx-a")).unwrap_err().to_string();
    assert!(told.contains("write a [[link]] of kind = \"udp\""), "{told}");
}

/// What the example shows, uncommented, is right.
#[test]
fn the_example_is_right() {
    let example = include_str!("../../examples/kamailio/duotone.toml");
    let calls = parse(example).unwrap().calls.expect("the example has the section");
    assert!(calls.live.is_some() && calls.endpoints.is_some() && calls.close.is_some());
    for other in ["asterisk", "freeswitch", "opensips"] {
        let path = format!("{}/examples/{other}/duotone.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the example");
        let config = parse(&text).unwrap_or_else(|told| panic!("{path}: {told}"));
        assert_eq!(config.services.len(), 1, "{path}");
    }
}
