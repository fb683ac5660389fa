//! Alerts as they are met: a real mail server, a web server, a syslog socket; servers that hang,
//! refuse, or are not who they should be; and what is said of a wrong `[alerts]`.

mod config;
mod mail;
mod web;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use duotone::adapters::alert::{Alert, Channel, Failed, HeldBack, Severity};
use duotone::config::{AlertKind, Config};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PAIR: &str = include_str!("../made/pair.toml");

fn parse(alerts: &str) -> Result<Config, String> {
    let text = format!("{PAIR}[alerts]\n{alerts}");
    Config::parse(&text, "duotone.toml", Some("pbx-b")).map_err(|errors| errors.to_string())
}

/// The only channel of these lines.
fn channel(alerts: &str) -> Channel {
    let config = parse(alerts).expect("valid");
    Channel::all(&config.alerts.expect("alerts")).remove(0)
}

fn alert() -> Alert {
    Alert {
        kind: AlertKind::Role,
        severity: Severity::Critical,
        pair: "office".into(),
        node: "pbx-b".into(),
        peer: "pbx-a".into(),
        term: "5b".into(),
        text: Alert::one_line("pbx-b: took the role\r\nBcc: everybody@example.com"),
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_823_600_250),
        id: "00c0ffee.7".into(),
        held_back: Some(HeldBack { count: 4, since: SystemTime::UNIX_EPOCH }),
    }
}

fn send(channel: &mut Channel) -> Result<String, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(channel.send(&alert(), PATIENCE))
}

/// Why it was not taken, and whether that is for good.
#[track_caller]
fn refused(channel: &mut Channel) -> (String, bool) {
    let failed = send(channel).expect_err("not taken");
    (failed.why, failed.for_good)
}

/// A directory of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dtalerts{}x{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        path
    }

    /// A certificate for this subject alternative name, by an authority of its own.
    fn certificate(&self, name: &str, alternative: &str) -> Certificate {
        let file = |end: &str| self.0.join(format!("{name}.{end}"));
        let [ca, ca_key, request, certificate, key, extensions] =
            ["ca", "ca-key", "request", "pem", "key", "ext"].map(file);
        fs::write(&extensions, format!("subjectAltName={alternative}\n")).expect("written");
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let openssl = |words: &[&str], files: &[(&str, &Path)]| {
            let mut command = Command::new("openssl");
            command.args(words);
            for (option, file) in files {
                command.arg(option).arg(file);
            }
            let made = command.output().expect("openssl starts");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let authority = [&["req", "-x509", "-days", "2", "-subj", "/CN=authority"], &new[..]];
        openssl(&authority.concat(), &[("-keyout", &ca_key), ("-out", &ca)]);
        let asks = [&["req", "-subj", "/CN=server"], &new[..]].concat();
        openssl(&asks, &[("-keyout", &key), ("-out", &request)]);
        openssl(
            &["x509", "-req", "-days", "2", "-set_serial", "1"],
            &[
                ("-in", &request),
                ("-CA", &ca),
                ("-CAkey", &ca_key),
                ("-extfile", &extensions),
                ("-out", &certificate),
            ],
        );
        Certificate { ca, certificate, key }
    }
}

/// Files.
struct Certificate {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn syslog_gets_a_line_of_its_facility() {
    let scratch = Scratch::new();
    let path = scratch.0.join("log");
    let lines =
        format!("[alerts.syslog]\nfacility = \"local3\"\nsocket = \"{}\"\n", path.display());
    let mut channel = channel(&lines);
    let (why, for_good) = refused(&mut channel);
    assert!(!for_good, "{why}");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    assert_eq!(send(&mut channel).as_deref(), Ok("handed to syslog"));
    let mut bytes = [0; 2048];
    let length = socket.recv(&mut bytes).expect("a line");
    let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
    // Facility local3 (19), severity critical (2).
    assert!(line.starts_with("<154>"), "{line}");
    let text = "duotone office: pbx-b: took the role  Bcc: everybody@example.com (and 4 more since \
                1970-01-01T00:00:00.000Z)";
    assert!(line.ends_with(text), "{line}");
}

/// `duotone alerts test` with this file: its exit status and what it says.
fn test_verb(scratch: &Scratch, alerts: &str, words: &[&str]) -> (Option<i32>, String) {
    scratch.secret("pair.key", &format!("{}\n", "0123456789abcdef".repeat(4)));
    let key = format!("name = \"office\"\nkey_file = \"{}/pair.key\"", scratch.0.display());
    let text = format!("{PAIR}[alerts]\n{alerts}").replace("name = \"office\"", &key);
    let config = scratch.secret("duotone.toml", &text);
    run_test(&config, words)
}

fn run_test(config: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
    command.args(["alerts", "test"]).args(words);
    command.arg("--config").arg(config).args(["--node", "pbx-b"]);
    let ended = command.output().expect("it starts");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_test_goes_through_every_channel() {
    let scratch = Scratch::new();
    let web = web::Server::new(&["200 OK"]);
    let path = scratch.0.join("log");
    let _socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bound");
    let good = format!(
        "[alerts.webhook]\nurl = \"{}\"\n[alerts.syslog]\nsocket = \"{}\"\n",
        web.url("http"),
        path.display()
    );
    let (code, said) = test_verb(&scratch, &good, &[]);
    assert_eq!(said, "webhook  sent: 200 OK\nsyslog   sent: handed to syslog\n");
    assert_eq!(code, Some(0));
    let body: Value =
        serde_json::from_str(web.request().split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["severity"], &body["node"]), (&"info".into(), &"pbx-b".into()));
    assert!(body["text"].as_str().is_some_and(|text| text.contains("this is a test")), "{body}");

    // Nobody listens there: it was the test's own a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().unwrap();
    let bad = format!(
        "{good}[alerts.mail]\nserver = \"{gone}\"\ntls = \"none\"\nfrom = \"a@example.com\"\n\
         to = \"b@example.com\"\n"
    );
    let (code, said) = test_verb(&scratch, &bad, &["--json"]);
    let answers: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!((&answers[0]["channel"], &answers[0]["sent"]), (&"mail".into(), &false.into()));
    assert_eq!(answers[2]["sent"], true, "the others are sent all the same");
    let refused = answers[0]["answer"].as_str().expect("why");
    assert!(refused.to_lowercase().contains("refused"), "{refused}");

    let (code, said) = run_test(
        &scratch.secret("none.toml", &{
            let text = fs::read_to_string(scratch.0.join("duotone.toml")).expect("there");
            text.split("[alerts]").next().expect("a beginning").to_owned()
        }),
        &[],
    );
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no alerts are configured"), "{said}");
}
