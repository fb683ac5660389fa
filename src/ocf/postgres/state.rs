//! What a look means to the cluster. Pure; "cannot tell" is never "not running".

use crate::ocf::code::Code;
use crate::protocol::event::{DatabaseSeen, DatabaseState};

/// What `monitor` answers to what was seen. `waits`: commits are to wait for the standby. `plain`:
/// asked by a probe or by hand, which know no degraded answers.
pub(super) fn code(seen: &DatabaseSeen, waits: bool, plain: bool) -> Code {
    let (role, well) = match seen.state {
        DatabaseState::Writable => {
            let replicated = seen.replica.is_some_and(|replica| replica.synchronous || !waits);
            (Code::RunningPromoted, replicated)
        }
        DatabaseState::Standby => (Code::Success, seen.streaming),
        // A primary that crashed, too: "failed promoted" (9) would have it demoted before it is
        // stopped, two actions on a server that is not there.
        DatabaseState::Stopped => return Code::NotRunning,
        DatabaseState::Starting | DatabaseState::Unknown => return Code::Generic,
    };
    match (role, well || plain) {
        (Code::RunningPromoted, false) => Code::DegradedPromoted,
        (_, false) => Code::Degraded,
        (role, true) => role,
    }
}
