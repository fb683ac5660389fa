//! The demo's stories: what is done to the pair, and what must be seen then. The README's table of
//! faults is printed from here, and the judgement reads nothing else.

use std::time::Duration;

use serde::Serialize;

use super::Durability;

/// A story.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // `statement` says of each what it is.
pub enum Scenario {
    PowerOff,
    Return,
    Switchover,
    CutEth1,
    KillPbx,
    CutEth0,
    CutBoth,
    CutPaths,
    Freeze,
    Pause,
    KillDaemon,
    HangDaemon,
    KillDatabase,
    HangDatabase,
    StandbyLost,
    PowerBoth,
    PowerBothOne,
    TenTakeovers,
    SplitLan,
}

/// Who keeps the pair reachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// duotone.
    Duotone,
    /// The least that fails over at all.
    BareFloor,
}

/// Where the role must be at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Where it was, and no address was touched.
    Untouched,
    /// On the other node.
    Moved,
    /// On either.
    Either,
}

/// How many owners the address may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owners {
    /// Never two.
    One,
    /// Two for no longer than this: the wake window of a thawed host.
    Wake(Duration),
    /// Two while the LAN is split: the exception of P1 under the LAN's arbitration alone.
    Split,
}

/// What a story promises.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Statement {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done to the pair.
    pub fault: &'static str,
    /// What must be seen, in a sentence.
    pub shows: &'static str,
    /// Where the role must be.
    pub role: Role,
    /// Owners of the address.
    pub owners: Owners,
    /// A call may stay unanswered.
    pub calls_lost: bool,
    /// A caller's outage ends within this.
    pub outage: Duration,
    /// Commits wait no longer than this.
    pub stall: Duration,
    /// A figure that is wanted, and at most how many milliseconds it should be: shown beside what
    /// was measured. Missing it breaks no promise.
    pub goal: Option<(Figure, f64)>,
}

impl Statement {
    /// The same where commits wait otherwise.
    pub fn under(self, durability: Durability) -> Statement {
        match (durability, self.name) {
            // It is held until the other returns; then the longer log is served.
            (Durability::Strict, "power-both-one") => Statement { role: Role::Either, ..self },
            _ => self,
        }
    }
}

/// What is measured besides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// A caller's outage.
    Outage,
    /// From the start of a returning host's daemon to its database streaming again.
    Rejoin,
    /// From the same to the standby being certified: the next takeover loses nothing.
    Certified,
    /// How long a thawed host still held the role that the other had taken.
    WakeWindow,
    /// A planned move as its command saw it.
    Command,
}

impl Figure {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Figure::Outage => "outage",
            Figure::Rejoin => "rejoin",
            Figure::Certified => "good standby again",
            Figure::WakeWindow => "wake window",
            Figure::Command => "command",
        }
    }
}

/// The wake window: the pulse of a thawed host runs before everything else; the rest is the lab's
/// own machine with two processors for both hosts and the phone.
const WAKE: Duration = Duration::from_millis(250);

impl Scenario {
    /// All, in the order in which they are shown.
    pub const ALL: [Scenario; 19] = [
        Scenario::PowerOff,
        Scenario::Return,
        Scenario::Switchover,
        Scenario::CutEth1,
        Scenario::KillPbx,
        Scenario::CutEth0,
        Scenario::CutBoth,
        Scenario::CutPaths,
        Scenario::Freeze,
        Scenario::Pause,
        Scenario::KillDaemon,
        Scenario::HangDaemon,
        Scenario::KillDatabase,
        Scenario::HangDatabase,
        Scenario::StandbyLost,
        Scenario::PowerBoth,
        Scenario::PowerBothOne,
        Scenario::TenTakeovers,
        Scenario::SplitLan,
    ];

    /// The three that need neither a return nor a planned move.
    pub const QUICK: [Scenario; 3] = [Scenario::PowerOff, Scenario::CutEth1, Scenario::KillPbx];

