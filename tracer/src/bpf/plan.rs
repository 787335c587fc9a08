//! Turns the facts of a host into a plan: which programs are attached where, the settings of the
//! probes, and which report fields will be missing, each with the reason. Pure: no I/O, no clock,
//! no environment.
//!
//! There is one plan per tier. The caller uses the best one that neither this module nor the kernel
//! refuses. A missing hook costs only its own fields, and a function without a trampoline may get a
//! kprobe ([`attach_methods`]). A plan is refused if no report could name a victim.

use std::collections::BTreeMap;

use oomwhy_common::{
    event::end_facts,
    settings::{MarkLayout, Settings},
};

use self::attach_methods::AttachableHooks;
use crate::{
    bpf::hooks::{HOOKS, ProgramKind},
    host::{
        facts::{HostFacts, MarkVictim},
        files::Lockdown,
        offsets::Resolved,
    },
    model::{hook::Hook, report::Tier},
};

mod attach_methods;
mod growth;
mod lost_fields;
mod programs;
mod tracepoint_only;

/// Why a tier cannot work on this host. The caller falls back to another one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Every other probe asks first whether it runs inside `out_of_memory`.
    #[error(
        "the kernel's BTF has no function out_of_memory\nhint: is --btf FILE the BTF of this very \
         kernel? `--attach tracepoint` does without"
    )]
    NoInvocation,
    /// All hooks that would name a victim are missing.
    #[error(
        "no victim could be named: neither oom:mark_victim nor oom_kill_process can be hooked\n\
         hint: `--attach kmsg` reads the kernel's log instead"
    )]
    NoVictim,
    /// The ids of a task cannot be read.
    #[error(
        "no victim could be named: {field} is not where the kernel's BTF should have it ({why})\n\
         hint: `--attach kmsg` reads the kernel's log instead"
    )]
    NoIdentity {
        /// Its name in the table of offsets.
        field: &'static str,
        why: String,
    },
    /// The kernel does not have a feature that the tier needs.
    #[error("{what}\nhint: {fix}")]
    Unsupported { what: &'static str, fix: &'static str },
    /// The kernel has it, but a setting or a missing capability forbids it.
    #[error("{what}\nhint: {fix}")]
    Forbidden { what: &'static str, fix: &'static str },
}

impl Refusal {
    /// Whether a permission is missing, not something in the kernel.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// One program to attach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Planned {
    /// Its name in the BPF object.
    pub program: &'static str,
    pub hook: Hook,
    pub kind: ProgramKind,
}

/// A field that no report of this host will have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MissingField {
    /// As in the report: `trigger.cgroup`.
    pub field: String,
    /// Why it is missing, and the fix if there is one.
    pub why: String,
}

/// The programs to load and attach, and the fields that reports will not have.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub tier: Tier,
    /// In the order in which they are attached.
    pub programs: Vec<Planned>,
    /// The names in this kernel of hooks whose name is not their key.
    pub symbols: BTreeMap<Hook, String>,
    pub settings: Settings,
    /// Where the record of `oom:mark_victim` has its fields, if a program reads that record.
    pub mark_layout: MarkLayout,
    pub missing: Vec<MissingField>,
}

impl Plan {
    /// The name of a hook in this kernel.
    pub(crate) fn symbol(&self, hook: Hook) -> &str {
        self.symbols.get(&hook).map_or(hook.key(), String::as_str)
    }
}

/// The fields that are missing because the probes cannot read the rss counters: the verifier (of
/// 5.10) refuses plain loads, and no other way to read them is allowed.
pub(crate) fn without_counters(loaded: &Settings) -> Vec<MissingField> {
    if loaded.typed_counters != 0 || loaded.probe_read != 0 {
        return Vec::new();
    }
    let why = "lockdown=confidentiality, and this kernel's verifier does not let plain loads reach \
               the rss counters";
    lost_fields::memory(why)
}

/// Which hook reports the candidates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Candidates {
    /// `oom_badness`, whose return value is the points.
    Badness,
    /// The part of `oom_badness` that the selection loop calls returns the points, and
    /// `oom_evaluate_task` has the task. Only a kprobe can do this, because BTF has no entry for
    /// the part.
    BadnessPart,
    /// `oom_evaluate_task`; the points are summed up from their parts.
    EvaluateTask,
    Unavailable,
}

/// Offsets of the fields that every record of a task begins with. Without them a task cannot be
/// named.
const IDENTITY: [&str; 5] = ["task_tgid", "task_pid", "task_comm", "task_real_cred", "cred_uid"];

/// Plans one tier for this host.
pub(crate) fn plan(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    match tier {
        Tier::Fentry | Tier::Kprobe => invocations(tier, facts, resolved),
        Tier::Tracepoint => tracepoint_only::plan(facts, resolved),
        Tier::Kmsg => Err(Refusal::Unsupported {
            what: "the kernel's log is read without any probe",
            fix: "`--attach kmsg`",
        }),
    }
}

