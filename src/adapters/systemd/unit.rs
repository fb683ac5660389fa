//! One unit: looked at, started, and stopped for certain.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};
use zbus::connection::Connection;
use zbus::message::Message;
use zbus::zvariant::{DynamicType, OwnedValue};

use super::properties::{Properties, Seen, Standing};
use super::{Error, INTERFACE, Link, MANAGER, NAME, News, Systemd, record, text, transient};
use crate::config::Service;

/// How long to look on after a SIGKILL before saying that something is still there.
const AFTER_KILL: Duration = Duration::from_secs(1);
/// The kernel tells nobody over D-Bus that a control group is empty.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A unit of the manager.
#[derive(Debug)]
pub struct Unit {
    name: String,
    path: String,
    link: Link,
    connection: watch::Receiver<Option<Result<Connection, String>>>,
    news: broadcast::Receiver<News>,
    /// Where control groups are seen.
    groups: PathBuf,
    seen: Seen,
    /// There was news that was not looked into.
    stale: bool,
    /// How its last job ended.
    job_ended: Option<String>,
    /// The last control group that it had.
    group: String,
}

impl Unit {
    pub(super) fn new(link: Link, groups: PathBuf, name: &str) -> Unit {
        Unit {
            name: name.to_owned(),
            path: format!("{MANAGER}/unit/{}", escaped(name)),
            connection: link.connection.clone(),
            news: link.news.subscribe(),
            link,
            groups,
            seen: Seen::nothing("not looked at yet".to_owned()),
            stale: true,
            job_ended: None,
            group: String::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stood when it was last looked at.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.seen.standing
    }

    /// Its main process, if it has one.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.seen.pid
    }

