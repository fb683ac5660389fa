//! The witness as this node sees it, for people: an answer that does not come is told before it is
//! needed.

use serde_json::{Map, Value, json};

use super::arbiters::witness_silent;
use super::explain::span;
use super::status::ms;
use crate::config::Config;
use crate::protocol::identity::NodeId;
use crate::protocol::time::Instant;
use crate::protocol::timing::Timing;
use crate::protocol::witness::{Ledger, Refusal, Verdict};
use crate::pulse::report::Snapshot;

/// Questions that may stay unanswered in a row, where nothing is urgent.
const MISSED: u32 = 3;

/// Does it answer? `None` when none is configured, or when it is too early to tell; `since` is when
/// this daemon began to ask.
pub fn answers(snapshot: &Snapshot, since: Instant, now: Instant, timing: &Timing) -> Option<bool> {
    let sight = snapshot.status.witness.as_ref()?;
    let patience = timing.calm_period() * MISSED + timing.arbiter;
    let asked = sight.heard.map(|(asked, _)| asked);
    if asked.is_some_and(|asked| now.since(asked) < patience) {
        return Some(true);
    }
    (now.since(asked.unwrap_or(since).max(since)) >= patience).then_some(false)
}

/// What `status` says of it; `Null` when none is configured.
pub fn data(config: &Config, snapshot: &Snapshot, answers: Option<bool>, now: Instant) -> Value {
    let Some(sight) = &snapshot.status.witness else { return Value::Null };
    let name = |node: NodeId| config.names[node.index()].clone();
    let ledger = sight.heard.map(|(_, reply)| reply.ledger);
    let holder = ledger.and_then(|ledger| ledger.holder);
    let paths = snapshot.witness.iter().map(|path| {
        let refused: Map<String, Value> =
            path.refusals().map(|(reason, count)| (reason.to_string(), count.into())).collect();
        json!({
            "address": path.address.to_string(),
            "sent": path.sent,
            "failed": path.failed,
            "error": path.error.map(|error| error.to_string()),
            "received": path.received,
            "refused": refused,
            "last_heard_ms": path.last_heard.map(|heard| ms(now, heard)),
        })
    });
    json!({
        "answers": answers,
        "last_heard_ms": snapshot.witness.iter().filter_map(|path| path.last_heard).max()
            .map(|heard| ms(now, heard)),
        "holder": holder.map(|holder| name(holder.node)),
        "term": holder.map(|holder| holder.term.to_string()),
        "released": holder.map(|holder| holder.released),
        "excluded": ledger.and_then(|ledger| ledger.excluded).map(name),
        "verdict": sight.heard.map(|(_, reply)| verdict(reply.verdict)),
        "grant_ms": sight.grant_ends.map(|ends| ms(ends, now)),
        "paths": paths.collect::<Vec<_>>(),
    })
}

/// The evidence of `explain`.
pub fn evidence(
    config: &Config,
    snapshot: &Snapshot,
    answers: Option<bool>,
    now: Instant,
) -> Vec<String> {
    let Some(sight) = &snapshot.status.witness else { return Vec::new() };
    let mut lines = Vec::new();
    match sight.heard {
        None => lines.push("the witness was never heard".to_owned()),
        Some((asked, reply)) => {
            let age = span(now.since(asked));
            let says = ledger(config, &reply.ledger);
            lines.push(format!("the witness, asked {age} ago, says: {says}"));
            if let Verdict::Refused(refusal) = reply.verdict {
                lines.push(format!("the witness refused: {}", sentence(refusal)));
            }
        }
    }
    if let Some(ends) = sight.grant_ends {
        lines.push(format!("its grant lasts for another {}", span(ends.since(now))));
    }
    for path in &snapshot.witness {
        if let Some(error) = path.error {
            lines.push(format!("the witness at {} cannot be asked: {error}", path.address));
        }
        for (reason, count) in path.refusals() {
            lines.push(format!("from {}: {count} answer(s) refused: {reason}", path.address));
        }
    }
    if answers == Some(false) {
        lines.push(witness_silent(config.arbitration).to_owned());
    }
    lines
}

fn ledger(config: &Config, ledger: &Ledger) -> String {
    let name = |node: NodeId| &config.names[node.index()];
    let holder = match ledger.holder {
        None => "nobody was granted the role yet".to_owned(),
        Some(holder) if holder.released => {
            format!("{} gave the role back (term {})", name(holder.node), holder.term)
        }
        Some(holder) => {
            format!("{} was granted the role last (term {})", name(holder.node), holder.term)
        }
    };
    match ledger.excluded {
        None => holder,
        Some(node) => format!("{holder}; {} is excluded: it may lack rows", name(node)),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Introduced => "introduced",
        Verdict::Done => "done",
        Verdict::Refused(refusal) => match refusal {
            Refusal::LowerTerm => "refused: lower term",
            Refusal::HeldByPeer => "refused: held by the peer",
            Refusal::Excluded => "refused: excluded",
            Refusal::NotHolder => "refused: not the holder",
            Refusal::NoMemory => "refused: the witness lost its memory",
        },
    }
}

fn sentence(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::LowerTerm => "a higher term is on its record",
        Refusal::HeldByPeer => "the peer's grant may still be in force",
        Refusal::Excluded => "this node is excluded: it may lack rows",
        Refusal::NotHolder => "the role was granted to the peer since",
        Refusal::NoMemory => "it lost its memory, and waits until nothing of before is in force",
    }
}
