//! The old active node returns with rows that nobody else has.

use crate::cluster::{self, sql};
use crate::pair::{Pair, said};
use crate::world::{HOSTS, soon};

fn power_on(pair: &mut Pair, node: usize) {
    pair.world.ip(HOSTS[node], "addr flush dev eth0 to 192.0.2.10");
    pair.ownership.power(node, true);
    pair.world.mend(HOSTS[node], "eth0");
    pair.world.mend(HOSTS[node], "eth1");
    pair.start(node);
}

/// Both served without the other: `active` has the rows 1 to 102, `standby` the first 100 and 200,
/// and serves. `active` is without power.
fn parted() -> Option<(Pair, usize, usize)> {
    if cluster::is_missing() {
        return None;
    }
    let mut pair = cluster::pair("available")?;
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    let standby = 1 - active;
    sql(&pair, active, "INSERT INTO calls SELECT generate_series(1, 100)");
    pair.power_off(standby);
    soon("it acknowledges alone", || pair.status(active)["alone"] == true);
    sql(&pair, active, "INSERT INTO calls VALUES (101), (102)");
    pair.power_off(active);

    // The other alone at boot: it serves, and may lack rows.
    power_on(&mut pair, standby);
    pair.serves_soon(standby);
    soon("it acknowledges alone", || pair.status(standby)["alone"] == true);
    assert_eq!(sql(&pair, standby, "SELECT count(*) FROM calls"), "100");
    sql(&pair, standby, "INSERT INTO calls VALUES (200)");
    Some((pair, active, standby))
}

/// It stands by with the other's rows and only those, and its own are in one salvage.
fn is_back(pair: &mut Pair, active: usize, standby: usize) {
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
    let rows = "SELECT count(*) || ' ' || max(n) FROM calls";
    soon("it has the other's rows, and only those", || sql(pair, active, rows) == "101 200");
    let listed = said(&mut pair.duotone(active, &["salvage", "list", "--json"]));
    assert_eq!(listed.code, 0, "{listed:?}");
    let listed: serde_json::Value = serde_json::from_str(&listed.out).expect("JSON");
    let salvages = listed["salvages"].as_array().expect("a list").clone();
    assert_eq!(salvages.len(), 1, "{listed:#}");
    let tables = &salvages[0]["manifest"]["tables"];
    assert_eq!(
        (&tables[0]["table"], &tables[0]["rows"]),
        (&"calls".into(), &2.into()),
        "{listed:#}"
    );
    let id = salvages[0]["manifest"]["id"].as_str().expect("an id");
    let shown = said(&mut pair.duotone(active, &["salvage", "show", id]));
    assert!(shown.out.contains("{\"n\": 101}") && shown.out.contains("{\"n\": 102}"), "{shown:?}");
    // A commit waits for it again.
    sql(pair, standby, "INSERT INTO calls VALUES (201)");
    assert_eq!(pair.status(standby)["database"]["synchronous"], true);
}

#[test]
fn what_the_old_active_node_alone_had_is_salvaged_and_it_stands_by() {
    let Some((mut pair, active, standby)) = parted() else { return };
    power_on(&mut pair, active);
    is_back(&mut pair, active, standby);
}

/// Whatever it was doing: what the daemon ran ends with it, and its next life goes on there.
#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_rejoin_goes_on_when_it_is_started_again() {
    let Some((mut pair, active, standby)) = parted() else { return };
    power_on(&mut pair, active);
    let mut killed = Vec::new();
    for _ in 0..4 {
        let mut doing = String::new();
        soon("it rejoins, or has", || {
            let status = pair.status(active);
            let now = status["database"]["rejoin"].as_str().unwrap_or_default();
            if !now.is_empty() && !killed.contains(&now.to_owned()) {
                now.clone_into(&mut doing);
            }
            !doing.is_empty() || status["database"]["streaming"] == true
        });
        if doing.is_empty() {
            break;
        }
        pair.kill(active);
        killed.push(doing);
        assert!(pair.serves(standby), "killed while {killed:?}");
        pair.start(active);
    }
    assert!(!killed.is_empty(), "it was not met at rejoining");
    eprintln!("killed while: {killed:?}");
    is_back(&mut pair, active, standby);
}
