//! The words of a script: what is done to the world. Random runs are made of the same words, so
//! that a failing one can be printed, cut down and kept as a scenario.

use std::fmt;

use duotone::protocol::event::Order;
use duotone::protocol::identity::NodeId;

use crate::clock::{MICRO, MILLI, Nanos, SECOND};
use crate::fence::Mood;
use crate::keys::{self, Keys};

#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    PowerOff(NodeId),
    PowerOn(NodeId),
    Freeze(NodeId, Nanos, bool),
    KillDaemon(NodeId, bool),
    StartDaemon(NodeId),
    HangDaemon(NodeId),
    ResumeDaemon(NodeId),
    /// From one host, or both ways.
    Cut(Cable, Option<NodeId>),
    Mend(Cable, Option<NodeId>),
    SplitLan(bool),
    Foreign(bool),
    Replication(bool),
    Loss(u64),
    Twice(u64),
    PromotionTakes(NodeId, Nanos),
    PromotionFails(NodeId, bool),
    CopyTakes(NodeId, Nanos),
    ReleaseTakes(NodeId, Nanos),
    DiskTakes(NodeId, Nanos),
    /// Claiming the addresses fails.
    AddressFails(NodeId, bool),
    /// What the file of that host's keys says; its daemon reads it at its start.
    Keys(NodeId, Keys),
    /// The same at the witness, which is started again.
    WitnessKeys(Keys),
    /// The state file cannot be read at the daemon's next start.
    DamageState(NodeId),
    /// The server does not start.
    StartFails(NodeId, bool),
    /// The server's processes die.
    KillDatabase(NodeId),
    /// The server stands still: it neither answers nor commits.
    DatabaseHangs(NodeId, bool),
    /// The critical services are down whatever is done.
    ServicesFail(NodeId, bool),
    /// They work, and nobody on the LAN hears them.
    ServicesMute(NodeId, bool),
    /// The role may go back by itself now, or not.
    FailbackHours(bool),
    /// Its questions for the floating address reach nobody (nothing else is lost).
    Probes(NodeId, bool),
    DiskFails(NodeId, bool),
    /// The witness runs.
    Witness(bool),
    /// It loses its disk, and starts again.
    WitnessForgets,
    /// What orders to that host's device come to.
    Fence(NodeId, Mood),
    FenceTakes(NodeId, Nanos),
    /// What this host asks of it from now on arrives a second time, after this span.
    WitnessHearsAgain(NodeId, Nanos),
    /// What a copy left half done starts all the same.
    TornStarts(NodeId),
    SlowWorld(NodeId, Nanos),
    DeleteAddress(NodeId),
    /// One of the two.
    DeleteOneAddress(NodeId),
    Order(NodeId, Order),
    /// When that node begins a promotion, after this span.
    WhenPromoting(NodeId, Nanos, Box<Command>),
    /// When it writes down a term of its own.
    WhenClaiming(NodeId, Nanos, Box<Command>),
    Heal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cable {
    Eth1,
    Eth0Path,
    /// Behind the next switch: the carrier stays.
    Lan,
    /// At the host: the carrier goes.
    LanPlug,
    Gateway,
    /// To the witness and back.
    Witness,
    /// Its answers only.
    WitnessReplies,
    /// To the devices that power the hosts.
    Fence,
}

const CABLES: [(Cable, &str); 8] = [
    (Cable::Eth1, "eth1"),
    (Cable::Eth0Path, "eth0-path"),
    (Cable::Lan, "lan"),
    (Cable::LanPlug, "lan-plug"),
    (Cable::Gateway, "gateway"),
    (Cable::Witness, "witness"),
    (Cable::WitnessReplies, "witness-replies"),
    (Cable::Fence, "fence"),
];

