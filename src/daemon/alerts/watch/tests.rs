use super::*;
use crate::adapters::services::{ServiceStatus, State};
use crate::config::preset::Preset;
use crate::daemon::change::Mark;
use crate::protocol::heartbeat::{Heartbeat, Promise};
use crate::protocol::identity::{NodeId, Session, Term};
use crate::protocol::moves::Policy;
use crate::protocol::node::{Node, Setup};

const FILE: &str = include_str!("../../../../tests/made/pair.toml");

fn config() -> Config {
    match Config::parse(FILE, "duotone.toml", Some("pbx-a")) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// A standby that hears its active peer.
fn standby() -> Status {
    let setup = Setup {
        me: NodeId::A,
        session: Session(1),
        timing: Preset::Voice.timing(),
        durability: Durability::Available,
        database: false,
        rejoin: true,
        groups: 1,
        refresh: None,
        durable: None,
        software: [0, 1, 0],
        config_hash: 1,
        dark_standby: false,
        references: true,
        policy: Policy::DEFAULT,
        arbitration: Arbitration::LAN,
    };
    let says = Heartbeat {
        node: NodeId::B,
        session: Session(2),
        sequence: 1,
        echo: None,
        stance: Stance::Active,
        promise: Promise::None,
        term: Term::ZERO,
        served: Term::ZERO,
        lone: Term::ZERO,
        certifying: true,
        certified: false,
        excludes_you: false,
        log: None,
        system_id: None,
        groups: Vec::new(),
        software: [0, 1, 0],
        config_hash: 1,
        maintenance: false,
    };
    Status {
        authority: Authority::Standby,
        why: Why::PeerServes,
        peer: Liveness::Alive,
        two_way: true,
        peer_says: Some(says),
        certificate_ends: Some(at(1_000_000)),
        ..Node::new(setup, at(0)).status(at(0))
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn service(grade: Grade, wanted: bool) -> ServiceStatus {
    ServiceStatus {
        name: "kamailio".into(),
        critical: true,
        wanted,
        state: State::Running,
        grade,
        pid: None,
        restarts: 2,
        probe: Some("no answer".into()),
        reason: None,
    }
}

/// A watch, and the seconds that have passed.
struct Bench(Watch, u64);

impl Bench {
    fn new() -> Bench {
        Bench(Watch::new(&config()), 0)
    }

    /// What is told when it is so for this many seconds more.
    fn told(&mut self, status: &Status, services: &[ServiceStatus], seconds: u64) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..seconds {
            self.1 += 1;
            let view = View {
                at: at(self.1),
                status,
                change: None,
                maintenance: None,
                services,
                witness_answers: None,
                fence_works: None,
            };
            let news = self.0.see(&view, (false, false), &Failures::default());
            all.extend(news.into_iter().map(|(kind, severity, text)| {
                format!("{} {}: {text}", kind.word(), severity.word())
            }));
        }
        all
    }
}

#[test]
fn a_peer_s_silence_and_its_return_are_told_once() {
    let mut bench = Bench::new();
    let (alive, silent) = (standby(), Status { peer: Liveness::Lost, ..standby() });
    assert_eq!(bench.told(&alive, &[], 100), [""; 0]);
    assert_eq!(bench.told(&silent, &[], 10), ["peer warning: pbx-b is silent"]);
    assert_eq!(bench.told(&alive, &[], 100), ["peer info: pbx-b is heard again"]);
    let left = Status { peer_left: true, ..silent.clone() };
    let told = "peer info: pbx-b left the pair in order, and there is no standby";
    assert_eq!(bench.told(&left, &[], 10), [told]);
    // Nobody was there from the beginning.
    let mut bench = Bench::new();
    assert_eq!(bench.told(&silent, &[], 20), [""; 0]);
    let nobody = "held critical: NOBODY is known to serve, and this node may not: standing by, the \
                  peer serves";
    let never = "peer warning: pbx-b was not heard since this daemon started";
    assert_eq!(bench.told(&silent, &[], 100), [nobody, never]);
}

#[test]
fn a_standby_is_called_no_good_only_when_that_lasts() {
    let mut bench = Bench::new();
    let deaf = Status { two_way: false, ..standby() };
    assert_eq!(bench.told(&deaf, &[], 59), [""; 0]);
    assert_eq!(bench.told(&standby(), &[], 5), [""; 0]);
    let told = "standby warning: is NO GOOD standby for 60 s: heard one way only";
    assert_eq!(bench.told(&deaf, &[], 200), [told]);
    assert_eq!(bench.told(&standby(), &[], 5), ["standby info: is a good standby again"]);
}

#[test]
fn a_held_node_is_told_with_what_resolves_it() {
    let mut bench = Bench::new();
    let held = Status { authority: Authority::Held, why: Why::MayLackRows, ..standby() };
    assert_eq!(bench.told(&held, &[], 2), [""; 0]);
    let [told] = &bench.told(&held, &[], 10)[..] else { panic!("one") };
    assert!(told.starts_with("held critical: is HELD: the peer is silent"), "{told}");
    assert!(told.contains("Do: ") && told.contains("duotone failover --force"), "{told}");
    let told = bench.told(&standby(), &[], 5);
    assert_eq!(told, ["held info: is no longer held, it is standby: the peer serves"]);
    // A person wanted that one.
    let ordered = Status { why: Why::ToldToLeave, ..held.clone() };
    assert_eq!(bench.told(&ordered, &[], 100), [""; 0]);
    let damaged = Status { why: Why::DamagedState, ..held };
    let [told] = &bench.told(&damaged, &[], 10)[..] else { panic!("one") };
    assert!(told.starts_with("state critical: is HELD: the state file is damaged"), "{told}");
}

#[test]
fn a_service_is_told_when_it_fails_and_when_it_works_again() {
    let mut bench = Bench::new();
    let active = Status { authority: Authority::Active, ..standby() };
    let [good, unknown, failed] =
        [Grade::Good, Grade::Unknown, Grade::Failed].map(|grade| [service(grade, true)]);
    assert_eq!(bench.told(&standby(), &unknown, 5), [""; 0]);
    assert_eq!(bench.told(&standby(), &good, 5), [""; 0]);
    let text = "critical service kamailio FAILED: no answer (restarts: 2)";
    assert_eq!(bench.told(&standby(), &failed, 5), [format!("service warning: {text}")]);
    // It is being started again: nothing is known yet.
    assert_eq!(bench.told(&standby(), &unknown, 5), [""; 0]);
    let again = "service info: critical service kamailio works again";
    assert_eq!(bench.told(&standby(), &good, 5), [again]);
    assert_eq!(bench.told(&active, &failed, 5)[0], format!("service critical: {text}"));
    assert_eq!(bench.told(&active, &[service(Grade::Unknown, false)], 5), [""; 0]);
}

#[test]
fn a_takeover_says_how_long_nobody_served_and_whether_rows_may_be_lost() {
    let mark = |ms: u64, what| Mark {
        at: Instant::ZERO + Duration::from_millis(ms),
        what,
        text: String::new(),
    };
    let marks = vec![mark(1000, "last-heartbeat"), mark(1600, "address")];
    let change = |kind, outcome| Change {
        kind,
        why: Why::PeerSilent,
        reason: Why::PeerSilent.to_string(),
        order: Some("failover by user id 0".into()),
        before: None,
        term: Some(Term { counter: 5, node: NodeId::A }),
        outcome: Some(outcome),
        ended: Some(Instant::ZERO + Duration::from_millis(1612)),
        marks: marks.clone(),
    };
    let mut bench = Bench::new();
    bench.0.database = Some(Durability::Available);
    let text = |bench: &Bench, kind, outcome| bench.0.changed(&change(kind, outcome));
    let uncertified = Status { certificate_ends: None, ..standby() };
    for (status, loss) in [
        (standby(), "no acknowledged row is lost"),
        (uncertified, "ROWS MAY BE LOST: this node held no certificate"),
    ] {
        bench.told(&status, &[], 1);
        // What is so once it has begun to take the role does not count.
        let taking = Status { authority: Authority::Taking, ..standby() };
        bench.told(&taking, &[], 1);
        let wanted = format!(
            "took the role from pbx-b: the peer is silent, nobody served for 612 ms; {loss}, term \
             5a, by failover by user id 0"
        );
        let told = text(&bench, Kind::Takeover, "serves");
        assert_eq!(told, Some((AlertKind::Role, Critical, wanted)));
    }
    let given_up = text(&bench, Kind::Takeover, "given-up").map(|(_, _, text)| text);
    assert!(given_up.is_some_and(|text| text.starts_with("tried to take the role and gave up")));
    assert_eq!(text(&bench, Kind::PeerServes, "seen"), None);
}
