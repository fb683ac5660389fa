//! What was seen on the phone's wire and in the hosts' kernels, independent of what anybody says:
//! every call (INVITE out, 200 back), every claim of the floating address (ARP), every address
//! that a host's kernel gained or lost (netlink).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock;
use super::namespaces;
use super::netlink::{AddressChange, address_changes, address_monitor};
use super::packet::Capture;
use super::world::{FLOATING, HOSTS, PHONE};
use crate::protocol::time::Instant;

/// The caller's port: requests leave from it, answers come to it.
pub const CALLER_PORT: u16 = 5065;
const SIP_PORT: u16 = 5060;

/// A call as the wire showed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its (only) INVITE left the phone.
    pub invited: Instant,
    /// Its 200 reached the phone.
    pub answered: Option<Instant>,
}

/// Somebody's ARP says that the floating address is his.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// When.
    pub at: Instant,
    /// The hardware address.
    pub mac: [u8; 6],
}

/// An address change in a host's kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostChange {
    /// When.
    pub at: Instant,
    /// Which host (0 or 1).
    pub node: usize,
    /// What.
    pub change: AddressChange,
}

/// A time in which nobody could reach a host: no power, or frozen with its ports dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dark {
    /// Which host.
    pub node: usize,
    /// Since when.
    pub from: Instant,
    /// Until when, if it is over.
    pub to: Option<Instant>,
    /// Its kernel knows nothing of before: it lost its power.
    pub forgets: bool,
}

/// Everything seen.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// By Call-ID.
    pub calls: BTreeMap<String, Call>,
    /// In order.
    pub claims: Vec<Claim>,
    /// In order of each host.
    pub changes: Vec<HostChange>,
    /// When a host could not be reached by anybody.
    pub dark: Vec<Dark>,
    /// A watcher missed something (buffer overrun) and cannot vouch for what it saw.
    pub blind: bool,
}

