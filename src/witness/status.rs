//! `witness status`: what the witness has of every pair, as JSON. The fields are stable.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::service::{Heard, Pair, Service};
use crate::protocol::identity::NodeId;
use crate::protocol::time::Instant;
use crate::wire::Refusals;

/// The whole answer.
pub fn data(service: &Service, listen: &[SocketAddr], now: Instant) -> Value {
    json!({
        "listen": listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "up_ms": ms(now, service.started),
        "state_dir": service.directory().display().to_string(),
        "pairs": service.pairs().into_iter().map(|pair| self::pair(pair, now)).collect::<Vec<_>>(),
        "strangers": {
            "refused": refused(&service.strangers),
            "limited": service.limited,
        },
    })
}

fn pair(pair: &Pair, now: Instant) -> Value {
    let ledger = pair.witness.ledger();
    let in_force = pair.witness.in_force(now);
    let counters = pair.counters;
    json!({
        "name": pair.name,
        "holder": ledger.holder.map(|holder| holder.node.to_string()),
        "term": ledger.holder.map(|holder| holder.term.to_string()),
        "released": ledger.holder.map(|holder| holder.released),
        "in_force_ms": (!in_force.is_zero()).then_some(in_force.as_millis() as u64),
        "excluded": ledger.excluded.map(|node| node.to_string()),
        "changed_ms": pair.changed.map(|changed| ms(now, changed)),
        "nodes": NodeId::ALL.map(|node| self::node(node, &pair.nodes[node.index()], now)),
        "unwritable": pair.unwritable,
        "refused": refused(&pair.refused),
        "counters": {
            "requests": counters.requests,
            "replies": counters.replies,
            "stale": counters.stale,
            "granted": counters.granted,
            "refused": counters.refused,
            "unwritten": counters.unwritten,
            "written": counters.written,
        },
    })
}

fn node(node: NodeId, heard: &Heard, now: Instant) -> Value {
    json!({
        "node": node.to_string(),
        "last_heard_ms": heard.last.map(|(at, _)| ms(now, at)),
        "from": heard.last.map(|(_, from)| SocketAddr::new(from.ip().to_canonical(), from.port()).to_string()),
    })
}

fn refused(refusals: &Refusals) -> Map<String, Value> {
    refusals.iter().map(|(reason, count)| (reason.to_string(), count.into())).collect()
}

fn ms(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
