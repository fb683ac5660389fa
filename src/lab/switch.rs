//! The switch between the hosts: which of its ports forward. Cutting is one netlink message per
//! port; the other end keeps its carrier, as behind a real switch.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::Context;

use super::clock;
use super::namespaces;
use super::netlink::Netlink;
use crate::protocol::time::Instant;

/// How long a port that was just plugged in may need until the kernel has seen its carrier.
const CARRIER: Duration = Duration::from_secs(3);

struct Order {
    ports: Vec<String>,
    forwarding: bool,
}

/// A thread in the switch's namespace that sets its ports.
pub struct Switch {
    orders: Option<Sender<Order>>,
    done: Receiver<io::Result<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Takes the switch in a namespace.
    pub fn open(namespace: &str) -> anyhow::Result<Self> {
        let (orders, inbox) = channel::<Order>();
        let (report, done) = channel();
        let thread = namespaces::thread_in(namespace, move || {
            let netlink = Netlink::open();
            for order in inbox {
                let at = clock::now();
                let outcome = match &netlink {
                    Ok(netlink) => order
                        .ports
                        .iter()
                        .try_for_each(|port| set_port(netlink, port, order.forwarding)),
                    Err(error) => Err(io::Error::other(error.to_string())),
                };
                if report.send(outcome.map(|()| at)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Switch { orders: Some(orders), done, thread: Some(thread) })
    }

    /// Sets ports; returns when the first of them was told.
    pub fn set(&self, ports: &[String], forwarding: bool) -> anyhow::Result<Instant> {
        let orders = self.orders.as_ref().context("the switch is closed")?;
        orders.send(Order { ports: ports.to_vec(), forwarding })?;
        self.done.recv()?.context("set a port of the switch")
    }
}

/// The kernel refuses to let a port forward before it has seen its carrier, which it looks for at
/// its leisure.
fn set_port(netlink: &Netlink, port: &str, forwarding: bool) -> io::Result<()> {
    let began = clock::now();
    loop {
        match netlink.set_port_forwarding(port, forwarding) {
            Err(error)
                if error.raw_os_error() == Some(libc::ENETDOWN)
                    && clock::now().since(began) < CARRIER =>
            {
                sleep(Duration::from_millis(2));
            }
            ended => return ended,
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
