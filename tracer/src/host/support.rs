//! What this host is: facts only. What follows from them is decided in [`super::plan`], and said
//! to people by `oomwhy check`.

use std::collections::BTreeSet;

use btf_rs::{BtfType, Type};

use super::{
    btf::KernelBtf,
    files::{self, CgroupMounts, Lockdown, Privileges, Root},
    gfp,
    kallsyms::{self, Kallsyms},
    mark_format::{self, MarkFormat},
    memcg_stat,
};
use crate::model::{gfp::GfpFlag, memcg_stat::StatItem};

/// The functions that are hooked, now or by a probe to come: facts are kept for these.
pub(crate) const FUNCTIONS: &[&str] = &[
    "out_of_memory",
    "mem_cgroup_out_of_memory",
    "mem_cgroup_oom_synchronize",
    "oom_evaluate_task",
    "oom_badness",
    "oom_kill_process",
    "mem_cgroup_get_oom_group",
    "mem_cgroup_print_oom_meminfo",
    "__oom_kill_process",
    "exit_mmap",
    "page_counter_try_charge",
];

/// The tracepoints that are hooked: the typedef that BTF has for each, and its name.
const TRACEPOINTS: &[(&str, &str)] = &[
    ("btf_trace_mark_victim", "mark_victim"),
    ("btf_trace_cgroup_mkdir", "cgroup_mkdir"),
    ("btf_trace_signal_generate", "signal_generate"),
    ("btf_trace_signal_deliver", "signal_deliver"),
    ("btf_trace_wake_reaper", "wake_reaper"),
    ("btf_trace_start_task_reaping", "start_task_reaping"),
    ("btf_trace_finish_task_reaping", "finish_task_reaping"),
    ("btf_trace_skip_task_reaping", "skip_task_reaping"),
    ("btf_trace_sched_process_exit", "sched_process_exit"),
];

/// Their typedefs.
pub(super) fn typedefs() -> impl Iterator<Item = &'static str> {
    TRACEPOINTS.iter().map(|(typedef, _)| *typedef)
}

/// Their names.
pub(crate) fn tracepoints() -> impl Iterator<Item = &'static str> {
    TRACEPOINTS.iter().map(|(_, name)| *name)
}

/// Enums that facts are read from.
pub(super) const TYPES: &[&str] = &["bpf_func_id"];

/// Enumerators that facts are read from.
pub(super) const ENUMERATORS: &[&str] = &[CURRENT_TASK_BTF];
const CURRENT_TASK_BTF: &str = "BPF_FUNC_get_current_task_btf";

/// Files that list the names of gfp flags in the kernel's order; where tracefs is mounted, and
/// was mounted before 4.1.
const GFP_FORMATS: [&str; 2] = [
    "/sys/kernel/tracing/events/vmscan/mm_vmscan_direct_reclaim_begin/format",
    "/sys/kernel/debug/tracing/events/vmscan/mm_vmscan_direct_reclaim_begin/format",
];

/// What the tracepoint `oom:mark_victim` passes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum MarkVictim {
    /// `(struct task_struct *task, uid_t uid)`: since 6.9, and stable kernels of 2025.
    Task,
    /// `(int pid)`, a thread's.
    Pid,
    /// No such tracepoint, or one that passes something else.
    #[default]
    Absent,
}

/// What the kernel's BTF tells besides offsets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BtfFacts {
    /// Those of [`FUNCTIONS`] that exist: not inlined away, not under another name.
    pub functions: BTreeSet<&'static str>,
    /// Layout of `oom:mark_victim`.
    pub mark_victim: MarkVictim,
    /// Those of the tracepoints that we hook that exist.
    pub tracepoints: BTreeSet<&'static str>,
    /// The helper bpf_get_current_task_btf exists (5.11+).
    pub current_task_btf: bool,
    /// Flags of a `gfp_mask`, by bit; in the order of the kernel's log where tracefs shows it.
    pub gfp: Vec<GfpFlag>,
    /// The statistics of a memcg.
    pub memcg_stat: Vec<StatItem>,
    /// A table of the kernel's says where each of them is.
    pub stat_table: bool,
}

