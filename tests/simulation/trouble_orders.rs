//! Administrators' orders at bad moments.

use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;

use crate::clock::{MILLI, Nanos};
use crate::command::{Cable, Command};
use crate::schedule::Making;

/// What somebody orders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OrderTrouble {
    Leave,
    BothLeave,
    TakeAnyway,
    /// Given to both, as whoever orders may not know who has the role.
    Switchover,
    SwitchoverTwice,
    /// Something else happens in the middle of it.
    SwitchoverThen,
}

impl OrderTrouble {
    pub const ALL: [OrderTrouble; 6] = [
        OrderTrouble::Leave,
        OrderTrouble::BothLeave,
        OrderTrouble::TakeAnyway,
        OrderTrouble::Switchover,
        OrderTrouble::SwitchoverTwice,
        OrderTrouble::SwitchoverThen,
    ];
}

impl Making<'_> {
    pub fn of_order(&mut self, trouble: OrderTrouble) {
        let (host, at) = (self.host, self.at);
        let (leave, back) = (Order::Leave, Order::Return);
        match trouble {
            OrderTrouble::Leave => {
                self.between(Command::Order(host, leave), Command::Order(host, back));
            }
            OrderTrouble::BothLeave => {
                self.between(Command::Order(host, leave), Command::Order(host, back));
                let soon = self.dice.below(900) * MILLI;
                let later = soon + self.known();
                self.push(at + soon, Command::Order(host.peer(), leave));
                self.push(at + later, Command::Order(host.peer(), back));
            }
            OrderTrouble::TakeAnyway => self.push(at, Command::Order(host, Order::TakeAnyway)),
            OrderTrouble::Switchover => self.switchover(at),
            OrderTrouble::SwitchoverTwice => {
                self.switchover(at);
                let again = at + self.dice.span(50, 3_000) * MILLI;
                self.switchover(again);
            }
            OrderTrouble::SwitchoverThen => {
                self.switchover(at);
                let then = self.meanwhile();
                let after = at + self.dice.span(0, 900) * MILLI;
                self.push(after, then);
                if self.dice.chance(500) {
                    let then = self.meanwhile();
                    let after = after + self.dice.span(0, 500) * MILLI;
                    self.push(after, then);
                }
            }
        }
    }

    fn switchover(&mut self, at: Nanos) {
        for host in NodeId::ALL {
            self.push(at, Command::Order(host, Order::Switchover));
        }
    }

    fn meanwhile(&mut self) -> Command {
        let host = self.dice.pick(&NodeId::ALL);
        let span = self.dice.span(20, 2_000) * MILLI;
        match self.dice.below(13) {
            0 => Command::PowerOff(host),
            1 => Command::KillDaemon(host, false),
            2 => Command::Freeze(host, span, false),
            3 => Command::Freeze(host, span, true),
            4 => Command::Cut(Cable::Eth1, None),
            5 => Command::Cut(Cable::Eth1, Some(host)),
            6 => Command::Cut(Cable::Lan, Some(host)),
            7 => Command::Replication(false),
            8 => Command::PromotionFails(host, true),
            9 => Command::PromotionTakes(host, span),
            10 => Command::KillDatabase(host),
            11 => {
                let back = self.at + self.dice.span(20, 1_500) * MILLI;
                self.push(back, Command::StartDaemon(host));
                Command::KillDaemon(host, false)
            }
            _ => Command::PowerOn(host),
        }
    }
}
