//! `make bench-pacemaker`: the same faults on the same cluster for each contestant.

use std::time::{Duration, Instant};

use crate::cluster;
use crate::contestant::Contestant;
use crate::lab::Lab;
use crate::network::NODES;

#[test]
#[ignore = "takes minutes: make bench-pacemaker"]
fn bench() {
    if !crate::ready(&["/usr/lib/ocf/resource.d/heartbeat/pgsqlms"]) {
        return;
    }
    let began = Instant::now();
    let lab = Lab::build(Contestant::Paf);
    if let Err(e) = &lab { eprintln!("{e:#}"); }
    let lab = lab.expect("built");
    eprintln!("built in {:?}", began.elapsed());
    let runs = || -> anyhow::Result<()> {
        let from = lab.promoted()?;
        let since = Instant::now();
        let mv = ["crm_resource", "--move", "-r", "db-clone", "-N", NODES[1 - from], "--promoted"];
        lab.machines.run(from, &mv)?;
        lab.serves(1 - from)?;
        eprintln!("move: {:?}", lab.outage(since)?);
        lab.machines.run(from, &["crm_resource", "--clear", "-r", "db-clone"])?;
        let from = lab.good()?;
        let since = Instant::now();
        lab.machines.power_off(from)?;
        lab.serves(1 - from)?;
        eprintln!("power-off: {:?} fenced {}", lab.outage(since)?, lab.machines.fenced(from));
        eprintln!("rows {}", lab.every_row_is_there()?);
        let since = Instant::now();
        lab.boot(from)?;
        lab.good()?;
        eprintln!("rejoin: {:?}, both {:?}", since.elapsed(), lab.watch.both());
        Ok(())
    };
    let done = runs();
    eprintln!("{}", cluster::told(&lab.machines));
    std::thread::sleep(Duration::ZERO);
    done.expect("done");
}
