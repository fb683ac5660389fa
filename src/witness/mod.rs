//! The witness: a small service on a third host that grants the role of each pair to one node at a
//! time. The rule is [`crate::protocol::witness`]; here are its socket, its disk and its people.
//!
//! One thread does everything in the order in which it came: a request is judged, made durable and
//! answered before the next one is read. Only a change of a ledger touches the disk.

pub mod limit;
pub mod service;
mod sockets;
mod status;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::adapters::clock;
use crate::adapters::control_socket::{ControlSocket, ListenError, Reply, Request, Verb};
use crate::adapters::service_manager::{Manager, Notice};
use crate::config::WitnessConfig;

use self::service::{BeginError, Service};
use self::sockets::Socket;

/// Why the witness could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys or ledgers.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] ListenError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system refused something else.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Runs until told to stop (SIGTERM, SIGINT).
///
/// # Errors
/// See [`Error`].
pub fn run(config: &WitnessConfig) -> Result<(), Error> {
    let service = Service::begin(config, clock::now())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(serve(config, service)))
}

async fn serve(config: &WitnessConfig, service: Service) -> Result<(), Error> {
    let control = ControlSocket::listen(&config.socket, None)?;
    let service = Arc::new(Mutex::new(service));
    let mut listening = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        let opened = Socket::open(*address, &config.listen);
        let socket = opened.map_err(|error| Error::Listen { address: *address, error })?;
        tracing::info!("listening on {}", socket.address());
        listening.push(socket);
    }
    let addresses: Rc<[SocketAddr]> = listening.iter().map(Socket::address).collect();
    for socket in listening {
        tokio::task::spawn_local(socket.serve(Arc::clone(&service)));
    }
    tokio::task::spawn_local(control.serve({
        let (service, addresses) = (Arc::clone(&service), Vec::from(&*addresses));
        move |request: Request| {
            let reply = asked(&service, &addresses, &request);
            async move { reply }
        }
    }));
    tracing::info!("serving {} pair(s)", config.pairs.len());
    until_told().await
}

fn asked(service: &Mutex<Service>, addresses: &[SocketAddr], request: &Request) -> Reply {
    match request.verb {
        Verb::Status => {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner);
            Reply::Done(status::data(&service, addresses, clock::now()))
        }
        other => Reply::Refused(format!("a witness has no {}", other.word())),
    }
}

/// Feeds systemd's watchdog from the thread that answers: when that hangs, nobody feeds it.
async fn until_told() -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(system("listening for signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let every = sd_notify::watchdog_enabled().map_or(Duration::from_secs(5), |limit| limit / 4);
    let mut tick = tokio::time::interval(every.max(Duration::from_millis(50)));
    let manager = Manager::begin();
    manager.tell(Notice::Ready);
    loop {
        tokio::select! {
            _ = tick.tick() => manager.tell(Notice::Alive),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    manager.tell(Notice::Ending);
    tracing::info!("told to stop");
    Ok(())
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::System { what, error }
}
