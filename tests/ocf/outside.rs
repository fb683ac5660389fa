//! What other people's programs think of the agents.

use std::process::Command;

use duotone::ocf::AGENTS;

use crate::host::{DUOTONE, Host, ROOT, succeeds};

/// Each agent with parameters by which it can be started on a bare host.
const STARTABLE: &[(&str, &[(&str, &str)])] = &[
    (
        "floating",
        &[
            ("interface", "eth0"),
            ("addresses", "192.0.2.10/24 2001:db8::10/64"),
            ("gateways", "192.0.2.1"),
        ],
    ),
    ("pbx", &[("command", "$SERVICE 5060 $NAME"), ("probes", "sip-udp:127.0.0.1:5060")]),
];

#[test]
fn ocf_tester_passes_every_agent() {
    for (agent, parameters) in STARTABLE {
        let Some(host) = Host::with(agent, parameters) else { return };
        let file = format!("{ROOT}/ocf/{agent}");
        let mut words = vec!["ocf-tester".to_owned(), "-n".into(), host.name.clone()];
        for (name, value) in &host.parameters {
            words.extend(["-o".to_owned(), format!("{name}={value}")]);
        }
        words.push(file);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = succeeds(host.inside("a", &words).env("DUOTONE", DUOTONE)).unwrap();
        assert!(said.contains("passed all tests"), "{said}");
        host.nothing_is_left().unwrap();
    }
}

#[test]
fn the_metadata_is_valid() {
    for agent in AGENTS {
        let script =
            "\"$0\" meta-data | (cd /usr/share/resource-agents && exec xmllint --noout --valid -)";
        let file = format!("{ROOT}/ocf/{}", agent.name);
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", script, &file]).env("DUOTONE", DUOTONE);
        succeeds(&mut command).unwrap();
    }
}

/// Every parameter and action that is offered is explained, in sentences.
#[test]
fn the_metadata_explains_itself() {
    for agent in AGENTS {
        assert!(agent.long.ends_with('.') && agent.long.len() > 100, "{}", agent.name);
        for parameter in agent.parameters {
            let about = format!("{} {}", agent.name, parameter.name);
            assert!(!parameter.short.is_empty() && !parameter.short.ends_with('.'), "{about}");
            assert!(parameter.long.ends_with('.'), "{about}: {}", parameter.long);
        }
    }
}

/// Pacemaker finds the agents, reads their metadata, and has parameters judged by them.
#[test]
fn crm_resource_reads_and_validates() {
    for (agent, parameters) in STARTABLE {
        let Some(host) = Host::with(agent, parameters) else { return };
        let shown =
            succeeds(&mut host.with_agents(&["crm_resource", "--show-metadata", &of(agent)]))
                .unwrap();
        assert!(shown.contains(&format!("<resource-agent name=\"{agent}\"")), "{shown}");
        assert!(shown.contains("reloadable=\"1\"") && shown.contains("reload-agent"), "{shown}");

        let validate = [
            "crm_resource",
            "--validate",
            "--class",
            "ocf",
            "--provider",
            "duotone",
            "--agent",
            agent,
        ];
        let given: Vec<String> =
            host.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let right: Vec<&str> =
            validate.iter().copied().chain(given.iter().map(String::as_str)).collect();
        succeeds(&mut host.with_agents(&right)).unwrap();
        let refused = succeeds(&mut host.with_agents(&validate)).unwrap_err();
        assert!(refused.contains("is not given"), "{refused}");
    }
}

fn of(agent: &str) -> String {
    format!("ocf:duotone:{agent}")
}
