//! What the manager says of a service's unit (org.freedesktop.systemd1(5)), and what that means.

use std::collections::HashMap;

use zbus::zvariant::{OwnedObjectPath, OwnedValue};

/// How a unit stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The manager cannot be asked, or says what is not understood: why.
    Unknown(String),
    /// Not running and not about to: why.
    Gone(String),
    /// About to run, for the first time.
    Starting,
    /// Runs.
    Up,
    /// It failed, and systemd starts it again by itself (`Restart=`): how it failed.
    Restarting(String),
    /// Being stopped, or seen to have ended.
    Ending,
}

/// A unit as it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub standing: Standing,
    /// A job of it waits or runs.
    pub job: bool,
    /// Its state is `failed`, which may keep it from being started.
    pub failed: bool,
    pub pid: Option<i32>,
    /// How often systemd itself has started it again.
    pub restarts: u32,
    pub description: String,
    /// Below the root of the control groups; empty while it has none.
    pub control_group: String,
}

impl Seen {
    pub fn nothing(why: String) -> Seen {
        Seen {
            standing: Standing::Unknown(why),
            job: false,
            failed: false,
            pid: None,
            restarts: 0,
            description: String::new(),
            control_group: String::new(),
        }
    }
}

/// All properties of two interfaces of one object.
pub struct Properties(pub HashMap<String, OwnedValue>);

impl Properties {
    fn text(&self, name: &str) -> String {
        let value = self.0.get(name).and_then(|value| <&str>::try_from(value).ok());
        value.unwrap_or_default().to_owned()
    }

    fn number(&self, name: &str) -> u32 {
        self.0.get(name).and_then(|value| u32::try_from(value).ok()).unwrap_or_default()
    }

    fn signed(&self, name: &str) -> i32 {
        self.0.get(name).and_then(|value| i32::try_from(value).ok()).unwrap_or_default()
    }

    fn names(&self, name: &str) -> Vec<String> {
        let value = self.0.get(name).and_then(|value| value.try_clone().ok());
        value.and_then(|value| Vec::try_from(value).ok()).unwrap_or_default()
    }

    /// Who starts it besides duotone, as systemd shows it.
    pub fn starters(&self) -> Vec<String> {
        ["WantedBy", "RequiredBy", "RequisiteOf", "BoundBy", "TriggeredBy", "UpheldBy"]
            .iter()
            .flat_map(|property| self.names(property))
            .collect()
    }

    /// The state of its file: `enabled`, `disabled`, `static`, `masked`, …
    pub fn file_state(&self) -> String {
        self.text("UnitFileState")
    }

    /// It is ordered before this unit: stopped after it.
    pub fn is_before(&self, unit: &str) -> bool {
        self.names("Before").iter().any(|other| other == unit)
    }

    /// Why it cannot run at all.
    pub fn obstacle(&self, name: &str) -> Option<String> {
        match self.text("LoadState").as_str() {
            "not-found" => Some(format!(
                "systemd knows no {name}; `systemctl list-unit-files` shows those there are"
            )),
            "masked" => Some(format!("{name} is masked; `systemctl unmask {name}`")),
            "bad-setting" | "error" => {
                let error = self.0.get("LoadError").and_then(|value| value.try_clone().ok());
                let error = error.and_then(|value| <(String, String)>::try_from(value).ok());
                let why = error.map(|(_, why)| why).unwrap_or_default();
                Some(format!("{name} cannot be loaded; `systemd-analyze verify {name}` ({why})"))
            }
            _ => None,
        }
    }

    /// What was seen; `job_ended`: how its last job did.
    pub fn seen(&self, name: &str, job_ended: Option<&str>) -> Seen {
        let job: Option<(u32, OwnedObjectPath)> =
            self.0.get("Job").and_then(|value| value.try_clone().ok()?.try_into().ok());
        let job = job.is_some_and(|(id, _)| id != 0);
        let active = self.text("ActiveState");
        let pid = i32::try_from(self.number("MainPID")).ok().filter(|&pid| pid > 0);
        let standing = match (active.as_str(), self.text("SubState").as_str()) {
            ("active" | "reloading" | "refreshing", _) => Standing::Up,
            ("activating", "auto-restart" | "auto-restart-queued") => {
                Standing::Restarting(self.how_it_ended(name, None))
            }
            ("activating", _) => Standing::Starting,
            ("deactivating", _) => Standing::Ending,
            ("inactive" | "failed", _) if job => Standing::Starting,
            ("inactive" | "failed", _) if pid.is_some() => Standing::Ending,
            ("inactive" | "failed", _) => {
                let why = self.obstacle(name);
                Standing::Gone(why.unwrap_or_else(|| self.how_it_ended(name, job_ended)))
            }
            (other, _) => Standing::Unknown(format!("systemd calls {name} \"{other}\"")),
        };
        Seen {
            standing,
            job,
            failed: active == "failed",
            pid,
            restarts: self.number("NRestarts"),
            description: self.text("Description"),
            control_group: self.text("ControlGroup"),
        }
    }

    /// The words of systemd.service(5) for `$SERVICE_RESULT`, for people.
    fn how_it_ended(&self, name: &str, job_ended: Option<&str>) -> String {
        const EXITED: i32 = 1; // CLD_EXITED of waitid(2); the others are signals
        let (code, status) = (self.signed("ExecMainCode"), self.signed("ExecMainStatus"));
        let of_main = match (code, status) {
            (0, _) | (EXITED, 0) => None,
            (EXITED, status) => Some(format!("exited with code {status}")),
            (_, signal) => Some(format!("killed by signal {signal}")),
        };
        match self.text("Result").as_str() {
            "success" | "" => match job_ended {
                Some("dependency") => "a unit that it needs did not start".to_owned(),
                Some("timeout") => "its start took too long".to_owned(),
                // Of a unit that does not run and has not failed systemd keeps nothing.
                _ => of_main.unwrap_or_else(|| {
                    format!("has ended, or systemd has not started it; `journalctl -u {name}`")
                }),
            },
            "exit-code" | "signal" | "core-dump" => {
                of_main.unwrap_or_else(|| "one of its commands failed".to_owned())
            }
            "start-limit-hit" => "failed too often for systemd (StartLimitBurst=)".to_owned(),
            "timeout" => "took too long for systemd (TimeoutStartSec=, TimeoutStopSec=)".to_owned(),
            "watchdog" => "did not feed its watchdog (WatchdogSec=)".to_owned(),
            "oom-kill" => "killed for want of memory".to_owned(),
            other => format!("failed: {other}"),
        }
    }
}
