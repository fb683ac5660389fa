//! Which of two logs holds the other, and who of two nodes takes the role (rules 13 and 22).

use duotone::protocol::compare::{Mine, compare, contained, contains};
use duotone::protocol::durable::Standing;
use duotone::protocol::heartbeat::{Heartbeat, Promise, Stance};
use duotone::protocol::identity::{NodeId, Term};
use duotone::protocol::lead::Comparison;
use duotone::protocol::log::{Branches, Fork, Log, Relation};
use duotone::protocol::node::Durability;

use super::boundaries::heartbeat;

pub fn log(timeline: u32, position: u64, branch: Option<Term>, forks: &[(u32, u64)]) -> Log {
    let forks = forks.iter().map(|&(timeline, at)| Fork { timeline, at, branch: None }).collect();
    Log { timeline, position, branch, forks, unfinished: false }
}
#[test]
fn a_log_contains_its_prefix() {
    let known = |counter| Some(Term { counter, node: NodeId::A });
    let relation = |mine: &Log, theirs: &Log| (mine.relation(theirs), theirs.relation(mine));
    let long = log(3, 900, known(3), &[(1, 100), (2, 500)]);
    let same = (Relation::Equal, Relation::Equal);
    let longer = (Relation::Longer, Relation::Shorter);
    let apart = (Relation::Diverged, Relation::Diverged);
    for (other, wanted) in [
        (log(3, 900, known(3), &[(1, 100), (2, 500)]), same),
        (log(3, 899, None, &[(1, 100), (2, 500)]), longer),
        (log(3, 899, known(4), &[(1, 100), (2, 500)]), apart),
        (log(2, 500, None, &[(1, 100)]), longer),
        (log(2, 501, None, &[(1, 100)]), apart),
        (log(2, 400, None, &[(1, 99)]), apart),
        // What has scrolled out of the one says nothing against it, what is missing does.
        (log(3, 899, known(3), &[(2, 500)]), (Relation::Longer, Relation::Shorter)),
        (log(3, 899, known(3), &[(1, 100)]), longer),
        (log(4, 950, known(4), &[(2, 500), (3, 900)]), (Relation::Shorter, Relation::Longer)),
        (log(4, 950, known(4), &[(3, 899)]), apart),
    ] {
        assert_eq!(relation(&long, &other), wanted, "{other:?}");
    }
    let gap = log(3, 899, known(3), &[(1, 100), (2, 500)]);
    let scrolled = log(3, 900, known(3), &[(2, 500)]);
    assert_eq!(relation(&scrolled, &gap), longer);
    let inside = log(3, 900, known(3), &[(1, 100), (4, 500)]);
    assert_eq!(inside.relation(&gap), Relation::Diverged, "timeline 2 should be there");
}

#[test]
fn branches_keep_the_newest_names() {
    let term = |counter| Term { counter, node: NodeId::B };
    let mut branches = Branches::NONE;
    for timeline in 1..=12 {
        branches = branches.with(timeline, term(u64::from(timeline)));
    }
    let kept: Vec<u32> = branches.iter().map(|(timeline, _)| timeline).collect();
    assert_eq!(kept, (4..=12).collect::<Vec<u32>>());
    assert_eq!((branches.name(3), branches.name(12)), (None, Some(term(12))));
    let again = branches.with(11, term(99));
    assert_eq!((again.name(11), again.name(12)), (Some(term(99)), None), "begun anew from there");
    let told = Log {
        forks: vec![Fork { timeline: 1, at: 5, branch: Some(term(1)) }],
        ..log(2, 9, Some(term(2)), &[])
    };
    let of: Vec<(u32, Term)> = Branches::of(&told).iter().collect();
    assert_eq!(of, [(1, term(1)), (2, term(2))]);
}

/// A side of the comparison that differs from the other in nothing but what a case says.
struct Side {
    node: NodeId,
    log: Option<Log>,
    served: u64,
    system_id: Option<u64>,
    leaves: bool,
}

fn side(node: NodeId) -> Side {
    Side { node, log: Some(log(2, 500, None, &[])), served: 3, system_id: Some(1), leaves: false }
}

