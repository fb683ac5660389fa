//! The daemon: the only room that joins the protocol, the pulse and the adapters.
//!
//! The pulse thread decides and does what is urgent. Everything slow runs here, on one tokio
//! thread, and reports to it: `work.rs` carries out the node's actions, `journal.rs` writes what
//! happened and `history.rs` keeps it, `telling.rs` tells hooks and people of it, `answer.rs` tells
//! who asks, `orders.rs`, `maintenance.rs` and `recover.rs` do what they order, `lists.rs` and
//! `takeovers.rs` know what lived on a dead host, `checks.rs` and `gateways.rs` ask over the LAN,
//! `leaving.rs` ends in order, `dead_man.rs` stops the database of a daemon that is no more.

pub mod alerts;
mod answer;
mod arbiters;
mod asked;
mod backlog;
mod change;
mod checks;
pub mod dead_man;
mod explain;
mod failback_hours;
pub mod fence;
mod gateways;
mod history;
pub mod hooks;
mod journal;
mod leaving;
mod lists;
mod maintenance;
mod offers;
mod orders;
mod recorder;
mod recover;
mod reload;
mod status;
mod takeovers;
mod telling;
mod timeline;
mod watchdog;
mod witness;
mod work;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::adapters::clock;
use crate::adapters::control_socket::{ControlSocket, ListenError};
use crate::adapters::history_file::HistoryFile;
use crate::adapters::live::Who;
use crate::adapters::owner::{self, Refused, Resource};
use crate::adapters::postgres::Database;
use crate::adapters::service_manager::{Manager, Notice};
use crate::adapters::services::Services;
use crate::adapters::state_file::{OpenError, StateFile};
use crate::adapters::systemd::Systemd;
use crate::config::check::Seen;
use crate::config::{Config, Mode, Runner};
use crate::protocol::durable::Durable;
use crate::protocol::identity::{GroupId, Session};
use crate::protocol::node::Setup;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;
use crate::protocol::timing::Timing;
use crate::pulse::exchange::{Exchange, Identity};
use crate::pulse::lan::Lan;
use crate::pulse::links::Links;
use crate::pulse::netlink::NetlinkError;
use crate::pulse::queue::{Letter, Post};
use crate::pulse::witness_link::WitnessLink;
use crate::pulse::{self, Pulse};
use crate::wire::{Key, Keys, PairTag};

use self::journal::Journal;
use self::watchdog::HostWatchdog;

use self::work::Work;

/// Of the state directory: what the next life, or the dead man, must know about the services.
const RECORDS: &str = "services";

/// The unit of the daemon, as it is shipped.
const DAEMON_UNIT: &str = "duotone.service";

/// Where the configuration came from, to read it again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The node's name, when the command line gave it.
    pub node: Option<String>,
}

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A heartbeat key.
    #[error("{0}")]
    Key(String),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] ListenError),
    /// A cluster's agent manages something of this node's.
    #[error(transparent)]
    Owned(#[from] Refused),
    /// The kernel's view of the network.
    #[error("the LAN cannot be watched: {0}; duotone needs CAP_NET_ADMIN and CAP_NET_RAW")]
    Network(#[from] NetlinkError),
    /// The system refused something that a daemon needs.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The pulse ended by itself; whoever started the daemon must release the addresses.
    #[error("the real-time thread has ended: {0}")]
    Pulse(String),
}

/// What the slow world's parts share; held for moments only, never by the pulse.
pub(crate) struct Shared {
    pub config: Mutex<Config>,
    pub source: Source,
    pub journal: Mutex<Journal>,
    pub services: Services,
    pub post: Post,
    pub maintenance: Mutex<Option<maintenance::Running>>,
    pub lists: lists::Lists,
    pub takeovers: takeovers::Takeovers,
}

impl Shared {
    /// How things stand; `None` before the pulse's first turn.
    fn status(&self) -> Option<Status> {
        self.status_since(Instant::ZERO)
    }

    /// The same, unless that was seen before `since`.
    fn status_since(&self, since: Instant) -> Option<Status> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = journal.latest.as_ref().filter(|snapshot| snapshot.at >= since);
        latest.map(|snapshot| snapshot.status.clone())
    }

    fn peer_name(&self) -> String {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).peer_name().to_owned()
    }

    fn state_dir(&self) -> PathBuf {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).state_dir.clone()
    }

    fn watchdog(&self) -> Option<PathBuf> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).watchdog.clone()
    }

    fn timing(&self) -> Timing {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).timing
    }
}

