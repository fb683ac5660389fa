//! The daemon and the cluster's agents do not manage the same thing.

use std::path::PathBuf;

use duotone::adapters::owner::{self, Refused, Resource};

use crate::host::Host;

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
