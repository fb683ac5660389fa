//! One kernel's floating addresses: two of them, held, renewed and expiring as one. Alone it knows
//! neither time nor network: the world says when a deed is done and when a lifetime is over.

use duotone::protocol::event::Presence;

#[derive(Clone, Copy, Default)]
pub struct Addresses {
    /// The last renewal, by its number.
    renewal: Option<u64>,
    renewals: u64,
    /// Somebody deleted one of the two.
    one_gone: bool,
}

impl Addresses {
    pub fn presence(&self) -> Presence {
        match self.renewal {
            Some(_) if self.one_gone => Presence::Partial,
            Some(_) => Presence::Held,
            None => Presence::Absent,
        }
    }

    /// Some are there: the kernel answers for them.
    pub fn any(&self) -> bool {
        self.renewal.is_some()
    }

    /// Adds what is missing and renews what is there; gives the renewal's number.
    pub fn hold(&mut self) -> u64 {
        self.renewals += 1;
        self.renewal = Some(self.renewals);
        self.one_gone = false;
        self.renewals
    }

    /// By our own deed, by hand, or by a reboot; were there any?
    pub fn remove(&mut self) -> bool {
        self.one_gone = false;
        self.renewal.take().is_some()
    }

    /// By hand; were there any?
    pub fn remove_one(&mut self) -> bool {
        match self.presence() {
            Presence::Held => {
                self.one_gone = true;
                true
            }
            Presence::Partial => self.remove(),
            Presence::Absent | Presence::Unknown => false,
        }
    }

    /// The lifetime that this renewal gave is over; did it end anything?
    pub fn expire(&mut self, renewal: u64) -> bool {
        self.renewal == Some(renewal) && self.remove()
    }
}