    /// What a word on the command line means: one by its name, `quick`, or `all`.
    ///
    /// # Errors
    /// It is none; those that are, are in the message.
    pub fn chosen(word: &str) -> Result<Vec<Scenario>, String> {
        match word {
            "all" => Ok(Scenario::ALL.to_vec()),
            "quick" => Ok(Scenario::QUICK.to_vec()),
            name => {
                let all = Scenario::ALL;
                let found = all.into_iter().find(|scenario| scenario.name() == name);
                let names = || all.map(Scenario::name).join(", ");
                found
                    .map(|scenario| vec![scenario])
                    .ok_or_else(|| format!("{name:?} is none of all, quick, {}", names()))
            }
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.statement().name
    }

    /// What it promises.
    #[rustfmt::skip] // one story after the other, each in the same order
    pub fn statement(self) -> Statement {
        match self {
            Scenario::PowerOff => moved(
                "power-off",
                "the active host loses its power",
                "the standby takes over; calls are answered again, phones and calls of before go on, no acknowledged record is lost",
                s(3), s(3),
            ),
            Scenario::Return => Statement {
                goal: Some((Figure::Rejoin, 3000.0)),
                ..untouched(
                    "return",
                    "the host that lost its power gets it back",
                    "it rejoins by itself and is a good standby again; nothing moves, no call is lost, \
                     no row that only it had is thrown away",
                    s(1),
                )
            },
            Scenario::Switchover => Statement {
                goal: Some((Figure::Outage, 500.0)),
                ..moved(
                    "switchover",
                    "`duotone switchover` on the active host",
                    "the roles change on purpose; no acknowledged record is lost, the old active host \
                     is a good standby",
                    s(3), s(3),
                )
            },
            Scenario::CutEth1 => untouched(
                "cut-eth1",
                "eth1 drops everything for five seconds",
                "nothing moves, no call is lost: the LAN is the second path; commits stall once, \
                 until the active host no longer waits for the replication over eth1",
                s(8),
            ),
            Scenario::KillPbx => Statement {
                calls_lost: true,
                outage: s(3),
                ..untouched(
                    "kill-pbx",
                    "the SIP server of the active host is killed",
                    "it is restarted in place, nothing moves",
                    s(1),
                )
            },
            Scenario::CutEth0 => moved(
                "cut-eth0",
                "the LAN cable of the active host is cut",
                "the role is handed to the standby over eth1; when the cable works again nothing moves",
                s(12), s(12),
            ),
            Scenario::CutBoth => moved(
                "cut-both",
                "both cables of the active host are cut for five seconds",
                "the standby takes over; the cut host gives up by itself, and rejoins when its cables \
                 work again; the row that only it wrote, never acknowledged, is in a salvage",
                s(3), s(3),
            ),
            Scenario::CutPaths => untouched(
                "cut-paths",
                "no frame passes from host to host, ARP excepted; both are on the LAN",
                "nothing moves, no call is lost: the address is answered, so the standby may not take \
                 it; commits stall once, until the active host serves alone",
                s(8),
            ),
            Scenario::Freeze => Statement {
                owners: Owners::Wake(WAKE),
                goal: Some((Figure::WakeWindow, 20.0)),
                ..moved(
                    "freeze",
                    "every process of the active host stops for ten seconds; its kernel lives",
                    "its addresses expire, the standby takes over; when it thaws it drops the role \
                     before anything else, and rejoins",
                    s(8), s(8),
                )
            },
            Scenario::Pause => Statement {
                owners: Owners::Wake(WAKE),
                goal: Some((Figure::WakeWindow, 20.0)),
                ..moved(
                    "pause",
                    "the active host stops as a paused machine does, for less than its addresses live",
                    "the standby takes over; when the host goes on it still has the addresses, and \
                     drops them before anything else (the wake window)",
                    s(3), s(3),
                )
            },
            Scenario::KillDaemon => moved(
                "kill-daemon",
                "the daemon of the active host is killed (-9); kernel and database live",
                "its addresses expire and its database is stopped before the standby takes over; \
                 started again, it rejoins",
                s(8), s(8),
            ),
            Scenario::HangDaemon => moved(
                "hang-daemon",
                "the daemon of the active host hangs (SIGSTOP) for ten seconds",
                "its addresses expire, the standby takes over; when it goes on it rejoins",
                s(8), s(8),
            ),
            Scenario::KillDatabase => Statement {
                calls_lost: true,
                outage: s(8),
                ..untouched(
                    "kill-database",
                    "every process of the active host's database is killed (-9)",
                    "it is started again in place, nothing moves; no acknowledged record is lost",
                    s(8),
                )
            },
            Scenario::HangDatabase => moved(
                "hang-database",
                "every process of the active host's database stops (SIGSTOP) and is not let go",
                "the role is given to the standby once the database was bad for `critical_down`; no \
                 acknowledged record is lost, the old active host is a good standby",
                s(15), s(15),
            ),
            Scenario::StandbyLost => untouched(
                "standby-lost",
                "the standby loses its power, and gets it back",
                "no call is lost; commits stall once, then the active host serves alone; the standby \
                 rejoins",
                s(8),
            ),
            Scenario::PowerBoth => Statement {
                role: Role::Either,
                ..moved(
                    "power-both",
                    "both hosts lose their power and get it back together",
                    "one serves, the other stands by; no acknowledged record is lost",
                    s(25), s(25),
                )
            },
            Scenario::PowerBothOne => moved(
                "power-both-one",
                "both hosts lose their power; only the standby gets it back, the other later",
                "it serves alone with every acknowledged record (`strict`: it is held and says why, \
                 until the other returns); the other rejoins",
                s(25), s(25),
            ),
            Scenario::TenTakeovers => Statement {
                role: Role::Either,
                ..moved(
                    "ten-takeovers",
                    "the active host loses its power and gets it back, ten times in a row",
                    "each time the other takes over and the old one rejoins; no acknowledged record is \
                     lost",
                    s(3), s(3),
                )
            },
            Scenario::SplitLan => Statement {
                role: Role::Either,
                owners: Owners::Split,
                ..moved(
                    "split-lan",
                    "eth1 is cut and the LAN splits between the hosts; each half reaches the gateway",
                    "the exception of P1: both serve until the LAN is whole; then one gives up, and \
                     what only it had is in a salvage",
                    s(8), s(8),
                )
            },
        }
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn moved(
    name: &'static str,
    fault: &'static str,
    shows: &'static str,
    outage: Duration,
    stall: Duration,
) -> Statement {
    Statement {
        name,
        fault,
        shows,
        role: Role::Moved,
        owners: Owners::One,
        calls_lost: true,
        outage,
        stall,
        goal: None,
    }
}

fn untouched(
    name: &'static str,
    fault: &'static str,
    shows: &'static str,
    stall: Duration,
) -> Statement {
    Statement {
        role: Role::Untouched,
        calls_lost: false,
        // Between two answers, on a busy machine; a lost call is counted as such.
        ..moved(name, fault, shows, s(1), stall)
    }
}

/// The table of faults, as the README has it (Markdown).
pub fn faults() -> String {
    let mut table = "| scenario | what happens | what must be seen |\n|---|---|---|\n".to_owned();
    for scenario in Scenario::ALL {
        let Statement { name, fault, shows, .. } = scenario.statement();
        table += &format!("| `{name}` | {fault} | {shows} |\n");
    }
    table
}
