//! The decision table, printed from the decision itself: every combination of evidence is asked,
//! and what makes no difference is shown as `·`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::arbiter::Proof;
use super::lead::{Authority, Bar, Basis, Comparison, Evidence, Reason, Upset, Why, lead};
use super::peer::View;

/// One line: the values that matter (`None`: any), and what follows from them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// One entry per field of the authority's evidence.
    pub when: Vec<Option<String>>,
    /// What the node then is.
    pub then: Authority,
    /// Why.
    pub why: Why,
}

/// The table of one authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The authority that a node has.
    pub authority: Authority,
    /// The names of the fields.
    pub fields: Vec<&'static str>,
    /// The rows; each combination of evidence falls under exactly one.
    pub rows: Vec<Row>,
}

/// The whole decision, one section per authority.
pub fn table() -> Vec<Section> {
    Authority::ALL.into_iter().map(section).collect()
}

/// The table as text, for `explain --table` and the golden file.
pub fn print(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let mut lines: Vec<Vec<String>> =
            vec![section.fields.iter().map(|field| String::from(*field)).collect()];
        lines[0].extend([String::from("then"), String::from("why")]);
        for row in &section.rows {
            let mut line: Vec<String> =
                row.when.iter().map(|value| value.clone().unwrap_or("·".into())).collect();
            line.extend([format!("{}", row.then), format!("{}", row.why)]);
            lines.push(line);
        }
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        text.push_str(&format!("## {}\n", section.authority));
        for line in lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

struct Domain {
    fields: Vec<&'static str>,
    values: Vec<Vec<String>>,
    evidence: fn(&[usize]) -> Evidence,
}

fn section(authority: Authority) -> Section {
    let domain = domain(authority);
    let mut rows = Vec::new();
    let mut fixed = Vec::new();
    split(&domain, &mut fixed, &mut rows);
    Section { authority, fields: domain.fields, rows }
}

/// Fixes one field after another. Values that lead to the same rows share one; a field whose values
/// all do is left open.
fn split(domain: &Domain, fixed: &mut Vec<usize>, rows: &mut Vec<Row>) {
    let field = fixed.len();
    if field == domain.fields.len() {
        let (then, why) = lead((domain.evidence)(fixed));
        rows.push(Row { when: vec![None; field], then, why });
        return;
    }
    let mut branches: Vec<(Vec<usize>, Vec<Row>)> = Vec::new();
    for value in 0..domain.values[field].len() {
        let mut below = Vec::new();
        fixed.push(value);
        split(domain, fixed, &mut below);
        fixed.pop();
        match branches.iter_mut().find(|(_, rows)| *rows == below) {
            Some((values, _)) => values.push(value),
            None => branches.push((vec![value], below)),
        }
    }
    let open = branches.len() == 1;
    for (values, below) in branches {
        let names: Vec<&str> =
            values.iter().map(|value| domain.values[field][*value].as_str()).collect();
        let label = (!open).then(|| names.join("|"));
        rows.extend(below.into_iter().map(|mut row| {
            row.when[field] = label.clone();
            row
        }));
    }
}

const BOOL: [bool; 2] = [false, true];
const BARS: [Bar; 3] = [Bar::None, Bar::Damaged, Bar::Left];
const COMPARISONS: [Comparison; 3] = [Comparison::Win, Comparison::Lose, Comparison::Unknown];
const UPSETS: [Upset; 3] = [Upset::None, Upset::Woke, Upset::Leave];
const BASES: [Basis; 4] = [Basis::Agreement, Basis::Offer, Basis::TakeBack, Basis::Arbitration];
const GIVES: [Option<Reason>; 5] = [
    None,
    Some(Reason::Ordered),
    Some(Reason::Leaving),
    Some(Reason::PeerIsBetter),
    Some(Reason::Failback),
];

fn reason(reason: Option<Reason>) -> String {
    String::from(match reason {
        None => "no",
        Some(Reason::Ordered) => "ordered",
        Some(Reason::Leaving) => "to leave",
        Some(Reason::PeerIsBetter) => "better",
        Some(Reason::Failback) => "failback",
    })
}

fn words<T: Debug>(values: &[T]) -> Vec<String> {
    values
        .iter()
        .map(|value| match format!("{value:?}").as_str() {
            "false" => String::from("no"),
            "true" => String::from("yes"),
            word => word.to_lowercase(),
        })
        .collect()
}

fn domain(authority: Authority) -> Domain {
    let (bools, views, proofs) = (words(&BOOL), words(&View::ALL), words(&Proof::ALL));
    match authority {
        Authority::Joining => Domain {
            fields: vec!["bar", "prepared", "peer", "outranks", "logs", "promised", "may take"],
            values: vec![
                words(&BARS),
                bools.clone(),
                views,
                bools.clone(),
                words(&COMPARISONS),
                bools.clone(),
                bools,
            ],
            evidence: |at| Evidence::Joining {
                bar: BARS[at[0]],
                prepared: BOOL[at[1]],
                peer: View::ALL[at[2]],
                outranks: BOOL[at[3]],
                comparison: COMPARISONS[at[4]],
                promised: BOOL[at[5]],
                may_take: BOOL[at[6]],
            },
        },
        Authority::Held => Domain {
            fields: vec!["bar", "peer", "may take"],
            values: vec![words(&BARS), views, bools],
            evidence: |at| Evidence::Held {
                bar: BARS[at[0]],
                peer: View::ALL[at[1]],
                may_take: BOOL[at[2]],
            },
        },
        Authority::Standby => Domain {
            fields: vec!["upset", "peer", "idle long", "ready", "may take", "has all"],
            values: vec![words(&UPSETS), views, bools.clone(), bools.clone(), bools.clone(), bools],
            evidence: |at| Evidence::Standby {
                upset: UPSETS[at[0]],
                peer: View::ALL[at[1]],
                idle_long: BOOL[at[2]],
                ready: BOOL[at[3]],
                may_take: BOOL[at[4]],
                has_all: BOOL[at[5]],
            },
        },
        Authority::Asking => Domain {
            fields: vec!["upset", "peer", "may take", "consent"],
            values: vec![words(&UPSETS), views, bools, proofs],
            evidence: |at| Evidence::Asking {
                upset: UPSETS[at[0]],
                peer: View::ALL[at[1]],
                may_take: BOOL[at[2]],
                proof: Proof::ALL[at[3]],
            },
        },
        Authority::Taking => Domain {
            fields: vec![
                "upset",
                "superseded",
                "failed",
                "basis",
                "promised",
                "promoted",
                "peer",
                "held",
                "consent",
            ],
            values: vec![
                words(&UPSETS),
                bools.clone(),
                bools.clone(),
                words(&BASES),
                bools.clone(),
                bools.clone(),
                views,
                bools,
                proofs,
            ],
            evidence: |at| Evidence::Taking {
                upset: UPSETS[at[0]],
                superseded: BOOL[at[1]],
                failed: BOOL[at[2]],
                basis: BASES[at[3]],
                promised: BOOL[at[4]],
                promoted: BOOL[at[5]],
                peer: View::ALL[at[6]],
                done: BOOL[at[7]],
                proof: Proof::ALL[at[8]],
            },
        },
        Authority::Active => Domain {
            fields: vec!["superseded", "give", "told to leave", "entitled"],
            values: vec![bools.clone(), GIVES.map(reason).to_vec(), bools.clone(), bools],
            evidence: |at| Evidence::Active {
                superseded: BOOL[at[0]],
                give: GIVES[at[1]],
                leave: BOOL[at[2]],
                entitled: BOOL[at[3]],
            },
        },
        Authority::Giving => Domain {
            fields: vec!["superseded", "woke", "handed", "undone", "peer", "refused"],
            values: vec![bools.clone(), bools.clone(), bools.clone(), bools.clone(), views, bools],
            evidence: |at| Evidence::Giving {
                superseded: BOOL[at[0]],
                woke: BOOL[at[1]],
                handed: BOOL[at[2]],
                undone: BOOL[at[3]],
                peer: View::ALL[at[4]],
                refused: BOOL[at[5]],
            },
        },
    }
}
