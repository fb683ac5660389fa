//! Recordings: written and read back, damaged, and replayed through the core; and the incidents in
//! `tests/incidents`, each with the story that it tells today (`REWRITE=1` writes the stories anew).

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use duotone::config::preset::Preset;
use duotone::protocol::action::Action;
use duotone::protocol::arbiter::Arbitration;
use duotone::protocol::durable::Durable;
use duotone::protocol::event::{Event, LanSeen, Order, Presence, ServicesSeen};
use duotone::protocol::health::Grade;
use duotone::protocol::identity::{GroupId, NodeId, Session};
use duotone::protocol::moves::Policy;
use duotone::protocol::node::{Durability, Node, Setup};
use duotone::protocol::time::Instant;
use duotone::recording::replay::{part, replay};
use duotone::recording::{self, Entry, Heading, Recording, Writer};

fn setup() -> Setup {
    Setup {
        me: NodeId::A,
        session: Session(0xfeed_face_cafe_f00d),
        timing: Preset::Voice.timing(),
        durability: Durability::Available,
        database: false,
        rejoin: true,
        groups: 1,
        refresh: Some(Duration::from_secs(30)),
        durable: Some(Durable::FRESH),
        software: [0, 1, 0],
        config_hash: 7,
        dark_standby: false,
        references: true,
        policy: Policy::DEFAULT,
        arbitration: Arbitration::LAN,
    }
}

/// What a host on a LAN of its own answers to an action.
fn answers(now: Instant, action: &Action) -> Vec<Event> {
    let group = GroupId::MAIN;
    match action {
        Action::SendHeartbeat(_)
        | Action::AskWitness(_)
        | Action::PowerOffPeer { .. }
        | Action::Database { .. } => Vec::new(),
        Action::ProbeLan { floating, .. } => {
            let mut events = Vec::new();
            if *floating {
                events.push(Event::Lan { group, seen: LanSeen::FloatingProbed { at: now } });
            }
            let seen = LanSeen::ReferenceAnswered { probed_at: now };
            events.push(Event::Lan { group, seen });
            events
        }
        Action::HoldAddresses { .. } => {
            vec![Event::AddressesSeen { group, seen: Presence::Held }]
        }
        Action::ReleaseAddresses { .. } => {
            vec![Event::AddressesSeen { group, seen: Presence::Absent }]
        }
        Action::Announce { .. } => vec![Event::Announced { group, sent: true }],
        Action::SaveState { ticket, state } => {
            vec![Event::StateSaved { ticket: *ticket, saved: Some(*state) }]
        }
        Action::Services { goal, .. } => {
            let seen = ServicesSeen { goal: *goal, stopped: true, critical: Grade::Good };
            vec![Event::ServicesSeen { group, seen }]
        }
    }
}

fn heading() -> Heading {
    Heading {
        software: "0.1.0".into(),
        pair: "office".into(),
        node: "pbx-a".into(),
        zero: "2026-11-22T00:00:00Z".into(),
        why: "start".into(),
    }
}

/// A node that starts alone, serves after a while, and is told to leave, as a daemon records it.
fn alone() -> Recording {
    let mut now = Instant::ZERO + Duration::from_secs(1000);
    let mut node = Node::new(setup(), now);
    let begun = node.clone();
    let mut entries = Vec::new();
    let mut waiting: VecDeque<Event> = VecDeque::new();
    for turn in 0..400 {
        if turn == 300 {
            waiting.push_back(Event::Operator(Order::Leave));
        }
        waiting.push_back(Event::Tick);
        let before = node.authority();
        for event in std::mem::take(&mut waiting) {
            entries.push(Entry::Event(now, event.clone()));
            for action in node.handle(now, event) {
                waiting.extend(answers(now, &action));
                entries.push(Entry::Action(action));
            }
        }
        entries.extend(node.decided(before).map(|(authority, why)| Entry::Decided(authority, why)));
        now = node.next_deadline().min(now + Duration::from_millis(20));
    }
    Recording { heading: heading(), node: begun, entries, torn: false }
}

