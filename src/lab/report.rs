//! What the demo prints, and what it writes for machines.

use comfy_table::Table;
use serde_json::json;

use super::DemoOptions;
use super::outcome::Outcome;
use super::scenario::{Contestant, Figure, Scenario};
use super::yardstick::Waits;

/// One scenario's story.
pub fn story(outcome: &Outcome) -> String {
    let (before, after) = &outcome.active;
    let mut text = format!(
        "  expected: {}\n  {before} served before; {after} serves now: {}\n",
        outcome.scenario.statement().shows,
        outcome.why
    );
    for (ms, words) in &outcome.timeline {
        text += &format!("  {ms:>9.1} ms  {words}\n");
    }
    let Outcome { calls, records, ownership, .. } = outcome;
    text += &format!(
        "  a caller saw {:.0} ms of silence; calls placed {}, answered {}, lost {}\n",
        outcome.outage_ms, calls.placed, calls.answered, calls.lost
    );
    text += &format!(
        "  records acknowledged {}, present {}, missing {}; on logs left behind {}, in salvages {}; \
         longest wait {:.0} ms\n",
        records.acknowledged,
        records.present,
        records.missing,
        records.left_behind,
        records.salvaged,
        records.longest_wait_ms
    );
    text += &format!(
        "  two owners for {:.1} ms (kernels), false claims {} (ARP), address changes {}\n",
        ownership.overlap_ms, ownership.false_claims, ownership.moves
    );
    if let Some(survived) = &outcome.survived {
        text += &format!("  {survived}\n");
    }
    for (figure, ms) in &outcome.figures {
        text += &format!("  {}: {ms:.0} ms\n", figure.words());
    }
    text += &format!(
        "  the machine itself stood still for {:.0} ms, kept a ready thread waiting for {:.0} ms, \
         took {:.0} ms for a small write (longest of each; limits are stretched by them)\n",
        outcome.machine.still_ms, outcome.machine.ordinary_ms, outcome.machine.disk_ms
    );
    text += &verdict(outcome);
    text
}

/// What was not kept, in one line.
pub fn breaches(outcome: &Outcome) -> String {
    let words: Vec<String> = outcome.broken.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// One line for each play that did not keep the promise and stands: the last words of the demo.
pub fn not_kept(outcomes: &[Outcome]) -> String {
    let broken = outcomes
        .iter()
        .filter(|outcome| outcome.contestant == Contestant::Duotone && !outcome.broken.is_empty());
    let line = |outcome: &Outcome| {
        let Waits { still_ms, ordinary_ms, disk_ms } = outcome.machine;
        format!(
            "NOT KEPT {}: {} (played {}; the machine: still {still_ms:.0} ms, threads \
             {ordinary_ms:.0} ms, disk {disk_ms:.0} ms)\n",
            outcome.scenario.name(),
            breaches(outcome),
            times(outcome.played_again.len() + 1)
        )
    };
    broken.map(line).collect()
}

fn times(plays: usize) -> String {
    if plays == 1 { "once".to_owned() } else { format!("{plays} times") }
}

fn verdict(outcome: &Outcome) -> String {
    if outcome.contestant == Contestant::BareFloor {
        return "  (the floor promises nothing; its figures are for comparison)\n".to_owned();
    }
    if outcome.broken.is_empty() {
        return "  KEPT\n".to_owned();
    }
    format!("  BROKEN: {}\n", breaches(outcome))
}

/// The table of everything: duotone's figures and, beside each, the bare floor's of the same run;
/// medians with extremes where a scenario ran more than once.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "",
        "runs",
        "verdict",
        "outage, ms",
        "calls lost",
        "records missing",
        "salvaged",
        "two owners, ms",
        "besides, ms",
    ]);
    for scenario in Scenario::ALL {
        for contestant in [Contestant::Duotone, Contestant::BareFloor] {
            let all: Vec<&Outcome> = outcomes
                .iter()
                .filter(|one| one.scenario == scenario && one.contestant == contestant)
                .collect();
            if !all.is_empty() {
                table.add_row(row(scenario, contestant, &all));
            }
        }
    }
    format!("{table}\n{}", costs(outcomes))
}

