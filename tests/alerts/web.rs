//! Webhooks, against a small web server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::{PATIENCE, Scratch, refused, send};

/// A server that answers each connection with the next of these status lines; it ends with the last.
pub struct Server {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Server {
    pub fn new(answers: &'static [&'static str]) -> Server {
        Server::begin(answers, None)
    }

    fn begin(answers: &'static [&'static str], tls: Option<ServerConfig>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (told, requests) = channel();
        let tls = tls.map(Arc::new);
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().expect("a connection");
                stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
                match &tls {
                    None => serve(stream, answer, &told),
                    Some(tls) => {
                        let tls = ServerConnection::new(Arc::clone(tls)).expect("a session");
                        serve(StreamOwned::new(tls, stream), answer, &told);
                    }
                }
            }
        });
        Server { address, requests }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/alerts", self.address)
    }

    pub fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }
}

fn serve(mut stream: impl Read + Write, answer: &str, told: &Sender<String>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut buffer) {
            // Who does not believe the certificate hangs up.
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let _ = told.send(text);
    let body = "x".repeat(100_000);
    let head = "location: http://192.0.2.99/\r\nconnection: close";
    let _ = write!(stream, "HTTP/1.1 {answer}\r\n{head}\r\ncontent-length: 100000\r\n\r\n{body}");
    let _ = stream.flush();
}

fn hook(url: &str, more: &str) -> duotone::adapters::alert::Channel {
    crate::channel(&format!("[alerts.webhook]\nurl = \"{url}\"\n{more}\n"))
}

#[test]
fn the_body_is_the_documented_one() {
    let scratch = Scratch::new();
    let headers = scratch.secret("headers", "Authorization: Bearer s3cret\nX-Pair: office\n");
    let server = Server::new(&["204 No Content"]);
    let mut channel =
        hook(&server.url("http"), &format!("headers_file = \"{}\"", headers.display()));
    assert_eq!(send(&mut channel).as_deref(), Ok("204 No Content"));
    let request = server.request();
    let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    for wanted in
        ["content-type: application/json", "authorization: bearer s3cret", "x-pair: office"]
    {
        assert!(head.contains(wanted), "{wanted}: {head}");
    }
    let body: Value = serde_json::from_str(body).expect("JSON");
    let documented = json!({
        "version": 1,
        "id": "00c0ffee.7",
        "at": "2025-11-22T15:00:00.250Z",
        "kind": "role",
        "severity": "critical",
        "pair": "office",
        "node": "pbx-b",
        "peer": "pbx-a",
        "term": "5b",
        "text": "pbx-b: took the role  Bcc: everybody@example.com",
        "held_back": 4,
        "held_back_since": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(body, documented);
}

#[test]
fn only_a_success_is_one() {
    let answers = ["500 Oh", "429 Slowly", "404 Not Found", "302 Found"];
    let server = Server::new(&["500 Oh", "429 Slowly", "404 Not Found", "302 Found"]);
    let mut channel = hook(&server.url("http"), "");
    for (answer, lasting) in answers.iter().zip([false, false, true, false]) {
        let (why, for_good) = refused(&mut channel);
        assert!(why.starts_with(&answer[..3]), "{why}");
        assert_eq!(for_good, lasting, "{why}");
        assert!(why.len() < 500, "what it said is cut: {why}");
    }
    // It has answered for the last time.
    let (why, for_good) = refused(&mut channel);
    assert!(!for_good && !why.contains("/alerts"), "without the address: {why}");
    let mut secret = hook(&server.url("http"), "headers_file = \"/nowhere/headers\"");
    let (why, _) = refused(&mut secret);
    assert!(why.contains("/nowhere/headers does not exist"), "{why}");
}

#[test]
fn only_the_server_with_the_right_certificate_is_told() {
    let scratch = Scratch::new();
    let own = scratch.certificate("web", "IP:127.0.0.1");
    let other = scratch.certificate("other", "DNS:other.example.com");
    for (of, believed, good) in [(&own, &own, true), (&own, &other, false), (&other, &other, false)]
    {
        let server = Server::begin(&["200 OK"], Some(tls(&of.certificate, &of.key)));
        let mut channel =
            hook(&server.url("https"), &format!("ca = \"{}\"", believed.ca.display()));
        match good {
            true => {
                assert_eq!(send(&mut channel).as_deref(), Ok("200 OK"));
                assert!(server.request().contains("00c0ffee.7"));
            }
            false => {
                let (why, for_good) = refused(&mut channel);
                assert!(!for_good && why.contains("certificate"), "{why}");
            }
        }
    }
}

fn tls(certificate: &Path, key: &Path) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit")
}
