//! What becomes of one datagram: authentic or not, judged by the rule, durable, answered.
//!
//! It knows no socket: bytes and a source come in, bytes for that source go out. The disk is behind
//! [`StateDirectory`]; what is not on it is not answered.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::limit::Limits;
use crate::adapters::ledger_file;
use crate::adapters::state_directory::{self, OpenError, StateDirectory};
use crate::config::key::{self, KeyError};
use crate::config::{WitnessConfig, WitnessPair};
use crate::protocol::identity::Session;
use crate::protocol::time::Instant;
use crate::protocol::witness::{Ledger, Refusal, Request, Verdict, Wish, Witness};
use crate::wire::witness::{encode_reply, open_request, sealed_request};
use crate::wire::{Key, Keys, PairTag, Refusals, Refused};

/// Why the witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A pair's key.
    #[error("pair {pair}: {error}")]
    Key {
        /// Whose.
        pair: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A damaged ledger could not be put aside, so that a new one would take its place unseen.
    #[error("pair {pair}: its ledger is damaged and cannot be put aside: {error}")]
    PutAside {
        /// Whose.
        pair: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Every pair, and what strangers may cost.
#[derive(Debug)]
pub struct Service {
    directory: StateDirectory,
    pairs: HashMap<[u8; PairTag::LEN], Pair>,
    limits: Limits,
    /// When this life began.
    pub started: Instant,
    /// What came of no pair, by reason.
    pub strangers: Refusals,
    /// Not looked at, because there was too much of it.
    pub limited: u64,
}

/// One pair.
#[derive(Debug)]
pub struct Pair {
    /// Its name.
    pub name: String,
    /// Its rule and ledger.
    pub witness: Witness,
    /// When the ledger last changed in this life.
    pub changed: Option<Instant>,
    /// Its nodes, as they were heard.
    pub nodes: [Heard; 2],
    /// What came in its name and was refused before the rule, by reason.
    pub refused: Refusals,
    /// What became of its wishes.
    pub counters: Counters,
    /// Why its ledger could not be written, since it could not.
    pub unwritable: Option<String>,
    tag: PairTag,
    keys: Keys,
    /// What is known to be on disk.
    on_disk: Option<Ledger>,
}

/// What was heard of a node in this life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// Its newest request, and where it came from.
    pub last: Option<(Instant, SocketAddr)>,
    /// Its session that has shown that it lives.
    session: Option<Session>,
}

/// What became of a pair's requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Authentic ones.
    pub requests: u64,
    /// Of these, answered.
    pub replies: u64,
    /// Of these, older than one that was heard, or recorded.
    pub stale: u64,
    /// Of these, granted or renewed.
    pub granted: u64,
    /// Of these, refused by the rule.
    pub refused: u64,
    /// Of these, not answered because the ledger could not be written.
    pub unwritten: u64,
    /// Ledgers written.
    pub written: u64,
}

/// Why a datagram was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unanswered {
    /// It is no request, not of a pair of this witness, or not authentic.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was too much from strangers.
    #[error("too many strangers")]
    Limited,
    /// Authentic, and older than one that was heard.
    #[error("recorded or overtaken")]
    Stale,
    /// The ledger could not be written.
    #[error("the ledger could not be written")]
    Unwritten,
    /// The kernel gave no random number.
    #[error("the kernel gives no random numbers")]
    NoRandom,
}

impl Service {
    /// Reads the keys and the ledgers; a damaged ledger is put aside, which is told.
    ///
    /// # Errors
    /// A key or the state directory cannot be used.
    pub fn begin(config: &WitnessConfig, now: Instant) -> Result<Service, BeginError> {
        let directory = StateDirectory::open(&config.state_dir)?;
        let mut pairs = HashMap::with_capacity(config.pairs.len());
        for pair in &config.pairs {
            let pair = Pair::begin(pair, &directory, now)?;
            pairs.insert(*pair.tag.as_bytes(), pair);
        }
        Ok(Service {
            directory,
            pairs,
            limits: Limits::new(now),
            started: now,
            strangers: Refusals::default(),
            limited: 0,
        })
    }