fn row(scenario: Scenario, contestant: Contestant, all: &[&Outcome]) -> [String; 9] {
    let kept = all.iter().all(|one| one.broken.is_empty());
    let again = match all.iter().map(|one| one.played_again.len()).sum() {
        0_usize => String::new(),
        more => format!(" ({more} played again)"),
    };
    let (whose, verdict) = match contestant {
        Contestant::Duotone => ("", if kept { "kept" } else { "BROKEN" }.to_owned() + &again),
        Contestant::BareFloor => (", bare floor", String::new()),
    };
    let sum = |count: fn(&Outcome) -> usize| all.iter().map(|one| count(one)).sum::<usize>();
    let most = |count: fn(&Outcome) -> usize| all.iter().map(|one| count(one)).max().unwrap_or(0);
    let overlap = all.iter().map(|one| one.ownership.overlap_ms).fold(0.0, f64::max);
    let lost = sum(|one| one.calls.lost);
    // Records are counted since the world was made: runs share one, so no sum of them is true.
    let records = (most(|one| one.records.missing), most(|one| one.records.acknowledged));
    [
        format!("{}{whose}", scenario.name()),
        all.len().to_string(),
        verdict,
        spread(all.iter().map(|one| one.outage_ms).collect()),
        format!("{lost} of {}", sum(|one| one.calls.placed)),
        format!("{} of {}", records.0, records.1),
        most(|one| one.records.salvaged).to_string(),
        format!("{overlap:.0}"),
        besides(scenario, contestant, all),
    ]
}

/// What was measured besides, and the goal where there is one.
fn besides(scenario: Scenario, contestant: Contestant, all: &[&Outcome]) -> String {
    let measured = |figure: Figure| -> Vec<f64> {
        let of = |one: &&Outcome| match figure {
            Figure::Outage => vec![one.outage_ms],
            _ => one
                .figures
                .iter()
                .filter(|(which, _)| *which == figure)
                .map(|(_, ms)| *ms)
                .collect(),
        };
        all.iter().flat_map(of).collect()
    };
    let goal = scenario.statement().goal.filter(|_| contestant == Contestant::Duotone);
    let mut figures: Vec<Figure> =
        all.iter().flat_map(|one| &one.figures).map(|(figure, _)| *figure).collect();
    figures.extend(goal.map(|(figure, _)| figure));
    figures.sort();
    figures.dedup();
    let words = figures.into_iter().map(|figure| {
        let values = measured(figure);
        let wanted = match goal.filter(|(wanted, _)| *wanted == figure) {
            Some((_, most)) if values.iter().any(|ms| *ms > most) => {
                format!(", goal {most:.0} MISSED")
            }
            Some((_, most)) => format!(", goal {most:.0} met"),
            None => String::new(),
        };
        format!("{} {}{wanted}", figure.words(), spread(values))
    });
    words.chain(survived(all)).collect::<Vec<_>>().join("\n")
}

/// The least of several runs.
fn survived(all: &[&Outcome]) -> Option<String> {
    let each = all.iter().filter_map(|one| one.survived);
    let least = each.min_by_key(|one| one.reachable + one.changed + one.ended)?;
    Some(format!(
        "phones {} of {}, calls {} of {}",
        least.reachable,
        least.registered,
        least.changed.min(least.ended),
        least.calls
    ))
}

fn costs(outcomes: &[Outcome]) -> String {
    let largest = |values: Vec<f64>| {
        values.into_iter().fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))))
    };
    let rss =
        largest(outcomes.iter().filter_map(|one| one.rss_kib).map(|kib| kib as f64).collect());
    let cpu = largest(outcomes.iter().filter_map(|one| one.cpu_percent).collect());
    match (rss, cpu) {
        (Some(rss), Some(cpu)) => format!(
            "the daemon of the active host while nothing happens: {:.1} MiB resident, {cpu:.1} % of a core (largest seen)\n",
            rss / 1024.0
        ),
        _ => String::new(),
    }
}

/// Median, with the extremes when there are several.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".to_owned(),
        [one] => format!("{one:.0}"),
        [least, .., most] => {
            format!("{:.0} ({least:.0}–{most:.0})", values[values.len() / 2])
        }
    }
}

/// Everything, for `--json`.
pub fn json(options: &DemoOptions, outcomes: &[Outcome]) -> serde_json::Value {
    json!({
        "preset": options.preset.to_string(),
        "mode": options.mode.to_string(),
        "durability": options.durability.to_string(),
        "kept": kept(outcomes),
        "runs": outcomes,
    })
}

/// Every scenario kept the promise (the floor makes none).
pub fn kept(outcomes: &[Outcome]) -> bool {
    outcomes
        .iter()
        .filter(|outcome| outcome.contestant == Contestant::Duotone)
        .all(|outcome| outcome.broken.is_empty())
}
