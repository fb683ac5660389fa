//! OCF resource agents (Resource Agent API 1.1), for pairs that Pacemaker runs.
//!
//! One process does one action of one agent by the same adapters and gates as the daemon's, looks
//! at what came of it, and ends with the exit code for what was **seen**. Who decides is the
//! cluster: nothing here has a lease, a term or a peer.
//!
//! An agent is a table ([`Agent`]): its metadata is printed from the same parameters that are read.

pub mod action;
pub mod call;
pub mod code;
pub mod floating;
pub mod metadata;
pub mod parameter;
pub mod pbx;
pub mod postgres;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use self::action::{Action, Offer};
use self::code::{Answer, Code};
use self::metadata::Metadata;
use self::parameter::{Parameter, Reader};

/// A resource agent.
pub struct Agent {
    /// Its type (`ocf:duotone:NAME`).
    pub name: &'static str,
    /// A few words.
    pub short: &'static str,
    /// Sentences that an administrator understands.
    pub long: &'static str,
    /// What it is told.
    pub parameters: &'static [Parameter],
    /// What it can do, with the times that suit most.
    pub offers: &'static [Offer],
    /// Does one action; [`Action::MetaData`] is done for it.
    pub perform: fn(Action, Reader<'_>) -> Result<Code, Answer>,
}

/// Every agent.
pub const AGENTS: &[&Agent] = &[&floating::AGENT, &pbx::AGENT, &postgres::AGENT];

/// `duotone ocf AGENT ACTION`, which the cluster calls by way of the files in `ocf/`: does it and
/// returns its exit code; `None` when the command line is something else.
pub fn called(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let words: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let words: Vec<&str> = words.iter().map_while(|word| word.to_str()).collect();
    let ["ocf", rest @ ..] = words.as_slice() else { return None };
    let environment = |name: &str| std::env::var(name).ok();
    let answer = match rest {
        [agent, action] => answer(agent, action, &environment),
        _ => Answer::new(Code::Args, "call it as: duotone ocf AGENT ACTION"),
    };
    if !answer.reason.is_empty() {
        // The cluster shows this line to the administrator; a closed pipe has nobody to show it to.
        let _ = writeln!(std::io::stderr(), "ocf-exit-reason:{}", answer.reason);
    }
    Some(answer.code.into())
}

/// One action of one agent, with its parameters from `environment`.
pub fn answer(agent: &str, action: &str, environment: &dyn Fn(&str) -> Option<String>) -> Answer {
    let Some(agent) = AGENTS.iter().find(|each| each.name == agent) else {
        let names: Vec<&str> = AGENTS.iter().map(|each| each.name).collect();
        let words = format!("there is no agent {agent}; there are {}", names.join(", "));
        return Answer::new(Code::Args, words);
    };
    let offered = |action: &Action| agent.offers.iter().any(|offer| offer.action == *action);
    let Some(action) = Action::parse(action).filter(offered) else {
        let words: Vec<&str> = agent.offers.iter().map(|offer| offer.action.word()).collect();
        let reason = format!("{} has no action {action}; it has {}", agent.name, words.join(", "));
        return Answer::new(Code::Unimplemented, reason);
    };
    if action == Action::MetaData {
        return match write!(std::io::stdout(), "{}", Metadata(agent)) {
            Ok(()) => Code::Success.into(),
            Err(error) => Answer::new(Code::Generic, format!("printing the metadata: {error}")),
        };
    }
    match (agent.perform)(action, Reader::new(environment)) {
        Ok(code) => code.into(),
        Err(answer) => answer,
    }
}
