//! The witness, and the way to it.

use duotone::protocol::identity::NodeId;

use crate::clock::MILLI;
use crate::command::{Cable, Command};
use crate::schedule::Making;

/// What happens to the arbiter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WitnessTrouble {
    Down,
    Restarts,
    Forgets,
    Unreachable,
    RepliesLost,
    GoneWithThePaths,
}

impl WitnessTrouble {
    pub const ALL: [WitnessTrouble; 6] = [
        WitnessTrouble::Down,
        WitnessTrouble::Restarts,
        WitnessTrouble::Forgets,
        WitnessTrouble::Unreachable,
        WitnessTrouble::RepliesLost,
        WitnessTrouble::GoneWithThePaths,
    ];
}

impl Making<'_> {
    pub fn of_witness(&mut self, trouble: WitnessTrouble) {
        let host = self.host;
        match trouble {
            WitnessTrouble::Down => self.between(Command::Witness(false), Command::Witness(true)),
            WitnessTrouble::Restarts => {
                self.push(self.at, Command::Witness(false));
                let soon = self.at + self.dice.span(1, 120) * MILLI;
                self.push(soon, Command::Witness(true));
            }
            WitnessTrouble::Forgets => self.push(self.at, Command::WitnessForgets),
            WitnessTrouble::Unreachable => {
                let side = self.dice.pick(&[None, Some(host)]);
                self.cut(Cable::Witness, side);
            }
            WitnessTrouble::RepliesLost => self.cut(Cable::WitnessReplies, Some(host)),
            WitnessTrouble::GoneWithThePaths => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Eth0Path, None);
                let soon = self.at + self.dice.span(0, 300) * MILLI;
                let whose = self.dice.pick(&NodeId::ALL);
                let cable =
                    |cable| (Command::Cut(cable, Some(whose)), Command::Mend(cable, Some(whose)));
                let (what, undone) = match self.dice.below(5) {
                    0 => cable(Cable::Witness),
                    1 => cable(Cable::WitnessReplies),
                    2 => cable(Cable::Lan),
                    3 => (Command::Witness(false), Command::Witness(true)),
                    _ => (Command::PowerOff(whose), Command::PowerOn(whose)),
                };
                self.push(soon, what);
                let mended = soon + self.dice.span(20, 3_000) * MILLI;
                self.push(mended, undone);
            }
        }
    }
}
