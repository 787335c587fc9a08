//! One line per hook: how it is attached, that it is not needed, or why it is not available.

use serde::{Serialize, Serializer};

use super::{
    trial::Trial,
    unavailable::{self, MissingReason, Unavailable},
};
use crate::{
    bpf::hooks::HOOKS,
    host::facts::HostFacts,
    model::{hook::Hook, report::Tier},
};

/// A hook of the kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HookStatus {
    #[serde(rename = "name", serialize_with = "key")]
    pub hook: Hook,
    /// Its contribution to a report.
    pub gives: &'static str,
    #[serde(flatten)]
    pub status: Status,
}

/// Whether a hook can be attached.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Status {
    /// It was attached for a moment.
    Available {
        tier: Tier,
        /// The kinds of its programs: "fentry+fexit".
        how: String,
    },
    /// Another hook replaces it, or this host has no use for it.
    NotNeeded {
        why: &'static str,
    },
    Missing(Unavailable),
}

impl HookStatus {
    pub(super) fn missing(&self) -> Option<&Unavailable> {
        match &self.status {
            Status::Missing(missing) => Some(missing),
            _ => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn key<S: Serializer>(hook: &Hook, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(hook.key())
}

pub(super) fn all(facts: &HostFacts, trial: &Trial) -> Vec<HookStatus> {
    HOOKS
        .iter()
        .filter(|spec| !spec.summary.is_empty())
        .map(|spec| HookStatus {
            hook: spec.hook,
            gives: spec.summary,
            status: status(spec.hook, facts, trial),
        })
        .collect()
}

fn status(hook: Hook, facts: &HostFacts, trial: &Trial) -> Status {
    if let (Some(tier), Some(how)) = (trial.tier, trial.hooks.get(hook.key())) {
        return Status::Available { tier, how: how.clone() };
    }
    if let Some((_, missing)) = trial.failed.iter().find(|(failed, _)| *failed == hook) {
        return Status::Missing(missing.clone());
    }
    if !trial.is_planned(hook) {
        if let Some(why) = not_needed(hook, facts, trial) {
            return Status::NotNeeded { why };
        }
        if trial.has_plan() {
            let why = why_not_planned(hook, facts);
            return Status::Missing(unavailable::of_hook(hook, why, &trial.alternatives));
        }
    }
    let untried = || Unavailable::kernel("oomwhy did not try to attach it");
    Status::Missing(trial.refused.clone().unwrap_or_else(untried))
}

fn not_needed(hook: Hook, facts: &HostFacts, trial: &Trial) -> Option<&'static str> {
    match hook {
        Hook::OomEvaluateTask if trial.is_planned(Hook::OomBadness) => {
            Some("oom_badness has the kernel's own points")
        }
        Hook::OomBadness if trial.is_planned(Hook::OomEvaluateTask) => {
            Some("the compiler split it; oom_evaluate_task replaces it")
        }
        // No task waits without the controller. If the controller is there, an inlined function
        // is missing.
        Hook::MemCgroupOomSynchronize if facts.cgroups.v1_memory.is_none() => {
            Some("only tasks of the cgroup v1 memory controller wait")
        }
        _ => None,
    }
}

fn why_not_planned(hook: Hook, facts: &HostFacts) -> &'static str {
    if facts.btf.name(hook).is_some() {
        "not attached: the kernel data that it would record cannot be read here"
    } else {
        "not in the kernel's BTF: inlined or renamed"
    }
}

/// The reason of a program that could not be attached.
pub(super) fn failure(error: &str) -> Unavailable {
    let why = error.lines().next().unwrap_or_default().to_owned();
    Unavailable { why, fix: None, reason: MissingReason::Kernel }
}
