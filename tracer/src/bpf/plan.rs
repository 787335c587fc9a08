//! Facts to a plan: which probes are attached where, how the probes are set, and which fields a
//! report will lack, each with the reason. Pure: no I/O, no clock, no environment.
//!
//! One plan per tier; the caller takes the best that is neither refused here nor by the kernel.
//! Within one, what is missing costs its own fields only, and a function that has no trampoline may
//! have a kprobe ([`hooks`]). A plan is refused where nobody could be reported dead.

use std::collections::BTreeMap;

use oomwhy_common::settings::{MarkLayout, Settings};
use serde::Serialize;

use self::hooks::Hooks;
use crate::{
    host::{
        files::Lockdown,
        offsets::Resolved,
        support::{HostFacts, MarkVictim},
    },
    model::report::Tier,
};

mod alone;
mod growth;
pub(crate) mod hooks;
mod losses;
mod programs;

/// Why a tier cannot work on this host. The caller falls back to another one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The frame of everything is missing.
    #[error(
        "the kernel's BTF has no function out_of_memory\nhint: is --btf FILE the BTF of this very \
         kernel? `--attach tracepoint` does without"
    )]
    NoInvocation,
    /// Hooks that would name a victim are all missing.
    #[error(
        "no victim could be named: neither oom:mark_victim nor oom_kill_process can be hooked\n\
         hint: `--attach kmsg` reads the kernel's log instead"
    )]
    NoVictim,
    /// A task cannot be told from another.
    #[error(
        "no victim could be named: {field} is not where the kernel's BTF should have it ({why})\n\
         hint: `--attach kmsg` reads the kernel's log instead"
    )]
    NoIdentity {
        /// Name of the offset.
        field: &'static str,
        /// Why it was not found.
        why: String,
    },
    /// The kernel has not what the tier needs.
    #[error("{what}\nhint: {mend}")]
    Lacking {
        /// What is missing.
        what: &'static str,
        /// What helps.
        mend: &'static str,
    },
    /// The kernel has it, and keeps it from us.
    #[error("{what}\nhint: {mend}")]
    Forbidden {
        /// What forbids it.
        what: &'static str,
        /// What helps.
        mend: &'static str,
    },
}

impl Refusal {
    /// Whether it is a matter of permission, not of what the kernel has.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// At a function's entry, by trampoline.
    Fentry,
    /// At its return.
    Fexit,
    /// At a tracepoint, with typed arguments.
    TpBtf,
    /// At a function's entry, by breakpoint.
    Kprobe,
    /// At its return.
    Kretprobe,
    /// At a tracepoint, with the arguments as they are.
    RawTp,
    /// At a tracepoint, with its record.
    Tracepoint,
}

impl How {
    /// As reports have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::TpBtf => "tp_btf",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// One program to attach.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Planned {
    /// Name of the program in the BPF object.
    pub program: &'static str,
    /// Kernel function or tracepoint.
    pub hook: &'static str,
    /// How.
    pub how: How,
}

/// A field that no report of this host will have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct MissingField {
    /// As in the report: `trigger.cgroup`.
    pub field: String,
    /// Why it is missing, and the remedy where there is one.
    pub why: String,
}

/// What to load and attach, and what to expect of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The means by which the kernel is observed, as far as it goes.
    pub tier: Tier,
    /// Programs, in the order in which they are attached.
    pub programs: Vec<Planned>,
    /// Kernel symbols of hooks that have another than their name, for kprobes.
    pub symbols: BTreeMap<&'static str, String>,
    /// Switches for the probes.
    pub settings: Settings,
    /// Where the record of `oom:mark_victim` has its fields, where that is what is read.
    pub mark_layout: MarkLayout,
    /// What reports will lack.
    pub missing: Vec<MissingField>,
}

/// What reports lack besides, where the probes could not be loaded with plain loads of the rss
/// counters, as on 5.10, and no other way to read them is allowed.
pub(crate) fn without_counters(loaded: &Settings) -> Vec<MissingField> {
    if loaded.typed_counters != 0 || loaded.probe_read != 0 {
        return Vec::new();
    }
    let why = "lockdown=confidentiality, and this kernel's verifier does not let plain loads reach \
               the rss counters";
    losses::memory(why)
}

/// Who hands candidates over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Candidates {
    /// `oom_badness`, whose return value is the points.
    Badness,
    /// The part of `oom_badness` that the selection loop calls has the points, `oom_evaluate_task`
    /// the task: kprobes only, for BTF does not know the part.
    BadnessPart,
    /// `oom_evaluate_task`; the points are summed up from their parts.
    EvaluateTask,
    /// Nobody.
    Nobody,
}

