//! The verbs that ask the running daemon: `status`, `explain`, `is-active`, `failover`, `record`, `reload`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::ask;
use super::{Error, Exit, render, say};

/// A question is answered from memory.
const QUESTION: Duration = Duration::from_secs(5);
/// A change may wait for the database and the peer.
const CHANGE: Duration = Duration::from_secs(60);

pub(super) fn status(socket: &Path, json: bool) -> Result<Exit, Error> {
    let data = ask(socket, &json!({"verb": "status"}), QUESTION)?;
    if json { say(&pretty(&data)) } else { say(&render::status(&data)) }
}

pub(super) fn explain(socket: &Path, json: bool) -> Result<Exit, Error> {
    let data = ask(socket, &json!({"verb": "explain"}), QUESTION)?;
    if json { say(&pretty(&data)) } else { say(&render::explain(&data)) }
}

/// Anything but a clear yes is no yes.
pub(super) fn is_active(socket: &Path) -> Result<Exit, Error> {
    let data = ask(socket, &json!({"verb": "is-active"}), QUESTION)?;
    let active = data.as_bool().or_else(|| data.get("active").and_then(Value::as_bool));
    match active {
        Some(true) => say("active"),
        Some(false) => say("not active").map(|_| Exit::No),
        None => Err(Error::Answer("\"active\" is missing".to_owned())),
    }
}

pub(super) fn failover(socket: &Path, force: bool, reason: Option<String>) -> Result<Exit, Error> {
    let request = json!({"verb": "failover", "force": force, "reason": reason});
    outcome(&ask(socket, &request, CHANGE)?, "started; `duotone status` shows how far it is")
}

pub(super) fn record(socket: &Path) -> Result<Exit, Error> {
    outcome(&ask(socket, &json!({"verb": "record"}), CHANGE)?, "recorded")
}

pub(super) fn reload(socket: &Path) -> Result<Exit, Error> {
    outcome(&ask(socket, &json!({"verb": "reload"}), CHANGE)?, "configuration read again")
}

/// The daemon's own sentence, or `otherwise`.
pub(super) fn outcome(data: &Value, otherwise: &str) -> Result<Exit, Error> {
    let sentence = data.as_str().or_else(|| data.get("text").and_then(Value::as_str));
    say(sentence.unwrap_or(otherwise))
}

pub(super) fn pretty(data: &Value) -> String {
    // A value that came from JSON can be written as JSON; the short form is the fallback.
    serde_json::to_string_pretty(data).unwrap_or_else(|_| data.to_string())
}