    /// How often systemd has started it again by itself (`Restart=`) since it was last started.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.seen.restarts
    }

    /// Runs what this service says.
    #[must_use]
    pub fn is_of(&self, service: &Service) -> bool {
        transient::description(service).is_none_or(|wanted| wanted == self.seen.description)
    }

    /// Waits for news of it, and looks. Safe to cancel.
    pub async fn changed(&mut self) {
        if !self.stale {
            self.hear().await;
        }
        self.look().await;
    }

    async fn hear(&mut self) {
        loop {
            tokio::select! {
                changed = self.connection.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => std::future::pending().await,
                },
                news = self.news.recv() => match news {
                    Ok(News::Changed(path)) if path == self.path => break,
                    Ok(News::Job { unit, result }) if unit == self.name => {
                        self.job_ended = Some(result);
                        break;
                    }
                    Ok(News::Reloaded) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Ok(News::Changed(_) | News::Job { .. }) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
            }
        }
        self.stale = true;
    }

    /// Asks the manager how it stands. Safe to cancel.
    pub(super) async fn look(&mut self) {
        self.stale = true;
        self.seen = match self.properties().await {
            Ok(properties) => properties.seen(&self.name, self.job_ended.as_deref()),
            Err(error) => Seen::nothing(error.to_string()),
        };
        if !self.seen.control_group.is_empty() {
            self.group.clone_from(&self.seen.control_group);
        }
        self.stale = false;
    }

    /// What `config check` has to say of it: what must be mended, and what need not be.
    ///
    /// # Errors
    /// The manager cannot be asked.
    pub async fn check(&self, daemon: &str) -> Result<(Option<String>, Vec<String>), Error> {
        let properties = self.properties().await?;
        let name = &self.name;
        if let Some(obstacle) = properties.obstacle(name) {
            return Ok((Some(obstacle), Vec::new()));
        }
        let mut notes = Vec::new();
        let starters = properties.starters();
        if properties.file_state().starts_with("enabled") {
            notes.push(format!(
                "{name} starts at boot by itself, before it is known who serves; `systemctl \
                 disable {name}`"
            ));
        } else if !starters.is_empty() {
            let of = starters.join(", ");
            notes
                .push(format!("{name} is also started by {of}: `systemctl edit` or disable these"));
        }
        if !properties.is_before(daemon) {
            notes.push(format!(
                "{name} is stopped together with {daemon} when the host shuts down, not after \
                 the role was handed over; `systemctl edit {name}`: [Unit] Before={daemon}"
            ));
        }
        Ok((None, notes))
    }

    async fn properties(&self) -> Result<Properties, Error> {
        let mut all = HashMap::new();
        for interface in ["org.freedesktop.systemd1.Unit", "org.freedesktop.systemd1.Service"] {
            let get = (self.path.as_str(), "org.freedesktop.DBus.Properties", "GetAll");
            let answer = self.call(get, &(interface,)).await?;
            let part: HashMap<String, OwnedValue> =
                answer.body().deserialize().map_err(|error| Error::Refused(text(error)))?;
            all.extend(part);
        }
        Ok(Properties(all))
    }

    async fn call<B: serde::Serialize + DynamicType>(
        &self,
        (path, interface, method): (&str, &str, &str),
        body: &B,
    ) -> Result<Message, Error> {
        let mut state = self.connection.clone();
        let state = match state.wait_for(Option::is_some).await {
            Ok(state) => state.clone(),
            Err(_) => return Err(Error::Unreachable("nobody holds the connection".to_owned())),
        };
        let connection = match state {
            Some(Ok(connection)) => connection,
            Some(Err(why)) => return Err(Error::Unreachable(why)),
            None => return Err(Error::Unreachable("not tried yet".to_owned())),
        };
        match connection.call_method(Some(NAME), path, Some(interface), method, body).await {
            Ok(answer) => Ok(answer),
            Err(error @ zbus::Error::MethodError(..)) => Err(Error::Refused(text(error))),
            Err(error) => {
                self.link.mute.notify_one();
                Err(Error::Unreachable(text(error)))
            }
        }
    }

    /// Has it started; what came of it is seen by [`Unit::changed`].
    ///
    /// # Errors
    /// The manager refuses, or cannot be reached.
    pub async fn start(&mut self, service: &Service) -> Result<(), Error> {
        self.job_ended = None;
        if self.seen.failed {
            // Its own count of starts (StartLimitBurst=) is not to stand in the way of the ladder's.
            self.call((MANAGER, INTERFACE, "ResetFailedUnit"), &(&self.name,)).await?;
        }
        match transient::properties(service) {
            Some(properties) => {
                let nothing: [(&str, Vec<(&str, OwnedValue)>); 0] = [];
                let start = (&self.name, "replace", properties, &nothing[..]);
                self.call((MANAGER, INTERFACE, "StartTransientUnit"), &start).await?;
            }
            None => {
                self.call((MANAGER, INTERFACE, "StartUnit"), &(&self.name, "replace")).await?;
            }
        }
        self.look().await;
        Ok(())
    }

    /// Has it stopped, SIGKILL after `grace`; returns when it was **seen** inactive, without a main
    /// process and with nobody in its control group, however long that takes. `obstacle` is told
    /// what is in the way.
    pub async fn stop(&mut self, grace: Duration, mut obstacle: impl FnMut(String)) {
        let mut kill_at = Instant::now() + grace;
        loop {
            self.look().await;
            let mut look_soon = false;
            match &self.seen.standing {
                Standing::Gone(_) => match self.members() {
                    false => return self.forget_failure().await,
                    true => look_soon = true,
                },
                Standing::Unknown(why) => obstacle(why.clone()),
                // Its job is on the way, or it ends already.
                Standing::Ending => {}
                Standing::Up | Standing::Starting | Standing::Restarting(_) => {
                    if let Err(error) = self.order_stop().await {
                        obstacle(format!("cannot be stopped: {error}"));
                        look_soon = true;
                    }
                }
            }
            tokio::select! {
                () = self.hear() => {}
                () = sleep(LOOK_EVERY), if look_soon => {}
                () = sleep_until(kill_at) => {
                    obstacle("did not stop in time: SIGKILL".to_owned());
                    self.kill(&mut obstacle).await;
                    kill_at = Instant::now() + AFTER_KILL;
                }
            }
        }
    }

    /// One stop is enough, unless somebody has it started meanwhile.
    async fn order_stop(&mut self) -> Result<(), Error> {
        if self.seen.job && self.seen.standing != Standing::Starting {
            return Ok(());
        }
        self.call((MANAGER, INTERFACE, "StopUnit"), &(&self.name, "replace")).await.map(drop)
    }

    async fn kill(&self, obstacle: &mut impl FnMut(String)) {
        let asked = self.call((MANAGER, INTERFACE, "KillUnit"), &(&self.name, "all", 9)).await;
        // The manager kills nobody of a unit that it calls inactive; the kernel does.
        let group = self.group_file("cgroup.kill").map_or(Ok(()), |file| std::fs::write(file, "1"));
        if let (Err(asked), Err(group)) = (asked, group) {
            obstacle(format!("cannot be killed: {asked}; its control group: {group}"));
        }
    }

    /// Whether anybody is left in its control group; where that cannot be read, nobody is known.
    fn members(&self) -> bool {
        let Some(file) = self.group_file("cgroup.events") else { return false };
        std::fs::read_to_string(file).is_ok_and(|text| text.contains("populated 1"))
    }

    fn group_file(&self, name: &str) -> Option<PathBuf> {
        let group = self.group.strip_prefix('/').filter(|group| !group.is_empty())?;
        // Beside version 1, version 2 has a place of its own.
        let found = |base: &Path| base.join(group).join(name);
        [found(&self.groups), found(&self.groups.join("unified"))]
            .into_iter()
            .find(|file| file.exists())
    }

    /// A unit that failed would be called so for ever; a transient one would not go away either.
    async fn forget_failure(&self) {
        if self.seen.failed {
            // A unit that is not loaded any more has nothing to be forgotten.
            let _ = self.call((MANAGER, INTERFACE, "ResetFailedUnit"), &(&self.name,)).await;
        }
    }
}

/// Stops every unit on record that must not outlive the daemon, at most within `limit`; what is
/// seen stopped loses its record.
///
/// # Errors
/// Each unit that was not seen stopped, and why.
pub async fn stop_recorded(
    systemd: &Systemd,
    records: &Path,
    grace: Duration,
    limit: Duration,
) -> Result<Vec<String>, String> {
    let all = record::all(records).map_err(|error: io::Error| error.to_string())?;
    let (mut stopped, mut left) = (Vec::new(), Vec::new());
    let end = Instant::now() + limit;
    for (service, record) in all.into_iter().filter(|(_, record)| record.ends_with_daemon) {
        let mut last = "no answer".to_owned();
        let ended = tokio::time::timeout_at(end, async {
            systemd.unit(&record.unit).await.stop(grace, |why| last = why).await;
        });
        match ended.await {
            Ok(()) => {
                record::remove(records, &service).map_err(|error| error.to_string())?;
                stopped.push(record.unit);
            }
            Err(_) => left.push(format!("{}: {last}", record.unit)),
        }
    }
    if left.is_empty() { Ok(stopped) } else { Err(left.join("; ")) }
}

/// A unit's name as the last word of its object path (sd_bus_path_encode(3)).
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("_{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_written_as_systemd_writes_them() {
        assert_eq!(super::escaped("kamailio.service"), "kamailio_2eservice");
        assert_eq!(super::escaped("3cx@a-b.service"), "_33cx_40a_2db_2eservice");
    }
}
