//! `make bench-pacemaker`: the same faults on the same cluster, with the same times, for each
//! contestant, and a table of medians.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::cluster;
use crate::command::soon;
use crate::contestant::Contestant;
use crate::database;
use crate::lab::Lab;
use crate::network::NODES;

/// How long a host that is back may need to stand by without hands.
const BY_ITSELF: Duration = Duration::from_secs(40);

/// Long enough for every monitor to have run twice.
const MONITORS: Duration = Duration::from_secs(8);

/// What one contestant showed.
#[derive(Default)]
struct Seen {
    power_off: Vec<Duration>,
    switchover: Vec<Duration>,
    rejoin: Vec<Duration>,
    /// Of the rejoins: how many somebody had to help.
    by_hand: usize,
    /// Acknowledged rows that are not there.
    lost: usize,
}

#[test]
#[ignore = "takes minutes: make bench-pacemaker"]
fn bench() {
    if !crate::ready(&["/usr/lib/ocf/resource.d/heartbeat/pgsqlms"]) {
        return;
    }
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let rows: String = [Contestant::Paf, Contestant::Duotone]
        .map(|contestant| match played(contestant, runs) {
            Ok(seen) => row(contestant, &seen),
            Err(error) => panic!("{}: {error:#}", contestant.name()),
        })
        .concat();
    println!(
        "\ncorosync token 500 ms, monitors every 3 s and 4 s, fencing by a power switch; {runs} runs.\n\
         Outage: from the fault or the command to the first acknowledged commit of a client that\n\
         gives up a commit after 500 ms. Rejoin: from the boot of the fenced host until it stands by.\n\
         PAF commits without waiting for the standby, duotone with it. Median (least to most), ms.\n\n\
         | | outage after power-off | switchover | rejoin | of these by hand | acknowledged rows lost |\n\
         |---|---|---|---|---|---|\n{rows}"
    );
}

fn played(contestant: Contestant, runs: usize) -> anyhow::Result<Seen> {
    let lab = Lab::build(contestant)?;
    let mut seen = Seen::default();
    for run in 1..=runs {
        if let Err(error) = one_run(&lab, &mut seen) {
            return Err(error.context(cluster::told(&lab.machines)));
        }
        println!(
            "{} run {run}: power-off {:.1?}, switchover {:.1?}, rejoin {:.1?}",
            contestant.name(),
            seen.power_off.last(),
            seen.switchover.last(),
            seen.rejoin.last()
        );
    }
    Ok(seen)
}

fn one_run(lab: &Lab, seen: &mut Seen) -> anyhow::Result<()> {
    let from = lab.good()?;
    let since = Instant::now();
    let resource = ["crm_resource", "--resource", "db-clone"];
    let to = ["--move", "--promoted", "--node", NODES[1 - from]];
    lab.machines.run(from, &[&resource[..], &to].concat())?;
    lab.serves(1 - from)?;
    seen.switchover.push(lab.outage(since)?);
    lab.machines.run(from, &[&resource[..], &["--clear"]].concat())?;

    let from = lab.good()?;
    // PAF gives a standby its score at the primary's next monitors; until then it promotes nobody.
    std::thread::sleep(MONITORS);
    let since = Instant::now();
    lab.machines.power_off(from)?;
    lab.serves(1 - from)?;
    seen.power_off.push(lab.outage(since)?);
    seen.lost = seen.lost.max(lab.lost()?.len());

    let since = Instant::now();
    lab.boot(from)?;
    let stands_by = || lab.stands_by(from);
    if soon("it stands by", BY_ITSELF, stands_by).is_err() {
        seen.by_hand += 1;
        by_hand(lab, from)?;
        soon("it stands by", cluster::PATIENCE, stands_by)?;
    }
    seen.rejoin.push(since.elapsed());
    ensure!(lab.good()? == 1 - from, "the role went back");
    Ok(())
}

/// What an administrator does: the cluster is kept off the host while it gets a new copy.
fn by_hand(lab: &Lab, node: usize) -> anyhow::Result<()> {
    lab.machines.power_off(node)?;
    lab.machines.power_on(node)?;
    database::copy_by_hand(&lab.machines, node)?;
    cluster::start(&lab.machines, node)?;
    let cleanup = ["crm_resource", "--cleanup", "--resource", "db"];
    lab.machines.run(1 - node, &cleanup).map(drop)
}

fn row(contestant: Contestant, seen: &Seen) -> String {
    let times = |times: &[Duration]| {
        let mut ms: Vec<u128> = times.iter().map(Duration::as_millis).collect();
        ms.sort_unstable();
        match ms.as_slice() {
            [] => "-".to_owned(),
            [least, .., most] => format!("{} ({least} to {most})", ms[ms.len() / 2]),
            [one] => one.to_string(),
        }
    };
    let Seen { power_off, switchover, rejoin, by_hand, lost } = seen;
    format!(
        "| {} | {} | {} | {} | {by_hand} of {} | {lost} |\n",
        contestant.name(),
        times(power_off),
        times(switchover),
        times(rejoin),
        rejoin.len()
    )
}
