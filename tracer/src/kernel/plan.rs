//! Facts to a plan: which probes are attached where, how the probes are set, and which fields a
//! report will lack, each with the reason. Pure: no I/O, no clock, no environment.
//!
//! This is the plan of the `fentry` tier. Anything optional that is missing costs its own fields
//! only; the plan is refused where nobody could be reported dead.

use oomwhy_common::settings::Settings;
use serde::Serialize;

use super::{
    files::Lockdown,
    offsets::Resolved,
    support::{HostFacts, MarkVictim},
};

mod losses;

/// Why this tier cannot work on this host. The caller falls back to another one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
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
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// At a function's entry, by trampoline.
    Fentry,
    /// At its return.
    Fexit,
    /// At a tracepoint, with typed arguments.
    TpBtf,
}

/// One program to attach.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Planned {
    /// Name of the program in the BPF object.
    pub program: &'static str,
    /// Kernel function or tracepoint.
    pub hook: &'static str,
    /// How.
    pub how: How,
}

/// A field that no report of this host will have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct MissingField {
    /// As in the report: `trigger.cgroup`.
    pub field: String,
    /// Why it is missing, and the remedy where there is one.
    pub why: String,
}

/// What to load and attach, and what to expect of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Programs, in the order in which they are attached.
    pub programs: Vec<Planned>,
    /// Switches for the probes.
    pub settings: Settings,
    /// What reports will lack.
    pub missing: Vec<MissingField>,
}

/// What reports lack besides, where the probes could not be loaded with plain loads of the rss
/// counters, as on 5.10, and no other way to read them is allowed.
pub fn without_counters(loaded: &Settings) -> Vec<MissingField> {
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
    /// `oom_evaluate_task`; the points are summed up from their parts.
    EvaluateTask,
    /// Nobody.
    Nobody,
}

/// Offsets without which a task cannot be named: what every record of a task begins with.
const IDENTITY: [&str; 5] = ["task_tgid", "task_pid", "task_comm", "task_real_cred", "cred_uid"];

/// Plans for this host.
pub fn plan(facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    refuse(facts, resolved)?;
    let candidates = candidates(facts);
    let settings = settings(facts, resolved);
    Ok(Plan {
        programs: programs(facts, candidates, &settings),
        missing: losses::all(facts, resolved, candidates, &settings),
        settings,
    })
}

fn refuse(facts: &HostFacts, resolved: &Resolved) -> Result<(), Refusal> {
    // Every other hook asks first whether it is inside an invocation.
    if !facts.btf.has("out_of_memory") {
        return Err(Refusal::NoInvocation);
    }
    let chosen_is_read = facts.btf.has("oom_kill_process") && resolved.has("oc_chosen");
    if !chosen_is_read && !victim_is_described(facts) {
        return Err(Refusal::NoVictim);
    }
    for missing in &resolved.missing {
        if IDENTITY.contains(&missing.field) {
            let why = missing.why.clone();
            return Err(Refusal::NoIdentity { field: missing.field, why });
        }
    }
    Ok(())
}

/// Whether each victim is described as it is marked: the old layout of the tracepoint passes a
/// bare thread id, and needs `__oom_kill_process` for the rest.
fn victim_is_described(facts: &HostFacts) -> bool {
    match facts.btf.mark_victim {
        MarkVictim::Task => true,
        MarkVictim::Pid => facts.btf.has("__oom_kill_process"),
        MarkVictim::Absent => false,
    }
}

fn candidates(facts: &HostFacts) -> Candidates {
    let badness = facts.btf.has("oom_badness");
    let evaluate_task = facts.btf.has("oom_evaluate_task");
    match facts.kallsyms.badness_is_split {
        Some(false) if badness => Candidates::Badness,
        // Where kallsyms cannot be read, the hook that always fires is the safer one.
        _ if evaluate_task => Candidates::EvaluateTask,
        None if badness => Candidates::Badness,
        _ => Candidates::Nobody,
    }
}

