//! What survives a crash of the host: written before it is spoken or relied on.

use serde::{Deserialize, Serialize};

use super::identity::{Session, Term};
use super::log::Branches;

/// The node's memory on disk. `adapters::state_file` writes it; only the completion of a write
/// makes a new value count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Durable {
    /// The highest term that this node claimed or followed.
    pub term: Term,
    /// The term under which the branch of this node's database was promoted (rule 13).
    pub served: Term,
    /// Which served term began which timeline of this node's database; the last is `served`'s.
    pub branches: Branches,
    /// The served term at which this branch was last acknowledged by one node alone (rule 13).
    pub lone: Term,
    /// The peer may lack rows that this node acknowledged (rule 18).
    pub peer_excluded: bool,
    /// This node took the role and has not recorded giving it up.
    pub active: bool,
    /// An unlimited promise to this session of the peer (rule 3).
    pub leaving: Option<Session>,
    /// A copy or rewind of the database was begun (rule 22).
    pub copy_unfinished: bool,
}

impl Durable {
    /// A node that never served.
    pub const FRESH: Durable = Durable {
        term: Term::ZERO,
        served: Term::ZERO,
        branches: Branches::NONE,
        lone: Term::ZERO,
        peer_excluded: false,
        active: false,
        leaving: None,
        copy_unfinished: false,
    };

    /// Who is right when two meet: the lone term first, then the served term (rule 13).
    pub const fn standing(&self) -> Standing {
        Standing { lone: self.lone, served: self.served }
    }
}

/// (lone term, served term): "higher term wins" means this pair (rule 13).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Standing {
    /// Compared first: rows acknowledged alone exist nowhere else.
    pub lone: Term,
    /// Compared second.
    pub served: Term,
}
