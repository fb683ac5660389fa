//! The command: exit status and words of every verb, against a daemon that a test plays.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("duotone-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("temporary directory");
        Directory(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The example with key and socket in this directory.
    fn config(&self) -> PathBuf {
        let text = include_str!("../examples/duotone.toml")
            .replace("/etc/duotone/pair.key", &self.path("pair.key").display().to_string())
            .replace(
                "# socket = \"/run/duotone/control.sock\"",
                &format!("socket = \"{}\"", self.path("sock").display()),
            );
        let path = self.path("duotone.toml");
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the command; `--socket` and the like are among the words.
fn duotone(words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
    for name in ["DUOTONE_CONFIG", "DUOTONE_NODE", "DUOTONE_SOCKET"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.args(words).output().expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().expect("exited"), text(stdout), text(stderr))
}

/// Answers one connection with these bytes and returns the request.
fn daemon(socket: &Path, answer: impl Into<Vec<u8>>) -> JoinHandle<Value> {
    let listener = UnixListener::bind(socket).expect("bound");
    let answer = answer.into();
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("a line");
        (&stream).write_all(&answer).expect("answered");
        serde_json::from_str(&line).expect("JSON")
    })
}

fn ok(data: &Value) -> String {
    format!("{}\n", json!({"ok": true, "data": data}))
}

/// The verb's exit status, output, errors and request, against one answer.
fn asked(name: &str, words: &[&str], answer: impl Into<Vec<u8>>) -> ((i32, String, String), Value) {
    let directory = Directory::new(name);
    let socket = directory.path("sock");
    let daemon = daemon(&socket, answer);
    let socket = socket.display().to_string();
    let result = duotone(&[words, &["--socket", &socket]].concat());
    (result, daemon.join().expect("the daemon's part"))
}

#[test]
fn without_a_daemon_every_question_says_so() {
    let directory = Directory::new("none");
    let socket = directory.path("sock").display().to_string();
    for verb in ["status", "explain", "is-active", "failover", "reload"] {
        let (code, out, err) = duotone(&[verb, "--socket", &socket]);
        assert_eq!((code, out.as_str()), (4, ""), "{verb}: {err}");
        assert!(err.contains("the daemon is not running") && err.contains(&socket), "{err}");
    }
    // A socket that a dead daemon left behind.
    drop(UnixListener::bind(directory.path("sock")).expect("bound"));
    assert_eq!(duotone(&["status", "--socket", &socket]).0, 4);
}

#[test]
fn the_socket_is_found_in_a_file_that_is_wrong_elsewhere() {
    let directory = Directory::new("lenient");
    let config = directory.path("duotone.toml");
    let socket = directory.path("other.sock");
    fs::write(&config, format!("[pair]\nnam = 3\nsocket = \"{}\"\n", socket.display()))
        .expect("written");
    let daemon = daemon(&socket, ok(&json!({"active": true})));
    let (code, out, err) = duotone(&["is-active", "--config", &config.display().to_string()]);
    assert_eq!((code, out.as_str()), (0, "active\n"), "{err}");
    assert_eq!(daemon.join().expect("asked"), json!({"verb": "is-active"}));
}

#[test]
fn is_active_answers_by_its_exit_status() {
    let ((code, out, _), _) = asked("active", &["is-active"], ok(&json!({"active": true})));
    assert_eq!((code, out.as_str()), (0, "active\n"));
    let ((code, out, _), _) = asked("passive", &["is-active"], ok(&json!({"active": false})));
    assert_eq!((code, out.as_str()), (1, "not active\n"));
    let ((code, out, _), _) = asked("vague", &["is-active"], ok(&json!({})));
    assert_eq!((code, out.as_str()), (7, ""));
}

