//! Floating addresses in a real kernel, in network namespaces of their own.

#[path = "expectations/mod.rs"]
mod expectations;
#[path = "netns/mod.rs"]
mod netns;
#[path = "steady/mod.rs"]
mod steady;

use std::time::{Duration, Instant as Clock};

use duotone::config::{Floating, Mode};
use duotone::protocol::action::Action;
use duotone::protocol::event::{Event, Presence};
use duotone::protocol::identity::GroupId;
use duotone::pulse::address::{Addresses, release_all};
use duotone::pulse::lan::Lan;
use expectations::{Deed, Lifetime, Machine};
use netns::{Ethernet, floating, now, timing};
use steady::on_a_steady_machine;

const HOLD: Action = Action::HoldAddresses { group: GroupId::MAIN };
const RELEASE: Action = Action::ReleaseAddresses { group: GroupId::MAIN };

/// The real kernel as the expectations see it.
struct Kernel<'a> {
    ethernet: &'a Ethernet,
    host: &'a str,
    lan: Lan,
}

impl<'a> Kernel<'a> {
    fn new(ethernet: &'a Ethernet, host: &'a str, floating: &Floating) -> Kernel<'a> {
        let mut lan = Lan::open(GroupId::MAIN, floating, &timing()).unwrap();
        lan.drain(now(), &mut Vec::new());
        Kernel { ethernet, host, lan }
    }

    fn act(&mut self, action: &Action) -> Presence {
        let mut out = Vec::new();
        self.lan.perform(now(), action, &mut out);
        match out[..] {
            [Event::AddressesSeen { seen, .. }] => seen,
            _ => panic!("{action:?} ended in {out:?}"),
        }
    }

    fn by_hand(&self, command: &str) {
        self.ethernet.ip(self.host, command);
    }

    /// What the kernel itself says, without our code.
    fn shows(&self, command: &str, what: &str) -> bool {
        self.ethernet.ip(self.host, command).contains(what)
    }

    /// The presence that is reported last after this.
    fn seen_after(&mut self, command: &str) -> Option<Presence> {
        self.by_hand(command);
        let events = self.pass(Duration::from_millis(50));
        events.iter().rev().find_map(|event| match event {
            Event::AddressesSeen { seen, .. } => Some(*seen),
            _ => None,
        })
    }
}

impl Machine for Kernel<'_> {
    fn perform(&mut self, deed: Deed) -> Vec<Event> {
        let mut out = Vec::new();
        match deed {
            Deed::Hold => self.lan.perform(now(), &HOLD, &mut out),
            Deed::Release => self.lan.perform(now(), &RELEASE, &mut out),
            Deed::DeleteOneByHand => self.by_hand("addr del 192.0.2.10/24 dev eth0"),
            Deed::DeleteAllByHand => {
                self.by_hand("addr del 192.0.2.10/24 dev eth0");
                self.by_hand("addr del 192.0.2.11/24 dev eth0");
                self.by_hand("addr del 2001:db8::10/64 dev eth0");
            }
        }
        out
    }

    fn pass(&mut self, time: Duration) -> Vec<Event> {
        let (start, mut out) = (Clock::now(), Vec::new());
        while start.elapsed() < time {
            self.lan.drain(now(), &mut out);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.lan.drain(now(), &mut out);
        out
    }
}

#[test]
fn the_kernel_meets_the_expectations() {
    // A busy machine's timers are later than the rounding.
    let slack = Duration::from_millis(600);
    let lifetime = Lifetime {
        configured: timing().address_lifetime,
        worst: timing().lifetime_worst() + slack,
    };
    std::thread::scope(|scope| {
        for (sentence, check) in expectations::ADDRESSES {
            let play = move || {
                let Some(ethernet) = Ethernet::new(&["a"]) else { return };
                ethernet.enter("a");
                println!("expects: {sentence}");
                let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
                check(&mut kernel, lifetime);
            };
            scope.spawn(move || on_a_steady_machine(slack / 2, play));
        }
    });
}

#[test]
fn the_first_look_is_reported() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    ethernet.ip("a", "addr add 192.0.2.10/24 dev eth0");
    let mut lan = Lan::open(GroupId::MAIN, &floating(Mode::Address), &timing()).unwrap();
    let mut out = Vec::new();
    lan.drain(now(), &mut out);
    assert_eq!(out, [Event::AddressesSeen { group: GroupId::MAIN, seen: Presence::Partial }]);
}

