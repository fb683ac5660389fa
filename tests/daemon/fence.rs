//! A pair with a fence: an agent of the test's whose outlets are the lab hosts' power.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::pair::{Pair, Wanted, said};
use crate::witness::split;
use crate::world::{HOSTS, soon};

/// What a machine without real-time scheduling can keep.
const TIMES: &str = "lost_after = \"2s\"\narbiter = \"300ms\"\nshort_validity = \"300ms\"\n\
     long_validity = \"2s\"\nfence = \"8s\"\n";

const FENCE: &str = "[fence]\nmonitor = \"1s\"\n[[fence.device]]\nname = \"pdu\"\n\
     agent = \"HERE/fence_lab\"\noptions.plug = { pbx-a = \"a\", pbx-b = \"b\" }";

/// Asks for a plug to be switched off, and tells whether it is. `outlets` is the device, which both
/// hosts reach whatever becomes of their cables.
const AGENT: &str = "#!/bin/sh
outlets=${0%/*}/../outlets
while IFS== read -r key value; do
    case $key in action|plug) eval $key=$value;; esac
done
echo $action $plug >> $outlets/told
test -e $outlets/broken && { echo 'the device does not answer' >&2; exit 1; }
trap '' TERM
test -e $outlets/hangs && { sleep 600 & wait; sleep 600; }
case $action in
    off) touch $outlets/off-$plug;;
    status) test -e $outlets/dark-$plug && exit 2;;
esac
exit 0
";

/// A pair that serves, whose fence was asked and works; which node does.
fn settled() -> Option<(Pair, usize)> {
    let wanted =
        Wanted { arbitration: "[\"fence\"]", fence: FENCE, times: TIMES, ..Wanted::default() };
    let mut pair = Pair::new(wanted)?;
    fs::create_dir_all(outlets(&pair)).unwrap();
    for host in HOSTS {
        let agent = pair.world.files(host).join("fence_lab");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    }
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    soon("both fences work", || (0..2).all(|node| fence(&pair, node)["works"] == true));
    Some((pair, active))
}

fn outlets(pair: &Pair) -> PathBuf {
    pair.world.dir.join("outlets")
}

fn told(pair: &Pair) -> String {
    fs::read_to_string(outlets(pair).join("told")).unwrap_or_default()
}

/// The device does this, or no longer.
fn device(pair: &Pair, what: &str, is: bool) {
    let file = outlets(pair).join(what);
    if is { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
}

fn fence(pair: &Pair, node: usize) -> Value {
    pair.status(node)["fence"].clone()
}

/// The device: a host whose plug is to be off loses its power, then the plug is off.
fn obey(pair: &mut Pair) {
    for (node, host) in HOSTS.into_iter().enumerate() {
        let wanted = outlets(pair).join(format!("off-{host}"));
        let dark = outlets(pair).join(format!("dark-{host}"));
        if wanted.exists() && !dark.exists() {
            if pair.runs(node) {
                pair.power_off(node);
            }
            fs::write(dark, "").unwrap();
        }
    }
}

/// Waits while the device obeys.
#[track_caller]
fn obeying(pair: &mut Pair, what: &str, mut so: impl FnMut(&Pair) -> bool) {
    soon(what, || {
        obey(pair);
        so(pair)
    });
}

/// Somebody presses the button of a host.
fn power_on(pair: &mut Pair, node: usize) {
    for file in ["off", "dark"] {
        let _ = fs::remove_file(outlets(pair).join(format!("{file}-{}", HOSTS[node])));
    }
    pair.power_on(node);
}

#[test]
fn a_host_without_power_is_replaced_when_the_fence_has_seen_it_off() {
    let Some((mut pair, active)) = settled() else { return };
    let standby = 1 - active;
    pair.world.cut(HOSTS[active], "eth1");
    pair.power_off(active);
    let plug = format!("off-{}", HOSTS[active]);
    soon("it is to be powered off", || outlets(&pair).join(&plug).exists());
    assert!(!pair.serves(standby), "the plug is not off yet");
    obeying(&mut pair, "the standby serves", |pair| pair.serves(standby));
    pair.ownership.assert_never_two();
    let seen = fence(&pair, standby);
    assert!(seen["off_ms"].is_u64() && seen["reported"] == "off", "{seen:#}");
    assert_eq!(told(&pair).matches("off ").count(), 1, "{}", told(&pair));
    let status = pair.status(standby);
    let marks = status["timeline"].as_array().expect("a timeline");
    let order: Vec<usize> = ["lost", "fence", "fenced", "address", "active"]
        .iter()
        .map(|what| marks.iter().position(|mark| mark["what"] == *what).expect(what))
        .collect();
    assert!(order.is_sorted(), "{marks:#?}");
    let peer = status["peer"].as_str().expect("a name");
    assert!(pair.log(standby).contains(&format!("fence: {peer} was to be powered off and is off")));
    let explained = pair.ask(standby, &["explain"]).out;
    assert!(explained.contains(&format!("{peer} was powered off ")), "{explained}");
    assert!(explained.contains(&format!("a takeover needs {peer} seen powered off")));

    // What was switched off returns as standby, and what was known of its power is void.
    power_on(&mut pair, active);
    assert_eq!(pair.settle(), standby);
    assert!(fence(&pair, standby)["off_ms"].is_null());
    assert_eq!(told(&pair).matches("off ").count(), 1, "{}", told(&pair));
    pair.ownership.assert_never_two();
}

#[test]
fn of_two_that_lose_each_other_the_standby_is_powered_off() {
    let Some((mut pair, active)) = settled() else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    split(&pair, true);
    obeying(&mut pair, "the standby is off", |pair| !pair.runs(standby));
    obeying(&mut pair, "the active node knows it", |pair| fence(pair, active)["off_ms"].is_u64());
    assert!(pair.runs(active) && pair.serves(active), "never both");
    assert_eq!(pair.status(active)["term"], term, "nothing has moved");
    assert!(!told(&pair).contains(&format!("off {}", HOSTS[active])), "{}", told(&pair));
    pair.world.mend(HOSTS[standby], "eth0");
    split(&pair, false);
    power_on(&mut pair, standby);
    assert_eq!(pair.settle(), active);
    pair.ownership.assert_never_two();
}

#[test]
fn a_fence_that_hangs_lets_nobody_take_over_until_it_works() {
    let Some((mut pair, active)) = settled() else { return };
    let standby = 1 - active;
    device(&pair, "hangs", true);
    pair.power_off(active);
    soon("the first order came to nothing", || {
        let seen = fence(&pair, standby);
        seen["failures"].as_u64() >= Some(1) && seen["works"] == false
    });
    assert!(!pair.serves(standby));
    let told = "the agent was killed";
    assert!(pair.log(standby).contains(told), "{}", pair.log(standby));
    let explained = pair.ask(standby, &["explain"]).out;
    assert!(explained.contains("order(s) did not help; the next one in"), "{explained}");
    device(&pair, "hangs", false);
    obeying(&mut pair, "the standby serves", |pair| pair.serves(standby));
    pair.ownership.assert_never_two();
    power_on(&mut pair, active);
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
}

#[test]
fn a_fence_that_does_not_work_is_told_before_it_is_needed() {
    let Some((pair, active)) = settled() else { return };
    let standby = 1 - active;
    let asks = |node: usize| said(&mut pair.duotone(node, &["fence", "status"]));
    let works = asks(standby);
    assert_eq!(works.code, 0, "{works:?}");
    assert!(works.out.contains(" has power\n") && works.out.contains("works; on"), "{works:?}");
    device(&pair, "broken", true);
    for node in 0..2 {
        soon("it is known", || fence(&pair, node)["works"] == false);
    }
    let told = "the fence does not work: a takeover would not be possible";
    let shown = pair.ask(standby, &["status"]).out;
    assert!(shown.contains(&format!("is NO GOOD standby: {told}")), "{shown}");
    assert!(shown.contains("pdu: monitor: the agent exited with code 1: the device does not"));
    assert!(pair.ask(standby, &["explain"]).out.contains(told));
    let broken = asks(standby);
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(broken.out.contains("DOES NOT WORK"), "{broken:?}");
    std::thread::sleep(Duration::from_secs(4));
    for node in 0..2 {
        let log = pair.log(node);
        assert_eq!(log.matches(told).count(), 1, "once, not with every question:\n{log}");
    }
    assert!(pair.serves(active));
    device(&pair, "broken", false);
    soon("it works again", || (0..2).all(|node| fence(&pair, node)["works"] == true));
    soon("the log tells it", || pair.log(standby).contains("the fence works again"));
    assert_eq!(asks(standby).code, 0);
    assert!(!told_off(&pair));
}

/// Somebody was to be powered off.
fn told_off(pair: &Pair) -> bool {
    told(pair).lines().any(|line| line.starts_with("off "))
}
