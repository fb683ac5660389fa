//! The hooks and the alerts in `status`.

use serde_json::Value;

use super::{Page, flag, list, number, span, text};

/// A line for each hook, and one for what could not be told.
pub fn hooks(page: &mut Page, data: &Value) {
    let Some(hooks) = data.get("hooks") else { return };
    for hook in list(hooks, "list") {
        let last = hook.get("last").unwrap_or(&Value::Null);
        let good = flag(last, "good") != Some(false);
        let result = text(last, "result");
        page.row(
            &format!("hook {}", text(hook, "name").unwrap_or_default()),
            [
                text(hook, "running").map(|event| {
                    let since = number(hook, "running_ms").map_or(String::new(), span);
                    format!("is told {event}, runs for {since}")
                }),
                text(last, "event").or_else(|| Some("told nothing yet".to_owned())),
                number(last, "ago_ms").map(|ms| format!("{} ago", span(ms))),
                number(last, "took_ms").map(|ms| format!("took {}", span(ms))),
                result.map(|result| if good { result } else { format!("FAILED: {result}") }),
                list(last, "output").first().and_then(Value::as_str).filter(|_| !good).map(said),
            ],
        );
    }
    let lost = text(hooks, "lost").filter(|lost| lost != "0");
    page.row(
        "hooks",
        [lost.map(|lost| format!("{lost} EVENTS WERE NOT TOLD: hooks run too long"))],
    );
}

/// A line for each channel.
pub fn alerts(page: &mut Page, data: &Value) {
    let Some(alerts) = data.get("alerts").filter(|alerts| !alerts.is_null()) else { return };
    for channel in list(alerts, "channels") {
        let counted = |key: &str, word: &str| {
            text(channel, key).filter(|count| count != "0").map(|count| format!("{count} {word}"))
        };
        page.row(
            &format!("alerts by {}", text(channel, "channel").unwrap_or_default()),
            [
                Some(match flag(channel, "works") {
                    Some(true) => "work".to_owned(),
                    Some(false) => "DO NOT WORK".to_owned(),
                    None => "none yet".to_owned(),
                }),
                text(channel, "trouble"),
                counted("sent", "sent"),
                counted("waiting", "waiting"),
                counted("lost", "LOST"),
            ],
        );
    }
}

fn said(line: &str) -> String {
    format!("it said: {}", line.replace(char::is_control, " "))
}
