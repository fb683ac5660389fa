//! Who manages a floating address, a data directory or a service: the daemon or a cluster's agent,
//! never both.
//!
//! A small file per resource, in `/run/duotone-owners/` and there in a directory of the network
//! namespace. The daemon holds a lock on it for its life. An agent's process ends with each of its
//! actions, so it leaves a record, which is void after a boot. Agents among themselves are the
//! cluster's business, and daemons have the lock of their state directory.
#![allow(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::mem::size_of;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Not below the daemon's own directory: the service manager empties that one.
const DIRECTORY: &str = "/run/duotone-owners";
/// Another one's action has the lock for a moment; a daemon has it for good.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// What only one may manage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// A floating address.
    Address(IpAddr),
    /// A database cluster, by its directory.
    DataDirectory(PathBuf),
    /// A service, by its program and arguments.
    Command(Vec<String>),
}

impl Display for Resource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Address(address) => write!(f, "{address}"),
            Resource::DataDirectory(path) => write!(f, "{}", path.display()),
            Resource::Command(words) => f.write_str(&words.join(" ")),
        }
    }
}

impl Resource {
    fn file(&self) -> io::Result<PathBuf> {
        let name = match self {
            Resource::Address(address) => format!("address-{address}"),
            Resource::DataDirectory(_) => format!("data-{}", self.digest()),
            Resource::Command(_) => format!("command-{}", self.digest()),
        };
        Ok(directory()?.join(name))
    }

    fn digest(&self) -> String {
        let digest = Sha256::digest(self.to_string());
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a file says.
#[derive(Serialize, Deserialize)]
struct Record {
    boot: String,
    owner: Owner,
    resource: String,
}

#[derive(Serialize, Deserialize)]
enum Owner {
    Daemon(u32),
    Agent(String),
}

/// Why a resource cannot be managed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A daemon has it.
    #[error("duotone run{} manages {resource}: stop it on both hosts (systemctl disable --now \
             duotone), or take the resource out of the cluster", of_pid(*.pid))]
    Daemon {
        /// What.
        resource: String,
        /// Its process id, when it is known.
        pid: Option<u32>,
    },
    /// A resource of a cluster has it.
    #[error("the cluster's resource {instance} manages {resource}: stop that one (crm resource \
             stop {instance}), or remove {} when there is no cluster any more", .file.display())]
    Agent {
        /// What.
        resource: String,
        /// The resource's name in the cluster.
        instance: String,
        /// Where that is written.
        file: PathBuf,
    },
    /// It cannot be told.
    #[error("{DIRECTORY}: {0}")]
    Io(#[from] io::Error),
}

fn of_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", process {pid},"))
}

/// A daemon's locks; the kernel drops them with the process.
#[derive(Debug)]
pub struct Held {
    _files: Vec<File>,
}

