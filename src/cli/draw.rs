//! Changes of role for people: one line each, or one as a picture. ASCII only: it is read over
//! serial consoles as well.

use std::fmt::Write;

use serde_json::Value;

use super::switches::Switch;

/// Columns of the picture.
const WIDTH: usize = 28;

/// The newest switches, newest first, numbered as `timeline` takes them.
pub(super) fn list(switches: &[Switch], newest: usize, damaged: u64) -> String {
    let mut text = String::new();
    if switches.is_empty() {
        text.push_str("no change of role is known\n");
    }
    for (number, switch) in switches.iter().rev().take(newest).enumerate() {
        let main = switch.main();
        let _ = writeln!(text, "{:>3}  {}  {}", number + 1, time(main), sentence(main));
        for other in switch.entries.iter().filter(|entry| *entry != main) {
            let node = word(other, "node");
            let _ = writeln!(text, "     {}  {node} saw: {}", time(other), sentence(other));
        }
    }
    if damaged > 0 {
        let _ = writeln!(text, "{damaged} damaged line(s) of the history were skipped");
    }
    text
}

/// One switch, as each node saw it.
pub(super) fn picture(switch: &Switch) -> String {
    let mut text = String::new();
    for (number, entry) in switch.entries.iter().enumerate() {
        let blank = if number == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{blank}{}  {}", time(entry), sentence(entry));
        let _ = writeln!(text, "as {} saw it, in ms:", word(entry, "node"));
        let steps = entry["steps"].as_array().map_or(&[][..], Vec::as_slice);
        let total = steps.iter().filter_map(|step| step["ms"].as_f64()).fold(0.0, f64::max);
        let mut before = 0.0;
        for step in steps {
            let ms = step["ms"].as_f64().unwrap_or(before);
            text.push_str(&line(
                ms,
                &word(step, "what"),
                &word(step, "text"),
                Some((before, total)),
            ));
            before = ms;
        }
    }
    text
}

/// One step. With `(before, total)` a bar shows where in the whole it lies, and since when.
pub(super) fn line(ms: f64, what: &str, words: &str, of: Option<(f64, f64)>) -> String {
    let bar = of.map_or(String::new(), |(before, total)| bar(before, ms, total));
    let line = format!("  {ms:>9.1}  {bar}{what:<15} {words}");
    format!("{}\n", line.trim_end())
}

fn bar(before: f64, at: f64, total: f64) -> String {
    let column = |ms: f64| {
        let part = if total > 0.0 { (ms / total).clamp(0.0, 1.0) } else { 0.0 };
        (part * (WIDTH - 1) as f64).round() as usize
    };
    let (from, to) = (column(before.min(at)), column(at));
    let cells = (0..WIDTH).map(|cell| match cell {
        cell if cell == to => '#',
        cell if cell >= from && cell < to => '=',
        _ => ' ',
    });
    format!("|{}|  ", cells.collect::<String>())
}

fn sentence(entry: &Value) -> String {
    let (from, to) = (word(entry, "from"), word(entry, "to"));
    let node = word(entry, "node");
    let took = entry["took_ms"].as_f64().map_or(String::new(), |ms| format!(" after {ms:.0} ms"));
    let outcome = word(entry, "outcome");
    let what = match (word(entry, "kind").as_str(), outcome.as_str()) {
        ("takeover", "serves") => format!("{to} took the role from {from}{took}"),
        ("takeover", _) => format!("{to} tried to take the role: {outcome}{took}"),
        ("start", "serves") => format!("{to} took the role, both joining{took}"),
        ("start", _) => format!("{to} was to take the role, both joining: {outcome}{took}"),
        ("handover-taken", "serves") => format!("{to} took over what {from} handed over{took}"),
        ("handover-taken", _) => format!("{to} was offered the role: {outcome}{took}"),
        ("handover-given", "handed-over") => format!("{from} handed the role to {to}{took}"),
        ("handover-given", _) => format!("{from} was to hand the role to {to}: {outcome}{took}"),
        ("demotion", _) => format!("{node} gave the role up"),
        ("peer-serves", _) => format!("{to} serves"),
        (kind, outcome) => format!("{kind} {outcome}"),
    };
    let term = match word(entry, "term").as_str() {
        "" => String::new(),
        term => format!(", term {term}"),
    };
    let why = match (word(entry, "reason").as_str(), word(entry, "order").as_str()) {
        ("", "") => String::new(),
        (reason, "") => format!(": {reason}"),
        (reason, order) => format!(": {reason} ({order})"),
    };
    let alike = entry["alike_before"]
        .as_u64()
        .map_or(String::new(), |count| format!(" [{count} more like it before]"));
    format!("{what}{term}{why}{alike}")
}

/// To the millisecond.
fn time(entry: &Value) -> String {
    let text = word(entry, "time").replace('T', " ");
    let text = text.trim_end_matches('Z');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole:<19}.{part:0<3.3} UTC")
}

/// A field as text for a terminal; empty when it is missing.
fn word(value: &Value, key: &str) -> String {
    let text = match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bar_shows_where_the_time_went() {
        assert_eq!(bar(0.0, 0.0, 100.0), format!("|#{}|  ", " ".repeat(27)));
        assert_eq!(bar(0.0, 100.0, 100.0), format!("|{}#|  ", "=".repeat(27)));
        assert_eq!(bar(100.0, 100.0, 100.0), format!("|{}#|  ", " ".repeat(27)));
        assert_eq!(bar(0.0, 0.0, 0.0), format!("|#{}|  ", " ".repeat(27)));
        assert_eq!(bar(50.0, 40.0, 100.0).matches('#').count(), 1, "times that run backwards");
    }

    #[test]
    fn an_entry_is_one_line_whatever_it_holds() {
        let entry = json!({
            "time": "2026-11-22T01:02:03.5Z", "node": "pbx-b", "kind": "takeover",
            "outcome": "serves", "from": "pbx-a", "to": "pbx-b", "term": "3b", "took_ms": 312.4,
            "reason": "the peer is silent", "order": null, "steps": [],
        });
        let switch = Switch { term: Some("3b".into()), entries: vec![entry] };
        assert_eq!(
            list(&[switch], 5, 2),
            "  1  2026-11-22 01:02:03.500 UTC  pbx-b took the role from pbx-a after 312 ms, term \
             3b: the peer is silent\n2 damaged line(s) of the history were skipped\n"
        );
        let odd = json!({"kind": "a\nb", "steps": [{"ms": "x", "what": 7}]});
        let switch = Switch { term: None, entries: vec![odd] };
        assert_eq!(list(std::slice::from_ref(&switch), 5, 0).lines().count(), 1);
        assert_eq!(picture(&switch).lines().count(), 3);
    }
}
