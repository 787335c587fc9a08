//! All facts of this host together.

use std::collections::BTreeMap;

use btf_rs::{BtfType, Type};

use super::{
    btf::KernelBtf,
    files::{self, CgroupMounts, Lockdown, Privileges, Root},
    gfp_flags,
    kallsyms::{self, Kallsyms},
    mark_format::{self, MarkFormat},
    memcg_stat_items,
};
use crate::model::{gfp::GfpFlag, hook::Hook, memcg_stat::StatItem};

/// Whether the name of a hook stands for a function or for a tracepoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HookKind {
    Function,
    Tracepoint,
}

/// A hook that is looked for in BTF and kallsyms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedHook {
    pub(crate) hook: Hook,
    /// Names in the kernel, newest first.
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: HookKind,
}

impl WantedHook {
    /// The names of its BTF types.
    pub(super) fn btf_names(&self) -> impl Iterator<Item = String> {
        let prefix = match self.kind {
            HookKind::Function => "",
            HookKind::Tracepoint => TRACEPOINT_TYPEDEF,
        };
        self.names.iter().map(move |name| format!("{prefix}{name}"))
    }

    /// The newest of its names that this kernel has.
    fn find(&self, btf: &KernelBtf) -> Option<&'static str> {
        let is_there = |name: &&str| match self.kind {
            HookKind::Function => btf.has_function(name),
            HookKind::Tracepoint => btf.typedef(&format!("{TRACEPOINT_TYPEDEF}{name}")).is_some(),
        };
        self.names.iter().copied().find(|name| is_there(name))
    }
}

/// BTF has a typedef of this prefix and the name of a tracepoint for its arguments.
const TRACEPOINT_TYPEDEF: &str = "btf_trace_";

/// Enums that facts are read from.
pub(super) const TYPES: &[&str] = &["bpf_func_id"];

/// Enumerators that facts are read from.
pub(super) const ENUMERATORS: &[&str] = &[CURRENT_TASK_BTF];
const CURRENT_TASK_BTF: &str = "BPF_FUNC_get_current_task_btf";

/// Files that list the names of gfp flags in the kernel's order: where tracefs is mounted today,
/// and where it was before 4.1.
const GFP_FORMATS: [&str; 2] = [
    "/sys/kernel/tracing/events/vmscan/mm_vmscan_direct_reclaim_begin/format",
    "/sys/kernel/debug/tracing/events/vmscan/mm_vmscan_direct_reclaim_begin/format",
];

/// The arguments that the tracepoint `oom:mark_victim` passes.
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

/// Facts from the kernel's BTF besides offsets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BtfFacts {
    /// The wanted functions that exist (are not inlined), with their name in this kernel.
    pub functions: BTreeMap<Hook, &'static str>,
    /// The arguments of `oom:mark_victim`.
    pub mark_victim: MarkVictim,
    /// The wanted tracepoints that exist, with their name in this kernel.
    pub tracepoints: BTreeMap<Hook, &'static str>,
    /// The helper bpf_get_current_task_btf exists (5.11+).
    pub current_task_btf: bool,
    /// Flags of a `gfp_mask`, by bit, or in the order of the kernel's log if tracefs shows it.
    pub gfp: Vec<GfpFlag>,
    /// The statistics of a memcg.
    pub memcg_stat: Vec<StatItem>,
    /// The kernel has a table of where each of them is, `mem_cgroup_stats_index`.
    pub stat_table: bool,
}

/// The source of the BTF that was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum BtfSource {
    /// The kernel's own. The kernel can attach programs by it.
    Kernel,
    /// A file, for a kernel that has none. It has the offsets of fields, but nothing to attach to.
    Given,
    #[default]
    Absent,
}

/// Facts about this host. A fact that could not be found out is `None` or has a variant for that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HostFacts {
    /// Empty if there is no BTF.
    pub btf: BtfFacts,
    pub btf_source: BtfSource,
    /// Perf events can be kprobes.
    pub kprobes: bool,
    /// /sys is mounted. If not, it is not known whether the kernel has kprobes.
    pub sysfs: bool,
    /// The sysctl `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Where the record of `oom:mark_victim` has its fields, from tracefs. `None` if that is not
    /// mounted or not readable.
    pub mark_format: Option<MarkFormat>,
    pub kallsyms: Kallsyms,
    pub lockdown: Lockdown,
    /// Entries of per-CPU tables: the highest possible CPU id plus one.
    pub possible_cpus: Option<u32>,
    /// The highest possible memory node plus one.
    pub possible_nodes: Option<u32>,
    pub privileges: Option<Privileges>,
    pub cgroups: CgroupMounts,
    /// The release that `uname -r` prints.
    pub kernel: Option<String>,
    pub boot_id: Option<String>,
    /// The host name that `uname -n` prints.
    pub host: Option<String>,
    pub page_size: u64,
}

