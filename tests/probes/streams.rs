//! SIP over TCP, against servers that do what connections allow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use duotone::adapters::probes::{Answer, Bad, ask};
use duotone::config::{Probe, Transport};

use crate::datagrams::response;
use crate::{PATIENCE, SOON, probe, sip};

/// A server that takes one connection, reads the request and does what it is told with both.
fn server(
    bind: &str,
    work: impl FnOnce(TcpStream, String) + Send + 'static,
) -> (Probe, JoinHandle<()>) {
    let listener = TcpListener::bind(bind).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the whole request");
            request.extend_from_slice(&buffer[..read]);
        }
        work(stream, String::from_utf8(request).unwrap());
    });
    (probe(sip(address, Transport::Tcp), PATIENCE), thread)
}

fn good(answer: &Answer) -> bool {
    matches!(answer, Answer::Good(_))
}

#[tokio::test]
async fn a_response_in_pieces_and_after_others_is_found() {
    let (probe, thread) = server("127.0.0.1:0", |mut stream, request| {
        assert!(request.contains("\r\nVia: SIP/2.0/TCP 127.0.0.1:"), "{request}");
        let mine = response("200 OK", &request).replace("Content-Length: 0", "l: 4") + "body";
        let stranger = response("200 OK", &request).replace("branch=", "branch=x");
        let options = "OPTIONS sip:me SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKy\r\n\
                       Content-Length: 2\r\n\r\nhi";
        let trying = response("100 Trying", &request);
        let all = ["\r\n\r\n", &trying, &stranger, options, &mine].concat();
        for byte in all.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        // Not closed before the probe has read it all.
        let _ = stream.read(&mut [0]);
    });
    let answer = ask(&probe).await;
    assert!(good(&answer), "{answer:?}");
    thread.join().unwrap();
}

#[tokio::test]
async fn works_over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 on loopback");
        return;
    }
    let (probe, thread) = server("[::1]:0", |mut stream, request| {
        assert!(request.starts_with("OPTIONS sip:[::1]:"), "{request}");
        stream.write_all(response("404 Not Found", &request).as_bytes()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let answer = ask(&probe).await;
    assert!(good(&answer), "{answer:?}");
    thread.join().unwrap();
}

#[tokio::test]
async fn what_is_no_answer_is_told_apart() {
    type Work = fn(TcpStream, String);
    let not_sip = || Answer::Bad(Bad::NotUnderstood("it is not SIP".into()));
    let cases: [(Work, Answer); 5] = [
        (
            |mut stream, request| {
                stream.write_all(response("503 Busy", &request).as_bytes()).unwrap();
                let _ = stream.read(&mut [0]);
            },
            Answer::Bad(Bad::Status(503)),
        ),
        (
            |mut stream, request| {
                let half = response("200 OK", &request);
                stream.write_all(&half.as_bytes()[..half.len() / 2]).unwrap();
            },
            Answer::Bad(Bad::BrokenOff),
        ),
        (
            |mut stream, request| {
                let endless =
                    response("200 OK", &request).replace("Length: 0", "Length: 4294967296");
                stream.write_all(endless.as_bytes()).unwrap();
                let _ = stream.read(&mut [0]);
            },
            not_sip(),
        ),
        (
            |mut stream, _| {
                // It may hang up before all of it is sent.
                let _ = stream.write_all(&[b'x'; 200 << 10]);
                let _ = stream.read(&mut [0]);
            },
            not_sip(),
        ),
        (
            |mut stream, request| {
                let stranger = response("200 OK", &request).replace("branch=", "branch=x");
                while stream.write_all(stranger.as_bytes()).is_ok() {}
            },
            Answer::Bad(Bad::Flood),
        ),
    ];
    for (work, wanted) in cases {
        let (probe, thread) = server("127.0.0.1:0", work);
        assert_eq!(ask(&probe).await, wanted);
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn one_that_accepts_and_is_mute_is_bad() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = ask(&probe(sip(address, Transport::Tcp), SOON)).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(SOON)));
    drop(listener);
    let answer = ask(&probe(sip(address, Transport::Tcp), PATIENCE)).await;
    assert_eq!(answer, Answer::Bad(Bad::Refused));
}
