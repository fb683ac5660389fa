//! The layout of a heartbeat.
//!
//! ```text
//!  0  magic "duot"          4        28  session, sequence        8 + 8
//!  4  version               1        44  echo: session, sequence, age ns   8 + 8 + 8
//!  5  kind (1: heartbeat)   1        68  promise: kind, ns        1 + 8
//!  6  length before the tag 2        77  term, served, lone       3 x (8 + 1)
//!  8  pair tag             16       104  log: timeline, position, branch, forks
//! 24  node, stance          2            (4 + 8 + 9 + 1 + 8 x (4 + 8 + 9))
//! 26  flags                 2       294  system id                8
//!                                   302  groups: count, 4 x (serving, health)  1 + 4 x 4
//!                                   319  software 3 x 2, config hash 8
//!                                   333  links heard               2
//! 335 tag: HMAC-SHA256 over everything before it
//! ```
//! Big-endian. Every field is always there; a flag tells whether an optional one counts. Later
//! versions may only append before the tag, so that a reader skips what it does not know.

use super::Refused;
use super::bytes::{Reader, Writer};
use super::key::{Key, Keys, PairTag, TAG_LEN};
use crate::protocol::health::{Grade, Health};
use crate::protocol::heartbeat::{Echo, GroupReport, Heartbeat, Promise, Stance};
use crate::protocol::identity::{GroupId, NodeId, Session, Term};
use crate::protocol::log::{Fork, Log};
use crate::protocol::time::Duration;

/// The version that this program sends.
pub const VERSION: u8 = 1;

/// Bytes of a datagram of this version, tag included.
pub const DATAGRAM_LEN: usize = 335 + TAG_LEN;

const MAGIC: [u8; 4] = *b"duot";
const KIND_HEARTBEAT: u8 = 1;
/// Where the fields begin that are read only after the tag was found to fit.
const HEADER_LEN: usize = 24;
const FORK_LEN: usize = 4 + 8 + 9;

mod flag {
    pub const ECHO: u16 = 1 << 0;
    pub const CERTIFYING: u16 = 1 << 1;
    pub const CERTIFIED: u16 = 1 << 2;
    pub const EXCLUDES_YOU: u16 = 1 << 3;
    pub const LOG: u16 = 1 << 4;
    pub const LOG_BRANCH: u16 = 1 << 5;
    pub const LOG_UNFINISHED: u16 = 1 << 6;
    pub const SYSTEM_ID: u16 = 1 << 7;
    pub const MAINTENANCE: u16 = 1 << 8;
    /// Of the first group; the next bits are the other groups'.
    pub const FINDS_YOU_FAILED: u16 = 1 << 9;
}

/// Links by their position in the configuration, which is the same on both nodes; those past the
/// sixteenth work, but cannot be named here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkSet(pub u16);

impl LinkSet {
    /// With this link in it.
    #[must_use]
    pub const fn with(self, link: usize) -> LinkSet {
        LinkSet(self.0 | if link < 16 { 1 << link } else { 0 })
    }

    /// Is this link in it?
    pub const fn contains(self, link: usize) -> bool {
        link < 16 && self.0 & (1 << link) != 0
    }
}

/// An authentic datagram, opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// What the peer says.
    pub heartbeat: Heartbeat,
    /// The links on which the sender hears the receiver: with them a one-way link is told from a
    /// dead one, although the echo does not say which way it took.
    pub heard: LinkSet,
}

/// Writes one datagram into `into`, replacing what was there. `heard` are the links on which the
/// sender hears the peer. A history of more than [`Log::MAX_FORKS`] timelines loses its oldest.
pub fn encode(
    heartbeat: &Heartbeat,
    heard: LinkSet,
    pair: &PairTag,
    key: &Key,
    into: &mut Vec<u8>,
) {
    into.clear();
    let mut out = Writer(into);
    out.array(&MAGIC);
    out.u8(VERSION);
    out.u8(KIND_HEARTBEAT);
    out.u16((DATAGRAM_LEN - TAG_LEN) as u16);
    out.array(pair.as_bytes());
    out.u8(heartbeat.node.index() as u8);
    out.u8(heartbeat.stance as u8);
    out.u16(flags(heartbeat));
    out.u64(heartbeat.session.0);
    out.u64(heartbeat.sequence);
    let echo = heartbeat.echo;
    out.u64(echo.map_or(0, |echo| echo.session.0));
    out.u64(echo.map_or(0, |echo| echo.sequence));
    out.u64(echo.map_or(0, |echo| nanos(echo.age)));
    write_promise(&mut out, heartbeat.promise);
    write_term(&mut out, heartbeat.term);
    write_term(&mut out, heartbeat.served);
    write_term(&mut out, heartbeat.lone);
    write_log(&mut out, heartbeat.log.as_ref());
    out.u64(heartbeat.system_id.unwrap_or(0));
    write_groups(&mut out, &heartbeat.groups);
    heartbeat.software.iter().for_each(|number| out.u16(*number));
    out.u64(heartbeat.config_hash);
    out.u16(heard.0);
    debug_assert_eq!(into.len(), DATAGRAM_LEN - TAG_LEN);
    let tag = key.tag(into);
    into.extend_from_slice(&tag);
}

