//! Does a SIP server answer OPTIONS over UDP? A non-INVITE client transaction of RFC 3261 §17.1.2,
//! with the probe's timeout in place of timer F.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::message::Request;
use super::{Answer, Bad, CouldNotRun, judge};

/// Timers of RFC 3261 §17.1.1.1: first retransmission, and longest pause between two.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// Asks once and waits for a final response, retransmitting as the transaction does. Below 500,
/// and 501 (it understood and has no OPTIONS), the server is at work.
pub async fn ask(target: SocketAddr, timeout: Duration) -> Answer {
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
    let mut random = [0; 24];
    if getrandom::fill(&mut random).is_err() {
        return Answer::CouldNotRun(CouldNotRun::NoRandom);
    }
    let request = Request::new(target, local, random);
    match transact(&socket, &request, end).await {
        Ok(Some(status)) if status < 500 || status == 501 => Answer::Good(asked.elapsed()),
        Ok(Some(status)) => Answer::Bad(Bad::Status(status)),
        Ok(None) => Answer::Bad(Bad::NoAnswer(timeout)),
        Err(error) => judge("exchange datagrams", &error),
    }
}

/// The final status, or `None` at `end`.
async fn transact(
    socket: &UdpSocket,
    request: &Request,
    end: Instant,
) -> std::io::Result<Option<u16>> {
    let text = request.to_text();
    let mut pause = T1;
    let mut buffer = vec![0; 8192];
    while Instant::now() < end {
        socket.send(text.as_bytes()).await?;
        let until = end.min(Instant::now() + pause);
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            match request.status_of(&buffer[..received?]) {
                Some(status) if status >= 200 => return Ok(Some(status)),
                // Provisional: from now on retransmit at T2 (§17.1.2.2, "Proceeding").
                Some(_) => pause = T2,
                None => {}
            }
            // A flood of other datagrams must not outlast the timeout.
            if Instant::now() >= until {
                break;
            }
        }
        pause = (pause * 2).min(T2);
    }
    Ok(None)
}
