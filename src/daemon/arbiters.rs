//! The arbiters together (rule 9): what a takeover needs of them, and what is missing before it is
//! needed.

use super::journal::Journal;
use crate::config::Config;
use crate::protocol::arbiter::Arbitration;
use crate::protocol::time::Instant;

/// What a takeover needs, in one sentence.
pub fn combination(config: &Config) -> String {
    let peer = config.peer_name();
    match config.arbitration {
        Arbitration { witness: false, fence: false } => {
            "a takeover needs the LAN: the floating address unanswered, and a reference that answers"
                .to_owned()
        }
        Arbitration { witness: true, fence: false } => {
            "a takeover needs the witness's grant; an answer for the floating address delays it"
                .to_owned()
        }
        Arbitration { witness: false, fence: true } => format!(
            "a takeover needs {peer} seen powered off by the fence; an answer for the floating \
             address delays that"
        ),
        Arbitration { witness: true, fence: true } => format!(
            "a takeover needs the witness's grant or, where the witness says nothing, {peer} seen \
             powered off by the fence; an answer for the floating address delays both"
        ),
    }
}

/// What it means that the witness does not answer.
pub fn witness_silent(arbitration: Arbitration) -> &'static str {
    if arbitration.fence {
        "the witness does not answer: a takeover would have to wait for the fence"
    } else {
        "the witness does not answer: a takeover would not be possible"
    }
}

/// What it means that a device of the fence does not work.
pub fn fence_broken(arbitration: Arbitration) -> &'static str {
    if arbitration.witness {
        "the fence does not work: without the witness a takeover would not be possible"
    } else {
        "the fence does not work: a takeover would not be possible"
    }
}

/// Why a takeover would not be possible now for want of an arbiter, and what to do about it.
pub fn missing(
    config: &Config,
    journal: &Journal,
    now: Instant,
) -> Option<(&'static str, &'static str)> {
    let arbitration = config.arbitration;
    let silent = journal.witness_answers(now) == Some(false);
    let broken = journal.fence_works() == Some(false);
    match (arbitration.witness, arbitration.fence) {
        (true, false) if silent => Some((
            witness_silent(arbitration),
            "look at the witness, or at the way to it: it does not answer, and without it a takeover \
             would not be possible",
        )),
        (false, true) if broken => Some((
            fence_broken(arbitration),
            "see `duotone fence status`: without the fence a takeover would not be possible",
        )),
        (true, true) if silent && broken => Some((
            "neither does the witness answer nor the fence work: a takeover would not be possible",
            "look at the witness, or at the way to it, and see `duotone fence status`",
        )),
        _ => None,
    }
}
