//! One thing that breaks for good, and within which time there is service again.

use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::identity::NodeId;

use std::time::Duration;

use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::{Cable, Command};
use crate::schedule::Schedule;
use crate::settings::{Settings, nanos};

#[derive(Clone, Copy, Debug)]
pub enum Lasting {
    ActiveDies,
    ActiveFreezes,
    ActiveDaemonDies,
    ActiveDaemonHangs,
    ActiveIsolated,
    StandbyDies,
    StandbyDaemonDies,
    StandbyOffLan,
    PathsCut,
    PathCutFromActive,
    PathCutFromStandby,
    ReplicationHangs,
    StandbyDiesThenGatewayBlinks,
    ActiveLanCut,
    ActiveServicesFail,
    BothServicesFail,
    ActiveDatabaseDies,
    ActiveDatabaseHangs,
    ActiveDatabaseDoesNotStart,
    WitnessDies,
    StandbyDiesThenWitnessBlinks,
    FencesDie,
    StandbyDiesBesideSlowFence,
}

impl Lasting {
    pub const ALL: [Lasting; 19] = [
        Lasting::ActiveDies,
        Lasting::ActiveFreezes,
        Lasting::ActiveDaemonDies,
        Lasting::ActiveDaemonHangs,
        Lasting::ActiveIsolated,
        Lasting::StandbyDies,
        Lasting::StandbyDaemonDies,
        Lasting::StandbyOffLan,
        Lasting::PathsCut,
        Lasting::PathCutFromActive,
        Lasting::PathCutFromStandby,
        Lasting::ReplicationHangs,
        Lasting::StandbyDiesThenGatewayBlinks,
        Lasting::ActiveLanCut,
        Lasting::ActiveServicesFail,
        Lasting::BothServicesFail,
        Lasting::ActiveDatabaseDies,
        Lasting::ActiveDatabaseHangs,
        Lasting::ActiveDatabaseDoesNotStart,
    ];

    /// With a witness, or a fence, there is more to break.
    pub fn all(arbitration: Arbitration) -> Vec<Lasting> {
        let mut all = Lasting::ALL.to_vec();
        if arbitration.witness {
            all.extend([Lasting::WitnessDies, Lasting::StandbyDiesThenWitnessBlinks]);
        }
        if arbitration == Arbitration::FENCE {
            all.extend([Lasting::FencesDie, Lasting::StandbyDiesBesideSlowFence]);
        }
        all
    }