/// Opens one datagram. `own` is the receiver's node and session. Bytes after the tag are padding of
/// the carrier and ignored.
///
/// # Errors
/// The first thing that is wrong with it; see [`Refused`].
pub fn decode(
    datagram: &[u8],
    pair: &PairTag,
    keys: &Keys,
    own: (NodeId, Session),
) -> Result<Received, Refused> {
    let mut header = Reader::new(datagram);
    if header.array::<4>()? != MAGIC {
        return Err(Refused::Magic);
    }
    let version = header.u8()?;
    if header.u8()? != KIND_HEARTBEAT {
        return Err(Refused::Magic);
    }
    if version == 0 || version.abs_diff(VERSION) > 1 {
        return Err(Refused::Version);
    }
    let length = usize::from(header.u16()?);
    // The pair before the tag: a neighbour's heartbeat is no sign of a wrong key.
    if header.array::<{ PairTag::LEN }>()? != *pair.as_bytes() {
        return Err(Refused::WrongPair);
    }
    let tagged = datagram.get(..length).ok_or(Refused::TooShort)?;
    let tag = datagram.get(length..length + TAG_LEN).ok_or(Refused::TooShort)?;
    if !keys.verify(tagged, tag) {
        return Err(Refused::WrongKey);
    }
    let received = body(tagged.get(HEADER_LEN..).ok_or(Refused::TooShort)?)?;
    if received.heartbeat.node == own.0 {
        let mine = received.heartbeat.session == own.1;
        return Err(if mine { Refused::Reflected } else { Refused::SameNode });
    }
    Ok(received)
}

fn body(bytes: &[u8]) -> Result<Received, Refused> {
    let mut from = Reader::new(bytes);
    let node = one_of(&NodeId::ALL, from.u8()?)?;
    let stance = one_of(&Stance::ALL, from.u8()?)?;
    let flags = from.u16()?;
    let has = |flag: u16| flags & flag != 0;
    let session = Session(from.u64()?);
    let sequence = from.u64()?;
    let echo = Echo {
        session: Session(from.u64()?),
        sequence: from.u64()?,
        age: Duration::from_nanos(from.u64()?),
    };
    // Both count from 1.
    if sequence == 0 || has(flag::ECHO) && echo.sequence == 0 {
        return Err(Refused::Malformed);
    }
    let heartbeat = Heartbeat {
        node,
        session,
        sequence,
        echo: has(flag::ECHO).then_some(echo),
        stance,
        promise: read_promise(&mut from)?,
        term: read_term(&mut from)?,
        served: read_term(&mut from)?,
        lone: read_term(&mut from)?,
        certifying: has(flag::CERTIFYING),
        certified: has(flag::CERTIFIED),
        excludes_you: has(flag::EXCLUDES_YOU),
        log: read_log(&mut from, flags)?,
        system_id: Some(from.u64()?).filter(|_| has(flag::SYSTEM_ID)),
        groups: read_groups(&mut from, flags)?,
        software: [from.u16()?, from.u16()?, from.u16()?],
        config_hash: from.u64()?,
        maintenance: has(flag::MAINTENANCE),
    };
    Ok(Received { heartbeat, heard: LinkSet(from.u16()?) })
}

fn flags(heartbeat: &Heartbeat) -> u16 {
    let log = heartbeat.log.as_ref();
    [
        (heartbeat.echo.is_some(), flag::ECHO),
        (heartbeat.certifying, flag::CERTIFYING),
        (heartbeat.certified, flag::CERTIFIED),
        (heartbeat.excludes_you, flag::EXCLUDES_YOU),
        (log.is_some(), flag::LOG),
        (log.is_some_and(|log| log.branch.is_some()), flag::LOG_BRANCH),
        (log.is_some_and(|log| log.unfinished), flag::LOG_UNFINISHED),
        (heartbeat.system_id.is_some(), flag::SYSTEM_ID),
        (heartbeat.maintenance, flag::MAINTENANCE),
    ]
    .into_iter()
    .chain(
        heartbeat
            .groups
            .iter()
            .take(GroupId::MAX)
            .enumerate()
            .map(|(slot, group)| (group.finds_peer_failed, flag::FINDS_YOU_FAILED << slot)),
    )
    .filter(|(set, _)| *set)
    .fold(0, |flags, (_, flag)| flags | flag)
}

