//! `reload`: services, addresses, hooks and alerts change without a role change; anything else needs a restart.

use std::sync::PoisonError;

use super::Shared;
use crate::config::Config;
use crate::pulse::queue::Letter;

/// Reads the file again and applies what may be applied.
///
/// # Errors
/// What is wrong with the file, or which change needs a restart; nothing was changed then.
pub(super) fn reload(shared: &Shared) -> Result<String, String> {
    let new = Config::load(&shared.source.path, shared.source.node.as_deref())
        .map_err(|errors| errors.to_string())?;
    let mut old = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
    let fixed = needs_restart(&old, &new);
    if !fixed.is_empty() {
        return Err(format!(
            "these changes need a restart of the daemon: {}; nothing was changed",
            fixed.join(", ")
        ));
    }
    let floating = (old.floating != new.floating).then(|| new.floating.clone());
    let mut done = Vec::new();
    done.extend(floating.is_some().then_some("addresses"));
    shared
        .post
        .send(Letter::Configuration { floating, hash: new.hash })
        .map_err(|error| format!("{error}; nothing was changed"))?;
    if old.services != new.services {
        shared.services.reload(new.services.clone());
        done.push("services");
    }
    // Who asks looks at the configuration anew before each question.
    done.extend((old.remote_checks != new.remote_checks).then_some("remote checks"));
    done.extend((old.gateways != new.gateways).then_some("gateways"));
    let (other_hooks, other_alerts) = (old.hooks != new.hooks, old.alerts != new.alerts);
    {
        let mut journal = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.telling.reload(&new, other_alerts);
    }
    done.extend(other_hooks.then_some("hooks"));
    done.extend(other_alerts.then_some("alerts"));
    let socket = old.socket.clone();
    *old = Config { socket, ..new };
    Ok(match done.as_slice() {
        [] => "nothing has changed".into(),
        [first @ .., last] if !first.is_empty() => {
            format!("{} and {last} read again", first.join(", "))
        }
        changed => format!("{} read again", changed.concat()),
    })
}

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mode = |config: &Config| (config.floating.mode, config.floating.interface.clone());
    let upkeep = |config: &Config| (config.floating.lifetime, config.floating.refresh);
    [
        (old.pair != new.pair || old.names != new.names || old.me != new.me, "pair and nodes"),
        (
            old.arbitration != new.arbitration
                || old.witness != new.witness
                || old.fence != new.fence,
            "arbitration, the witness and the fence",
        ),
        (old.durability != new.durability, "durability"),
        (old.policy != new.policy, "failback and the limit of moves"),
        (old.timing != new.timing, "timing"),
        (old.links != new.links, "links"),
        (old.key_file != new.key_file || old.old_key_file != new.old_key_file, "keys"),
        (old.state_dir != new.state_dir, "state_dir"),
        (old.postgres != new.postgres, "postgres"),
        (mode(old) != mode(new), "the interface and mode of [floating]"),
        (upkeep(old) != upkeep(new), "lifetime and refresh of [floating]"),
        (old.calls != new.calls, "calls"),
        (old.syslog != new.syslog, "syslog"),
        (old.watchdog != new.watchdog, "watchdog"),
    ]
    .into_iter()
    .filter_map(|(changed, what)| changed.then_some(what))
    .collect()
}