#[test]
fn held_means_address_route_and_source() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert!(kernel.shows("-4 addr show dev eth0", "192.0.2.10/24 brd 192.0.2.255"));
    assert!(kernel.shows("-4 addr show dev eth0", "192.0.2.11/24"));
    assert!(kernel.shows("-4 addr show dev eth0", "valid_lft 2sec preferred_lft 2sec"));
    assert!(kernel.shows("-6 addr show dev eth0", "2001:db8::10/64 scope global nodad"));
    assert!(!kernel.shows("-6 addr show dev eth0 tentative", "2001:db8::10"));
    assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.1 dev eth0 src 192.0.2.10"));
    assert!(kernel.shows("-6 route get 2001:db8:1::1", "via 2001:db8::1 dev eth0"));
    assert!(kernel.shows("-6 route get 2001:db8:1::1", "src 2001:db8::10"));
    // A neighbour on the link leaves from an address of its prefix, route or not.
    assert!(kernel.shows("-4 route get 192.0.2.77", "dev eth0 src 192.0.2.10"));

    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
    assert!(!kernel.shows("addr show dev eth0", "192.0.2"));
    assert!(!kernel.shows("addr show dev eth0", "2001:db8"));
    assert!(!kernel.shows("-4 route show", "default"));
    assert!(!kernel.shows("-6 route show", "default"));
    assert!(kernel.shows("link show dev eth0", ",UP"));
}

#[test]
fn without_source_and_lifetime_neither_is_set() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let plain = Floating { source: false, lifetime: false, ..floating(Mode::Address) };
    let mut kernel = Kernel::new(&ethernet, "a", &plain);
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert!(!kernel.shows("addr show dev eth0", "valid_lft 2sec"));
    assert!(kernel.shows("-4 route show default", "via 192.0.2.1"));
    assert!(!kernel.shows("-4 route show default", "src"));
    // Without its addresses an IPv6 route stays for ever: that is not "nothing".
    kernel.perform(Deed::DeleteAllByHand);
    kernel.pass(Duration::from_millis(20));
    assert!(kernel.shows("-6 route show default", "via 2001:db8::1"));
    assert_eq!(kernel.seen_after("link set eth0 mtu 1400"), Some(Presence::Partial));
    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
    assert!(!kernel.shows("-4 route show", "default"));
}

#[test]
fn the_hosts_own_address_and_route_survive_release_and_expiry() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    // Configured after the floating ones, the host's own address is a secondary one.
    kernel.by_hand("addr add 192.0.2.2/24 dev eth0");
    kernel.by_hand("route append default via 192.0.2.3 dev eth0");
    assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.1 dev eth0 src 192.0.2.10"));
    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
    assert!(kernel.shows("addr show dev eth0", "192.0.2.2/24"));
    assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.3 dev eth0 src 192.0.2.2"));

    // The floating route goes before the host's own of the same metric, and back.
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.1 dev eth0 src 192.0.2.10"));
    // A busy kernel may be late.
    netns::eventually("the lifetime is over", || {
        kernel.pass(Duration::from_millis(20));
        !kernel.shows("addr show dev eth0", "192.0.2.10")
    });
    assert!(kernel.shows("addr show dev eth0", "192.0.2.2/24"));
    assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.3 dev eth0 src 192.0.2.2"));
}

#[test]
fn another_form_is_replaced() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    kernel.by_hand("addr add 192.0.2.10/32 dev eth0");
    kernel.by_hand("addr add 2001:db8::10/128 dev eth0 nodad");
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert!(!kernel.shows("addr show dev eth0", "192.0.2.10/32"));
    assert!(kernel.shows("addr show dev eth0", "2001:db8::10/64"));
    kernel.act(&RELEASE);
    kernel.by_hand("addr add 192.0.2.10/32 dev eth0");
    kernel.by_hand("addr add 2001:db8::10/128 dev eth0 nodad");
    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
}

#[test]
fn what_others_take_away_is_seen_and_comes_back() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    for command in [
        "addr del 192.0.2.10/24 dev eth0",
        "addr del 2001:db8::10/64 dev eth0",
        "route del default via 192.0.2.1 dev eth0",
        "-6 route del default via 2001:db8::1 dev eth0",
        "link set eth0 down",
    ] {
        assert_eq!(kernel.act(&HOLD), Presence::Held, "before {command}");
        assert_eq!(kernel.seen_after(command), Some(Presence::Partial), "after {command}");
    }
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert!(kernel.shows("link show dev eth0", ",UP"));
}

