//! What the cluster says of both instances in the transition that an action is part of.

use crate::ocf::parameter::Reader;

/// The variables `OCF_RESKEY_CRM_meta_notify_…`, which clones with `notify=true` are given.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    when: String,
    operation: String,
    active: Vec<String>,
    starting: Vec<String>,
    stopping: Vec<String>,
    /// The lists were given at all.
    given: bool,
}

impl Notice {
    pub(super) fn read(reader: &Reader<'_>) -> Notice {
        let word = |name: &str| reader.variable(&format!("OCF_RESKEY_CRM_meta_notify_{name}"));
        let nodes = |name: &str| -> Vec<String> {
            let list = word(&format!("{name}_uname")).unwrap_or_default();
            list.split_whitespace().map(str::to_owned).collect()
        };
        let lists = ["active", "start", "stop", "promote", "demote"].map(nodes);
        let given = lists.iter().any(|list| !list.is_empty());
        let [active, starting, stopping, _, _] = lists;
        Notice {
            when: word("type").unwrap_or_default(),
            operation: word("operation").unwrap_or_default(),
            active,
            starting,
            stopping,
            given,
        }
    }

    /// It is told before or after (`"pre"`, `"post"`) this operation.
    pub(super) fn is(&self, when: &str, operation: &str) -> bool {
        self.when == when && self.operation == operation
    }

    /// Whether the instance on `node` runs by now, or by the time of a promotion; `None` when the
    /// cluster does not say. A host that was fenced counts as stopped, one that is only silent does
    /// not: its instance stays among the active ones.
    pub(super) fn is_running(&self, node: &str) -> Option<bool> {
        let is_in = |list: &[String]| list.iter().any(|name| name == node);
        if !self.given {
            return None;
        }
        let is_stopped = is_in(&self.stopping);
        // Of a restart the stop comes first.
        let is_started = is_in(&self.starting) && !self.is("post", "stop");
        Some(is_started || is_in(&self.active) && !is_stopped)
    }
}
