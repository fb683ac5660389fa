//! One question to the LAN, asked and waited for: who holds an address, is a reference there? For
//! callers that may block; the pulse itself has [`super::lan`].

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::announce;
use super::frames::Mac;
use super::listen::Sockets;
use super::netlink::{Link, Requests};
use super::probe::{Said, Topics, question_for_floating, question_for_reference};

/// Between two questions. A neighbour that lives answers within milliseconds.
const ROUND: Duration = Duration::from_millis(50);
/// Questions about an address: each may be lost.
const ROUNDS: u32 = 3;
/// Questions to a reference, which may be busy with better things.
const REFERENCE_ROUNDS: u32 = 10;

/// What the LAN said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// The hardware address of another host that holds one of the addresses.
    pub holder: Option<Mac>,
    /// The references that answered.
    pub answered: Vec<IpAddr>,
}

/// Asks who holds one of the `addresses`, and `references` whether they are there. Returns when
/// somebody answered for an address, or when everything was asked and all references answered.
///
/// # Errors
/// The interface cannot be used.
pub fn ask(link: &Link, addresses: &[IpAddr], references: &[IpAddr]) -> io::Result<Heard> {
    let own = link.mac.ok_or_else(|| io::Error::other("it is not an Ethernet interface"))?;
    let topics = Topics { floating: addresses.to_vec(), references: references.to_vec() };
    let mut sockets = Sockets::open(link.index, own, &topics)?;
    let mut heard = Heard::default();
    for round in 0..ROUNDS.max(REFERENCE_ROUNDS) {
        let silent: Vec<IpAddr> =
            references.iter().filter(|one| !heard.answered.contains(one)).copied().collect();
        let asked = addresses.is_empty() || round >= ROUNDS;
        if heard.holder.is_some() || (asked && silent.is_empty()) {
            break;
        }
        if round < ROUNDS {
            for address in addresses {
                sockets.send(*address, &question_for_floating(own, *address))?;
            }
        }
        for reference in silent {
            sockets.send(reference, &question_for_reference(own, reference))?;
        }
        listen(&mut sockets, &topics, own, Instant::now() + ROUND, &mut heard)?;
    }
    Ok(heard)
}

/// Which of these hosts on the LAN of an interface answer, each within half a second.
///
/// # Errors
/// The interface cannot be used.
pub fn reached(interface: &str, hosts: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let link = Requests::open().and_then(|mut kernel| kernel.link(interface));
    let link = link.map_err(|error| io::Error::other(error.to_string()))?;
    let Some(link) = link else { return Err(io::Error::from_raw_os_error(libc::ENODEV)) };
    Ok(ask(&link, &[], hosts)?.answered)
}

fn listen(
    sockets: &mut Sockets,
    topics: &Topics,
    own: Mac,
    end: Instant,
    heard: &mut Heard,
) -> io::Result<()> {
    loop {
        for socket in sockets.each() {
            while let Some(frame) = socket.receive()? {
                match topics.read(&frame, own) {
                    Some(Said::Holds(mac)) => heard.holder = Some(mac),
                    Some(Said::Answers(reference, _)) if !heard.answered.contains(&reference) => {
                        heard.answered.push(reference);
                    }
                    Some(Said::Answers(..) | Said::Probes) | None => {}
                }
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        let all = topics.floating.is_empty() && heard.answered.len() == topics.references.len();
        if left.is_zero() || heard.holder.is_some() || all {
            return Ok(());
        }
        let mut ready: Vec<PollFd<'_>> =
            sockets.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut ready, PollTimeout::from(left)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells the LAN that these addresses are here now.
///
/// # Errors
/// The interface cannot be used.
pub fn announce(link: &Link, addresses: &[IpAddr]) -> io::Result<()> {
    let own = link.mac.ok_or_else(|| io::Error::other("it is not an Ethernet interface"))?;
    let topics = Topics { floating: addresses.to_vec(), references: Vec::new() };
    let sockets = Sockets::open(link.index, own, &topics)?;
    for address in addresses {
        for frame in announce::frames(own, *address) {
            sockets.send(*address, &frame)?;
        }
    }
    Ok(())
}

/// A hardware address as people write it.
pub fn shown(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
