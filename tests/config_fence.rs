//! The fence in the pair's file: the section `[fence]`, its devices, and whose power each cuts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use duotone::config::check::{Finding, live};
use duotone::config::{Config, password};
use duotone::protocol::arbiter::Arbitration;

const PAIR: &str = r#"
[pair]
name = "office"
arbitration = ["lan", "fence"]

[fence]
[[fence.device]]
agent = "fence_ipmilan"
options.username = "duotone"
options.ip.pbx-b = "10.9.1.12"
options.ip.pbx-a = "10.9.1.11"
password_file = "/etc/duotone/ipmi.password"

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

fn of(text: &str, node: &str) -> Result<Config, String> {
    Config::parse(text, "duotone.toml", Some(node)).map_err(|errors| errors.to_string())
}

fn parse(text: &str) -> Result<Config, String> {
    of(text, "pbx-a")
}

/// What is said of the pair's file with one change.
#[track_caller]
fn wrong(old: &str, new: &str) -> String {
    assert!(PAIR.contains(old), "{old}");
    parse(&PAIR.replacen(old, new, 1)).expect_err(new)
}

#[test]
fn each_node_is_told_how_to_cut_the_other_s_power() {
    for (node, ip) in [("pbx-a", "10.9.1.12"), ("pbx-b", "10.9.1.11")] {
        let config = of(PAIR, node).expect("valid");
        assert_eq!(config.arbitration, Arbitration::FENCE);
        let fence = config.fence.expect("a fence");
        assert_eq!(fence.monitor, Duration::from_secs(60));
        let [device] = &fence.devices[..] else { panic!("{fence:?}") };
        assert_eq!(device.name, "fence_ipmilan");
        assert_eq!(device.agent, Path::new("/usr/sbin/fence_ipmilan"));
        assert_eq!(device.options, [("username".to_owned(), "duotone".to_owned())]);
        assert_eq!(device.of_peer, [("ip".to_owned(), ip.to_owned())]);
        assert_eq!(device.password_file.as_deref(), Some(Path::new("/etc/duotone/ipmi.password")));
    }
}

#[test]
fn redundant_supplies_are_two_devices() {
    let devices = "monitor = \"5min\"\n\
        [[fence.device]]\nname = \"left\"\nagent = \"/opt/fence\"\n\
        options = { ip = \"10.9.1.1\", plug = { pbx-a = \"1\", pbx-b = \"2\" } }\n\
        [[fence.device]]\nname = \"right\"\nagent = \"/opt/fence\"\n\
        options = { ip = \"10.9.1.2\", plug = { pbx-a = \"1\", pbx-b = \"2\" } }\n\
        password_file = { pbx-a = \"/a\", pbx-b = \"/b\" }\n";
    let from = PAIR.find("[[fence.device]]").expect("there");
    let to = PAIR.find("[[node]]").expect("there");
    let text = [&PAIR[..from], devices, &PAIR[to..]].concat();
    let fence = parse(&text).expect("valid").fence.expect("a fence");
    assert_eq!(fence.monitor, Duration::from_secs(300));
    let names: Vec<&str> = fence.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["left", "right"]);
    assert_eq!(fence.devices[0].password_file, None);
    assert_eq!(fence.devices[1].password_file, Some(PathBuf::from("/b")));
}

#[test]
fn a_witness_and_a_fence_go_together() {
    let text = PAIR.replacen("[\"lan\", \"fence\"]", "[\"witness\", \"fence\"]", 1)
        + "[witness]\naddress = \"192.0.2.9\"\n";
    let config = parse(&text).expect("valid");
    assert_eq!(config.arbitration, Arbitration::WITNESS_AND_FENCE);
    assert!(config.fence.is_some() && !config.witness.is_empty());
}

