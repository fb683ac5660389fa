//! The verbs that order something of the running daemon; each waits for what came of it.

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::ask::outcome;
use super::client::ask;
use super::{Error, Exit};

/// The daemon itself watches an order for at most 100 s.
const PATIENCE: Duration = Duration::from_secs(110);

/// `maintenance`.
#[derive(Subcommand, Debug)]
pub(super) enum Maintenance {
    /// Leave the pair now; the role must be on the other node
    On {
        /// For how long, such as 30min or 2h (at most 24h)
        #[arg(long = "for", value_name = "TIME")]
        span: String,
        /// Why, for whoever finds it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Come back now
    Off,
}

/// An order without arguments of its own.
pub(super) fn order(socket: &Path, verb: &str, reason: Option<String>) -> Result<Exit, Error> {
    let request = json!({"verb": verb, "reason": reason.unwrap_or_default()});
    outcome(&ask(socket, &request, PATIENCE)?, "done")
}

pub(super) fn maintenance(socket: &Path, what: Maintenance) -> Result<Exit, Error> {
    let request = match what {
        Maintenance::On { span, reason } => {
            json!({"verb": "maintenance", "on": true, "for": span, "reason": reason})
        }
        Maintenance::Off => json!({"verb": "maintenance", "on": false}),
    };
    outcome(&ask(socket, &request, PATIENCE)?, "done")
}
