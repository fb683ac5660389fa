//! Hooks as they are met: one that works, and those that hang, flood, leave children behind, or are
//! not there; and what is said of a wrong `[[hook]]`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use duotone::adapters::hook::{Ending, Ran, run};
use duotone::adapters::process::Exit;
use duotone::config::check::live;
use duotone::config::{Config, Hook, HookEvent};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PAIR: &str = include_str!("made/pair.toml");

const HOOK: &str = r#"[[hook]]
name = "trunk"
on = ["after-takeover", "failback"]
command = ["/bin/sh", "-c", "exit 0"]
user = "nobody"
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "duotone.toml", Some("pbx-a")).map_err(|errors| errors.to_string())
}

/// What is said of the plain hook with one change.
#[track_caller]
fn wrong(old: &str, new: &str) -> String {
    assert!(HOOK.contains(old), "{old}");
    parse(&format!("{PAIR}{}", HOOK.replacen(old, new, 1))).expect_err(new)
}

#[test]
fn a_hook_is_read() {
    let all = format!(
        "{PAIR}{HOOK}timeout = \"3s\"\ncapabilities = [\"CAP_NET_BIND_SERVICE\"]\n\
         environment = {{ URL = \"https://example.com\" }}\n\n{}",
        HOOK.replace("\"trunk\"", "\"second\"")
    );
    let hooks = parse(&all).expect("valid").hooks;
    let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["trunk", "second"], "in the order of the file");
    assert_eq!(hooks[0].on, [HookEvent::AfterTakeover, HookEvent::Failback]);
    assert_eq!(hooks[0].timeout, Duration::from_secs(3));
    assert_eq!(hooks[0].capabilities[0].0, 10);
    assert_eq!(hooks[0].environment, [("URL".to_owned(), "https://example.com".to_owned())]);
    assert_eq!((hooks[1].timeout, hooks[1].user.as_str()), (Duration::from_secs(10), "nobody"));
}

#[test]
fn what_is_wrong_with_a_hook_is_said_with_the_fix() {
    for (old, new, said) in [
        ("name = \"trunk\"", "", "[[hook]]: name is missing"),
        ("on = [\"after-takeover\", \"failback\"]", "", "on is missing; write on = "),
        ("on = [\"after-takeover\", \"failback\"]", "on = []", "on names no event"),
        ("after-takeover", "after-takover", "did you mean \"after-takeover\"?"),
        ("\"failback\"", "\"after-takeover\"", "\"after-takeover\" twice"),
        (
            "command = [\"/bin/sh\", \"-c\", \"exit 0\"]",
            "",
            "command is missing; write command = [\"/usr/local",
        ),
        ("/bin/sh", "sh", "is not a whole path"),
        ("user = \"nobody\"", "", "user is missing; write user = \"nobody\""),
        ("user = \"nobody\"", "user = \"no body\"", "user: \"no body\" contains ' '"),
        ("user = \"nobody\"", "user = \"nobody\"\ntimeout = \"1ms\"", "too short; write \"100ms\""),
        ("user = \"nobody\"", "user = \"nobody\"\ntimeout = \"1h\"", "write \"10min\""),
        (
            "user = \"nobody\"",
            "user = \"nobody\"\ncapabilities = [\"CAP_NET_BINDSERVICE\"]",
            "did you mean \"CAP_NET_BIND_SERVICE\"?",
        ),
        (
            "user = \"nobody\"",
            "user = \"root\"\ncapabilities = [\"CAP_KILL\"]",
            "root has every capability",
        ),
        (
            "user = \"nobody\"",
            "user = \"nobody\"\nenvironment = { DUOTONE_TERM = \"1\" }",
            "what duotone tells the hook",
        ),
        ("user = \"nobody\"", "user = \"nobody\"\nworkdir = \"/\"", "unknown key \"workdir\""),
    ] {
        let errors = wrong(old, new);
        assert!(errors.contains(said), "{new}: {errors}");
        assert!(errors.starts_with("duotone.toml:"), "{errors}");
    }
    let twice = parse(&format!("{PAIR}{HOOK}{HOOK}")).expect_err("twice");
    assert!(twice.contains("two hooks are named \"trunk\""), "{twice}");
}

