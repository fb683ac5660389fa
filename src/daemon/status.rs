//! `status`: how this node and its pair stand, as JSON. The fields are stable; see the README.

use serde_json::{Value, json};

use super::journal::Journal;
use super::maintenance::Running;
use super::offers;
use super::watchdog::Feeding;
use super::witness;
use super::{arbiters, checks, fence, gateways};
use crate::adapters::clock;
use crate::adapters::postgres::Finding;
use crate::adapters::services::ServiceStatus;
use crate::config::Config;
use crate::protocol::event::{DatabaseState, Presence};
use crate::protocol::health::Grade;
use crate::protocol::heartbeat::{Heartbeat, Stance};
use crate::protocol::lead::{Authority, Why};
use crate::protocol::node::Durability;
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;
use crate::pulse::exchange::{Direction, LinkStatus};
use crate::pulse::report::Snapshot;

/// The whole answer; before the pulse's first turn there is little to say.
pub fn data(
    config: &Config,
    journal: &Journal,
    maintenance: Option<&Running>,
    services: &[ServiceStatus],
) -> Value {
    let now = clock::now();
    let head = json!({
        "pair": config.pair,
        "node": config.name(),
        "peer": config.peer_name(),
        "durability": durability(config.durability),
    });
    let Some(snapshot) = &journal.latest else { return head };
    let status = &snapshot.status;
    let answers = journal.witness_answers(now);
    let missing = arbiters::missing(config, journal, now);
    let (hooks, alerts) = journal.telling.data();
    let body = json!({
        "role": role(status.authority),
        "stance": stance(status.stance),
        "doing": if maintenance.is_some() { "in maintenance" } else { doing(status) },
        "why": status.why.to_string(),
        "advice": advice(status).or(missing.map(|(_, advice)| advice)),
        "offers": offers::data(config, status, maintenance),
        "maintenance": maintenance.map(|running| running.data(now)),
        "since_ms": ms(now, status.since),
        "term": status.claim.unwrap_or(status.durable.term).to_string(),
        "served_term": status.durable.served.to_string(),
        "serving": status.presence.iter().all(|presence| *presence == Presence::Held),
        "alone": status.lone,
        "peer_excluded": status.durable.peer_excluded,
        "peer_seen": peer(config, status, now),
        "links": snapshot.links.iter().map(|link| self::link(link, now)).collect::<Vec<_>>(),
        "witness": witness::data(config, snapshot, answers, now),
        "fence": fence::data(status.fence, journal.fence.as_ref(), now),
        "arbiter_missing": missing.map(|(what, _)| what),
        "lease_ms": status.lease_ends.map(|ends| ms(ends, now)),
        "certificate": {
            "held": status.certificate_ends.is_some(),
            "remaining_ms": status.certificate_ends.map(|ends| ms(ends, now)),
            "certifying": status.certifying,
        },
        "database": config.postgres.is_some().then(|| database(status, journal)),
        "services": services,
        "remote_checks": checks::data(config, journal, now),
        "gateways": gateways::data(journal, now),
        "hooks": hooks,
        "alerts": alerts,
        "addresses": {
            "state": presence(status.presence.first().copied().unwrap_or(Presence::Unknown)),
            "list": config.floating.addresses.iter()
                .map(|(address, prefix)| format!("{address}/{prefix}")).collect::<Vec<_>>(),
        },
        "pulse": pulse(snapshot),
        "watchdog": journal.watchdog.as_ref().map(|feeding| match feeding {
            Feeding::Fed => "fed",
            Feeding::Starved => "starved",
            Feeding::Trouble(trouble) => trouble,
        }),
        "timeline": journal.timeline.marks().iter()
            .map(|mark| json!({"at_ns": mark.at.as_nanos(), "what": mark.what, "text": mark.text}))
            .collect::<Vec<_>>(),
    });
    merged(head, body)
}

