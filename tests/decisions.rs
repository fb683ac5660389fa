//! The decision table, printed from the code, against its golden file. `REWRITE=1` writes it anew;
//! the difference is then for a reviewer to read.

use std::{env, fs};

use duotone::protocol::identity::{NodeId, Term};
use duotone::protocol::lead::Authority;
use duotone::protocol::log::{Fork, Log};
use duotone::protocol::table::{print, table};

#[path = "decisions/times.rs"]
mod times;

#[path = "decisions/witness.rs"]
mod witness;

#[path = "decisions/nodes.rs"]
mod nodes;

#[path = "decisions/issuer.rs"]
mod issuer;

#[path = "decisions/logs.rs"]
mod logs;

#[path = "decisions/boundaries.rs"]
mod boundaries;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decisions/table.txt");

#[test]
fn table_is_the_golden_one() {
    let printed = print(&table());
    if env::var_os("REWRITE").is_some() {
        fs::write(GOLDEN, &printed).expect("writing the golden table");
    }
    let golden = fs::read_to_string(GOLDEN).expect("reading the golden table");
    assert!(
        printed == golden,
        "the decision table changed; read the difference, then REWRITE=1\n{printed}"
    );
}

#[test]
fn every_authority_can_be_left_and_reached() {
    let sections = table();
    for authority in Authority::ALL {
        let leaves = sections
            .iter()
            .filter(|section| section.authority == authority)
            .flat_map(|section| &section.rows)
            .any(|row| row.then != authority);
        let reached = sections
            .iter()
            .filter(|section| section.authority != authority)
            .flat_map(|section| &section.rows)
            .any(|row| row.then == authority);
        assert!(leaves, "{authority} cannot be left");
        assert!(reached, "{authority} cannot be reached");
    }
}

#[test]
fn nothing_leads_to_active_but_held_addresses_of_a_taker() {
    for section in table() {
        for row in section.rows.iter().filter(|row| row.then == Authority::Active) {
            match section.authority {
                Authority::Active => {}
                Authority::Taking => {
                    let held = section.fields.iter().position(|field| *field == "held");
                    let value = held.and_then(|held| row.when[held].as_deref());
                    assert_eq!(value, Some("yes"), "{row:?}");
                }
                // Nothing was given away yet, and the addresses are proved anew (rule 8).
                Authority::Giving => {
                    let undone = section.fields.iter().position(|field| *field == "undone");
                    let handed = section.fields.iter().position(|field| *field == "handed");
                    let value = |at: Option<usize>| at.and_then(|at| row.when[at].as_deref());
                    assert_eq!((value(undone), value(handed)), (Some("yes"), Some("no")));
                }
                other => panic!("{other} leads to active: {row:?}"),
            }
        }
    }
}

#[test]
fn two_logs_part_where_their_branches_do() {
    let term = |counter, node| Some(Term { counter, node });
    let log = |timeline, position, branch, forks: &[(u32, u64, Option<Term>)]| Log {
        timeline,
        position,
        branch,
        forks: forks.iter().map(|&(timeline, at, branch)| Fork { timeline, at, branch }).collect(),
        unfinished: false,
    };
    let (a, b) = (term(2, NodeId::A), term(2, NodeId::B));
    let short = log(1, 900, None, &[]);
    let mine = log(2, 1500, a, &[(1, 1000, None)]);
    let namesake = log(2, 1200, b, &[(1, 1000, None)]);
    let later = log(3, 2000, term(3, NodeId::B), &[(1, 1000, None), (2, 1300, b)]);
    let other_fork = log(2, 1200, b, &[(1, 950, None)]);
    let stranger = log(7, 10, None, &[]);
    assert_eq!(mine.common(&short), Some(900), "a prefix is common as a whole");
    assert_eq!(mine.common(&mine), Some(1500));
    assert_eq!(mine.common(&namesake), Some(1000), "one number, two branches");
    assert_eq!(mine.common(&later), Some(1000), "and still so when the other went on");
    assert_eq!(mine.common(&other_fork), Some(950), "the earlier of two forks");
    assert_eq!(mine.common(&stranger), None);
    let unnamed = log(2, 1200, None, &[(1, 1000, None)]);
    assert_eq!(mine.common(&unnamed), Some(1000), "who knows whether it is the same");
    assert_eq!(unnamed.common(&unnamed), Some(1200), "adopted: neither knows a name");
    for other in [&short, &namesake, &later, &other_fork] {
        assert_eq!(mine.common(other), other.common(&mine), "it is the same from both sides");
    }
}
