//! The hosts and their power: a switch on a path socket, outside of the hosts, for the fence agent.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, ensure};

use crate::command::run_with;
use crate::host::Host;
use crate::network::{NODES, Network, letter};

/// The two machines, on or off.
pub struct Machines {
    pub network: Network,
    /// What they have on their disks (`pbx-a/`, `pbx-b/`), and what is installed on both.
    pub files: PathBuf,
    hosts: [Mutex<Option<Host>>; 2],
    fenced: [AtomicUsize; 2],
}

impl Machines {
    /// Two machines that are off.
    pub fn new(files: &Path) -> anyhow::Result<Machines> {
        let network = Network::new()?;
        for name in NODES {
            fs::create_dir_all(files.join(name))?;
        }
        let hosts = [Mutex::new(None), Mutex::new(None)];
        let fenced = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Ok(Machines { network, files: files.to_owned(), hosts, fenced })
    }

    fn host(&self, node: usize) -> MutexGuard<'_, Option<Host>> {
        self.hosts[node].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host's disk.
    pub fn disk(&self, node: usize) -> PathBuf {
        self.files.join(NODES[node])
    }

    /// Gives power: its disk is as it was, its kernel and its `/run` are new.
    pub fn power_on(&self, node: usize) -> anyhow::Result<()> {
        let mut host = self.host(node);
        ensure!(host.is_none(), "{} has power", NODES[node]);
        self.network.boot(node)?;
        let namespace = self.network.namespace(letter(node));
        *host = Some(Host::boot(node, &namespace, &self.disk(node), &self.files)?);
        Ok(())
    }

    /// Takes it: first nothing it still says is heard (its kernel would say goodbye for it), then
    /// every process ends at once.
    pub fn power_off(&self, node: usize) -> anyhow::Result<()> {
        let mut host = self.host(node);
        if host.is_none() {
            return Ok(());
        }
        self.network.darken(node, true)?;
        *host = None;
        self.network.forget(node)?;
        // Dark ports of a host without power and dead ones are the same to everybody.
        self.network.darken(node, false)
    }

    /// Whether it has power.
    pub fn is_on(&self, node: usize) -> bool {
        self.host(node).is_some()
    }

    /// How often the cluster took its power.
    pub fn fenced(&self, node: usize) -> usize {
        self.fenced[node].load(Ordering::Relaxed)
    }

    /// Runs a command on a host; its standard output.
    pub fn run(&self, node: usize, words: &[&str]) -> anyhow::Result<String> {
        self.run_with(node, words, "")
    }

    /// The same with an input.
    pub fn run_with(&self, node: usize, words: &[&str], input: &str) -> anyhow::Result<String> {
        let command = self.host(node).as_ref().map(|host| host.command(words));
        run_with(&mut command.with_context(|| format!("{} has no power", NODES[node]))?, input)
    }

    /// The processes of this name on a host, seen from outside.
    pub fn processes(&self, node: usize, name: &str) -> Vec<u32> {
        self.host(node).as_ref().map(|host| host.processes(name)).unwrap_or_default()
    }
}

/// The power switch; gone when dropped.
pub struct PowerSwitch {
    stop: Arc<AtomicBool>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl PowerSwitch {
    /// Listens on `path`.
    pub fn start(machines: &Arc<Machines>, path: &Path) -> anyhow::Result<PowerSwitch> {
        let listener = UnixListener::bind(path).context("the power switch's socket")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (machines, told) = (Arc::clone(machines), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // Who hangs up has no answer, and asks again.
                let _ = serve(&machines, stream);
            }
        });
        Ok(PowerSwitch { stop, path: path.to_owned(), thread: Some(thread) })
    }
}

impl Drop for PowerSwitch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(machines: &Machines, stream: UnixStream) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let node = |name: &str| NODES.iter().position(|each| *each == name);
    let answer = match words.as_slice() {
        ["list"] => NODES.join(" "),
        ["status", name] => match node(name).map(|node| machines.is_on(node)) {
            Some(true) => "on".into(),
            Some(false) => "off".into(),
            None => "no such host".into(),
        },
        ["off", name] => match node(name) {
            Some(node) => {
                machines.fenced[node].fetch_add(1, Ordering::Relaxed);
                match machines.power_off(node) {
                    Ok(()) => "off".into(),
                    Err(error) => format!("failed: {error:#}"),
                }
            }
            None => "no such host".into(),
        },
        _ => "cannot do that".into(),
    };
    writeln!(&stream, "{answer}")
}