/// What an operator calls the node's state: derived here, stored nowhere.
pub fn doing(status: &Status) -> &'static str {
    let services = status.services.iter().flatten().map(|seen| seen.critical).min();
    match status.authority {
        Authority::Active if services == Some(Grade::Failed) => "running in failed mode",
        Authority::Active if status.database.state == DatabaseState::Stopped => {
            "running in failed mode"
        }
        Authority::Active if status.lone => "serving alone",
        Authority::Active if status.certifying => "normal",
        Authority::Active => "serving, the standby is catching up",
        Authority::Taking => "taking over",
        Authority::Asking => "asking whether to take over",
        Authority::Standby if status.certificate_ends.is_some() => "standing by",
        Authority::Standby => "standing by, not certified",
        Authority::Joining if other_system(status).is_some() => "two clusters, not a pair",
        Authority::Joining => "initializing",
        Authority::Giving => "handing over",
        Authority::Held => "held",
    }
}

/// The two servers are no copies of one cluster.
pub fn other_system(status: &Status) -> Option<Finding> {
    let (local, peer) = (status.database.system_id?, status.peer_says.as_ref()?.system_id?);
    Finding::systems(local, peer)
}

/// What an administrator should do, if anything.
pub fn advice(status: &Status) -> Option<&'static str> {
    match (status.authority, status.why) {
        (Authority::Held, Why::MayLackRows) => Some(
            "bring the peer back; or, if it is off for good and its last rows may be lost: \
             duotone failover --force --reason TEXT",
        ),
        (Authority::Held, Why::DamagedState) => Some("if the peer has all data: duotone recover"),
        (Authority::Held, Why::HasLeft) => Some(
            "start the peer; or, if it is off for good: duotone failover --force --reason TEXT",
        ),
        (Authority::Asking, Why::AwaitingConsent) if status.deaf => {
            Some("look at the LAN cable of this host: probes cannot leave")
        }
        (Authority::Asking, Why::AwaitingConsent) if !status.on_the_lan => {
            Some("look at the LAN of this host: no reference answers")
        }
        (Authority::Asking, Why::AddressAnswered) => {
            Some("find out which host answers for the floating address")
        }
        (Authority::Active | Authority::Standby | Authority::Joining, _)
            if status.peer != Liveness::Lost && other_system(status).is_some() =>
        {
            Some(
                "the two databases are not copies of one cluster: stop duotone on the node that \
                 has the wrong one, and make its copy anew with pg_basebackup from the other",
            )
        }
        (Authority::Standby, _) if status.database.diverged => Some(
            "wait: its log has left the peer's and is brought back; rows that only it has are kept \
                 (duotone salvage list)",
        ),
        (Authority::Active, _) if status.peer_left && status.peer == Liveness::Lost => {
            Some("the peer was stopped in order: start it again")
        }
        (Authority::Active, _) if status.lone && status.peer == Liveness::Lost => {
            Some("find out why the peer is silent")
        }
        (
            Authority::Active
            | Authority::Taking
            | Authority::Asking
            | Authority::Giving
            | Authority::Standby
            | Authority::Joining
            | Authority::Held,
            _,
        ) => None,
    }
}

fn peer(config: &Config, status: &Status, now: Instant) -> Value {
    let says = status.peer_says.as_ref();
    json!({
        "liveness": liveness(status.peer),
        "two_way": status.two_way,
        "role": says.map(|says| role_of(says.stance)),
        "last_heard_ms": status.last_heard.map(|heard| ms(now, heard)),
        "software": says.map(software),
        "same_configuration": says.map(|says| says.config_hash == config.hash),
        "same_database": says.map(|_| other_system(status).is_none()),
        "term": says.map(|says| says.term.to_string()),
        "certified": says.map(|says| says.certified),
        "left": status.peer_left,
        "maintenance": says.map(|says| says.maintenance),
    })
}