#[test]
fn config_check_looks_for_the_program_and_the_user() {
    let text = format!("{PAIR}{HOOK}")
        .replace("/bin/sh", "/nowhere/hook")
        .replace("\"nobody\"", "\"no-such-user\"");
    let found: Vec<String> = live(&parse(&text).expect("valid"))
        .iter()
        .map(ToString::to_string)
        .filter(|finding| finding.starts_with("hook trunk: "))
        .collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("/nowhere/hook is not a program on this host"), "{found:?}");
    assert!(found[1].contains("no user \"no-such-user\""), "{found:?}");
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (hooks run as another user)");
    }
    root
}

/// A hook that is a line of shell.
fn shell(line: &str) -> Hook {
    let mut hook = parse(&format!("{PAIR}{HOOK}")).expect("valid").hooks.remove(0);
    hook.command = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    hook.timeout = PATIENCE;
    hook
}

fn variables() -> Vec<(String, String)> {
    vec![("DUOTONE_EVENT".into(), "after-takeover".into()), ("DUOTONE_TERM".into(), "5b".into())]
}

fn ran(hook: &Hook) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(hook, &variables()))
}

fn is_there(pid: &str) -> bool {
    // A zombie is nobody any more.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[test]
fn a_hook_is_told_in_its_environment_and_runs_as_its_user() {
    if !is_root() {
        return;
    }
    let mut hook =
        shell("id -un; id -Gn; pwd; echo $DUOTONE_EVENT $DUOTONE_TERM $URL; env | grep -c CARGO");
    hook.environment = vec![("URL".into(), "x".into())];
    let ran = ran(&hook);
    // `grep -c` that counts nothing ends with 1.
    assert_eq!(ran.result, Ending::Exited(Exit::Code(1)));
    assert_eq!(ran.output, ["nobody", "nogroup", "/", "after-takeover 5b x", "0"]);
}

#[test]
fn it_has_the_capabilities_that_are_named_and_no_others() {
    if !is_root() {
        return;
    }
    let mut hook = shell("grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status");
    let caps = |hook: &Hook| -> Vec<String> {
        let ran = ran(hook);
        assert!(ran.result.is_good(), "{ran:?}");
        ran.output
            .iter()
            .filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned()))
            .collect()
    };
    assert_eq!(caps(&hook), ["0000000000000000"; 3]);
    let named = HOOK.to_owned() + "capabilities = [\"CAP_NET_BIND_SERVICE\", \"CAP_BPF\"]\n";
    hook.capabilities =
        parse(&format!("{PAIR}{named}")).expect("valid").hooks[0].capabilities.clone();
    let set = format!("{:016x}", 1_u64 << 10 | 1 << 39);
    assert_eq!(caps(&hook), [set.clone(), set.clone(), set]);
}

