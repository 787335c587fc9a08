//! The report fields that a missing hook, offset or permission costs. Part of [`super`]: pure.

use oomwhy_common::settings::Settings;

use super::{Candidates, MissingField, attach_methods::AttachableHooks};
use crate::{
    bpf::hooks::Why,
    host::{
        facts::{HostFacts, MarkVictim},
        offsets::{CMDLINES, EXES, LEADERLESS, Resolved, TASK_MEMORY, VICTIM_MEMORY, lost_without},
    },
    model::hook::Hook,
};

/// The fields gathered so far; a field is listed once, with the first reason.
#[derive(Default)]
struct MissingFields(Vec<MissingField>);

impl MissingFields {
    fn add(&mut self, fields: &[&str], why: &str) {
        for field in fields {
            if !self.0.iter().any(|known| known.field == *field) {
                self.0.push(MissingField { field: (*field).to_owned(), why: why.to_owned() });
            }
        }
    }

    /// Adds the fields of a hook if it cannot be attached.
    fn without(&mut self, hook: Hook, attachable: &AttachableHooks) {
        if attachable.has(hook) {
            return;
        }
        let spec = hook.spec();
        let not_attached = attachable.why_not(hook);
        match spec.lost_because {
            Why::NotAttached => self.add(spec.lost_without, not_attached),
            Why::NotAttachedAnd(so) => {
                self.add(spec.lost_without, &format!("{not_attached}: {so}"));
            }
            Why::Text(why) => self.add(spec.lost_without, why),
        }
    }
}

/// Hooks of the decision, in the order of a report's fields. Its candidates come from either of two
/// hooks.
const OF_THE_DECISION: [Hook; 4] =
    [Hook::OomKillProcess, Hook::MemCgroupOutOfMemory, Hook::KillProcess, Hook::MarkVictim];

/// Hooks of the reaping and the exit of a victim, and of the memory of the cgroup.
const AFTER_THE_DECISION: [Hook; 7] = [
    Hook::MemCgroupPrintOomMeminfo,
    Hook::SchedProcessExit,
    Hook::ExitMmap,
    Hook::StartTaskReaping,
    Hook::FinishTaskReaping,
    Hook::DoGroupExit,
    Hook::SignalGenerate,
];

/// Every field that the reports of this host will not have.
pub(super) fn all(
    attachable: &AttachableHooks,
    facts: &HostFacts,
    resolved: &Resolved,
    candidates: Candidates,
    settings: &Settings,
) -> Vec<MissingField> {
    let mut losses = MissingFields::default();
    hooks(&mut losses, attachable, facts, candidates);
    offsets(&mut losses, resolved);
    reads(&mut losses, attachable, candidates, settings);
    batches(&mut losses, resolved, settings);
    stat(&mut losses, facts, resolved, settings);
    nodes(&mut losses, facts);
    for hook in AFTER_THE_DECISION {
        losses.without(hook, attachable);
    }
    symbols(&mut losses, facts);
    losses.0
}

fn hooks(
    losses: &mut MissingFields,
    attachable: &AttachableHooks,
    facts: &HostFacts,
    candidates: Candidates,
) {
    if candidates == Candidates::Unavailable {
        let reasons = [Hook::OomBadness, Hook::OomEvaluateTask].map(|it| attachable.why_not(it));
        losses.add(Hook::OomBadness.spec().lost_without, &join(&reasons));
    }
    for hook in OF_THE_DECISION {
        losses.without(hook, attachable);
    }
    let passes_pid = facts.btf.mark_victim == MarkVictim::Pid && attachable.has(Hook::MarkVictim);
    if passes_pid && !attachable.has(Hook::KillProcess) {
        let why = attachable.why_not(Hook::KillProcess);
        let why = format!("oom:mark_victim passes a thread id only, and {why}");
        losses.add(VICTIM_MEMORY, &why);
        losses.add(&["victims.cgroup", "victims.vpid"], &why);
    }
}

/// The reasons that are not empty, each once.
fn join(reasons: &[&str]) -> String {
    let mut given = reasons.to_vec();
    given.retain(|why| !why.is_empty());
    given.dedup();
    given.join("; ")
}

fn offsets(losses: &mut MissingFields, resolved: &Resolved) {
    for missing in &resolved.missing {
        let fields = lost_without(missing.field);
        losses.add(fields, &format!("not in the kernel's BTF: {}", missing.why));
    }
}

/// Adds the fields that need bpf_probe_read_kernel, or a typed pointer to the current task.
fn reads(
    losses: &mut MissingFields,
    attachable: &AttachableHooks,
    candidates: Candidates,
    settings: &Settings,
) {
    if settings.probe_read != 0 {
        return;
    }
    let why = "lockdown=confidentiality: the kernel's strings and untyped pointers cannot be read";
    losses.add(&["message", "victims.vpid", "nodemask"], why);
    losses.add(&["limit_chain (below oom_memcg)"], why);
    losses.add(LEADERLESS, why);
    losses.add(EXES, why);
    losses.add(
        CMDLINES,
        "lockdown=confidentiality: the helper that reads them is refused along with the kernel's",
    );
    if candidates == Candidates::EvaluateTask {
        losses.add(&["candidates.points"], why);
    }
    if !attachable.has(Hook::CgroupMkdir) {
        losses.add(Hook::CgroupMkdir.spec().lost_without, why);
    }
    if settings.current_task_btf == 0 {
        let why = "lockdown=confidentiality, and this kernel lacks bpf_get_current_task_btf";
        losses.add(&["trigger.oom_score_adj", "trigger.cgroup"], why);
        losses.add(CMDLINES, why);
        losses.add(&["trigger.parents", "victims.parents", "victims.user_stack"], why);
    }
}

