//! Which orders are legal now: `status` offers these and no others, and the refusal of another one
//! names them.

use serde_json::{Value, json};

use super::maintenance::Running;
use crate::config::Config;
use crate::protocol::heartbeat::Stance;
use crate::protocol::lead::{Authority, Why};
use crate::protocol::moves::Hindrance;
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;

/// The command that takes the role without the peer's word.
pub const FORCE: &str = "duotone failover --force --reason \"why the peer is known to be off\"";

/// One legal order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// As it is typed.
    pub command: &'static str,
    /// What it does.
    pub does: String,
}

/// All of them.
pub fn offers(config: &Config, status: &Status, maintenance: Option<&Running>) -> Vec<Offer> {
    let peer = config.peer_name();
    let offer = |command, does: String| Offer { command, does };
    match (status.authority, status.why) {
        (Authority::Active, _) => {
            let mut offers = Vec::new();
            if status.hindrance.is_none() {
                offers.push(offer("duotone switchover", format!("hands the role to {peer}")));
                if config.policy.preferred == Some(config.me.peer()) {
                    let does = format!("hands the role back to the preferred node, {peer}");
                    offers.push(offer("duotone failback", does));
                }
            }
            offers
        }
        (Authority::Held, Why::DamagedState) => vec![offer(
            "duotone recover",
            "puts the damaged state file aside; this node begins anew, as one without data of its \
             own"
            .into(),
        )],
        (Authority::Held, _) if maintenance.is_some() => vec![offer(
            "duotone maintenance off",
            "ends the maintenance: this node comes back".into(),
        )],
        (Authority::Held, Why::HasLeft) if status.peer != Liveness::Lost => {
            vec![offer("duotone return", "comes back into the pair".into())]
        }
        (Authority::Held, _) if status.peer == Liveness::Lost => vec![offer(
            FORCE,
            format!("takes the role; rows that only {peer} has are lost unless it comes back"),
        )],
        (Authority::Joining, Why::ComparingLogs) if neither_is_whole(status) => vec![offer(
            FORCE,
            format!(
                "serves what this node has: neither its database nor that of {peer} was brought \
                 back to the end"
            ),
        )],
        (Authority::Standby, _) if peer_serves(status) => vec![offer(
            "duotone maintenance on --for 2h --reason TEXT",
            "leaves the pair for that time; the role stays where it is".into(),
        )],
        (
            Authority::Joining
            | Authority::Held
            | Authority::Standby
            | Authority::Asking
            | Authority::Taking
            | Authority::Giving,
            _,
        ) => Vec::new(),
    }
}

/// For `status`.
pub fn data(config: &Config, status: &Status, maintenance: Option<&Running>) -> Value {
    offers(config, status, maintenance)
        .iter()
        .map(|offer| json!({"command": offer.command, "does": offer.does}))
        .collect()
}

/// A copy or rewind was begun on both nodes and finished on neither: only a person can say whose
/// rows are to be served.
pub fn neither_is_whole(status: &Status) -> bool {
    let theirs = status.peer_says.as_ref().and_then(|peer| peer.log.as_ref());
    status.durable.copy_unfinished && theirs.is_some_and(|log| log.unfinished)
}

/// The peer is heard to have the role.
pub fn peer_serves(status: &Status) -> bool {
    let active = status.peer_says.as_ref().is_some_and(|peer| match peer.stance {
        Stance::Active | Stance::Handing => true,
        Stance::Joining
        | Stance::Standby
        | Stance::Held
        | Stance::Asking
        | Stance::Taking
        | Stance::Promoted => false,
    });
    active && status.peer != Liveness::Lost
}

/// What keeps the role here, and what to do about it.
pub fn sentence(hindrance: Hindrance, peer: &str) -> String {
    let then = match hindrance {
        Hindrance::NotActive => format!("ask {peer}"),
        Hindrance::PeerNotHeard => format!("see that {peer} runs and its links work"),
        Hindrance::PeerHasLeft => {
            format!("on {peer}: duotone maintenance off, or start its daemon")
        }
        Hindrance::PeerNotStandby => format!("see `duotone status` on {peer}"),
        Hindrance::NotCertified | Hindrance::StandbyLags => {
            "wait until `duotone status` calls the standby good".to_owned()
        }
        Hindrance::JustBrokenOff => "wait a few seconds, and see `duotone timeline`".to_owned(),
    };
    format!("{hindrance}; {then}")
}