fn written(recording: &Recording) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &recording.heading, &recording.node).unwrap();
    recording.entries.iter().for_each(|entry| writer.add(entry).unwrap());
    writer.end().unwrap()
}

/// The line that a reading error names, and what it says.
fn refused(bytes: &[u8]) -> (usize, String) {
    let error = recording::read(bytes).expect_err("it is damaged");
    (error.line, error.what)
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn what_is_read_is_what_was_written_and_replays_to_the_letter() {
    let whole = alone();
    let bytes = written(&whole);
    let found = recording::read(&bytes).unwrap();
    assert_eq!(found.heading, whole.heading);
    assert_eq!(found.entries, whole.entries);
    assert!(!found.torn);
    assert_eq!(format!("{:?}", found.node), format!("{:?}", whole.node));
    // Whoever has just started is told by its set-up.
    assert!(lines(&bytes)[1][9..].starts_with(b"{\"setup\":"));

    let replayed = replay(&found);
    assert_eq!(replayed.differences, []);
    let story = replayed.story;
    for told in [
        "0.000 a  joining  (the daemon has just started)",
        "a  the peer is silent",
        "a  taking  (",
        "a  do hold address",
        "a  active  (serving)",
        "a  an administrator orders Leave",
        "a  do release address",
        "a  held  (",
    ] {
        assert!(story.contains(told), "no {told:?} in\n{story}");
    }
}

#[test]
fn a_part_begins_with_the_node_as_it_was_then() {
    let whole = alone();
    let (from, until) = (Duration::from_secs(2), Duration::from_secs(4));
    let some = part(&whole, from, until);
    assert!(some.entries.len() > 50 && some.entries.len() < whole.entries.len() / 2);
    let bytes = written(&some);
    assert!(lines(&bytes)[1][9..].starts_with(b"{\"node\":"));
    let found = recording::read(&bytes).unwrap();
    assert_eq!(found.entries, some.entries);
    assert_eq!(replay(&found).differences, []);
    // From another state the same events lead elsewhere: the node is of the essence.
    let elsewhere = Recording { node: whole.node, ..found };
    assert_ne!(replay(&elsewhere).differences, []);
}

#[test]
fn another_action_or_decision_than_the_recorded_one_is_found_where_it_is() {
    let whole = alone();
    let held = |entry: &Entry| matches!(entry, Entry::Action(Action::HoldAddresses { .. }));
    let at = whole.entries.iter().position(held).unwrap();
    let mut missing = whole.clone();
    missing.entries.remove(at);
    let mut other = whole.clone();
    other.entries[at] = Entry::Action(Action::Announce { group: GroupId::MAIN });
    let decided = |entry: &Entry| matches!(entry, Entry::Decided(..));
    let mut undecided = whole.clone();
    let place = undecided.entries.iter().position(decided).unwrap();
    undecided.entries.remove(place);
    for changed in [missing, other, undecided] {
        let differences = replay(&changed).differences;
        assert_eq!(differences.len(), 1);
        let text = differences[0].text();
        assert!(text.contains("recorded") && text.contains("today"), "{text}");
    }
    // The configuration was read again: the daemon, not the core, puts its hash into heartbeats.
    let mut reloaded = whole;
    for entry in &mut reloaded.entries {
        if let Entry::Action(Action::SendHeartbeat(heartbeat)) = entry {
            (heartbeat.config_hash, heartbeat.maintenance) = (8, true);
        }
    }
    assert_eq!(replay(&reloaded).differences, []);
}

#[test]
fn a_torn_last_line_costs_only_itself() {
    let whole = alone();
    let bytes = written(&whole);
    for cut in [1, 2, 20] {
        let found = recording::read(&bytes[..bytes.len() - cut]).unwrap();
        assert!(found.torn);
        assert_eq!(found.entries, whole.entries[..whole.entries.len() - 1]);
        assert_eq!(replay(&found).differences, []);
    }
    let mut zeros = bytes.clone();
    let end = zeros.len() - 1;
    zeros[end - 10..end].fill(0);
    assert_eq!(recording::read(&zeros).unwrap().entries.len(), whole.entries.len() - 1);
    // A recording without entries is one; without a node it is none.
    let head: Vec<u8> = lines(&bytes)[..2].concat();
    assert_eq!(recording::read(&head).unwrap().entries, []);
    assert_eq!(refused(&lines(&bytes)[0]).0, 2);
    assert_eq!(refused(b"").0, 1);
}

#[test]
fn damage_elsewhere_is_named_by_its_line() {
    let bytes = written(&alone());
    let all = lines(&bytes);
    let mut flipped = all.clone();
    flipped[40][30] ^= 1;
    let mut without = all.clone();
    without.remove(40);
    let mut swapped = all.clone();
    swapped.swap(40, 41);
    for damaged in [flipped, without, swapped] {
        let (line, what) = refused(&damaged.concat());
        assert_eq!(line, 41, "{what}");
        assert!(what.contains("checksum"), "{what}");
    }
    let mut not_one = all.clone();
    not_one[40] = b"short\n".to_vec();
    assert_eq!(refused(&not_one.concat()).0, 41);
    assert_eq!(refused(b"duotone\nis no recording\n").0, 1);
}

/// A line with the right checksum, whatever it says.
fn sealed(number: usize, text: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{number} {text}"));
    let sum: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{sum} {text}\n").into_bytes()
}

#[test]
fn another_version_s_words_are_refused_and_what_it_lacked_is_nothing() {
    let all = lines(&written(&alone()));
    let text = |line: usize| String::from_utf8(all[line][9..].to_vec()).unwrap();
    let with = |line: usize, text: &str| {
        let mut changed = all.clone();
        changed[line] = sealed(line + 1, text.trim_end());
        changed.concat()
    };
    let later = text(0).replace("\"version\":1", "\"version\":2");
    let (line, what) = refused(&with(0, &later));
    assert!(line == 1 && what.contains("version 2"), "{what}");
    let other = text(0).replace("duotone recording", "something else");
    assert_eq!(refused(&with(0, &other)), (1, "this is not a duotone recording".into()));

    let more = text(1).replace("\"rejoin\":true", "\"rejoin\":true,\"later\":1");
    let (line, what) = refused(&with(1, &more));
    assert!(line == 2 && what.contains("later is not known"), "{what}");
    let unknown = "{\"event\":[1,{\"Operator\":\"Dance\"}]}";
    let (line, what) = refused(&with(5, unknown));
    assert!(line == 6 && what.contains("Dance"), "{what}");

    let earlier = text(1).replace("\"refresh\":{\"secs\":30,\"nanos\":0},", "");
    assert_ne!(earlier, text(1));
    let found = recording::read(&with(1, &earlier)).unwrap();
    assert_eq!(found.node.began().0.refresh, None);
    let (line, what) = refused(&with(1, &text(1).replace("\"me\":\"A\",", "")));
    assert!(line == 2 && what.contains("missing field `me`"), "{what}");
}

#[test]
fn every_incident_tells_its_story() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents");
    let rewrite = std::env::var("REWRITE").is_ok();
    let mut wrong = Vec::new();
    let mut incidents = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "rec") {
            continue;
        }
        incidents += 1;
        let found = recording::read(&fs::read(&path).unwrap());
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let story = replay(&found).story;
        let beside = path.with_extension("txt");
        if rewrite {
            fs::write(&beside, &story).unwrap();
        }
        let wanted = fs::read_to_string(&beside).unwrap_or_default();
        if story != wanted {
            let differ = wanted.lines().zip(story.lines()).find(|(wanted, got)| wanted != got);
            wrong.push(format!("{}: the story differs: {differ:?}", path.display()));
        }
    }
    assert!(incidents > 0 && wrong.is_empty(), "{incidents} incidents\n{}", wrong.join("\n"));
}
