//! The control socket: its place, its gate and its patience.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use duotone::adapters::control_socket::{
    AskError, ControlSocket, ListenError, Reply, Request, Verb, ask,
};
use serde_json::{Map, Value, json};

/// Between fork and exec a child holds every descriptor of its parent, a dead daemon's listening
/// socket included: tests that fork and tests that let a daemon die take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("dts-{}-{name}", std::process::id())))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A daemon that echoes what it is asked, on a thread of its own; ends with this value.
#[derive(Debug)]
struct Daemon(Option<(tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>)>);

impl Drop for Daemon {
    fn drop(&mut self) {
        let (stop, thread) = self.0.take().unwrap();
        stop.send(()).unwrap();
        thread.join().unwrap();
    }
}

fn daemon(path: &Path, group: Option<u32>) -> Result<Daemon, ListenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listening = {
        let _inside = runtime.enter();
        ControlSocket::listen(path, group)?
    };
    let serving = listening.serve(|request: Request| async move {
        if request.args.contains_key("refuse") {
            return Reply::Refused("not now".into());
        }
        Reply::Done(json!([request.verb.word(), request.args, request.uid]))
    });
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { () = serving => {}, _ = stopped => {} }
        });
    });
    Ok(Daemon(Some((stop, thread))))
}

const PATIENCE: Duration = Duration::from_secs(60);

fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A hostile one is cut off while it still talks.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn asks_and_is_answered() {
    let scratch = Scratch::new("ask");
    let path = scratch.socket();
    let _daemon = daemon(&path, None).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let args: Map<String, Value> = [("to".to_owned(), json!("b"))].into_iter().collect();
    for verb in Verb::ALL {
        let reply = ask(&path, verb, args.clone(), PATIENCE).unwrap();
        assert_eq!(reply, Reply::Done(json!([verb.word(), {"to": "b"}, uid])));
    }
    let args = [("refuse".to_owned(), Value::Null)].into_iter().collect();
    assert_eq!(ask(&path, Verb::Status, args, PATIENCE).unwrap(), Reply::Refused("not now".into()));

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
    let _turn = turn();
    let scratch = Scratch::new("stale");
    let path = scratch.socket();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // std leaves the file behind, as a killed daemon does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let missing = ask(&path, Verb::Status, Map::new(), PATIENCE).unwrap_err();
    assert!(matches!(missing, AskError::NotRunning(_)), "{missing:?}");
    let first = daemon(&path, None).unwrap();
    assert!(ask(&path, Verb::Status, Map::new(), PATIENCE).is_ok());

    let second = daemon(&path, None).unwrap_err();
    assert!(matches!(second, ListenError::InUse(_)), "{second:?}");
    assert!(ask(&path, Verb::Status, Map::new(), PATIENCE).is_ok(), "the first one still serves");

    drop(first);
    assert!(!path.exists(), "an orderly end leaves nothing behind");
    let missing = ask(&path, Verb::Status, Map::new(), PATIENCE).unwrap_err();
    assert!(matches!(missing, AskError::NotRunning(_)), "{missing:?}");
    let _third = daemon(&path, None).unwrap();
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let _turn = turn();
    let scratch = Scratch::new("foreign");
    let path = scratch.socket();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = daemon(&path, None).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket(_)), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    // Somebody listens who knows nothing of the lock.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let error = daemon(&path, None).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)), "{error:?}");
}

#[test]
fn a_living_daemon_keeps_its_place_even_without_its_socket() {
    let _turn = turn();
    let scratch = Scratch::new("lock");
    let path = scratch.socket();
    let uid = nix::unistd::geteuid().as_raw();
    let mut other = Other(run_as(uid, &path, "another_daemon").spawn().unwrap());
    let end = Instant::now() + PATIENCE;
    while ask(&path, Verb::Status, Map::new(), PATIENCE).is_err() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::remove_file(&path).unwrap();
    let error = daemon(&path, None).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)), "{error:?}");
    other.0.kill().unwrap();
    other.0.wait().unwrap();
    let _next = daemon(&path, None).unwrap();
}

/// Not a test: a daemon in a process of its own.
#[test]
#[ignore = "run by another test"]
fn another_daemon() {
    let Ok(path) = std::env::var("DTS_SOCKET") else { return };
    let _daemon = daemon(Path::new(&path), None).unwrap();
    std::thread::sleep(PATIENCE);
}