/// Whose BTF was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum BtfSource {
    /// The kernel's own: it knows it too, so programs can be attached by it.
    Kernel,
    /// A file's, of a kernel that has none: it tells where fields are, no more.
    Given,
    /// Nobody's.
    #[default]
    Nobody,
}

/// Facts about this host. What could not be found out is `None` or says so by its type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HostFacts {
    /// From BTF; empty where there is none.
    pub btf: BtfFacts,
    /// Whose BTF that is.
    pub btf_source: BtfSource,
    /// Perf events can be kprobes.
    pub kprobes: bool,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Where `oom:mark_victim` has its fields, as tracefs says; `None` where that is not mounted or
    /// not readable.
    pub mark_format: Option<MarkFormat>,
    /// From /proc/kallsyms.
    pub kallsyms: Kallsyms,
    /// The kernel's lockdown mode.
    pub lockdown: Lockdown,
    /// Entries of per-CPU tables: highest possible CPU id and one.
    pub possible_cpus: Option<u32>,
    /// Highest possible memory node and one.
    pub possible_nodes: Option<u32>,
    /// Who we are and what we may.
    pub privileges: Option<Privileges>,
    /// Where cgroups are mounted.
    pub cgroups: CgroupMounts,
    /// `uname -r`.
    pub kernel: Option<String>,
    /// Id of this boot.
    pub boot_id: Option<String>,
    /// `uname -n`.
    pub host: Option<String>,
    /// Bytes of a page.
    pub page_size: u64,
}

impl HostFacts {
    /// Looks around. `btf` is `None` where the kernel has none.
    pub(crate) fn collect(root: &Root, btf: Option<&KernelBtf>) -> Self {
        let btf_source = match btf {
            Some(_) if files::has_btf(root) => BtfSource::Kernel,
            Some(_) => BtfSource::Given,
            None => BtfSource::Nobody,
        };
        let mut btf = btf.map(BtfFacts::collect).unwrap_or_default();
        if let Some(format) = GFP_FORMATS.iter().find_map(|path| root.line(path)) {
            crate::model::gfp::sort_by_format(&mut btf.gfp, &format);
        }
        Self {
            kallsyms: kallsyms::scan(root, btf.stat_table),
            btf,
            btf_source,
            kprobes: files::has_kprobes(root),
            perf_event_paranoid: files::perf_event_paranoid(root),
            mark_format: mark_format::read(root),
            lockdown: files::lockdown(root),
            possible_cpus: files::possible_cpus(root),
            possible_nodes: files::possible_nodes(root),
            privileges: files::privileges(root),
            cgroups: files::cgroup_mounts(root),
            kernel: root.line("/proc/sys/kernel/osrelease"),
            boot_id: root.line("/proc/sys/kernel/random/boot_id"),
            host: root.line("/proc/sys/kernel/hostname"),
            page_size: u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX),
        }
    }
}

/// Where cgroups are mounted: all that a self-test asks of the host.
pub(crate) fn cgroups(root: &Root) -> CgroupMounts {
    files::cgroup_mounts(root)
}

impl BtfFacts {
    /// Reads what `btf` tells.
    pub(crate) fn collect(btf: &KernelBtf) -> Self {
        let memcg_stat = memcg_stat::items(btf);
        Self {
            functions: FUNCTIONS.iter().copied().filter(|name| btf.has_function(name)).collect(),
            mark_victim: mark_victim(btf),
            tracepoints: TRACEPOINTS
                .iter()
                .filter(|(typedef, _)| btf.typedef(typedef).is_some())
                .map(|(_, name)| *name)
                .collect(),
            current_task_btf: btf.enumerator(CURRENT_TASK_BTF).is_some(),
            gfp: gfp::flags(btf),
            stat_table: memcg_stat::has_table(btf, &memcg_stat),
            memcg_stat,
        }
    }

