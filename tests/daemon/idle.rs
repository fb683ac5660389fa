//! What a pair costs while nothing happens. Not a test of right or wrong: figures for a person.
//!
//! `cargo test --release --test daemon -- --ignored --nocapture idle`

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster;
use crate::world::HOSTS;

const SPAN: Duration = Duration::from_secs(20);

/// Processor time of each thread so far, by its name (proc(5), schedstat).
fn spent(pid: i32) -> Vec<(String, Duration)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running daemon");
    let mut spent: Vec<(String, Duration)> = threads
        .filter_map(|thread| {
            let path = thread.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?.trim().to_owned();
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            let nanos = text.split_whitespace().next()?.parse().ok()?;
            Some((name, Duration::from_nanos(nanos)))
        })
        .collect();
    spent.sort();
    spent
}

#[test]
#[ignore = "figures, not right or wrong"]
fn what_an_idle_pair_costs() {
    if cluster::is_missing() {
        return;
    }
    for preset in ["voice", "fast"] {
        let Some(mut pair) = cluster::pair("available") else { return };
        pair.wanted.preset = preset;
        pair.wanted.times = "";
        pair.configure();
        pair.start(0);
        pair.start(1);
        let active = pair.settle();
        std::thread::sleep(Duration::from_secs(3));
        let turns = |node: usize| pair.status(node)["pulse"]["turns"].as_u64().unwrap_or(0);
        let before = [0, 1].map(|node| (spent(pair.pid(node)), turns(node)));
        let began = Instant::now();
        std::thread::sleep(SPAN);
        for (node, (before, turns_before)) in before.into_iter().enumerate() {
            let span = began.elapsed().as_secs_f64();
            let mut total = 0.0;
            let mut threads = String::new();
            for ((name, after), (_, before)) in spent(pair.pid(node)).iter().zip(&before) {
                let percent = (*after - *before).as_secs_f64() / span * 100.0;
                total += percent;
                threads += &format!(", {name} {percent:.2}");
            }
            let role = if node == active { "active" } else { "standby" };
            let turns = (turns(node) - turns_before) as f64 / span;
            println!(
                "{preset}, {role} {}: {total:.2} % of a core{threads}; {turns:.0} turns a second",
                HOSTS[node]
            );
        }
    }
}
