//! Real PostgreSQL servers, held to the expectations that the simulator's fake is held to.

#[allow(dead_code, reason = "the adapter's own tests use the rest")]
#[path = "postgres/cluster.rs"]
mod cluster;
#[path = "expectations/databases.rs"]
mod expectations;
#[path = "steady/mod.rs"]
mod steady;

use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{Lab, Server, runtime, signal};
use duotone::adapters::postgres::Database;
use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::DatabaseSeen;
use duotone::protocol::identity::NodeId;
use expectations::{Expectation, Servers};
use steady::on_a_steady_machine;
use tokio::runtime::Runtime;

/// A pair of servers with its adapters.
struct Pair {
    runtime: Runtime,
    adapters: [Database; 2],
    clients: Vec<(u64, Child)>,
    receiver: Option<i32>,
    servers: [Server; 2],
    _lab: Lab,
}

impl Pair {
    fn new(name: &str) -> Option<Pair> {
        let lab = Lab::new(name)?;
        let (a, b) = lab.pair("pbx-b");
        let adapters = [a.database(), b.database()];
        let servers = [a, b];
        let (clients, receiver) = (Vec::new(), None);
        Some(Pair { runtime: runtime(), adapters, clients, receiver, servers, _lab: lab })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (_, client) in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

impl Servers for Pair {
    fn perform(&mut self, at: NodeId, deed: DatabaseDeed) -> DatabaseSeen {
        let adapter = &mut self.adapters[at.index()];
        let seen = self.runtime.block_on(adapter.perform(deed));
        if let Some(trouble) = adapter.trouble() {
            println!("{at}: {deed:?}: {trouble}");
        }
        seen
    }

    fn attempt(
        &mut self,
        at: NodeId,
        deed: DatabaseDeed,
        within: Duration,
    ) -> Option<DatabaseSeen> {
        let adapter = &mut self.adapters[at.index()];
        let deed = async { tokio::time::timeout(within, adapter.perform(deed)).await };
        self.runtime.block_on(deed).ok()
    }

    fn look(&mut self, at: NodeId) -> DatabaseSeen {
        let adapter = &mut self.adapters[at.index()];
        self.runtime.block_on(adapter.look())
    }

    fn commit(&mut self, at: NodeId, row: u64) {
        let insert = format!("INSERT INTO calls VALUES ({row})");
        let client = self.servers[at.index()].sql_in_background(&insert);
        self.clients.push((row, client));
    }

    fn acknowledged(&mut self, row: u64) -> bool {
        let mut of_row = self.clients.iter_mut().filter(|(known, _)| *known == row);
        of_row.any(|(_, client)| matches!(client.try_wait(), Ok(Some(end)) if end.success()))
    }

    fn rows(&mut self, at: NodeId) -> Vec<u64> {
        let rows = self.servers[at.index()].sql("SELECT n FROM calls");
        rows.lines().map(|row| row.parse().expect("a number")).collect()
    }

    fn standby_hangs(&mut self, hangs: bool) {
        if hangs {
            let receiver = self.servers[NodeId::B.index()].process_titled("walreceiver");
            signal(receiver, "STOP");
            self.receiver = Some(receiver);
        } else if let Some(receiver) = self.receiver.take() {
            signal(receiver, "CONT");
        }
    }

    fn kill(&mut self, at: NodeId) {
        self.servers[at.index()].kill_all();
    }

    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Two at a time: they wait more than they work.
fn meet(name: &str, list: &[Expectation]) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some((sentence, check)) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
            let number = next.load(Ordering::Relaxed);
            let play = || {
                let Some(mut pair) = Pair::new(&format!("{name}{number}")) else { return };
                println!("expects: {sentence}");
                expectations::settle(&mut pair);
                check(&mut pair);
            };
            // What a deed has seen at once of a server it waits for only so long.
            let borne = Duration::from_millis(50);
            let holds = std::panic::catch_unwind(|| on_a_steady_machine(borne, play));
            if holds.is_err() {
                wrong.lock().unwrap().push(*sentence);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "not so: {wrong:#?}");
}

#[test]
fn the_server_meets_the_expectations() {
    meet("deeds", expectations::DEEDS);
}

#[test]

fn the_server_meets_the_expectations_of_a_clean_stop() {
    meet("clean", expectations::CLEAN_STOP);
}

#[test]

fn the_server_meets_the_expectations_of_rejoining() {
    meet("rejoin", expectations::REJOIN);
}

#[test]
fn the_server_meets_the_expectations_of_following() {
    meet("unasked", expectations::UNASKED);
}
