//! What the daemons' work meets: disk, database, address, services.

use duotone::protocol::identity::NodeId;

use crate::clock::{MILLI, SECOND};
use crate::command::{Cable, Command};
use crate::schedule::Making;

/// What happens to a deed, or to what it had achieved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WorkTrouble {
    ReplicationHangs,
    DiskSlow,
    DiskFails,
    SlowWorld,
    PromotionSlow,
    PromotionFails,
    CopySlow,
    AddressDeleted,
    OneAddressDeleted,
    AddressFails,
    DatabaseDies,
    DatabaseHangs,
    ServicesFail,
    ServicesFailOnBoth,
    ServicesCrashLoop,
    ServicesMute,
    HealsWhilePromoting,
    DiesWhilePromoting,
    DatabaseDiesAgain,
    StartFails,
    HealsWhileClaiming,
}

impl WorkTrouble {
    pub const ALL: [WorkTrouble; 21] = [
        WorkTrouble::ReplicationHangs,
        WorkTrouble::DiskSlow,
        WorkTrouble::DiskFails,
        WorkTrouble::SlowWorld,
        WorkTrouble::PromotionSlow,
        WorkTrouble::PromotionFails,
        WorkTrouble::CopySlow,
        WorkTrouble::AddressDeleted,
        WorkTrouble::OneAddressDeleted,
        WorkTrouble::AddressFails,
        WorkTrouble::DatabaseDies,
        WorkTrouble::DatabaseHangs,
        WorkTrouble::ServicesFail,
        WorkTrouble::ServicesFailOnBoth,
        WorkTrouble::ServicesCrashLoop,
        WorkTrouble::ServicesMute,
        WorkTrouble::HealsWhilePromoting,
        WorkTrouble::DiesWhilePromoting,
        WorkTrouble::DatabaseDiesAgain,
        WorkTrouble::StartFails,
        WorkTrouble::HealsWhileClaiming,
    ];
}

impl Making<'_> {
    pub fn of_work(&mut self, trouble: WorkTrouble) {
        let (host, at, known) = (self.host, self.at, self.known());
        match trouble {
            WorkTrouble::ReplicationHangs => {
                self.between(Command::Replication(false), Command::Replication(true));
            }
            WorkTrouble::DiskSlow => {
                let takes = self.dice.span(20, 700) * MILLI;
                self.between(Command::DiskTakes(host, takes), Command::DiskTakes(host, 2 * MILLI));
            }
            WorkTrouble::DiskFails => {
                self.between(Command::DiskFails(host, true), Command::DiskFails(host, false));
            }
            WorkTrouble::SlowWorld => self.push(at, Command::SlowWorld(host, known)),
            WorkTrouble::PromotionSlow => {
                let takes = self.dice.span(300, 3_000) * MILLI;
                self.push(at, Command::PromotionTakes(host, takes));
            }
            WorkTrouble::PromotionFails => {
                let (fails, works) = (true, false);
                self.between(
                    Command::PromotionFails(host, fails),
                    Command::PromotionFails(host, works),
                );
            }
            WorkTrouble::CopySlow => {
                let takes = self.dice.span(2_000, 6_000) * MILLI;
                self.push(at, Command::CopyTakes(host, takes));
            }
            WorkTrouble::AddressDeleted => self.push(at, Command::DeleteAddress(host)),
            WorkTrouble::OneAddressDeleted => self.push(at, Command::DeleteOneAddress(host)),
            WorkTrouble::AddressFails => {
                self.between(Command::AddressFails(host, true), Command::AddressFails(host, false));
            }
            WorkTrouble::DatabaseDies => self.push(at, Command::KillDatabase(host)),
            WorkTrouble::DatabaseDiesAgain => {
                let mut at = at;
                for _ in 0..self.dice.span(2, 5) {
                    self.push(at, Command::KillDatabase(host));
                    at += self.dice.span(20, 2_500) * MILLI;
                }
            }
            WorkTrouble::StartFails => {
                self.between(Command::StartFails(host, true), Command::StartFails(host, false));
                self.push(at, Command::KillDatabase(host));
            }
            WorkTrouble::DatabaseHangs => {
                let (hangs, goes_on) = (true, false);
                self.between(
                    Command::DatabaseHangs(host, hangs),
                    Command::DatabaseHangs(host, goes_on),
                );
            }
            WorkTrouble::ServicesFail => self.services_fail(host),
            WorkTrouble::ServicesFailOnBoth => {
                self.services_fail(host);
                self.at += self.dice.span(0, SECOND);
                self.services_fail(host.peer());
            }
            WorkTrouble::ServicesCrashLoop => self.services_crash(),
            WorkTrouble::ServicesMute => {
                let (mute, heard) = (true, false);
                self.between(Command::ServicesMute(host, mute), Command::ServicesMute(host, heard));
            }
            WorkTrouble::HealsWhilePromoting => self.heals_while_promoting(),
            WorkTrouble::HealsWhileClaiming => self.heals_while_claiming(),
            WorkTrouble::DiesWhilePromoting => self.dies_while_promoting(),
        }
    }

    fn services_fail(&mut self, host: NodeId) {
        self.between(Command::ServicesFail(host, true), Command::ServicesFail(host, false));
    }

    /// Down for a moment again and again, each time shorter than `critical_down`.
    fn services_crash(&mut self) {
        let host = self.host;
        let mut at = self.at;
        for _ in 0..self.dice.span(2, 6) {
            self.push(at, Command::ServicesFail(host, true));
            at += self.dice.span(20, 1_500) * MILLI;
            self.push(at, Command::ServicesFail(host, false));
            at += self.dice.span(20, 1_500) * MILLI;
        }
    }

    fn heals_while_promoting(&mut self) {
        let (host, at) = (self.host, self.at);
        for cable in [Cable::Eth1, Cable::Eth0Path, Cable::Lan] {
            self.push(at, Command::Cut(cable, Some(host)));
        }
        let takes = self.dice.span(50, 1_000) * MILLI;
        self.push(at, Command::PromotionTakes(host.peer(), takes));
        for cable in [Cable::Lan, Cable::Eth1, Cable::Eth0Path] {
            let mend = Box::new(Command::Mend(cable, Some(host)));
            let after = self.dice.span(0, 600) * MILLI;
            self.push(at, Command::WhenPromoting(host.peer(), after, mend));
        }
    }

    /// An active node that was cut off is heard again before its taker has written its term.
    fn heals_while_claiming(&mut self) {
        let (host, at) = (self.host, self.at);
        let cables = [Cable::Lan, Cable::Eth1, Cable::Eth0Path];
        for cable in cables {
            self.push(at, Command::Cut(cable, Some(host)));
        }
        let takes = self.dice.span(50, 400) * MILLI;
        self.push(at, Command::DiskTakes(host.peer(), takes));
        for cable in cables {
            let mend = Box::new(Command::Mend(cable, Some(host)));
            let after = self.dice.span(0, 200) * MILLI;
            self.push(at, Command::WhenClaiming(host.peer(), after, mend));
        }
    }

    fn dies_while_promoting(&mut self) {
        let (host, at) = (self.host, self.at);
        self.push(at, Command::PowerOff(host));
        let whose = self.dice.pick(&NodeId::ALL);
        let then = match self.dice.below(4) {
            0 => Command::PowerOn(host),
            1 => Command::PowerOff(host.peer()),
            2 => Command::KillDaemon(host.peer(), false),
            _ => Command::Cut(Cable::Lan, Some(whose)),
        };
        let after = self.dice.span(0, 150) * MILLI;
        self.push(at, Command::WhenPromoting(host.peer(), after, Box::new(then)));
    }
}
