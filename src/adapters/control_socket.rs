//! The daemon's Unix socket: who may open it, who may ask for what, one line each way.
//!
//! It owns access, limits and the socket's place in the file system; what a verb means is the
//! daemon's. Bounded in line length, time and number of connections, apart for the users who may
//! change something and the others, so that these cannot keep those out.

mod client;
mod message;

use std::fs::{File, OpenOptions, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::client::{AskError, ask};
pub use self::message::{Reply, Request, Verb};

/// Longest request, in bytes, its line feed included.
const LINE: u64 = 64 * 1024;
/// For a request to arrive, and for a reply to be taken.
const TRANSFER: Duration = Duration::from_secs(5);
/// For the daemon to answer; a planned switchover is inside.
const HANDLING: Duration = Duration::from_secs(120);
/// Connections at once, for each of the two kinds of user.
const CONNECTIONS: usize = 16;

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("{0}: another daemon is running with this socket; stop it, or set another `socket`")]
    InUse(PathBuf),
    /// Something that is not a socket has that name.
    #[error("{0} is there and is not a socket; remove it, or set another `socket`")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {what} {path}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A listening control socket; dropping it removes it from the file system.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Locked as long as this daemon lives; who holds the lock may replace the socket.
    _lock: File,
}

impl ControlSocket {
    /// Makes the socket at `path`, mode 0660, belonging to `group` when given, and its directory,
    /// mode 0755, when it is missing. A dead daemon's socket is replaced.
    ///
    /// # Errors
    /// A living daemon has it, or the system refused; see [`ListenError`].
    pub fn listen(path: &Path, group: Option<u32>) -> Result<ControlSocket, ListenError> {
        let system = |what, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| ListenError::System { what, path, source }
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            std::fs::create_dir_all(directory).map_err(system("make", directory))?;
            // Whatever the umask: who may ask is the socket's business.
            std::fs::set_permissions(directory, Permissions::from_mode(0o755))
                .map_err(system("set the mode of", directory))?;
        }
        let lock = lock(path)?;
        refuse_if_alive(path)?;
        // Made beside its place and moved there complete: nobody ever meets it with other rights,
        // or meets none.
        let made = path.with_extension(format!("new-{}", std::process::id()));
        remove(&made).map_err(system("remove", &made))?;
        let listener = UnixListener::bind(&made).map_err(system("make", &made))?;
        let placed = std::os::unix::fs::chown(&made, None, group)
            .and_then(|()| std::fs::set_permissions(&made, Permissions::from_mode(0o660)))
            .and_then(|()| std::fs::metadata(&made).map(|found| found.ino()))
            .and_then(|inode| std::fs::rename(&made, path).map(|()| inode));
        match placed {
            Ok(inode) => Ok(ControlSocket { listener, path: path.to_owned(), inode, _lock: lock }),
            Err(source) => {
                remove(&made).map_err(system("remove", &made))?;
                Err(system("put in place", path)(source))
            }
        }
    }

    /// Answers requests until it is dropped. `answer` is called for requests that this user may
    /// make, several at once; a request whose client has gone is still carried out.
    pub async fn serve<H, F>(self, answer: H)
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let answer = Arc::new(answer);
        let own = rustix::process::geteuid().as_raw();
        let owners = Arc::new(Semaphore::new(CONNECTIONS));
        let others = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = match self.listener.accept().await {
                Ok((stream, _)) => stream.peer_cred().map(|peer| (stream, peer.uid())),
                Err(error) => Err(error),
            };
            let (stream, uid) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    // Out of descriptors, accept would fail again at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let room = if uid == 0 || uid == own { &owners } else { &others };
            let Ok(place) = Arc::clone(room).try_acquire_owned() else {
                refuse_full(stream);
                continue;
            };
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                converse(stream, uid, own, &*answer).await;
                drop(place);
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Only our own: an administrator may have moved things meanwhile. The lock file stays;
        // removing it would let two daemons lock two different files.
        if std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode)
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

fn lock(socket: &Path) -> Result<File, ListenError> {
    let path = socket.with_extension("lock");
    let system = |source| ListenError::System { what: "lock", path: path.clone(), source };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // Readable by nobody else: whoever can open it can lock it.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(system)?;
    // Of the process (F_SETLK, fcntl_locking(2)), not of the open file: a child that was just
    // forked must not hold it on.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(ListenError::InUse(socket.to_owned()))
        }
        Err(error) => Err(system(error.into())),
    }
}

/// Somebody may listen there who does not know the lock.
fn refuse_if_alive(path: &Path) -> Result<(), ListenError> {
    let system = |what, source| ListenError::System { what, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(system("see whether somebody listens at", error)),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refuse_full(stream: UnixStream) {
    tracing::warn!("control socket: too many connections");
    let line = Reply::Refused("too many connections".into()).to_line();
    // A fresh connection's buffer has room, and it does not block (the runtime's own stream would
    // first wait to be told so). If it fails all the same, the client sees the connection end.
    let _ = stream.into_std().and_then(|mut stream| io::Write::write_all(&mut stream, &line));
}

async fn converse<H, F>(mut stream: UnixStream, uid: u32, own: u32, answer: &H)
where
    H: Fn(Request) -> F,
    F: Future<Output = Reply>,
{
    let request = match timeout(TRANSFER, read_line(&mut stream)).await {
        Ok(Ok(line)) => Request::read(&line, uid, own),
        Ok(Err(error)) => Err(Reply::Refused(error.to_string())),
        Err(_) => Err(Reply::Refused(format!("no request within {} s", TRANSFER.as_secs()))),
    };
    let reply = match request {
        Ok(request) => {
            if request.verb.changes() {
                tracing::info!(uid, verb = request.verb.word(), "asked");
            }
            timeout(HANDLING, answer(request)).await.unwrap_or_else(|_| {
                Reply::Refused(format!("not answered within {} s", HANDLING.as_secs()))
            })
        }
        Err(reply) => {
            tracing::debug!(uid, ?reply, "request not taken");
            reply
        }
    };
    let written = timeout(TRANSFER, async {
        stream.write_all(&reply.to_line()).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!(uid, %error, "a client did not wait for its answer");
    }
}

/// One line, or everything up to the end of the input.
async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut limited = stream.take(LINE);
    let mut buffer = [0; 4096];
    loop {
        let read = limited.read(&mut buffer).await?;
        match buffer[..read].iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                line.extend_from_slice(&buffer[..end]);
                return Ok(line);
            }
            None => line.extend_from_slice(&buffer[..read]),
        }
        if read == 0 {
            if limited.limit() == 0 {
                return Err(io::Error::other(format!("a request has at most {LINE} bytes")));
            }
            return Ok(line);
        }
    }
}
