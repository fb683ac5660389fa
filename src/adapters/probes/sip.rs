//! Does a SIP server answer OPTIONS over UDP? A non-INVITE client transaction of RFC 3261 §17.1.2,
//! with the probe's timeout in place of timer F.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::message::Request;
use super::{Answer, Bad, CouldNotRun, judge};
use crate::config::SipProbe;

/// Timers of RFC 3261 §17.1.1.1: first retransmission, and longest pause between two.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// Datagrams that are no answer are borne with up to this number: a server that floods must not keep
/// the daemon reading.
const STRAYS: u32 = 200;

/// Asks once and waits for a final response, retransmitting as the transaction does.
pub async fn ask(probe: &SipProbe, timeout: Duration) -> Answer {
    let target = probe.target;
    let asked = Instant::now();
    let end = asked + timeout;
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A fresh port for each question, connected: strangers' datagrams are not even received, a
    // late answer to the last question neither, and a refusal is seen at once.
    let socket = match UdpSocket::bind((any, 0)).await {
        Ok(socket) => socket,
        Err(error) => return judge("open a socket", &error),
    };
    if let Err(error) = socket.connect(target).await {
        return judge("reach the target", &error);
    }
    let local = match socket.local_addr() {
        Ok(local) => local,
        Err(error) => return judge("read the own address", &error),
    };
    let request = match request(target, local, "UDP") {
        Ok(request) => request,
        Err(reason) => return Answer::CouldNotRun(reason),
    };
    match transact(&socket, &request, end).await {
        Ok(Seen::Final(status)) => verdict(probe, status, asked),
        Ok(Seen::Nothing) => Answer::Bad(Bad::NoAnswer(timeout)),
        Ok(Seen::Flood) => Answer::Bad(Bad::Flood),
        Err(error) => judge("exchange datagrams", &error),
    }
}

/// A request with identifiers that nobody else has.
pub(super) fn request(
    target: SocketAddr,
    local: SocketAddr,
    transport: &'static str,
) -> Result<Request, CouldNotRun> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|_| CouldNotRun::NoRandom)?;
    Ok(Request::new(target, local, transport, random))
}

/// What a final response means.
pub(super) fn verdict(probe: &SipProbe, status: u16, asked: Instant) -> Answer {
    match probe.accept.contains(status) {
        true => Answer::Good(asked.elapsed()),
        false => Answer::Bad(Bad::Status(status)),
    }
}

enum Seen {
    Final(u16),
    Nothing,
    Flood,
}

/// What came until `end`.
async fn transact(socket: &UdpSocket, request: &Request, end: Instant) -> std::io::Result<Seen> {
    let mut strays = 0;
    let text = request.to_text();
    let mut pause = T1;
    let mut buffer = vec![0; 8192];
    while Instant::now() < end {
        socket.send(text.as_bytes()).await?;
        let until = end.min(Instant::now() + pause);
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            match request.status_of(&buffer[..received?]) {
                Some(status) if status >= 200 => return Ok(Seen::Final(status)),
                // Provisional: from now on retransmit at T2 (§17.1.2.2, "Proceeding").
                Some(_) => pause = T2,
                None => {}
            }
            strays += 1;
            if strays > STRAYS {
                return Ok(Seen::Flood);
            }
        }
        pause = (pause * 2).min(T2);
    }
    Ok(Seen::Nothing)
}
