//! When the role is given to a living peer (rule 25): on an order, or because the peer can do the
//! job and this node cannot.

use super::identity::NodeId;
use super::time::Duration;

/// What the pair's administrator wants moved without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Where the role belongs; `None`: wherever it is.
    pub preferred: Option<NodeId>,
    /// The role goes back to the preferred node by itself once that has stood by in order for this
    /// long; `None`: only when ordered.
    pub failback_after: Option<Duration>,
    /// No more moves by itself than this...
    pub moves: u32,
    /// ...within this span; then the role stays where it is (R11).
    pub within: Duration,
}

impl Policy {
    /// Failback by hand; three moves by itself in ten minutes.
    pub const DEFAULT: Policy = Policy {
        preferred: None,
        failback_after: None,
        moves: 3,
        within: Duration::from_secs(600),
    };
}
