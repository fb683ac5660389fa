//! What the cluster says beside the parameters: for whom, how deep, and how long it will wait.

use std::time::{Duration, Instant};

use super::parameter::Reader;

/// For a call by hand, which says nothing.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One call of an agent.
#[derive(Clone, Debug)]
pub struct Call {
    /// The resource's name in the cluster, with its number where it is a globally unique clone.
    pub instance: String,
    /// Of a monitor: how deeply it shall look (`OCF_CHECK_LEVEL`).
    pub depth: u32,
    /// When to have answered, at the latest: the cluster kills without a word.
    pub deadline: Instant,
    /// Of an instance of a clone: its number.
    pub number: Option<usize>,
    /// The instances of that clone differ from each other.
    pub globally_unique: bool,
}

impl Call {
    /// Reads it.
    pub fn read(reader: &Reader<'_>) -> Call {
        let meta = |name: &str| reader.variable(&format!("OCF_RESKEY_CRM_meta_{name}"));
        let instance = reader.variable("OCF_RESOURCE_INSTANCE").unwrap_or("default".into());
        let limit = meta("timeout").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let limit = limit.filter(|limit| !limit.is_zero()).unwrap_or(TIMEOUT);
        // To give up, clean up and say so takes time as well.
        let margin = (limit / 5).clamp(Duration::from_millis(100), Duration::from_secs(3));
        Call {
            // It names files.
            instance: instance.replace('/', "_"),
            depth: reader.variable("OCF_CHECK_LEVEL").and_then(|it| it.parse().ok()).unwrap_or(0),
            deadline: Instant::now() + limit.saturating_sub(margin),
            number: meta("clone").and_then(|number| number.parse().ok()),
            globally_unique: meta("globally_unique").is_some_and(|it| it == "true"),
        }
    }

    /// What is left of the time, but not more than `most`.
    pub fn left(&self, most: Duration) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(most)
    }
}
