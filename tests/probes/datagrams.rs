//! SIP over UDP, and TCP connections alone.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use duotone::adapters::probes::{Answer, Bad, ask};
use duotone::config::{Accept, Probe, ProbeKind, SipProbe, Transport};

use crate::{PATIENCE, ms, probe};

fn options(target: SocketAddr) -> ProbeKind {
    crate::sip(target, Transport::Udp)
}

fn sip(target: SocketAddr, timeout: Duration) -> Probe {
    probe(options(target), timeout)
}

/// A SIP server that answers `requests` datagrams with what `answer` makes of each, and returns
/// them.
fn server(
    bind: &str,
    requests: usize,
    answer: impl Fn(usize, &str) -> Vec<String> + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let socket = UdpSocket::bind(bind).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while heard.len() < requests {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            for datagram in answer(heard.len(), &text) {
                socket.send_to(datagram.as_bytes(), from).unwrap();
            }
            heard.push(text);
        }
        heard
    });
    (address, thread)
}

/// The response that a server must copy from the request (RFC 3261 §8.2.6.2).
pub fn response(status: &str, request: &str) -> String {
    let (_, headers) = request.split_once("\r\n").unwrap();
    format!("SIP/2.0 {status}\r\n{headers}")
}

#[tokio::test]
async fn a_final_response_below_500_is_good_and_501_too() {
    for (status, good) in [
        ("200 OK", true),
        ("302 Moved Temporarily", true),
        ("404 Not Found", true),
        ("501 Not Implemented", true),
        ("500 Server Internal Error", false),
        ("503 Service Unavailable", false),
        ("603 Decline", false),
    ] {
        let (address, thread) =
            server("127.0.0.1:0", 1, move |_, text| vec![response(status, text)]);
        let answer = ask(&sip(address, PATIENCE)).await;
        if good {
            assert!(matches!(answer, Answer::Good(_)), "{status}: {answer:?}");
        } else {
            let code = status[..3].parse().unwrap();
            assert_eq!(answer, Answer::Bad(Bad::Status(code)));
        }
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn works_over_ipv6_and_says_where_it_is() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 on loopback");
        return;
    }
    let (address, thread) = server("[::1]:0", 1, |_, text| vec![response("200 OK", text)]);
    let answer = ask(&sip(address, PATIENCE)).await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
    let heard = thread.join().unwrap();
    assert!(heard[0].starts_with(&format!("OPTIONS sip:[::1]:{} SIP/2.0\r\n", address.port())));
    assert!(heard[0].contains("\r\nVia: SIP/2.0/UDP [::1]:"), "{}", heard[0]);
}

#[tokio::test]
async fn what_belongs_to_another_request_is_no_answer() {
    let (address, thread) = server("127.0.0.1:0", 1, |_, text| {
        let mine = response("200 OK", text);
        vec![
            mine.replace("branch=z9hG4bK", "branch=z9hG4bKother"),
            mine.replace(" OPTIONS\r\n", " REGISTER\r\n"),
            "\0\u{ff} rubbish".into(),
            text.to_owned(),
            String::new(),
        ]
    });
    let answer = ask(&sip(address, ms(300))).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(ms(300))));
    assert_eq!(thread.join().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_request_is_sent_again_unchanged_and_a_provisional_one_is_not_the_end() {
    let (address, thread) = server("127.0.0.1:0", 2, |n, text| {
        if n == 0 {
            return Vec::new();
        }
        vec![response("100 Trying", text), response("200 OK", text)]
    });
    let asked = Instant::now();
    let answer = ask(&sip(address, PATIENCE)).await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
    assert!(asked.elapsed() >= ms(500), "T1");
    let heard = thread.join().unwrap();
    assert_eq!(heard[0], heard[1]);

    // Two questions have nothing in common that could be confused.
    let (address, thread) = server("127.0.0.1:0", 1, |_, text| vec![response("180 Ringing", text)]);
    assert_eq!(ask(&sip(address, ms(200))).await, Answer::Bad(Bad::NoAnswer(ms(200))));
    let other = thread.join().unwrap();
    for header in ["Via: ", "Call-ID: ", "From: "] {
        let of = |text: &str| text.lines().find(|l| l.starts_with(header)).unwrap().to_owned();
        assert_ne!(of(&heard[0]), of(&other[0]));
    }
}

#[tokio::test]
async fn nobody_there_is_bad_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = Instant::now();
    assert_eq!(ask(&sip(closed, ms(60_000))).await, Answer::Bad(Bad::Refused));
    assert!(asked.elapsed() < ms(30_000), "not when its time is over");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = ask(&probe(ProbeKind::Tcp(closed), PATIENCE)).await;
    assert_eq!(answer, Answer::Bad(Bad::Refused));
}

#[tokio::test]
async fn tcp_is_good_when_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = ask(&probe(ProbeKind::Tcp(listener.local_addr().unwrap()), PATIENCE)).await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
}

#[tokio::test]
async fn tcp_that_is_not_accepted_in_time_is_bad() {
    // A backlog of one that is full: the kernel drops further connection requests.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _filler = std::net::TcpStream::connect(address).unwrap();
    let answer = ask(&probe(ProbeKind::Tcp(address), ms(200))).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(ms(200))));
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_says_nothing_about_the_service() {
    // Broadcast without permission: the kernel refuses on this side.
    let nowhere: SocketAddr = "255.255.255.255:5060".parse().unwrap();
    for kind in [options(nowhere), ProbeKind::Tcp(nowhere)] {
        let answer = ask(&probe(kind.clone(), ms(500))).await;
        assert!(matches!(answer, Answer::CouldNotRun(_)), "{kind:?}: {answer:?}");
    }
}

#[tokio::test]
async fn accepted_statuses_are_those_of_the_configuration() {
    for (ranges, status, good) in [
        (vec![(200, 200)], "200 OK", true),
        (vec![(200, 200)], "202 Accepted", false),
        (vec![(200, 299), (503, 503)], "503 Service Unavailable", true),
        (vec![(200, 299)], "404 Not Found", false),
    ] {
        let (address, thread) =
            server("127.0.0.1:0", 1, move |_, text| vec![response(status, text)]);
        let accept = Accept { ranges };
        let kind = SipProbe { accept, ..SipProbe::new(address, Transport::Udp) };
        let answer = ask(&probe(ProbeKind::Sip(kind), PATIENCE)).await;
        assert_eq!(matches!(answer, Answer::Good(_)), good, "{status}: {answer:?}");
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_floods_is_not_listened_to_for_long() {
    let (address, thread) = server("127.0.0.1:0", 1, |_, text| {
        let stranger = response("200 OK", text).replace("branch=", "branch=x");
        vec![stranger; 5000]
    });
    // What the kernel drops of a flood is not read; enough of it is.
    let answer = ask(&sip(address, PATIENCE)).await;
    assert_eq!(answer, Answer::Bad(Bad::Flood));
    thread.join().unwrap();
}
