//! One host: power, kernel, disk, daemon, services. Its database is in `database`.

use std::collections::VecDeque;

use duotone::protocol::durable::Durable;
use duotone::protocol::event::{Event, ServicesGoal, Ticket};
use duotone::protocol::health::Grade;
use duotone::protocol::heartbeat::Stance;
use duotone::protocol::identity::Session;
use duotone::protocol::node::Node;
use duotone::wire::{Admission, Verdict};

use crate::clock::{Clock, Nanos};
use crate::kernel::Addresses;
use crate::keys::Keys;
use crate::network::{LINKS, Sent};
use crate::server::Database;
use crate::world::What;

pub struct Host {
    pub powered: bool,
    /// Counts lives of the kernel: what was under way in an earlier one is gone.
    pub boot: u32,
    pub clock: Clock,
    pub frozen: Option<Freeze>,
    /// What came while the host was frozen.
    pub deferred: Vec<What>,
    /// The end of the last freeze, and of the last that the clock hid; true times.
    pub thawed: Option<Nanos>,
    pub thawed_unseen: Option<Nanos>,
    pub addresses: Addresses,
    /// Address deeds are done one after the other, each after this local time.
    pub address_free: u64,
    pub disk: Durable,
    /// The state file cannot be read.
    pub damaged: bool,
    /// What the file says.
    pub keys: Keys,
    /// Writes are done one after the other, each after this local time.
    pub disk_free: u64,
    pub writes: VecDeque<(Ticket, Durable)>,
    pub daemon: Daemon,
    pub services: Services,
    /// What the daemon was last told about the peer's services, asked over the LAN.
    pub remote_told: Grade,
    pub database: Database,
    pub spoken: Spoken,
    pub trouble: Trouble,
}

#[derive(Clone, Copy)]
pub struct Freeze {
    pub hidden: bool,
    /// Packets queued by the network card.
    pub packets: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    Dead,
    Hung,
    Running,
}

pub struct Daemon {
    pub state: Life,
    /// Counts lives of the daemon.
    pub life: u32,
    /// What it read at its start.
    pub keys: Keys,
    /// Boxed: it is taken out for every turn.
    pub node: Option<Box<Node>>,
    pub inbox: VecDeque<Event>,
    /// The local time of the next wake, and its number: only the newest counts.
    pub wake: Option<u64>,
    pub wakes: u64,
    /// The real one of the wire.
    pub admission: Admission,
    /// The newest heartbeat that it admitted.
    pub heard: Option<(Session, u64)>,
    /// True time when it died, hung, or went on after a hang.
    pub changed: Nanos,
    pub stance: Stance,
    pub status: String,
    /// Wakes in a row at one local time.
    pub spins: u32,
}

/// The services' fake: reaching a goal takes a while.
pub struct Services {
    pub goal: Option<ServicesGoal>,
    pub reached: Option<ServicesGoal>,
    pub orders: u64,
    /// True time since when the critical ones are down whatever is done.
    pub failing: Option<Nanos>,
    /// They work, and nobody on the LAN hears them.
    pub mute: bool,
}

/// What the last heartbeat said.
#[derive(Clone, Copy, Default)]
pub struct Spoken {
    pub certified: bool,
    pub certifying: bool,
    /// What it last asked the witness for.
    pub asked: Option<duotone::protocol::witness::Wish>,
    pub since_start: u64,
    /// The session and the sequence of the last one.
    pub last: Option<(Session, u64)>,
    /// The last one before it began to take back what it had offered.
    pub offered_until: Option<(Session, u64)>,
}

/// Trouble of one host that is neither a cable's nor a crash.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    pub disk_takes: Option<Nanos>,
    pub disk_fails: bool,
    /// The slow world does nothing before this true time.
    pub slow_until: Nanos,
    pub promotion_takes: Option<Nanos>,
    pub promotion_fails: bool,
    pub copy_takes: Option<Nanos>,
    pub release_takes: Option<Nanos>,
    pub address_fails: bool,
    pub start_fails: bool,
    pub torn_starts: bool,
    pub database_hangs: bool,
}

impl Host {
    pub fn new(clock: Clock) -> Host {
        Host {
            powered: false,
            boot: 0,
            clock,
            frozen: None,
            deferred: Vec::new(),
            thawed: None,
            thawed_unseen: None,
            addresses: Addresses::default(),
            address_free: 0,
            disk: Durable::FRESH,
            damaged: false,
            keys: Keys::FIRST,
            disk_free: 0,
            writes: VecDeque::new(),
            daemon: Daemon {
                state: Life::Dead,
                life: 0,
                keys: Keys::FIRST,
                node: None,
                inbox: VecDeque::new(),
                wake: None,
                wakes: 0,
                admission: Admission::new(Session(0), LINKS),
                heard: None,
                changed: 0,
                stance: Stance::Joining,
                status: String::new(),
                spins: 0,
            },
            services: Services { goal: None, reached: None, orders: 0, failing: None, mute: false },
            remote_told: Grade::Unknown,
            database: Database::new(),
            spoken: Spoken::default(),
            trouble: Trouble::default(),
        }
    }

    /// The kernel runs: it answers ARP, databases acknowledge, packets arrive.
    pub fn alive(&self) -> bool {
        self.powered && self.frozen.is_none()
    }

    pub fn daemon_runs(&self) -> bool {
        self.alive() && self.daemon.state == Life::Running
    }

    pub fn holds_address(&self) -> bool {
        self.powered && self.addresses.any()
    }
}

impl Daemon {
    /// As the receiver judges it: authentic, and neither late nor played back.
    pub fn admits(&mut self, sent: &Sent) -> bool {
        let heartbeat = &sent.heartbeat;
        let admitted = self.keys.accept(sent.key)
            && self.admission.admit(heartbeat, sent.link) == Ok(Verdict::Fresh);
        if admitted {
            self.heard = Some((heartbeat.session, heartbeat.sequence));
        }
        admitted
    }
}
