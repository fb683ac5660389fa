//! Who serves what: from the node's authority to a goal per group.

use super::lead::Authority;

/// What a node wants for one group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Goal {
    /// Hold its addresses over working services and a writable database.
    Serve,
    /// Be ready to.
    StandBy,
    /// Give it up so that the peer loses nothing by taking it (rule 25).
    HandOver,
}

/// The goal for a group. With one group everything follows the role; groups with different
/// preferred nodes (balanced mode) will be told apart here and nowhere else.
pub fn place(authority: Authority) -> Goal {
    match authority {
        Authority::Taking | Authority::Active => Goal::Serve,
        Authority::Joining | Authority::Held | Authority::Standby | Authority::Asking => {
            Goal::StandBy
        }
        Authority::Giving => Goal::HandOver,
    }
}