    /// Takes one datagram. When it returns `Ok`, `reply` is to be sent to its source, and everything
    /// that it says is on disk. `fresh` draws a random number.
    ///
    /// # Errors
    /// Why there is no reply; it has been counted.
    pub fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        fresh: fn() -> Option<u64>,
        reply: &mut Vec<u8>,
    ) -> Result<(), Unanswered> {
        let sealed = sealed_request(datagram).inspect_err(|why| self.strangers.count(*why))?;
        let Some(pair) = self.pairs.get_mut(&sealed.pair) else {
            self.strangers.count(Refused::WrongPair);
            return Err(Refused::WrongPair.into());
        };
        let known = sealed
            .says()
            .is_some_and(|(node, session)| pair.nodes[node.index()].session == Some(session));
        if !known && !self.limits.admit(now, from.ip()) {
            self.limited += 1;
            return Err(Unanswered::Limited);
        }
        let opened = open_request(&sealed, &pair.keys);
        let (request, key) = opened.inspect_err(|why| pair.refused.count(*why))?;
        let key = key.clone();
        let fresh = fresh().ok_or(Unanswered::NoRandom)?;
        pair.judge(now, from, &request, fresh, &self.directory, &key, reply)
    }

    /// The pairs, by name.
    pub fn pairs(&self) -> Vec<&Pair> {
        let mut pairs: Vec<&Pair> = self.pairs.values().collect();
        pairs.sort_by(|left, right| left.name.cmp(&right.name));
        pairs
    }

    /// Where the ledgers are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Pair {
    fn begin(
        config: &WitnessPair,
        directory: &StateDirectory,
        now: Instant,
    ) -> Result<Pair, BeginError> {
        let name = config.name.clone();
        let key = |path: &PathBuf| match key::read(path) {
            Ok(bytes) => Ok(Key::new(&bytes)),
            Err(error) => Err(BeginError::Key { pair: name.clone(), error }),
        };
        let current = key(&config.key_file)?;
        let old = config.old_key_file.as_ref().map(key).transpose()?;
        let tag = PairTag::of(&name);
        let ledger = match ledger_file::load(directory, &name, tag.as_bytes()) {
            Ok(ledger) => ledger,
            Err(damaged) => {
                let aside = state_directory::put_aside(directory.path(), &ledger_file::name(&name))
                    .map_err(|error| BeginError::PutAside { pair: name.clone(), error })?;
                tracing::error!(
                    "pair {name}: the ledger is damaged ({damaged}) and was moved to {}; nobody is \
                     granted the role until nothing of before can be in force",
                    aside.display()
                );
                None
            }
        };
        if let Some(ledger) = &ledger {
            tracing::info!("pair {name}: {}", told(ledger));
        }
        Ok(Pair {
            name,
            witness: Witness::new(ledger, now),
            changed: None,
            nodes: [Heard::default(); 2],
            refused: Refusals::default(),
            counters: Counters::default(),
            unwritable: None,
            tag,
            keys: Keys { current, old },
            on_disk: ledger,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn judge(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: &Request,
        fresh: u64,
        directory: &StateDirectory,
        key: &Key,
        into: &mut Vec<u8>,
    ) -> Result<(), Unanswered> {
        self.counters.requests += 1;
        let mut after = self.witness.clone();
        let Some(reply) = after.handle(now, request, fresh) else {
            self.counters.stale += 1;
            return Err(Unanswered::Stale);
        };
        // Also when an earlier write failed: then it is not known what is on disk.
        if self.on_disk != Some(*after.ledger()) {
            self.write(directory, after.ledger())?;
        }
        let before = *self.witness.ledger();
        self.witness = after;
        if before != reply.ledger {
            self.changed = Some(now);
            self.log_change(&before, &reply.ledger);
        }
        let heard = &mut self.nodes[request.node.index()];
        if reply.verdict != Verdict::Introduced {
            heard.session = Some(request.session);
            heard.last = Some((now, from));
        }
        self.counters.replies += 1;
        match (request.wish, reply.verdict) {
            (Wish::Grant { .. }, Verdict::Done) => self.counters.granted += 1,
            (_, Verdict::Refused(refusal)) => {
                self.counters.refused += 1;
                let why = sentence(refusal);
                tracing::debug!("pair {}: node {} is refused: {why}", self.name, request.node);
            }
            (_, Verdict::Done | Verdict::Introduced) => {}
        }
        encode_reply(&reply, &self.tag, key, into);
        Ok(())
    }

    /// The judgement that led to this ledger is dropped when it fails.
    fn write(&mut self, directory: &StateDirectory, ledger: &Ledger) -> Result<(), Unanswered> {
        self.on_disk = None;
        match ledger_file::save(directory, &self.name, self.tag.as_bytes(), ledger) {
            Ok(()) => {
                self.on_disk = Some(*ledger);
                self.counters.written += 1;
                if self.unwritable.take().is_some() {
                    tracing::info!("pair {}: the ledger can be written again", self.name);
                }
                Ok(())
            }
            Err(error) => {
                self.counters.unwritten += 1;
                let error = error.to_string();
                if self.unwritable.as_ref() != Some(&error) {
                    tracing::error!(
                        "pair {}: the ledger cannot be written: {error}; nothing is answered \
                         until it can",
                        self.name
                    );
                    self.unwritable = Some(error);
                }
                Err(Unanswered::Unwritten)
            }
        }
    }

    fn log_change(&self, before: &Ledger, after: &Ledger) {
        let name = &self.name;
        if before.holder != after.holder
            && let Some(holder) = after.holder
        {
            let node = holder.node;
            match (holder.released, before.holder.map(|before| before.node)) {
                (true, _) => tracing::info!("pair {name}: node {node} gave the role back"),
                (false, Some(other)) if other != node => tracing::warn!(
                    "pair {name}: node {node} is granted the role under term {}, after node {other}",
                    holder.term
                ),
                (false, _) => tracing::info!(
                    "pair {name}: node {node} is granted the role under term {}",
                    holder.term
                ),
            }
        }
        match (before.excluded, after.excluded) {
            (before, Some(node)) if before != Some(node) => {
                tracing::warn!("pair {name}: node {node} is excluded: it may lack rows");
            }
            (Some(node), None) => {
                tracing::info!("pair {name}: node {node} is excluded no longer");
            }
            (_, _) => {}
        }
    }
}

fn told(ledger: &Ledger) -> String {
    let holder = match ledger.holder {
        None => "nobody was granted the role yet".to_owned(),
        Some(holder) if holder.released => {
            format!("node {} gave the role back, term {}", holder.node, holder.term)
        }
        Some(holder) => format!("node {} holds the role, term {}", holder.node, holder.term),
    };
    match ledger.excluded {
        None => holder,
        Some(node) => format!("{holder}; node {node} is excluded"),
    }
}

/// Why a wish was refused, for people.
fn sentence(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::LowerTerm => "its term is lower than the one on record",
        Refusal::HeldByPeer => "the peer's grant may still be in force",
        Refusal::Excluded => "it was excluded: it may lack rows",
        Refusal::NotHolder => "only the holder may wish that",
        Refusal::NoMemory => "the witness lost its memory, and waits",
    }
}
