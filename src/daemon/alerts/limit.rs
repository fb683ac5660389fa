//! So many alerts of a kind within a time, and no more. What is too much is not lost: the newest of
//! it goes out as soon as there is room, and says how many there were.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::adapters::alert::{Alert, HeldBack};
use crate::config::AlertKind;
use crate::protocol::time::{Duration, Instant};

/// One window for each kind. Every channel gets the same alerts, so that it holds for each of them.
#[derive(Debug)]
pub struct Limiter {
    at_most: usize,
    within: Duration,
    windows: [Window; AlertKind::ALL.len()],
    /// How many did not go out one by one, since the start.
    pub held_back: u64,
}

#[derive(Debug, Default)]
struct Window {
    sent: VecDeque<Instant>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    newest: Alert,
    count: u64,
    since: SystemTime,
}

impl Limiter {
    /// Nothing was sent yet.
    pub fn new(at_most: u32, within: Duration) -> Limiter {
        let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
        Limiter { at_most, within, windows: Default::default(), held_back: 0 }
    }

    /// The alert if it may go out now, with what was held back before it.
    pub fn offer(&mut self, now: Instant, alert: Alert) -> Option<Alert> {
        let (at_most, within) = (self.at_most, self.within);
        let window = self.window(alert.kind);
        if window.has_room(now, at_most, within) {
            window.sent.push_back(now);
            let held = window.held.take();
            let held_back = held.map(|held| HeldBack { count: held.count, since: held.since });
            return Some(Alert { held_back, ..alert });
        }
        let (count, since) =
            window.held.as_ref().map_or((0, alert.at), |held| (held.count, held.since));
        window.held = Some(Held { newest: alert, count: count + 1, since });
        self.held_back += 1;
        None
    }

    /// What may go out by now.
    pub fn due(&mut self, now: Instant) -> Vec<Alert> {
        let (at_most, within) = (self.at_most, self.within);
        let mut due = Vec::new();
        for window in &mut self.windows {
            if !window.has_room(now, at_most, within) {
                continue;
            }
            let Some(Held { newest, count, since }) = window.held.take() else { continue };
            window.sent.push_back(now);
            let held_back = (count > 1).then_some(HeldBack { count: count - 1, since });
            due.push(Alert { held_back, ..newest });
        }
        due
    }

    fn window(&mut self, kind: AlertKind) -> &mut Window {
        &mut self.windows[kind as usize]
    }
}

impl Window {
    fn has_room(&mut self, now: Instant, at_most: usize, within: Duration) -> bool {
        while self.sent.front().is_some_and(|sent| now.since(*sent) >= within) {
            self.sent.pop_front();
        }
        self.sent.len() < at_most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::alert::Severity;

    fn alert(kind: AlertKind, number: u64) -> Alert {
        Alert {
            kind,
            severity: Severity::Info,
            pair: "office".into(),
            node: "pbx-a".into(),
            peer: "pbx-b".into(),
            term: "1a".into(),
            text: number.to_string(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(number),
            id: number.to_string(),
            held_back: None,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_told_by_its_beginning_and_its_end() {
        let mut limiter = Limiter::new(3, Duration::from_secs(60));
        let flood = (0..1000).map(|number| alert(AlertKind::Peer, number));
        let told: Vec<Alert> = flood.filter_map(|alert| limiter.offer(at(1), alert)).collect();
        assert_eq!(
            told.iter().map(|alert| alert.text.as_str()).collect::<Vec<_>>(),
            ["0", "1", "2"]
        );
        assert!(told.iter().all(|alert| alert.held_back.is_none()));
        assert_eq!(limiter.held_back, 997);
        // Another kind has a window of its own.
        assert!(limiter.offer(at(2), alert(AlertKind::Role, 7)).is_some());
        assert_eq!(limiter.due(at(60)), []);
        let [late] = &limiter.due(at(61))[..] else { panic!("one is due") };
        assert_eq!(late.text, "999", "the newest: how it stands");
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(3);
        assert_eq!(late.held_back, Some(HeldBack { count: 996, since }));
        assert_eq!(limiter.due(at(200)), [], "and only once");
    }

    #[test]
    fn the_next_one_tells_of_those_before_it() {
        let mut limiter = Limiter::new(1, Duration::from_secs(60));
        assert!(limiter.offer(at(0), alert(AlertKind::Peer, 0)).is_some());
        assert!(limiter.offer(at(1), alert(AlertKind::Peer, 1)).is_none());
        let next = limiter.offer(at(60), alert(AlertKind::Peer, 2)).expect("there is room");
        assert_eq!((next.text.as_str(), next.held_back.map(|held| held.count)), ("2", Some(1)));
        assert_eq!(limiter.due(at(500)), []);
    }
}
