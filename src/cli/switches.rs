//! Entries of one node's history, or of both nodes', put together by term: one switch, as each saw
//! it. Pure.

use serde_json::{Value, json};

/// One switch: what each node that has something to say wrote down of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Switch {
    /// The term under which the role is served since; `None` when nobody got it.
    pub term: Option<String>,
    /// The entries, in the order of the nodes' telling.
    pub entries: Vec<Value>,
}

impl Switch {
    /// The entry that tells most: of the node that took the role, else of the one that gave it.
    pub(super) fn main(&self) -> &Value {
        let rank = |entry: &&Value| match entry["kind"].as_str() {
            Some("takeover" | "start" | "handover-taken") => 0,
            Some("handover-given") => 1,
            Some("demotion") => 2,
            _ => 3,
        };
        // A switch is made of at least one entry.
        self.entries.iter().min_by_key(rank).unwrap_or(&Value::Null)
    }

    pub(super) fn json(&self) -> Value {
        json!({"term": self.term, "entries": self.entries})
    }
}

/// From both nodes' entries; oldest first.
pub(super) fn switches(own: &[Value], peer: &[Value]) -> Vec<Switch> {
    let all: Vec<&Value> = own.iter().chain(peer).collect();
    let mut switches: Vec<Switch> = Vec::new();
    for entry in &all {
        let term = term_of(entry, &all);
        let same = switches.iter_mut().find(|switch| term.is_some() && switch.term == term);
        match same {
            Some(switch) => switch.entries.push((*entry).clone()),
            None => switches.push(Switch { term, entries: vec![(*entry).clone()] }),
        }
    }
    switches.sort_by_key(|switch| switch.main()["time"].as_str().map(str::to_owned));
    switches
}

/// The term that a switch led to. Who only gave the role up does not know it: it is the next one.
fn term_of(entry: &Value, all: &[&Value]) -> Option<String> {
    if let Some(term) = entry["term"].as_str() {
        return Some(term.to_owned());
    }
    let before = order(entry["term_before"].as_str()?)?;
    if entry["kind"] != "demotion" {
        return None;
    }
    let later = all.iter().filter_map(|other| {
        let text = other["term"].as_str()?;
        order(text).filter(|term| *term > before).map(|term| (term, text))
    });
    later.min().map(|(_, text)| text.to_owned())
}

/// `12b`: first the number, then the node.
fn order(term: &str) -> Option<(u64, &str)> {
    let digits = term.find(|c: char| !c.is_ascii_digit())?;
    Some((term[..digits].parse().ok()?, &term[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(
        node: &str,
        kind: &str,
        time: &str,
        before: Option<&str>,
        term: Option<&str>,
    ) -> Value {
        json!({"node": node, "kind": kind, "time": time, "term_before": before, "term": term})
    }

    #[test]
    fn both_views_of_one_switch_meet() {
        let a = [
            entry("a", "start", "2026-01-01T00:00:00Z", None, Some("1a")),
            entry("a", "demotion", "2026-01-01T01:00:00.1Z", Some("1a"), None),
            entry("a", "peer-serves", "2026-01-01T01:00:09Z", None, Some("10b")),
            entry("a", "handover-taken", "2026-01-01T02:00:00Z", None, Some("11a")),
        ];
        let b = [
            entry("b", "peer-serves", "2026-01-01T00:00:01Z", None, Some("1a")),
            entry("b", "takeover", "2026-01-01T01:00:00.2Z", None, Some("10b")),
            entry("b", "handover-given", "2026-01-01T02:00:01Z", Some("10b"), Some("11a")),
        ];
        let switches = switches(&a, &b);
        let shape: Vec<(Option<&str>, usize, &str)> = switches
            .iter()
            .map(|one| {
                (one.term.as_deref(), one.entries.len(), one.main()["kind"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            shape,
            [
                (Some("1a"), 2, "start"),
                (Some("10b"), 3, "takeover"),
                (Some("11a"), 2, "handover-taken")
            ]
        );
    }

    #[test]
    fn what_led_to_no_term_stands_alone() {
        let own = [
            entry("a", "takeover", "2026-01-01T00:00:00Z", None, None),
            entry("a", "takeover", "2026-01-01T00:00:01Z", None, None),
            entry("a", "demotion", "2026-01-01T00:00:02Z", Some("3a"), None),
        ];
        assert_eq!(switches(&own, &[]).len(), 3);
        assert_eq!(switches(&[json!({})], &[json!({})]).len(), 2, "nonsense is shown, not hidden");
    }
}
