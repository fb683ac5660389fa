//! `show HOST` in a scenario: all that a node's status tells, at that moment.

use duotone::protocol::identity::NodeId;
use duotone::protocol::status::Status;
use duotone::protocol::time::Instant;

use crate::world::World;

impl World {
    pub fn show(&mut self, host: NodeId) -> Result<(), String> {
        let it = &self.hosts[host.index()];
        let now = it.clock.instant(self.now);
        let node = it.daemon.node.as_ref().ok_or("its daemon does not run")?;
        let lines = told(&node.status(now), now);
        self.trace.world(self.now, || format!("status of {host}"));
        for line in lines {
            self.trace.world(self.now, || format!("  {line}"));
        }
        Ok(())
    }
}

fn told(status: &Status, now: Instant) -> Vec<String> {
    // Taken apart, so that what is added is shown.
    let Status {
        authority,
        why,
        stance,
        since,
        durable,
        claim,
        peer,
        two_way,
        last_heard,
        peer_says,
        lease_ends,
        peer_left,
        certificate_ends,
        certifying,
        hindrance,
        lone,
        may_take,
        on_the_lan,
        deaf,
        answered,
        witness,
        fence,
        database,
        presence,
        services,
        groups,
    } = status;
    let from = |at: &Instant| {
        let (past, future) = (now.since(*at), at.since(now));
        if future.is_zero() { format!("{past:?} ago") } else { format!("in {future:?}") }
    };
    let when = |at: &Option<Instant>| at.as_ref().map_or("never".to_owned(), from);
    let mut lines = vec![
        format!("{authority} ({why}), says {stance:?}, since {}", from(since)),
        format!(
            "on its disk {} served {} lone {}, leaving {:?}, excluded {}; claims {claim:?}",
            durable.term, durable.served, durable.lone, durable.leaving, durable.peer_excluded
        ),
        format!("peer {peer:?}, two-way {two_way}, left {peer_left}, heard {}", when(last_heard)),
        format!(
            "peer says {:?}",
            peer_says.as_ref().map(|it| (it.stance, it.promise, it.term, it.served))
        ),
        format!("lease ends {}, certificate {}", when(lease_ends), when(certificate_ends)),
        format!("certifying {certifying}, lone {lone}, may take {may_take}"),
        format!("does not hand over because {hindrance:?}"),
        format!("on the LAN {on_the_lan}, deaf {deaf}, answered {answered:?}"),
        format!("database {:?}, {:?}", database.state, database.synchronous),
        format!("addresses {presence:?}, services {services:?}"),
        format!("groups {groups:?}"),
    ];
    if let Some(witness) = witness {
        let said = witness.heard.as_ref().map(|(at, reply)| (from(at), reply.verdict));
        lines.push(format!("witness {said:?}, grant ends {}", when(&witness.grant_ends)));
    }
    if let Some(fence) = fence {
        lines.push(format!(
            "fence: off {}, ordered {}, reported {:?}, {} failures, again {}, lied {}",
            when(&fence.off_since),
            when(&fence.pending_since),
            fence.reported.as_ref().map(|(at, power)| (from(at), *power)),
            fence.failures,
            when(&fence.next_try),
            when(&fence.lied_at),
        ));
    }
    lines
}
