//! `duotone fence`: whether the devices that would cut the peer's power work.

use std::fmt::Write;

use clap::Subcommand;
use serde_json::Value;

use super::ask::pretty;
use super::render::{list, text};
use super::{Error, Exit, say};
use crate::config::Config;

/// What can be asked of the fence.
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fence {
    /// Ask every device now whether it works and whether the peer's power is on; switches nothing.
    /// Exit status 0: all of them work; 1: one does not
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `ask` asks the devices; `None` when none is configured.
pub(super) fn perform(
    verb: Fence,
    config: &Config,
    ask: fn(&Config) -> Result<Option<Value>, Error>,
) -> Result<Exit, Error> {
    let Fence::Status { json } = verb;
    let Some(data) = ask(config)? else {
        let what = "no fence is configured: arbitration does not name it";
        return Err(Error::Usage(what.to_owned()));
    };
    say(&if json { pretty(&data) } else { status(&data) })?;
    let works = data.get("works").and_then(Value::as_bool);
    Ok(if works == Some(true) { Exit::Ok } else { Exit::No })
}

fn status(data: &Value) -> String {
    let peer = text(data, "peer").unwrap_or_default();
    let mut page = match text(data, "power").as_deref() {
        Some("off") => format!("{peer} is powered off\n"),
        Some("on") => format!("{peer} has power\n"),
        _ => format!("it is NOT KNOWN whether {peer} has power\n"),
    };
    for device in list(data, "devices") {
        let name = text(device, "name").unwrap_or_default();
        let power = text(device, "power").unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = match text(device, "trouble") {
            None => writeln!(page, "  {name:<18} works; {power}"),
            Some(trouble) => writeln!(page, "  {name:<18} DOES NOT WORK: {trouble}"),
        };
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_device_has_a_line() {
        let page = status(&json!({"peer": "pbx-b", "power": "unknown", "devices": [
            {"name": "left", "power": "on", "trouble": null},
            {"name": "right", "power": "unknown", "trouble": "monitor: no route"},
        ]}));
        let left = format!("  {:<18} works; on\n", "left");
        let right = format!("  {:<18} DOES NOT WORK: monitor: no route\n", "right");
        assert_eq!(page, format!("it is NOT KNOWN whether pbx-b has power\n{left}{right}"));
    }
}
