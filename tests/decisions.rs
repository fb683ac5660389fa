//! The decision table, printed from the code, against its golden file. `REWRITE=1` writes it anew;
//! the difference is then for a reviewer to read.

use std::{env, fs};

use duotone::protocol::lead::Authority;
use duotone::protocol::table::{print, table};

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
