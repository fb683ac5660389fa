//! What it costs to ask. Not a test of right or wrong: figures for a person.
//!
//! `make bench-probes`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duotone::adapters::probes::Asking;
use duotone::config::{CommandProbe, Probe, ProbeKind, Transport};
use duotone::protocol::health::Grade;
use nix::time::{ClockId, clock_gettime};

use crate::{PATIENCE, ms, probe, sip};

const SERVICES: usize = 100;
const SPAN: Duration = Duration::from_secs(10);

#[test]
#[ignore = "figures, not right or wrong"]
fn what_a_hundred_probes_a_second_cost() {
    let udp = answering_udp();
    let tcp = answering_tcp();
    let check = ["/bin/sh", "-c", "exit 0"].map(Into::into).to_vec();
    let percent = bare(udp).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    println!(
        "the bare floor, a datagram there and back {SERVICES} times a second: {percent:.2} % of a core"
    );
    let command = ProbeKind::Command(CommandProbe { command: check, user: None });
    for (what, kind) in [
        ("SIP OPTIONS over UDP", sip(udp, Transport::Udp)),
        ("SIP OPTIONS over TCP", sip(tcp, Transport::Tcp)),
        ("a TCP connection", ProbeKind::Tcp(tcp)),
        ("a shell that exits with 0 (with what it costs itself)", command),
    ] {
        let (spent, good) = cost(&probe(kind, PATIENCE));
        let percent = spent.as_secs_f64() / SPAN.as_secs_f64() * 100.0;
        println!(
            "{SERVICES} services, each asked once a second, {what}: {percent:.2} % of a core; {good} good"
        );
    }
}

/// What the kernel alone takes here for as many sockets, datagrams and waits, in one blocking thread.
fn bare(target: std::net::SocketAddr) -> Duration {
    let before = spent();
    for _ in 0..SERVICES as u32 * SPAN.as_secs() as u32 {
        let asked = std::time::Instant::now();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(target).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"OPTIONS sip:127.0.0.1 SIP/2.0\r\n\r\n").unwrap();
        let _ = socket.recv(&mut [0; 4096]);
        std::thread::sleep((ms(1000) / SERVICES as u32).saturating_sub(asked.elapsed()));
    }
    spent() - before
}

/// Processor time of the asking thread, and of the children that it waited for.
fn spent() -> Duration {
    let own = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"));
    own + children()
}

/// Of children that ended, which were all started by the thread that starts commands.
fn children() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn cost(probe: &Probe) -> (Duration, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let good: Vec<Arc<AtomicBool>> = (0..SERVICES).map(|_| Arc::default()).collect();
        for good in &good {
            let good = Arc::clone(good);
            let mut service = Asking::start(std::slice::from_ref(probe), false);
            // As a keeper does.
            tokio::spawn(async move {
                loop {
                    service.next().await;
                    good.store(service.grade() == Grade::Good, Ordering::Relaxed);
                }
            });
            // As they would be after a while: not all in the same moment.
            tokio::time::sleep(ms(1000) / SERVICES as u32).await;
        }
        let before = spent();
        tokio::time::sleep(SPAN).await;
        (spent() - before, good.iter().filter(|good| good.load(Ordering::Relaxed)).count())
    })
}

fn answering_udp() -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = socket.send_to(crate::datagrams::response("200 OK", &text).as_bytes(), from);
        }
    });
    address
}

fn answering_tcp() -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            if let Ok(length @ 1..) = stream.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let _ = stream.write_all(crate::datagrams::response("200 OK", &text).as_bytes());
            }
        }
    });
    address
}
