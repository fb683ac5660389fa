//! `explain`: why this node is what it is, and what would happen if the peer died now.

use std::time::Duration;

use serde_json::{Value, json};

use super::journal::Journal;
use super::maintenance::Running;
use super::offers;
use super::status;
use super::witness;
use super::{arbiters, checks, fence, gateways};
use crate::adapters::clock;
use crate::config::Config;
use crate::protocol::event::{Answerer, DatabaseState};
use crate::protocol::health::Grade;
use crate::protocol::lead::Authority;
use crate::protocol::node::Durability;
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;
use crate::pulse::exchange::Direction;
use crate::pulse::report::Snapshot;

/// The whole answer.
pub fn data(config: &Config, journal: &Journal, maintenance: Option<&Running>) -> Value {
    let Some(snapshot) = &journal.latest else {
        return json!({"evidence": ["the pulse has not begun"], "if_peer_died": [], "blocking": []});
    };
    let now = clock::now();
    let mut blocking = blocking(config, &snapshot.status);
    if let Some((missing, _)) = arbiters::missing(config, journal, now)
        && snapshot.status.authority != Authority::Active
    {
        blocking.push(missing.to_owned());
    }
    json!({
        "node": config.name(),
        "peer": config.peer_name(),
        "role": status::role(snapshot.status.authority),
        "evidence": evidence(config, journal, snapshot, maintenance, now),
        "if_peer_died": if_peer_died(config, &snapshot.status, &blocking),
        "blocking": blocking,
        "offers": offers::data(config, &snapshot.status, maintenance),
    })
}

fn evidence(
    config: &Config,
    journal: &Journal,
    snapshot: &Snapshot,
    maintenance: Option<&Running>,
    now: Instant,
) -> Vec<String> {
    let status = &snapshot.status;
    let peer = config.peer_name();
    let mut lines = vec![format!(
        "this node is {} since {}: {}",
        status.authority,
        span(now.since(status.since)),
        status.why
    )];
    lines.extend(maintenance.map(|running| format!("this node is {running}")));
    lines.push(match (status.peer, status.last_heard, &status.peer_says) {
        (_, None, _) | (_, _, None) => format!("{peer} was never heard"),
        (Liveness::Lost, Some(heard), _) => {
            format!("{peer} is silent; last heard {} ago", span(now.since(heard)))
        }
        (Liveness::Alive | Liveness::Late, Some(heard), Some(says)) => format!(
            "{peer} was heard {} ago, {}, and is {}",
            span(now.since(heard)),
            if status.two_way { "and hears this node" } else { "but does not hear this node" },
            status::role_of(says.stance),
        ),
    });
    for link in &snapshot.links {
        let name = &link.link;
        lines.push(match link.direction {
            Direction::Both => format!("{name}: both directions work"),
            Direction::OnlyFromPeer => format!("{name}: {peer} does not hear this node"),
            Direction::OnlyToPeer => format!("{name}: this node does not hear {peer}"),
            Direction::Silent => format!("{name}: silent"),
        });
    }
    promises(status, now, peer, &mut lines);
    if status.authority == Authority::Active {
        lines.push(match status.hindrance {
            None => format!("the role could be handed to {peer} now"),
            Some(hindrance) => {
                format!("the role cannot be handed over: {}", offers::sentence(hindrance, peer))
            }
        });
    }
    lines.extend(goes_back(config, status));
    if status.peer_says.iter().flat_map(|says| &says.groups).any(|group| group.finds_peer_failed) {
        lines.push(format!("{peer} asks this node's services over the LAN, and finds them failed"));
    }
    lines.push(arbiters::combination(config));
    lan(status, &mut lines);
    lines.extend(witness::evidence(config, snapshot, journal.witness_answers(now), now));
    lines.extend(checks::evidence(config, journal, now));
    lines.extend(gateways::evidence(journal, now));
    lines.extend(fence::evidence(config, status.fence, journal.fence.as_ref(), now));
    lines
}

/// When the role goes back by itself.
fn goes_back(config: &Config, status: &Status) -> Option<String> {
    let peer = config.peer_name();
    let away =
        status.authority == Authority::Active && config.policy.preferred == Some(config.me.peer());
    let after = config.policy.failback_after.filter(|_| away)?;
    let hours = config.failback_hours.map(|hours| format!(", in the hours {hours}"));
    Some(format!(
        "the role goes back to {peer} by itself when {peer} has stood by in order for {}{}",
        crate::config::unit::time(after),
        hours.unwrap_or_default()
    ))
}

