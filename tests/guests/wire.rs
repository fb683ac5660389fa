//! What the nodes have said of terms, heard on the cables: the word that a node must keep over any
//! loss of power.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use duotone::protocol::identity::{NodeId, Session, Term};
use duotone::wire::{Keys, PairTag, decode};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::network::Network;

/// The greatest term and served term of each node so far.
pub type Said = [[Term; 2]; 2];

/// Listens until dropped.
pub struct Ear {
    said: Arc<Mutex<Said>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    pub fn new(network: &Network, pair: PairTag, keys: Keys) -> anyhow::Result<Ear> {
        let (said, stop) =
            (Arc::new(Mutex::new([[Term::ZERO; 2]; 2])), Arc::<AtomicBool>::default());
        let (heard, halt) = (Arc::clone(&said), Arc::clone(&stop));
        let thread = network.thread(move || {
            let Ok(socket) = packets() else { return };
            let mut buffer = [0; 2048];
            while !halt.load(Ordering::Relaxed) {
                use std::os::fd::AsRawFd;
                let flags = nix::sys::socket::MsgFlags::empty();
                let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, flags) else { continue };
                let frame = &buffer[..length];
                let Some(at) = frame.windows(4).position(|four| four == b"duot") else { continue };
                for reader in NodeId::ALL {
                    // Its own node's are refused as such: the other reading is the one that counts.
                    let Ok(heard_now) = decode(&frame[at..], &pair, &keys, (reader, Session(0)))
                    else {
                        continue;
                    };
                    let heartbeat = heard_now.heartbeat;
                    let mut said = heard.lock().unwrap();
                    let of_node = &mut said[heartbeat.node.index()];
                    *of_node = [of_node[0].max(heartbeat.term), of_node[1].max(heartbeat.served)];
                }
            }
        })?;
        Ok(Ear { said, stop, thread: Some(thread) })
    }

    pub fn said(&self) -> Said {
        *self.said.lock().unwrap()
    }
}

/// Every frame in this namespace.
fn packets() -> nix::Result<OwnedFd> {
    let every = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), every)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(200))?;
    Ok(socket)
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
