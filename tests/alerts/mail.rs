//! Mail, against aiosmtpd.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Scratch, channel, refused, send};

const SINK: &str = include_str!("sink.py");

/// The running server.
struct Sink {
    process: Child,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Sink {
    fn new(mode: &str, certificate: Option<(&Path, &Path)>) -> Sink {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", SINK, mode]);
        if let Some((certificate, key)) = certificate {
            command.arg(certificate).arg(key);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 (and python3-aiosmtpd: .ci/setup)");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its port");
        let port = line.trim().parse().expect("its port (python3-aiosmtpd: .ci/setup)");
        Sink { process, output, port }
    }

    /// The next mail that it took.
    fn mail(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a mail");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// `[alerts.mail]` to this server, with more lines.
    fn lines(&self, more: &str) -> String {
        mail_to(self.port, "\"Night shift <night@example.com>\", \"day@example.com\"", more)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mail_to(port: u16, to: &str, more: &str) -> String {
    format!(
        "[alerts.mail]\nserver = \"127.0.0.1:{port}\"\nfrom = \"duotone <duotone@example.com>\"\n\
         to = [{to}]\n{more}\n"
    )
}

#[test]
fn a_mail_has_what_a_reader_needs_and_nothing_that_was_slipped_in() {
    let mut sink = Sink::new("plain", None);
    let answer = send(&mut channel(&sink.lines("tls = \"none\"")));
    assert_eq!(answer.as_deref(), Ok("250 2.0.0 taken as 4711"));
    let mail = sink.mail();
    assert_eq!(mail["from"], "duotone@example.com");
    assert_eq!(mail["to"], serde_json::json!(["night@example.com", "day@example.com"]));
    assert_eq!(mail["hello"], "pbx-b");
    let data = mail["data"].as_str().expect("text");
    let (head, body) = data.split_once("\r\n\r\n").expect("a head and a body");
    // Long headers are folded (RFC 5322 §2.2.3).
    let head = head.replace("\r\n ", " ");
    let header = |name: &str| {
        let mut found = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let first = found.next().unwrap_or_else(|| panic!("no {name} in {head}"));
        assert_eq!(found.next(), None, "{name} twice");
        first.to_owned()
    };
    let subject = header("Subject");
    assert!(subject.starts_with("duotone office: pbx-b: took the role "), "{subject}");
    assert!(subject.contains("and 4 more since"), "{subject}");
    assert_eq!(header("Message-ID"), "<00c0ffee.7@example.com>");
    assert_eq!(header("Date"), "Sat, 22 Nov 2025 15:00:00 +0000");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(header("To").contains("<night@example.com>"), "{head}");
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    for wanted in ["seen by pbx-b", "term 5b", "2025-11-22T15:00:00.250Z", "duotone status"] {
        assert!(body.replace("=\r\n", "").contains(wanted), "{wanted}: {body}");
    }
}

#[test]
fn a_login_goes_over_tls_to_the_right_server_alone() {
    let scratch = Scratch::new();
    let own = scratch.certificate("mail", "DNS:mail.example.com,IP:127.0.0.1");
    let stranger = scratch.certificate("stranger", "DNS:mail.example.com").ca;
    let ca = own.ca;
    let password = scratch.secret("password", "s3cret\n");
    let login = format!("user = \"duotone\"\npassword_file = \"{}\"", password.display());
    let believes = |ca: &Path| format!("ca = \"{}\"", ca.display());
    for mode in ["starttls", "tls"] {
        let mut sink = Sink::new(mode, Some((&own.certificate, &own.key)));
        let tls = format!("tls = \"{mode}\"\n{login}");
        for name in ["", "server_name = \"mail.example.com\""] {
            let answer =
                send(&mut channel(&sink.lines(&format!("{tls}\n{name}\n{}", believes(&ca)))));
            assert_eq!(answer.as_deref(), Ok("250 2.0.0 taken as 4711"), "{mode} {name}");
            assert_eq!(sink.mail()["user"], "duotone", "{mode}");
        }
        let other = format!("{tls}\nserver_name = \"other.example.com\"\n{}", believes(&ca));
        let (why, for_good) = refused(&mut channel(&sink.lines(&other)));
        assert!(!for_good && why.contains("not valid for name"), "{mode}: {why}");
        let (why, _) =
            refused(&mut channel(&sink.lines(&format!("{tls}\n{}", believes(&stranger)))));
        assert!(why.contains("certificate"), "{mode}: {why}");
        fs_write(&password, "wrong\n");
        let (why, for_good) =
            refused(&mut channel(&sink.lines(&format!("{tls}\n{}", believes(&ca)))));
        assert!(for_good && why.contains("535"), "{mode}: {why}");
        fs_write(&password, "s3cret\n");
        let missing = format!("{tls}\n{}", believes(&scratch.0.join("none.pem")));
        let (why, _) = refused(&mut channel(&sink.lines(&missing)));
        assert!(why.contains("none.pem holds no certificates"), "{mode}: {why}");
    }
    // Who cannot encrypt is told nothing.
    let plain = Sink::new("plain", None);
    let (why, _) = refused(&mut channel(&plain.lines(&believes(&ca))));
    assert!(why.to_lowercase().contains("starttls"), "{why}");
}

fn fs_write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[test]
fn for_now_and_for_good_are_told_apart() {
    let sink = Sink::new("plain", None);
    let to = |whom: &str| channel(&mail_to(sink.port, &format!("\"{whom}\""), "tls = \"none\""));
    let (why, for_good) = refused(&mut to("gone@example.com"));
    assert!(for_good && why.contains("no such mailbox"), "{why}");
    let (why, for_good) = refused(&mut to("later@example.com"));
    assert!(!for_good && why.contains("come back later"), "{why}");
}

#[test]
fn a_server_that_accepts_and_is_silent_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let mut channel = channel(&mail_to(port, "\"night@example.com\"", "tls = \"none\""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let sent = runtime.block_on(channel.send(&crate::alert(), Duration::from_secs(1)));
    let failed = sent.expect_err("nobody answers");
    assert!(!failed.for_good, "{failed:?}");
    assert!(begun.elapsed() < crate::PATIENCE, "{:?}", begun.elapsed());
}
