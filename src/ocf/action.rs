//! The actions of the Resource Agent API 1.1.

/// What is asked of an agent: the first word of its command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Have it run; where there are roles, unpromoted.
    Start,
    /// Have it not run.
    Stop,
    /// Say whether it runs, as deeply as `OCF_CHECK_LEVEL` says.
    Monitor,
    /// Give it the promoted role.
    Promote,
    /// Take the promoted role from it.
    Demote,
    /// Hear what the cluster does with the other instances.
    Notify,
    /// Take over parameters that were changed and are marked reloadable.
    ReloadAgent,
    /// Say whether the parameters are right.
    ValidateAll,
    /// Describe the agent.
    MetaData,
}

impl Action {
    /// Every action, by its word.
    pub const ALL: [(Action, &'static str); 9] = [
        (Action::Start, "start"),
        (Action::Stop, "stop"),
        (Action::Monitor, "monitor"),
        (Action::Promote, "promote"),
        (Action::Demote, "demote"),
        (Action::Notify, "notify"),
        (Action::ReloadAgent, "reload-agent"),
        (Action::ValidateAll, "validate-all"),
        (Action::MetaData, "meta-data"),
    ];

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|(_, name)| *name == word).map(|(action, _)| action)
    }

    /// The word.
    pub fn word(self) -> &'static str {
        // Every action stands in the list; a test holds it.
        Action::ALL.into_iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }
}

/// An action as the agent's metadata offers it.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Which.
    pub action: Action,
    /// How long the cluster should let it take, seconds.
    pub timeout: u32,
    /// Between two of them, seconds; zero for one that is not repeated.
    pub interval: u32,
    /// Of a monitor: how deep (`OCF_CHECK_LEVEL`).
    pub depth: u32,
    /// Of a monitor: the role that it is for ("Promoted", "Unpromoted"); empty for any.
    pub role: &'static str,
}

impl Offer {
    /// An action that is done once.
    pub const fn once(action: Action, timeout: u32) -> Offer {
        Offer { action, timeout, interval: 0, depth: 0, role: "" }
    }
}
