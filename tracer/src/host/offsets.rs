//! Resolves BTF to [`KernelOffsets`]. One table has the path of each field on every kernel, and the
//! report fields that are missing without it.
//!
//! A field that this kernel does not have is no error here. Paths are resolved in
//! [`super::layout`].

use std::fmt;

use oomwhy_common::offsets::KernelOffsets;

use super::{btf::KernelBtf, layout::LayoutError};

/// The bytes that the probes load from a field.
#[derive(Clone, Copy)]
enum Load {
    /// Exactly this number of bytes.
    Bytes(u64),
    /// The first bytes of a field that may be longer.
    First(u64),
    /// The address itself is used, or the entry is not an address.
    None,
}

struct Field {
    name: &'static str,
    load: Load,
    /// Paths, the preferred one first, in the syntax of [`find`].
    alternatives: &'static [&'static str],
    /// Fields of the report that are missing without it. Empty if some kernels work without it, or
    /// if a plan needs it.
    lost_without: &'static [&'static str],
    slot: fn(&mut KernelOffsets) -> &mut u32,
}

macro_rules! first {
    ($first:expr $(, $rest:expr)?) => {
        $first
    };
}

/// `field` is checked against [`KernelOffsets`] at compile time.
macro_rules! table {
    ($($field:ident: $load:expr, $($alternative:literal)|+ $(=> $lost:expr)?;)*) => {
        &[$(Field {
            name: stringify!($field),
            load: $load,
            alternatives: &[$($alternative),+],
            lost_without: first!($($lost,)? &[]),
            slot: |offsets| &mut offsets.$field,
        }),*]
    };
}

const BOOL: Load = Load::Bytes(1);
const I16: Load = Load::Bytes(2);
const U32: Load = Load::Bytes(4);
const U64: Load = Load::Bytes(8);
const POINTER: Load = Load::Bytes(8);
const EMBEDDED: Load = Load::None;

pub(crate) const CMDLINES: &[&str] = &["trigger.cmdline", "victims.cmdline"];
pub(crate) const EXES: &[&str] = &["trigger.exe", "victims.exe"];

/// One validity bit covers these.
const OOM_CONTROL: &[&str] = &["constraint", "totalpages", "trigger.gfp_mask", "trigger.order"];
const CANDIDATE_MEMORY: &[&str] = &[
    "candidates.anon_pages",
    "candidates.file_pages",
    "candidates.shmem_pages",
    "candidates.swap_pages",
    "candidates.pgtables_pages",
];
pub(crate) const VICTIM_MEMORY: &[&str] = &[
    "victims.total_vm_bytes",
    "victims.anon_rss_bytes",
    "victims.file_rss_bytes",
    "victims.shmem_rss_bytes",
    "victims.swap_bytes",
    "victims.pgtables_bytes",
];
/// Every field of a task's memory.
pub(crate) const TASK_MEMORY: &[&str] =
    &joined::<{ CANDIDATE_MEMORY.len() + VICTIM_MEMORY.len() }>(CANDIDATE_MEMORY, VICTIM_MEMORY);
pub(crate) const LEADERLESS: &[&str] = &["candidates (memory, where the leader has exited)"];
const MEMCG_SWAP: &[&str] = &["oom_memcg.swap_usage_bytes", "oom_memcg.swap_max_bytes"];
const TASK_CGROUP: &[&str] = &["trigger.cgroup", "victims.cgroup", "limit_chain"];
const ALL_CGROUPS: &[&str] =
    &["oom_memcg.id", "oom_memcg.path", "trigger.cgroup", "victims.cgroup"];
const PATHS: &[&str] = &["oom_memcg.path", "trigger.cgroup.path", "victims.cgroup.path"];

