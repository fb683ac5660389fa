//! Does somebody accept TCP connections there?
//!
//! The kernel accepts for a process that hangs until its backlog is full, so this finds a dead
//! service, not a mute one.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Answer, Bad, judge};

/// Connects once and hangs up.
pub async fn ask(target: SocketAddr, timeout: Duration) -> Answer {
    let asked = Instant::now();
    match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
        Ok(Ok(_connection)) => Answer::Good(asked.elapsed()),
        Ok(Err(error)) => judge("connect", &error),
        Err(_) => Answer::Bad(Bad::NoAnswer(timeout)),
    }
}
