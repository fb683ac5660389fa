//! Probes, answers, claims and announcements between real kernels on one Ethernet.

#[path = "netns/mod.rs"]
mod netns;

use std::time::{Duration, Instant as Clock};

use duotone::config::{Floating, Mode};
use duotone::protocol::action::Action;
use duotone::protocol::event::{Answerer, Event, LanSeen, Presence};
use duotone::protocol::identity::GroupId;
use duotone::protocol::time::Instant;
use duotone::pulse::frames::{FrameSocket, Mac};
use duotone::pulse::lan::Lan;
use duotone::pulse::probe::{Said, Topics};
use duotone::pulse::{arp, ndp};
use netns::{Ethernet, eventually, floating, now, timing};
use socket2::SockFilter;

const GROUP: GroupId = GroupId::MAIN;
const HOLD: Action = Action::HoldAddresses { group: GROUP };
const RELEASE: Action = Action::ReleaseAddresses { group: GROUP };
const ANNOUNCE: Action = Action::Announce { group: GROUP };
const ASK_FLOATING: Action = Action::ProbeLan { group: GROUP, floating: true, references: false };
const ASK_REFERENCES: Action = Action::ProbeLan { group: GROUP, floating: false, references: true };
const ASK_BOTH: Action = Action::ProbeLan { group: GROUP, floating: true, references: true };

/// For how long silence is listened to.
const A_WHILE: Duration = Duration::from_millis(60);

/// A node's LAN side in one of the hosts.
struct Side(Lan);

impl Side {
    fn open(ethernet: &Ethernet, host: &str, floating: &Floating) -> Side {
        ethernet.enter(host);
        let mut side = Side(Lan::open(GROUP, floating, &timing()).unwrap());
        side.hears(Duration::from_millis(5));
        side
    }

    /// The LAN events of an action itself, and when it was.
    fn asks(&mut self, action: &Action) -> (Instant, Vec<LanSeen>) {
        let (at, mut out) = (now(), Vec::new());
        self.0.perform(at, action, &mut out);
        (at, lan(&out))
    }

    fn holds(&mut self) {
        let mut out = Vec::new();
        self.0.perform(now(), &HOLD, &mut out);
        assert_eq!(out, [Event::AddressesSeen { group: GROUP, seen: Presence::Held }]);
    }

    /// What arrives within this time.
    fn hears(&mut self, time: Duration) -> Vec<LanSeen> {
        let (start, mut out) = (Clock::now(), Vec::new());
        while start.elapsed() < time {
            self.0.drain(now(), &mut out);
            std::thread::sleep(Duration::from_micros(200));
        }
        lan(&out)
    }

    /// What arrives until this much has, and whatever comes right behind it.
    fn hears_all(&mut self, count: usize) -> Vec<LanSeen> {
        let mut heard = Vec::new();
        eventually("enough is heard", || {
            heard.extend(self.hears(Duration::from_millis(5)));
            heard.len() >= count
        });
        heard.extend(self.hears(Duration::from_millis(10)));
        heard
    }

    /// An action that ends well or badly, tried until probes can leave.
    fn probes_leave(&mut self) -> bool {
        matches!(self.asks(&ASK_FLOATING).1[..], [LanSeen::FloatingProbed { .. }])
    }
}

fn lan(events: &[Event]) -> Vec<LanSeen> {
    let seen = events.iter().filter_map(|event| match event {
        Event::Lan { group: GROUP, seen } => Some(*seen),
        _ => None,
    });
    seen.collect()
}

fn answers(heard: &[LanSeen], who: Answerer) -> usize {
    let by_him =
        |seen: &&LanSeen| matches!(seen, LanSeen::FloatingAnswered { by, .. } if *by == who);
    heard.iter().filter(by_him).count()
}

/// Two nodes and a gateway.
fn pair() -> Option<Ethernet> {
    let ethernet = Ethernet::new(&["a", "b", "gw"])?;
    ethernet.ip("gw", "addr add 192.0.2.1/24 dev eth0");
    ethernet.ip("gw", "addr add 2001:db8::1/64 dev eth0 nodad");
    Some(ethernet)
}

const MAC_A: Mac = [2, 0, 0, 0, 0, 0];
const MAC_B: Mac = [2, 0, 0, 0, 0, 1];

#[test]
fn the_holder_answers_and_is_recognized() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    b.holds();
    let (at, seen) = a.asks(&ASK_FLOATING);
    assert_eq!(seen, [LanSeen::FloatingProbed { at }]);
    // Every address is asked for by itself, in both families.
    let heard = a.hears_all(3);
    assert_eq!(answers(&heard, Answerer::Foreign), 3, "{heard:?}");
    assert_eq!(heard.len(), 3, "{heard:?}");

    a.0.learn_peer_mac(MAC_B);
    a.asks(&ASK_FLOATING);
    let heard = a.hears_all(3);
    assert_eq!(answers(&heard, Answerer::Peer), 3, "{heard:?}");
}

