//! Who has the floating addresses, as both kernels tell it; whether two ever had one at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::world::{HOSTS, World};

/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` (rtnetlink(7)).
const ADDRESS_CHANGES: u32 = 0x10 | 0x100;

/// A floating address appeared on a host, or went.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub at: Instant,
    pub host: usize,
    pub held: bool,
}

#[derive(Default)]
struct Seen {
    held: [BTreeSet<IpAddr>; 2],
    changes: Vec<Change>,
    overlaps: Vec<String>,
    /// Without power: what its kernel has, nobody can reach.
    off: [bool; 2],
}

/// Watches from now until it is dropped.
pub struct Ownership {
    seen: Arc<Mutex<Seen>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ownership {
    pub fn watch(world: &World, floating: &[&str]) -> Ownership {
        let sockets = HOSTS.map(|host| {
            world.within(host, || {
                let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
                socket.bind(&SocketAddr::new(0, ADDRESS_CHANGES)).unwrap();
                socket.set_non_blocking(true).unwrap();
                socket
            })
        });
        let floating = floating.iter().map(|address| address.parse().unwrap()).collect();
        let (seen, end) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let watcher = Watcher { sockets, floating, seen: Arc::clone(&seen) };
        let stop = Arc::clone(&end);
        let thread = std::thread::spawn(move || watcher.run(&stop));
        Ownership { seen, end, thread: Some(thread) }
    }

    /// From now on this host counts for nothing, or counts again.
    pub fn power(&self, host: usize, on: bool) {
        let mut seen = self.seen.lock().unwrap();
        seen.off[host] = !on;
        seen.held[host].clear();
    }

    pub fn changes(&self) -> Vec<Change> {
        self.seen.lock().unwrap().changes.clone()
    }

    /// Panics when two hosts had one address at once.
    #[track_caller]
    pub fn assert_never_two(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.overlaps.is_empty(), "{:?}\n{:#?}", seen.overlaps, seen.changes);
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watcher {
    sockets: [Socket; 2],
    floating: Vec<IpAddr>,
    seen: Arc<Mutex<Seen>>,
}

impl Watcher {
    fn run(&self, end: &AtomicBool) {
        while !end.load(Ordering::Relaxed) {
            let [a, b] = &self.sockets;
            let mut fds =
                [a, b].map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
            let span = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut fds, Some(&span));
            for host in 0..2 {
                for (address, held) in self.drain(host) {
                    self.note(host, address, held);
                }
            }
        }
    }

    /// A host that takes is judged by what the other has *after* that: this thread may be late,
    /// the kernels' queues are not.
    fn note(&self, host: usize, address: IpAddr, held: bool) {
        self.change(host, address, held);
        let other = 1 - host;
        if held {
            for (address, held) in self.drain(other) {
                self.change(other, address, held);
            }
            let mut seen = self.seen.lock().unwrap();
            if seen.held[other].contains(&address) && !seen.off[host] {
                seen.overlaps.push(format!("both hosts had {address}; {} took it", HOSTS[host]));
            }
        }
    }

    fn change(&self, host: usize, address: IpAddr, held: bool) {
        let mut seen = self.seen.lock().unwrap();
        if seen.off[host] {
            return;
        }
        let changed = match held {
            true => seen.held[host].insert(address),
            false => seen.held[host].remove(&address),
        };
        if changed {
            seen.changes.push(Change { at: Instant::now(), host, held });
        }
    }

    fn drain(&self, host: usize) -> Vec<(IpAddr, bool)> {
        let mut changes = Vec::new();
        let mut buffer = Vec::with_capacity(8192);
        loop {
            buffer.clear();
            if self.sockets[host].recv(&mut buffer, 0).is_err() {
                return changes;
            }
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer).unwrap();
            changes.extend(match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                    self.floating(&message).map(|address| (address, true))
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
                    self.floating(&message).map(|address| (address, false))
                }
                _ => None,
            });
        }
    }

    fn floating(&self, message: &AddressMessage) -> Option<IpAddr> {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) | AddressAttribute::Address(address)
                if self.floating.contains(address) =>
            {
                Some(*address)
            }
            _ => None,
        })
    }
}

#[test]
fn two_holders_are_seen() {
    let Some(world) = World::new(true) else { return };
    let ownership = Ownership::watch(&world, &["192.0.2.10"]);
    let change =
        |host: &str, verb: &str| world.ip(host, &format!("addr {verb} 192.0.2.10/24 dev eth0"));
    for host in HOSTS {
        change(host, "add");
        change(host, "del");
    }
    crate::world::soon("all of it is seen", || ownership.changes().len() == 4);
    ownership.assert_never_two();
    HOSTS.iter().for_each(|host| drop(change(host, "add")));
    crate::world::soon("it is seen", || !ownership.seen.lock().unwrap().overlaps.is_empty());
}
