//! What the demo prints, and what it writes for machines.

use comfy_table::Table;
use serde_json::json;

use super::DemoOptions;
use super::outcome::Outcome;
use super::scenario::{Contestant, Scenario};

/// One scenario's story.
pub fn story(outcome: &Outcome) -> String {
    let (before, after) = &outcome.active;
    let mut text = format!(
        "  expected: {}\n  {before} served before; {after} serves now: {}\n",
        outcome.scenario.expectation(),
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
        "  records acknowledged {}, present {}, missing {}; longest wait {:.0} ms\n",
        records.acknowledged, records.present, records.missing, records.longest_wait_ms
    );
    text += &format!(
        "  two owners for {:.1} ms (kernels), late claims {} (ARP), address changes {}\n",
        ownership.overlap_ms, ownership.late_claims, ownership.moves
    );
    text += &verdict(outcome);
    text
}

fn verdict(outcome: &Outcome) -> String {
    if outcome.contestant == Contestant::BareFloor {
        return "  (the floor promises nothing; its figures are for comparison)\n".to_owned();
    }
    if outcome.broken.is_empty() {
        return "  KEPT\n".to_owned();
    }
    format!("  BROKEN: {}\n", outcome.broken.join("; "))
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
        "records",
        "two owners, ms",
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

fn row(scenario: Scenario, contestant: Contestant, all: &[&Outcome]) -> [String; 7] {
    let kept = all.iter().all(|one| one.broken.is_empty());
    let (whose, verdict) = match contestant {
        Contestant::Duotone => ("", if kept { "kept" } else { "BROKEN" }),
        Contestant::BareFloor => (", bare floor", ""),
    };
    let sum = |count: fn(&Outcome) -> usize| all.iter().map(|one| count(one)).sum::<usize>();
    let overlap = all.iter().map(|one| one.ownership.overlap_ms).fold(0.0, f64::max);
    let acknowledged = sum(|one| one.records.acknowledged);
    let missing = sum(|one| one.records.missing);
    let lost = sum(|one| one.calls.lost);
    [
        format!("{}{whose}", scenario.name()),
        all.len().to_string(),
        verdict.to_owned(),
        spread(all.iter().map(|one| one.outage_ms).collect()),
        format!("{lost} of {}", sum(|one| one.calls.placed)),
        format!("{missing} missing of {acknowledged}"),
        format!("{overlap:.0}"),
    ]
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
