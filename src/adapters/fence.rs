//! The fence: the `fence_*` agents of the distribution, run after the FenceAgentAPI of the
//! fence-agents project. Options go as `key=value` lines to standard input, so that no password is
//! seen in `/proc` or in a log; the exit code is the answer.
//!
//! Off is what every device's `status` says, never what `off` says. Nothing is tried twice here:
//! whether the peer is to be powered off again is the node's to decide.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::process::once::{self, Errand};
use super::process::{Exit, StartError};
use crate::config::password::{self, PasswordError};
use crate::config::{Fence, FenceDevice};
use crate::protocol::event::PeerPower;

/// The exit code of `status`, and of `monitor` of some devices: the plug is off. 0 is on, or done.
const OFF: i32 = 2;
/// Between two questions whether a plug is off by now.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What one device was seen to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceSeen {
    /// Its name.
    pub device: String,
    /// What its `status` says of the peer's power.
    pub power: PeerPower,
    /// What did not work, in the agent's own last words.
    pub trouble: Option<String>,
}

/// What all devices were seen to do, in the order of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FenceSeen(pub Vec<DeviceSeen>);

impl FenceSeen {
    /// The peer's power: off when every device says so, on when one says so.
    pub fn power(&self) -> PeerPower {
        let says = |power| move |seen: &DeviceSeen| seen.power == power;
        if !self.0.is_empty() && self.0.iter().all(says(PeerPower::Off)) {
            PeerPower::Off
        } else if self.0.iter().any(says(PeerPower::On)) {
            PeerPower::On
        } else {
            PeerPower::Unknown
        }
    }

    /// What did not work, device by device.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let trouble =
            |seen: &DeviceSeen| Some(format!("{}: {}", seen.device, seen.trouble.as_ref()?));
        self.0.iter().filter_map(trouble)
    }
}

/// Cuts the peer's power, and sees whether it is cut; ends within `limit`. Dropping the future kills
/// the agents.
pub async fn power_off(fence: &Fence, limit: Duration) -> FenceSeen {
    each(fence, move |device| off(device, limit)).await
}

/// Asks every device whether it works and what it says of the peer's power; changes nothing, and
/// ends within `limit`.
pub async fn look(fence: &Fence, limit: Duration) -> FenceSeen {
    each(fence, move |device| monitor(device, limit)).await
}

/// All devices at once: what one of them takes is not the other's time.
async fn each<F>(fence: &Fence, work: impl Fn(FenceDevice) -> F) -> FenceSeen
where
    F: Future<Output = DeviceSeen> + Send + 'static,
{
    let mut running = JoinSet::new();
    for (place, device) in fence.devices.iter().enumerate() {
        let work = work(device.clone());
        running.spawn(async move { (place, work.await) });
    }
    let unknown = |device: &FenceDevice| DeviceSeen {
        device: device.name.clone(),
        power: PeerPower::Unknown,
        trouble: Some("the question was broken off".into()),
    };
    let mut seen: Vec<DeviceSeen> = fence.devices.iter().map(unknown).collect();
    while let Some(ended) = running.join_next().await {
        // One that panicked stays as it was: unknown.
        if let Ok((place, found)) = ended {
            seen[place] = found;
        }
    }
    FenceSeen(seen)
}

/// `off`, then `status` until it says off; an `off` that failed is not waited for.
async fn off(device: FenceDevice, limit: Duration) -> DeviceSeen {
    let end = Instant::now() + limit;
    // The last quarter is for the question whether it is off.
    let failed = match run(&device, "off", limit * 3 / 4).await {
        Ok(OFF) => Some(format!("off: the agent exited with code {OFF}")),
        Ok(_) => None,
        Err(failure) => Some(format!("off: {failure}")),
    };
    let mut seen = None;
    loop {
        match status(&device, end.saturating_duration_since(Instant::now())).await {
            // Cut off at the end: what was answered before stands.
            Err(Failure::TooLong { .. }) if seen.is_some() => {}
            answer => seen = Some(answer),
        }
        let off = matches!(seen, Some(Ok(PeerPower::Off)));
        if off || failed.is_some() || Instant::now() + ASK_EVERY >= end {
            break;
        }
        sleep(ASK_EVERY).await;
    }
    let (power, not_off) = match seen {
        Some(Ok(PeerPower::Off)) => (PeerPower::Off, None),
        Some(Ok(power)) => (power, Some("status says that it is on".to_owned())),
        Some(Err(failure)) => (PeerPower::Unknown, Some(format!("status: {failure}"))),
        None => (PeerPower::Unknown, None),
    };
    let trouble = not_off.map(|not_off| match failed {
        Some(failed) => format!("{failed}; {not_off}"),
        None => not_off,
    });
    DeviceSeen { device: device.name, power, trouble }
}

