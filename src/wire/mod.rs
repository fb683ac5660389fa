//! Bytes and tag of a heartbeat and of the words with the witness, and the memory that tells a
//! fresh heartbeat from a recorded one.
//!
//! Owns: the layouts ([`heartbeat`], [`witness`], [`stream`]), the key and its file ([`key`]),
//! admission by session and sequence ([`replay`]). Knows no socket and no clock; what a heartbeat
//! means is the protocol's.

mod bytes;
pub mod heartbeat;
pub mod key;
pub mod replay;
pub mod stream;
pub mod witness;

pub use heartbeat::{LinkSet, Received, decode, encode};
pub use key::{Key, Keys, PairTag};
pub use replay::{Admission, Verdict};

/// Why a datagram was not taken for a word of the peer or the witness. Each reason is counted
/// apart, because each has another cure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// Ends before its own length says, or before the fields of its version do.
    #[error("cut short")]
    TooShort,
    /// Something else that uses the same port or EtherType.
    #[error("something else that came to this port")]
    Magic,
    /// More than one version away from this program.
    #[error("of a version that this program does not understand")]
    Version,
    /// Of another pair on the same network.
    #[error("of another pair: [pair] name differs")]
    WrongPair,
    /// The tag fits none of the accepted keys.
    #[error("tag does not fit: the key files differ, or the bytes were changed")]
    WrongKey,
    /// Authentic, but a field holds a value that has no meaning.
    #[error("authentic, but a field is meaningless")]
    Malformed,
    /// This daemon's own heartbeat came back.
    #[error("own heartbeat came back: the link is a loop")]
    Reflected,
    /// Another daemon of this pair runs as the same node.
    #[error("another daemon runs as this same node")]
    SameNode,
    /// Recorded earlier and played back, or delivered twice by one link.
    #[error("delivered before")]
    Replayed,
    /// Of a session of the peer that has not proved that it is alive, while another one has.
    #[error("of a session that is over or has not proved itself")]
    UnknownSession,
    /// Echoes a heartbeat of this session that was never sent.
    #[error("echoes a heartbeat that was never sent")]
    EchoOfUnsent,
}

impl Refused {
    /// Every reason, in the order of [`Refusals`].
    pub const ALL: [Refused; 11] = [
        Refused::TooShort,
        Refused::Magic,
        Refused::Version,
        Refused::WrongPair,
        Refused::WrongKey,
        Refused::Malformed,
        Refused::Reflected,
        Refused::SameNode,
        Refused::Replayed,
        Refused::UnknownSession,
        Refused::EchoOfUnsent,
    ];
}

/// How often each reason was met on one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals([u64; Refused::ALL.len()]);

impl Refusals {
    /// One more.
    pub fn count(&mut self, reason: Refused) {
        // The discriminants are the positions in `ALL`, by which the array is sized.
        self.0[reason as usize] += 1;
    }

    /// How many there were for this reason.
    pub fn of(&self, reason: Refused) -> u64 {
        self.0[reason as usize]
    }

    /// Reasons that were met, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Refused, u64)> + '_ {
        Refused::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let mut refusals = Refusals::default();
        for (position, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
            for _ in 0..=position {
                refusals.count(reason);
            }
        }
        assert_eq!(refusals.of(Refused::TooShort), 1);
        assert_eq!(refusals.of(Refused::EchoOfUnsent), 11);
        assert_eq!(refusals.total(), 66);
        assert_eq!(refusals.iter().count(), Refused::ALL.len());
    }
}