fn promises(status: &Status, now: Instant, peer: &str, lines: &mut Vec<String>) {
    if status.peer_left {
        lines.push(format!("{peer} has left and takes nothing until it says otherwise"));
    } else if let Some(ends) = status.lease_ends {
        lines.push(format!("{peer} promised to take nothing for {}", span(ends.since(now))));
    }
    if status.authority == Authority::Active {
        lines.push(if status.certifying {
            format!("{peer} is certified: commits wait for it")
        } else if status.lone {
            format!("commits do not wait: {peer} is excluded")
        } else {
            format!("{peer} is not certified yet; commits wait for it")
        });
    } else if let Some(ends) = status.certificate_ends {
        lines.push(format!(
            "certified as a synchronous, caught-up replica for another {}",
            span(ends.since(now))
        ));
    }
}

fn lan(status: &Status, lines: &mut Vec<String>) {
    if status.deaf {
        lines.push("probes cannot leave the LAN interface".into());
    } else if status.on_the_lan {
        lines.push("a reference on the LAN answers".into());
    } else {
        lines.push("the LAN is not being asked".into());
    }
    match status.answered {
        Some(Answerer::Peer) => lines.push("the peer answers for a floating address".into()),
        Some(Answerer::Foreign) => {
            lines.push("a FOREIGN host answers for a floating address".into());
        }
        Some(Answerer::Everyone) => lines.push(
            "the device that answers for a reference ANSWERS FOR EVERYONE, for a floating address \
             too: switch its proxy ARP off"
                .into(),
        ),
        None => {}
    }
}

/// What stands in the way of a takeover by this node.
fn blocking(config: &Config, status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    match status.authority {
        Authority::Active | Authority::Giving => return lines,
        Authority::Held => lines.push(format!("this node is held: {}", status.why)),
        Authority::Joining => lines.push(format!("this node is joining: {}", status.why)),
        Authority::Standby | Authority::Asking | Authority::Taking => {}
    }
    if !status.may_take {
        lines.push(
            "it may lack acknowledged rows (no certificate), and durability is strict".into(),
        );
    }
    if config.postgres.is_some() && status.database.state != DatabaseState::Standby {
        lines.push("its database is not in recovery".into());
    }
    if status.database.diverged {
        lines.push("its database cannot follow the peer any more".into());
    }
    if status.deaf {
        lines.push("its LAN interface cannot send".into());
    }
    if status.services.iter().flatten().any(|seen| seen.critical == Grade::Failed) {
        lines.push("a critical service fails here".into());
    }
    lines
}

fn if_peer_died(config: &Config, status: &Status, blocking: &[String]) -> Vec<String> {
    let timing = &config.timing;
    if status.authority == Authority::Active {
        return vec![
            match (status.witness, status.fence) {
                (None, None) => format!("{} would go on serving", config.name()),
                (None, Some(_)) => format!(
                    "{} would go on serving while its LAN works, and have {} powered off",
                    config.name(),
                    config.peer_name()
                ),
                (Some(_), _) => format!(
                    "{} would ask the witness, and go on serving with its grant",
                    config.name()
                ),
            },
            match config.durability {
                Durability::Async => "commits never wait".into(),
                Durability::Strict | Durability::Available if status.lone => {
                    "commits do not wait for it now".into()
                }
                Durability::Strict | Durability::Available => format!(
                    "commits would wait for at most {}, then be acknowledged by this node alone",
                    span(timing.lost_after + timing.certificate)
                ),
            },
        ];
    }
    if !blocking.is_empty() {
        return vec!["this node could not take over as things are".into()];
    }
    if config.arbitration.fence && !config.arbitration.witness {
        return vec![
            format!(
                "{} would have {} powered off {} after the last heartbeat, if the floating address \
                 stays unanswered, and take the role when it is seen off (at most {} later)",
                config.name(),
                config.peer_name(),
                span(timing.lost_after + timing.fence_delay),
                span(timing.fence),
            ),
            loss(config, status),
        ];
    }
    let window = timing.short_window.saturating_sub(timing.lost_after - timing.late_after);
    let whom = if status.witness.is_some() { "the witness and the LAN" } else { "the LAN" };
    let role = format!(
        "{} would ask {whom} after {}, and take the role {} after the last heartbeat if the \
         floating address stays unanswered and {}",
        config.name(),
        span(timing.late_after),
        span(timing.lost_after + window),
        match status.witness {
            None => "a reference answers".to_owned(),
            Some(_) => format!(
                "the witness grants it (at most {} later, when the peer's grant is in force)",
                span(timing.grant)
            ),
        },
    );
    vec![role, loss(config, status)]
}

/// What would be lost.
fn loss(config: &Config, status: &Status) -> String {
    if status.certificate_ends.is_some() {
        return "no acknowledged row would be lost".into();
    }
    match config.durability {
        Durability::Async => "rows that were not replicated would be lost".into(),
        Durability::Strict | Durability::Available => {
            "rows acknowledged without this node may be lost: it holds no certificate".into()
        }
    }
}

pub(super) fn span(span: Duration) -> String {
    match span.as_millis() {
        ms @ 0..=9_999 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1000),
    }
}
