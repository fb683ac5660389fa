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

#[test]
fn what_the_old_active_node_alone_had_is_salvaged_and_it_stands_by() {
    if cluster::is_missing() {
        return;
    }
    let Some(mut pair) = cluster::pair("available") else { return };
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

    power_on(&mut pair, active);
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
    let rows = "SELECT count(*) || ' ' || max(n) FROM calls";
    soon("it has the other's rows, and only those", || sql(&pair, active, rows) == "101 200");
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
    sql(&pair, standby, "INSERT INTO calls VALUES (201)");
    assert_eq!(pair.status(standby)["database"]["synchronous"], true);
}