#[test]
fn a_daemon_that_ends_instead_of_answering_is_told_apart() {
    let scratch = Scratch::new("ended");
    let path = scratch.socket();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let dies = std::thread::spawn(move || {
        for line in ["", "nonsense\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 100];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
    });
    let error = ask(&path, Verb::Status, Map::new(), PATIENCE).unwrap_err();
    assert!(matches!(error, AskError::Ended), "{error:?}");
    let error = ask(&path, Verb::Status, Map::new(), PATIENCE).unwrap_err();
    assert!(matches!(error, AskError::NotUnderstood), "{error:?}");
    dies.join().unwrap();
}

#[test]
fn hostile_input_gets_an_answer_and_hurts_nobody() {
    let scratch = Scratch::new("hostile");
    let path = scratch.socket();
    let _daemon = daemon(&path, None).unwrap();
    let deep = [b"{\"verb\":".as_slice(), &b"[".repeat(50_000)].concat();
    let long = [b"{\"verb\":\"status\",\"x\":\"".as_slice(), &b"y".repeat(1 << 20)].concat();
    for (name, bytes) in [
        ("nothing", b"".as_slice()),
        ("an empty line", b"\n"),
        ("bytes", b"\xff\xfe\0\n"),
        ("another type", b"[\"status\"]\n"),
        ("an unknown verb", b"{\"verb\":\"explode\"}\n"),
        ("nesting", &deep),
        ("length", &long),
    ] {
        let answer = raw(&path, bytes);
        assert!(answer.starts_with("{\"ok\":false,\"refused\":\""), "{name}: {answer}");
        assert!(answer.ends_with("\"}\n"), "{name}: {answer}");
    }
    assert!(raw(&path, &long).contains("at most 65536 bytes"));
    // Only the first line counts.
    assert!(raw(&path, b"{\"verb\":\"status\"}\n{\"verb\":\"leave\"}\n").contains("\"status\""));
    assert!(ask(&path, Verb::Status, Map::new(), PATIENCE).is_ok());
}

#[test]
fn silence_is_bounded_in_time_and_number() {
    let scratch = Scratch::new("silent");
    let path = scratch.socket();
    let _daemon = daemon(&path, None).unwrap();
    let asked = Instant::now();
    let mut silent: Vec<_> = (0..16).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for stream in &mut silent {
        stream.write_all(b"{").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let full = raw(&path, b"{\"verb\":\"status\"}\n");
    assert!(full.contains("too many connections"), "{full}");
    let mut answer = String::new();
    silent[0].read_to_string(&mut answer).unwrap();
    assert!(answer.contains("no request within 5 s"), "{answer}");
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    drop(silent);
    assert!(ask(&path, Verb::Status, Map::new(), PATIENCE).is_ok());
}

#[test]
fn another_user_may_look_and_not_touch() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let _turn = turn();
    let scratch = Scratch::new("other");
    let path = scratch.socket();
    let _daemon = daemon(&path, Some(65534)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().gid(), 65534);
    let words = as_user(65534, &path);
    for verb in Verb::ALL {
        let expected = if verb.changes() { "denied" } else { "done" };
        assert!(words.contains(&format!("[{} {expected}]", verb.word())), "{words}");
    }

    // Without the group it cannot even be opened, and says so.
    let words = as_user(65533, &path);
    assert!(words.contains("[status no permission to open"), "{words}");

    // A crowd of others does not keep root out.
    let crowd = run_as(65534, &path, "crowd").spawn().unwrap();
    let mut crowd = Other(crowd);
    let end = Instant::now() + PATIENCE / 3;
    loop {
        let words = as_user(65534, &path);
        if words.contains("too many connections") {
            break;
        }
        assert!(Instant::now() < end, "{words}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(ask(&path, Verb::Failover, Map::new(), PATIENCE), Ok(Reply::Done(_))));
    crowd.0.kill().unwrap();
}

struct Other(std::process::Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_as(user: u32, path: &Path, entry: &str) -> Command {
    // By this name the binary can be executed by a user who cannot walk to it.
    let mut command = Command::new("/proc/self/exe");
    command.args([entry, "--exact", "--ignored", "--nocapture"]).env("DTS_SOCKET", path);
    if user != nix::unistd::geteuid().as_raw() {
        command.uid(user).gid(user);
    }
    command.current_dir("/");
    command.stdout(std::process::Stdio::piped());
    command
}

fn as_user(user: u32, path: &Path) -> String {
    let output = run_as(user, path, "every_verb").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Not a test: asks everything, as another user.
#[test]
#[ignore = "run by another test, as another user"]
fn every_verb() {
    let Ok(path) = std::env::var("DTS_SOCKET") else { return };
    for verb in Verb::ALL {
        let word = match ask(Path::new(&path), verb, Map::new(), PATIENCE) {
            Ok(Reply::Done(_)) => "done".into(),
            Ok(Reply::Denied(_)) => "denied".into(),
            Ok(Reply::Refused(why)) => why,
            Err(error) => error.to_string(),
        };
        println!("[{} {word}]", verb.word());
    }
}

/// Not a test: takes every place that there is, again and again.
#[test]
#[ignore = "run by another test, as another user"]
fn crowd() {
    let Ok(path) = std::env::var("DTS_SOCKET") else { return };
    let end = Instant::now() + Duration::from_secs(30);
    let mut held = std::collections::VecDeque::new();
    while Instant::now() < end {
        held.push_back(UnixStream::connect(&path));
        if held.len() > 100 {
            held.pop_front();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