const ORDERS: [(Order, &str); 5] = [
    (Order::TakeAnyway, "take-anyway"),
    (Order::Leave, "leave"),
    (Order::Return, "return"),
    (Order::Switchover, "switchover"),
    (Order::Recover, "recover"),
];

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |from: &Option<NodeId>| from.map(|host| format!(" {host}")).unwrap_or_default();
        match self {
            Command::PowerOff(host) => write!(f, "power off {host}"),
            Command::PowerOn(host) => write!(f, "power on {host}"),
            Command::Freeze(host, span, hidden) => {
                write!(f, "freeze {host} {}{}", Span(*span), if *hidden { " hidden" } else { "" })
            }
            Command::KillDaemon(host, clean) => {
                write!(f, "kill daemon {host}{}", if *clean { " clean" } else { "" })
            }
            Command::StartDaemon(host) => write!(f, "start daemon {host}"),
            Command::HangDaemon(host) => write!(f, "hang daemon {host}"),
            Command::ResumeDaemon(host) => write!(f, "resume daemon {host}"),
            Command::Cut(cable, side) => write!(f, "cut {cable}{}", from(side)),
            Command::Mend(cable, side) => write!(f, "mend {cable}{}", from(side)),
            Command::SplitLan(split) => f.write_str(if *split { "split lan" } else { "join lan" }),
            Command::Foreign(there) => {
                f.write_str(if *there { "foreign comes" } else { "foreign goes" })
            }
            Command::Replication(works) => {
                f.write_str(if *works { "mend replication" } else { "break replication" })
            }
            Command::Loss(per_mille) => write!(f, "loss {per_mille}"),
            Command::Twice(per_mille) => write!(f, "twice {per_mille}"),
            Command::PromotionTakes(host, span) => {
                write!(f, "promotion of {host} takes {}", Span(*span))
            }
            Command::PromotionFails(host, fails) => {
                write!(f, "promotion of {host} {}", if *fails { "fails" } else { "works" })
            }
            Command::CopyTakes(host, span) => write!(f, "copy of {host} takes {}", Span(*span)),
            Command::ReleaseTakes(host, span) => {
                write!(f, "release of {host} takes {}", Span(*span))
            }
            Command::DiskTakes(host, span) => write!(f, "disk of {host} takes {}", Span(*span)),
            Command::DiskFails(host, fails) => {
                write!(f, "disk of {host} {}", if *fails { "fails" } else { "works" })
            }
            Command::Witness(on) => f.write_str(if *on { "witness on" } else { "witness off" }),
            Command::WitnessForgets => f.write_str("witness forgets"),
            Command::WitnessHearsAgain(host, span) => {
                write!(f, "witness hears {host} again after {}", Span(*span))
            }
            Command::TornStarts(host) => write!(f, "torn copy of {host} starts"),
            Command::AddressFails(host, fails) => {
                write!(f, "address of {host} {}", if *fails { "fails" } else { "works" })
            }
            Command::Keys(host, keys) => write!(f, "keys of {host}: {keys}"),
            Command::WitnessKeys(keys) => write!(f, "keys of witness: {keys}"),
            Command::DamageState(host) => write!(f, "damage state of {host}"),
            Command::StartFails(host, fails) => {
                write!(f, "start of {host} {}", if *fails { "fails" } else { "works" })
            }
            Command::KillDatabase(host) => write!(f, "kill database {host}"),
            Command::DatabaseHangs(host, hangs) => {
                write!(f, "database of {host} {}", if *hangs { "hangs" } else { "goes on" })
            }
            Command::ServicesFail(host, fails) => {
                write!(f, "services of {host} {}", if *fails { "fail" } else { "work" })
            }
            Command::ServicesMute(host, mute) => {
                write!(f, "services of {host} {}", if *mute { "are mute" } else { "are heard" })
            }
            Command::FailbackHours(open) => {
                write!(f, "failback hours {}", if *open { "begin" } else { "end" })
            }
            Command::Probes(host, pass) => {
                write!(f, "probes of {host} {}", if *pass { "pass" } else { "are lost" })
            }
            Command::Fence(host, mood) => {
                let word = Mood::ALL.iter().find(|(known, _)| known == mood).map_or("", |(_, w)| w);
                write!(f, "fence of {host} {word}")
            }
            Command::FenceTakes(host, span) => write!(f, "fence of {host} takes {}", Span(*span)),
            Command::SlowWorld(host, span) => write!(f, "slow {host} {}", Span(*span)),
            Command::DeleteAddress(host) => write!(f, "delete address {host}"),
            Command::DeleteOneAddress(host) => write!(f, "delete one address {host}"),
            Command::Order(host, order) => {
                let word = ORDERS.iter().find(|(known, _)| known == order).map_or("", |(_, w)| w);
                write!(f, "order {host} {word}")
            }
            Command::WhenPromoting(host, span, command) => {
                write!(f, "when {host} promotes after {} {command}", Span(*span))
            }
            Command::WhenClaiming(host, span, command) => {
                write!(f, "when {host} claims after {} {command}", Span(*span))
            }
            Command::Heal => f.write_str("heal"),
        }
    }
}

