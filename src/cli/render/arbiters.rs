//! The rows of `status` about the witness and the fence.

use serde_json::Value;

use super::{Page, flag, list, number, refused, span, text};

pub fn witness(page: &mut Page, data: &Value) {
    let Some(witness) = data.get("witness").filter(|witness| !witness.is_null()) else { return };
    let released = flag(witness, "released") == Some(true);
    let refused: Vec<String> = list(witness, "paths").iter().filter_map(refused).collect();
    page.row(
        "witness",
        [
            (flag(witness, "answers") == Some(false)).then(|| "DOES NOT ANSWER".to_owned()),
            number(witness, "last_heard_ms").map(|ms| format!("heard {} ago", span(ms))),
            text(witness, "holder").map(|holder| match released {
                true => format!("{holder} gave the role back"),
                false => format!("last granted to {holder}"),
            }),
            text(witness, "term").map(|term| format!("term {term}")),
            text(witness, "excluded").map(|node| format!("{node} EXCLUDED")),
            number(witness, "grant_ms").map(|ms| format!("grant {}", span(ms))),
            text(witness, "verdict").filter(|verdict| verdict.starts_with("refused")),
            Some(refused.join(", ")).filter(|refused| !refused.is_empty()),
        ],
    );
}

pub fn fence(page: &mut Page, data: &Value) {
    let Some(fence) = data.get("fence").filter(|fence| !fence.is_null()) else { return };
    let peer = text(data, "peer").unwrap_or_else(|| "the peer".to_owned());
    let troubles = list(fence, "devices").iter().filter_map(|device| {
        Some(format!("{}: {}", text(device, "name")?, text(device, "trouble")?))
    });
    let troubles: Vec<String> = troubles.collect();
    page.row(
        "fence",
        [
            flag(fence, "works")
                .map(|works| if works { "works" } else { "DOES NOT WORK" }.to_owned()),
            number(fence, "asked_ms").map(|ms| format!("asked {} ago", span(ms))),
            text(fence, "power").map(|power| format!("{peer}: {power}")),
            number(fence, "pending_ms")
                .map(|ms| format!("told {} ago to power {peer} off", span(ms))),
            number(fence, "off_ms").map(|ms| format!("powered {peer} off {} ago", span(ms))),
            number(fence, "failures")
                .filter(|failures| *failures > 0.0)
                .map(|failures| format!("{failures} orders did not help")),
            number(fence, "lied_ms")
                .map(|ms| format!("NOT BELIEVED: {peer} was heard {} ago, called off", span(ms))),
            Some(troubles.join("; ")).filter(|troubles| !troubles.is_empty()),
        ],
    );
}
