//! Web pages, from servers that do what servers do to their clients.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use duotone::adapters::probes::{Answer, Bad, CouldNotRun, Question, ask};
use duotone::config::{Accept, HttpProbe, Probe, ProbeKind, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::certificates::{Authority, tls};
use crate::{PATIENCE, SOON, Scratch, Server, free_port, ms, probe};

fn page(url: &str) -> HttpProbe {
    let tls = Tls { ca: None, server_name: None, verify: true };
    HttpProbe { url: url.parse().unwrap(), accept: Accept::http(), contains: None, tls }
}

fn asking(http: HttpProbe) -> Probe {
    probe(ProbeKind::Http(http), PATIENCE)
}

/// A web server on this test's runtime; counts its connections.
async fn server<F, W>(work: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, String) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            tokio::spawn(work(stream, String::from_utf8(request).unwrap()));
        }
    });
    (address, count)
}

/// One that says this and then is silent.
async fn says(text: impl Into<String>) -> (SocketAddr, Arc<AtomicUsize>) {
    let text = text.into();
    server(move |mut stream, _| {
        let text = text.clone();
        async move {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read(&mut [0]).await;
        }
    })
    .await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn good(answer: &Answer) -> bool {
    matches!(answer, Answer::Good(_))
}

#[tokio::test]
async fn a_page_is_good_by_its_status_and_its_text() {
    let (address, count) = says(ok("all 12 trunks are up")).await;
    let url = format!("http://{address}/status");
    let with = |text: &str| HttpProbe { contains: Some(text.into()), ..page(&url) };
    let mut question = Question::new(asking(with("trunks are up")));
    for _ in 0..2 {
        let answer = question.ask().await;
        assert!(good(&answer), "{answer:?}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2, "a fresh connection for each question");
    let answer = ask(&asking(with("trunks are down"))).await;
    assert_eq!(answer, Answer::Bad(Bad::Lacks("trunks are down".into())));
    // By a name, too.
    let answer = ask(&asking(page(&format!("http://localhost:{}/", address.port())))).await;
    assert!(good(&answer), "{answer:?}");
}

#[tokio::test]
async fn another_status_is_bad_and_a_redirect_is_not_followed() {
    let (beyond, asked) = says(ok("")).await;
    for (line, accept, good) in [
        ("503 Service Unavailable", Accept::http(), false),
        ("204 No Content", Accept::http(), true),
        ("302 Found", Accept::http(), false),
        ("302 Found", Accept { ranges: vec![(302, 302)] }, true),
        ("404 Not Found", Accept { ranges: vec![(400, 499)] }, true),
    ] {
        let location = format!("Location: http://{beyond}/\r\n");
        let (address, _) =
            says(format!("HTTP/1.1 {line}\r\n{location}Content-Length: 0\r\n\r\n")).await;
        let answer =
            ask(&asking(HttpProbe { accept, ..page(&format!("http://{address}/")) })).await;
        let status = line[..3].parse().unwrap();
        match good {
            true => assert!(matches!(answer, Answer::Good(_)), "{line}: {answer:?}"),
            false => assert_eq!(answer, Answer::Bad(Bad::HttpStatus(status))),
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody went where it pointed");
}

#[tokio::test]
async fn a_big_body_is_searched_in_its_beginning_and_a_slow_one_until_time_is_up() {
    let of = |at: SocketAddr, text: &str| HttpProbe {
        contains: Some(text.into()),
        ..page(&format!("http://{at}/"))
    };
    // The text lies across the pieces in which it comes.
    let (in_pieces, _) = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in ["6\r\n______\r\n", "3\r\n_ne\r\n", "4\r\nedle\r\n", "0\r\n\r\n"] {
            let _ = stream.write_all(piece.as_bytes()).await;
            tokio::time::sleep(ms(20)).await;
        }
    })
    .await;
    let answer = ask(&asking(of(in_pieces, "needle"))).await;
    assert!(good(&answer), "{answer:?}");
    let (endless, _) = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'_'; 64 << 10]).await.is_ok() {}
    })
    .await;
    let answer = ask(&asking(of(endless, "needle"))).await;
    assert_eq!(answer, Answer::Bad(Bad::Lacks("needle".into())));
    let (slow, _) = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(b"_").await.is_ok() {
            tokio::time::sleep(ms(50)).await;
        }
    })
    .await;
    let answer = ask(&probe(ProbeKind::Http(of(slow, "needle")), SOON)).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(SOON)));
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let half = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 O").await;
    });
    let short_body = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnee").await;
    });
    let rubbish = server(|mut stream, _| async move {
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n").await;
    });
    for address in [half.await.0, short_body.await.0, rubbish.await.0] {
        let contains = Some("needle".to_owned());
        let http = HttpProbe { contains, ..page(&format!("http://{address}/")) };
        let answer = ask(&asking(http)).await;
        let bad = matches!(answer, Answer::Bad(Bad::NotUnderstood(_) | Bad::BrokenOff));
        assert!(bad, "{answer:?}");
    }
    let (mute, _) = says("").await;
    let answer = ask(&probe(ProbeKind::Http(page(&format!("http://{mute}/"))), SOON)).await;
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(SOON)));
    let closed = format!("http://127.0.0.1:{}/", free_port());
    assert_eq!(ask(&asking(page(&closed))).await, Answer::Bad(Bad::Refused));
}

#[tokio::test]
async fn a_name_without_an_address_is_no_fault_of_the_servers() {
    let answer = ask(&asking(page("http://pbx.invalid/"))).await;
    let unresolved = matches!(&answer, Answer::CouldNotRun(CouldNotRun::Name { name, .. }) if name == "pbx.invalid");
    assert!(unresolved, "{answer:?}");
}

#[tokio::test]
async fn a_web_server_proves_who_it_is() {
    let scratch = Scratch::new("https");
    let Some(authority) = Authority::new(&scratch, "authority") else { return };
    authority.sign_good();
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
    command.args(["-cert", "good.pem", "-key", "good.key"]).current_dir(&authority.dir);
    let _server = Server::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let right = tls(&authority.ca());
    let url = format!("https://127.0.0.1:{port}/");
    let https = |tls: Tls| asking(HttpProbe { tls, ..page(&url) });
    let end = std::time::Instant::now() + PATIENCE;
    let mut question = Question::new(https(right.clone()));
    while question.ask().await == Answer::Bad(Bad::Refused) {
        assert!(std::time::Instant::now() < end, "it listens");
        tokio::time::sleep(ms(20)).await;
    }
    let named = |name: &str| Tls { server_name: Some(name.into()), ..right.clone() };
    let any = Tls { ca: None, server_name: None, verify: false };
    for tls in [right.clone(), named("pbx.test"), any] {
        let answer = ask(&https(tls.clone())).await;
        assert!(good(&answer), "{tls:?}: {answer:?}");
    }
    let answer = ask(&https(named("sip.example.org"))).await;
    let Answer::Bad(Bad::Tls(words)) = &answer else { panic!("{answer:?}") };
    assert!(words.starts_with("the certificate is not for sip.example.org"), "{words}");
}
