//! A pair with a witness on the third machine: it grants the role once, and is missed only then.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::pair::{DUOTONE, KEY, Pair, Wanted, said};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::{HOSTS, World, X, soon};

/// What a machine without real-time scheduling can keep.
const TIMES: &str = "lost_after = \"2s\"\narbiter = \"300ms\"\nshort_validity = \"300ms\"\n\
     long_validity = \"2s\"\n";

fn wanted() -> Wanted {
    Wanted {
        arbitration: "[\"lan\", \"witness\"]",
        witness: "[witness]\naddress = [\"192.0.2.4:4690\", \"[2001:db8::4]:4690\"]",
        times: TIMES,
        ..Wanted::default()
    }
}

/// The witness; it dies with this value.
struct Witness(Option<Child>);

impl Witness {
    fn start(world: &World) -> Witness {
        let files = world.files(X);
        fs::create_dir_all(&files).unwrap();
        let key = files.join("office.key");
        fs::write(&key, KEY).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "state_dir = \"{0}/state\"\nsocket = \"{0}/witness.sock\"\n[[pair]]\n\
             name = \"office\"\nkey_file = \"{0}/office.key\"\n",
            files.display()
        );
        fs::write(files.join("witness.toml"), text).unwrap();
        let log = File::options().create(true).append(true).open(files.join("log")).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", world.namespace(X)));
        command.args(["setpriv", "--pdeathsig", "KILL", DUOTONE, "witness", "run", "--config"]);
        command.arg(files.join("witness.toml")).env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Witness(Some(command.spawn().unwrap()))
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How the witness stands.
fn status(pair: &Pair) -> Value {
    let config = pair.world.files(X).join("witness.toml");
    let mut command = Command::new(DUOTONE);
    let said = said(command.args(["witness", "status", "--json", "--config"]).arg(config));
    serde_json::from_str(&said.out).unwrap_or_default()
}

/// What the witness has of the pair.
fn ledger(pair: &Pair) -> Value {
    status(pair)["pairs"][0].clone()
}

fn up(pair: &Pair) -> Duration {
    Duration::from_millis(status(pair)["up_ms"].as_u64().unwrap_or(0))
}

/// A pair that serves and hears its witness.
fn settled() -> Option<(Pair, usize, Witness)> {
    let mut pair = Pair::new(wanted())?;
    let witness = Witness::start(&pair.world);
    pair.start(0);
    pair.start(1);
    let active = pair.settle();
    soon("both hear the witness", || (0..2).all(|node| hears(&pair, node)));
    Some((pair, active, witness))
}

fn hears(pair: &Pair, node: usize) -> bool {
    pair.status(node)["witness"]["answers"] == true
}

/// The two hosts hear each other no more; everybody else hears both.
pub fn split(pair: &Pair, apart: bool) {
    for host in HOSTS {
        let isolated = if apart { "on" } else { "off" };
        let port = format!("link set eth0-{host} type bridge_slave isolated {isolated}");
        pair.world.ip("lan", &port);
    }
    for host in HOSTS {
        if apart {
            pair.world.cut(host, "eth1");
        } else {
            pair.world.mend(host, "eth1");
        }
    }
}

#[test]
fn a_host_without_power_is_replaced_by_the_witness_s_grant() {
    let Some((mut pair, active, _witness)) = settled() else { return };
    let standby = 1 - active;
    pair.power_off(active);
    pair.serves_soon(standby);
    pair.ownership.assert_never_two();
    let ledger = ledger(&pair);
    assert_eq!(ledger["holder"], HOSTS[standby], "{ledger:#}");
    assert!(ledger["in_force_ms"].is_u64(), "it renews: {ledger:#}");
    let status = pair.status(standby);
    assert_eq!(status["witness"]["holder"], status["node"]);
    assert!(status["witness"]["grant_ms"].is_u64(), "{:#}", status["witness"]);
    let marks = status["timeline"].as_array().expect("a timeline");
    let granted = marks.iter().find(|mark| mark["what"] == "granted");
    let granted = granted.unwrap_or_else(|| panic!("no grant in {marks:#?}"));
    let text = format!("the witness granted term {}", status["term"].as_str().unwrap());
    assert_eq!(granted["text"], text);
    assert!(pair.log(standby).contains(&text));
    let explained = pair.ask(standby, &["explain"]).out;
    assert!(explained.contains("the witness, asked") && explained.contains("its grant lasts"));

    // What was switched off returns as standby.
    pair.power_on(active);
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
}

#[test]
fn a_witness_that_is_down_harms_nothing_and_is_missed_in_time() {
    on_a_steady_machine(PAIR_BEARS, down_harms_nothing);
}

fn down_harms_nothing() {
    let Some((pair, active, mut witness)) = settled() else { return };
    let standby = 1 - active;
    let term = pair.status(active)["term"].clone();
    witness.stop();
    soon("both nodes tell that it does not answer", || {
        (0..2).all(|node| pair.status(node)["witness"]["answers"] == false)
    });
    assert!(pair.serves(active));
    assert_eq!(pair.status(active)["term"], term, "nothing has moved");
    let told = "the witness does not answer: a takeover would not be possible";
    for node in 0..2 {
        soon("the log tells it", || pair.log(node).contains(told));
    }
    let shown = pair.ask(standby, &["status"]).out;
    assert!(shown.contains("is NO GOOD standby: the witness does not answer"), "{shown}");
    assert!(pair.ask(standby, &["explain"]).out.contains(told));

    for node in 0..2 {
        assert_eq!(pair.log(node).matches(told).count(), 1, "once, not with every question");
    }
    let moved = pair.ask(active, &["switchover", "--reason", "test"]);
    assert_eq!(moved.code, 0, "{moved:?}");
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();

    witness = Witness::start(&pair.world);
    soon("it is heard again", || (0..2).all(|node| hears(&pair, node)));
    assert!(pair.log(standby).contains("the witness answers again"));
    drop(witness);
}

#[test]
fn nodes_that_lose_each_other_keep_one_owner() {
    let Some((pair, active, _witness)) = settled() else { return };
    let standby = 1 - active;
    // A witness that knows of no grant refuses everybody for one grant and one certificate.
    soon("the witness has been up for long enough", || up(&pair) >= Duration::from_secs(14));
    split(&pair, true);
    soon("the witness refuses the standby what the active node has", || {
        let status = pair.status(standby);
        status["witness"]["verdict"] == "refused: held by the peer"
    });
    assert!(pair.serves(active));
    // Longer than a grant lasts: it is renewed.
    std::thread::sleep(Duration::from_secs(8));
    assert!(pair.serves(active) && !pair.serves(standby));
    assert_eq!(ledger(&pair)["holder"], HOSTS[active]);
    pair.ownership.assert_never_two();
    split(&pair, false);
    assert_eq!(pair.settle(), active);
    pair.ownership.assert_never_two();
}

#[test]
fn an_active_node_that_is_cut_off_gives_up_before_the_other_takes() {
    let Some((pair, active, _witness)) = settled() else { return };
    let standby = 1 - active;
    pair.world.cut(HOSTS[active], "eth0");
    pair.world.cut(HOSTS[active], "eth1");
    pair.serves_soon(standby);
    assert!(!pair.serves(active));
    pair.ownership.assert_never_two();
    assert_eq!(ledger(&pair)["holder"], HOSTS[standby]);
    pair.world.mend(HOSTS[active], "eth0");
    pair.world.mend(HOSTS[active], "eth1");
    assert_eq!(pair.settle(), standby);
    pair.ownership.assert_never_two();
}
