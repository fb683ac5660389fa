//! Rule 13: the (lone term, served term) on the disks decides, when two meet and when one rewinds.

use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::NodeId;

use crate::branches::Place;
use crate::settings::nanos;
use crate::world::World;

impl World {
    /// Two active nodes that hear each other are one soon, whatever has led to it.
    pub fn check_two_actives(&mut self) {
        let active = |host: NodeId| {
            let it = &self.hosts[host.index()];
            it.daemon.stance == Stance::Active && it.daemon_runs()
        };
        if !active(NodeId::A) || !active(NodeId::B) {
            return;
        }
        let soon = self.reconciled_after() + nanos(self.settings.timing.lost_after);
        let heard_since = self.checker.together_since.filter(|_| self.network.loss_per_mille == 0);
        let changed = self.hosts.iter().map(|it| it.daemon.changed.max(it.thawed.unwrap_or(0)));
        let since = changed.chain(heard_since).max();
        if heard_since.is_some() && since.is_some_and(|since| self.now > since + soon) {
            self.break_rule(
                "rule 13: two active nodes hear each other, and none yields".to_owned(),
            );
        }
    }

    /// Who has the higher standing throws nothing away for the peer's log.
    pub fn check_rewinds(&mut self, host: NodeId, old: Place, source: Place) {
        let (it, peer) = (&self.hosts[host.index()], &self.hosts[host.peer().index()]);
        let higher = it.disk.standing() > peer.disk.standing();
        let whole = !it.database.torn && !self.checker.memory_lost;
        if higher && whole && !self.branches.contains(source, old) {
            self.break_rule(format!("rule 13: {host} rewinds towards a peer of a lower standing"));
        }
    }
}
