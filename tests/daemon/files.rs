//! What is wrong with the daemon's files is said in words that help.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::pair::{DUOTONE, Pair, Said, V4, Wanted, said};
use crate::steady::{PAIR_BEARS, on_a_steady_machine};
use crate::world::HOSTS;

#[test]
fn a_damaged_memory_holds_the_node_until_a_person_decides() {
    on_a_steady_machine(PAIR_BEARS, damaged_memory_holds);
}

fn damaged_memory_holds() {
    let Some((mut pair, active)) = Pair::settled(Wanted::default()) else { return };
    let standby = 1 - active;
    pair.terminate(standby);
    let state = pair.world.files(HOSTS[standby]).join("state/state");
    let mut bytes = fs::read(&state).expect("the state file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&state, bytes).unwrap();
    pair.start(standby);
    crate::world::soon("it is held", || pair.status(standby)["role"] == "held");
    crate::world::soon("it hears who serves", || {
        pair.ask(standby, &["status"]).out.starts_with("pbx-a serves;")
    });
    let status = pair.status(standby);
    assert_eq!(status["why"], "the state file is damaged");
    assert!(status["advice"].as_str().is_some_and(|advice| advice.contains("duotone recover")));
    let human = pair.ask(standby, &["status"]).out;
    assert!(human.starts_with("pbx-a serves; pbx-b (this host) is HELD"), "{human}");
    let log = pair.log(standby);
    assert!(log.contains("checksum does not match") && log.contains("/state/state aside"), "{log}");
    let explained = pair.ask(standby, &["explain"]).out;
    assert!(explained.contains("this node is held: the state file is damaged"), "{explained}");

    // Not even when the other is gone for good.
    pair.power_off(active);
    crate::world::soon("the other is lost", || {
        pair.status(standby)["peer_seen"]["liveness"] == "lost"
    });
    let words = ["failover", "--force", "--reason", "the other burnt down"];
    let refused = pair.ask(standby, &words);
    assert!(refused.code == 6 && refused.err.contains("state file is damaged"), "{refused:?}");
    assert!(!pair.world.has(HOSTS[standby], V4));

    pair.terminate(standby);
    fs::rename(&state, state.with_extension("damaged")).unwrap();
    pair.start(standby);
    crate::world::soon("it serves", || pair.serves(standby));
}

/// A configuration that is good but for what the tests change; nothing of it needs root.
struct Files(std::path::PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let path = std::env::temp_dir().join(format!("dtdf{}{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let files = Files(path);
        files.write(|text| text);
        let made = said(Command::new(DUOTONE).arg("keygen").arg(files.key()));
        assert_eq!(made.code, 0, "{made:?}");
        files
    }

    fn key(&self) -> std::path::PathBuf {
        self.0.join("pair.key")
    }

    fn write(&self, change: impl Fn(String) -> String) {
        let text = include_str!("../../examples/duotone.toml")
            .replace("/etc/duotone/pair.key", &self.key().display().to_string())
            .replace("# state_dir = \"/var/lib/duotone\"", &self.setting("state_dir", "state"))
            .replace("# socket = \"/run/duotone/control.sock\"", &self.setting("socket", "sock"));
        fs::write(self.0.join("duotone.toml"), change(text)).unwrap();
    }

    fn setting(&self, key: &str, file: &str) -> String {
        format!("{key} = \"{}\"", self.0.join(file).display())
    }

    fn run(&self) -> Said {
        let mut command = Command::new(DUOTONE);
        command.args(["run", "--node", "pbx-a", "--config"]).arg(self.0.join("duotone.toml"));
        for name in ["DUOTONE_CONFIG", "DUOTONE_NODE", "DUOTONE_SOCKET"] {
            command.env_remove(name);
        }
        said(&mut command)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_wrong_file_is_told_with_everything_that_is_wrong() {
    let files = Files::new("wrong");
    files.write(|text| {
        text.replace("preset = \"voice\"", "preset = \"voice\"\ncolour = \"red\"")
            .replace("name = \"pbx-b\"", "name = \"pbx-a\"")
            .replace("# interval = \"50ms\"", "interval = \"50 parsecs\"")
            .replace("192.0.2.10/24", "192.0.2.10")
    });
    let wrong = files.run();
    assert_eq!((wrong.code, wrong.out.as_str()), (3, ""), "{wrong:?}");
    let lines: Vec<&str> = wrong.err.lines().collect();
    for wanted in ["colour", "interval", "pbx-a", "192.0.2.10"] {
        let told = lines.iter().filter(|line| line.contains(wanted));
        let placed = |line: &&&str| {
            let rest = line.split("duotone.toml:").nth(1).unwrap_or_default();
            let mut numbers = rest.splitn(3, ':').map(str::parse::<u32>);
            numbers.next().is_some_and(|n| n.is_ok()) && numbers.next().is_some_and(|n| n.is_ok())
        };
        assert!(told.filter(placed).count() >= 1, "{wanted} with line and column: {lines:#?}");
    }
}

#[test]
fn a_key_that_is_missing_or_anybody_s_is_not_used() {
    let files = Files::new("key");
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = files.run();
    assert!(open.code == 3 && open.err.contains("mode 0644"), "{open:?}");
    assert!(open.err.contains("chmod 600"), "{open:?}");
    fs::remove_file(files.key()).unwrap();
    let missing = files.run();
    assert!(missing.code == 3 && missing.err.contains("duotone keygen"), "{missing:?}");
    fs::write(files.key(), "not a key\n").unwrap();
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o600)).unwrap();
    let nonsense = files.run();
    assert_eq!(nonsense.code, 3, "{nonsense:?}");
    assert!(!files.0.join("state").exists() && !files.0.join("sock").exists());
}

#[test]
fn a_missing_file_says_where_to_begin() {
    let missing =
        said(Command::new(DUOTONE).args(["run", "--config", "/nonexistent/duotone.toml"]));
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.err.contains("examples/duotone.toml"), "{missing:?}");
}
