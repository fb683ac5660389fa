//! One address that the witness listens on: datagrams in, replies out, one after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Type};
use tokio::net::UdpSocket;

use super::service::{Service, Unanswered};
use crate::adapters::clock;

/// More than any request of a version that this program understands.
const DATAGRAM_MAX: usize = 2048;
/// Datagrams taken from one socket before the others have their turn.
const TURN: usize = 64;
/// Room in the kernel for what arrives while a ledger is being written.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds it; `all` are the addresses that are listened on.
    ///
    /// # Errors
    /// The address is not this host's, or somebody has the port.
    pub fn open(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Socket> {
        let domain = Domain::for_address(address);
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = socket2::Socket::new(domain, kind, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Both families through one socket (ipv6(7)), unless IPv4 has its own.
            let own = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
            socket.set_only_v6(!address.ip().is_unspecified() || all.iter().any(own))?;
        }
        // As much as the system allows; less works as well.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Socket { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what comes, for ever.
    pub async fn serve(self, service: Arc<Mutex<Service>>) {
        let mut bytes = [0; DATAGRAM_MAX];
        let mut reply = Vec::with_capacity(DATAGRAM_MAX);
        loop {
            if let Err(error) = self.socket.readable().await {
                tracing::error!("{}: {error}", self.address);
                return;
            }
            for _ in 0..TURN {
                match self.socket.try_recv_from(&mut bytes) {
                    Ok((length, from)) => {
                        self.answer(&service, &bytes[..length], from, &mut reply);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An earlier reply's ICMP error: reading it clears it.
                    Err(error) => tracing::debug!("{}: {error}", self.address),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn answer(
        &self,
        service: &Mutex<Service>,
        datagram: &[u8],
        from: SocketAddr,
        reply: &mut Vec<u8>,
    ) {
        let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = service.answer(clock::now(), from, datagram, fresh, reply);
        drop(service);
        match answered {
            // A reply that cannot be sent is one that was lost: the node asks again.
            Ok(()) => {
                if let Err(error) = self.socket.try_send_to(reply, from) {
                    tracing::debug!("a reply to {from} could not be sent: {error}");
                }
            }
            // Counted, and told where they are.
            Err(
                Unanswered::Refused(_)
                | Unanswered::Limited
                | Unanswered::Stale
                | Unanswered::Unwritten,
            ) => {}
            Err(error @ Unanswered::NoRandom) => tracing::error!("not answered: {error}"),
        }
    }
}

fn fresh() -> Option<u64> {
    getrandom::u64().ok()
}