fn settings(facts: &HostFacts, resolved: &Resolved) -> Settings {
    // Unknown counts as allowed: lockdown is shown in securityfs only, and rare.
    let probe_read = facts.lockdown != Lockdown::Confidentiality;
    // An array of a typedef, as it was before 6.2, is what no verifier of that time follows. Trying
    // would cost a start that loads everything twice; without the other way it is tried all the same.
    let typed_counters = resolved.has("per_cpu_counters") || !probe_read;
    Settings {
        per_cpu_offsets: facts.kallsyms.per_cpu_offset.unwrap_or_default(),
        stat_places: facts.kallsyms.stat_places.unwrap_or_default(),
        possible_cpus: facts.possible_cpus.unwrap_or_default(),
        typed_loads: 1,
        probe_read: u32::from(probe_read),
        current_task_btf: u32::from(facts.btf.current_task_btf),
        kill_task_hooked: u32::from(facts.btf.has("__oom_kill_process")),
        victim_by_pid: u32::from(facts.btf.mark_victim == MarkVictim::Pid),
        typed_counters: u32::from(typed_counters),
        reserved: 0,
    }
}

fn programs(facts: &HostFacts, candidates: Candidates, settings: &Settings) -> Vec<Planned> {
    let mut programs = Vec::new();
    // Inner hooks first: an invocation that begins while we attach is then seen whole or not at
    // all, since out_of_memory's entry opens the frame.
    match facts.btf.mark_victim {
        MarkVictim::Task => programs.push(tp_btf("mark_victim_task", "mark_victim")),
        MarkVictim::Pid => programs.push(tp_btf("mark_victim_pid", "mark_victim")),
        MarkVictim::Absent => {}
    }
    if facts.btf.has("__oom_kill_process") {
        programs.push(fentry("oom_kill_task", "__oom_kill_process"));
    }
    if facts.btf.has("oom_kill_process") {
        programs.push(fentry("oom_kill_process", "oom_kill_process"));
    }
    match candidates {
        Candidates::Badness => programs.push(fexit("oom_badness_ret", "oom_badness")),
        Candidates::EvaluateTask => {
            programs.push(fexit("oom_evaluate_task_ret", "oom_evaluate_task"));
        }
        Candidates::Nobody => {}
    }
    if facts.btf.has_tracepoint("cgroup_mkdir") {
        programs.push(tp_btf("cgroup_mkdir", "cgroup_mkdir"));
    }
    programs.extend(around(facts, settings));
    programs.push(fexit("out_of_memory_ret", "out_of_memory"));
    programs.push(fentry("out_of_memory", "out_of_memory"));
    if facts.btf.has("mem_cgroup_out_of_memory") {
        programs.push(fexit("mem_cgroup_out_of_memory_ret", "mem_cgroup_out_of_memory"));
    }
    programs
}

/// What is told besides the decision itself: what the memory was, who dies along, what becomes of
/// the victims, who waits.
fn around(facts: &HostFacts, settings: &Settings) -> Vec<Planned> {
    let mut programs = Vec::new();
    if facts.btf.has("mem_cgroup_print_oom_meminfo") && settings.probe_read != 0 {
        programs.push(fexit("mem_cgroup_print_oom_meminfo_ret", "mem_cgroup_print_oom_meminfo"));
    }
    let tracepoints = [
        "signal_generate",
        "signal_deliver",
        "wake_reaper",
        "start_task_reaping",
        "finish_task_reaping",
        "skip_task_reaping",
        "sched_process_exit",
    ];
    let known = tracepoints.into_iter().filter(|name| facts.btf.has_tracepoint(name));
    programs.extend(known.map(|name| tp_btf(name, name)));
    if facts.btf.has("exit_mmap") {
        programs.push(fexit("exit_mmap_ret", "exit_mmap"));
        programs.push(fentry("exit_mmap", "exit_mmap"));
    }
    if facts.btf.has("mem_cgroup_oom_synchronize") {
        let hook = "mem_cgroup_oom_synchronize";
        programs.push(fexit("mem_cgroup_oom_synchronize_ret", hook));
        programs.push(fentry(hook, hook));
    }
    programs
}

fn fentry(program: &'static str, hook: &'static str) -> Planned {
    Planned { program, hook, how: How::Fentry }
}

fn fexit(program: &'static str, hook: &'static str) -> Planned {
    Planned { program, hook, how: How::Fexit }
}

fn tp_btf(program: &'static str, hook: &'static str) -> Planned {
    Planned { program, hook, how: How::TpBtf }
}

#[cfg(test)]
mod tests;
