//! The fence, and the way to it.

use crate::clock::{MILLI, SECOND};
use crate::command::{Cable, Command};
use crate::fence::Mood;
use crate::schedule::Making;

/// What happens to the devices that power the hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FenceTrouble {
    Fails,
    Hangs,
    Slow,
    Blind,
    Unreachable,
    GoneWithThePaths,
    NeededForBoth,
}

impl FenceTrouble {
    pub const ALL: [FenceTrouble; 7] = [
        FenceTrouble::Fails,
        FenceTrouble::Hangs,
        FenceTrouble::Slow,
        FenceTrouble::Blind,
        FenceTrouble::Unreachable,
        FenceTrouble::GoneWithThePaths,
        FenceTrouble::NeededForBoth,
    ];
}

impl Making<'_> {
    pub fn of_fence(&mut self, trouble: FenceTrouble) {
        let host = self.host;
        match trouble {
            FenceTrouble::Fails => self.moody(Mood::Fails),
            FenceTrouble::Hangs => self.moody(Mood::Hangs),
            FenceTrouble::Blind => self.moody(Mood::Blind),
            FenceTrouble::Slow => {
                let takes = self.dice.span(100, 600) * MILLI;
                self.push(self.at, Command::FenceTakes(host, takes));
            }
            FenceTrouble::Unreachable => {
                let side = self.dice.pick(&[None, Some(host)]);
                self.cut(Cable::Fence, side);
            }
            FenceTrouble::GoneWithThePaths => {
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Eth0Path, None);
                let soon = self.at + self.dice.span(0, 1_500) * MILLI;
                let (what, undone) = match self.dice.below(4) {
                    0 => (
                        Command::Cut(Cable::Fence, Some(host)),
                        Command::Mend(Cable::Fence, Some(host)),
                    ),
                    1 => (
                        Command::Cut(Cable::Lan, Some(host)),
                        Command::Mend(Cable::Lan, Some(host)),
                    ),
                    2 => (Command::Fence(host, Mood::Fails), Command::Fence(host, Mood::Works)),
                    _ => (Command::PowerOff(host), Command::PowerOn(host)),
                };
                self.push(soon, what);
                let mended = soon + self.dice.span(20, 3_000) * MILLI;
                self.push(mended, undone);
            }
            // Nothing but the delay keeps the two from each other then.
            FenceTrouble::NeededForBoth => {
                self.span = Some(self.dice.span(2, 6) * SECOND);
                self.cut(Cable::Eth1, None);
                self.cut(Cable::Eth0Path, None);
                self.between(Command::SplitLan(true), Command::SplitLan(false));
            }
        }
    }

    fn moody(&mut self, mood: Mood) {
        let host = self.host;
        self.between(Command::Fence(host, mood), Command::Fence(host, Mood::Works));
    }
}
