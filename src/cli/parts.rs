//! The rooms of the program that the command line only opens the door to. The binary joins them;
//! the command line knows neither the daemon nor the lab.

use std::path::Path;

use crate::config::check::Seen;
use crate::config::{Config, Hook, WitnessConfig};

use super::demo::Demo;
use super::{Error, Exit};

/// Runs a hook with variables in its environment.
pub type RunHook = fn(&Hook, &[(String, String)]) -> Result<serde_json::Value, Error>;

/// What the binary supplies.
#[derive(Clone, Copy)]
pub struct Parts {
    /// Be the daemon until told to stop; file and node name are kept to read the file again.
    pub run: fn(Config, &Path, Option<&str>) -> Result<Exit, Error>,
    /// Wait for the daemon's end, and stop its database then.
    pub dead_man: fn(&Config) -> Result<Exit, Error>,
    /// Release the floating addresses of this host; the sentence
    /// says what was seen afterwards.
    pub release: fn(&Config) -> Result<String, Error>,
    /// Stop the units that must not outlive the daemon of this state directory; their names.
    pub stop_units: fn(&Path) -> Result<Vec<String>, Error>,
    /// What the database server lacks, and what systemd says of the services' units.
    pub host: fn(&Config) -> Seen,
    /// What every device of the fence says now; `None` without a fence.
    pub fence: fn(&Config) -> Result<Option<serde_json::Value>, Error>,
    /// Run one hook now with these variables in its environment; what came of it.
    pub hook: RunHook,
    /// Send an alert through every channel; what each server answered, `None` without any.
    pub alerts: fn(&Config) -> Result<Option<serde_json::Value>, Error>,
    /// The newest so many entries of the history in this state directory, without a daemon.
    pub history: fn(&Path, usize) -> Result<serde_json::Value, Error>,
    /// Show the lab.
    pub demo: fn(&Demo) -> Result<Exit, Error>,
    /// Be the witness until told to stop.
    pub witness: fn(&WitnessConfig) -> Result<Exit, Error>,
    /// The decision table.
    pub table: fn() -> Result<String, Error>,
}

impl Default for Parts {
    /// Nothing joined: each says so.
    fn default() -> Parts {
        Parts {
            run: |_, _, _| Err(Error::NotBuiltIn("run")),
            dead_man: |_| Err(Error::NotBuiltIn("dead-man")),
            release: |_| Err(Error::NotBuiltIn("release")),
            stop_units: |_| Ok(Vec::new()),
            host: |_| Seen::default(),
            fence: |_| Err(Error::NotBuiltIn("fence status")),
            hook: |_, _| Err(Error::NotBuiltIn("hooks run")),
            alerts: |_| Err(Error::NotBuiltIn("alerts test")),
            history: |_, _| Err(Error::NotBuiltIn("history")),
            demo: |_| Err(Error::NotBuiltIn("demo")),
            witness: |_| Err(Error::NotBuiltIn("witness run")),
            table: || Err(Error::NotBuiltIn("explain --table")),
        }
    }
}
