//! The witness in the two files: the pair's section `[witness]`, and the witness's own file.

use duotone::config::{Config, WitnessConfig};

const PAIR: &str = r#"
[pair]
name = "office"
arbitration = ["lan", "witness"]

[witness]
address = "192.0.2.9:4690"

[[node]]
name = "pbx-a"
[[node]]
name = "pbx-b"

[[link]]
kind = "udp"
interface = "eth1"
addresses = { pbx-a = "10.9.0.1", pbx-b = "10.9.0.2" }

[floating]
interface = "eth0"
addresses = ["192.0.2.10/24"]
gateways = ["192.0.2.1"]
"#;

const EXAMPLE: &str = include_str!("../examples/witness.toml");

fn pair(text: &str) -> Result<Config, String> {
    Config::parse(text, "duotone.toml", Some("pbx-a")).map_err(|errors| errors.to_string())
}

fn own(text: &str) -> Result<WitnessConfig, String> {
    WitnessConfig::parse(text, "witness.toml").map_err(|errors| errors.to_string())
}

#[test]
fn a_pair_finds_its_witness_over_one_path_or_several() {
    let config = pair(PAIR).expect("valid");
    assert!(config.arbitration.witness);
    assert_eq!(config.witness, ["192.0.2.9:4690".parse().unwrap()]);
    let two = "address = [\"192.0.2.9\", \"[2001:db8::9]:5000\"]";
    let config = pair(&PAIR.replace("address = \"192.0.2.9:4690\"", two)).expect("valid");
    let wanted = ["192.0.2.9:4690".parse().unwrap(), "[2001:db8::9]:5000".parse().unwrap()];
    assert_eq!(config.witness, wanted);
}

#[test]
fn each_mistake_in_the_section_says_what_to_write() {
    let address = "address = \"192.0.2.9:4690\"";
    for (old, new, wanted) in [
        (address, "", "[witness]: address is missing; write address = \"192.0.2.9:4690\""),
        (address, "address = []", "the list is empty"),
        (address, "address = \"arbiter\"", "\"arbiter\" is not an address and a port"),
        (address, "address = \"192.0.2.9:0\"", "has no port"),
        (address, "address = \"0.0.0.0:4690\"", "not the address of one host"),
        (address, "address = [\"192.0.2.9\", \"192.0.2.9:4690\"]", "twice; remove one"),
        (address, "adress = \"192.0.2.9:4690\"", "did you mean \"address\"?"),
        ("[\"lan\", \"witness\"]", "[\"lan\"]", "arbitration does not name it"),
        ("[witness]\naddress = \"192.0.2.9:4690\"", "", "[witness] is missing"),
    ] {
        assert!(PAIR.contains(old), "{old}");
        let said = pair(&PAIR.replacen(old, new, 1)).expect_err(new);
        assert!(said.contains(wanted), "{new}: {said}");
        assert!(said.starts_with("duotone.toml:"), "{said}");
    }
}

#[test]
fn only_the_lan_needs_a_reference() {
    let bare = PAIR.replace("gateways = [\"192.0.2.1\"]", "");
    let alone = bare.replace("[\"lan\", \"witness\"]", "[\"witness\"]");
    assert!(pair(&alone).expect("valid").floating.references.is_empty());
    let said = pair(&bare).expect_err("lan asks somebody");
    assert!(said.contains("nobody proves that a node is on the LAN"), "{said}");
}

#[test]
fn the_witness_s_example_is_read() {
    let config = own(EXAMPLE).expect("the example");
    assert_eq!(config.listen, ["[::]:4690".parse().unwrap()]);
    assert_eq!(config.state_dir.to_str(), Some("/var/lib/duotone-witness"));
    assert_eq!(config.pairs.len(), 1);
    assert_eq!(config.pairs[0].name, "office");
}

#[test]
fn the_witness_needs_little() {
    let config = own("[[pair]]\nname = \"a\"\nkey_file = \"/k\"").expect("valid");
    assert_eq!(config.listen, ["[::]:4690".parse().unwrap()]);
}

#[test]
fn all_mistakes_of_the_witness_s_file_come_at_once() {
    let said =
        own("listen = \"here\"\nspeed = 1\n[[pair]]\nname = \"a b\"\n[[pair]]\nname = \"c\"\n\
         key_file = \"k\"\n[[pair]]\nname = \"d\"\nkey_file = \"/k\"\n[[pair]]\nname = \"d\"\n\
         key_file = \"/k\"\n")
        .expect_err("wrong");
    for wanted in [
        "witness.toml:1:10: listen: \"here\" is not an address and a port",
        "witness.toml:2:1: unknown key \"speed\"",
        "witness.toml:4:8: [[pair]]: name: \"a b\" contains ' '",
        "witness.toml:3:1: [[pair]]: key_file is missing",
        "witness.toml:7:12: key_file: \"k\" is not a whole path",
        "witness.toml:11:1: [[pair]]: \"d\" twice",
    ] {
        assert!(said.contains(wanted), "{wanted}\nis not in\n{said}");
    }
    assert!(own("").expect_err("no pair").contains("no pair; write at least one [[pair]]"));
}
