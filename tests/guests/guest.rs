//! One virtual host: its QEMU, its disk, its monitor.
//!
//! The disk is a layer over the image that both share. What the guest flushed is in the host's page
//! cache, what it did not flush is in the guest's: `kill -9` of QEMU is a power cut.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::network::{BRIDGES, Network, run, tap};
use crate::watch::Watch;

pub const NAMES: [&str; 2] = ["pbx-a", "pbx-b"];

/// Two guests at once on two busy cores, emulated.
const BOOT: Duration = Duration::from_secs(900);

pub struct Guest {
    pub number: usize,
    pub agent: Agent,
    /// Who holds the floating address, as this guest's kernel says.
    pub watch: Watch,
    directory: PathBuf,
    images: PathBuf,
    machine: Option<Child>,
    boots: u32,
}

impl Guest {
    /// With an empty layer of its own; off.
    pub fn new(number: usize, directory: &Path, images: &Path) -> anyhow::Result<Guest> {
        let file = |kind: &str| directory.join(format!("{}.{kind}", NAMES[number]));
        run(Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(images.join("root.img"))
            .arg(file("disk")))?;
        Ok(Guest {
            number,
            agent: Agent::new(&file("agent")),
            watch: Watch::new(&file("watch")),
            directory: directory.to_owned(),
            images: images.to_owned(),
            machine: None,
            boots: 0,
        })
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", NAMES[self.number]))
    }

    /// Turns it on. It has booted when [`Guest::booted`] says so.
    pub fn start(&mut self, network: &Network) -> anyhow::Result<()> {
        self.boots += 1;
        let console = self.file(&format!("console-{}", self.boots));
        let port = |command: &mut Command, id: &str, name: &str, socket: &Path| {
            let socket = socket.display();
            command.arg("-chardev");
            command.arg(format!("socket,id={id},path={socket},server=on,wait=off"));
            command.args(["-device", &format!("virtserialport,chardev={id},name={name}")]);
        };
        let mut qemu = network.command("qemu-system-x86_64");
        // A panic or a reboot ends it, so that the test sees that it came to that.
        qemu.args(["-accel", "tcg", "-m", "768", "-smp", "1", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.images.join("vmlinuz"));
        qemu.arg("-initrd").arg(self.images.join("initrd"));
        let name = NAMES[self.number];
        qemu.arg("-append").arg(format!(
            "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 panic=-1 systemd.hostname={name}"
        ));
        qemu.args(["-nodefaults", "-device", "virtio-rng-pci", "-device", "i6300esb"]);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-drive").arg(drive(&self.file("disk"), "qcow2", "cache=writeback"));
        let payload = self.directory.join("payload.img");
        qemu.arg("-drive").arg(drive(&payload, "raw", "readonly=on"));
        qemu.args(["-device", "virtio-serial"]);
        port(&mut qemu, "agent", "org.qemu.guest_agent.0", &self.file("agent"));
        port(&mut qemu, "watch", "watch", &self.file("watch"));
        qemu.arg("-qmp").arg(format!("unix:{},server,nowait", self.file("qmp").display()));
        for (number, bridge) in BRIDGES.iter().enumerate() {
            let tap = tap(bridge, self.number);
            let netdev = format!("tap,id={bridge},ifname={tap},script=no,downscript=no");
            let mac = format!("02:00:00:00:0{number}:0{}", self.number + 1);
            qemu.args(["-netdev", &netdev, "-device"]);
            qemu.arg(format!("virtio-net-pci,netdev={bridge},mac={mac}"));
        }
        let log = File::create(self.file("qemu"))?;
        qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.machine = Some(qemu.spawn().context("start qemu-system-x86_64")?);
        self.watch.began();
        Ok(())
    }

    /// Waits until commands can be given.
    pub fn booted(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.agent.lives() {
            ensure!(!self.ended()?, "{} ended while it booted", NAMES[self.number]);
            ensure!(start.elapsed() < BOOT, "{} has not booted", NAMES[self.number]);
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(match self.machine.as_mut() {
            Some(machine) => machine.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Waits until it is off by itself.
    pub fn off(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.ended()? {
            ensure!(start.elapsed() < BOOT, "{} is not off", NAMES[self.number]);
            std::thread::sleep(Duration::from_millis(200));
        }
        self.machine = None;
        self.watch.ended();
        Ok(())
    }

    /// The power goes: nothing in the guest runs another instruction, nothing more is flushed.
    pub fn power_cut(&mut self) -> anyhow::Result<()> {
        if let Some(mut machine) = self.machine.take() {
            machine.kill()?;
            machine.wait()?;
        }
        self.watch.ended();
        Ok(())
    }

    /// The hypervisor's pause: the guest's clocks stop with it.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.monitor("stop")
    }

    pub fn resume(&self) -> anyhow::Result<()> {
        self.monitor("cont")
    }

    fn monitor(&self, order: &str) -> anyhow::Result<()> {
        let mut write = UnixStream::connect(self.file("qmp"))?;
        write.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut read = BufReader::new(write.try_clone()?);
        for order in ["qmp_capabilities", order] {
            writeln!(write, "{}", json!({ "execute": order }))?;
            loop {
                let mut line = String::new();
                ensure!(read.read_line(&mut line)? > 0, "the monitor hung up at {order}");
                let answer: Value = serde_json::from_str(&line)?;
                ensure!(answer["error"].is_null(), "{order}: {line}");
                if !answer["return"].is_null() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn drive(path: &Path, format: &str, more: &str) -> String {
    format!("file={},format={format},if=virtio,{more}", path.display())
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.power_cut();
    }
}
