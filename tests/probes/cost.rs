//! What it costs to ask. Not a test of right or wrong: figures for a person.
//!
//! `make bench-probes`

use std::time::{Duration, Instant};

use duotone::adapters::probes::Asking;
use duotone::config::{CommandProbe, Probe, ProbeKind, Transport};
use nix::time::{ClockId, clock_gettime};

use crate::{ms, probe, sip};

const SERVICES: usize = 100;
const SPAN: Duration = Duration::from_secs(10);

#[test]
#[ignore = "figures, not right or wrong"]
fn what_a_hundred_probes_a_second_cost() {
    let udp = answering_udp();
    let tcp = answering_tcp();
    let check = ["/bin/sh", "-c", "exit 0"].map(Into::into).to_vec();
    let command = ProbeKind::Command(CommandProbe { command: check, user: None });
    for (what, kind) in [
        ("SIP OPTIONS over UDP", sip(udp, Transport::Udp)),
        ("SIP OPTIONS over TCP", sip(tcp, Transport::Tcp)),
        ("a TCP connection", ProbeKind::Tcp(tcp)),
        ("a shell that exits with 0 (with what it costs itself)", command),
    ] {
        let (spent, good) = cost(&Probe { interval: ms(1000), ..probe(kind, ms(1000)) });
        let percent = spent.as_secs_f64() / SPAN.as_secs_f64() * 100.0;
        println!(
            "{SERVICES} services, each asked once a second, {what}: {percent:.2} % of a core; {good} good"
        );
    }
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
        let mut services: Vec<Asking> = Vec::new();
        for _ in 0..SERVICES {
            // As they would be after a while: not all in the same moment.
            services.push(Asking::start(std::slice::from_ref(probe), false));
            tokio::time::sleep(ms(1000) / SERVICES as u32).await;
        }
        let (before, end) = (spent(), Instant::now() + SPAN);
        while Instant::now() < end {
            for service in &mut services {
                // Takes the answers that have come, as a keeper would.
                let _none_yet = tokio::time::timeout(Duration::ZERO, service.next()).await;
            }
            tokio::time::sleep(ms(250)).await;
        }
        let good =
            services.iter().filter(|it| it.grade() == duotone::protocol::health::Grade::Good);
        (spent() - before, good.count())
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
