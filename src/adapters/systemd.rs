//! systemd's manager over D-Bus: the way to it, and its signals. `systemd/unit.rs` is one unit.
//!
//! Over the system's message bus. By level: a signal only says that a unit is to be looked at, and
//! what is believed is what the manager answers then. When the bus is gone, or the manager has left
//! it (`daemon-reexec`), the connection is made again, and then every unit is looked at again.

mod properties;
pub mod record;
mod transient;
mod unit;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::UnixStream;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};
use zbus::connection::{Builder, Connection};
use zbus::message::{Message, Type};
use zbus::zvariant::OwnedObjectPath;
use zbus::{MatchRule, MessageStream};

pub use self::properties::Standing;
pub use self::transient::{own_unit, unit_of};
pub use self::unit::{Unit, stop_recorded};

/// Below the root directory: where the message bus listens.
const SOCKET: &str = "run/dbus/system_bus_socket";
/// The manager's name on it.
const NAME: &str = "org.freedesktop.systemd1";
/// The manager's object.
const MANAGER: &str = "/org/freedesktop/systemd1";
/// Its interface.
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
/// A manager that says nothing for so long cannot be asked. It answers while units start and stop;
/// reading all unit files again takes it a second on a slow host.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Between two attempts to reach it: first, and longest.
const TRY_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Signals that a unit may leave unread; one that has missed some looks again.
const UNREAD: usize = 256;

/// Why the manager did not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers: nothing is known.
    #[error("cannot reach systemd: {0}")]
    Unreachable(String),
    /// It says no.
    #[error("{0}")]
    Refused(String),
}

/// The way to the manager; clones share one connection, which is made at the first use.
#[derive(Clone, Debug)]
pub struct Systemd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    link: OnceLock<Link>,
}

impl Default for Systemd {
    /// This host's.
    fn default() -> Systemd {
        Systemd::below(Path::new("/"))
    }
}

impl Systemd {
    /// The manager of a host whose root directory is seen at `root`.
    #[must_use]
    pub fn below(root: &Path) -> Systemd {
        Systemd(Arc::new(Shared { root: root.to_owned(), link: OnceLock::new() }))
    }

    /// A unit of it, looked at for the first time.
    pub async fn unit(&self, name: &str) -> Unit {
        let mut unit = Unit::new(self.link().clone(), self.0.root.join("sys/fs/cgroup"), name);
        unit.look().await;
        unit
    }

    fn link(&self) -> &Link {
        self.0.link.get_or_init(|| Link::begin(self.0.root.join(SOCKET)))
    }
}

/// What units share: the present connection, and what is heard on it.
#[derive(Clone, Debug)]
struct Link {
    /// `None` before the first attempt has ended.
    connection: watch::Receiver<Option<Result<Connection, String>>>,
    news: broadcast::Sender<News>,
    /// Somebody had no answer: the connection is to be made anew.
    mute: Arc<Notify>,
}

/// A reason to look at a unit again.
#[derive(Clone, Debug)]
enum News {
    /// Something of the unit with this object path has changed.
    Changed(String),
    /// A job of this unit has ended so: `done`, `failed`, `dependency`, …
    Job { unit: String, result: String },
    /// The manager has read its files again.
    Reloaded,
}

impl Link {
    fn begin(socket: PathBuf) -> Link {
        let (state, connection) = watch::channel(None);
        let link = Link { connection, news: broadcast::channel(UNREAD).0, mute: Arc::default() };
        tokio::spawn(hold(socket, state, link.news.clone(), Arc::clone(&link.mute)));
        link
    }
}

/// Holds a connection for as long as anybody wants one.
async fn hold(
    socket: PathBuf,
    state: watch::Sender<Option<Result<Connection, String>>>,
    news: broadcast::Sender<News>,
    mute: Arc<Notify>,
) {
    let mut pause = TRY_EVERY.0;
    while !state.is_closed() {
        let attempt = timeout(ANSWERS_WITHIN, connect(&socket)).await;
        let why = match attempt {
            Ok(Ok((connection, signals))) => {
                pause = TRY_EVERY.0;
                state.send_replace(Some(Ok(connection)));
                tokio::select! {
                    () = relay(signals, &news) => "it has left the bus, or the bus is gone".to_owned(),
                    () = mute.notified() => "no answer".to_owned(),
                    () = state.closed() => return,
                }
            }
            Ok(Err(error)) => format!("{}: {}", socket.display(), text(error)),
            Err(_) => format!("{}: no answer", socket.display()),
        };
        state.send_if_modified(|state| {
            let changed = !matches!(state, Some(Err(old)) if *old == why);
            *state = Some(Err(why));
            changed
        });
        sleep(pause).await;
        pause = (pause * 2).min(TRY_EVERY.1);
    }
}

async fn connect(socket: &Path) -> zbus::Result<(Connection, [MessageStream; 2])> {
    let stream = UnixStream::connect(socket).await?;
    let connection = Builder::unix_stream(stream).method_timeout(ANSWERS_WITHIN).build().await?;
    // Who is heard is not asked: a signal of a stranger is a look too many, and nothing more.
    let of_manager = MatchRule::builder().msg_type(Type::Signal).path_namespace(MANAGER)?.build();
    let of_manager = MessageStream::for_match_rule(of_manager, &connection, Some(UNREAD)).await?;
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface("org.freedesktop.DBus")?
        .member("NameOwnerChanged")?
        .arg(0, NAME)?
        .build();
    let owner = MessageStream::for_match_rule(owner, &connection, None).await?;
    connection.call_method(Some(NAME), MANAGER, Some(INTERFACE), "Subscribe", &()).await?;
    Ok((connection, [of_manager, owner]))
}

/// Passes on what is heard until the connection ends, or another manager takes the name.
async fn relay([mut signals, mut owner]: [MessageStream; 2], news: &broadcast::Sender<News>) {
    loop {
        tokio::select! {
            signal = signals.next() => {
                let Some(Ok(signal)) = signal else { return };
                if let Some(heard) = heard(&signal) {
                    // Without a unit that listens there is nobody to tell.
                    let _ = news.send(heard);
                }
            }
            _another = owner.next() => return,
        }
    }
}

fn heard(signal: &Message) -> Option<News> {
    let header = signal.header();
    match header.member()?.as_str() {
        "PropertiesChanged" => Some(News::Changed(header.path()?.to_string())),
        "JobRemoved" => {
            let body = signal.body();
            let job: Result<(u32, OwnedObjectPath, String, String), _> = body.deserialize();
            let (_, _, unit, result) = job.ok()?;
            Some(News::Job { unit, result })
        }
        "Reloading" => Some(News::Reloaded),
        _ => None,
    }
}

/// What an error says to people; a refusal without its D-Bus name.
fn text(error: zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text,
        zbus::Error::InputOutput(error) => error.to_string(),
        other => other.to_string(),
    }
}