/// Joins two lists of fields. Does not compile if `N` is not the sum of their lengths.
pub(crate) const fn joined<const N: usize>(
    first: &[&'static str],
    second: &[&'static str],
) -> [&'static str; N] {
    assert!(first.len() + second.len() == N);
    let mut all = [""; N];
    let (start, end) = all.split_at_mut(first.len());
    start.copy_from_slice(first);
    end.copy_from_slice(second);
    all
}

/// A row has the load, the paths and, after `=>`, the fields of the report that are missing without
/// it. Members of anonymous structs and unions are found without a name for those.
#[rustfmt::skip]
const TABLE: &[Field] = table! {
    oc_memcg:             POINTER, "oom_control.memcg" => &["oom_memcg", "limit_chain"];
    oc_nodemask:          POINTER, "oom_control.nodemask" => &["nodemask"];
    oc_gfp_mask:          U32,     "oom_control.gfp_mask" => OOM_CONTROL;
    oc_order:             U32,     "oom_control.order" => OOM_CONTROL;
    oc_totalpages:        U64,     "oom_control.totalpages" => OOM_CONTROL;
    oc_chosen:            POINTER, "oom_control.chosen" => &["victims.chosen", "victims.points"];
    oc_chosen_points:     U64,     "oom_control.chosen_points" => OOM_CONTROL;
    oc_constraint:        U32,     "oom_control.constraint" => OOM_CONTROL;
    task_pid:             U32,     "task_struct.pid";
    task_tgid:            U32,     "task_struct.tgid";
    // TASK_COMM_LEN.
    task_comm:            Load::First(16), "task_struct.comm";
    task_flags:           U32,     "task_struct.flags" => &["candidates.why_not"];
    task_mm:              POINTER, "task_struct.mm" => TASK_MEMORY;
    task_signal:          POINTER, "task_struct.signal"
        => &["trigger.oom_score_adj", "candidates.oom_score_adj", "victims.oom_score_adj",
             "victims.vpid"];
    task_real_cred:       POINTER, "task_struct.real_cred";
    // real_start_time before 5.5.
    task_start_boottime:  U64,     "task_struct.start_boottime" | "task_struct.real_start_time"
        => &["trigger.oom_score_adj", "victims.oom_score_adj", "victims.start_time"];
    task_cgroups:         POINTER, "task_struct.cgroups" => TASK_CGROUP;
    task_vfork_done:      POINTER, "task_struct.vfork_done" => &["candidates.why_not"];
    task_real_parent:     POINTER, "task_struct.real_parent"
        => &["candidates.why_not", "trigger.parents", "victims.parents"];
    task_mems_allowed:    Load::First(8), "task_struct.mems_allowed" => &["mems_allowed"];
    // With cgroup v1 only.
    task_memcg_in_oom:    POINTER, "task_struct.memcg_in_oom";
    signal_oom_score_adj: I16,     "signal_struct.oom_score_adj"
        => &["trigger.oom_score_adj", "candidates.oom_score_adj", "victims.oom_score_adj"];
    signal_nr_threads:    U32,     "signal_struct.nr_threads" => &["candidates.why_not"];
    signal_live:          U32,     "signal_struct.live" => &["victims.exited_after_ns"];
    signal_oom_mm:        POINTER, "signal_struct.oom_mm"
        => &["candidates.why_not", "victims.exited_after_ns"];
    signal_pid_tgid:      POINTER, "signal_struct.pids[PIDTYPE_TGID]" => &["victims.vpid"];
    pid_level:            U32,     "pid.level" => &["victims.vpid"];
    pid_numbers:          EMBEDDED, "pid.numbers" => &["victims.vpid"];
    upid_size:            Load::None, "sizeof(upid)" => &["victims.vpid"];
    upid_nr:              U32,     "upid.nr" => &["victims.vpid"];
    cred_uid:             U32,     "cred.uid";
    mm_total_vm:          U64,     "mm_struct.total_vm" => TASK_MEMORY;
    mm_pgtables_bytes:    U64,     "mm_struct.pgtables_bytes" => TASK_MEMORY;
    // unsigned long; mm_flags_t, a bitmap, since 6.18: its first word has the same bits.
    mm_flags:             Load::First(8), "mm_struct.flags" => &["candidates.why_not"];
    // An array of atomic_long_t; of struct percpu_counter since 6.2.
    mm_rss_file:          U64,     "mm_struct.rss_stat.count[MM_FILEPAGES].counter"
                                 | "mm_struct.rss_stat[MM_FILEPAGES].count" => TASK_MEMORY;
    mm_rss_anon:          U64,     "mm_struct.rss_stat.count[MM_ANONPAGES].counter"
                                 | "mm_struct.rss_stat[MM_ANONPAGES].count" => TASK_MEMORY;
    mm_rss_swap:          U64,     "mm_struct.rss_stat.count[MM_SWAPENTS].counter"
                                 | "mm_struct.rss_stat[MM_SWAPENTS].count" => TASK_MEMORY;
    mm_rss_shmem:         U64,     "mm_struct.rss_stat.count[MM_SHMEMPAGES].counter"
                                 | "mm_struct.rss_stat[MM_SHMEMPAGES].count" => TASK_MEMORY;
    per_cpu_counters:     POINTER, "mm_struct.rss_stat[0].counters - mm_struct.rss_stat[0].count";
    css_set_memory:       POINTER, "css_set.subsys[memory_cgrp_id]" => TASK_CGROUP;
    css_cgroup:           POINTER, "cgroup_subsys_state.cgroup" => TASK_CGROUP;
    memcg_cgroup:         POINTER, "mem_cgroup.css.cgroup" => &["oom_memcg.id", "oom_memcg.path"];
    memcg_memory:         EMBEDDED, "mem_cgroup.memory"
        => &["oom_memcg.usage_bytes", "oom_memcg.max_bytes", "limit_chain"];
    memcg_swap:           EMBEDDED, "mem_cgroup.swap" | "mem_cgroup.memsw" => MEMCG_SWAP;
    // With cgroup v1 only.
    memcg_kmem:           EMBEDDED, "mem_cgroup.kmem";
    memcg_oom_group:      BOOL,    "mem_cgroup.oom_group" => &["oom_memcg.oom_group"];
    memcg_vmstats:        POINTER, "mem_cgroup.vmstats";
    // An array in the memcg itself before 5.13.
    memcg_vmstats_array:  EMBEDDED, "mem_cgroup.vmstats[0]";
    vmstats_state:        EMBEDDED, "memcg_vmstats.state";
    counter_usage:        U64,     "page_counter.usage"
        => &["oom_memcg.usage_bytes", "oom_memcg.max_bytes", "limit_chain"];
    counter_max:          U64,     "page_counter.max"
        => &["oom_memcg.usage_bytes", "oom_memcg.max_bytes", "limit_chain"];
    counter_high:         U64,     "page_counter.high" => &["limit_chain"];
    counter_low:          U64,     "page_counter.low" => &["limit_chain"];
    counter_min:          U64,     "page_counter.min" => &["limit_chain"];
    counter_parent:       POINTER, "page_counter.parent" => &["limit_chain"];
    cgroup_kn:            POINTER, "cgroup.kn" => ALL_CGROUPS;
    // __parent since 6.15.
    kernfs_parent:        POINTER, "kernfs_node.parent" | "kernfs_node.__parent" => PATHS;
    kernfs_name:          POINTER, "kernfs_node.name" => PATHS;
    kernfs_id:            U64,     "kernfs_node.id" => ALL_CGROUPS;
    signal_flags:         U32,     "signal_struct.flags";
    signal_thread_head:   EMBEDDED, "signal_struct.thread_head" => LEADERLESS;
    task_thread_node:     EMBEDDED, "task_struct.thread_node" => LEADERLESS;
    // With cgroup v1 only.
    task_memcg_oom_gfp_mask: U32,  "task_struct.memcg_oom_gfp_mask";
    task_memcg_oom_order: U32,     "task_struct.memcg_oom_order";
    mm_arg_start:         U64,     "mm_struct.arg_start" => CMDLINES;
    mm_arg_end:           U64,     "mm_struct.arg_end" => CMDLINES;
    mm_exe_file:          POINTER, "mm_struct.exe_file" => EXES;
    file_dentry:          POINTER, "file.f_path.dentry" => EXES;
    file_mnt:             POINTER, "file.f_path.mnt" => EXES;
    dentry_parent:        POINTER, "dentry.d_parent" => EXES;
    dentry_name:          POINTER, "dentry.d_name.name" => EXES;
    vfsmount_root:        POINTER, "vfsmount.mnt_root" => EXES;
    mount_mnt:            EMBEDDED, "mount.mnt" => EXES;
    mount_parent:         POINTER, "mount.mnt_parent" => EXES;
    mount_mountpoint:     POINTER, "mount.mnt_mountpoint" => EXES;
    cgroup_memory:        POINTER, "cgroup.subsys[memory_cgrp_id]";
    // With real-time locks, a mutex is an rt_mutex.
    mutex_owner:          U64,     "mutex.owner" | "mutex.rtmutex.owner";
    notifier_head:        POINTER, "blocking_notifier_head.head";
};

/// The enums of the indexes in the table.
pub(super) const ENUMS: &[&str] = &["cgroup_subsys_id", "pid_type"];

/// The offsets of a kernel, and the paths that led to them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Resolved {
    pub offsets: KernelOffsets,
    pub matched: Vec<Match>,
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Match {
    pub field: &'static str,
    /// The path that led to it.
    pub alternative: &'static str,
    pub offset: u32,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Missing {
    pub field: &'static str,
    /// The reason per path.
    pub why: String,
}

impl Resolved {
    /// No offset, for a kernel without BTF.
    pub(crate) fn nothing() -> Self {
        let why = "there is no BTF of this kernel";
        let missing = |field: &Field| Missing { field: field.name, why: why.to_owned() };
        Self {
            offsets: KernelOffsets::NONE,
            matched: Vec::new(),
            missing: TABLE.iter().map(missing).collect(),
        }
    }

    /// Whether a field, by its name in [`KernelOffsets`], was found.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.matched.iter().any(|found| found.field == field)
    }
}

/// A table of the fields that were found, each with offset and path, then of those that were not.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matched = self.matched.iter().map(|found| found.field);
        let missing = self.missing.iter().map(|missing| missing.field);
        let width = matched.chain(missing).map(str::len).max().unwrap_or_default();
        for Match { field, alternative, offset } in &self.matched {
            writeln!(f, "{field:width$} {offset:>6}  {alternative}")?;
        }
        for Missing { field, why } in &self.missing {
            writeln!(f, "{field:width$} {:>6}  {why}", "-")?;
        }
        Ok(())
    }
}

