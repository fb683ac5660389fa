//! Rule 29: who has offered its role takes it back only when the peer knows that the offer is withdrawn.

use duotone::protocol::identity::{NodeId, Term};
use duotone::protocol::lead::{Authority, Why};
use duotone::protocol::node::Node;

use crate::world::World;

impl World {
    /// After each turn, before what it does is done.
    pub fn note_offer(&mut self, host: NodeId, node: &Node) {
        let spoken = &mut self.hosts[host.index()].spoken;
        if node.authority().0 != Authority::Taking {
            spoken.offered_until = None;
        } else if node.path().iter().any(|(_, why)| *why == Why::TakingBack) {
            spoken.offered_until = spoken.last;
        }
    }

    pub fn check_taking_back(&mut self, host: NodeId, term: Term) {
        if term.node != host || term <= self.hosts[host.index()].disk.term {
            return;
        }
        let Some((session, until)) = self.hosts[host.index()].spoken.offered_until else { return };
        let heard = self.hosts[host.peer().index()].daemon.heard;
        if !heard.is_some_and(|(known, newest)| known == session && newest > until) {
            self.break_rule(format!("rule 29: {host} takes back what it offers, unheard"));
        }
    }
}
