//! The cables between two hosts, a gateway and the clients.

use std::rc::Rc;

use duotone::protocol::event::Answerer;
use duotone::protocol::heartbeat::Heartbeat;
use duotone::protocol::identity::NodeId;
use duotone::protocol::witness::Reply;

use crate::branches::BranchId;

/// Something under way to a host.
#[derive(Clone)]
pub enum Packet {
    Heartbeat(Sent),
    /// "Who has the floating address?", asked by the other host.
    AddressAsked,
    AddressAnswered(Answerer),
    /// The gateway's answer to a probe that left at this reading of the asker's clock.
    ReferenceAnswered {
        life: u32,
        probed_at: u64,
    },
    WitnessReplied(Box<Reply>),
    /// The primary's log up to here.
    Log {
        stream: u64,
        branch: BranchId,
        position: u64,
    },
    /// The replica flushed up to here.
    Flushed {
        stream: u64,
        position: u64,
    },
}

/// A heartbeat on its way.
#[derive(Clone)]
pub struct Sent {
    pub heartbeat: Rc<Heartbeat>,
    /// What proves it.
    pub key: u8,
    /// Which path it takes.
    pub link: usize,
}

/// The heartbeats' paths: eth1, and the LAN beside it.
pub const LINKS: usize = 2;

/// A host's LAN cable.
#[derive(Clone, Copy)]
pub struct Port {
    pub carrier: bool,
    /// Frames pass; without them, but with carrier, the fault is behind the next switch.
    pub passes: bool,
}

pub struct Network {
    /// By sender.
    pub eth1: [bool; 2],
    /// The heartbeat path over the LAN: configured at all, and by sender.
    pub eth0_configured: bool,
    pub eth0: [bool; 2],
    pub ports: [Port; 2],
    /// The gateway answers this host.
    pub gateway: [bool; 2],
    /// To the third host and back, by node.
    pub to_witness: [bool; 2],
    pub from_witness: [bool; 2],
    /// To the devices that power the hosts, by node.
    pub fence: [bool; 2],
    /// A host's questions to the witness arrive a second time after this.
    pub again_at_witness: [Option<u64>; 2],
    /// The LAN is split: both hosts reach a gateway and clients, but not each other.
    pub split: bool,
    /// By asker: questions for the floating address are lost, all of a window.
    pub probes_lost: [bool; 2],
    /// A host that is not of the pair answers for the floating address.
    pub foreign: bool,
    pub loss_per_mille: u64,
    pub twice_per_mille: u64,
    /// The replication connection stands but nothing moves.
    pub replication_hangs: bool,
    /// LAN frames lost by chance in a row, by the asking host. Kept below a window's probes: the
    /// loss of a whole window is outside of what `lan` promises.
    pub lost_in_row: [u8; 2],
}

impl Network {
    pub fn new(eth0_configured: bool) -> Network {
        Network {
            eth1: [true; 2],
            eth0_configured,
            eth0: [true; 2],
            ports: [Port { carrier: true, passes: true }; 2],
            gateway: [true; 2],
            to_witness: [true; 2],
            from_witness: [true; 2],
            fence: [true; 2],
            again_at_witness: [None; 2],
            split: false,
            probes_lost: [false; 2],
            foreign: false,
            loss_per_mille: 0,
            twice_per_mille: 0,
            replication_hangs: false,
            lost_in_row: [0; 2],
        }
    }

    pub fn heal(&mut self) {
        *self = Network::new(self.eth0_configured);
    }

    pub fn on_lan(&self, host: NodeId) -> bool {
        let port = self.ports[host.index()];
        port.carrier && port.passes
    }

    /// Both hosts are on the same LAN.
    pub fn neighbours(&self) -> bool {
        self.on_lan(NodeId::A) && self.on_lan(NodeId::B) && !self.split
    }

    pub fn reaches_gateway(&self, host: NodeId) -> bool {
        self.on_lan(host) && self.gateway[host.index()]
    }

    pub fn reaches_witness(&self, host: NodeId) -> bool {
        self.to_witness[host.index()] && self.from_witness[host.index()]
    }

    pub fn eth0_passes(&self, from: NodeId) -> bool {
        self.eth0_configured && self.eth0[from.index()] && self.neighbours()
    }

    /// Heartbeats pass in this direction on some path.
    pub fn heartbeats_pass(&self, from: NodeId) -> bool {
        self.eth1[from.index()] || self.eth0_passes(from)
    }

    /// Connections (replication) pass.
    pub fn connects(&self) -> bool {
        self.eth1 == [true; 2]
    }
}
