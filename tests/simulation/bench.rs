//! The fake machine driven alone, without a node that decides: it is held to the same expectations
//! as the real kernel and the real server.

use std::time::Duration;

use duotone::protocol::action::{Action, DatabaseDeed};
use duotone::protocol::event::{DatabaseSeen, Event, Ticket};
use duotone::protocol::identity::{GroupId, NodeId};

use crate::addresses::{self, Deed, Lifetime, Machine};
use crate::branches::Place;
use crate::clock::{MILLI, Nanos, SECOND};
use crate::command::Command;
use crate::databases::{self, Servers};
use crate::dice::Dice;
use crate::host::Life;
use crate::settings::{Settings, nanos, voice};
use crate::trace::Trace;
use crate::world::World;

/// An action that has not ended by then never will.
const PATIENCE: Nanos = 60 * SECOND;

struct Bench {
    world: World,
    tickets: u64,
    /// Where each row of the tests ended up.
    rows: Vec<(u64, Place)>,
}

impl Bench {
    /// Two hosts whose daemons do as they are told and decide nothing.
    fn new(seed: u64) -> Bench {
        let mut world = World::dark(Settings::plain(), Dice::new(seed), Trace::silent());
        world.checker.judges = false;
        for it in &mut world.hosts {
            it.powered = true;
            it.daemon.state = Life::Running;
        }
        Bench { world, tickets: 0, rows: Vec::new() }
    }

    fn begin(&mut self, host: NodeId, action: Action) {
        let now = self.world.hosts[host.index()].clock.instant(self.world.now);
        self.world.hosts[host.index()].daemon.inbox.clear();
        self.world.perform(host, now, action);
    }

    fn run(&mut self, time: Duration) {
        self.world.run_until(self.world.now + nanos(time));
    }

    fn told(&mut self, host: NodeId) -> Vec<Event> {
        self.world.hosts[host.index()].daemon.inbox.drain(..).collect()
    }

    /// Does it and gives everything that was reported until it ended.
    fn until_ended(
        &mut self,
        host: NodeId,
        action: Action,
        ends: impl Fn(&Event) -> bool,
    ) -> Option<Vec<Event>> {
        self.begin(host, action);
        let by = self.world.now + PATIENCE;
        while self.world.now < by {
            self.world.run_until(self.world.now + MILLI);
            if self.world.hosts[host.index()].daemon.inbox.iter().any(&ends) {
                return Some(self.told(host));
            }
        }
        None
    }
}

impl Machine for Bench {
    fn perform(&mut self, deed: Deed) -> Vec<Event> {
        let group = GroupId::MAIN;
        let by_hand = match deed {
            Deed::Hold | Deed::Release => {
                let action = match deed {
                    Deed::Hold => Action::HoldAddresses { group },
                    _ => Action::ReleaseAddresses { group },
                };
                let ends = |event: &Event| matches!(event, Event::AddressesSeen { .. });
                return self.until_ended(NodeId::A, action, ends).expect("it ends");
            }
            Deed::DeleteOneByHand => Command::DeleteOneAddress(NodeId::A),
            Deed::DeleteAllByHand => Command::DeleteAddress(NodeId::A),
        };
        self.world.apply(&by_hand);
        self.told(NodeId::A)
    }

    fn pass(&mut self, time: Duration) -> Vec<Event> {
        self.run(time);
        self.told(NodeId::A)
    }
}

impl Servers for Bench {
    fn perform(&mut self, at: NodeId, deed: DatabaseDeed) -> DatabaseSeen {
        self.attempt(at, deed, Duration::from_secs(60)).expect("it ends")
    }

    fn attempt(
        &mut self,
        at: NodeId,
        deed: DatabaseDeed,
        within: Duration,
    ) -> Option<DatabaseSeen> {
        self.tickets += 1;
        let wanted = Ticket(self.tickets);
        self.begin(at, Action::Database { ticket: wanted, deed });
        let by = self.world.now + nanos(within);
        while self.world.now < by {
            self.world.run_until(self.world.now + MILLI);
            for event in self.told(at) {
                if let Event::DatabaseSeen { ticket: Some(ticket), seen } = event
                    && ticket == wanted
                {
                    return Some(seen);
                }
            }
        }
        None
    }

    fn look(&mut self, at: NodeId) -> DatabaseSeen {
        self.world.database_seen(at)
    }

    fn commit(&mut self, at: NodeId, row: u64) {
        let before = self.world.hosts[at.index()].database.log;
        self.world.commit(at, true);
        let after = self.world.hosts[at.index()].database.log;
        if after != before {
            self.rows.push((row, after));
        }
    }

    fn acknowledged(&mut self, row: u64) -> bool {
        self.rows.iter().any(|&(known, place)| {
            known == row && self.world.branches.0[place.branch].acknowledged >= place.position
        })
    }

    fn rows(&mut self, at: NodeId) -> Vec<u64> {
        let log = self.world.hosts[at.index()].database.log;
        let there = |place: Place| self.world.branches.contains(log, place);
        self.rows.iter().filter(|(_, place)| there(*place)).map(|(row, _)| *row).collect()
    }

    fn standby_hangs(&mut self, hangs: bool) {
        self.world.apply(&Command::Replication(!hangs));
    }

    fn kill(&mut self, at: NodeId) {
        self.world.database_crashes(at);
    }

    fn pass(&mut self, time: Duration) {
        self.run(time);
    }
}

#[test]
fn the_fake_kernel_meets_the_expectations() {
    let timing = voice();
    let (configured, worst) = (timing.address_lifetime, timing.lifetime_worst());
    for (sentence, check) in addresses::ADDRESSES {
        for seed in 0..20 {
            println!("expects: {sentence}");
            check(&mut Bench::new(seed), Lifetime { configured, worst });
        }
    }
}

#[test]
fn the_fake_server_meets_the_expectations() {
    for list in [databases::DEEDS, databases::UNASKED, databases::CLEAN_STOP, databases::REJOIN] {
        for (sentence, check) in list {
            for seed in 0..20 {
                println!("expects: {sentence}");
                let mut bench = Bench::new(seed);
                Servers::perform(&mut bench, NodeId::A, DatabaseDeed::StartAsStandby);
                Servers::perform(&mut bench, NodeId::A, DatabaseDeed::Promote);
                databases::settle(&mut bench);
                check(&mut bench);
            }
        }
    }
}