#[test]
fn failover_carries_its_reason_and_tells_a_refusal() {
    let refused = "{\"ok\":false,\"refused\":\"the standby is not in sync\"}\n";
    let ((code, _, err), request) = asked("refused", &["failover"], refused);
    assert_eq!((code, err.as_str()), (6, "refused: the standby is not in sync\n"));
    assert_eq!(request, json!({"verb": "failover", "force": false, "reason": null}));
    let words = ["failover", "--force", "--reason", "A is off, I pulled the plug"];
    let ((code, out, _), request) = asked("forced", &words, ok(&json!({"text": "taking over"})));
    assert_eq!((code, out.as_str()), (0, "taking over\n"));
    assert_eq!(request["reason"], "A is off, I pulled the plug");
    assert_eq!(request["force"], true);
    let denied = "{\"ok\":false,\"denied\":\"only root may do that\"}\n";
    let ((code, _, err), _) = asked("denied", &["reload"], denied);
    assert_eq!(code, 5);
    assert!(err.contains("only root may do that") && err.contains("sudo"), "{err}");
    let (code, _, err) = duotone(&["failover", "--force"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_strange_answer_is_no_answer() {
    for (name, answer, code) in [
        ("empty", "", 4),
        ("nonsense", "hello\n", 7),
        ("cut", "{\"ok\":tr", 7),
        ("no-ok", "{\"data\":{}}\n", 7),
        ("list", "[]\n", 7),
    ] {
        let ((got, out, err), _) = asked(name, &["is-active"], answer);
        assert_eq!((got, out.as_str()), (code, ""), "{name}: {err}");
    }
    let ((code, ..), _) = asked("binary", &["is-active"], vec![0xff, 0xfe, b'\n']);
    assert_eq!(code, 7);
}

#[test]
fn a_socket_that_may_not_be_opened_is_a_matter_of_permission() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (to become somebody else)");
        return;
    }
    let directory = Directory::new("denied-socket");
    let socket = directory.path("sock");
    let _listener = UnixListener::bind(&socket).expect("bound");
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).expect("mode");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("mode");
    // The test binary's directory may be closed to others; a copy is not.
    let binary = directory.path("duotone");
    fs::copy(env!("CARGO_BIN_EXE_duotone"), &binary).expect("copied");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["status", "--socket"])
        .arg(&socket)
        .output()
        .expect("setpriv of util-linux");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{err}");
    assert!(err.contains("permission missing"), "{err}");
}

#[test]
fn status_is_for_people_and_for_programs() {
    let data = json!({"node": "pbx-a", "peer": "pbx-b", "role": "active", "serving": true,
        "peer_seen": {"liveness": "alive", "two_way": true, "role": "standby"}});
    let ((code, out, _), request) = asked("human", &["status"], ok(&data));
    assert_eq!(code, 0);
    let first = "pbx-a (this host) serves; the standby pbx-b is good. Nothing to do.";
    assert_eq!(out.lines().next(), Some(first), "{out}");
    assert_eq!(request, json!({"verb": "status"}));
    let ((_, out, _), _) = asked("json", &["status", "--json"], ok(&data));
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), data);
}

#[test]
fn keygen_then_check() {
    let directory = Directory::new("check");
    let config = directory.config().display().to_string();
    let key = directory.path("pair.key");
    let check = ["config", "check", "--config", &config, "--node", "pbx-a"];

    let (code, _, err) = duotone(&check);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("duotone.toml:8:12: key_file: ") && err.contains("keygen"), "{err}");

    // The key file's place comes from the configuration.
    let (code, out, err) = duotone(&["keygen", "--config", &config]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("pair.key made"), "{out}");
    assert_eq!(fs::metadata(&key).expect("made").permissions().mode() & 0o777, 0o600);
    let (code, _, err) = duotone(&["keygen", &key.display().to_string()]);
    assert_eq!(code, 3);
    assert!(err.contains("already exists and is left as it is"), "{err}");

    let (code, out, err) = duotone(&[&check[..], &["--file-only"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    for wanted in [
        "valid. Pair office of pbx-a and pbx-b; this is pbx-a.",
        "stall tolerated without loss of service: 109.5ms with a living peer, 260ms alone",
        "estimated outage after a power-off: ",
        "  certificate  ",
    ] {
        assert!(out.contains(wanted), "{wanted}\nin {out}");
    }
    // This machine has no eth1, no Kamailio: the file is valid, the host does not fit it.
    let (code, out, err) = duotone(&check);
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("on this host:") && err.contains("finding(s) on this host"), "{out}{err}");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("mode");
    let (code, _, err) = duotone(&check);
    assert_eq!(code, 3);
    assert!(err.contains("mode 0644") && err.contains("chmod 600"), "{err}");
}

#[test]
fn a_wrong_command_line_is_told_by_status_two() {
    assert_eq!(duotone(&["statsu"]).0, 2);
    assert_eq!(duotone(&["explain", "--json", "--table"]).0, 2);
    assert_eq!(duotone(&["demo", "--preset", "slow"]).0, 2);
    let (code, out, _) = duotone(&["--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("Exit status:") && out.contains("4  the daemon does not run"), "{out}");
}
