//! One line per hook: how it is attached, that it is not needed, or why it is not there.

use serde::Serialize;

use super::{
    lack::{self, Lack, Lacks},
    trial::Trial,
};
use crate::{host::support::HostFacts, model::report::Tier};

/// A hook of the kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hook {
    /// Function or tracepoint.
    pub name: &'static str,
    /// What it gives.
    pub gives: &'static str,
    /// Whether it is there.
    #[serde(flatten)]
    pub status: Status,
}

/// Whether a hook is there.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Status {
    /// It was attached, for a moment.
    Available {
        /// By which tier.
        tier: Tier,
        /// By which programs: "fentry+fexit".
        how: String,
    },
    /// Another hook or this kernel does without.
    NotNeeded {
        /// Why.
        why: &'static str,
    },
    /// It cannot be had.
    Missing(Lack),
}

impl Hook {
    /// What it lacks.
    pub(super) fn lack(&self) -> Option<&Lack> {
        match &self.status {
            Status::Missing(lack) => Some(lack),
            _ => None,
        }
    }
}

/// Every hook, in the order in which an invocation passes them, and what it gives.
const HOOKS: &[(&str, &str)] = &[
    ("out_of_memory", "begin and end, trigger, constraint, outcome"),
    ("mem_cgroup_out_of_memory", "calls that found room again"),
    ("mem_cgroup_oom_synchronize", "tasks that wait (cgroup v1)"),
    ("oom_evaluate_task", "candidates, points summed up"),
    ("oom_badness", "candidates with the kernel's points"),
    ("oom_kill_process", "the choice, message, limits, stacks"),
    ("mem_cgroup_print_oom_meminfo", "memory.stat of the oom_memcg"),
    ("__oom_kill_process", "each victim before it is killed"),
    ("mark_victim", "each victim"),
    ("signal_generate", "who shares a victim's memory"),
    ("wake_reaper", "memory back: the reaper is woken"),
    ("start_task_reaping", "memory back: it starts"),
    ("finish_task_reaping", "memory back: it is done"),
    ("skip_task_reaping", "memory back: it gives up"),
    ("sched_process_exit", "exit of a victim"),
    ("exit_mmap", "memory back: all of it"),
    ("signal_deliver", "who each victim is: command line, executable, stack"),
    ("cgroup_mkdir", "names of containers; paths by id, under lockdown"),
];

/// All of them.
pub(super) fn all(facts: &HostFacts, trial: &Trial) -> Vec<Hook> {
    HOOKS
        .iter()
        .map(|&(name, gives)| Hook { name, gives, status: status(name, facts, trial) })
        .collect()
}

fn status(name: &'static str, facts: &HostFacts, trial: &Trial) -> Status {
    if let (Some(tier), Some(how)) = (trial.tier, trial.hooks.get(name)) {
        return Status::Available { tier, how: how.clone() };
    }
    if let Some((_, lack)) = trial.failed.iter().find(|(hook, _)| hook == name) {
        return Status::Missing(lack.clone());
    }
    if !trial.is_planned(name) {
        if let Some(why) = not_needed(name, facts, trial) {
            return Status::NotNeeded { why };
        }
        if trial.has_plan() {
            return Status::Missing(lack::of_hook(name, &absent(name, facts), &trial.others));
        }
    }
    let unknown = || Lack::kernel("it was not tried");
    Status::Missing(trial.refused.clone().unwrap_or_else(unknown))
}

fn not_needed(name: &str, facts: &HostFacts, trial: &Trial) -> Option<&'static str> {
    match name {
        "oom_evaluate_task" if trial.is_planned("oom_badness") => Some("oom_badness tells more"),
        "oom_badness" if trial.is_planned("oom_evaluate_task") => {
            Some("the compiler split it, oom_evaluate_task is asked")
        }
        // An inlined one would be missed; without the controller nobody waits.
        "mem_cgroup_oom_synchronize" if facts.cgroups.v1_memory.is_none() => {
            Some("no cgroup v1 memory controller")
        }
        _ => None,
    }
}

fn absent(name: &str, facts: &HostFacts) -> String {
    let exists = facts.btf.has(name) || facts.btf.has_tracepoint(name);
    let why = if exists {
        "of no use here: what it gives cannot be read"
    } else {
        "not in the kernel's BTF: inlined or renamed"
    };
    why.to_owned()
}

/// What an attempt to attach one hook ended with.
pub(super) fn failure(error: &str) -> Lack {
    let why = error.lines().next().unwrap_or_default().to_owned();
    Lack { why, mend: None, lacks: Lacks::Kernel }
}
