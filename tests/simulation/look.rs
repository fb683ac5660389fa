//! What the database adapter's fake sees of the server, and when.

use duotone::protocol::event::{DatabaseSeen, DatabaseState, Event, Replica, Ticket};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::{GroupId, NodeId};

use crate::checker::{LOOK, LOOK_AT_ONCE};
use crate::clock::{MICRO, MILLI};
use crate::world::{Inside, World};

impl World {
    pub fn regular_look(&mut self, host: NodeId, life: u32) {
        if !self.same_life(host, life) {
            return;
        }
        self.look_now(host, None);
        self.check_remotely(host);
        let pause = if self.waits_for_an_end(host) { LOOK_AT_ONCE } else { LOOK };
        self.inside(host, pause, Inside::Look { life });
    }

    /// The peer hands its role over: the daemon looks for the end of its log.
    fn waits_for_an_end(&self, host: NodeId) -> bool {
        let peer = &self.hosts[host.peer().index()];
        let lets_go = match peer.daemon.stance {
            Stance::Handing => true,
            Stance::Active => !peer.addresses.any(),
            Stance::Joining
            | Stance::Standby
            | Stance::Held
            | Stance::Asking
            | Stance::Taking
            | Stance::Promoted => false,
        };
        lets_go && self.hosts[host.index()].daemon.stance == Stance::Standby
    }

    /// What a standby's questions to the active node's services say; told when it changes.
    fn check_remotely(&mut self, host: NodeId) {
        let peer = &self.hosts[host.peer().index()];
        let it = &self.hosts[host.index()];
        let asks = self.settings.remote_checks && it.daemon.stance == Stance::Standby;
        // Whose fault it is, an adapter cannot tell.
        let way = self.network.reaches_gateway(host);
        let grade = match asks {
            false => Grade::Unknown,
            true if way && !peer.services.mute && self.serves(host.peer()) => Grade::Good,
            true => Grade::Failed,
        };
        if it.remote_told != grade {
            self.hosts[host.index()].remote_told = grade;
            self.tell(host, Event::RemoteChecked { group: GroupId::MAIN, grade });
        }
    }

    /// Looks now; the daemon hears of it a little later.
    pub fn look_now(&mut self, host: NodeId, ticket: Option<Ticket>) {
        let seen = Box::new(self.database_seen(host));
        let it = &self.hosts[host.index()];
        let life = it.daemon.life;
        let hangs = it.trouble.slow_until.saturating_sub(self.now);
        let span = hangs + self.dice.span(300 * MICRO, 4 * MILLI);
        let what = Inside::Looked { life, ticket, seen };
        self.inside(host, span, what);
    }

    pub fn database_seen(&self, host: NodeId) -> DatabaseSeen {
        let it = &self.hosts[host.index()];
        let database = &it.database;
        let hangs = it.trouble.database_hangs && database.state != DatabaseState::Stopped;
        let running =
            matches!(database.state, DatabaseState::Standby | DatabaseState::Writable) && !hangs;
        let to_peer = self.streams[host.peer().index()].as_ref();
        DatabaseSeen {
            at: it.clock.instant(self.now),
            state: if hangs { DatabaseState::Unknown } else { database.state },
            synchronous: running.then_some(database.synchronous),
            log: (running || database.clean).then(|| self.branches.as_log(database.log)),
            streaming: running
                && self.streams[host.index()]
                    .as_ref()
                    .is_some_and(|stream| stream.standby == database.generation),
            diverged: running && database.diverged,
            replica: to_peer
                .filter(|stream| {
                    stream.primary == database.generation
                        && running
                        && database.state == DatabaseState::Writable
                })
                .map(|stream| Replica { flush: stream.flushed, synchronous: database.synchronous }),
            system_id: Some(1),
        }
    }
}
