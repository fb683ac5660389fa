//! A phone on the LAN that asks whether the PBX behind the floating address answers.

use std::net::UdpSocket;
use std::time::Duration;

use crate::network::{FLOATING, Network};

/// Whether SIP OPTIONS is answered with 200 within a second.
pub fn answers(network: &Network) -> anyhow::Result<bool> {
    let ask = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect((FLOATING, 5060))?;
        let own = socket.local_addr()?;
        let options = format!(
            "OPTIONS sip:{FLOATING} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{0};rport\r\n\
             From: <sip:phone@{own}>;tag={0}\r\nTo: <sip:{FLOATING}>\r\nCall-ID: {0}@{own}\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            own.port()
        );
        socket.send(options.as_bytes())?;
        let mut answer = [0; 2000];
        let length = socket.recv(&mut answer)?;
        Ok(answer[..length].starts_with(b"SIP/2.0 200"))
    };
    // Nobody there, and nobody in time, is no answer.
    Ok(network.thread("client", move || ask().unwrap_or(false))?.join().unwrap_or(false))
}