fn meet(mine: &Side, peer: &Side, database: bool, durability: Durability) -> [Comparison; 2] {
    let term = |counter| Term { counter, node: NodeId::A };
    let heartbeat = |side: &Side| Heartbeat {
        node: side.node,
        log: side.log.clone(),
        served: term(side.served),
        system_id: side.system_id,
        promise: if side.leaves { Promise::Leaving } else { Promise::None },
        ..heartbeat(1, Stance::Joining)
    };
    let judge = |side: &Side, other: &Side| {
        let mine = Mine {
            node: side.node,
            database,
            system_id: side.system_id,
            log: side.log.as_ref(),
            standing: Standing { lone: Term::ZERO, served: term(side.served) },
            durability,
        };
        compare(&mine, &heartbeat(other))
    };
    [judge(mine, peer), judge(peer, mine)]
}

#[test]
fn both_nodes_come_to_opposite_answers() {
    use Comparison::{Lose, Unknown, Win};
    let (a, b) = (side(NodeId::A), side(NodeId::B));
    let strict = Durability::Strict;
    assert_eq!(meet(&a, &b, true, strict), [Win, Lose], "all is equal: the lower id");
    assert_eq!(meet(&a, &b, false, strict), [Win, Lose]);
    let longer = Side { log: Some(log(2, 501, None, &[])), ..side(NodeId::B) };
    assert_eq!(meet(&a, &longer, true, strict), [Lose, Win]);
    let served = Side { served: 4, ..side(NodeId::B) };
    assert_eq!(meet(&a, &served, false, strict), [Lose, Win], "without logs the served term");
    assert_eq!(meet(&a, &served, true, strict), [Win, Lose], "a log comes before a term");
    let other_branch =
        Log { branch: Some(Term { counter: 9, node: NodeId::B }), ..log(2, 600, None, &[]) };
    let my_branch =
        Log { branch: Some(Term { counter: 9, node: NodeId::A }), ..log(2, 700, None, &[]) };
    let apart = Side { log: Some(other_branch), ..side(NodeId::B) };
    let mine = Side { log: Some(my_branch), ..side(NodeId::A) };
    assert_eq!(meet(&mine, &apart, true, strict), [Win, Lose], "apart: the standing, then the id");
    assert_eq!(meet(&mine, &Side { served: 4, ..apart }, true, strict), [Lose, Win]);
    let unfinished =
        |side: Side| Side { log: side.log.map(|log| Log { unfinished: true, ..log }), ..side };
    assert_eq!(meet(&a, &unfinished(side(NodeId::B)), true, strict), [Win, Lose]);
    assert_eq!(
        meet(&unfinished(side(NodeId::A)), &unfinished(side(NodeId::B)), true, strict),
        [Unknown; 2]
    );
    let stranger = Side { system_id: Some(2), ..side(NodeId::B) };
    assert_eq!(meet(&a, &stranger, true, strict), [Unknown; 2]);
    let without = Side { log: None, ..side(NodeId::B) };
    assert_eq!(meet(&a, &without, true, strict), [Unknown; 2]);
    // Who leaves never takes; the other may, if it may promote what it has.
    let leaves =
        |log_end| Side { leaves: true, log: Some(log(2, log_end, None, &[])), ..side(NodeId::A) };
    for (end, durability, wanted) in [
        (500, strict, Win),
        (501, strict, Lose),
        (501, Durability::Available, Win),
        (501, Durability::Async, Win),
    ] {
        let told = meet(&b, &leaves(end), true, durability)[0];
        assert_eq!(told, wanted, "{end} {durability:?}");
    }
    assert_eq!(meet(&b, &leaves(501), false, strict)[0], Win);
}

#[test]
fn to_contain_is_to_be_as_long() {
    let judge = |mine: Option<&Log>, theirs: Option<Log>, database| {
        let peer = Heartbeat { log: theirs, ..heartbeat(1, Stance::Joining) };
        let mine = Mine {
            node: NodeId::A,
            database,
            system_id: None,
            log: mine,
            standing: Standing { lone: Term::ZERO, served: Term::ZERO },
            durability: Durability::Strict,
        };
        (contains(&mine, &peer), contained(&mine, &peer))
    };
    let (short, long) = (log(1, 5, None, &[]), log(1, 6, None, &[]));
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(judge(Some(&long), Some(short.clone()), true), (yes, no));
    assert_eq!(judge(Some(&short), Some(long.clone()), true), (no, yes));
    assert_eq!(judge(Some(&long), Some(long.clone()), true), (yes, yes));
    assert_eq!(judge(None, Some(long), true), (None, None));
    assert_eq!(judge(Some(&short), None, true), (None, None));
    assert_eq!(judge(None, None, false), (yes, yes), "there is nothing to lack");
}
