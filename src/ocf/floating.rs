//! `ocf:duotone:floating`: addresses, or a whole interface, that are on one host at a time.

mod parameters;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::parameters::Asked;
use super::Agent;
use super::action::{Action, Offer};
use super::code::{Answer, Code};
use super::parameter::Reader;
use crate::adapters::owner::{self, Refused};
use crate::protocol::event::Presence;
use crate::pulse::address::{Addresses, Seen};
use crate::pulse::neighbours::{self, Heard, shown};
use crate::pulse::netlink::Link;

/// The agent.
pub const AGENT: Agent = Agent {
    name: "floating",
    short: "Floating addresses, or a whole interface, on one host at a time",
    long: "Holds IPv4 and IPv6 addresses, their default routes and the source address of what \
           leaves by them, or a whole interface that only the active host uses. Before it takes \
           them it asks the LAN whether another host has them and refuses then, naming its \
           hardware address; afterwards it announces them, and does so again from time to time. \
           \n\nMonitor, depth 0: the kernel has all of it. Depth 10 looks at the LAN as well: no \
           carrier is a failure; when no reference (by default the gateways) answers, or another \
           host answers for an address, the resource is degraded (190), which Pacemaker shows \
           and does not act on: a router that restarts must not move a PBX. \
           \n\nAs a clone it must be globally unique (globally-unique=true clone-max=N \
           clone-node-max=N for N addresses): each instance then holds one of the addresses, so \
           that the hosts share the load and one takes the other's when it is gone. \
           \n\nIt needs the daemon (duotone run) not to run for the same addresses, and refuses to \
           start beside it.",
    parameters: parameters::ALL,
    offers: &[
        Offer::once(Action::Start, 20),
        Offer::once(Action::Stop, 20),
        Offer { interval: 10, ..Offer::once(Action::Monitor, 20) },
        Offer { interval: 30, depth: 10, ..Offer::once(Action::Monitor, 20) },
        Offer::once(Action::ReloadAgent, 20),
        Offer::once(Action::ValidateAll, 20),
        Offer::once(Action::MetaData, 5),
    ],
    perform,
};

/// How long an interface that was just set up may need until frames can leave.
const CARRIER_WITHIN: Duration = Duration::from_secs(5);

fn perform(action: Action, mut reader: Reader<'_>) -> Result<Code, Answer> {
    let asked = Asked::read(&mut reader);
    if let Err(wrong) = reader.finish() {
        // What was never started with parameters that can be read need not be stopped, and a stop
        // that fails has the host fenced.
        let started = owner::has_any(&asked.call.instance).unwrap_or(true);
        return if action == Action::Stop && !started { Ok(Code::Success) } else { Err(wrong) };
    }
    let mut addresses = Addresses::open(&asked.floating, asked.lifetime)
        .map_err(|error| Answer::new(Code::Generic, format!("{error}; this agent needs root")))?;
    match action {
        Action::Start => start(&asked, &mut addresses),
        Action::Stop => stop(&asked, &mut addresses),
        Action::Monitor => monitor(&asked, &mut addresses),
        Action::ReloadAgent => reload(&asked, &mut addresses),
        Action::ValidateAll => validate(&asked, &mut addresses),
        Action::Promote | Action::Demote | Action::Notify | Action::MetaData => {
            Err(Code::Unimplemented.into())
        }
    }
}

fn validate(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    match addresses.look(None).link {
        Some(_) => Ok(Code::Success),
        None => Err(no_interface(asked)),
    }
}

fn no_interface(asked: &Asked) -> Answer {
    let name = &asked.floating.interface;
    Answer::new(Code::Installed, format!("this host has no interface {name}; see: ip link"))
}

fn start(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    // Before anything is touched: another one may manage them.
    owner::claim(&asked.resources(), &asked.call.instance).map_err(owned)?;
    let held = take(asked, addresses);
    if held.is_err() && addresses.release().presence == Presence::Absent {
        give_up(asked);
    }
    held
}

