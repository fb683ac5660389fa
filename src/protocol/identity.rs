//! Who is who: nodes, boot sessions, terms, groups.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One of the two nodes, in the order of the configuration file; `A` is the lower id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum NodeId {
    /// The first node of the file.
    A,
    /// The second node of the file.
    B,
}

impl NodeId {
    /// Both nodes, lower id first.
    pub const ALL: [NodeId; 2] = [NodeId::A, NodeId::B];

    /// The other one.
    #[inline]
    pub const fn peer(self) -> NodeId {
        match self {
            NodeId::A => NodeId::B,
            NodeId::B => NodeId::A,
        }
    }

    /// Position in the configuration file: 0 or 1.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            NodeId::A => 0,
            NodeId::B => 1,
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeId::A => "a",
            NodeId::B => "b",
        })
    }
}

/// One life of a daemon: a random number drawn at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Session(pub u64);

/// A claim to lead, ordered: (counter, node), so that no two nodes ever hold the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Term {
    /// Grows with every claim.
    pub counter: u64,
    /// Who claimed it.
    pub node: NodeId,
}

impl Term {
    /// Before the first claim.
    pub const ZERO: Term = Term { counter: 0, node: NodeId::A };

    /// The first term of `node` above `self`.
    pub const fn next_for(self, node: NodeId) -> Term {
        Term { counter: self.counter + 1, node }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.counter, self.node)
    }
}

/// A set of floating addresses and services that moves as one. There is one today, `main`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GroupId(pub u8);

impl GroupId {
    /// The implicit group.
    pub const MAIN: GroupId = GroupId(0);
    /// A heartbeat has room for this many.
    pub const MAX: usize = 4;
}
