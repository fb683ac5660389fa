//! The recorded events through today's core, in their order and at their times.

use std::fmt::Write;

use super::story::Story;
use super::{Entry, Recording};
use crate::protocol::action::Action;
use crate::protocol::event::Event;
use crate::protocol::node::Node;
use crate::protocol::time::{Duration, Instant};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Today's core, line by line: what it saw that was new, decided and did, and why.
    pub story: String,
    /// Where it did not do what was recorded, and how it differs; the first counts, since what was
    /// recorded after it answers to something else.
    pub differences: Vec<Difference>,
    /// Events that it was given.
    pub events: usize,
}

/// Today's core did something else.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// After this event.
    pub event: Event,
    /// At this time since the recording began.
    pub after: Duration,
    /// What was recorded.
    pub recorded: Vec<Entry>,
    /// What it does today.
    pub today: Vec<Entry>,
}

/// Replays it from its beginning to its end.
pub fn replay(recording: &Recording) -> Replayed {
    let mut node = recording.node.clone();
    let zero = zero(recording);
    let mut story = Story::begin(&recording.heading, zero, &node);
    let mut differences = Vec::new();
    let mut events = 0;
    let mut rest = recording.entries.as_slice();
    while let Some((event, next)) = next_event(&mut rest) {
        let (at, event) = event;
        events += 1;
        let today = give(&mut node, at, event);
        story.tell(at, event, &today, &node);
        // The recording may end in the middle of what the last event led to.
        let same = if rest.is_empty() { agrees_so_far(next, &today) } else { agrees(next, &today) };
        if !same {
            let recorded = next.to_vec();
            let after = at.since(zero);
            differences.push(Difference { event: event.clone(), after, recorded, today });
        }
    }
    Replayed { story: story.text, differences, events }
}

/// The part of a recording between two times since its beginning: it begins with the node as it was
/// then.
#[must_use]
pub fn part(recording: &Recording, from: Duration, until: Duration) -> Recording {
    let mut node = recording.node.clone();
    let zero = zero(recording);
    let mut rest = recording.entries.as_slice();
    let mut entries = Vec::new();
    while let Some(((at, event), next)) = next_event(&mut rest) {
        let after = at.since(zero);
        if after > until {
            break;
        }
        // A turn is one time: it is left out or taken as a whole.
        if after < from {
            let _ = give(&mut node, at, event);
            continue;
        }
        entries.push(Entry::Event(at, event.clone()));
        entries.extend_from_slice(next);
    }
    Recording { node, entries, ..recording.clone() }
}

fn zero(recording: &Recording) -> Instant {
    let first = recording.entries.iter().find_map(|entry| match entry {
        Entry::Event(at, _) => Some(*at),
        Entry::Action(_) | Entry::Decided(..) => None,
    });
    first.unwrap_or(Instant::ZERO)
}

type Given<'a> = (Instant, &'a Event);

/// The next event, and what was recorded between it and the one after it.
fn next_event<'a>(rest: &mut &'a [Entry]) -> Option<(Given<'a>, &'a [Entry])> {
    loop {
        let (first, after) = rest.split_first()?;
        *rest = after;
        let Entry::Event(at, event) = first else { continue };
        let is_event = |entry: &Entry| matches!(entry, Entry::Event(..));
        let end = after.iter().position(is_event).unwrap_or(after.len());
        let (followed, after) = after.split_at(end);
        *rest = after;
        return Some(((*at, event), followed));
    }
}

/// What the node does about an event, as the daemon records it.
fn give(node: &mut Node, at: Instant, event: &Event) -> Vec<Entry> {
    let before = node.authority();
    let actions = node.handle(at, event.clone());
    let mut done: Vec<Entry> = actions.into_iter().map(Entry::Action).collect();
    if *event == Event::Tick {
        done.extend(node.decided(before).map(|(authority, why)| Entry::Decided(authority, why)));
    }
    done
}

fn agrees(recorded: &[Entry], today: &[Entry]) -> bool {
    recorded.len() == today.len() && agrees_so_far(recorded, today)
}

fn agrees_so_far(recorded: &[Entry], today: &[Entry]) -> bool {
    recorded.len() <= today.len() && recorded.iter().zip(today).all(|(one, other)| same(one, other))
}

/// Two fields of a heartbeat are the daemon's, which knows of a configuration that was read again and
/// of maintenance.
fn same(recorded: &Entry, today: &Entry) -> bool {
    match (recorded, today) {
        (
            Entry::Action(Action::SendHeartbeat(recorded)),
            Entry::Action(Action::SendHeartbeat(today)),
        ) => {
            let mut today = today.clone();
            today.config_hash = recorded.config_hash;
            today.maintenance = recorded.maintenance;
            *recorded == today
        }
        _ => recorded == today,
    }
}

impl Difference {
    /// For people. Writing to a `String` cannot fail, so its results are dropped.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "at {:.3}, after {:?}:", self.after.as_secs_f64(), self.event);
        for (whose, entries) in [("recorded", &self.recorded), ("today", &self.today)] {
            for entry in entries {
                let _ = writeln!(text, "  {whose:<9} {}", said(entry));
            }
            if entries.is_empty() {
                let _ = writeln!(text, "  {whose:<9} nothing");
            }
        }
        text
    }
}

fn said(entry: &Entry) -> String {
    match entry {
        Entry::Event(_, event) => format!("{event:?}"),
        Entry::Action(action) => format!("{action:?}"),
        Entry::Decided(authority, why) => format!("{authority} ({why})"),
    }
}
