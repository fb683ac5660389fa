//! Does a SIP server answer OPTIONS over a connection? RFC 3261 §18: the connection is kept for the
//! response, which may come in pieces and among others; nothing is sent twice (§17.1.2.2).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::message::{Framed, Request, frame};
use super::sip::{request, verdict};
use super::{Answer, Bad, CouldNotRun, judge};
use crate::config::{SipProbe, Tls, Transport};

/// A server that sends this much without the answer floods.
const READ_MAX: usize = 256 << 10;

/// Connects, asks once and hangs up; `trust` is for TLS.
pub async fn ask(probe: &SipProbe, trust: Option<&Arc<ClientConfig>>, timeout: Duration) -> Answer {
    let asked = Instant::now();
    match tokio::time::timeout(timeout, exchange(probe, trust)).await {
        Ok(Ok(status)) => verdict(probe, status, asked),
        Ok(Err(answer)) => answer,
        Err(_) => Answer::Bad(Bad::NoAnswer(timeout)),
    }
}

/// The final status, or what kept it away.
async fn exchange(probe: &SipProbe, trust: Option<&Arc<ClientConfig>>) -> Result<u16, Answer> {
    let failed = |what| move |error: io::Error| judge(what, &error);
    let stream = TcpStream::connect(probe.target).await.map_err(failed("connect"))?;
    let local = stream.local_addr().map_err(failed("read the own address"))?;
    let named = |transport| request(probe.target, local, transport).map_err(Answer::CouldNotRun);
    match trust {
        None => transact(stream, &named("TCP")?).await,
        Some(trust) => {
            let connector = TlsConnector::from(Arc::clone(trust));
            let stream = connector.connect(server_name(probe)?, stream).await;
            transact(stream.map_err(failed("begin TLS"))?, &named("TLS")?).await
        }
    }
}

/// Whom the certificate must be for.
fn server_name(probe: &SipProbe) -> Result<ServerName<'static>, Answer> {
    match &probe.transport {
        Transport::Tls(Tls { server_name: Some(name), .. }) => ServerName::try_from(name.clone())
            .map_err(|_| {
                let why = "it cannot be in a certificate".to_owned();
                Answer::CouldNotRun(CouldNotRun::Name { name: name.clone(), why })
            }),
        Transport::Tls(_) | Transport::Udp | Transport::Tcp => {
            Ok(ServerName::from(probe.target.ip()))
        }
    }
}

async fn transact(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request,
) -> Result<u16, Answer> {
    let failed = |error: io::Error| judge("talk over the connection", &error);
    stream.write_all(request.to_text().as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let (mut unread, mut read) = (Vec::new(), 0);
    while read < READ_MAX {
        match stream.read_buf(&mut unread).await.map_err(failed)? {
            0 => return Err(Answer::Bad(Bad::BrokenOff)),
            more => read += more,
        }
        loop {
            match frame(&unread) {
                Framed::More => break,
                Framed::Broken => {
                    return Err(Answer::Bad(Bad::NotUnderstood("it is not SIP".into())));
                }
                Framed::Whole(length) => {
                    match request.status_of(&unread[..length]) {
                        Some(status) if status >= 200 => return Ok(status),
                        // Provisional, or of nobody's asking.
                        Some(_) | None => drop(unread.drain(..length)),
                    }
                }
            }
        }
    }
    Err(Answer::Bad(Bad::Flood))
}
