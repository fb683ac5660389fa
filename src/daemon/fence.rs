//! The fence as the daemon uses it: the node's orders first, and between them the question whether
//! its devices work, so that one that does not is told before it is needed.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant as Moment;

use super::explain::span;
use super::status::ms;
use super::{Shared, work};
use crate::adapters::clock;
use crate::adapters::fence::{DeviceSeen, FenceSeen, look, power_off};
use crate::config::Config;
use crate::protocol::event::{Event, PeerPower, Ticket};
use crate::protocol::fence::FenceSight;
use crate::protocol::peer::Liveness;
use crate::protocol::status::Status;
use crate::protocol::time::Instant;

/// What the devices were last seen to do.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the last one had answered.
    pub at: Instant,
    /// By an order of the node, or by a regular question.
    pub ordered: bool,
    /// What they said.
    pub seen: FenceSeen,
}

impl Report {
    /// What they say of the peer's power together.
    pub fn power(&self) -> &'static str {
        word(self.seen.power())
    }

    /// A device that calls a host off which is heard is asked of another's plug, or lies.
    pub fn doubt(&mut self, status: &Status) {
        if status.peer != Liveness::Alive {
            return;
        }
        let believed =
            |seen: &&mut DeviceSeen| seen.power == PeerPower::Off && seen.trouble.is_none();
        for seen in self.seen.0.iter_mut().filter(believed) {
            seen.trouble = Some("it calls the peer off, which is heard: is that its plug?".into());
        }
    }
}

/// Does what the node orders, each ending in its report, and asks the devices now and then; a
/// question is broken off for an order. Without a fence nobody listens.
pub(super) async fn tend(shared: Arc<Shared>, mut orders: UnboundedReceiver<Ticket>) {
    let (fence, limit) = {
        let config = shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fence) = config.fence.clone() else { return };
        (fence, config.timing.fence)
    };
    let mut look_at = Moment::now();
    let mut next = None;
    loop {
        let order = match next.take() {
            Some(ticket) => Some(ticket),
            None => tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(ticket) => Some(ticket),
                    None => return,
                },
                () = tokio::time::sleep_until(look_at) => None,
            },
        };
        if let Some(ticket) = order {
            let seen = power_off(&fence, limit).await;
            let power = seen.power();
            note(&shared, true, seen);
            work::tell(&shared.post, Event::FenceReported { ticket, power }).await;
        } else {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(ticket) => next = Some(ticket),
                    None => return,
                },
                seen = look(&fence, limit) => note(&shared, false, seen),
            }
        }
        look_at = Moment::now() + fence.monitor;
    }
}

fn note(shared: &Shared, ordered: bool, seen: FenceSeen) {
    let report = Report { at: clock::now(), ordered, seen };
    shared.journal.lock().unwrap_or_else(PoisonError::into_inner).fence(report);
}

/// Asks every device now, without a daemon; changes nothing. `None` when no fence is configured.
///
/// # Errors
/// The system gives no runtime to ask with.
pub fn ask(config: &Config) -> std::io::Result<Option<Value>> {
    let Some(fence) = &config.fence else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(look(fence, config.timing.fence));
    Ok(Some(json!({
        "peer": config.peer_name(),
        "works": seen.troubles().next().is_none(),
        "power": word(seen.power()),
        "devices": devices(&seen),
    })))
}

fn devices(seen: &FenceSeen) -> Value {
    let device = |seen: &DeviceSeen| json!({"name": seen.device, "power": word(seen.power), "trouble": seen.trouble});
    seen.0.iter().map(device).collect()
}

fn word(power: PeerPower) -> &'static str {
    match power {
        PeerPower::Off => "off",
        PeerPower::On => "on",
        PeerPower::Unknown => "unknown",
    }
}

/// What `status` says of it; `Null` when none is configured.
pub fn data(sight: Option<FenceSight>, report: Option<&Report>, now: Instant) -> Value {
    let Some(sight) = sight else { return Value::Null };
    let age = |at: Option<Instant>| at.map(|at| ms(now, at));
    json!({
        "works": report.map(works),
        "asked_ms": age(report.map(|report| report.at)),
        "power": report.map(Report::power),
        "devices": report.map(|report| devices(&report.seen)),
        "off_ms": age(sight.off_since),
        "pending_ms": age(sight.pending_since),
        "reported": sight.reported.map(|(_, power)| word(power)),
        "reported_ms": age(sight.reported.map(|(at, _)| at)),
        "failures": sight.failures,
        "next_try_ms": sight.next_try.map(|at| ms(at, now)),
        "lied_ms": age(sight.lied_at),
    })
}

/// No device has shown a trouble.
pub fn works(report: &Report) -> bool {
    report.seen.troubles().next().is_none()
}

/// The evidence of `explain`.
pub fn evidence(
    config: &Config,
    sight: Option<FenceSight>,
    report: Option<&Report>,
    now: Instant,
) -> Vec<String> {
    let Some(sight) = sight else { return Vec::new() };
    let peer = config.peer_name();
    let ago = |at: Instant| span(now.since(at));
    let mut lines = Vec::new();
    match report {
        None => lines.push("the fence was not asked yet".to_owned()),
        Some(report) => {
            let age = ago(report.at);
            for seen in &report.seen.0 {
                lines.push(match (&seen.trouble, seen.power) {
                    (Some(trouble), _) => format!("fence {}, {age} ago: {trouble}", seen.device),
                    (None, power) => {
                        format!(
                            "fence {}, {age} ago: it works, {peer} is {}",
                            seen.device,
                            word(power)
                        )
                    }
                });
            }
        }
    }
    if let Some(since) = sight.off_since {
        lines.push(format!("{peer} was powered off {} ago, and not heard since", ago(since)));
    }
    if let Some(since) = sight.pending_since {
        lines.push(format!("the fence was told {} ago to power {peer} off", ago(since)));
    }
    if let (Some((at, power)), None) = (sight.reported, sight.off_since) {
        let (word, age) = (word(power), ago(at));
        lines.push(format!("the last order to power {peer} off ended {age} ago: {word}"));
    }
    if let Some(at) = sight.next_try {
        let (failures, wait) = (sight.failures, span(at.since(now)));
        lines.push(format!(
            "{failures} order(s) did not help; the next one in {wait} at the soonest"
        ));
    }
    if let Some(at) = sight.lied_at {
        lines.push(format!(
            "{peer} was heard {} ago although the fence had called it off: it is not believed until \
             {peer} was started again",
            ago(at)
        ));
    }
    lines
}
