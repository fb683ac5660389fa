//! What outlives a host: desk phones that registered before, and calls that were set up before. Both
//! are played with sipp, which retransmits here as a phone does: what counts is whether an answer
//! comes from the host that took over, not how fast.

use std::fmt;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::clock::wait_until;
use super::namespaces::thread_in;
use super::phone::Phone;
use super::world::{FLOATING, PHONE, PHONE_ADDRESS};

/// Desk phones that register.
const DESKS: usize = 20;
/// Of them so many are in a call.
const CALLS: usize = 10;
/// Where the desk phones answer.
const DESK_PORT: u16 = 5071;
/// Where the long calls come from.
const LONG_PORT: u16 = 5067;
/// For all of them to be answered; a phone retransmits for longer.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

const ENROL: &str = include_str!("sipp/enrol.xml");
const DESK: &str = include_str!("sipp/desk.xml");
const LONG: &str = include_str!("sipp/long.xml");
const REACH: &str = include_str!("sipp/reach.xml");

/// What was there before, and what of it was answered after.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Survived {
    /// Phones that had registered.
    pub registered: usize,
    /// Of them, those that a call reached without their registering again.
    pub reachable: usize,
    /// Calls that were up.
    pub calls: usize,
    /// Of them, those whose re-INVITE was answered.
    pub changed: usize,
    /// Of them, those whose BYE was answered.
    pub ended: usize,
}

impl Survived {
    /// Everything that there was, and as much as there was to be.
    pub fn all(&self) -> bool {
        let Survived { registered, reachable, calls, changed, ended } = *self;
        (registered, reachable) == (DESKS, DESKS)
            && (calls, changed, ended) == (CALLS, CALLS, CALLS)
    }
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Survived { registered, reachable, calls, changed, ended } = self;
        write!(
            f,
            "registered before, reachable after: {reachable} of {registered} · calls from before: \
             re-INVITE {changed} of {calls}, BYE {ended} of {calls}"
        )
    }
}

/// Phones that are registered, and calls that are up and wait.
pub struct Before {
    files: PathBuf,
    round: usize,
    desk: Child,
    long: Child,
    registered: usize,
    calls: usize,
}

/// Registers the desk phones and sets the calls up, through the floating address.
///
/// # Errors
/// sipp cannot be started. What could not be registered or set up is counted later.
pub fn before(phone: &Phone, round: usize) -> anyhow::Result<Before> {
    let files = phone.files().join(format!("survival-{round}"));
    fs::create_dir_all(&files)?;
    for (name, text) in [("enrol", ENROL), ("desk", DESK), ("long", LONG), ("reach", REACH)] {
        fs::write(files.join(format!("{name}.xml")), text)?;
    }
    let desk = sipp(phone, &files, "desk", DESK_PORT, &[])?;
    let mut enrol = sipp(phone, &files, "enrol", 5066, &["-m", &DESKS.to_string()])?;
    finish(&mut enrol)?;
    let registered = told(&files, "enrol", "registered");
    let (most, ids) = (CALLS.to_string(), format!("long{round}-%u"));
    let long = sipp(phone, &files, "long", LONG_PORT, &["-m", &most, "-cid_str", &ids])?;
    wait_until(PATIENCE, LOOK_EVERY, || told(&files, "long", "up") == CALLS)?;
    let calls = told(&files, "long", "up");
    Ok(Before { files, round, desk, long, registered, calls })
}

impl Before {
    /// Has every call go on and every phone called, and counts what is answered.
    ///
    /// # Errors
    /// The phone's host cannot be used.
    pub fn after(mut self, phone: &Phone) -> anyhow::Result<Survived> {
        let round = self.round;
        let go_on = move || {
            let Ok(socket) = UdpSocket::bind((PHONE_ADDRESS, 0)) else { return };
            for number in 1..=CALLS {
                // One that is not told is counted as one that was not answered.
                let _ = socket.send_to(word(round, number).as_bytes(), (PHONE_ADDRESS, LONG_PORT));
            }
        };
        thread_in(PHONE, go_on)?.join().ok().context("the phone's thread has ended early")?;
        let mut reach = sipp(phone, &self.files, "reach", 5068, &["-m", &DESKS.to_string()])?;
        finish(&mut reach)?;
        finish(&mut self.long)?;
        Ok(Survived {
            registered: self.registered,
            reachable: told(&self.files, "reach", "reached"),
            calls: self.calls,
            changed: told(&self.files, "long", "re-INVITE"),
            ended: told(&self.files, "long", "BYE"),
        })
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        for child in [&mut self.long, &mut self.desk] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// sipp with one of the scenarios, its words in a log.
fn sipp(
    phone: &Phone,
    files: &Path,
    name: &str,
    port: u16,
    more: &[&str],
) -> anyhow::Result<Child> {
    let mut command = phone.sipp(name);
    command.arg("-sf").arg(files.join(format!("{name}.xml"))).args(["-p", &port.to_string()]);
    command.args(["-r", "50", "-default_behaviors", "none", "-trace_logs", "-log_file"]);
    command.arg(log(files, name)).args(more).arg(FLOATING.to_string());
    phone.spawn(command)
}

/// Waits for its end, or ends it.
fn finish(child: &mut Child) -> anyhow::Result<()> {
    wait_until(PATIENCE, LOOK_EVERY, || child.try_wait().is_ok_and(|status| status.is_some()))?;
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

fn log(files: &Path, name: &str) -> PathBuf {
    files.join(format!("{name}.log"))
}

/// How many different ones of a kind are in a log.
fn told(files: &Path, name: &str, kind: &str) -> usize {
    let text = fs::read_to_string(log(files, name)).unwrap_or_default();
    let of_kind = text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    of_kind.collect::<std::collections::BTreeSet<_>>().len()
}

/// What a waiting call takes for its word: it is known by its Call-ID.
fn word(round: usize, number: usize) -> String {
    format!(
        "OPTIONS sip:caller@{PHONE_ADDRESS}:{LONG_PORT} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {PHONE_ADDRESS}:9;branch=z9hG4bKword{round}-{number}\r\n\
         From: <sip:lab@{PHONE_ADDRESS}>\r\nTo: <sip:caller@{PHONE_ADDRESS}>\r\n\
         Call-ID: long{round}-{number}\r\nCSeq: 9 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_missing_is_not_all() {
        let all = Survived {
            registered: DESKS,
            reachable: DESKS,
            calls: CALLS,
            changed: CALLS,
            ended: CALLS,
        };
        assert!(all.all());
        assert!(!Survived { reachable: DESKS - 1, ..all }.all());
        assert!(!Survived { ended: CALLS - 1, ..all }.all());
        assert!(!Survived { calls: CALLS - 1, changed: CALLS - 1, ended: CALLS - 1, ..all }.all());
        assert!(!Survived::default().all(), "nothing to survive proves nothing");
        assert_eq!(
            all.to_string(),
            "registered before, reachable after: 20 of 20 · calls from before: re-INVITE 10 of 10, \
             BYE 10 of 10"
        );
    }
}
