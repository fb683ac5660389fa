//! Every kind of link, and what a kernel does to it.

use std::time::Duration;

use duotone::protocol::identity::NodeId::{A, B};
use duotone::pulse::clock;
use duotone::pulse::exchange::Direction;
use nix::errno::Errno;

use crate::net::{End, Hosts, converse, ethernet, every_kind, identity, soon, udp};
use crate::steady::on_a_steady_machine;

#[test]
fn every_kind_carries_heartbeats_and_one_of_them_is_new() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &every_kind(A), identity(A, 10));
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    a.beat();
    let mut heard = Vec::new();
    soon("the heartbeat on three links", || {
        heard.extend(b.drain());
        (0..3).all(|link| b.hearing(link).received == 1)
    });
    assert_eq!(heard.len(), 1, "one is new, the others are copies");
    assert_eq!(heard[0].0, 1);
    assert_eq!((0..3).map(|link| b.hearing(link).copies).sum::<u64>(), 2);
    converse(&mut a, &mut b, 5);
    assert_eq!(a.directions(), [Direction::Both; 3]);
    assert_eq!(b.directions(), [Direction::Both; 3]);
    let refused: u64 = (0..3).map(|link| a.hearing(link).refused.total()).sum();
    assert_eq!(refused, 0, "{:?}", a.status());
    assert!(b.status().iter().all(|link| link.sending.sent == 5 && link.sending.failed == 0));
    let eth0 = hosts.hardware_address(A, "eth0");
    assert_eq!(b.exchange.peer_addresses().collect::<Vec<_>>(), [eth0]);
}

#[test]
fn a_heartbeat_that_waited_for_us_is_as_old_as_it_is() {
    on_a_steady_machine(Duration::from_millis(1), is_as_old_as_it_is);
}

fn is_as_old_as_it_is() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &every_kind(A), identity(A, 10));
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    // The first turns the kernel's stamps on; without one the time of reading counts.
    converse(&mut a, &mut b, 3);
    let sent = clock::now();
    a.beat();
    std::thread::sleep(Duration::from_millis(80));
    let heard = b.drain();
    let read = clock::now();
    assert_eq!(heard.len(), 1);
    let at = heard[0].1;
    assert!(read.since(at) >= Duration::from_millis(79), "dated {:?} ago", read.since(at));
    // Never older than the sending, but for the difference between reading two clocks.
    assert!(at + Duration::from_millis(1) >= sent, "dated {:?} before", sent.since(at));
}

#[test]
fn a_deleted_interface_is_reported_and_used_again_when_it_returns() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &every_kind(A), identity(A, 10));
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    converse(&mut a, &mut b, 3);
    hosts.ip(A, "link del eth0");
    hosts.ip(A, "link del eth1");
    // Other interfaces take the indices meanwhile.
    hosts.ip(A, "link add other type veth peer name another");
    hosts.ip(B, "link add other type veth peer name another");
    soon("closed links", || {
        converse(&mut a, &mut b, 1);
        a.status().iter().all(|link| {
            !link.sending.open && matches!(link.sending.error, Some(Errno::ENODEV | Errno::ENXIO))
        })
    });
    soon("silence", || a.directions() == [Direction::Silent; 3]);
    hosts.plug("eth0");
    soon("heartbeats on eth0", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Silent, Direction::Silent, Direction::Both]
    });
    hosts.plug("eth1");
    for (host, last) in [(A, 1), (B, 2)] {
        hosts.ip(host, &format!("addr add 10.9.0.{last}/24 dev eth1"));
        hosts.ip(host, &format!("addr add fd09::{last}/64 dev eth1 nodad"));
    }
    soon("heartbeats on every link", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Both; 3] && b.directions() == [Direction::Both; 3]
    });
    assert!(a.status().iter().all(|link| link.sending.opened == 2), "{:?}", a.status());
}

