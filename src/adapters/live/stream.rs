//! The connection over which the active node tells its standby the newest lists: TCP between the
//! ends of a link, every word under the pair's key (`wire::stream`). Each step has a time limit;
//! whoever is slow or strange loses the connection and holds nobody up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::protocol::identity::NodeId;
use crate::wire::stream::{
    Conversation, HELLO_LEN, PROOF_LEN, WELCOME_LEN, hello, length, open_hello,
};
use crate::wire::{Keys, PairTag, Refused};

/// For the greetings together, and for a frame that has begun.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two questions of the kernel whether the other end is there.
const ALIVE: Duration = Duration::from_secs(5);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 8;

/// Who this node is, and what it proves that with.
#[derive(Clone, Debug)]
pub struct Who {
    /// This node.
    pub node: NodeId,
    /// The pair.
    pub pair: PairTag,
    /// The pair's keys.
    pub keys: Keys,
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The network.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// It took too long.
    #[error("nothing within {0:?}")]
    Slow(Duration),
    /// The other end is not who it should be.
    #[error("{0}")]
    Refused(Refused),
    /// A frame that there cannot be, or that was changed or played back on the way.
    #[error("a frame was refused: it is too long, or was changed on the way")]
    Frame,
}

/// Listens at a link's own address, which may come later than the daemon.
///
/// # Errors
/// The system's; the port may be somebody else's.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match at {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The active node's end.
#[derive(Debug)]
pub struct Outgoing {
    stream: TcpStream,
    conversation: Conversation,
}

/// Greets who has connected.
///
/// # Errors
/// It is not the peer, or does not say so in time.
pub async fn accept(mut stream: TcpStream, who: &Who) -> Result<Outgoing, StreamError> {
    keep_alive(&stream)?;
    let greet = async {
        let mut bytes = [0; HELLO_LEN];
        stream.read_exact(&mut bytes).await?;
        let (theirs, key) =
            open_hello(&bytes, &who.pair, &who.keys, who.node).map_err(StreamError::Refused)?;
        let ours = nonce()?;
        let conversation = Conversation::new(&who.pair, (&theirs, &ours), key);
        let mut welcome = ours.to_vec();
        welcome.extend(conversation.welcome());
        stream.write_all(&welcome).await?;
        let mut proof = [0; PROOF_LEN];
        stream.read_exact(&mut proof).await?;
        match conversation.proved(&proof) {
            true => Ok(conversation),
            false => Err(StreamError::Refused(Refused::WrongKey)),
        }
    };
    let conversation =
        timeout(PATIENCE, greet).await.map_err(|_| StreamError::Slow(PATIENCE))??;
    Ok(Outgoing { stream, conversation })
}

impl Outgoing {
    /// Sends one text; the connection is over when that fails.
    ///
    /// # Errors
    /// The standby does not take it in time, or it is longer than a frame may be.
    pub async fn send(&mut self, text: &[u8]) -> Result<(), StreamError> {
        let frame = self.conversation.frame(text).ok_or(StreamError::Frame)?;
        let sent = timeout(PATIENCE, self.stream.write_all(&frame));
        Ok(sent.await.map_err(|_| StreamError::Slow(PATIENCE))??)
    }

    /// Waits until the standby has gone. It has nothing more to say: whatever it says ends this.
    pub async fn closed(&mut self) {
        let _ = self.stream.read(&mut [0]).await;
    }
}

/// The standby's end.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    conversation: Conversation,
}

/// Calls the active node from this node's own end of the link.
///
/// # Errors
/// It does not answer, or not as the peer.
pub async fn connect(from: SocketAddr, to: SocketAddr, who: &Who) -> Result<Incoming, StreamError> {
    let greet = async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from.ip(), 0))?;
        let mut stream = socket.connect(to).await?;
        let ours = nonce()?;
        let key = &who.keys.current;
        stream.write_all(&hello(&who.pair, who.node, &ours, key)).await?;
        let mut welcome = [0; WELCOME_LEN];
        stream.read_exact(&mut welcome).await?;
        let (theirs, tag) = welcome.split_at(ours.len());
        let mut nonce = ours;
        nonce.copy_from_slice(theirs);
        let conversation = Conversation::new(&who.pair, (&ours, &nonce), key);
        if !conversation.welcomed(tag) {
            return Err(StreamError::Refused(Refused::WrongKey));
        }
        stream.write_all(&conversation.proof()).await?;
        Ok((stream, conversation))
    };
    let (stream, conversation) =
        timeout(PATIENCE, greet).await.map_err(|_| StreamError::Slow(PATIENCE))??;
    Ok(Incoming { stream, conversation })
}

impl Incoming {
    /// The next text, which comes within `within`; the connection is over when that fails.
    ///
    /// # Errors
    /// Nothing came, or something that is not the peer's next frame.
    pub async fn next(&mut self, within: Duration) -> Result<Vec<u8>, StreamError> {
        let begins = timeout(within, self.stream.read_u32());
        let came = begins.await.map_err(|_| StreamError::Slow(within))??;
        let length = length(came).ok_or(StreamError::Frame)?;
        let mut bytes = Vec::new();
        let mut rest = (&mut self.stream).take((length + PROOF_LEN) as u64);
        let read = timeout(PATIENCE, rest.read_to_end(&mut bytes));
        read.await.map_err(|_| StreamError::Slow(PATIENCE))??;
        if bytes.len() != length + PROOF_LEN {
            return Err(StreamError::Network(io::ErrorKind::UnexpectedEof.into()));
        }
        let tag = bytes.split_off(length);
        match self.conversation.is_next(&bytes, &tag) {
            true => Ok(bytes),
            false => Err(StreamError::Frame),
        }
    }
}

/// A standby that lost its power is noticed, though nothing is sent to it.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let every = TcpKeepalive::new().with_time(ALIVE).with_interval(ALIVE).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&every)
}

fn nonce() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
