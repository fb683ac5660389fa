//! The rows of `status` about hosts that are asked over the network: remote checks, gateways.

use serde_json::Value;

use super::{Page, flag, list, number, span, text};

pub fn remote_checks(page: &mut Page, data: &Value) {
    let Some(checks) = data.get("remote_checks").filter(|checks| !checks.is_null()) else { return };
    if flag(checks, "asking") != Some(true) {
        page.row("remote checks", [Some("not asking: only a standby does".to_owned())]);
        return;
    }
    for check in list(checks, "checks") {
        page.row(
            "remote check",
            [
                text(check, "asks"),
                text(check, "grade").map(loud),
                text(check, "answer"),
                number(check, "asked_ms").map(|ms| format!("{} ago", span(ms))),
            ],
        );
    }
}

pub fn gateways(page: &mut Page, data: &Value) {
    for gateway in list(data, "gateways") {
        page.row(
            &format!("gateway {}", text(gateway, "name").unwrap_or_default()),
            [
                text(gateway, "asks"),
                text(gateway, "grade").map(loud),
                text(gateway, "answer"),
                number(gateway, "asked_ms").map(|ms| format!("{} ago", span(ms))),
                text(gateway, "warning"),
            ],
        );
    }
}

fn loud(grade: String) -> String {
    if grade == "failed" { "FAILED".to_owned() } else { grade }
}