    pub fn commands(self, active: NodeId) -> Schedule {
        let standby = active.peer();
        let paths = |side: Option<NodeId>| {
            let cut = |cable| (0, Command::Cut(cable, side));
            vec![cut(Cable::Eth1), cut(Cable::Eth0Path)]
        };
        match self {
            Lasting::ActiveDies => vec![(0, Command::PowerOff(active))],
            Lasting::ActiveFreezes => vec![(0, Command::Freeze(active, 60 * SECOND, false))],
            Lasting::ActiveDaemonDies => vec![(0, Command::KillDaemon(active, false))],
            Lasting::ActiveDaemonHangs => vec![(0, Command::HangDaemon(active))],
            Lasting::ActiveIsolated => {
                let mut all = paths(None);
                all.push((0, Command::Cut(Cable::Lan, Some(active))));
                all.push((0, Command::Cut(Cable::Witness, Some(active))));
                all
            }
            Lasting::StandbyDies => vec![(0, Command::PowerOff(standby))],
            Lasting::StandbyDaemonDies => vec![(0, Command::KillDaemon(standby, false))],
            Lasting::StandbyOffLan => vec![(0, Command::Cut(Cable::Lan, Some(standby)))],
            Lasting::PathsCut => paths(None),
            Lasting::PathCutFromActive => paths(Some(active)),
            Lasting::PathCutFromStandby => paths(Some(standby)),
            Lasting::ReplicationHangs => vec![(0, Command::Replication(false))],
            Lasting::StandbyDiesThenGatewayBlinks => vec![
                (0, Command::PowerOff(standby)),
                (7 * SECOND, Command::Cut(Cable::Gateway, None)),
                (7 * SECOND + 200 * MILLI, Command::Mend(Cable::Gateway, None)),
            ],
            Lasting::WitnessDies => vec![(0, Command::Witness(false))],
            Lasting::StandbyDiesThenWitnessBlinks => vec![
                (0, Command::PowerOff(standby)),
                (7 * SECOND, Command::Witness(false)),
                (7 * SECOND + 300 * MILLI, Command::Witness(true)),
            ],
            Lasting::FencesDie => vec![(0, Command::Cut(Cable::Fence, None))],
            Lasting::StandbyDiesBesideSlowFence => vec![
                (0, Command::FenceTakes(standby, 600 * MILLI)),
                (0, Command::PowerOff(standby)),
            ],
            Lasting::ActiveLanCut => vec![(0, Command::Cut(Cable::Lan, Some(active)))],
            Lasting::ActiveServicesFail => vec![(0, Command::ServicesFail(active, true))],
            Lasting::BothServicesFail => vec![
                (0, Command::ServicesFail(standby, true)),
                (0, Command::ServicesFail(active, true)),
            ],
            Lasting::ActiveDatabaseDies => vec![(0, Command::KillDatabase(active))],
            Lasting::ActiveDatabaseHangs => vec![(0, Command::DatabaseHangs(active, true))],
            Lasting::ActiveDatabaseDoesNotStart => {
                vec![(0, Command::StartFails(active, true)), (0, Command::KillDatabase(active))]
            }
        }
    }

    /// Clients are served again within this.
    pub fn bound(self, settings: &Settings) -> Nanos {
        let timing = &settings.timing;
        let grant = if settings.arbitration.witness { timing.grant * 2 } else { Duration::ZERO };
        let fence = if settings.arbitration == Arbitration::FENCE {
            timing.fence_delay + timing.fence
        } else {
            Duration::ZERO
        };
        let takeover =
            grant + fence + timing.lost_after + timing.first_attempt + timing.long_window * 2;
        let work = settings.promotion.1 + 300 * MILLI;
        let hands = nanos(timing.replication_stall) + work + SECOND;
        match self {
            Lasting::ActiveDies | Lasting::ActiveFreezes | Lasting::ActiveIsolated => {
                nanos(takeover) + work
            }
            Lasting::ActiveDaemonDies | Lasting::ActiveDaemonHangs => {
                nanos(takeover + timing.lifetime_worst()) + work
            }
            Lasting::StandbyDies
            | Lasting::StandbyDaemonDies
            | Lasting::StandbyOffLan
            | Lasting::StandbyDiesBesideSlowFence
            | Lasting::PathsCut
            | Lasting::PathCutFromActive
            | Lasting::PathCutFromStandby => nanos(timing.certificate) * 102 / 100 + 500 * MILLI,
            Lasting::ReplicationHangs => {
                nanos(timing.certificate + timing.replication_stall) * 102 / 100 + 500 * MILLI
            }
            // Found out by calm questions, or after the patience that a failure is given; then a
            // handover.
            Lasting::ActiveLanCut => {
                nanos(timing.calm_period() * 4 + timing.lost_after * 2) + hands
            }
            Lasting::ActiveServicesFail
            | Lasting::BothServicesFail
            | Lasting::ActiveDatabaseDies
            | Lasting::ActiveDatabaseHangs
            | Lasting::ActiveDatabaseDoesNotStart => {
                nanos(timing.critical_down * 2 + timing.lost_after * 2) + hands
            }
            Lasting::WitnessDies | Lasting::FencesDie => 500 * MILLI,
            Lasting::StandbyDiesThenGatewayBlinks | Lasting::StandbyDiesThenWitnessBlinks => {
                7 * SECOND + nanos(timing.start_grace + takeover) + work + 400 * MILLI
            }
        }
    }
}
