//! The database, as far as the protocol can tell: what it is doing, its rows, and whom it follows.

use duotone::protocol::action::DatabaseDeed;
use duotone::protocol::event::{DatabaseSeen, DatabaseState, Event, Replica, Ticket};
use duotone::protocol::identity::NodeId;
use duotone::protocol::time::Instant;

use crate::host::Host;
use crate::logs::Rows;
use crate::pair::Pair;
use crate::ticks::instant;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    pub state: DatabaseState,
    pub rows: Rows,
    /// Commits wait for the standby.
    pub waits: bool,
    /// It asks the peer's server for its log.
    pub follows: bool,
    /// It ended in order.
    pub clean: bool,
    /// What is being done to it, and at which tick that is done.
    pub deed: Option<(Ticket, DatabaseDeed, u32)>,
}

impl Cluster {
    pub fn stopped() -> Cluster {
        Cluster {
            state: DatabaseState::Stopped,
            rows: Rows::new(),
            waits: true,
            follows: false,
            clean: true,
            deed: None,
        }
    }

    /// The server's processes end without a word.
    pub fn crash(&mut self) {
        self.clean &= self.state == DatabaseState::Stopped;
        self.state = DatabaseState::Stopped;
        self.follows = false;
        self.deed = None;
    }

    pub fn begins(&mut self, ticket: Ticket, deed: DatabaseDeed, now: u32) {
        let takes = match deed {
            DatabaseDeed::SetSynchronous(_) | DatabaseDeed::Checkpoint => 0,
            DatabaseDeed::StartAsStandby
            | DatabaseDeed::Follow
            | DatabaseDeed::Rejoin { .. }
            | DatabaseDeed::Promote
            | DatabaseDeed::StartInPlace
            | DatabaseDeed::StopNow
            | DatabaseDeed::StopCleanly => 1,
        };
        if deed == DatabaseDeed::Promote {
            self.follows = false;
        }
        self.deed = Some((ticket, deed, now + takes));
    }

    /// What a look shows; `replica` is the peer's, when it is connected.
    pub fn seen(&self, at: Instant, streaming: bool, replica: Option<u32>) -> DatabaseSeen {
        let runs = matches!(self.state, DatabaseState::Standby | DatabaseState::Writable);
        DatabaseSeen {
            at,
            state: self.state,
            synchronous: runs.then_some(self.waits),
            log: (runs || self.clean).then(|| self.rows.told()),
            streaming,
            diverged: false,
            replica: replica.map(|flush| Replica { flush: flush.into(), synchronous: self.waits }),
            system_id: Some(1),
        }
    }
}

impl Pair {
    pub fn deed_done(&mut self, host: NodeId, ticket: Ticket, deed: DatabaseDeed) {
        let connects = self.connects();
        let [one, other] = &mut self.hosts;
        let (it, peer) = match host {
            NodeId::A => (one, other),
            NodeId::B => (other, one),
        };
        let source = (connects && peer.cluster.state == DatabaseState::Writable)
            .then_some(&peer.cluster.rows);
        let cluster = &mut it.cluster;
        let state = cluster.state;
        let mut thrown_away = None;
        match deed {
            DatabaseDeed::StartAsStandby => cluster.state = DatabaseState::Standby,
            DatabaseDeed::Follow => {
                (cluster.state, cluster.follows) = (DatabaseState::Standby, true);
            }
            DatabaseDeed::Rejoin { .. } => {
                if let Some(source) = source {
                    thrown_away = Some(source.clone());
                    cluster.rows = source.clone();
                    (cluster.state, cluster.follows) = (DatabaseState::Standby, true);
                }
            }
            DatabaseDeed::Promote => {
                if state == DatabaseState::Standby {
                    self.branches += 1;
                    cluster.rows.begin_branch(self.branches);
                    cluster.state = DatabaseState::Writable;
                }
            }
            DatabaseDeed::StartInPlace => {
                if state == DatabaseState::Stopped {
                    cluster.state = DatabaseState::Writable;
                }
            }
            DatabaseDeed::StopNow => cluster.crash(),
            DatabaseDeed::StopCleanly => {
                cluster.crash();
                cluster.clean = true;
            }
            DatabaseDeed::Checkpoint => {}
            DatabaseDeed::SetSynchronous(waits) => cluster.waits = waits,
        }
        let (state, rows) = (cluster.state, cluster.rows.clone());
        if deed == DatabaseDeed::Promote && state == DatabaseState::Writable {
            self.check_rows(&rows, &format!("{host} is promoted"));
        }
        if let Some(source) = thrown_away {
            self.check_rows(&source, &format!("{host} throws its log away for one"));
        }
        self.look(host, Some(ticket));
    }

    /// Replication needs the cable both ways, and both hosts awake.
    pub fn connects(&self) -> bool {
        self.cable == [true; 2] && self.hosts.iter().all(Host::awake)
    }

    /// The standby receives the primary's log.
    pub fn streams_to(&self, host: NodeId) -> bool {
        let (it, peer) = (&self.hosts[host.index()], &self.hosts[host.peer().index()]);
        self.connects()
            && it.cluster.follows
            && it.cluster.state == DatabaseState::Standby
            && peer.cluster.state == DatabaseState::Writable
            && peer.cluster.rows.holds(it.cluster.rows.last())
    }

    pub fn look(&mut self, host: NodeId, ticket: Option<Ticket>) {
        let (streaming, to_peer) = (self.streams_to(host), self.streams_to(host.peer()));
        let flush = to_peer.then_some(self.hosts[host.peer().index()].cluster.rows.end);
        let at = instant(self.now);
        let it = self.host(host);
        let seen = it.cluster.seen(at, streaming, flush);
        it.inbox.push_back(Event::DatabaseSeen { ticket, seen });
    }

    /// Every writable database is given a row, and acknowledges what it may.
    pub fn commit(&mut self) {
        for host in NodeId::ALL {
            let it = self.host(host);
            if !it.awake() || it.cluster.state != DatabaseState::Writable {
                continue;
            }
            it.cluster.rows.end += 1;
            let rows = it.cluster.rows.clone();
            let waits = it.cluster.waits;
            let streams = self.streams_to(host.peer());
            if streams {
                self.host(host.peer()).cluster.rows = rows.clone();
            }
            if streams || !waits {
                self.acknowledged.retain(|row| row.branch() != rows.last().branch());
                self.acknowledged.push(rows.last());
            }
        }
    }
}
