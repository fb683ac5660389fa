//! The keys of `[pair]` that say which moves need no order: the preferred node, failback, and how
//! often the role may move by itself.

use std::time::Duration;

use crate::protocol::identity::NodeId;
use crate::protocol::moves::Policy;

use super::document::Section;
use super::error::{Report, suggestion};
use super::hours::Hours;

/// How the role comes back to the preferred node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failback {
    Manual,
    Automatic,
}

/// Stood by in order for this long, the preferred node gets the role back.
const FAILBACK_AFTER: Duration = Duration::from_secs(30 * 60);
/// A shorter span than this would move the role before anybody could look.
const SHORTEST: Duration = Duration::from_secs(1);
const MOVES_MOST: u32 = 1000;

/// Reads them; `names` are the nodes, when both are known. Also the hours of `failback_hours`.
pub(super) fn read(
    section: &mut Section<'_>,
    names: Option<&[String; 2]>,
    report: &Report<'_>,
) -> (Policy, Option<Hours>) {
    let preferred_given = section.has("preferred");
    let preferred = preferred(section, names, report);
    let words = [("manual", Failback::Manual), ("automatic", Failback::Automatic)];
    let failback = section.word("failback", &words).unwrap_or(Failback::Manual);
    let after = section.time("failback_after");
    if let Some(at) = after.filter(|at| at.value < SHORTEST) {
        report.at(at.offset, "failback_after is too short; write \"1s\" or more");
    }
    let hours = section.text("failback_hours");
    let offsets = [
        ("failback_after", after.map(|at| at.offset)),
        ("failback_hours", hours.map(|at| at.offset)),
    ];
    match (failback, preferred_given) {
        (Failback::Automatic, false) => section
            .wrong("failback = \"automatic\" needs to know where to; write preferred = \"NODE\""),
        (Failback::Automatic, true) => {}
        (Failback::Manual, _) => {
            for (key, offset) in offsets {
                let wrong = format!(
                    "{key} means nothing while failback is manual; write failback = \
                     \"automatic\", or leave it out"
                );
                offset.into_iter().for_each(|offset| report.at(offset, &wrong));
            }
        }
    }
    let hours = hours.and_then(|at| match Hours::parse(at.value) {
        Ok(hours) => Some(hours),
        Err(wrong) => {
            report.at(at.offset, format!("failback_hours: {wrong}"));
            None
        }
    });
    let moves = section.integer("max_moves", 0, MOVES_MOST);
    let within = section.time("moves_window");
    if let Some(at) = within.filter(|at| at.value < SHORTEST) {
        report.at(at.offset, "moves_window is too short; write \"1s\" or more");
    }
    let policy = Policy {
        preferred,
        failback_after: (failback == Failback::Automatic)
            .then(|| after.map_or(FAILBACK_AFTER, |at| at.value)),
        moves: moves.map_or(Policy::DEFAULT.moves, |at| at.value),
        within: within.map_or(Policy::DEFAULT.within, |at| at.value),
    };
    (policy, hours)
}

fn preferred(
    section: &mut Section<'_>,
    names: Option<&[String; 2]>,
    report: &Report<'_>,
) -> Option<NodeId> {
    let at = section.text("preferred")?;
    // Wrong names are told where they stand.
    let names = names?;
    let found = names.iter().position(|name| name == at.value);
    if found.is_none() {
        let [a, b] = names;
        let near = suggestion(at.value, [a.as_str(), b.as_str()]);
        let wrong = at.value;
        report.at(
            at.offset,
            format!("preferred: no node is named \"{wrong}\"; write \"{a}\" or \"{b}\"{near}"),
        );
    }
    found.map(|index| NodeId::ALL[index])
}