/// Plans a tier that sees whole invocations.
fn invocations(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    attach_methods::permitted(tier, facts)?;
    let hooks = AttachableHooks::of(tier, facts);
    refuse(&hooks, facts, resolved)?;
    let candidates = candidates(tier, &hooks, facts);
    let settings = settings(tier, &hooks, facts, resolved);
    Ok(Plan {
        tier,
        programs: programs::all(&hooks, facts, candidates),
        symbols: hooks.symbols(candidates, facts),
        missing: lost_fields::all(&hooks, facts, resolved, candidates, &settings),
        mark_layout: MarkLayout::NONE,
        settings,
    })
}

fn refuse(hooks: &AttachableHooks, facts: &HostFacts, resolved: &Resolved) -> Result<(), Refusal> {
    if HOOKS.iter().any(|spec| spec.is_essential && !hooks.has(spec.hook)) {
        return Err(Refusal::NoInvocation);
    }
    let chosen_is_read = hooks.has(Hook::OomKillProcess) && resolved.has("oc_chosen");
    if !chosen_is_read && !victim_is_described(hooks, facts) {
        return Err(Refusal::NoVictim);
    }
    nameless(resolved).map_or(Ok(()), Err)
}

/// Why tasks cannot be named with the offsets that BTF has.
fn nameless(resolved: &Resolved) -> Option<Refusal> {
    let missing = resolved.missing.iter().find(|missing| IDENTITY.contains(&missing.field))?;
    Some(Refusal::NoIdentity { field: missing.field, why: missing.why.clone() })
}

/// Whether a hook describes each victim when it is marked. The old layout of the tracepoint passes
/// a thread id only; `__oom_kill_process` has the rest.
fn victim_is_described(hooks: &AttachableHooks, facts: &HostFacts) -> bool {
    hooks.has(Hook::MarkVictim)
        && match facts.btf.mark_victim {
            MarkVictim::Task => true,
            MarkVictim::Pid => hooks.has(Hook::KillProcess),
            MarkVictim::Absent => false,
        }
}

fn candidates(tier: Tier, hooks: &AttachableHooks, facts: &HostFacts) -> Candidates {
    let badness = hooks.has(Hook::OomBadness);
    let evaluate_task = hooks.has(Hook::OomEvaluateTask);
    let part = || tier == Tier::Kprobe && facts.kallsyms.changed(Hook::OomBadness).is_some();
    // If the compiler split the function, the selection loop calls the part, and a hook at the
    // function itself never fires.
    match facts.kallsyms.is_split(Hook::OomBadness) {
        Some(false) if badness => Candidates::Badness,
        Some(true) if evaluate_task && part() => Candidates::BadnessPart,
        // If kallsyms cannot be read, the hook that always fires is the safer one.
        _ if evaluate_task => Candidates::EvaluateTask,
        None if badness => Candidates::Badness,
        _ => Candidates::Unavailable,
    }
}

fn settings(
    tier: Tier,
    hooks: &AttachableHooks,
    facts: &HostFacts,
    resolved: &Resolved,
) -> Settings {
    // Unknown counts as allowed: lockdown is rare, and only securityfs shows it.
    let probe_read = facts.lockdown != Lockdown::Confidentiality;
    let typed_loads = tier == Tier::Fentry;
    // Before 6.2 the counters are an array of a typedef, which no verifier of that time follows.
    // Trying costs a second load of all programs, so it is done only if there is no other way.
    let typed_counters = typed_loads && (resolved.has("per_cpu_counters") || !probe_read);
    Settings {
        per_cpu_offsets: facts.kallsyms.per_cpu_offset.unwrap_or_default(),
        stat_fields: facts.kallsyms.stats_index.unwrap_or_default(),
        possible_cpus: facts.possible_cpus.unwrap_or_default(),
        typed_loads: u32::from(typed_loads),
        probe_read: u32::from(probe_read),
        // Only typed loads use it, and a kernel without BTF refuses it.
        current_task_btf: u32::from(typed_loads && facts.btf.current_task_btf),
        kill_task_hooked: u32::from(hooks.has(Hook::KillProcess)),
        victim_by_pid: u32::from(facts.btf.mark_victim == MarkVictim::Pid),
        typed_counters: u32::from(typed_counters),
        growth_above_percent: 0,
        no_cmdlines: 0,
        end_facts: hooked_end_facts(hooks),
        oom_lock: facts.kallsyms.oom_lock.unwrap_or_default(),
        oom_killer_disabled: facts.kallsyms.oom_killer_disabled.unwrap_or_default(),
        oom_notify_list: facts.kallsyms.oom_notify_list.unwrap_or_default(),
        counts_waits: 1,
        reserved: 0,
    }
}

/// Bits of `end_facts` that the attached hooks show.
fn hooked_end_facts(hooks: &AttachableHooks) -> u32 {
    let bit = |is_hooked, bit| if is_hooked { bit } else { 0 };
    let evaluates = hooks.has(Hook::OomBadness) || hooks.has(Hook::OomEvaluateTask);
    bit(evaluates, end_facts::EVALUATED)
        | bit(hooks.has(Hook::MemCgroupPrintOomMeminfo), end_facts::PRINTED)
}

#[cfg(test)]
mod tests;
