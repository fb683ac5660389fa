//! The role goes back to where it belongs, and a node that left comes back alone.

use std::time::{Duration, Instant};

use crate::pair::{Pair, V4, Wanted};
use crate::world::{HOSTS, soon};

/// Far longer than a pair needs to be in order again, so that it is seen to wait.
const HOLD_OFF: Duration = Duration::from_secs(12);

#[test]
fn the_role_goes_back_by_itself_once_the_preferred_node_was_in_order_for_long_enough() {
    let wanted = Wanted {
        pair: "preferred = \"pbx-a\"\nfailback = \"automatic\"\nfailback_after = \"12s\"",
        ..Wanted::patient()
    };
    let Some((mut pair, active)) = Pair::settled(wanted) else { return };
    assert_eq!(active, 0);
    assert_eq!(pair.terminate(0), Some(0));
    pair.serves_soon(1);
    pair.start(0);
    let back = Instant::now();
    assert_eq!(pair.settle(), 1, "not at once");
    // It goes away once more in the meantime: what it had waited is void.
    std::thread::sleep(HOLD_OFF / 2);
    assert!(pair.serves(1), "before its time");
    pair.kill(0);
    soon("it is missed", || pair.status(1)["peer_seen"]["liveness"] == "lost");
    let again = Instant::now();
    pair.start(0);
    pair.serves_soon(0);
    assert!(again.elapsed() >= HOLD_OFF, "{:?} after its second return", again.elapsed());
    assert!(back.elapsed() >= HOLD_OFF);
    assert_eq!(pair.settle(), 0);
    let given = crate::operate::entry(&pair, 1, "handover-given");
    assert_eq!(given["outcome"], "handed-over", "{given}");
    assert!(given["order"].is_null(), "nobody ordered it: {given}");
    // There it stays.
    std::thread::sleep(HOLD_OFF / 4);
    assert!(pair.serves(0));
    pair.ownership.assert_never_two();
}

/// A peer that is gone may have relied on this node's leave and serve: only a person knows.
#[test]
fn recover_without_the_peer_names_the_order_that_only_a_person_can_give() {
    let Some((mut pair, active)) = Pair::settled(Wanted::patient()) else { return };
    let standby = 1 - active;
    let left = pair.ask(standby, &["leave"]);
    assert_eq!(left.code, 0, "{left:?}");
    pair.power_off(active);
    soon("the other is lost", || pair.status(standby)["peer_seen"]["liveness"] == "lost");
    assert_eq!(pair.status(standby)["role"], "held");
    for verb in ["recover", "return"] {
        let refused = pair.ask(standby, &[verb]);
        assert_eq!(refused.code, 6, "{verb}: {refused:?}");
        let words = "or, if it is off for good: duotone failover --force --reason";
        assert!(refused.err.contains(words), "{verb}: {refused:?}");
    }
    let offers = pair.status(standby)["offers"].to_string();
    assert!(offers.contains("failover --force") && !offers.contains("duotone return"), "{offers}");
    // Neither a restart nor time makes it serve.
    pair.kill(standby);
    pair.start(standby);
    soon("it is held again", || pair.status(standby)["role"] == "held");
    let refused = pair.ask(standby, &["failover"]);
    assert!(refused.code == 6 && refused.err.contains("--force"), "{refused:?}");
    assert!(!pair.world.has(HOSTS[standby], V4));

    let words = ["failover", "--force", "--reason", "it burnt down"];
    let forced = pair.ask(standby, &words);
    assert_eq!((forced.code, forced.out.as_str()), (0, "this node serves\n"), "{}", forced.err);
    assert!(pair.serves(standby) && pair.world.has(HOSTS[standby], V4));
    let nothing = pair.ask(standby, &["recover"]);
    assert!(nothing.code == 0 && nothing.out.contains("nothing is held"), "{nothing:?}");
    pair.ownership.assert_never_two();
}
