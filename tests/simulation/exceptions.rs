//! What the promise excepts, counted: a long run must reach each.

/// How often each exception was used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Exceptions {
    /// A thawed host had not run yet.
    pub wake_window: u64,
    /// A host was frozen and its clock hid it.
    pub hidden_freeze: u64,
    /// A daemon is dead and the kernel still holds its address.
    pub remnant: u64,
    /// The LAN is split and both halves reach a gateway.
    pub split_lan: u64,
    /// Every probe of a window was lost.
    pub probes_lost: u64,
    /// Acknowledged rows were lost by a takeover without a certificate (`available`).
    pub stale_loss: u64,
    /// A node with a damaged state file was recovered, and only it had some rows.
    pub recovered: u64,
    /// One was recovered while the other's copy was not finished: nobody has a log to go by.
    pub nothing_left: u64,
}

impl Exceptions {
    pub fn add(&mut self, other: &Exceptions) {
        self.wake_window += other.wake_window;
        self.hidden_freeze += other.hidden_freeze;
        self.remnant += other.remnant;
        self.split_lan += other.split_lan;
        self.probes_lost += other.probes_lost;
        self.stale_loss += other.stale_loss;
        self.recovered += other.recovered;
        self.nothing_left += other.nothing_left;
    }
}
