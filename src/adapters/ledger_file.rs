//! What the witness keeps of one pair, on disk: a small file, replaced as a whole.
//!
//! Layout, all numbers big-endian: magic (8 bytes), version (2), the pair's tag (16), flags (1),
//! holder (1), its term (9) and grant in ns (8), who is excluded (1), SHA-256 of everything before it
//! (32). A file that is not exactly so, or of another pair, is damaged.

use std::io;

use sha2::{Digest, Sha256};

use super::state_directory::StateDirectory;
use crate::protocol::identity::{NodeId, Term};
use crate::protocol::time::Duration;
use crate::protocol::witness::{Holder, Ledger};

const MAGIC: &[u8; 8] = b"duowitn\x01";
const VERSION: u16 = 1;
const BODY: usize = 1 + 1 + 9 + 8 + 1;
const TAG: usize = 16;
const CHECKSUM: usize = 32;
const TOTAL: usize = MAGIC.len() + 2 + TAG + BODY + CHECKSUM;

const HOLDER: u8 = 1 << 0;
const RELEASED: u8 = 1 << 1;
const EXCLUDED: u8 = 1 << 2;

/// What is on disk cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It is there and cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It has not the length of a ledger, or does not begin as one.
    #[error("it is not a ledger of this version")]
    Shape,
    /// It is the ledger of another pair.
    #[error("it is the ledger of another pair")]
    OtherPair,
    /// Bytes changed since it was written.
    #[error("its checksum does not match its content")]
    Checksum,
    /// The checksum is right and the content means nothing.
    #[error("it holds an impossible {0}")]
    Content(&'static str),
}

/// The name of a pair's ledger in the state directory.
#[must_use]
pub fn name(pair: &str) -> String {
    format!("{pair}.ledger")
}

/// What the disk remembers of a pair; `None` if nothing was ever written.
///
/// # Errors
/// It cannot be relied on.
pub fn load(
    directory: &StateDirectory,
    pair: &str,
    tag: &[u8; TAG],
) -> Result<Option<Ledger>, Damaged> {
    let bytes = directory.read(&name(pair), TOTAL)?;
    bytes.map(|bytes| decode(&bytes, tag)).transpose()
}

/// Puts a pair's ledger on disk, durably and as a whole.
///
/// # Errors
/// A step failed; the old ledger or this one is on disk.
pub fn save(
    directory: &StateDirectory,
    pair: &str,
    tag: &[u8; TAG],
    ledger: &Ledger,
) -> io::Result<()> {
    directory.replace(&name(pair), &encode(ledger, tag))
}

fn encode(ledger: &Ledger, tag: &[u8; TAG]) -> Vec<u8> {
    // Destructured, so that a new field cannot be forgotten here.
    let Ledger { holder, excluded } = *ledger;
    let mut bytes = Vec::with_capacity(TOTAL);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(tag);
    let mut flags = if excluded.is_some() { EXCLUDED } else { 0 };
    let (mut node, mut term, mut span) = (NodeId::A, Term::ZERO, 0);
    if let Some(Holder { node: holder, term: granted, grant, released }) = holder {
        flags |= if released { HOLDER | RELEASED } else { HOLDER };
        (node, term) = (holder, granted);
        span = u64::try_from(grant.as_nanos()).unwrap_or(u64::MAX);
    }
    bytes.extend_from_slice(&[flags, node.index() as u8]);
    bytes.extend_from_slice(&term.counter.to_be_bytes());
    bytes.push(term.node.index() as u8);
    bytes.extend_from_slice(&span.to_be_bytes());
    bytes.push(excluded.map_or(0, |node| node.index() as u8));
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8], tag: &[u8; TAG]) -> Result<Ledger, Damaged> {
    let Ok(bytes) = <&[u8; TOTAL]>::try_from(bytes) else { return Err(Damaged::Shape) };
    let (content, checksum) = bytes.split_at(TOTAL - CHECKSUM);
    let (head, content_after) = content.split_at(MAGIC.len() + 2);
    if !head.starts_with(MAGIC) || head[MAGIC.len()..] != VERSION.to_be_bytes() {
        return Err(Damaged::Shape);
    }
    if Sha256::digest(content)[..] != *checksum {
        return Err(Damaged::Checksum);
    }
    let (of, body) = content_after.split_at(TAG);
    if of != tag {
        return Err(Damaged::OtherPair);
    }
    let flags = body[0];
    let has = |flag: u8| flags & flag != 0;
    if flags > HOLDER | RELEASED | EXCLUDED || has(RELEASED) && !has(HOLDER) {
        return Err(Damaged::Content("flag"));
    }
    let holder = Holder {
        node: node(body[1])?,
        term: Term { counter: number(body, 2)?, node: node(body[10])? },
        grant: Duration::from_nanos(number(body, 11)?),
        released: has(RELEASED),
    };
    let excluded = node(body[19])?;
    Ok(Ledger {
        holder: has(HOLDER).then_some(holder),
        excluded: has(EXCLUDED).then_some(excluded),
    })
}

fn node(index: u8) -> Result<NodeId, Damaged> {
    let found = NodeId::ALL.into_iter().find(|node| node.index() == usize::from(index));
    found.ok_or(Damaged::Content("node"))
}

fn number(body: &[u8], at: usize) -> Result<u64, Damaged> {
    let field = body.get(at..).and_then(|rest| rest.first_chunk::<8>());
    field.map(|field| u64::from_be_bytes(*field)).ok_or(Damaged::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: [u8; TAG] = [7; TAG];

    fn node_id() -> impl Strategy<Value = NodeId> {
        prop::sample::select(&NodeId::ALL[..])
    }

    fn ledger() -> impl Strategy<Value = Ledger> {
        let holder = (node_id(), any::<u64>(), node_id(), any::<u64>(), any::<bool>()).prop_map(
            |(node, counter, of, grant, released)| Holder {
                node,
                term: Term { counter, node: of },
                grant: Duration::from_nanos(grant),
                released,
            },
        );
        (prop::option::of(holder), prop::option::of(node_id()))
            .prop_map(|(holder, excluded)| Ledger { holder, excluded })
    }

    proptest! {
        #[test]
        fn every_ledger_survives(ledger in ledger()) {
            let bytes = encode(&ledger, &OURS);
            prop_assert_eq!(bytes.len(), TOTAL);
            prop_assert_eq!(decode(&bytes, &OURS).ok(), Some(ledger));
            prop_assert!(matches!(decode(&bytes, &[8; TAG]), Err(Damaged::OtherPair)));
        }

        #[test]
        fn a_flipped_bit_is_damage(ledger in ledger(), bit in 0..TOTAL * 8) {
            let mut bytes = encode(&ledger, &OURS);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes, &OURS).is_err());
        }

        #[test]
        fn a_wrong_length_is_damage(ledger in ledger(), length in 0..TOTAL) {
            let mut bytes = encode(&ledger, &OURS);
            prop_assert!(decode(&bytes[..length], &OURS).is_err());
            bytes.push(0);
            prop_assert!(decode(&bytes, &OURS).is_err());
        }
    }
}
