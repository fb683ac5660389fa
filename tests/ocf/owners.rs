//! The daemon and the cluster's agents do not manage the same thing.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use duotone::adapters::owner::{self, Refused, Resource};

use crate::host::{DUOTONE, Host, succeeds, text};
use crate::netns::eventually;

fn resources() -> Vec<Resource> {
    vec![
        Resource::Address("192.0.2.10".parse().unwrap()),
        Resource::DataDirectory(PathBuf::from("/var/lib/postgresql/15/main")),
    ]
}

const FLOATING: &[(&str, &str)] = &[("interface", "eth0"), ("addresses", "192.0.2.10/24")];

#[test]
fn an_agent_starts_nothing_that_a_daemon_has() {
    let Some(host) = Host::with("floating", FLOATING) else { return };
    host.ethernet.within("a", || {
        let held = owner::hold(&resources()).unwrap();
        let refused = host.answers("start", "0");
        let me = format!("duotone run, process {}, manages 192.0.2.10", std::process::id());
        assert_eq!(refused.code, 6, "{}", refused.words);
        assert!(refused.words.contains(&me), "{}", refused.words);
        // It is not here, so it is stopped; if it were, it would be the daemon's.
        assert_eq!(host.answers("stop", "0").code, 0);
        host.ethernet.ip("a", "address add 192.0.2.10/24 dev eth0");
        assert_eq!(host.answers("monitor", "0").code, 0);
        assert_eq!(host.answers("stop", "0").code, 6);
        assert!(host.ethernet.ip("a", "address show dev eth0").contains("192.0.2.10"));

        // Two daemons of a test machine are no agents.
        drop(owner::hold(&resources()).unwrap());
        drop(held);
        assert_eq!(host.answers("stop", "0").code, 0);
        assert_eq!(host.answers("start", "0").code, 0);
    });
}

#[test]
fn a_daemon_takes_nothing_that_an_agent_has() {
    let Some(host) = Host::with("floating", FLOATING) else { return };
    host.ethernet.within("a", || {
        assert_eq!(host.answers("start", "0").code, 0);
        match owner::hold(&resources()) {
            Err(Refused::Agent { resource, instance, file }) => {
                assert_eq!((resource.as_str(), &instance), ("192.0.2.10", &host.name));
                assert!(file.is_file());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(host.answers("stop", "0").code, 0);
        drop(owner::hold(&resources()).unwrap());

        // What an earlier boot left behind names nobody.
        assert_eq!(host.answers("start", "0").code, 0);
        let file = owner::directory().unwrap().join("address-192.0.2.10");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let record = std::fs::read_to_string(&file).unwrap();
        assert!(record.contains(boot.trim()));
        std::fs::write(&file, record.replace(boot.trim(), "another")).unwrap();
        drop(owner::hold(&resources()).unwrap());
    });
}

const PAIR: &str = r#"
[pair]
name = "office"
key_file = "$DIR/key"
state_dir = "$DIR/state"
socket = "$DIR/socket"
[[node]]
name = "a"
[[node]]
name = "b"
[[link]]
kind = "ethernet"
interface = "eth0"
[floating]
interface = "eth0"
addresses = ["192.0.2.10/24"]
references = ["192.0.2.1"]
"#;

/// `duotone run` itself keeps to it.
#[test]
fn the_daemon_and_an_agent_name_each_other() {
    let Some(host) = Host::with("floating", FLOATING) else { return };
    let file = host.directory.join("duotone.toml");
    std::fs::write(&file, host.filled_in(PAIR)).unwrap();
    let file = file.display().to_string();
    succeeds(&mut host.inside("a", &[DUOTONE, "keygen", "--config", &file])).unwrap();
    let run = || {
        let mut command = host.inside("a", &[DUOTONE, "run", "--config", &file, "--node", "a"]);
        Daemon(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };

    assert_eq!(host.answers("start", "0").code, 0);
    let refused = run().ended();
    let named = format!("the cluster's resource {} manages 192.0.2.10", host.name);
    assert!(refused.contains(&named), "{refused}");
    assert_eq!(host.answers("monitor", "0").code, 0);
    assert_eq!(host.answers("stop", "0").code, 0);

    let daemon = run();
    eventually("the daemon listens", || host.directory.join("socket").exists());
    let refused = host.answers("start", "0");
    assert_eq!(refused.code, 6, "{}", refused.words);
    assert!(refused.words.contains(&format!("process {},", daemon.0.id())), "{}", refused.words);
    drop(daemon);
    assert_eq!(host.answers("start", "0").code, 0);
    assert_eq!(host.answers("stop", "0").code, 0);
}

struct Daemon(Child);

impl Daemon {
    /// What it said, when it has ended by itself.
    fn ended(mut self) -> String {
        eventually("the daemon ends", || self.0.try_wait().unwrap().is_some());
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut self.0.stderr.take().unwrap(), &mut said).unwrap();
        text(&said)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
