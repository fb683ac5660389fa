//! The pair's key, and the tag by which pairs on one network are told apart.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// Bytes of an HMAC-SHA256 tag (RFC 2104, FIPS 180-4).
pub const TAG_LEN: usize = 32;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// A key, ready for use; its state is wiped when it is dropped and never printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// From its bytes, which the caller wipes.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Key {
        // RFC 2104: a key shorter than the hash's block is padded with zeros.
        let mut block = [0u8; 64].into();
        let padded: &mut hmac::digest::Key<Hmac<Sha256>> = &mut block;
        padded[..KEY_LEN].copy_from_slice(bytes);
        let key = Key(Hmac::new(padded));
        padded.as_mut_slice().zeroize();
        key
    }

    /// The tag of these bytes.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// Does the tag fit? Takes the same time wherever it differs.
    pub fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.verify_slice(tag).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The keys that a node accepts; it sends with the first.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Sends and is accepted.
    pub current: Key,
    /// Accepted as well, while keys are changed.
    pub old: Option<Key>,
}

impl Keys {
    /// Does the tag fit any of them?
    pub fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool {
        self.fitting(bytes, tag).is_some()
    }

    /// The one that the tag fits.
    pub fn fitting(&self, bytes: &[u8], tag: &[u8]) -> Option<&Key> {
        let all = [Some(&self.current), self.old.as_ref()];
        all.into_iter().flatten().find(|key| key.verifies(bytes, tag))
    }
}

/// Sixteen bytes that stand for the pair's name in every datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairTag([u8; PairTag::LEN]);

impl PairTag {
    /// Its length.
    pub const LEN: usize = 16;

    /// Of the pair's name.
    pub fn of(name: &str) -> PairTag {
        let digest = Sha256::new().chain_update(b"duotone pair\0").chain_update(name).finalize();
        let mut tag = [0; PairTag::LEN];
        tag.copy_from_slice(&digest[..PairTag::LEN]);
        PairTag(tag)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; PairTag::LEN] {
        &self.0
    }
}