/// Offsets without which a task cannot be named: what every record of a task begins with.
const IDENTITY: [&str; 5] = ["task_tgid", "task_pid", "task_comm", "task_real_cred", "cred_uid"];

/// Plans one tier for this host.
pub(crate) fn plan(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    match tier {
        Tier::Fentry | Tier::Kprobe => whole(tier, facts, resolved),
        Tier::Tracepoint => alone::plan(facts, resolved),
        Tier::Kmsg => Err(Refusal::Lacking {
            what: "the kernel's log is read without any probe",
            mend: "`--attach kmsg`",
        }),
    }
}

/// The plan of a tier that sees whole invocations.
fn whole(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    hooks::permitted(tier, facts)?;
    let hooks = Hooks::of(tier, facts);
    refuse(&hooks, facts, resolved)?;
    let candidates = candidates(tier, &hooks, facts);
    let settings = settings(tier, &hooks, facts, resolved);
    Ok(Plan {
        tier,
        programs: programs::all(&hooks, facts, candidates, &settings),
        symbols: hooks.symbols(candidates, facts),
        missing: losses::all(&hooks, facts, resolved, candidates, &settings),
        mark_layout: MarkLayout::NONE,
        settings,
    })
}

fn refuse(hooks: &Hooks, facts: &HostFacts, resolved: &Resolved) -> Result<(), Refusal> {
    // Every other hook asks first whether it is inside an invocation.
    if !hooks.has("out_of_memory") {
        return Err(Refusal::NoInvocation);
    }
    let chosen_is_read = hooks.has("oom_kill_process") && resolved.has("oc_chosen");
    if !chosen_is_read && !victim_is_described(hooks, facts) {
        return Err(Refusal::NoVictim);
    }
    nameless(resolved).map_or(Ok(()), Err)
}

/// Why tasks cannot be named by what BTF tells.
fn nameless(resolved: &Resolved) -> Option<Refusal> {
    let missing = resolved.missing.iter().find(|missing| IDENTITY.contains(&missing.field))?;
    Some(Refusal::NoIdentity { field: missing.field, why: missing.why.clone() })
}

/// Whether each victim is described as it is marked: the old layout of the tracepoint passes a
/// bare thread id, and needs `__oom_kill_process` for the rest.
fn victim_is_described(hooks: &Hooks, facts: &HostFacts) -> bool {
    hooks.has("mark_victim")
        && match facts.btf.mark_victim {
            MarkVictim::Task => true,
            MarkVictim::Pid => hooks.has("__oom_kill_process"),
            MarkVictim::Absent => false,
        }
}

fn candidates(tier: Tier, hooks: &Hooks, facts: &HostFacts) -> Candidates {
    let badness = hooks.has("oom_badness");
    let evaluate_task = hooks.has("oom_evaluate_task");
    let part = || tier == Tier::Kprobe && facts.kallsyms.changed("oom_badness").is_some();
    match facts.kallsyms.badness_is_split {
        Some(false) if badness => Candidates::Badness,
        Some(true) if evaluate_task && part() => Candidates::BadnessPart,
        // Where kallsyms cannot be read, the hook that always fires is the safer one.
        _ if evaluate_task => Candidates::EvaluateTask,
        None if badness => Candidates::Badness,
        _ => Candidates::Nobody,
    }
}

fn settings(tier: Tier, hooks: &Hooks, facts: &HostFacts, resolved: &Resolved) -> Settings {
    // Unknown counts as allowed: lockdown is shown in securityfs only, and rare.
    let probe_read = facts.lockdown != Lockdown::Confidentiality;
    let typed_loads = tier == Tier::Fentry;
    // An array of a typedef, as it was before 6.2, is what no verifier of that time follows. Trying
    // would cost a start that loads everything twice; without the other way it is tried all the same.
    let typed_counters = typed_loads && (resolved.has("per_cpu_counters") || !probe_read);
    Settings {
        per_cpu_offsets: facts.kallsyms.per_cpu_offset.unwrap_or_default(),
        stat_fields: facts.kallsyms.stat_places.unwrap_or_default(),
        possible_cpus: facts.possible_cpus.unwrap_or_default(),
        typed_loads: u32::from(typed_loads),
        probe_read: u32::from(probe_read),
        // Of use for typed loads only; a kernel without BTF refuses it.
        current_task_btf: u32::from(typed_loads && facts.btf.current_task_btf),
        kill_task_hooked: u32::from(hooks.has("__oom_kill_process")),
        victim_by_pid: u32::from(facts.btf.mark_victim == MarkVictim::Pid),
        typed_counters: u32::from(typed_counters),
        growth_above_percent: 0,
        no_cmdlines: 0,
        reserved: 0,
    }
}

#[cfg(test)]
mod tests;
