//! What runs a service: a process of the daemon's own, or a unit of systemd. Both are started,
//! watched and stopped alike; this is all that the keeper knows of either.

use std::path::Path;
use std::time::Duration;

use crate::adapters::process::{Process, stop_leftover};
use crate::adapters::systemd::{Standing, Systemd, Unit, record, unit_of};
use crate::config::{RunOn, Service};

/// Something that was started.
pub(super) enum Running {
    Process(Process),
    Unit(Unit),
}

/// How it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// Not up yet.
    Starting,
    Up,
    /// Not up, and somebody else mends it: why.
    Mending(String),
    /// Cannot be seen: why.
    Unknown(String),
    /// It has ended, and nobody else starts it: why.
    Ended(String),
}

impl Running {
    /// Starts the service, or takes over its unit if it runs already; on record before it begins.
    /// The error says what failed; nothing that was begun here runs then.
    pub async fn start(
        service: &Service,
        records: &Path,
        systemd: &Systemd,
    ) -> Result<Running, String> {
        let Some(name) = unit_of(service) else {
            let process = Process::start(service, records).await;
            return process.map(Running::Process).map_err(|error| error.to_string());
        };
        note(service, &name, records);
        let mut unit = systemd.unit(&name).await;
        let stranger = !unit.is_of(service);
        match unit.standing() {
            Standing::Up | Standing::Starting | Standing::Restarting(_) if !stranger => {
                tracing::info!(service = service.name, unit = name, "runs already: taken over");
                return Ok(Running::Unit(unit));
            }
            Standing::Up | Standing::Starting | Standing::Restarting(_) | Standing::Ending => {
                let say = |why| tracing::warn!(service = service.name, why, "not stopped");
                unit.stop(service.stop_timeout, say).await;
            }
            Standing::Gone(_) => {}
            Standing::Unknown(why) => return Err(why.clone()),
        }
        unit.start(service).await.map_err(|error| error.to_string())?;
        Ok(Running::Unit(unit))
    }

    pub fn pid(&self) -> Option<i32> {
        match self {
            Running::Process(process) => Some(process.pid()),
            Running::Unit(unit) => unit.pid(),
        }
    }

    /// How often it was started again by somebody else.
    pub fn restarts(&self) -> u32 {
        match self {
            Running::Process(_) => 0,
            Running::Unit(unit) => unit.restarts(),
        }
    }

    pub fn condition(&self) -> Condition {
        match self {
            // Its end is an event of its own.
            Running::Process(_) => Condition::Up,
            Running::Unit(unit) => condition(unit),
        }
    }

    /// Waits for news of it. Safe to cancel.
    pub async fn changed(&mut self) -> Condition {
        match self {
            Running::Process(process) => Condition::Ended(process.exited().await.to_string()),
            Running::Unit(unit) => {
                unit.changed().await;
                condition(unit)
            }
        }
    }

    /// Ends all of it; returns when it was **seen** gone, however long that takes.
    pub async fn stop(&mut self, grace: Duration, obstacle: impl FnMut(String)) {
        match self {
            Running::Process(process) => process.stop(grace, obstacle).await,
            Running::Unit(unit) => unit.stop(grace, obstacle).await,
        }
    }
}

fn condition(unit: &Unit) -> Condition {
    match unit.standing() {
        Standing::Starting => Condition::Starting,
        Standing::Up => Condition::Up,
        Standing::Restarting(why) => {
            Condition::Mending(format!("{why}; systemd starts {} again (Restart=)", unit.name()))
        }
        Standing::Ending => Condition::Mending(format!("{} is ending", unit.name())),
        Standing::Unknown(why) => Condition::Unknown(why.clone()),
        Standing::Gone(why) => Condition::Ended(why.clone()),
    }
}

fn note(service: &Service, unit: &str, records: &Path) {
    // Where both nodes run it, it may go on without a daemon: nobody else starts it meanwhile.
    let ends_with_daemon = service.run_on != RunOn::Both;
    let written = record::Record::new(unit, ends_with_daemon)
        .and_then(|record| record::write(records, &service.name, &record));
    if let Err(error) = written {
        // As with a process: a full disk must not keep the PBX down.
        tracing::warn!(service = service.name, %error, "cannot record the unit");
    }
}

/// Stops what an earlier life left running under the service's name and that the service, as it is
/// configured now, would not take over; returns when it was seen gone, or was never there.
pub(super) async fn clear(
    service: &Service,
    records: &Path,
    systemd: &Systemd,
    mut obstacle: impl FnMut(String),
) {
    let (name, grace) = (&service.name, service.stop_timeout);
    stop_leftover(records, name, grace, &mut obstacle).await;
    match record::read(records, name) {
        Ok(Some(left)) if unit_of(service).as_ref() != Some(&left.unit) => {
            tracing::info!(service = name, unit = left.unit, "left over from an earlier life");
            systemd.unit(&left.unit).await.stop(grace, obstacle).await;
            forget(records, name);
        }
        Ok(_) => {}
        Err(error) => obstacle(format!("the record of an earlier life is damaged: {error}")),
    }
}

/// For a unit that was seen stopped.
pub(super) fn forget(records: &Path, service: &str) {
    if let Err(error) = record::remove(records, service) {
        tracing::warn!(service, %error, "cannot remove the record of a stopped unit");
    }
}