#[test]
fn an_interface_that_was_exchanged_between_two_heartbeats_is_noticed() {
    let Some(hosts) = Hosts::new() else { return };
    let mut a = End::open(&hosts, &every_kind(A), identity(A, 10));
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    converse(&mut a, &mut b, 3);
    for (interface, other) in [("eth0", "other0"), ("eth1", "other1")] {
        hosts.ip(A, &format!("link del {interface}"));
        hosts.plug(other);
        hosts.plug(interface);
    }
    hosts.ip(A, "addr add 10.9.0.1/24 dev eth1");
    hosts.ip(B, "addr add 10.9.0.2/24 dev eth1");
    hosts.ip(A, "addr add fd09::1/64 dev eth1 nodad");
    hosts.ip(B, "addr add fd09::2/64 dev eth1 nodad");
    soon("heartbeats on every link", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Both; 3] && b.directions() == [Direction::Both; 3]
    });
    assert!(b.status().iter().all(|link| link.sending.opened == 2), "{:?}", b.status());
}

#[test]
fn a_link_opens_before_its_interface_and_address_exist() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.ip(A, "link del eth0");
    hosts.ip(A, "addr del 10.9.0.1/24 dev eth1");
    hosts.ip(A, "addr del fd09::1/64 dev eth1");
    let mut a = End::open(&hosts, &every_kind(A), identity(A, 10));
    let mut b = End::open(&hosts, &every_kind(B), identity(B, 20));
    let open: Vec<bool> = a.status().iter().map(|link| link.sending.open).collect();
    assert_eq!(open, [true, true, false]);
    assert_eq!(a.status()[2].sending.error, Some(Errno::ENODEV));
    converse(&mut a, &mut b, 2);
    assert_eq!(a.directions(), [Direction::Silent; 3]);
    hosts.plug("eth0");
    hosts.ip(A, "addr add 10.9.0.1/24 dev eth1");
    hosts.ip(A, "addr add fd09::1/64 dev eth1 nodad");
    soon("heartbeats on every link", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Both; 3]
    });
}

#[test]
fn a_link_that_was_down_works_when_it_is_up() {
    let Some(hosts) = Hosts::new() else { return };
    let links = [ethernet()];
    let mut a = End::open(&hosts, &links, identity(A, 10));
    let mut b = End::open(&hosts, &links, identity(B, 20));
    converse(&mut a, &mut b, 3);
    hosts.ip(A, "link set eth0 down");
    converse(&mut a, &mut b, 20);
    assert_eq!(a.status()[0].sending.error, Some(Errno::ENETDOWN));
    soon("silence", || a.directions() == [Direction::Silent]);
    hosts.ip(A, "link set eth0 up");
    soon("heartbeats on eth0", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Both] && b.directions() == [Direction::Both]
    });
    assert_eq!(a.status()[0].sending.opened, 1, "the socket survives");
}

#[test]
fn a_refusing_peer_kernel_does_no_harm() {
    let Some(hosts) = Hosts::new() else { return };
    let links = |me| [udp(me, "10.9.0.1:7331", "10.9.0.2:7331")];
    let mut a = End::open(&hosts, &links(A), identity(A, 10));
    // Nobody listens: the other kernel answers each of these with "port unreachable".
    for _ in 0..10 {
        a.beat();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(a.drain(), []);
    }
    assert_eq!(a.status()[0].sending.sent, 10);
    assert_eq!(a.status()[0].sending.error, None);
    let mut b = End::open(&hosts, &links(B), identity(B, 20));
    converse(&mut a, &mut b, 3);
    assert_eq!(a.directions(), [Direction::Both]);
}

#[test]
fn a_one_way_link_is_told_from_a_dead_one_at_both_ends() {
    let Some(hosts) = Hosts::new() else { return };
    let links =
        |me, port_of_a| [udp(me, &format!("10.9.0.1:{port_of_a}"), "10.9.0.2:7331"), ethernet()];
    // B sends to a port where A does not listen.
    let mut a = End::open(&hosts, &links(A, 7331), identity(A, 10));
    let mut b = End::open(&hosts, &links(B, 7332), identity(B, 20));
    converse(&mut a, &mut b, 5);
    assert_eq!(a.directions(), [Direction::OnlyToPeer, Direction::Both]);
    assert_eq!(b.directions(), [Direction::OnlyFromPeer, Direction::Both]);
    hosts.ip(A, "link set eth1 down");
    soon("the rest of eth1 silent", || {
        converse(&mut a, &mut b, 1);
        a.directions() == [Direction::Silent, Direction::Both]
            && b.directions() == [Direction::Silent, Direction::Both]
    });
}