/// The running watchers.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Starts them; every answered call is also a line of `log`, synced to disk.
    pub fn start(log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log)?;
        let mut watch = Watch { stop: Arc::default(), seen: Arc::default(), threads: Vec::new() };
        let (stop, seen) = (Arc::clone(&watch.stop), Arc::clone(&watch.seen));
        let (lines, inbox) = channel();
        watch.threads.push(std::thread::spawn(move || log_calls(log, &inbox)));
        watch.threads.push(namespaces::thread_in(PHONE, move || capture(&stop, &seen, &lines))?);
        for (node, namespace) in HOSTS.iter().enumerate() {
            let (stop, seen) = (Arc::clone(&watch.stop), Arc::clone(&watch.seen));
            let thread =
                namespaces::thread_in(namespace, move || watch_addresses(node, &stop, &seen))?;
            watch.threads.push(thread);
        }
        Ok(watch)
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// A host cannot be reached since `from`.
    pub fn darken(&self, node: usize, from: Instant, forgets: bool) {
        lock(&self.seen).dark.push(Dark { node, from, to: None, forgets });
    }

    /// It can be reached again.
    pub fn lighten(&self, node: usize, at: Instant) {
        let mut seen = lock(&self.seen);
        for dark in seen.dark.iter_mut().filter(|dark| dark.node == node && dark.to.is_none()) {
            dark.to = Some(at);
        }
    }

    /// A host's kernel got the floating address later than `since`.
    pub fn held_since(&self, node: usize, since: Instant) -> bool {
        let got = |one: &HostChange| one.node == node && one.at > since && one.change.present;
        lock(&self.seen).changes.iter().any(|one| got(one) && one.change.address == FLOATING)
    }

    /// Every call that was placed in this time is answered.
    pub fn all_answered(&self, from: Instant, to: Instant) -> bool {
        let placed = |call: &&Call| call.invited >= from && call.invited <= to;
        lock(&self.seen).calls.values().filter(placed).all(|call| call.answered.is_some())
    }

    /// The last call answered.
    pub fn last_answer(&self) -> Option<Instant> {
        lock(&self.seen).calls.values().filter_map(|call| call.answered).max()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what it gets, several lines to one sync when they come fast.
fn log_calls(mut log: File, inbox: &Receiver<String>) {
    while let Ok(first) = inbox.recv() {
        let text = inbox.try_iter().fold(first, |text, line| text + &line);
        if log.write_all(text.as_bytes()).and_then(|()| log.sync_data()).is_err() {
            return;
        }
    }
}

/// Runs the calling thread before ordinary ones (chrt(1)): a stamp taken late would look like two
/// owners. Where that is refused, the stamps are a little later on a busy machine, nothing worse.
pub fn run_first(priority: u32) {
    let (priority, thread) = (priority.to_string(), nix::unistd::gettid().to_string());
    let _ = Command::new("chrt").args(["--rr", "--pid", &priority, &thread]).output();
}

fn capture(stop: &AtomicBool, seen: &Mutex<Seen>, lines: &Sender<String>) {
    let Ok(mut wire) = Capture::open() else {
        lock(seen).blind = true;
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        let Some((at, frame)) = wire.next() else { continue };
        if let Some(mac) = claimed_by(frame) {
            lock(seen).claims.push(Claim { at, mac });
        } else if let Some(message) = sip_message(frame) {
            note(message, at, seen, lines);
        }
    }
}

enum Sip<'a> {
    Invite(&'a str),
    Answer(&'a str),
}

fn note(message: Sip<'_>, at: Instant, seen: &Mutex<Seen>, lines: &Sender<String>) {
    let mut seen = lock(seen);
    match message {
        Sip::Invite(id) => {
            seen.calls.entry(id.to_owned()).or_insert(Call { invited: at, answered: None });
        }
        Sip::Answer(id) => {
            if let Some(call) = seen.calls.get_mut(id)
                && call.answered.is_none()
            {
                call.answered = Some(at);
                let line = format!("{} {} {id}\n", call.invited.as_nanos(), at.as_nanos());
                // The log's thread ends only with the disk; the count in memory stands.
                let _ = lines.send(line);
            }
        }
    }
}

/// The sender of an ARP request or reply whose own address is the floating one (a probe's is
/// 0.0.0.0, so it claims nothing).
fn claimed_by(frame: &[u8]) -> Option<[u8; 6]> {
    let arp = frame.get(14..42).filter(|_| frame.get(12..14) == Some(&[0x08, 0x06]))?;
    (arp[14..18] == FLOATING.octets()).then(|| arp[8..14].try_into().ok())?
}

/// The caller's INVITE, or the 200 that answers it.
fn sip_message(frame: &[u8]) -> Option<Sip<'_>> {
    let packet = frame.get(14..).filter(|_| frame.get(12..14) == Some(&[0x08, 0x00]))?;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let address =
        |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let udp = packet.get(header..).filter(|_| packet.get(9) == Some(&17))?;
    let port = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    let (from, to) = (port(0)?, port(2)?);
    let text = std::str::from_utf8(udp.get(8..)?).ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let floating = Some(FLOATING);
    if text.starts_with("INVITE ")
        && (from, to) == (CALLER_PORT, SIP_PORT)
        && address(16) == floating
    {
        return Some(Sip::Invite(value("Call-ID:")?));
    }
    let answers = text.starts_with("SIP/2.0 200") && value("CSeq:")?.ends_with("INVITE");
    (answers && to == CALLER_PORT && address(12) == floating)
        .then(|| value("Call-ID:").map(Sip::Answer))?
}

fn watch_addresses(node: usize, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let Ok(socket) = address_monitor() else {
        lock(seen).blind = true;
        return;
    };
    run_first(10);
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(100u8)) != Ok(1) {
            continue;
        }
        let Ok((datagram, _)) = socket.recv_from_full() else {
            // ENOBUFS: something was missed.
            lock(seen).blind = true;
            continue;
        };
        let at = clock::now();
        let changes = address_changes(&datagram);
        lock(seen).changes.extend(changes.iter().map(|&change| HostChange { at, node, change }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), text: &str) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(from.0.octets());
        frame.extend(to.0.octets());
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn a_call_is_its_invite_out_and_its_200_back() {
        let (phone, pbx) = ((Ipv4Addr::LOCALHOST, CALLER_PORT), (FLOATING, SIP_PORT));
        let invite = udp(phone, pbx, "INVITE sip:a SIP/2.0\r\nCall-ID: x1\r\n\r\n");
        assert!(matches!(sip_message(&invite), Some(Sip::Invite("x1"))));
        let text = "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nCall-ID: x1\r\n\r\n";
        let answer = udp(pbx, phone, text);
        assert!(matches!(sip_message(&answer), Some(Sip::Answer("x1"))));
        let bye = udp(pbx, phone, &text.replace("INVITE", "BYE"));
        assert!(sip_message(&bye).is_none(), "the 200 of a BYE answers no call");
        assert!(sip_message(&udp(phone, pbx, text)).is_none(), "only what comes back counts");
        let elsewhere = udp((Ipv4Addr::BROADCAST, SIP_PORT), phone, text);
        assert!(sip_message(&elsewhere).is_none(), "only the floating address counts");
        for end in 0..answer.len() {
            let _ = sip_message(&answer[..end]);
        }
    }

    #[test]
    fn a_probe_claims_nothing() {
        let arp = |sender: Ipv4Addr| {
            let mut frame = vec![0xff; 12];
            frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
            frame.extend([2, 2, 2, 2, 2, 2]);
            frame.extend(sender.octets());
            frame.extend([0; 10]);
            frame
        };
        assert_eq!(claimed_by(&arp(FLOATING)), Some([2; 6]));
        assert_eq!(claimed_by(&arp(Ipv4Addr::UNSPECIFIED)), None);
        assert_eq!(claimed_by(&arp(FLOATING)[..41]), None);
    }
}
