//! The hours in which the role may go back by itself: the wall clock's word to the node.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Zoned;

use super::{Shared, work};
use crate::config::Config;
use crate::protocol::event::Event;
use crate::pulse::queue::Letter;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// May the role go back by itself now?
fn open(config: &Config) -> bool {
    config.failback_hours.is_none_or(|hours| hours.contains(Zoned::now().time()))
}

/// What the pulse must hear of it before its first turn.
pub fn at_start(config: &Config) -> Option<Letter> {
    let open = open(config);
    (!open).then_some(Letter::Event(Event::FailbackHours { open }))
}

/// Tells the node when the hours begin and end, also after a reload.
pub async fn tend(shared: Arc<Shared>, mut told: bool) {
    loop {
        let open = open(&shared.config.lock().unwrap_or_else(PoisonError::into_inner));
        if open != told {
            told = open;
            work::tell(&shared.post, Event::FailbackHours { open }).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