/// Fields of the report that are missing without an offset.
pub(crate) fn lost_without(offset: &str) -> &'static [&'static str] {
    TABLE.iter().find(|field| field.name == offset).map_or(&[], |field| field.lost_without)
}

/// Looks up every field. A field that this kernel does not have is listed as missing.
pub(crate) fn resolve(btf: &KernelBtf) -> Resolved {
    let mut resolved =
        Resolved { offsets: KernelOffsets::NONE, matched: Vec::new(), missing: Vec::new() };
    for field in TABLE {
        match field.find(btf) {
            Ok((alternative, offset)) => {
                *(field.slot)(&mut resolved.offsets) = offset;
                resolved.matched.push(Match { field: field.name, alternative, offset });
            }
            Err(why) => resolved.missing.push(Missing { field: field.name, why }),
        }
    }
    resolved
}

impl Field {
    fn find(&self, btf: &KernelBtf) -> Result<(&'static str, u32), String> {
        let mut reasons = Vec::new();
        for alternative in self.alternatives {
            match find(btf, alternative, self.load) {
                Ok(offset) => return Ok((alternative, offset)),
                Err(why) => reasons.push(why.to_string()),
            }
        }
        Err(reasons.join("; "))
    }
}

/// Resolves a path, `sizeof(STRUCT)`, or the distance `PATH - PATH`.
fn find(btf: &KernelBtf, alternative: &str, load: Load) -> Result<u32, LayoutError> {
    if let Some(name) = alternative.strip_prefix("sizeof(").and_then(|s| s.strip_suffix(')')) {
        return btf.size_of(name);
    }
    let Some((to, from)) = alternative.split_once(" - ") else {
        return locate(btf, alternative, load);
    };
    let start = btf.locate(from)?.offset;
    locate(btf, to, load)?.checked_sub(start).ok_or_else(|| LayoutError::Damaged(to.to_owned()))
}

fn locate(btf: &KernelBtf, path: &str, load: Load) -> Result<u32, LayoutError> {
    let location = btf.locate(path)?;
    let fits = match load {
        Load::Bytes(bytes) => location.size == bytes,
        Load::First(bytes) => location.size >= bytes,
        Load::None => true,
    };
    if !fits {
        let expected = load.to_string();
        return Err(LayoutError::Size { path: path.to_owned(), size: location.size, expected });
    }
    Ok(location.offset)
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::First(bytes) => write!(f, "{bytes} or more"),
            Self::None => write!(f, "any"),
        }
    }
}

/// The structs that paths of the table start with.
pub(super) fn structs() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|field| field.alternatives).flat_map(|alternative| {
        alternative.split(" - ").map(|path| {
            let start = path.trim_start_matches("sizeof(");
            start.split(['.', ')']).next().unwrap_or(start)
        })
    })
}

/// The members and enumerators in these paths.
pub(super) fn members() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .flat_map(|field| field.alternatives)
        .flat_map(|alternative| alternative.split(['.', '[', ']', ' ', '-', '(', ')']))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