#[test]
fn who_answers_for_a_reference_too_is_told_from_a_foreign_host() {
    let Some(ethernet) = pair() else { return };
    for address in ["192.0.2.10/24", "192.0.2.11/24", "2001:db8::10/64"] {
        ethernet.ip("gw", &format!("addr add {address} dev eth0 nodad"));
    }
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    a.asks(&ASK_FLOATING);
    let heard = a.hears_all(3);
    assert_eq!(answers(&heard, Answerer::Foreign), 3, "{heard:?}");
    a.asks(&ASK_REFERENCES);
    assert_eq!(a.hears_all(2).len(), 2);
    a.asks(&ASK_FLOATING);
    let heard = a.hears_all(3);
    assert_eq!(answers(&heard, Answerer::Everyone), 3, "{heard:?}");
}

#[test]
fn nobody_answers_for_addresses_that_nobody_holds() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    b.holds();
    b.0.perform(now(), &RELEASE, &mut Vec::new());
    let (at, seen) = a.asks(&ASK_FLOATING);
    assert_eq!(seen, [LanSeen::FloatingProbed { at }]);
    assert_eq!(a.hears(A_WHILE), []);
}

#[test]
fn the_holder_does_not_answer_itself() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    a.holds();
    let (at, seen) = a.asks(&ASK_BOTH);
    assert_eq!(seen, [LanSeen::FloatingProbed { at }]);
    let heard = a.hears_all(2);
    assert_eq!(heard, [LanSeen::ReferenceAnswered { probed_at: at }; 2]);
}

#[test]
fn references_answer_without_an_address_of_ours() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    assert!(!ethernet.ip("a", "-4 addr show dev eth0").contains("inet"));
    let (at, seen) = a.asks(&ASK_REFERENCES);
    assert_eq!(seen, [], "nothing was asked about the floating addresses");
    let heard = a.hears_all(2);
    assert_eq!(heard, [LanSeen::ReferenceAnswered { probed_at: at }; 2], "one per family");

    // Who only listens has no answer, though the gateway answered somebody.
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    a.asks(&ASK_REFERENCES);
    assert_eq!(b.hears(A_WHILE), []);
}

#[test]
fn references_are_asked_with_a_claim_of_nothing() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    a.asks(&ASK_BOTH);
    a.hears_all(2);
    let neighbours = ethernet.ip("gw", "neigh show dev eth0");
    assert!(!neighbours.contains("192.0.2."), "{neighbours}");
    assert!(!neighbours.contains("2001:db8::10"), "{neighbours}");
}

#[test]
fn an_answer_without_a_fresh_question_counts_for_nothing() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    a.asks(&ASK_REFERENCES);
    // The answer waits in the socket for longer than an answer may take.
    std::thread::sleep(timing().arbiter + Duration::from_millis(20));
    assert_eq!(a.hears(A_WHILE), []);
}

#[test]
fn another_hosts_probe_is_heard() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    a.asks(&ASK_FLOATING);
    let heard = b.hears_all(3);
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(heard.iter().all(|seen| matches!(seen, LanSeen::PeerProbed { .. })), "{heard:?}");
    assert_eq!(a.hears(A_WHILE), [], "nobody hears himself");
    a.asks(&ASK_REFERENCES);
    assert_eq!(b.hears(A_WHILE), [], "a question to a reference claims nothing");
}

#[test]
fn a_claim_against_the_holder_is_reported() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    a.holds();
    b.holds();
    let mut out = Vec::new();
    b.0.perform(now(), &ANNOUNCE, &mut out);
    assert_eq!(out, [Event::Announced { group: GROUP, sent: true }]);
    let heard = a.hears_all(5);
    // Two forms for each of two IPv4 addresses, one for the IPv6 address.
    assert_eq!(answers(&heard, Answerer::Foreign), 5, "{heard:?}");
}

#[test]
fn announcements_say_who_holds_the_addresses_now() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    ethernet.enter("gw");
    let all = [SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX)];
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let mut ears = [
        FrameSocket::open(index, arp::ETHERTYPE, &all).unwrap(),
        FrameSocket::open(index, ndp::ETHERTYPE, &ndp::filter()).unwrap(),
    ];
    for address in ["192.0.2.10", "192.0.2.11", "2001:db8::10"] {
        let stale = format!("neigh replace {address} lladdr 02:00:00:00:00:01 dev eth0 nud stale");
        ethernet.ip("gw", &stale);
    }

    let mut out = Vec::new();
    a.0.perform(now(), &ANNOUNCE, &mut out);
    assert_eq!(out, [Event::Announced { group: GROUP, sent: false }], "nothing is held");
    a.holds();
    out.clear();
    a.0.perform(now(), &ANNOUNCE, &mut out);
    assert_eq!(out, [Event::Announced { group: GROUP, sent: true }]);

    // Two forms for each IPv4 address, one for the IPv6 address.
    let forms = [("192.0.2.10", 2), ("192.0.2.11", 2), ("2001:db8::10", 1)];
    let mut heard = [0; 3];
    let mut listen = || {
        for ear in &mut ears {
            while let Some(frame) = ear.receive().unwrap() {
                for (count, (address, _)) in heard.iter_mut().zip(forms) {
                    let topics =
                        Topics { floating: vec![address.parse().unwrap()], references: vec![] };
                    if let Some(said) = topics.read(&frame, MAC_B) {
                        assert_eq!(said, Said::Holds(MAC_A), "{address}");
                        *count += 1;
                    }
                }
            }
        }
        heard
    };
    eventually("all announcements are heard", || listen().iter().sum::<usize>() >= 5);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(listen(), forms.map(|(_, count)| count));
    eventually("the gateway sends to the new holder", || {
        let neighbours = ethernet.ip("gw", "neigh show dev eth0");
        let mut floating =
            neighbours.lines().filter(|line| line.contains("::10") || line.contains("192.0.2.1"));
        floating.all(|line| line.contains("02:00:00:00:00:00"))
    });
}