fn link(status: &LinkStatus, now: Instant) -> Value {
    let (kind, interface) = match &status.link {
        crate::config::Link::Udp { interface, .. } => ("udp", interface),
        crate::config::Link::Ethernet { interface } => ("ethernet", interface),
    };
    let refused: serde_json::Map<String, Value> = status
        .hearing
        .refused
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.to_string(), count.into()))
        .collect();
    json!({
        "name": format!("{interface}/{kind}"),
        "kind": kind,
        "interface": interface,
        "open": status.sending.open,
        "error": status.sending.error.map(|error| error.to_string()),
        "received": status.hearing.received,
        "refused": refused,
        "last_heard_ms": status.hearing.last_heard.map(|heard| ms(now, heard)),
        "two_way": status.direction == Direction::Both,
        "direction": match status.direction {
            Direction::Both => "both",
            Direction::OnlyFromPeer => "only-from-peer",
            Direction::OnlyToPeer => "only-to-peer",
            Direction::Silent => "silent",
        },
    })
}

fn database(status: &Status, journal: &Journal) -> Value {
    let seen = &status.database;
    let progress = journal.progress.as_ref().and_then(|progress| *progress.borrow());
    json!({
        "state": match seen.state {
            DatabaseState::Unknown => "unknown",
            DatabaseState::Stopped => "stopped",
            DatabaseState::Starting => "starting",
            DatabaseState::Standby => "standby",
            DatabaseState::Writable => "writable",
        },
        "synchronous": seen.synchronous,
        "timeline": seen.log.as_ref().map(|log| log.timeline),
        "position": seen.log.as_ref().map(|log| lsn(log.position)),
        "streaming": seen.streaming,
        "diverged": seen.diverged,
        "replica": seen.replica.map(|replica| json!({
            "flush": lsn(replica.flush),
            "synchronous": replica.synchronous,
        })),
        "system_id": seen.system_id.map(|id| id.to_string()),
        // A long deed, while there is one: a rejoin, in the words of its present step.
        "rejoin": progress.map(|progress| progress.to_string()),
        "trouble": journal.database_trouble,
    })
}

fn pulse(snapshot: &Snapshot) -> Value {
    let word = |result: Result<(), nix::errno::Errno>| match result {
        Ok(()) => "yes".to_owned(),
        Err(error) => format!("no: {error}"),
    };
    json!({
        "realtime": word(snapshot.realtime.scheduling),
        "memory_locked": word(snapshot.realtime.memory),
        "worst_lateness_ms": snapshot.lateness.worst.as_secs_f64() * 1000.0,
        "turns": snapshot.lateness.turns,
        "lost_records": snapshot.lost.records,
        "lost_actions": snapshot.lost.actions,
    })
}

/// DESIGN's four roles; asking and taking are what a standby does.
pub fn role(authority: Authority) -> &'static str {
    match authority {
        Authority::Active | Authority::Giving => "active",
        Authority::Standby | Authority::Asking | Authority::Taking => "standby",
        Authority::Joining => "joining",
        Authority::Held => "held",
    }
}

pub fn role_of(stance: Stance) -> &'static str {
    match stance {
        Stance::Active | Stance::Handing => "active",
        Stance::Standby | Stance::Asking | Stance::Taking | Stance::Promoted => "standby",
        Stance::Joining => "joining",
        Stance::Held => "held",
    }
}

fn stance(stance: Stance) -> &'static str {
    match stance {
        Stance::Joining => "joining",
        Stance::Standby => "standby",
        Stance::Held => "held",
        Stance::Asking => "asking",
        Stance::Taking => "taking",
        Stance::Promoted => "promoted",
        Stance::Active => "active",
        Stance::Handing => "handing",
    }
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Strict => "strict",
        Durability::Available => "available",
        Durability::Async => "async",
    }
}

fn liveness(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Late => "late",
        Liveness::Lost => "lost",
    }
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Unknown => "unknown",
        Presence::Absent => "absent",
        Presence::Partial => "partial",
        Presence::Held => "held",
    }
}

fn software(says: &Heartbeat) -> String {
    let [major, minor, patch] = says.software;
    format!("{major}.{minor}.{patch}")
}

/// As PostgreSQL writes a log position.
fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

pub fn ms(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

fn merged(head: Value, body: Value) -> Value {
    match (head, body) {
        (Value::Object(mut head), Value::Object(body)) => {
            head.extend(body);
            Value::Object(head)
        }
        (head, _) => head,
    }
}