#[test]
fn an_address_on_an_interface_that_is_down_is_not_held() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let bare = Floating {
        addresses: vec![("192.0.2.10".parse().unwrap(), 24)],
        gateways: vec![],
        ..floating(Mode::Address)
    };
    let mut kernel = Kernel::new(&ethernet, "a", &bare);
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert_eq!(kernel.seen_after("link set eth0 down"), Some(Presence::Partial));
}

#[test]
fn our_own_deeds_are_reported_once() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(
        &ethernet,
        "a",
        &Floating {
            addresses: vec![("192.0.2.10".parse().unwrap(), 24)],
            gateways: vec!["192.0.2.1".parse().unwrap()],
            references: vec!["192.0.2.1".parse().unwrap()],
            ..floating(Mode::Address)
        },
    );
    for action in [&HOLD, &HOLD, &RELEASE, &RELEASE] {
        kernel.act(action);
        assert_eq!(kernel.pass(Duration::from_millis(20)), []);
    }
}

#[test]
fn the_interface_as_the_role() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    for (bare, link) in [(true, ",UP"), (false, "state DOWN")] {
        let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Interface { bare }));
        kernel.by_hand("link set eth0 down");
        assert_eq!(kernel.act(&HOLD), Presence::Held, "bare: {bare}");
        assert!(kernel.shows("link show dev eth0", ",UP"));
        assert!(kernel.shows("-4 route get 198.51.100.1", "via 192.0.2.1 dev eth0 src 192.0.2.10"));
        assert_eq!(kernel.act(&RELEASE), Presence::Absent, "bare: {bare}");
        assert!(kernel.shows("link show dev eth0", link), "bare: {bare}");
        assert!(!kernel.shows("addr show dev eth0", "192.0.2"));
    }
}

#[test]
fn a_missing_interface_holds_nothing_and_works_when_it_comes() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    ethernet.ip("a", "link del eth0");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
    assert_eq!(kernel.act(&HOLD), Presence::Absent);
    let why = kernel.lan.take_trouble().unwrap().to_string();
    assert_eq!(why, "interface eth0 does not exist");
    ethernet.plug("a", 0);
    assert!(matches!(kernel.seen_after("link show"), Some(Presence::Absent)));
    assert_eq!(kernel.act(&HOLD), Presence::Held);
    assert_eq!(kernel.seen_after("link del eth0"), Some(Presence::Absent));
}

#[test]
fn a_refusal_is_partial_and_says_why() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let unreachable =
        Floating { gateways: vec!["203.0.113.1".parse().unwrap()], ..floating(Mode::Address) };
    let mut kernel = Kernel::new(&ethernet, "a", &unreachable);
    assert_eq!(kernel.act(&HOLD), Presence::Partial);
    let why = kernel.lan.take_trouble().unwrap().to_string();
    assert!(why.starts_with("adding the default route via 203.0.113.1 on eth0"), "{why}");
    assert_eq!(kernel.act(&RELEASE), Presence::Absent);
}

#[test]
fn release_all_needs_no_daemon() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let floating = floating(Mode::Address);
    let mut addresses = Addresses::open(&floating, timing().address_lifetime).unwrap();
    assert_eq!(addresses.hold().presence, Presence::Held);
    assert!(matches!(release_all(&floating), Ok(Presence::Absent)));
    assert!(!ethernet.ip("a", "addr show dev eth0").contains("192.0.2"));
    ethernet.ip("a", "link del eth0");
    assert!(matches!(release_all(&floating), Ok(Presence::Absent)));
}

#[test]
fn holding_and_releasing_take_microseconds() {
    let Some(ethernet) = Ethernet::new(&["a"]) else { return };
    ethernet.enter("a");
    let mut kernel = Kernel::new(&ethernet, "a", &floating(Mode::Address));
    let (mut hold, mut renew, mut release) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..100 {
        for (action, times) in [(&HOLD, &mut hold), (&HOLD, &mut renew), (&RELEASE, &mut release)] {
            let start = Clock::now();
            kernel.act(action);
            times.push(start.elapsed());
        }
    }
    for (name, times) in [("hold", &mut hold), ("renew", &mut renew), ("release", &mut release)] {
        times.sort();
        let (median, worst) = (times[50], times[99]);
        println!(
            "{name} (3 addresses, 2 routes): median {} us, worst {} us",
            median.as_micros(),
            worst.as_micros()
        );
        assert!(median < Duration::from_millis(20), "{name}: {median:?}");
    }
}
