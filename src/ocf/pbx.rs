//! `ocf:duotone:pbx`: a PBX, or any other service, with questions whether it works.
//!
//! The service has a session of its own and outlives the agent; a record says which it is. Start
//! and stop of one resource exclude each other by a lock that a service inherits until it begins,
//! so that a stop never overlooks what a killed start was about to run.

mod parameters;

use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use self::parameters::Asked;
use super::Agent;
use super::action::{Action, Offer};
use super::code::{Answer, Code};
use super::parameter::Reader;
use crate::adapters::owner::{self, Refused};
use crate::adapters::probes;
use crate::adapters::process::output::{JOURNAL, journal};
use crate::adapters::process::session::{self, Session};
use crate::adapters::process::{self, record};
use crate::config::{Accept, Probe, ProbeKind, Transport};

/// The agent.
pub const AGENT: Agent = Agent {
    name: "pbx",
    short: "A PBX or another service, asked whether it works",
    long: "Runs a command in the foreground, in a session of its own, and stops all of that \
           session: SIGTERM, SIGKILL after stop_timeout, seen gone. A systemd unit of the same \
           service must be disabled. \
           \n\nA start ends when every probe answers. It is refused when something answers already \
           that this resource did not start. \
           \n\nMonitor, depth 0: the main process lives. Depth 10: the probes answer; a probe that \
           could not be asked (no socket, no route) says nothing about the service, and the \
           resource is degraded (190) then, not failed. \
           \n\nIt needs the daemon (duotone run) not to run with the same command, and refuses to \
           start beside it.",
    parameters: parameters::ALL,
    offers: &[
        Offer::once(Action::Start, 60),
        Offer::once(Action::Stop, 30),
        Offer { interval: 10, ..Offer::once(Action::Monitor, 20) },
        Offer { interval: 15, depth: 10, ..Offer::once(Action::Monitor, 20) },
        Offer::once(Action::ReloadAgent, 10),
        Offer::once(Action::ValidateAll, 10),
        Offer::once(Action::MetaData, 5),
    ],
    perform,
};

/// While it starts it is asked at this pace.
const WHILE_STARTING: Duration = Duration::from_millis(50);
/// Without a probe, it has started when it is still there after this.
const SETTLED: Duration = Duration::from_millis(300);

fn perform(action: Action, mut reader: Reader<'_>) -> Result<Code, Answer> {
    let asked = Asked::read(&mut reader);
    if let Err(wrong) = reader.finish() {
        // What was never started with parameters that can be read need not be stopped, and a stop
        // that fails has the host fenced.
        let started = owner::has_any(&asked.call.instance).unwrap_or(true);
        return if action == Action::Stop && !started { Ok(Code::Success) } else { Err(wrong) };
    }
    if action == Action::ValidateAll {
        return validate(&asked);
    }
    let records = owner::directory().map_err(failed)?;
    match action {
        Action::Start => start(&asked, &records),
        Action::Stop => stop(&asked, &records),
        Action::Monitor => monitor(&asked, &records),
        // What may change is read anew by every action.
        Action::ReloadAgent => Ok(Code::Success),
        Action::Promote
        | Action::Demote
        | Action::Notify
        | Action::ValidateAll
        | Action::MetaData => Err(Code::Unimplemented.into()),
    }
}

fn validate(asked: &Asked) -> Result<Code, Answer> {
    let wrong = |words| Err(Answer::new(Code::Installed, words));
    let program = asked.service.command.first().map(Path::new);
    if let Some(program) = program.filter(|program| !program.is_file()) {
        return wrong(format!("there is no program {} on this host", program.display()));
    }
    if !asked.service.directory.is_dir() {
        return wrong(format!("there is no directory {}", asked.service.directory.display()));
    }
    match &asked.service.user {
        Some(user) if nix::unistd::User::from_name(user).map_err(failed)?.is_none() => {
            wrong(format!("there is no user {user} on this host"))
        }
        Some(_) | None => Ok(Code::Success),
    }
}

/// What is there of a service that was started here.
enum Seen {
    Nothing,
    Runs,
    /// The main process is gone, and others of its session are not.
    Remains,
}