/// Runs until told to stop (SIGTERM, SIGINT) or until it cannot go on.
///
/// # Errors
/// See [`Error`]; nothing is left held when it returns.
pub fn run(config: Config, source: Source) -> Result<(), Error> {
    let state = open_state(&config)?;
    let _owned = own(&config)?;
    let setup = setup(&config, &state)?;
    let identity = identity(&config, setup.session)?;
    let who = Who { node: config.me, pair: identity.pair, keys: identity.keys.clone() };
    let witness =
        (!config.witness.is_empty()).then(|| WitnessLink::open(&config.witness, identity.clone()));
    let exchange = Exchange::new(Links::open(&config.links), identity, config.timing.late_after);
    let socket = config.socket.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async move {
        // Before the pulse: a second daemon must not get as far as to claim anything.
        let socket = ControlSocket::listen(&socket, None)?;
        prepare_interface(&config);
        let lan = Lan::open(GroupId::MAIN, &config.floating, &config.timing)?;
        let dead_man = dead_man::post(&config, &source).map_err(system("starting the dead man"))?;
        let (running, mut letters) = maintenance::at_start(&config);
        let barred = failback_hours::at_start(&config);
        let failback_open = barred.is_none();
        letters.extend(barred);
        let (pulse, outlets) = pulse::start(setup, exchange, lan, witness, letters)
            .map_err(system("starting the real-time thread"))?;
        let services = Services::supervise(config.services.clone(), config.state_dir.join(RECORDS));
        let shared = Arc::new(Shared {
            journal: Mutex::new(Journal::new(&config)),
            services,
            post: pulse.post(),
            source,
            maintenance: Mutex::new(running),
            lists: lists::Lists::new(),
            takeovers: Mutex::new(takeovers::at_start(&config.state_dir)),
            config: Mutex::new(config),
        });
        tokio::task::spawn_local(maintenance::tend(Arc::clone(&shared)));
        tokio::task::spawn_local(failback_hours::tend(Arc::clone(&shared), failback_open));
        lists::begin(&shared, who);
        let work = Work::begin(&shared, state, outlets);
        tokio::task::spawn_local(socket.serve({
            let shared = Arc::clone(&shared);
            move |request| answer::answer(Arc::clone(&shared), request)
        }));
        // What may still be held is stopped by the dead man when this process has ended: there is time
        // for a recording only where nothing is.
        if tend(&shared, pulse, work).await? {
            dead_man.dismiss();
            recorder::end(&shared).await;
        }
        Ok(())
    }))
}

