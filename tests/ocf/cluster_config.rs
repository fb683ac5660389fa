//! What `duotone pacemaker-config` prints, and the examples, as Pacemaker's own tools take it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::{DUOTONE, Host, ROOT, succeeds};

static PRINTED: AtomicU32 = AtomicU32::new(0);

/// Of the example with a fence, without which Pacemaker finds a configuration wrong.
fn printed(more: &[&str]) -> String {
    let number = PRINTED.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("dto-{}-{number}.toml", std::process::id()));
    let text = std::fs::read_to_string(format!("{ROOT}/examples/duotone.toml")).unwrap();
    let fence = "[fence]\n[[fence.device]]\nname = \"ipmi\"\nagent = \"fence_ipmilan\"\n\
                 password_file = \"/etc/duotone/ipmi.password\"\n[fence.device.options]\n\
                 lanplus = \"1\"\nip = { pbx-a = \"10.9.1.11\", pbx-b = \"10.9.1.12\" }\n";
    let text = text.replace("arbitration = [\"lan\"]", "arbitration = [\"lan\", \"fence\"]");
    std::fs::write(&file, format!("{text}\n{fence}")).unwrap();
    let mut command = Command::new(DUOTONE);
    command.args(["pacemaker-config", "--node", "pbx-b", "--config"]).arg(&file).args(more);
    let said = succeeds(&mut command);
    std::fs::remove_file(&file).unwrap();
    said.unwrap()
}

/// crmsh makes a cluster's configuration of it, and Pacemaker finds nothing wrong with that.
fn loaded(host: &Host, text: &str) -> String {
    let (crm, cib) = (host.directory.join("it.crm"), host.directory.join("cib.xml"));
    std::fs::write(&crm, text).unwrap();
    std::fs::write(&cib, succeeds(Command::new("cibadmin").arg("--empty")).unwrap()).unwrap();
    let load = ["crm", "-F", "configure", "load", "update", &crm.display().to_string()];
    succeeds(host.with_agents(&load).env("CIB_file", &cib)).unwrap();
    succeeds(Command::new("crm_verify").args(["-V", "-x"]).arg(&cib)).unwrap();
    std::fs::read_to_string(&cib).unwrap()
}

#[test]
fn crmsh_loads_what_is_printed() {
    let Some(host) = Host::new("") else { return };
    let cib = loaded(&host, &printed(&[]));
    for wanted in [
        "name=\"addresses\" value=\"192.0.2.10/24 2001:db8::10/64\"",
        "name=\"hosts\" value=\"pbx-a=10.9.0.1 pbx-b=10.9.0.2\"",
        "name=\"command\" value=\"/usr/sbin/kamailio -DD -E -f /etc/kamailio/kamailio.cfg\"",
        "name=\"probes\" value=\"sip-udp:127.0.0.1:5060\"",
        "name=\"promotable\" value=\"true\"",
        "name=\"OCF_CHECK_LEVEL\" value=\"10\"",
        "with-rsc=\"duotone-db-clone\" with-rsc-role=\"Promoted\"",
        "first-action=\"promote\"",
    ] {
        assert!(cib.contains(wanted), "{wanted}:\n{cib}");
    }
    // What the agent takes anyway is not said.
    assert!(!cib.contains("name=\"standby_link\""), "{cib}");
}

#[test]
fn crmsh_loads_the_examples() {
    let Some(host) = Host::new("") else { return };
    for entry in std::fs::read_dir(format!("{ROOT}/examples/pacemaker")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "crm") {
            loaded(&host, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The same resources, and a script that a shell can read.
#[test]
fn the_pcs_script_has_the_same_resources() {
    let (crm, pcs) = (printed(&[]), printed(&["--pcs"]));
    let mut script = Command::new("sh");
    succeeds(script.args(["-n", "-c", &pcs])).unwrap();
    for line in crm.lines().filter(|line| line.starts_with("primitive ")) {
        let id = line.split(' ').nth(1).unwrap();
        assert!(pcs.contains(&format!("create {id} ")), "{id}:\n{pcs}");
    }
    for words in ["pcs resource promotable duotone-db", "with Promoted duotone-db-clone"] {
        assert!(pcs.contains(words), "{pcs}");
    }
}

/// Each node's power is cut by what the other one's configuration names, and not by itself.
#[test]
fn fences_are_of_the_node_that_they_cut() {
    let said = printed(&[]);
    let start = said.find("primitive fence-pbx-b-ipmi stonith:fence_ipmilan").unwrap();
    let of_b = said[start..].split("\nprimitive ").next().unwrap();
    assert!(of_b.contains("ip=10.9.1.12"), "{said}");
    assert!(of_b.contains("pcmk_host_list=pbx-b") && of_b.contains("-inf: pbx-b"), "{said}");
    assert!(of_b.contains("CONTENT-OF-/etc/duotone/ipmi.password"), "{said}");
    // Without one, nothing starts, and that is said.
    let example = format!("{ROOT}/examples/duotone.toml");
    let words = ["pacemaker-config", "--node", "pbx-a", "--config", &example];
    let without = succeeds(Command::new(DUOTONE).args(words)).unwrap();
    assert!(without.contains("# No fence is configured") && !said.contains("No fence"), "{said}");
}