#[test]
fn without_carrier_nothing_is_asked() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    assert!(a.probes_leave());
    for (cut, heal) in [
        ("link set port-a down", "link set port-a up"),
        ("link set port-a nomaster", "link set port-a master br0"),
    ] {
        ethernet.ip("lan", cut);
        let silent = cut.contains("nomaster");
        if silent {
            // A cable that leads nowhere looks alive: only the references tell.
            assert!(a.probes_leave());
            a.asks(&ASK_REFERENCES);
            assert_eq!(a.hears(A_WHILE), []);
        } else {
            eventually("probes fail", || !a.probes_leave());
            let (at, seen) = a.asks(&ASK_BOTH);
            assert_eq!(seen, [LanSeen::ProbeFailed { at }]);
            eventually("the reason is known", || {
                a.asks(&ASK_BOTH);
                let why = a.0.take_trouble().unwrap().to_string();
                why == "interface eth0 is down or has no carrier"
            });
        }
        ethernet.ip("lan", heal);
        eventually("probes leave again", || a.probes_leave());
        eventually("references answer again", || {
            a.asks(&ASK_REFERENCES);
            !a.hears(Duration::from_millis(20)).is_empty()
        });
    }
}

#[test]
fn a_down_interface_fails_in_address_mode_and_is_raised_as_the_role() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    ethernet.ip("a", "link set eth0 down");
    let (at, seen) = a.asks(&ASK_FLOATING);
    assert_eq!(seen, [LanSeen::ProbeFailed { at }]);

    let mut a = Side::open(&ethernet, "a", &floating(Mode::Interface { bare: false }));
    eventually("probes leave", || a.probes_leave());
    eventually("references answer", || {
        a.asks(&ASK_REFERENCES);
        !a.hears(Duration::from_millis(20)).is_empty()
    });
}

#[test]
fn a_recreated_interface_works_again() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    assert!(a.probes_leave());
    let sockets = a.0.fds().count();
    assert_eq!(sockets, 3);
    ethernet.ip("a", "link del eth0");
    let (at, seen) = a.asks(&ASK_BOTH);
    assert_eq!(seen, [LanSeen::ProbeFailed { at }]);
    assert_eq!(a.0.fds().count(), 1);
    ethernet.plug("a", 7);
    eventually("probes leave again", || a.probes_leave());
    let mut b = Side::open(&ethernet, "b", &floating(Mode::Address));
    b.holds();
    a.asks(&ASK_BOTH);
    let heard = a.hears_all(5);
    assert_eq!(answers(&heard, Answerer::Foreign), 3, "{heard:?}");
    assert_eq!(heard.len(), 5, "{heard:?}");
}

#[test]
fn leaving_a_bridge_is_not_the_end_of_the_interface() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    ethernet.ip("a", "link add br1 type bridge");
    ethernet.ip("a", "link set eth0 master br1");
    ethernet.ip("a", "link set eth0 nomaster");
    assert!(a.probes_leave());
    assert_eq!(a.0.fds().count(), 3);
}

#[test]
fn the_standby_is_a_member_of_the_groups_it_listens_to() {
    let Some(ethernet) = pair() else { return };
    let _a = Side::open(&ethernet, "a", &floating(Mode::Address));
    assert!(ethernet.ip("a", "maddr show dev eth0").contains("inet6 ff02::1:ff00:10"));
}

#[test]
fn polling_tells_when_something_arrives() {
    let Some(ethernet) = pair() else { return };
    let mut a = Side::open(&ethernet, "a", &floating(Mode::Address));
    let mut times = Vec::new();
    for _ in 0..50 {
        let (at, _) = a.asks(&ASK_REFERENCES);
        let mut out = Vec::new();
        while lan(&out).len() < 2 {
            let mut fds: Vec<_> =
                a.0.fds()
                    .map(|fd| nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN))
                    .collect();
            let ready = nix::poll::poll(&mut fds, 30_000u16).unwrap();
            assert!(ready > 0, "an answer came and nothing was readable");
            a.0.drain(now(), &mut out);
        }
        times.push(now().since(at));
    }
    times.sort();
    println!("probe and answer (2 references): median {} us", times[25].as_micros());
}
