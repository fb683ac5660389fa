//! The plan in the words of crmsh, or of pcs.

use std::fmt::Write;

use crate::ocf::action::{Action, Offer};

use super::plan::{DATABASE, Fence, MAIN, Plan, Resource};

/// In whose words. Writing to a `String` cannot fail, so its results are dropped.
#[derive(Clone, Copy)]
pub(super) enum Render {
    /// `crm configure load update FILE`.
    Crm,
    /// A script for `sh`.
    Pcs,
}

const NO_FENCE: &str = "# No fence is configured ([fence]). Until the cluster can fence, it starts \
                        nothing; that is meant: without\n# fencing two hosts that lose sight of \
                        each other both serve. Add one per host, as in\n";

impl Render {
    pub fn text(self, plan: &Plan) -> String {
        let mut text = self.head(plan);
        for Fence { resource, node } in &plan.fences {
            self.resource(&mut text, resource);
            self.never_on(&mut text, resource, node);
        }
        if let Some(database) = &plan.database {
            self.resource(&mut text, database);
            self.promotable(&mut text);
        }
        for resource in plan.clones.iter().chain(&plan.main) {
            self.resource(&mut text, resource);
        }
        for resource in &plan.clones {
            self.cloned(&mut text, &resource.id);
        }
        self.grouped(&mut text, &plan.main);
        if plan.database.is_some() {
            self.with_primary(&mut text);
        }
        for resource in &plan.clones {
            self.with_clone(&mut text, &resource.id);
        }
        text
    }

    fn head(self, plan: &Plan) -> String {
        let Plan { pair, left_out, .. } = plan;
        let mut text = match self {
            Render::Crm => format!(
                "# The pair {pair} under Pacemaker, for: crm configure load update FILE\n\
                 property stonith-enabled=true no-quorum-policy=stop\n\
                 rsc_defaults resource-stickiness=1000 migration-threshold=3 failure-timeout=60s\n"
            ),
            Render::Pcs => format!(
                "#!/bin/sh -e\n# The pair {pair} under Pacemaker, for pcs 0.11\n\
                 pcs property set stonith-enabled=true no-quorum-policy=stop\n\
                 pcs resource defaults update resource-stickiness=1000 migration-threshold=3 \
                 failure-timeout=60s\n"
            ),
        };
        if plan.fences.is_empty() {
            text.push_str(NO_FENCE);
            let params = "ip=10.9.1.11 username=NAME password=SECRET pcmk_host_list=NODE";
            let _ = match self {
                Render::Crm => {
                    writeln!(text, "# primitive fence-NODE stonith:fence_ipmilan params {params}")
                }
                Render::Pcs => {
                    writeln!(text, "# pcs stonith create fence-NODE fence_ipmilan {params}")
                }
            };
        }
        for name in left_out {
            let _ =
                writeln!(text, "# left out: the service {name}, which runs on the standby alone");
        }
        for probe in &plan.left_unasked {
            let _ = writeln!(text, "# left out: the probe {probe}, which the agent does not know");
        }
        text
    }

    fn resource(self, text: &mut String, resource: &Resource) {
        let Resource { id, agent, parameters, operations } = resource;
        let (next, params) = match self {
            Render::Crm => (" \\\n    ", "params "),
            Render::Pcs => (" \\\n    ", ""),
        };
        let _ = match (self, agent.strip_prefix("stonith:")) {
            (Render::Crm, _) => write!(text, "primitive {id} {agent}"),
            (Render::Pcs, Some(agent)) => write!(text, "pcs stonith create {id} {agent}"),
            (Render::Pcs, None) => write!(text, "pcs resource create {id} {agent}"),
        };
        for (name, value) in parameters {
            let _ = write!(text, "{next}{params}{name}={}", self.quoted(value));
        }
        for offer in operations {
            let _ = write!(text, "{next}op {}", self.operation(offer));
        }
        text.push('\n');
    }

    fn operation(self, offer: &Offer) -> String {
        let Offer { action, timeout, interval, depth, role } = *offer;
        let mut words = format!("{} timeout={timeout}s", action.word());
        if action == Action::Monitor {
            let _ = write!(words, " interval={interval}s");
        }
        if !role.is_empty() {
            let _ = write!(words, " role={role}");
        }
        if depth > 0 {
            let own = match self {
                Render::Crm => "op_params ",
                Render::Pcs => "",
            };
            let _ = write!(words, " {own}OCF_CHECK_LEVEL={depth}");
        }
        words
    }

    fn quoted(self, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/.:=_-,%+@".contains(c);
        if !value.is_empty() && value.chars().all(plain) {
            return value.to_owned();
        }
        match self {
            Render::Crm => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            Render::Pcs => format!("'{}'", value.replace('\'', "'\\''")),
        }
    }

    fn never_on(self, text: &mut String, resource: &Resource, node: &str) {
        let id = &resource.id;
        let _ = match self {
            // Who is to be fenced does not fence.
            Render::Crm => writeln!(text, "location {id}-elsewhere {id} -inf: {node}"),
            Render::Pcs => writeln!(text, "pcs constraint location {id} avoids {node}"),
        };
    }

    fn promotable(self, text: &mut String) {
        let clone = format!("{DATABASE}-clone");
        let meta = "promoted-max=1 promoted-node-max=1 clone-max=2 clone-node-max=1 notify=true \
                    interleave=true";
        let _ = match self {
            Render::Crm => {
                writeln!(text, "clone {clone} {DATABASE} \\\n    meta promotable=true {meta}")
            }
            Render::Pcs => writeln!(text, "pcs resource promotable {DATABASE} {clone} meta {meta}"),
        };
    }

    fn cloned(self, text: &mut String, id: &str) {
        let _ = match self {
            Render::Crm => writeln!(text, "clone {id}-clone {id} meta interleave=true"),
            Render::Pcs => writeln!(text, "pcs resource clone {id} {id}-clone interleave=true"),
        };
    }

    fn grouped(self, text: &mut String, main: &[Resource]) {
        let ids: Vec<&str> = main.iter().map(|resource| resource.id.as_str()).collect();
        let ids = ids.join(" ");
        let _ = match self {
            Render::Crm => writeln!(text, "group {MAIN} {ids}"),
            Render::Pcs => writeln!(text, "pcs resource group add {MAIN} {ids}"),
        };
    }

    /// The address is where the writable database is, and after it.
    fn with_primary(self, text: &mut String) {
        let clone = format!("{DATABASE}-clone");
        let _ = match self {
            Render::Crm => writeln!(
                text,
                "colocation {MAIN}-with-primary inf: {MAIN} {clone}:Promoted\n\
                 order {MAIN}-after-promotion Mandatory: {clone}:promote {MAIN}:start"
            ),
            Render::Pcs => writeln!(
                text,
                "pcs constraint colocation add {MAIN} with Promoted {clone} INFINITY\n\
                 pcs constraint order promote {clone} then start {MAIN} kind=Mandatory"
            ),
        };
    }

    /// The address is only where the service runs, and after it.
    fn with_clone(self, text: &mut String, id: &str) {
        let _ = match self {
            Render::Crm => writeln!(
                text,
                "colocation {MAIN}-with-{id} inf: {MAIN} {id}-clone\n\
                 order {MAIN}-after-{id} Mandatory: {id}-clone {MAIN}"
            ),
            Render::Pcs => writeln!(
                text,
                "pcs constraint colocation add {MAIN} with {id}-clone INFINITY\n\
                 pcs constraint order {id}-clone then {MAIN} kind=Mandatory"
            ),
        };
    }
}
