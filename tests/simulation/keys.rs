//! The pair's key while it is changed: what each file says, what each daemon read at its start, and
//! what comes of steps that are left out or taken in the wrong order.

use std::fmt;

use duotone::protocol::identity::NodeId;

use crate::clock::{MILLI, Nanos};
use crate::command::Command;
use crate::dice::Dice;
use crate::schedule::Schedule;

/// Two keys by number, as a file names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys {
    /// Sends and is accepted.
    pub current: u8,
    /// Accepted as well.
    pub old: Option<u8>,
}

impl Keys {
    pub const FIRST: Keys = Keys { current: 0, old: None };
    const SECOND: Keys = Keys { current: 1, old: None };
    const BOTH: Keys = Keys { current: 0, old: Some(1) };
    const EXCHANGED: Keys = Keys { current: 1, old: Some(0) };

    pub fn accept(self, key: u8) -> bool {
        self.current == key || self.old == Some(key)
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.current)?;
        self.old.map_or(Ok(()), |old| write!(f, " also {old}"))
    }
}

pub fn parse(words: &[&str]) -> Option<Keys> {
    let old = match words.get(1..)? {
        [] => None,
        ["also", old] => Some(old.parse().ok()?),
        _ => return None,
    };
    Some(Keys { current: words[0].parse().ok()?, old })
}

/// How the administrator goes about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeyTrouble {
    /// As the README says: accepted everywhere, then used, then the old one goes.
    InOrder,
    /// One of the steps is left out on one host.
    StepLeftOut,
    /// One host after the other gets nothing but the new key.
    AtOnce,
}

impl KeyTrouble {
    pub const ALL: [KeyTrouble; 3] =
        [KeyTrouble::InOrder, KeyTrouble::StepLeftOut, KeyTrouble::AtOnce];

    /// Somewhere into what else happens.
    pub fn add(self, dice: &mut Dice, schedule: &mut Schedule) {
        let first = dice.pick(&NodeId::ALL);
        let mut at = dice.span(0, 2_000) * MILLI;
        let rounds: &[Keys] = match self {
            KeyTrouble::AtOnce => &[Keys::SECOND],
            _ => &[Keys::BOTH, Keys::EXCHANGED, Keys::SECOND],
        };
        let left_out = match self {
            KeyTrouble::StepLeftOut => Some(dice.below(6)),
            _ => None,
        };
        schedule.push((at, Command::WitnessKeys(Keys::BOTH)));
        let mut step = 0;
        for &keys in rounds {
            for host in [first, first.peer()] {
                at += dice.span(100, 2_500) * MILLI;
                if left_out != Some(step) {
                    restart(dice, schedule, at, host, keys);
                }
                step += 1;
            }
        }
        if dice.chance(800) {
            at += dice.span(100, 1_000) * MILLI;
            schedule.push((at, Command::WitnessKeys(Keys::SECOND)));
        }
        schedule.sort_by_key(|(at, _)| *at);
    }
}

fn restart(dice: &mut Dice, schedule: &mut Schedule, at: Nanos, host: NodeId, keys: Keys) {
    let back = at + dice.span(5, 400) * MILLI;
    schedule.push((at, Command::Keys(host, keys)));
    schedule.push((at, Command::KillDaemon(host, dice.chance(700))));
    schedule.push((back, Command::StartDaemon(host)));
}