async fn monitor(device: FenceDevice, limit: Duration) -> DeviceSeen {
    let end = Instant::now() + limit;
    // A device for a single plug answers `monitor` as it answers `status`: 2 is no failure.
    let monitored = run(&device, "monitor", limit).await;
    let asked = status(&device, end.saturating_duration_since(Instant::now())).await;
    let trouble = match (&monitored, &asked) {
        (Err(failure), _) => Some(format!("monitor: {failure}")),
        (Ok(_), Err(failure)) => Some(format!("status: {failure}")),
        (Ok(_), Ok(_)) => None,
    };
    DeviceSeen { device: device.name, power: asked.unwrap_or(PeerPower::Unknown), trouble }
}

async fn status(device: &FenceDevice, limit: Duration) -> Result<PeerPower, Failure> {
    match run(device, "status", limit).await? {
        OFF => Ok(PeerPower::Off),
        _ => Ok(PeerPower::On),
    }
}

/// Why an agent's answer is not known.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no answer within {limit:?}: the agent was killed{words}")]
    TooLong { limit: Duration, words: String },
    #[error("the agent {exit}{words}")]
    Failed { exit: Exit, words: String },
    #[error("the disk does not give the password")]
    Disk,
}

/// One run of a device's agent: 0 or [`OFF`]; everything else is a failure.
async fn run(device: &FenceDevice, action: &str, limit: Duration) -> Result<i32, Failure> {
    let end = Instant::now() + limit;
    let password = match &device.password_file {
        None => None,
        Some(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || password::read(&path));
            let read = timeout(limit, read).await.map_err(|_| Failure::Disk)?;
            Some(read.map_err(|_| Failure::Disk)??)
        }
    };
    let password = password.as_deref().map(String::as_str);
    let input = input(device, action, password);
    let left = end.saturating_duration_since(Instant::now());
    let agent = device.agent.display().to_string();
    let errand = Errand { command: vec![agent], ..Errand::default() };
    let ended = once::run(errand, input.as_bytes(), left).await?;
    let words = ended.words(password);
    match ended.exit {
        Some(Exit::Code(code @ (0 | OFF))) => Ok(code),
        Some(exit) => Err(Failure::Failed { exit, words }),
        None => Err(Failure::TooLong { limit, words }),
    }
}

fn input(device: &FenceDevice, action: &str, password: Option<&str>) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::with_capacity(4096));
    let options = device.options.iter().chain(&device.of_peer);
    let options = options.map(|(key, value)| (key.as_str(), value.as_str()));
    let password = password.map(|password| ("password", password));
    for (key, value) in [("action", action)].into_iter().chain(options).chain(password) {
        for part in [key, "=", value, "\n"] {
            lines.push_str(part);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(power: &[PeerPower]) -> PeerPower {
        let device =
            |power: &PeerPower| DeviceSeen { device: "one".into(), power: *power, trouble: None };
        FenceSeen(power.iter().map(device).collect()).power()
    }

    #[test]
    fn the_peer_is_off_when_every_device_says_so() {
        use PeerPower::{Off, On, Unknown};
        assert_eq!(seen(&[Off, Off]), Off);
        assert_eq!(seen(&[Off, On]), On);
        assert_eq!(seen(&[Off, Unknown]), Unknown);
        assert_eq!(seen(&[Unknown, On]), On);
        assert_eq!(seen(&[]), Unknown, "nobody said it");
    }
}