fn look(asked: &Asked, records: &Path) -> Result<Seen, Answer> {
    let Some(session) = record::read(records, &asked.call.instance).map_err(failed)? else {
        return Ok(Seen::Nothing);
    };
    let lives = |it: session::Seen| it.started == session.started && !it.dead;
    if session::seen(session.id).map_err(failed)?.is_some_and(lives) {
        return Ok(Seen::Runs);
    }
    Ok(if members(session)? { Seen::Remains } else { Seen::Nothing })
}

fn members(session: Session) -> Result<bool, Answer> {
    let members = waited_for(session.members())?.map_err(failed)?;
    Ok(!members.is_empty())
}

fn start(asked: &Asked, records: &Path) -> Result<Code, Answer> {
    validate(asked)?;
    let _lock = lock(asked, records)?;
    owner::claim(&asked.resources(), &asked.call.instance).map_err(owned)?;
    let started = match look(asked, records)? {
        Seen::Runs => return until_it_works(asked, None),
        Seen::Remains => end(asked, records).and_then(|()| begin(asked, records)),
        Seen::Nothing => begin(asked, records),
    };
    match started {
        Ok(child) => until_it_works(asked, Some(child)),
        Err(answer) => {
            give_up(asked);
            Err(answer)
        }
    }
}

fn begin(asked: &Asked, records: &Path) -> Result<Child, Answer> {
    for probe in &asked.service.probes {
        if let probes::Answer::Good(_) = waited_for(probes::ask(probe))? {
            let words = format!(
                "something answers {} already that this resource did not start; stop it, and \
                 disable its unit (systemctl disable --now)",
                Name(probe)
            );
            return Err(Answer::new(Code::Generic, words));
        }
    }
    let output = output(asked).map_err(|error| failed(format!("a place for its log: {error}")))?;
    process::start_lasting(&asked.service, records, output)
        .map_err(|error| Answer::new(Code::Installed, error.to_string()))
}

/// Waits until it answers, or has ended, or time is up. After a start that failed the cluster
/// stops it.
fn until_it_works(asked: &Asked, mut child: Option<Child>) -> Result<Code, Answer> {
    let begun = Instant::now();
    loop {
        if let Some(ended) = child.as_mut().map(Child::try_wait).transpose().map_err(failed)?
            && let Some(status) = ended
        {
            let words = format!("it ended at once ({status}); see {}", log_of(asked));
            return Err(Answer::new(Code::Generic, words));
        }
        let silent = first_silent(&asked.service.probes, 1)?;
        match silent {
            None if !asked.service.probes.is_empty() || begun.elapsed() >= SETTLED => {
                return Ok(Code::Success);
            }
            Some((probe, answer)) if asked.call.left(Duration::MAX).is_zero() => {
                let (name, log) = (Name(probe), log_of(asked));
                let words = format!("it runs and does not work: {name}: {answer}; see {log}");
                return Err(Answer::new(Code::Generic, words));
            }
            None | Some(_) => std::thread::sleep(WHILE_STARTING),
        }
    }
}

fn stop(asked: &Asked, records: &Path) -> Result<Code, Answer> {
    let _lock = lock(asked, records)?;
    end(asked, records)?;
    give_up(asked);
    Ok(Code::Success)
}

fn end(asked: &Asked, records: &Path) -> Result<(), Answer> {
    let name = &asked.call.instance;
    // A damaged record names nobody, and so nobody was seen gone.
    record::read(records, name).map_err(failed)?;
    let limit = asked.call.left(Duration::MAX);
    let grace = asked.service.stop_timeout.min(limit / 2);
    let mut last = String::new();
    let ended = waited_for(async {
        let obstacle = |what| last = what;
        tokio::time::timeout(limit, process::stop_leftover(records, name, grace, obstacle)).await
    })?;
    ended.map_err(|_| Answer::new(Code::Generic, format!("not seen stopped in time: {last}")))
}

fn give_up(asked: &Asked) {
    // All of it is seen gone; a record that stays keeps nobody but a daemon away, which names it.
    let _ = owner::give_up(&asked.resources(), &asked.call.instance);
}

