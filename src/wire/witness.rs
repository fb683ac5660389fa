//! The layout of what a node and the witness say to each other.
//!
//! ```text
//!  0  magic "duow"          4        request, from 24            reply, from 24
//!  4  version               1        node, wish          2       node, verdict       2
//!  5  kind (1: request,     1        session, sequence   8 + 8   session, sequence   8 + 8
//!     2: reply)                      ticket              8       ticket              8
//!  6  length before the tag 2        term                8 + 1   flags               1
//!  8  pair tag             16        grant, certificate  8 + 8   holder: node, term, grant
//!                                                                1 + 9 + 8, excluded 1
//! tag: HMAC-SHA256 over everything before it
//! ```
//! Big-endian; every field is always there. The magic differs from a heartbeat's and the kind is
//! under the tag, so that none of the three is ever taken for another. A reply is no longer than the
//! shortest request: the witness multiplies nobody's traffic. Later versions may only append.

use super::Refused;
use super::bytes::{Reader, Writer};
use super::heartbeat::{nanos, one_of, read_term, write_term};
use super::key::{Key, Keys, PairTag, TAG_LEN};
use crate::protocol::identity::{NodeId, Session};
use crate::protocol::time::Duration;
use crate::protocol::witness::{Holder, Ledger, Refusal, Reply, Request, Verdict, Wish};

/// The version that this program sends.
pub const VERSION: u8 = 1;
/// Bytes of a request of this version, tag included.
pub const REQUEST_LEN: usize = HEADER_LEN + 2 + 8 + 8 + 8 + 9 + 8 + 8 + TAG_LEN;
/// Bytes of a reply of this version, tag included.
pub const REPLY_LEN: usize = HEADER_LEN + 2 + 8 + 8 + 8 + 1 + 1 + 9 + 8 + 1 + TAG_LEN;
const _: () = assert!(REPLY_LEN <= REQUEST_LEN);

const MAGIC: [u8; 4] = *b"duow";
const HEADER_LEN: usize = 24;

#[derive(Clone, Copy)]
enum Kind {
    Request = 1,
    Reply = 2,
}

mod flag {
    pub const HOLDER: u8 = 1 << 0;
    pub const RELEASED: u8 = 1 << 1;
    pub const EXCLUDED: u8 = 1 << 2;
    pub const ALL: u8 = HOLDER | RELEASED | EXCLUDED;
}

const WISHES: [Wish; 6] = [
    Wish::Query,
    Wish::Grant { despite_exclusion: false },
    Wish::Grant { despite_exclusion: true },
    Wish::Exclude,
    Wish::Clear,
    Wish::Release,
];

const VERDICTS: [Verdict; 7] = [
    Verdict::Introduced,
    Verdict::Done,
    Verdict::Refused(Refusal::LowerTerm),
    Verdict::Refused(Refusal::HeldByPeer),
    Verdict::Refused(Refusal::Excluded),
    Verdict::Refused(Refusal::NotHolder),
    Verdict::Refused(Refusal::NoMemory),
];

/// A datagram whose pair and length are known, and whose tag nobody has looked at yet.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The pair that it names.
    pub pair: [u8; PairTag::LEN],
    tagged: &'a [u8],
    tag: &'a [u8],
}

/// Writes a request into `into`, replacing what was there.
pub fn encode_request(request: &Request, pair: &PairTag, key: &Key, into: &mut Vec<u8>) {
    header(Kind::Request, REQUEST_LEN, pair, into);
    let mut out = Writer(into);
    out.u8(request.node.index() as u8);
    out.u8(number(&WISHES, request.wish));
    out.u64(request.session.0);
    out.u64(request.sequence);
    out.u64(request.ticket);
    write_term(&mut out, request.term);
    out.u64(nanos(request.grant));
    out.u64(nanos(request.certificate));
    seal(REQUEST_LEN, key, into);
}

/// Writes a reply into `into`, replacing what was there.
pub fn encode_reply(reply: &Reply, pair: &PairTag, key: &Key, into: &mut Vec<u8>) {
    header(Kind::Reply, REPLY_LEN, pair, into);
    let mut out = Writer(into);
    out.u8(reply.node.index() as u8);
    out.u8(number(&VERDICTS, reply.verdict));
    out.u64(reply.session.0);
    out.u64(reply.sequence);
    out.u64(reply.ticket);
    write_ledger(&mut out, &reply.ledger);
    seal(REPLY_LEN, key, into);
}

/// Looks at what costs nothing: is this a request at all, and of which pair?
///
/// # Errors
/// `TooShort`, `Magic` or `Version`.
pub fn sealed_request(datagram: &[u8]) -> Result<Sealed<'_>, Refused> {
    open_header(datagram, Kind::Request, REQUEST_LEN)
}

/// Opens a request whose pair is the one that `keys` are of; returns the key that it was signed
/// with, which the asker knows for certain.
///
/// # Errors
/// `WrongKey` or `Malformed`.
pub fn open_request<'k>(
    sealed: &Sealed<'_>,
    keys: &'k Keys,
) -> Result<(Request, &'k Key), Refused> {
    let key = keys.fitting(sealed.tagged, sealed.tag).ok_or(Refused::WrongKey)?;
    let mut from = sealed.fields()?;
    let node = one_of(&NodeId::ALL, from.u8()?)?;
    let wish = one_of(&WISHES, from.u8()?)?;
    let (session, sequence) = (Session(from.u64()?), from.u64()?);
    if sequence == 0 {
        return Err(Refused::Malformed);
    }
    let request = Request {
        node,
        session,
        sequence,
        ticket: from.u64()?,
        term: read_term(&mut from)?,
        grant: Duration::from_nanos(from.u64()?),
        certificate: Duration::from_nanos(from.u64()?),
        wish,
    };
    Ok((request, key))
}