/// Signals, systemd's watchdog, and the end; true when everything was seen given up by then.
async fn tend(shared: &Arc<Shared>, pulse: Pulse, work: Work) -> Result<bool, Error> {
    let listen = |kind| signal(kind).map_err(system("listening for signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(Duration::from_secs(1), |limit| limit / 4);
    let mut tick = tokio::time::interval(every.max(Duration::from_millis(50)));
    let manager = Manager::begin();
    manager.tell(Notice::Ready);
    let mut beats = pulse.beats();
    let mut host = HostWatchdog::new(shared.watchdog());
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if !pulse.is_running() {
                    let why = pulse.join().err().map_or("it returned".into(), |died| died.to_string());
                    return Err(Error::Pulse(why));
                }
                let now = pulse.beats();
                if now != beats {
                    beats = now;
                    manager.tell(Notice::Alive);
                    let status = shared.status();
                    let patience = shared.timing().step_deadline;
                    let fed = host.tend(status.as_ref(), clock::now(), patience);
                    shared.journal.lock().unwrap_or_else(PoisonError::into_inner).watchdog = fed;
                }
            }
            _ = hangup.recv() => {
                match reload::reload(shared) {
                    Ok(done) => tracing::info!("reload: {done}"),
                    Err(refused) => tracing::error!("reload refused: {refused}"),
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    manager.tell(Notice::Ending);
    let left = leaving::leave(shared, work).await;
    if left {
        host.disarm();
    }
    // The pulse has nothing left to hold; if it cannot be told, it has ended.
    if shared.post.send(Letter::Stop).is_ok() {
        pulse.join().map_err(|died| Error::Pulse(died.to_string()))?;
    }
    Ok(left)
}

/// Where the interface is the role, whoever joins has it as a standby keeps it, bare or down: an
/// interface that the system brought up at boot holds no address, so nothing else would touch it.
fn prepare_interface(config: &Config) {
    match config.floating.mode {
        Mode::Interface { .. } => {
            if let Err(trouble) = pulse::address::release_all(&config.floating) {
                tracing::warn!("LAN: {trouble}");
            }
        }
        Mode::Address => {}
    }
}

/// What the database server lacks for a pair, for `config check`.
///
/// # Errors
/// The system gives no runtime to ask with.
pub fn check_database(config: &Config) -> std::io::Result<Seen> {
    let Some(postgres) = &config.postgres else { return Ok(Seen::default()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut database = Database::new(postgres, &config.timing, &config.names, config.me);
    let found = runtime.block_on(database.check_host());
    let (notes, findings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| finding.is_note());
    let said = |found: Vec<_>| found.iter().map(ToString::to_string).collect();
    Ok(Seen { findings: said(findings), notes: said(notes) })
}

/// What systemd says of the units of services, for `config check`.
///
/// # Errors
/// The system gives no runtime to ask with.
pub fn check_units(config: &Config) -> std::io::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut seen, systemd) = (Seen::default(), Systemd::default());
    for service in &config.services {
        let of = |said: String| format!("service {}: {said}", service.name);
        match &service.runner {
            Runner::Unit(unit) => {
                let checked = async { systemd.unit(unit).await.check(DAEMON_UNIT).await };
                match runtime.block_on(checked) {
                    Ok((wrong, notes)) => {
                        seen.findings.extend(wrong.map(of));
                        seen.notes.extend(notes.into_iter().map(of));
                    }
                    Err(error) => seen.findings.push(of(format!("{unit} was not looked at: {error}"))),
                }
            }
            Runner::Daemon if service.limits.memory.is_some() => seen.notes.push(of(
                "limits.memory holds for a child of the daemon only where the memory controller is \
                 on in its control group; write run = \"unit\""
                    .to_owned(),
            )),
            Runner::Daemon | Runner::TransientUnit => {}
        }
    }
    Ok(seen)
}

/// The dead man of an earlier life holds the lock for a moment each time that it looks whether a
/// daemon has it; another daemon holds it for good.
fn open_state(config: &Config) -> Result<StateFile, OpenError> {
    match StateFile::open(&config.state_dir) {
        Err(OpenError::InUse(_)) => {
            std::thread::sleep(Duration::from_millis(10));
            StateFile::open(&config.state_dir)
        }
        opened => opened,
    }
}

/// What this node manages is nobody else's while the value lives. Where that cannot be written
/// down, no agent can be told; a pair without a cluster is not to stand still for that.
fn own(config: &Config) -> Result<Option<owner::Held>, Refused> {
    let addresses = config.floating.addresses.iter().map(|(ip, _)| Resource::Address(*ip));
    let database = config.postgres.iter().map(|it| Resource::DataDirectory(it.data_dir.clone()));
    let commands = config.services.iter().filter(|it| !it.command.is_empty());
    let services = commands.map(|it| Resource::Command(it.command.clone()));
    let all: Vec<Resource> = addresses.chain(database).chain(services).collect();
    match owner::hold(&all) {
        Err(Refused::Io(error)) => {
            tracing::warn!("a cluster's agents cannot be kept away: {error}");
            Ok(None)
        }
        held => held.map(Some),
    }
}

fn setup(config: &Config, state: &StateFile) -> Result<Setup, Error> {
    let durable = match state.load() {
        Ok(found) => Some(found.unwrap_or(Durable::FRESH)),
        Err(damaged) => {
            tracing::error!(
                "{damaged}; this node is held; `duotone recover` puts {} aside, if the peer has all data",
                state.path().display()
            );
            None
        }
    };
    let session = getrandom::u64().map_err(|error| Error::System {
        what: "drawing a session number",
        error: std::io::Error::other(error.to_string()),
    })?;
    Ok(Setup {
        me: config.me,
        session: Session(session),
        timing: config.timing,
        durability: config.durability,
        database: config.postgres.is_some(),
        rejoin: true,
        groups: 1,
        refresh: (!config.floating.refresh.is_zero()).then_some(config.floating.refresh),
        durable,
        software: software(),
        config_hash: config.hash,
        dark_standby: config.floating.mode == Mode::Interface { bare: false },
        references: !config.floating.references.is_empty(),
        policy: config.policy,
        arbitration: config.arbitration,
    })
}

/// The newest so many entries of the history in a state directory, as the daemon would give them.
///
/// # Errors
/// A file is there and cannot be read.
pub fn history(directory: &Path, newest: usize) -> std::io::Result<serde_json::Value> {
    HistoryFile::new(directory).read().map(|found| history::data(found, newest))
}

fn identity(config: &Config, session: Session) -> Result<Identity, Error> {
    let key = |path: &PathBuf| {
        crate::config::key::read(path)
            .map(|bytes| Key::new(&bytes))
            .map_err(|error| Error::Key(error.to_string()))
    };
    let keys = Keys {
        current: key(&config.key_file)?,
        old: config.old_key_file.as_ref().map(key).transpose()?,
    };
    Ok(Identity { node: config.me, session, pair: PairTag::of(&config.pair), keys })
}

/// This program's version, as heartbeats carry it.
pub(crate) fn software() -> [u16; 3] {
    let part = |text: &str| text.parse().unwrap_or(0);
    [
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    ]
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::System { what, error }
}
