//! Administrators' orders at bad moments.

use duotone::protocol::event::Order;

use crate::clock::MILLI;
use crate::command::Command;
use crate::schedule::Making;

/// What somebody orders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OrderTrouble {
    Leave,
    BothLeave,
    TakeAnyway,
}

impl OrderTrouble {
    pub const ALL: [OrderTrouble; 3] =
        [OrderTrouble::Leave, OrderTrouble::BothLeave, OrderTrouble::TakeAnyway];
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
        }
    }
}