impl fmt::Display for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CABLES.iter().find(|(cable, _)| cable == self).map_or("", |(_, word)| word))
    }
}

/// A span as scripts write it.
pub struct Span(pub Nanos);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span(nanos) = *self;
        match nanos {
            _ if nanos % SECOND == 0 => write!(f, "{}s", nanos / SECOND),
            _ if nanos % MILLI == 0 => write!(f, "{}ms", nanos / MILLI),
            _ if nanos % MICRO == 0 => write!(f, "{}us", nanos / MICRO),
            _ => write!(f, "{nanos}ns"),
        }
    }
}

pub fn parse_span(word: &str) -> Option<Nanos> {
    let digits = word.find(|c: char| !c.is_ascii_digit())?;
    let number: Nanos = word[..digits].parse().ok()?;
    let unit = match &word[digits..] {
        "s" => SECOND,
        "ms" => MILLI,
        "us" => MICRO,
        "ns" => 1,
        _ => return None,
    };
    Some(number * unit)
}

pub fn parse_host(word: &str) -> Option<NodeId> {
    NodeId::ALL.into_iter().find(|host| host.to_string() == word)
}

/// `None` when the line is no command.
pub fn parse(line: &str) -> Option<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let host = |at: usize| words.get(at).and_then(|word| parse_host(word));
    let span = |at: usize| words.get(at).and_then(|word| parse_span(word));
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    Some(match *words.as_slice() {
        ["power", "off", _] => Command::PowerOff(host(2)?),
        ["power", "on", _] => Command::PowerOn(host(2)?),
        ["freeze", _, _] => Command::Freeze(host(1)?, span(2)?, false),
        ["freeze", _, _, "hidden"] => Command::Freeze(host(1)?, span(2)?, true),
        ["kill", "daemon", _] => Command::KillDaemon(host(2)?, false),
        ["kill", "daemon", _, "clean"] => Command::KillDaemon(host(2)?, true),
        ["start", "daemon", _] => Command::StartDaemon(host(2)?),
        ["hang", "daemon", _] => Command::HangDaemon(host(2)?),
        ["resume", "daemon", _] => Command::ResumeDaemon(host(2)?),
        ["split", "lan"] => Command::SplitLan(true),
        ["join", "lan"] => Command::SplitLan(false),
        ["foreign", "comes"] => Command::Foreign(true),
        ["foreign", "goes"] => Command::Foreign(false),
        ["break", "replication"] => Command::Replication(false),
        ["mend", "replication"] => Command::Replication(true),
        ["cut", cable] => Command::Cut(parse_cable(cable)?, None),
        ["cut", cable, _] => Command::Cut(parse_cable(cable)?, Some(host(2)?)),
        ["mend", cable] => Command::Mend(parse_cable(cable)?, None),
        ["mend", cable, _] => Command::Mend(parse_cable(cable)?, Some(host(2)?)),
        ["loss", _] => Command::Loss(number(1)?),
        ["twice", _] => Command::Twice(number(1)?),
        ["promotion", "of", _, "takes", _] => Command::PromotionTakes(host(2)?, span(4)?),
        ["promotion", "of", _, "fails"] => Command::PromotionFails(host(2)?, true),
        ["promotion", "of", _, "works"] => Command::PromotionFails(host(2)?, false),
        ["copy", "of", _, "takes", _] => Command::CopyTakes(host(2)?, span(4)?),
        ["release", "of", _, "takes", _] => Command::ReleaseTakes(host(2)?, span(4)?),
        ["disk", "of", _, "takes", _] => Command::DiskTakes(host(2)?, span(4)?),
        ["disk", "of", _, "fails"] => Command::DiskFails(host(2)?, true),
        ["disk", "of", _, "works"] => Command::DiskFails(host(2)?, false),
        ["address", "of", _, "fails"] => Command::AddressFails(host(2)?, true),
        ["address", "of", _, "works"] => Command::AddressFails(host(2)?, false),
        ["keys", "of", "witness:", ..] => Command::WitnessKeys(keys::parse(&words[3..])?),
        ["keys", "of", host, ..] => {
            Command::Keys(parse_host(host.strip_suffix(':')?)?, keys::parse(&words[3..])?)
        }
        ["damage", "state", "of", _] => Command::DamageState(host(3)?),
        ["start", "of", _, "fails"] => Command::StartFails(host(2)?, true),
        ["start", "of", _, "works"] => Command::StartFails(host(2)?, false),
        ["kill", "database", _] => Command::KillDatabase(host(2)?),
        ["database", "of", _, "hangs"] => Command::DatabaseHangs(host(2)?, true),
        ["database", "of", _, "goes", "on"] => Command::DatabaseHangs(host(2)?, false),
        ["services", "of", _, "fail"] => Command::ServicesFail(host(2)?, true),
        ["services", "of", _, "work"] => Command::ServicesFail(host(2)?, false),
        ["services", "of", _, "are", "mute"] => Command::ServicesMute(host(2)?, true),
        ["services", "of", _, "are", "heard"] => Command::ServicesMute(host(2)?, false),
        ["failback", "hours", "begin"] => Command::FailbackHours(true),
        ["failback", "hours", "end"] => Command::FailbackHours(false),
        ["probes", "of", _, "are", "lost"] => Command::Probes(host(2)?, false),
        ["probes", "of", _, "pass"] => Command::Probes(host(2)?, true),
        ["witness", "on"] => Command::Witness(true),
        ["witness", "off"] => Command::Witness(false),
        ["witness", "forgets"] => Command::WitnessForgets,
        ["fence", "of", _, "takes", _] => Command::FenceTakes(host(2)?, span(4)?),
        ["fence", "of", _, ..] => {
            let word = words[3..].join(" ");
            let (mood, _) = Mood::ALL.into_iter().find(|(_, known)| *known == word)?;
            Command::Fence(host(2)?, mood)
        }
        ["witness", "hears", _, "again", "after", _] => {
            Command::WitnessHearsAgain(host(2)?, span(5)?)
        }
        ["torn", "copy", "of", _, "starts"] => Command::TornStarts(host(3)?),
        ["slow", _, _] => Command::SlowWorld(host(1)?, span(2)?),
        ["delete", "address", _] => Command::DeleteAddress(host(2)?),
        ["delete", "one", "address", _] => Command::DeleteOneAddress(host(3)?),
        ["order", _, word] => {
            let (order, _) = ORDERS.into_iter().find(|(_, known)| *known == word)?;
            Command::Order(host(1)?, order)
        }
        ["when", _, "promotes", "after", _, ..] => {
            let command = parse(&words[5..].join(" "))?;
            Command::WhenPromoting(host(1)?, span(4)?, Box::new(command))
        }
        ["when", _, "claims", "after", _, ..] => {
            let command = parse(&words[5..].join(" "))?;
            Command::WhenClaiming(host(1)?, span(4)?, Box::new(command))
        }
        ["heal"] => Command::Heal,
        _ => return None,
    })
}

fn parse_cable(word: &str) -> Option<Cable> {
    CABLES.into_iter().find(|(_, known)| *known == word).map(|(cable, _)| cable)
}

#[test]
fn what_is_printed_can_be_read() {
    use NodeId::{A, B};
    let inner = Box::new(Command::Mend(Cable::Lan, Some(A)));
    let commands = [
        Command::PowerOff(A),
        Command::Freeze(B, 1_500 * MICRO, true),
        Command::KillDaemon(A, true),
        Command::Cut(Cable::Eth1, Some(B)),
        Command::Mend(Cable::Eth0Path, None),
        Command::SplitLan(true),
        Command::Loss(70),
        Command::DiskFails(B, true),
        Command::Keys(B, Keys { current: 1, old: Some(0) }),
        Command::WitnessKeys(Keys::FIRST),
        Command::Fence(A, Mood::Blind),
        Command::FenceTakes(B, 300 * MILLI),
        Command::Cut(Cable::Fence, Some(A)),
        Command::Order(A, Order::TakeAnyway),
        Command::WhenPromoting(B, 20 * MILLI, inner),
    ];
    for command in commands {
        assert_eq!(parse(&command.to_string()), Some(command));
    }
}