fn monitor(asked: &Asked, records: &Path) -> Result<Code, Answer> {
    match look(asked, records)? {
        Seen::Nothing => Ok(Code::NotRunning),
        Seen::Remains => {
            Err(Answer::new(Code::Generic, "the main process has ended, others of it have not"))
        }
        Seen::Runs if asked.call.depth < 10 => Ok(Code::Success),
        Seen::Runs => match first_silent(&asked.service.probes, 3)? {
            None => Ok(Code::Success),
            Some((probe, answer @ probes::Answer::CouldNotRun(_))) => {
                Err(Answer::new(Code::Degraded, format!("{}: {answer}", Name(probe))))
            }
            Some((probe, answer)) => {
                let words = format!("{}: {answer}; see {}", Name(probe), log_of(asked));
                Err(Answer::new(Code::Generic, words))
            }
        },
    }
}

/// The first probe that has no good answer to any of `tries` questions, with the last answer; one
/// that is bad before one that could not be asked.
fn first_silent(probes: &[Probe], tries: u32) -> Result<Option<(&Probe, probes::Answer)>, Answer> {
    let mut unknown = None;
    for probe in probes {
        let mut last = waited_for(probes::ask(probe))?;
        for _ in 1..tries {
            if matches!(last, probes::Answer::Good(_)) {
                break;
            }
            last = waited_for(probes::ask(probe))?;
        }
        match last {
            probes::Answer::Good(_) => {}
            probes::Answer::Bad(_) => return Ok(Some((probe, last))),
            probes::Answer::CouldNotRun(_) => unknown = unknown.or(Some((probe, last))),
        }
    }
    Ok(unknown)
}

/// A probe as the parameter names it; `None` for one that it cannot name.
#[must_use]
pub fn word(kind: &ProbeKind) -> Option<String> {
    match kind {
        ProbeKind::Tcp(target) => Some(format!("tcp:{target}")),
        ProbeKind::Sip(sip) if sip.accept == Accept::sip() => match sip.transport {
            Transport::Udp => Some(format!("sip-udp:{}", sip.target)),
            Transport::Tcp => Some(format!("sip-tcp:{}", sip.target)),
            Transport::Tls(_) => None,
        },
        ProbeKind::Sip(_)
        | ProbeKind::Http(_)
        | ProbeKind::Sql(_)
        | ProbeKind::Command(_)
        | ProbeKind::Icmp(_) => None,
    }
}

/// A probe for people.
struct Name<'p>(&'p Probe);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match word(&self.0.kind) {
            Some(word) => f.write_str(&word),
            None => self.0.kind.fmt(f),
        }
    }
}

fn lock(asked: &Asked, records: &Path) -> Result<File, Answer> {
    let path = records.join(format!("{}.lock", asked.call.instance));
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(failed)?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if !asked.call.left(Duration::MAX).is_zero() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(failed(format!("another action is under way: {error}"))),
        }
    }
}

fn log_file(asked: &Asked) -> Option<PathBuf> {
    let file = || PathBuf::from(format!("/var/log/duotone/{}.log", asked.call.instance));
    let journal = Path::new(JOURNAL).exists();
    asked.log.clone().or_else(|| (!journal).then(file))
}

fn log_of(asked: &Asked) -> String {
    match log_file(asked) {
        Some(file) => file.display().to_string(),
        None => format!("journalctl -t {}", asked.call.instance),
    }
}

fn output(asked: &Asked) -> io::Result<File> {
    let Some(path) = log_file(asked) else {
        let stream = journal(&asked.call.instance)?;
        return Ok(File::from(OwnedFd::from(stream)));
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// Runs this to its end. Each has a runtime of its own, whose threads end with it: what forks has
/// one thread.
fn waited_for<T>(work: impl Future<Output = T>) -> Result<T, Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(failed)?.block_on(work))
}

fn owned(refused: Refused) -> Answer {
    match refused {
        Refused::Daemon { .. } | Refused::Agent { .. } => {
            Answer::new(Code::Configured, refused.to_string())
        }
        Refused::Io(_) => failed(refused),
    }
}

fn failed(error: impl Display) -> Answer {
    Answer::new(Code::Generic, error.to_string())
}
