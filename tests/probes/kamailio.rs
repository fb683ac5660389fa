//! A real Kamailio over UDP, TCP and TLS: with certificates that are right and wrong, and stopped
//! (alive and mute).

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use duotone::adapters::probes::{Answer, Bad, CouldNotRun, Question, ask};
use duotone::config::{Tls, Transport};
use nix::sys::signal::Signal;

use crate::certificates::{Authority, tls};
use crate::{PATIENCE, SOON, Scratch, Server, free_port, has, ms, probe, sip};

const PROGRAM: &str = "/usr/sbin/kamailio";
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules";

struct Kamailio {
    server: Server,
    plain: SocketAddr,
    good: SocketAddr,
    expired: SocketAddr,
    authority: Authority,
    _scratch: Scratch,
}

/// Answers OPTIONS with 200: over UDP and TCP on one port, over TLS on two with a certificate each.
fn kamailio(name: &str) -> Option<Kamailio> {
    let tls_module = format!("{MODULES}/tls.so");
    if !has(PROGRAM) || !has(&tls_module) {
        return None;
    }
    let scratch = Scratch::new(name);
    let authority = Authority::new(&scratch, "authority")?;
    authority.sign_good();
    authority.sign_expired();
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let [plain, good, expired] = [free_port(), free_port(), free_port()].map(at);
    let dir = authority.dir.display();
    let server = |at: SocketAddr, name: &str| {
        format!(
            "[server:{at}]\nmethod = TLSv1.2+\ncertificate = {dir}/{name}.pem\n\
             private_key = {dir}/{name}.key\nverify_certificate = no\n"
        )
    };
    let default = "[server:default]\nmethod = TLSv1.2+\n".to_owned()
        + &format!("certificate = {dir}/good.pem\nprivate_key = {dir}/good.key\n");
    let profiles = [default, server(good, "good"), server(expired, "expired")].concat();
    std::fs::write(scratch.path("tls.cfg"), profiles).unwrap();
    let config = format!(
        "#!KAMAILIO\ndebug=-1\nlog_stderror=yes\nfork=yes\nchildren=1\ntcp_children=1\n\
         enable_tls=yes\nauto_aliases=no\nlisten=udp:{plain}\nlisten=tcp:{plain}\n\
         listen=tls:{good}\nlisten=tls:{expired}\nmpath=\"{MODULES}/\"\n\
         loadmodule \"tls.so\"\nloadmodule \"sl.so\"\n\
         modparam(\"tls\", \"config\", \"{}\")\n\
         request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n",
        scratch.path("tls.cfg").display()
    );
    std::fs::write(scratch.path("kamailio.cfg"), config).unwrap();
    let log = std::fs::File::create(scratch.path("log")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["-DD", "-E", "-m", "16", "-M", "4", "-f"]).arg(scratch.path("kamailio.cfg"));
    command.arg("-Y").arg(&scratch.0).stdout(Stdio::null()).stderr(log);
    let server = Server::start(&mut command);
    Some(Kamailio { server, plain, good, expired, authority, _scratch: scratch })
}

async fn comes_up(kamailio: &Kamailio) {
    for (target, transport) in
        [(kamailio.plain, Transport::Udp), (kamailio.good, Transport::Tls(any()))]
    {
        let mut question = Question::new(probe(sip(target, transport), ms(1000)));
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = question.ask().await;
            if let Answer::Good(_) = answer {
                break;
            }
            let log = std::fs::read_to_string(kamailio._scratch.path("log")).unwrap_or_default();
            assert!(std::time::Instant::now() < end, "{answer}\n{log}");
            tokio::time::sleep(ms(20)).await;
        }
    }
}

fn any() -> Tls {
    Tls { ca: None, server_name: None, verify: false }
}

#[tokio::test]
async fn a_real_server_answers_over_every_transport() {
    let Some(kamailio) = kamailio("transports") else { return };
    comes_up(&kamailio).await;
    let right = tls(&kamailio.authority.ca());
    let named = Tls { server_name: Some("pbx.test".into()), ..right.clone() };
    for (target, transport) in [
        (kamailio.plain, Transport::Udp),
        (kamailio.plain, Transport::Tcp),
        (kamailio.good, Transport::Tls(right)),
        (kamailio.good, Transport::Tls(named)),
        (kamailio.expired, Transport::Tls(any())),
    ] {
        let answer = ask(&probe(sip(target, transport.clone()), PATIENCE)).await;
        assert!(matches!(answer, Answer::Good(_)), "{transport:?}: {answer:?}");
    }
    // Alive and mute: the kernel still accepts for it.
    kamailio.server.signal(Signal::SIGSTOP);
    for (target, transport) in [
        (kamailio.plain, Transport::Udp),
        (kamailio.plain, Transport::Tcp),
        (kamailio.good, Transport::Tls(tls(&kamailio.authority.ca()))),
    ] {
        let answer = ask(&probe(sip(target, transport), SOON)).await;
        assert_eq!(answer, Answer::Bad(Bad::NoAnswer(SOON)));
    }
    kamailio.server.signal(Signal::SIGCONT);
    let answer = ask(&probe(sip(kamailio.plain, Transport::Tcp), PATIENCE)).await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
}

#[tokio::test]
async fn a_wrong_certificate_is_bad_and_says_why() {
    let Some(kamailio) = kamailio("certificates") else { return };
    comes_up(&kamailio).await;
    let right = tls(&kamailio.authority.ca());
    let Some(other) = Authority::new(&kamailio._scratch, "other") else { return };
    for (target, tls, wanted) in [
        (kamailio.expired, right.clone(), "the certificate has expired"),
        (kamailio.good, tls(&other.ca()), "the certificate is signed by nobody who is trusted"),
        (
            kamailio.good,
            Tls { server_name: Some("sip.example.org".into()), ..right.clone() },
            "the certificate is not for sip.example.org but for",
        ),
    ] {
        let answer = ask(&probe(sip(target, Transport::Tls(tls)), PATIENCE)).await;
        let Answer::Bad(Bad::Tls(words)) = &answer else { panic!("{answer:?}") };
        assert!(words.starts_with(wanted), "{words}");
    }
    // Nobody to trust is no fault of the server's; mended, it is read again.
    let late = kamailio._scratch.path("late.pem");
    let mut question =
        Question::new(probe(sip(kamailio.good, Transport::Tls(tls(&late))), PATIENCE));
    let answer = question.ask().await;
    assert!(
        matches!(&answer, Answer::CouldNotRun(CouldNotRun::File(why)) if why.contains("late.pem")),
        "{answer:?}"
    );
    std::fs::copy(kamailio.authority.ca(), late).unwrap();
    let answer = question.ask().await;
    assert!(matches!(answer, Answer::Good(_)), "{answer:?}");
    // TLS to who does not speak it, and waits for the end of the line.
    let answer = ask(&probe(sip(kamailio.plain, Transport::Tls(right)), SOON)).await;
    assert!(matches!(answer, Answer::Bad(_)), "{answer:?}");
}