fn take(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    validate(asked, addresses)?;
    let there = addresses.look(None).addresses;
    if let Some(trouble) = addresses.raise() {
        return Err(failed(trouble));
    }
    let link = wait_for_carrier(asked, addresses)?;
    let missing: Vec<IpAddr> =
        asked.addresses().filter(|address| !there.contains(address)).collect();
    if asked.check && !missing.is_empty() {
        nobody_has(asked, &link, &missing)?;
    }
    let seen = addresses.hold();
    match seen.presence {
        Presence::Held => {
            // Not answered for: the addresses are here, and each monitor may announce them again.
            let _ = neighbours::announce(&link, &seen.addresses);
            Ok(Code::Success)
        }
        Presence::Partial | Presence::Absent | Presence::Unknown => Err(incomplete(asked, &seen)),
    }
}

fn wait_for_carrier(asked: &Asked, addresses: &mut Addresses) -> Result<Link, Answer> {
    let end = Instant::now() + asked.call.left(CARRIER_WITHIN);
    loop {
        let seen = addresses.look(None);
        match seen.link {
            Some(link) if link.running => return Ok(link),
            None if seen.presence == Presence::Absent => return Err(no_interface(asked)),
            Some(link) if !link.up => {
                let name = &asked.floating.interface;
                let words = format!("{name} is down; ip link set {name} up");
                return Err(Answer::new(Code::Generic, words));
            }
            Some(_) | None if Instant::now() >= end => {
                let name = &asked.floating.interface;
                let words = format!("{name} has no carrier; check the cable and the switch");
                return Err(Answer::new(Code::Generic, words));
            }
            Some(_) | None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn nobody_has(asked: &Asked, link: &Link, addresses: &[IpAddr]) -> Result<(), Answer> {
    let interface = &asked.floating.interface;
    let failed = |error| {
        let words = format!("the LAN on {interface} cannot be asked who has the address: {error}");
        Answer::new(Code::Generic, words)
    };
    let Some(mac) = neighbours::ask(link, addresses, &[]).map_err(failed)?.holder else {
        return Ok(());
    };
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    // A device that answers for its own address too answers for everyone (proxy ARP).
    let gateways = &asked.floating.gateways;
    let everyone = !gateways.is_empty()
        && neighbours::ask(link, gateways, &[]).is_ok_and(|heard| heard.holder == Some(mac));
    let advice = if everyone {
        "which is the gateway: it answers for everyone; switch its proxy ARP off, or set \
         check=false"
    } else {
        "find that host (its switch port; ip neigh) and take the address from it"
    };
    let (mac, names) = (shown(mac), names.join(" or "));
    Err(Answer::new(Code::Generic, format!("{names} is held by {mac}, {advice}")))
}

fn stop(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    if let Err(refused @ (Refused::Daemon { .. } | Refused::Agent { .. })) =
        owner::no_daemon(&asked.resources())
    {
        // What the daemon holds is not ours to take, and not gone either.
        return match addresses.look(None).presence {
            Presence::Absent => Ok(Code::Success),
            Presence::Held | Presence::Partial | Presence::Unknown => Err(owned(refused)),
        };
    }
    let seen = addresses.release();
    match seen.presence {
        Presence::Absent => {
            give_up(asked);
            Ok(Code::Success)
        }
        Presence::Held | Presence::Partial | Presence::Unknown => {
            Err(Answer::new(Code::Generic, format!("not seen released: {}", trouble(&seen))))
        }
    }
}

fn give_up(asked: &Asked) {
    // The addresses are seen gone; a record that stays keeps nobody but a daemon away, which names
    // it.
    let _ = owner::give_up(&asked.resources(), &asked.call.instance);
}

fn monitor(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    let mut seen = addresses.look(None);
    if seen.presence == Presence::Held {
        upkeep(asked, addresses, &mut seen);
    }
    match seen.presence {
        Presence::Absent => Ok(Code::NotRunning),
        Presence::Partial | Presence::Unknown => Err(incomplete(asked, &seen)),
        Presence::Held if asked.call.depth < 10 => Ok(Code::Success),
        Presence::Held => look_around(asked, &seen),
    }
}

/// What only the resource that was started here does: renew what expires, announce again.
fn upkeep(asked: &Asked, addresses: &mut Addresses, seen: &mut Seen) {
    let resources = asked.resources();
    let Some(first) = resources.first() else { return };
    // Who cannot read the record looks, and changes nothing.
    let Ok(Some(age)) = owner::claimed_since(first, &asked.call.instance) else { return };
    if asked.floating.lifetime {
        *seen = addresses.hold();
    }
    if asked.floating.refresh.is_zero() || age < asked.floating.refresh {
        return;
    }
    if let Some(link) = seen.link.filter(|link| link.running) {
        // What is lost of it is repeated by the next; it is no failure of the address.
        let _ = neighbours::announce(&link, &seen.addresses);
        let _ = owner::claim(&resources, &asked.call.instance);
    }
}

fn look_around(asked: &Asked, seen: &Seen) -> Result<Code, Answer> {
    let name = &asked.floating.interface;
    let Some(link) = seen.link.filter(|link| link.running) else {
        let words = format!("{name} has no carrier; check the cable and the switch");
        return Err(Answer::new(Code::Generic, words));
    };
    let Heard { holder, answered } =
        neighbours::ask(&link, &seen.addresses, &asked.floating.references).map_err(failed)?;
    if let Some(mac) = holder {
        let words = format!("{} answers for an address that is held here, too", shown(mac));
        return Err(Answer::new(Code::Degraded, words));
    }
    if answered.is_empty() && !asked.floating.references.is_empty() {
        let names: Vec<String> = asked.floating.references.iter().map(IpAddr::to_string).collect();
        let words = format!("no answer on {name} from {}", names.join(" nor "));
        return Err(Answer::new(Code::Degraded, words));
    }
    Ok(Code::Success)
}

fn reload(asked: &Asked, addresses: &mut Addresses) -> Result<Code, Answer> {
    if addresses.look(None).presence == Presence::Absent {
        return Ok(Code::NotRunning);
    }
    let seen = addresses.hold();
    match seen.presence {
        Presence::Held => Ok(Code::Success),
        Presence::Partial | Presence::Absent | Presence::Unknown => Err(incomplete(asked, &seen)),
    }
}

fn incomplete(asked: &Asked, seen: &Seen) -> Answer {
    let missing: Vec<String> = asked
        .addresses()
        .filter(|address| !seen.addresses.contains(address))
        .map(|address| address.to_string())
        .collect();
    let what = match (seen.presence, missing.is_empty()) {
        (Presence::Unknown, _) => "the kernel cannot be asked".to_owned(),
        (_, false) => format!("{} lacks {}", asked.floating.interface, missing.join(", ")),
        (_, true) => format!("{} is down or lacks a default route", asked.floating.interface),
    };
    Answer::new(Code::Generic, format!("{what}{}", because(seen)))
}

fn because(seen: &Seen) -> String {
    seen.trouble.as_ref().map_or_else(String::new, |trouble| format!(": {trouble}"))
}

fn trouble(seen: &Seen) -> String {
    format!("the kernel shows {:?}{}", seen.presence, because(seen))
}

fn owned(refused: Refused) -> Answer {
    match refused {
        Refused::Daemon { .. } | Refused::Agent { .. } => {
            Answer::new(Code::Configured, refused.to_string())
        }
        Refused::Io(_) => Answer::new(Code::Generic, refused.to_string()),
    }
}

fn failed(error: impl std::fmt::Display) -> Answer {
    Answer::new(Code::Generic, error.to_string())
}
