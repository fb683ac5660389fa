//! `duotone alerts`: whether people would be told.

use std::fmt::Write;

use clap::Subcommand;
use serde_json::Value;

use super::ask::pretty;
use super::render::text;
use super::{Error, Exit, say};
use crate::config::Config;

/// What can be done with alerts.
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alerts {
    /// Send one through every channel now, and say what each server answered. Exit status 0: all
    /// were taken; 1: one was not
    Test {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `test` sends; `None` when nothing is configured.
pub(super) fn perform(
    verb: Alerts,
    config: &Config,
    test: fn(&Config) -> Result<Option<Value>, Error>,
) -> Result<Exit, Error> {
    let Alerts::Test { json } = verb;
    let Some(data) = test(config)? else {
        let what = "no alerts are configured; write [alerts] with [alerts.mail], [alerts.webhook] \
                    or [alerts.syslog]";
        return Err(Error::Usage(what.to_owned()));
    };
    say(&if json { pretty(&data) } else { page(&data) })?;
    let sent = |answer: &Value| answer.get("sent").and_then(Value::as_bool) == Some(true);
    let all = data.as_array().is_some_and(|answers| answers.iter().all(sent));
    Ok(if all { Exit::Ok } else { Exit::No })
}

fn page(data: &Value) -> String {
    let mut page = String::new();
    for answer in data.as_array().into_iter().flatten() {
        let channel = text(answer, "channel").unwrap_or_default();
        let said = text(answer, "answer").unwrap_or_default();
        let sent = answer.get("sent").and_then(Value::as_bool) == Some(true);
        let word = if sent { "sent" } else { "NOT SENT" };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{channel:<8} {word}: {said}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_channel_has_a_line() {
        let page = page(&json!([
            {"channel": "mail", "sent": true, "answer": "250 OK"},
            {"channel": "webhook", "sent": false, "answer": "404 Not Found"},
        ]));
        assert_eq!(page, "mail     sent: 250 OK\nwebhook  NOT SENT: 404 Not Found\n");
    }
}
