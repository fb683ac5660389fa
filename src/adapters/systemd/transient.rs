//! A command as a unit that exists for as long as it runs (`run = "unit"`).
//!
//! The unit's description carries a digest of what it runs, so that a later life of the daemon can
//! tell whether what it finds is what it wants.

use sha2::{Digest, Sha256};
use zbus::zvariant::{OwnedValue, Value};

use crate::config::{Runner, Service};

/// Properties of a unit, as StartTransientUnit takes them.
pub type Properties = Vec<(&'static str, OwnedValue)>;

/// The unit that runs this service; `None` for one that the daemon runs itself.
pub fn unit_of(service: &Service) -> Option<String> {
    match &service.runner {
        Runner::Daemon => None,
        Runner::TransientUnit => Some(format!("duotone-service-{}.service", service.name)),
        Runner::Unit(name) => Some(name.clone()),
    }
}

/// What such a unit is called; `None` for one that duotone does not make.
pub fn description(service: &Service) -> Option<String> {
    match service.runner {
        Runner::Daemon | Runner::Unit(_) => None,
        Runner::TransientUnit => {
            let Service { command, user, directory, environment, limits, .. } = service;
            let what = format!("{command:?} {user:?} {directory:?} {environment:?} {limits:?}");
            let digest = Sha256::digest(what);
            let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{} of duotone ({digest})", service.name))
        }
    }
}

/// What it is made of; `None` for a unit of the host's own.
pub fn properties(service: &Service) -> Option<Properties> {
    let mut properties = vec![("Description", owned(description(service)?))];
    let program = service.command.first().cloned().unwrap_or_default();
    let mut add = |name, value| properties.push((name, value));
    // systemd would put variables in place of `$NAME` (systemd.service(5), "COMMAND LINES").
    let words: Vec<String> = service.command.iter().map(|word| word.replace('$', "$$")).collect();
    add("ExecStart", owned(vec![(program, words, false)]));
    // A program that cannot be executed is a start that failed.
    add("Type", owned("exec".to_owned()));
    add("SyslogIdentifier", owned(service.name.clone()));
    add("WorkingDirectory", owned(service.directory.display().to_string()));
    let environment = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
    add("Environment", owned(environment.collect::<Vec<_>>()));
    if let Some(user) = &service.user {
        add("User", owned(user.clone()));
    }
    // The daemon's own stop comes first when the host shuts down: it hands the role over.
    if let Some(daemon) = own_unit() {
        add("Before", owned(vec![daemon]));
    }
    let limits = &service.limits;
    for (name, limit) in [
        ("LimitNOFILE", limits.open_files),
        ("LimitNPROC", limits.processes),
        ("LimitCORE", limits.core),
        ("MemoryMax", limits.memory),
    ] {
        if let Some(limit) = limit {
            add(name, owned(limit));
        }
    }
    Some(properties)
}

/// The unit that this process belongs to, if it is a service's.
pub fn own_unit() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    own.split('/').rev().find(|part| part.ends_with(".service")).map(str::to_owned)
}

fn owned<'v>(value: impl Into<Value<'v>>) -> OwnedValue {
    // Only a file descriptor cannot be copied, and there is none.
    value.into().try_to_owned().unwrap_or_else(|_| OwnedValue::from(false))
}