/// The rss counters have per-CPU batches since 6.2. Without them, the numbers are those of the
/// kernel's own log before 7.0, which are low or high by some pages per CPU.
fn batches(losses: &mut MissingFields, resolved: &Resolved, settings: &Settings) {
    if !resolved.has("per_cpu_counters") {
        return;
    }
    let why = if settings.probe_read == 0 {
        "lockdown=confidentiality: the kernel's approximate count, without its per-CPU parts"
    } else if settings.per_cpu_offsets == 0 {
        "kernel addresses are hidden (CAP_SYSLOG and kernel.kptr_restrict below 2 show them): the \
         kernel's approximate count, without its per-CPU parts"
    } else {
        return;
    };
    losses.add(&[PER_CPU_SHARE], why);
}

/// The statistics of the memcg need their address and the place of each item.
fn stat(losses: &mut MissingFields, facts: &HostFacts, resolved: &Resolved, settings: &Settings) {
    let is_found = resolved.has("memcg_vmstats_array")
        || (resolved.has("memcg_vmstats") && resolved.has("vmstats_state"));
    let why = if settings.probe_read == 0 {
        "lockdown=confidentiality: arrays of the kernel cannot be read"
    } else if !is_found {
        "not in the kernel's BTF: where a memcg's statistics are"
    } else if facts.btf.stat_table && settings.stat_fields == 0 {
        "kernel addresses are hidden (CAP_SYSLOG and kernel.kptr_restrict below 2 show them): without \
         them the statistics of this kernel cannot be distinguished"
    } else {
        return;
    };
    losses.add(&["oom_memcg.stat"], why);
}

/// The probes read only the first word of a node mask.
fn nodes(losses: &mut MissingFields, facts: &HostFacts) {
    const NODES_READ: u32 = 64;
    if facts.possible_nodes.is_some_and(|nodes| nodes > NODES_READ) {
        let why = "this host may have memory nodes above 63, which are not read";
        losses.add(&["nodemask (nodes above 63)", "mems_allowed (nodes above 63)"], why);
    }
}

/// If kernel addresses are hidden, the frames of a stack have no names.
fn symbols(losses: &mut MissingFields, facts: &HostFacts) {
    if facts.kallsyms.per_cpu_offset.is_none() {
        let why =
            "kernel addresses are hidden (CAP_SYSLOG and kernel.kptr_restrict below 2 show them)";
        losses.add(&["trigger.kernel_stack.symbol"], why);
    }
}

/// Not a field but a part of some, with a validity bit of its own.
const PER_CPU_SHARE: &str = "victims (exact rss)";

/// Every field of a task's memory.
pub(super) fn memory(why: &str) -> Vec<MissingField> {
    let missing = |field: &&str| MissingField { field: (*field).to_owned(), why: why.to_owned() };
    TASK_MEMORY.iter().map(missing).collect()
}

#[cfg(test)]
mod tests {
    use oomwhy_common::offsets::KernelOffsets;

    use super::{super::IDENTITY, AFTER_THE_DECISION, Hook, OF_THE_DECISION, lost_without};
    use crate::bpf::hooks::HOOKS;

    /// Hooks whose fields have a condition of their own: candidates come from either of two hooks,
    /// a cgroup made before the start has its path by other means, and growth has its own plan.
    const ON_CONDITION: [Hook; 4] =
        [Hook::OomEvaluateTask, Hook::OomBadness, Hook::CgroupMkdir, Hook::PageCounterTryCharge];

    /// Offsets that some kernels do not have: exact counters have no per-CPU parts, only cgroup v1
    /// has tasks that wait, and the statistics of a memcg are in one of two places.
    const FREE: &[&str] = &[
        "per_cpu_counters",
        "task_memcg_in_oom",
        "task_memcg_oom_gfp_mask",
        "task_memcg_oom_order",
        // A caller that is dying is then reported as one that found room.
        "signal_flags",
        // Ends of invocations are then seen a little later.
        "mutex_owner",
        // It is then unknown whether a driver's memory ended an invocation of the host.
        "notifier_head",
        // For the growth recorder, which has a reason of its own.
        "cgroup_memory",
        "memcg_kmem",
        "memcg_vmstats",
        "memcg_vmstats_array",
        "vmstats_state",
    ];

    #[test]
    fn hook_that_costs_fields_is_in_a_list() {
        let lists = [&OF_THE_DECISION[..], &AFTER_THE_DECISION, &ON_CONDITION].concat();
        for spec in HOOKS.iter().filter(|spec| !spec.lost_without.is_empty()) {
            assert!(lists.contains(&spec.hook), "{:?}", spec.hook);
        }
    }

    #[test]
    fn offset_has_fields_or_is_listed_as_free() {
        for name in KernelOffsets::NAMES {
            let costs_none = IDENTITY.contains(name) || FREE.contains(name);
            assert_eq!(lost_without(name).is_empty(), costs_none, "{name}");
        }
        assert!(IDENTITY.iter().chain(FREE).all(|name| KernelOffsets::NAMES.contains(name)));
        assert!(!IDENTITY.iter().any(|name| FREE.contains(name)));
    }
}