impl HostFacts {
    /// Reads them all. `btf` is `None` if the kernel has none.
    pub(crate) fn collect(root: &Root, btf: Option<&KernelBtf>, hooks: &[WantedHook]) -> Self {
        let btf_source = match btf {
            Some(_) if files::has_btf(root) => BtfSource::Kernel,
            Some(_) => BtfSource::Given,
            None => BtfSource::Absent,
        };
        let mut btf_facts = btf.map(|btf| BtfFacts::collect(btf, hooks)).unwrap_or_default();
        if let Some(format) = GFP_FORMATS.iter().find_map(|path| root.line(path)) {
            crate::model::gfp::sort_by_format(&mut btf_facts.gfp, &format);
        }
        Self {
            kallsyms: kallsyms::scan(root, btf_facts.stat_table, hooks),
            btf: btf_facts,
            btf_source,
            kprobes: files::has_kprobes(root),
            sysfs: files::has_sysfs(root),
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

impl BtfFacts {
    pub(crate) fn collect(btf: &KernelBtf, hooks: &[WantedHook]) -> Self {
        let memcg_stat = memcg_stat_items::items(btf);
        let find = |kind| {
            let wanted = hooks.iter().filter(move |wanted| wanted.kind == kind);
            wanted.filter_map(|wanted| Some((wanted.hook, wanted.find(btf)?))).collect()
        };
        let tracepoints: BTreeMap<Hook, &str> = find(HookKind::Tracepoint);
        let mark_victim = tracepoints.get(&Hook::MarkVictim).map(|name| mark_victim(btf, name));
        Self {
            functions: find(HookKind::Function),
            mark_victim: mark_victim.unwrap_or_default(),
            tracepoints,
            current_task_btf: btf.enumerator(CURRENT_TASK_BTF).is_some(),
            gfp: gfp_flags::flags(btf),
            stat_table: memcg_stat_items::has_table(btf, &memcg_stat),
            memcg_stat,
        }
    }

    /// The name of a hook in this kernel; `None` if BTF does not have it.
    pub(crate) fn name(&self, hook: Hook) -> Option<&'static str> {
        self.functions.get(&hook).or_else(|| self.tracepoints.get(&hook)).copied()
    }
}

/// The BTF of a tracepoint is a typedef of a function pointer. Its first argument is the `void *`
/// that the program was registered with.
fn mark_victim(btf: &KernelBtf, name: &str) -> MarkVictim {
    argument(btf, &format!("{TRACEPOINT_TYPEDEF}{name}"), 1)
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
        BtfFacts::collect(&fixtures::btf(series), fixtures::HOOKS)
    }

    #[test]
    fn hook_is_found_by_the_newest_name_that_the_kernel_has() {
        const NAMES: &[&str] = &["oom_kill_process_of_tomorrow", "oom_kill_process", "exit_mmap"];
        let wanted =
            |names| [WantedHook { hook: Hook::OomBadness, names, kind: HookKind::Function }];
        let name = |names| {
            let hooks = wanted(names);
            BtfFacts::collect(&fixtures::btf_with("6.12", &hooks), &hooks).name(Hook::OomBadness)
        };
        assert_eq!(name(NAMES), Some("oom_kill_process"));
        assert_eq!(name(&NAMES[..1]), None);
    }

    #[test]
    fn mark_victim_passes_pid_on_old_stable_kernels_and_task_on_new_ones() {
        assert_eq!(facts("5.10-pid").mark_victim, MarkVictim::Pid);
        for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
            assert_eq!(facts(series).mark_victim, MarkVictim::Task, "{series}");
        }
    }

    #[test]
    fn current_task_btf_is_absent_on_5_10() {
        assert!(!facts("5.10").current_task_btf);
        for series in ["6.1", "6.12", "6.18", "7.3"] {
            assert!(facts(series).current_task_btf, "{series}");
        }
    }

    #[test]
    fn empty_host_has_no_facts_and_no_defaults() {
        let facts = HostFacts::collect(&Root::new("/nonexistent"), None, fixtures::HOOKS);
        assert_eq!(facts.btf, BtfFacts::default());
        assert_eq!((facts.btf_source, facts.kprobes), (BtfSource::Absent, false));
        assert_eq!((facts.perf_event_paranoid, facts.mark_format), (None, None));
        assert_eq!(facts.kallsyms, Kallsyms::default());
        assert_eq!(facts.lockdown, Lockdown::Unknown);
        assert_eq!((facts.possible_cpus, facts.privileges), (None, None));
        assert_eq!((facts.kernel, facts.boot_id, facts.host), (None, None, None));
    }

    #[test]
    fn facts_of_this_host_are_read() {
        let facts = HostFacts::collect(&Root::default(), None, fixtures::HOOKS);
        assert!(facts.page_size.is_power_of_two());
        assert!(facts.possible_cpus.is_some_and(|count| count > 0));
        assert!(facts.kernel.is_some() && facts.boot_id.is_some() && facts.host.is_some());
        assert!(facts.privileges.is_some());
    }
}