    /// Whether one of [`FUNCTIONS`] exists.
    pub(crate) fn has(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// Whether one of the tracepoints exists.
    pub(crate) fn has_tracepoint(&self, name: &str) -> bool {
        self.tracepoints.contains(name)
    }
}

/// A tracepoint's BTF is a typedef of a function pointer; its first argument is the `void *` that
/// the trace point was registered with.
fn mark_victim(btf: &KernelBtf) -> MarkVictim {
    argument(btf, "btf_trace_mark_victim", 1)
        .and_then(|first| match first {
            Type::Int(int) if int.size() == size_of::<i32>() => Some(MarkVictim::Pid),
            Type::Ptr(pointer) => match btf.plain(pointer.get_type_id()?)? {
                Type::Struct(task) if btf.name(&task) == "task_struct" => Some(MarkVictim::Task),
                _ => None,
            },
            _ => None,
        })
        .unwrap_or_default()
}

fn argument(btf: &KernelBtf, typedef: &str, index: usize) -> Option<Type> {
    let Type::Ptr(pointer) = btf.typedef(typedef)? else {
        return None;
    };
    let Type::FuncProto(prototype) = btf.plain(pointer.get_type_id()?)? else {
        return None;
    };
    btf.plain(prototype.parameters.get(index)?.get_type_id()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixtures;

    fn facts(series: &str) -> BtfFacts {
        BtfFacts::collect(&fixtures::btf(series))
    }

    #[test]
    fn the_functions_of_every_kernel_are_found() {
        for series in fixtures::SERIES {
            let facts = facts(series);
            for name in FUNCTIONS.iter().filter(|name| **name != "mem_cgroup_oom_synchronize") {
                assert!(facts.has(name), "{series}: {name}");
            }
        }
    }

    #[test]
    fn mem_cgroup_oom_synchronize_exists_with_cgroup_v1_only() {
        for series in ["5.10-pid", "5.10", "6.1"] {
            assert!(facts(series).has("mem_cgroup_oom_synchronize"), "{series}");
        }
        for series in ["6.12", "6.18", "7.3"] {
            assert!(!facts(series).has("mem_cgroup_oom_synchronize"), "{series}");
        }
    }

    #[test]
    fn mark_victim_passes_a_pid_on_old_stable_kernels_and_a_task_on_new_ones() {
        assert_eq!(facts("5.10-pid").mark_victim, MarkVictim::Pid);
        for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
            assert_eq!(facts(series).mark_victim, MarkVictim::Task, "{series}");
        }
    }

    #[test]
    fn current_task_btf_came_after_5_10() {
        assert!(!facts("5.10").current_task_btf);
        for series in ["6.1", "6.12", "6.18", "7.3"] {
            assert!(facts(series).current_task_btf, "{series}");
        }
    }

    #[test]
    fn the_tracepoints_are_everywhere() {
        for series in fixtures::SERIES {
            let facts = facts(series);
            for (_, name) in TRACEPOINTS {
                assert!(facts.has_tracepoint(name), "{series}: {name}");
            }
        }
    }

    #[test]
    fn an_empty_host_has_no_facts_and_no_defaults() {
        let facts = HostFacts::collect(&Root::new("/nonexistent"), None);
        assert_eq!(facts.btf, BtfFacts::default());
        assert_eq!((facts.btf_source, facts.kprobes), (BtfSource::Nobody, false));
        assert_eq!((facts.perf_event_paranoid, facts.mark_format), (None, None));
        assert_eq!(facts.kallsyms, Kallsyms::default());
        assert_eq!(facts.lockdown, Lockdown::Unknown);
        assert_eq!((facts.possible_cpus, facts.privileges), (None, None));
        assert_eq!((facts.kernel, facts.boot_id, facts.host), (None, None, None));
    }

    #[test]
    fn this_host_has_facts() {
        let facts = HostFacts::collect(&Root::default(), None);
        assert!(facts.page_size.is_power_of_two());
        assert!(facts.possible_cpus.is_some_and(|count| count > 0));
        assert!(facts.kernel.is_some() && facts.boot_id.is_some() && facts.host.is_some());
        assert!(facts.privileges.is_some());
    }
}
