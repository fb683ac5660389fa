//! What an action answers: the exit codes of the Resource Agent API 1.1, and the reason beside one.

/// The exit code of an action. Pacemaker acts on these numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// Done; of `monitor`: it runs, and where there are roles it is unpromoted.
    Success = 0,
    /// It failed, or cannot be told: never taken for "not running".
    Generic = 1,
    /// The agent was called wrongly.
    Args = 2,
    /// There is no such action.
    Unimplemented = 3,
    /// Permission is missing.
    Permission = 4,
    /// Something that it needs is not installed on this host.
    Installed = 5,
    /// The parameters are wrong, on every host.
    Configured = 6,
    /// It was seen not to run.
    NotRunning = 7,
    /// It runs, promoted.
    RunningPromoted = 8,
    /// It was promoted and has failed.
    FailedPromoted = 9,
    /// It runs, not as well as it should.
    Degraded = 190,
    /// It runs, promoted, not as well as it should.
    DegradedPromoted = 191,
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

/// An answer with what the administrator is told (`ocf-exit-reason:`): what was seen, what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The exit code.
    pub code: Code,
    /// One line; empty where the code says it all.
    pub reason: String,
}

impl Answer {
    /// A code with its reason.
    pub fn new(code: Code, reason: impl Into<String>) -> Answer {
        Answer { code, reason: reason.into() }
    }
}

impl From<Code> for Answer {
    fn from(code: Code) -> Answer {
        Answer { code, reason: String::new() }
    }
}
