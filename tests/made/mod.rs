//! The heartbeat that tests start from: of a healthy standby that has heard nobody yet.

use std::time::Duration;

use duotone::protocol::health::Health;
use duotone::protocol::heartbeat::{GroupReport, Heartbeat, Promise, Stance};
use duotone::protocol::identity::{NodeId, Session, Term};

pub fn heartbeat(node: NodeId, session: Session, sequence: u64) -> Heartbeat {
    Heartbeat {
        node,
        session,
        sequence,
        echo: None,
        stance: Stance::Standby,
        promise: Promise::For(Duration::from_millis(250)),
        term: Term::ZERO,
        served: Term::ZERO,
        lone: Term::ZERO,
        certifying: false,
        certified: false,
        excludes_you: false,
        log: None,
        system_id: None,
        groups: vec![GroupReport {
            serving: false,
            health: Health::GOOD,
            finds_peer_failed: false,
        }],
        software: [0, 1, 0],
        config_hash: 7,
        maintenance: false,
    }
}
