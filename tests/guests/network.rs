//! The guests' LAN and cable: two bridges and four taps in a namespace of this test's own. The
//! namespace is also the gateway, the reference and the client on the LAN.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where the guests' cables end.
pub const BRIDGES: [&str; 2] = ["lan", "cable"];

pub struct Network {
    namespace: String,
}

impl Network {
    pub fn new() -> anyhow::Result<Network> {
        let network = Network { namespace: format!("dtg-{}", std::process::id()) };
        run(Command::new("ip").args(["netns", "add", &network.namespace]))?;
        network.ip("link set lo up")?;
        for bridge in BRIDGES {
            network
                .ip(&format!("link add {bridge} type bridge forward_delay 0 mcast_snooping 0"))?;
            network.ip(&format!("link set {bridge} up"))?;
            for guest in 0..2 {
                let tap = tap(bridge, guest);
                network.ip(&format!("tuntap add mode tap name {tap}"))?;
                network.ip(&format!("link set {tap} master {bridge} up"))?;
            }
        }
        network.ip("addr add 192.0.2.1/24 dev lan")?;
        Ok(network)
    }

    fn ip(&self, words: &str) -> anyhow::Result<()> {
        run(Command::new("ip").args(["-n", &self.namespace]).args(words.split(' '))).map(drop)
    }

    /// A program in the namespace. It dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace));
        command.args(["setpriv", "--pdeathsig", "KILL", program]);
        // Ctrl-C is this test's to pass on, by its end.
        command.process_group(0);
        command
    }

    /// Starts a thread whose sockets are on the LAN.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<std::thread::JoinHandle<T>> {
        let file = File::open(format!("/run/netns/{}", self.namespace))?;
        Ok(std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
            work()
        }))
    }
}

/// The name of a guest's tap on a bridge.
pub fn tap(bridge: &str, guest: usize) -> String {
    format!("{bridge}-{}", ["a", "b"][guest])
}

impl Drop for Network {
    fn drop(&mut self) {
        let pids = Command::new("ip").args(["netns", "pids", &self.namespace]).output();
        let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let own = std::process::id() as i32;
        for pid in pids.unwrap_or_default().lines().filter_map(|line| line.trim().parse().ok()) {
            if pid != own {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

/// Runs a command to its good end; what it printed.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}: {error}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
