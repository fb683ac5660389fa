//! The bare floor (hidden verb `lab-floor`): the least that fails over at all. Silence, promote,
//! add, announce; no lease, no arbitration, no certificate, nothing that makes it safe. It shows
//! what the machine's own work costs, measured in the same run as the pair.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::clock;
use super::host::{DATABASE_SOCKET, Host, INSIDE};
use super::netlink::Netlink;
use super::packet::Announcer;
use super::world::{FLOATING, FLOATING_ALL, lan_mac, link_address};
use super::writer::WriterOrder;
use crate::protocol::time::Instant;

const PORT: u16 = 7330;

/// What one side of the floor is told.
#[derive(Serialize, Deserialize)]
pub struct FloorOrder {
    node: usize,
    active: bool,
    interval_ms: u64,
    lost_after_ms: u64,
    journal: PathBuf,
}

/// Starts one side on a host, with real-time priority like the pair's own pulse.
pub fn start(
    host: &mut Host,
    node: usize,
    active: bool,
    (interval, lost_after): (Duration, Duration),
) -> anyhow::Result<()> {
    let order = FloorOrder {
        node,
        active,
        interval_ms: interval.as_millis() as u64,
        lost_after_ms: lost_after.as_millis() as u64,
        journal: PathBuf::from(INSIDE).join("floor.journal"),
    };
    let mut command = host.command("chrt");
    command.args(["--reset-on-fork", "--rr", "10"]).arg(host.program());
    command.args(["lab-floor", &serde_json::to_string(&order)?]);
    host.start(command, "floor.log")
}

/// What a floor wrote down: when, and what.
pub fn journal(host: &Host) -> Vec<(Instant, String)> {
    let text = std::fs::read_to_string(host.files.join("floor.journal")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (at, what) = line.split_once(' ')?;
            Some((Instant::from_nanos(at.parse().ok()?), what.to_owned()))
        })
        .collect()
}

/// Runs one side until killed.
///
/// # Errors
/// Something it needs was refused; it has no second try.
pub fn run(order: &FloorOrder) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((link_address(order.node), PORT))?;
    let mut journal = File::create(&order.journal)?;
    let tools = (Netlink::open()?, Announcer::open("eth0")?);
    if order.active {
        let _writer = serve(order, &tools, &mut journal)?;
        beat(order, &socket)
    } else {
        stand_by(order, &socket, &tools, &mut journal)
    }
}

fn beat(order: &FloorOrder, socket: &UdpSocket) -> anyhow::Result<()> {
    loop {
        // An unreachable peer is not this side's business.
        let _ = socket.send_to(b"alive", (link_address(1 - order.node), PORT));
        std::thread::sleep(Duration::from_millis(order.interval_ms));
    }
}

fn stand_by(
    order: &FloorOrder,
    socket: &UdpSocket,
    tools: &(Netlink, Announcer),
    journal: &mut File,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (client, connection) = runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(DATABASE_SOCKET).user("postgres").dbname("postgres");
        config.connect(tokio_postgres::NoTls).await
    })?;
    runtime.spawn(connection);
    let lost_after = Duration::from_millis(order.lost_after_ms);
    let mut buffer = [0; 16];
    // Whoever was never heard is not lost.
    socket.set_read_timeout(None)?;
    socket.recv_from(&mut buffer)?;
    let mut heard = clock::now();
    loop {
        let left = lost_after.saturating_sub(clock::now().since(heard));
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        if socket.recv_from(&mut buffer).is_ok() {
            heard = clock::now();
        }
    }
    note_at(journal, heard, "last heartbeat")?;
    note(journal, "lost")?;
    runtime.block_on(async {
        client.simple_query("SELECT pg_promote(false)").await?;
        while client.query_one("SELECT pg_is_in_recovery()", &[]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, tokio_postgres::Error>(())
    })?;
    note(journal, "promoted")?;
    let _writer = serve(order, tools, journal)?;
    loop {
        std::thread::park();
    }
}

/// Address, announcement, and the writer.
fn serve(
    order: &FloorOrder,
    (netlink, announcer): &(Netlink, Announcer),
    journal: &mut File,
) -> anyhow::Result<Child> {
    for (address, prefix) in FLOATING_ALL {
        netlink.add_address("eth0", address, prefix).context("add the floating address")?;
    }
    note(journal, "address")?;
    announcer.announce(lan_mac(order.node), FLOATING)?;
    note(journal, "announced")?;
    let writer =
        WriterOrder { listen: IpAddr::V4(FLOATING), socket: PathBuf::from(DATABASE_SOCKET) };
    Ok(Command::new(std::env::current_exe()?)
        .args(["lab-cdr", &serde_json::to_string(&writer)?])
        .spawn()?)
}

fn note(journal: &mut File, what: &str) -> std::io::Result<()> {
    note_at(journal, clock::now(), what)
}

fn note_at(journal: &mut File, at: Instant, what: &str) -> std::io::Result<()> {
    writeln!(journal, "{} {what}", at.as_nanos())
}