/// Takes the resources for a daemon, for as long as the value lives.
///
/// # Errors
/// An agent has one of them, or it cannot be told.
pub fn hold(resources: &[Resource]) -> Result<Held, Refused> {
    let mut files = Vec::new();
    for resource in resources {
        let path = resource.file()?;
        let mut file = open(&path)?;
        if !lock(&file, FlockOperation::NonBlockingLockShared)? {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        if let Some(Record { owner: Owner::Agent(instance), resource, .. }) = read(&mut file)? {
            return Err(Refused::Agent { resource, instance, file: path });
        }
        write(&mut file, resource, Owner::Daemon(std::process::id()))?;
        files.push(file);
    }
    Ok(Held { _files: files })
}

/// Writes down that the cluster's resource `instance` has these from now on.
///
/// # Errors
/// A daemon has one of them, or it cannot be told; nothing is claimed then.
pub fn claim(resources: &[Resource], instance: &str) -> Result<(), Refused> {
    for (number, resource) in resources.iter().enumerate() {
        if let Err(refused) = claim_one(resource, instance) {
            give_up(&resources[..number], instance)?;
            return Err(refused);
        }
    }
    Ok(())
}

fn claim_one(resource: &Resource, instance: &str) -> Result<(), Refused> {
    let mut file = exclusive(resource)?;
    write(&mut file, resource, Owner::Agent(instance.to_owned()))?;
    Ok(())
}

/// Refuses when a daemon has one of these.
///
/// # Errors
/// It has, or it cannot be told.
pub fn no_daemon(resources: &[Resource]) -> Result<(), Refused> {
    resources.iter().try_for_each(|resource| exclusive(resource).map(drop))
}

fn exclusive(resource: &Resource) -> Result<File, Refused> {
    let mut file = open(&resource.file()?)?;
    if lock(&file, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(file);
    }
    let pid = match read(&mut file)? {
        Some(Record { owner: Owner::Daemon(pid), .. }) => Some(pid),
        Some(Record { owner: Owner::Agent(_), .. }) | None => None,
    };
    Err(Refused::Daemon { resource: resource.to_string(), pid })
}

/// Takes back what `instance` wrote down of these.
///
/// # Errors
/// A file could not be read or emptied, or another one kept its lock for 200 ms.
pub fn give_up(resources: &[Resource], instance: &str) -> io::Result<()> {
    for resource in resources {
        let path = resource.file()?;
        if !path.exists() || !is_of(&path, instance)? {
            continue;
        }
        // Emptied, not removed: a daemon that has just opened it would lock a file that nobody
        // else finds.
        let file = open(&path)?;
        if !lock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        file.set_len(0)?;
    }
    Ok(())
}

/// How long ago `instance` claimed this last; `None` when it has not.
///
/// # Errors
/// The record could not be read.
pub fn claimed_since(resource: &Resource, instance: &str) -> io::Result<Option<Duration>> {
    let path = resource.file()?;
    if !path.exists() || !is_of(&path, instance)? {
        return Ok(None);
    }
    // A clock that was set back makes it as if it were now.
    Ok(Some(fs::metadata(path)?.modified()?.elapsed().unwrap_or_default()))
}

/// Whether `instance` has claimed anything.
///
/// # Errors
/// The records could not be read.
pub fn has_any(instance: &str) -> io::Result<bool> {
    for entry in fs::read_dir(directory()?)? {
        let path = entry?.path();
        // What is not a record (of a process, a lock) is of no one here.
        if is_of(&path, instance).unwrap_or(false) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of(path: &Path, instance: &str) -> io::Result<bool> {
    let record = read(&mut File::open(path)?)?;
    Ok(record.is_some_and(|record| matches!(record.owner, Owner::Agent(of) if of == instance)))
}

/// The directory of this network namespace; made when it is missing. Agents keep here, too, what
/// their next process must know.
///
/// # Errors
/// It cannot be made.
pub fn directory() -> io::Result<PathBuf> {
    let path = Path::new(DIRECTORY).join(namespace()?.to_string());
    fs::create_dir_all(&path)?;
    Ok(path)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    for _ in 0..TRIES {
        match rustix::fs::flock(file, how) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(BETWEEN_TRIES),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// `None` for a file that is new, of an earlier boot, or was cut by a kill.
fn read(file: &mut File) -> io::Result<Option<Record>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let record: Option<Record> = serde_json::from_str(&text).ok();
    let boot = boot()?;
    Ok(record.filter(|record| record.boot == boot))
}

fn write(file: &mut File, resource: &Resource, owner: Owner) -> io::Result<()> {
    let record = Record { boot: boot()?, owner, resource: resource.to_string() };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&record)?)
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The network namespace's number (`SO_NETNS_COOKIE`, Linux 5.14), which is never given twice
/// between two boots; zero where the kernel has none.
fn namespace() -> io::Result<u64> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).or_else(|_| UdpSocket::bind(("::1", 0)))?;
    let mut cookie: u64 = 0;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the socket is open, and the kernel writes at most `length` bytes to `cookie`.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Ok(if answer == 0 { cookie } else { 0 })
}
