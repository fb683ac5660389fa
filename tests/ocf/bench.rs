//! `make bench-ocf`: how long a monitor takes, beside IPaddr2's on the same host in the same run.

use std::time::{Duration, Instant};

use crate::host::Host;

const CALLS: usize = 100;

#[test]
#[ignore = "a measurement: make bench-ocf"]
fn monitor_beside_ipaddr2() {
    let floating = [("interface", "eth0"), ("addresses", "192.0.2.10/24")];
    let theirs = [("ip", "192.0.2.10"), ("cidr_netmask", "24"), ("nic", "eth0")];
    let Some(ours) = Host::with("floating", &floating) else { return };
    assert_eq!(ours.answers("start", "0").code, 0);
    let mut both = ours;
    both.parameters.extend(theirs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let files = [
        format!("{}/ocf/floating", crate::host::ROOT),
        "/usr/lib/ocf/resource.d/heartbeat/IPaddr2".into(),
    ];
    let mut took: [Vec<Duration>; 2] = Default::default();
    for _ in 0..CALLS {
        for (file, took) in files.iter().zip(&mut took) {
            let begun = Instant::now();
            let output = both.action_of(file, "monitor").output().unwrap();
            took.push(begun.elapsed());
            assert!(output.status.success(), "{file}: {output:?}");
        }
    }
    for (file, took) in files.iter().zip(&mut took) {
        took.sort_unstable();
        let at = |part: usize| took[took.len() * part / 100].as_secs_f64() * 1e3;
        println!("{file}: median {:.1} ms, 95th of 100 {:.1} ms", at(50), at(95));
    }
    let ratio = took[1][CALLS / 2].as_secs_f64() / took[0][CALLS / 2].as_secs_f64();
    println!("IPaddr2 takes {ratio:.1} times as long");
    assert_eq!(both.answers("stop", "0").code, 0);
}