#[test]
fn each_mistake_says_what_to_write() {
    let ip_b = "options.ip.pbx-b = \"10.9.1.12\"";
    let agent = "agent = \"fence_ipmilan\"";
    let password = "password_file = \"/etc/duotone/ipmi.password\"";
    for (old, new, wanted) in [
        ("[\"lan\", \"fence\"]", "[\"lan\"]", "6:1: [fence] is there, and arbitration does not"),
        ("[fence]\n", "[fence]\nmonitor = \"10ms\"\n", "7:11: monitor is too short; write \"1s\""),
        ("[fence]\n", "[fence]\nmonitr = \"10s\"\n", "did you mean \"monitor\"?"),
        (agent, "", "7:1: [[fence.device]]: agent is missing; write agent = \"fence_ipmilan\""),
        (agent, "agent = \"sbin/fence\"", "8:9: agent: \"sbin/fence\" contains '/'"),
        (agent, "agent = \"fence_ipmilan\"\nplug = \"1\"", "unknown key \"plug\""),
        (agent, "agent = \"x\"\nname = \"a b\"", "name: \"a b\" contains ' '"),
        (ip_b, "", "ip: node \"pbx-b\" has none; add pbx-b = \"…\""),
        (ip_b, "options.ip.pbx-c = \"1\"", "10:12: ip: no node is named \"pbx-c\""),
        (ip_b, "options.ip.pbx-b = \"10.9.1.11\"", "nothing tells the agent whose power to cut"),
        (ip_b, "options.ip.pbx-b = 12", "ip: 12 is not text; write it in quotes"),
        ("\"duotone\"", "true", "username: true is not text; write it in quotes, or { NODE = "),
        ("\"duotone\"", "\"duo\\ntone\"", "username: a value is one line"),
        ("options.username", "options.action", "\"action\" is what duotone tells the agent"),
        (
            "options.username",
            "options.passwd",
            "\"passwd\" does not belong into this file; write pa",
        ),
        ("options.username", "options.\"user name\"", "\"user name\" contains ' '"),
        (
            password,
            "password_file = \"ipmi.password\"",
            "password_file: \"ipmi.password\" is not a",
        ),
        (password, "password_file = { pbx-a = \"/a\" }", "password_file: node \"pbx-b\" has none"),
    ] {
        let said = wrong(old, new);
        assert!(said.contains(wanted), "{new}: wanted {wanted}\nin {said}");
        assert!(said.starts_with("duotone.toml:"), "{said}");
    }
    let from = PAIR.find("[fence]").expect("there");
    let to = PAIR.find("[[node]]").expect("there");
    let without = |section: &str| parse(&[&PAIR[..from], section, &PAIR[to..]].concat());
    let said = without("").expect_err("no fence");
    assert!(
        said.contains("2:1: [pair]: arbitration names the fence, and [fence] is missing"),
        "{said}"
    );
    let said = without("[fence]\n").expect_err("no device");
    assert!(said.contains("there is no device; write [[fence.device]]"), "{said}");
    let device =
        "[[fence.device]]\nagent = \"/a/f\"\noptions.plug = { pbx-a = \"1\", pbx-b = \"2\" }\n";
    let said = without(&["[fence]\n", device, device].concat()).expect_err("two of one name");
    assert!(said.contains("two devices are named \"f\"; give each a name"), "{said}");
}

#[test]
fn a_fence_that_is_slow_makes_the_times_longer() {
    let fence = parse(PAIR).expect("valid").timing;
    assert_eq!(fence.fence, Duration::from_secs(20));
    assert!(fence.fence_delay >= fence.least_fence_delay());
    let quick = parse(&format!("{PAIR}[timing]\nfence = \"5s\"\n")).expect("valid").timing;
    assert!(quick.fence_delay < fence.fence_delay && quick.certificate < fence.certificate);
    let said = parse(&format!("{PAIR}[timing]\nfence_delay = \"1s\"\n")).expect_err("both off");
    assert!(
        said.contains("inequality 11 fails") && said.contains("write fence_delay = "),
        "{said}"
    );
}

#[test]
fn what_is_not_on_this_host_is_found() {
    let config = parse(&PAIR.replace("\"fence_ipmilan\"", "\"/no/fence_ipmilan\"")).expect("valid");
    let told: Vec<Finding> = live(&config);
    let agent = told.iter().map(ToString::to_string).find(|told| told.contains("/no/fence"));
    let wanted = "fence fence_ipmilan: /no/fence_ipmilan is not a program on this host; install it";
    assert!(agent.as_ref().is_some_and(|told| told.starts_with(wanted)), "{told:?}");
}

#[test]
fn a_password_is_for_root_s_eyes_only() {
    let directory = std::env::temp_dir().join(format!("dtfencepw{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("password");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    let said = password::read(&path).expect_err("nothing there").to_string();
    assert!(said.contains("does not exist; write the password into it"), "{said}");
    fs::write(&path, "s3cret\n").expect("written");
    mode(0o644);
    let said = password::read(&path).expect_err("open to others").to_string();
    assert!(said.contains("can be used by others (mode 0644); run `chmod 600"), "{said}");
    mode(0o600);
    assert_eq!(password::read(&path).expect("a password").as_str(), "s3cret");
    fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn the_example_s_lines_mean_what_they_say() {
    let example = include_str!("../examples/duotone.toml");
    let from = example.find("# [fence]").expect("a section");
    let section = example[from..].split("\n\n").next().expect("up to the blank line");
    let lines: Vec<&str> = section.lines().map(|line| line.trim_start_matches("# ")).collect();
    let text = example.replace(section, &lines.join("\n"));
    let text = text.replace("arbitration = [\"lan\"]", "arbitration = [\"lan\", \"fence\"]");
    let config = parse(&text).expect("valid");
    let fence = config.fence.expect("a fence");
    assert_eq!(fence.monitor, Duration::from_secs(60));
    let [device] = &fence.devices[..] else { panic!("{fence:?}") };
    assert_eq!(device.name, "ipmi");
    assert_eq!(device.of_peer, [("ip".to_owned(), "10.9.1.12".to_owned())]);
    assert!(example.contains("# fence = \"20s\""));
    assert_eq!(config.timing.fence, Duration::from_secs(20));
}