/// Opens a reply to the node and session `own`.
///
/// # Errors
/// The first thing that is wrong with it; `UnknownSession` for an answer to the peer, or to an
/// earlier life of this node.
pub fn decode_reply(
    datagram: &[u8],
    pair: &PairTag,
    keys: &Keys,
    own: (NodeId, Session),
) -> Result<Reply, Refused> {
    let sealed = open_header(datagram, Kind::Reply, REPLY_LEN)?;
    if sealed.pair != *pair.as_bytes() {
        return Err(Refused::WrongPair);
    }
    if !keys.verify(sealed.tagged, sealed.tag) {
        return Err(Refused::WrongKey);
    }
    let mut from = sealed.fields()?;
    let node = one_of(&NodeId::ALL, from.u8()?)?;
    let verdict = one_of(&VERDICTS, from.u8()?)?;
    let reply = Reply {
        node,
        verdict,
        session: Session(from.u64()?),
        sequence: from.u64()?,
        ticket: from.u64()?,
        ledger: read_ledger(&mut from)?,
    };
    if (reply.node, reply.session) != own {
        return Err(Refused::UnknownSession);
    }
    Ok(reply)
}

impl<'a> Sealed<'a> {
    /// Whose request it claims to be. Nothing proves it yet: good only to tell who may have to wait.
    pub fn says(&self) -> Option<(NodeId, Session)> {
        let mut from = self.fields().ok()?;
        let node = one_of(&NodeId::ALL, from.u8().ok()?).ok()?;
        let _wish = from.u8().ok()?;
        Some((node, Session(from.u64().ok()?)))
    }

    fn fields(&self) -> Result<Reader<'a>, Refused> {
        self.tagged.get(HEADER_LEN..).map(Reader::new).ok_or(Refused::TooShort)
    }
}

fn header(kind: Kind, length: usize, pair: &PairTag, into: &mut Vec<u8>) {
    into.clear();
    let mut out = Writer(into);
    out.array(&MAGIC);
    out.u8(VERSION);
    out.u8(kind as u8);
    out.u16((length - TAG_LEN) as u16);
    out.array(pair.as_bytes());
}

fn seal(length: usize, key: &Key, into: &mut Vec<u8>) {
    debug_assert_eq!(into.len(), length - TAG_LEN);
    let tag = key.tag(into);
    into.extend_from_slice(&tag);
}

fn open_header(datagram: &[u8], kind: Kind, shortest: usize) -> Result<Sealed<'_>, Refused> {
    let mut header = Reader::new(datagram);
    if header.array::<4>()? != MAGIC {
        return Err(Refused::Magic);
    }
    let version = header.u8()?;
    if header.u8()? != kind as u8 {
        return Err(Refused::Magic);
    }
    if version == 0 || version.abs_diff(VERSION) > 1 {
        return Err(Refused::Version);
    }
    let length = usize::from(header.u16()?);
    let pair = header.array::<{ PairTag::LEN }>()?;
    if length + TAG_LEN < shortest {
        return Err(Refused::TooShort);
    }
    let tagged = datagram.get(..length).ok_or(Refused::TooShort)?;
    let tag = datagram.get(length..length + TAG_LEN).ok_or(Refused::TooShort)?;
    Ok(Sealed { pair, tagged, tag })
}

fn write_ledger(out: &mut Writer<'_>, ledger: &Ledger) {
    let holder = ledger.holder;
    let mut flags = 0;
    flags |= if holder.is_some() { flag::HOLDER } else { 0 };
    flags |= if holder.is_some_and(|holder| holder.released) { flag::RELEASED } else { 0 };
    flags |= if ledger.excluded.is_some() { flag::EXCLUDED } else { 0 };
    out.u8(flags);
    out.u8(holder.map_or(0, |holder| holder.node.index() as u8));
    write_term(out, ledger.term());
    out.u64(holder.map_or(0, |holder| nanos(holder.grant)));
    out.u8(ledger.excluded.map_or(0, |node| node.index() as u8));
}

fn read_ledger(from: &mut Reader<'_>) -> Result<Ledger, Refused> {
    let flags = from.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let holder = Holder {
        node: one_of(&NodeId::ALL, from.u8()?)?,
        term: read_term(from)?,
        grant: Duration::from_nanos(from.u64()?),
        released: has(flag::RELEASED),
    };
    let excluded = one_of(&NodeId::ALL, from.u8()?)?;
    if flags & !flag::ALL != 0 || has(flag::RELEASED) && !has(flag::HOLDER) {
        return Err(Refused::Malformed);
    }
    Ok(Ledger {
        holder: has(flag::HOLDER).then_some(holder),
        excluded: has(flag::EXCLUDED).then_some(excluded),
    })
}

/// Where it stands in its list; each list above has every value.
fn number<T: PartialEq>(all: &[T], value: T) -> u8 {
    all.iter().position(|other| *other == value).map_or(u8::MAX, |at| at as u8)
}