#[test]
fn one_that_ignores_sigterm_goes_with_its_children() {
    if !is_root() {
        return;
    }
    let mut hook = shell("trap '' TERM HUP; sleep 1000 & echo $!; echo $$; sleep 1000; sleep 1000");
    hook.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let ran = ran(&hook);
    assert_eq!(ran.result, Ending::TimedOut(hook.timeout));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(ran.output.len(), 2, "{ran:?}");
    while ran.output.iter().any(|pid| is_there(pid)) {
        assert!(begun.elapsed() < PATIENCE, "left behind: {:?}", ran.output);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn children_that_outlive_it_end_with_it() {
    if !is_root() {
        return;
    }
    let begun = Instant::now();
    let ran = ran(&shell("trap '' TERM; sleep 1000 & echo $!"));
    assert!(ran.result.is_good(), "{ran:?}");
    while is_there(&ran.output[0]) {
        assert!(begun.elapsed() < PATIENCE, "left behind: {:?}", ran.output);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_flood_is_read_and_its_end_is_kept() {
    if !is_root() {
        return;
    }
    let flood =
        ran(&shell("yes 0123456789 | head -c 10000000; printf '\\nlast \\033[2J\\n'; exit 3"));
    assert_eq!(flood.result, Ending::Exited(Exit::Code(3)));
    let last: Vec<&str> = flood.output.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last[0], "last  [2J");
    assert!(flood.output.iter().map(String::len).sum::<usize>() < 4096, "{flood:?}");
    let mut endless = shell("yes");
    endless.timeout = Duration::from_millis(500);
    assert_eq!(ran(&endless).result, Ending::TimedOut(endless.timeout));
}

#[test]
fn one_that_cannot_begin_says_why() {
    if !is_root() {
        return;
    }
    let not_started = |hook: &Hook| match ran(hook).result {
        Ending::NotStarted(why) => why,
        other => panic!("{other}"),
    };
    let mut missing = shell("");
    missing.command = vec!["/nowhere/hook".into()];
    assert!(not_started(&missing).contains("\"/nowhere/hook\""), "{}", not_started(&missing));
    let mut nobody = shell("");
    nobody.user = "no-such-user".into();
    assert!(not_started(&nobody).contains("no-such-user"), "{}", not_started(&nobody));
    let scratch = Scratch::new();
    let script = scratch.write("hook", "#!/bin/sh\n", 0o700);
    let mut secret = shell("");
    secret.command = vec![script.display().to_string()];
    assert!(not_started(&secret).contains("may nobody execute it"), "{}", not_started(&secret));
}

/// A directory of the test's own, that everybody may enter.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dthooks{}x{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `duotone hooks run` with this file.
fn by_hand(config: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
    command.args(["hooks", "run"]).args(words).arg("--config").arg(config);
    command.args(["--node", "pbx-a", "--socket", "/nowhere/control.sock"]);
    command.output().expect("it starts")
}

#[test]
fn an_administrator_can_run_one_by_hand() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let says =
        HOOK.replace("exit 0", "echo $DUOTONE_EVENT $DUOTONE_NODE $DUOTONE_BY_HAND; exit $CODE");
    let text = format!("{PAIR}{says}environment = {{ CODE = \"0\" }}\n");
    let good = scratch.write("good.toml", &text, 0o644);
    let bad = scratch.write("bad.toml", &text.replace("\"0\"", "\"7\""), 0o644);
    let told = by_hand(&good, &["trunk", "--event", "failback"]);
    let out = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(
        out.starts_with("  failback pbx-a 1\nhook trunk as nobody: exited with code 0, "),
        "{out}"
    );
    let told = by_hand(&bad, &["trunk", "--event", "maintenance"]);
    let out = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert!(
        out.contains("exited with code 7") && out.contains("maintenance is not in `on`"),
        "{out}"
    );
    for (config, words, code, said) in [
        (
            &good,
            ["other", "--event", "failback"],
            2,
            "there is no hook \"other\"; the file has trunk",
        ),
        (&good, ["trunk", "--event", "takeover"], 2, "there is no event \"takeover\""),
        (&scratch.0.join("none.toml"), ["trunk", "--event", "failback"], 3, "cannot be read"),
    ] {
        let told = by_hand(config, &words);
        let err = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(code), "{told:?}");
        assert!(err.contains(said), "{err}");
    }
}

/// One HTTP request, answered with this status line; the request.
fn provider(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/trunk", listener.local_addr().expect("its address"));
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        // What curl sends last is the form, whose last field is the reason.
        while !String::from_utf8_lossy(&request).contains("silent") {
            let read = stream.read(&mut buffer).expect("the request");
            assert!(read > 0, "cut off: {}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&buffer[..read]);
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8_lossy(&request).into_owned()
    });
    (url, heard)
}

/// The shipped example, as the README has it.
#[test]
fn the_example_tells_a_trunk_provider() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let text = include_str!("../examples/hooks/tell-trunk");
    let script = scratch.write("tell-trunk", text, 0o755);
    let headers = scratch.write("headers", "Authorization: Bearer s3cret\n", 0o644);
    for (status, code) in [("200 OK", 0), ("403 Forbidden", 22)] {
        let (url, heard) = provider(status);
        let mut hook = shell("");
        hook.command = vec![script.display().to_string()];
        hook.environment = [("TRUNK_URL", url), ("TRUNK_HEADERS", headers.display().to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        let told = [
            ("DUOTONE_PAIR", "office"),
            ("DUOTONE_NODE", "pbx-b"),
            ("DUOTONE_ADDRESSES", "192.0.2.10/24 2001:db8::10/64"),
            ("DUOTONE_TERM", "5b"),
            ("DUOTONE_REASON", "the peer is silent"),
        ];
        let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ran = runtime.block_on(run(&hook, &told));
        assert_eq!(ran.result, Ending::Exited(Exit::Code(code)), "{ran:?}");
        let request = heard.join().expect("heard");
        assert!(request.starts_with("POST /trunk HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Authorization: Bearer s3cret"), "{request}");
        let form = "pair=office&node=pbx-b&address=192.0.2.10&term=5b&reason=the";
        assert!(request.contains(form), "{request}");
    }
}