fn write_promise(out: &mut Writer<'_>, promise: Promise) {
    let (kind, span) = match promise {
        Promise::None => (0, 0),
        Promise::For(span) => (1, nanos(span)),
        Promise::Leaving => (2, 0),
    };
    out.u8(kind);
    out.u64(span);
}

fn read_promise(from: &mut Reader<'_>) -> Result<Promise, Refused> {
    let (kind, span) = (from.u8()?, from.u64()?);
    match kind {
        0 => Ok(Promise::None),
        1 => Ok(Promise::For(Duration::from_nanos(span))),
        2 => Ok(Promise::Leaving),
        _ => Err(Refused::Malformed),
    }
}

pub(super) fn write_term(out: &mut Writer<'_>, term: Term) {
    out.u64(term.counter);
    out.u8(term.node.index() as u8);
}

pub(super) fn read_term(from: &mut Reader<'_>) -> Result<Term, Refused> {
    Ok(Term { counter: from.u64()?, node: one_of(&NodeId::ALL, from.u8()?)? })
}

fn write_log(out: &mut Writer<'_>, log: Option<&Log>) {
    out.u32(log.map_or(0, |log| log.timeline));
    out.u64(log.map_or(0, |log| log.position));
    write_term(out, log.and_then(|log| log.branch).unwrap_or(Term::ZERO));
    let all = log.map_or(&[][..], |log| &log.forks);
    let newest = &all[all.len().saturating_sub(Log::MAX_FORKS)..];
    out.u8(newest.len() as u8);
    for fork in newest {
        out.u32(fork.timeline);
        out.u64(fork.at);
        // No branch is ever begun by the term before the first claim: zero is "not known".
        write_term(out, fork.branch.unwrap_or(Term::ZERO));
    }
    out.zeros((Log::MAX_FORKS - newest.len()) * FORK_LEN);
}

fn read_log(from: &mut Reader<'_>, flags: u16) -> Result<Option<Log>, Refused> {
    let (timeline, position) = (from.u32()?, from.u64()?);
    let branch = read_term(from)?;
    let count = usize::from(from.u8()?);
    if count > Log::MAX_FORKS {
        return Err(Refused::Malformed);
    }
    let mut forks = Vec::with_capacity(count);
    for slot in 0..Log::MAX_FORKS {
        let (timeline, at, branch) = (from.u32()?, from.u64()?, read_term(from)?);
        let fork = Fork { timeline, at, branch: (branch != Term::ZERO).then_some(branch) };
        if slot < count {
            forks.push(fork);
        }
    }
    Ok((flags & flag::LOG != 0).then(|| Log {
        timeline,
        position,
        forks,
        branch: (flags & flag::LOG_BRANCH != 0).then_some(branch),
        unfinished: flags & flag::LOG_UNFINISHED != 0,
    }))
}

fn write_groups(out: &mut Writer<'_>, groups: &[GroupReport]) {
    let groups = &groups[..groups.len().min(GroupId::MAX)];
    out.u8(groups.len() as u8);
    for group in groups {
        out.u8(u8::from(group.serving));
        out.u8(group.health.database as u8);
        out.u8(group.health.network as u8);
        out.u8(group.health.services as u8);
    }
    out.zeros((GroupId::MAX - groups.len()) * 4);
}

fn read_groups(from: &mut Reader<'_>, flags: u16) -> Result<Vec<GroupReport>, Refused> {
    let count = usize::from(from.u8()?);
    if count > GroupId::MAX {
        return Err(Refused::Malformed);
    }
    let mut groups = Vec::with_capacity(count);
    for slot in 0..GroupId::MAX {
        let group = GroupReport {
            serving: one_of(&[false, true], from.u8()?)?,
            health: Health {
                database: one_of(&Grade::ALL, from.u8()?)?,
                network: one_of(&Grade::ALL, from.u8()?)?,
                services: one_of(&Grade::ALL, from.u8()?)?,
            },
            finds_peer_failed: flags & flag::FINDS_YOU_FAILED << slot != 0,
        };
        if slot < count {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// The variant with this number; the lists are in the order of the declarations.
pub(super) fn one_of<T: Copy>(all: &[T], number: u8) -> Result<T, Refused> {
    all.get(usize::from(number)).copied().ok_or(Refused::Malformed)
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
