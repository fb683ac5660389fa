//! The layout of what the active node tells its standby over TCP: greetings by which both prove that
//! they have the key, then frames, each under a tag of its own.
//!
//! ```text
//! hello, standby -> active     welcome, active -> standby    proof, standby -> active
//!  0  magic "duol"     4        0  nonce            16        0  tag          32
//!  4  version          1       16  tag              32
//!  5  node             1
//!  6  pair tag        16       frame, active -> standby
//! 22  nonce           16        0  length of text    4
//! 38  tag             32        4  text          1 … FRAME_MAX
//!                                  tag              32
//! ```
//! Big-endian. Every tag but the hello's is over a word that says what it is of, the pair tag, both
//! nonces and what it stands for; a frame's also over its number, so that none is played back, left
//! out or taken for another, in this connection or a later one. The tag is looked at before
//! anything else of a frame but its length. A hello that is played back brings no frames: its sender
//! cannot answer the welcome.

use super::Refused;
use super::bytes::{Reader, Writer};
use super::heartbeat::one_of;
use super::key::{Key, Keys, PairTag, TAG_LEN};
use crate::protocol::identity::NodeId;

/// Bytes of a hello.
pub const HELLO_LEN: usize = 38 + TAG_LEN;
/// Bytes of a welcome.
pub const WELCOME_LEN: usize = NONCE_LEN + TAG_LEN;
/// Bytes of a proof, and of the tag after a frame's text.
pub const PROOF_LEN: usize = TAG_LEN;
/// The longest text of a frame.
pub const FRAME_MAX: usize = 2 << 20;

const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"duol";
const NONCE_LEN: usize = 16;

/// Bytes that were never used before, drawn by each end.
pub type Nonce = [u8; NONCE_LEN];

/// Writes the hello of `node`, which is signed with `key`: the connection's from then on.
pub fn hello(pair: &PairTag, node: NodeId, nonce: &Nonce, key: &Key) -> [u8; HELLO_LEN] {
    let mut bytes = Vec::with_capacity(HELLO_LEN);
    let mut out = Writer(&mut bytes);
    out.array(&MAGIC);
    out.u8(VERSION);
    out.u8(node.index() as u8);
    out.array(pair.as_bytes());
    out.array(nonce);
    let tag = key.tag(&bytes);
    let mut hello = [0; HELLO_LEN];
    hello[..HELLO_LEN - TAG_LEN].copy_from_slice(&bytes);
    hello[HELLO_LEN - TAG_LEN..].copy_from_slice(&tag);
    hello
}

/// Opens a hello; returns its nonce and the key that it was signed with. `me` is who was called.
///
/// # Errors
/// It is no hello of this pair's other node.
pub fn open_hello<'k>(
    bytes: &[u8; HELLO_LEN],
    pair: &PairTag,
    keys: &'k Keys,
    me: NodeId,
) -> Result<(Nonce, &'k Key), Refused> {
    let (tagged, tag) = bytes.split_at(HELLO_LEN - TAG_LEN);
    let mut from = Reader::new(tagged);
    if from.array()? != MAGIC {
        return Err(Refused::Magic);
    }
    if from.u8()? != VERSION {
        return Err(Refused::Version);
    }
    let node = from.u8()?;
    if from.array()? != *pair.as_bytes() {
        return Err(Refused::WrongPair);
    }
    let nonce = from.array()?;
    let key = keys.fitting(tagged, tag).ok_or(Refused::WrongKey)?;
    if one_of(&NodeId::ALL, node)? == me {
        return Err(Refused::SameNode);
    }
    Ok((nonce, key))
}

/// A connection after the hello: what both ends know, and how many frames went over it.
#[derive(Debug)]
pub struct Conversation {
    key: Key,
    bound: Vec<u8>,
    frames: u64,
}

impl Conversation {
    /// Of these nonces, the standby's first.
    pub fn new(pair: &PairTag, nonces: (&Nonce, &Nonce), key: &Key) -> Conversation {
        let bound = [&pair.as_bytes()[..], nonces.0, nonces.1].concat();
        Conversation { key: key.clone(), bound, frames: 0 }
    }

    /// What the active node proves itself with.
    pub fn welcome(&self) -> [u8; TAG_LEN] {
        self.key.tag(&self.said(b"welcome", &[]))
    }

    /// Does this welcome's tag fit?
    pub fn welcomed(&self, tag: &[u8]) -> bool {
        self.key.verifies(&self.said(b"welcome", &[]), tag)
    }

    /// What the standby proves itself with.
    pub fn proof(&self) -> [u8; PROOF_LEN] {
        self.key.tag(&self.said(b"proof", &[]))
    }

    /// Does this proof fit?
    pub fn proved(&self, tag: &[u8]) -> bool {
        self.key.verifies(&self.said(b"proof", &[]), tag)
    }

    /// The next frame with this text; `None` when it is empty or longer than [`FRAME_MAX`].
    pub fn frame(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let length = length(u32::try_from(text.len()).ok()?)?;
        let tag = self.key.tag(&self.said(b"frame", text));
        self.frames += 1;
        let mut bytes = Vec::with_capacity(4 + length + TAG_LEN);
        let mut out = Writer(&mut bytes);
        out.u32(text.len() as u32);
        out.array(text);
        out.array(&tag);
        Some(bytes)
    }

    /// Is this text the next frame's? The connection is over when it is not.
    pub fn is_next(&mut self, text: &[u8], tag: &[u8]) -> bool {
        let fits = self.key.verifies(&self.said(b"frame", text), tag);
        self.frames += 1;
        fits
    }

    fn said(&self, what: &[u8], text: &[u8]) -> Vec<u8> {
        // Words of different lengths cannot run into what follows: it has a fixed length.
        [what, &self.bound, &self.frames.to_be_bytes(), text].concat()
    }
}

/// A frame's length as it came; `None` when there is no such frame.
pub fn length(came: u32) -> Option<usize> {
    usize::try_from(came).ok().filter(|length| (1..=FRAME_MAX).contains(length))
}
