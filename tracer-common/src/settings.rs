//! What userspace decides before load; frozen in `.rodata`, so the verifier prunes by it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::offsets::ABSENT;

/// Switches of the probes. Set once by the loader, read-only afterwards.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Address of the kernel's `__per_cpu_offset` array (kallsyms); 0 where it is hidden.
    pub per_cpu_offsets: u64,
    /// Address of the kernel's `mem_cgroup_stats_index` (kallsyms); 0 where it has none, or hides it.
    pub stat_places: u64,
    /// Highest possible CPU id and one: entries of that array in use.
    pub possible_cpus: u32,
    /// 1: plain loads through typed pointers (fentry, fexit, tp_btf); 0: bpf_probe_read_kernel.
    pub typed_loads: u32,
    /// 1: bpf_probe_read_kernel may be called (it may not under lockdown=confidentiality).
    pub probe_read: u32,
    /// 1: the kernel has bpf_get_current_task_btf (5.11+), a typed pointer to current.
    pub current_task_btf: u32,
    /// 1: `__oom_kill_process` is hooked, so `EndEvent::shots` counts.
    pub kill_task_hooked: u32,
    /// 1: `mark_victim` passes a bare pid; the victim is described at `__oom_kill_process`.
    pub victim_by_pid: u32,
    /// 1: plain loads reach the rss counters too (5.10's verifier does not follow their typedef).
    pub typed_counters: u32,
    /// Growth is recorded where usage is above this share of a limit, percent.
    pub growth_above_percent: u32,
    /// 1: command lines, which may hold secrets, are not read.
    pub no_cmdlines: u32,
    /// Nothing.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Settings>() == 56);

/// Where the record of the tracepoint `oom:mark_victim` has its fields, as tracefs says; bytes from
/// its start, or [`ABSENT`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MarkLayout {
    /// Thread id, `int`.
    pub pid: u32,
    /// `__data_loc char[]`.
    pub comm: u32,
    /// KiB, `unsigned long`.
    pub total_vm: u32,
    /// KiB, `unsigned long`.
    pub anon_rss: u32,
    /// KiB, `unsigned long`.
    pub file_rss: u32,
    /// KiB, `unsigned long`.
    pub shmem_rss: u32,
    /// `uid_t`.
    pub uid: u32,
    /// KiB, `unsigned long`.
    pub pgtables: u32,
    /// `short`.
    pub oom_score_adj: u32,
    /// Nothing.
    pub reserved: u32,
}

impl MarkLayout {
    /// A record of which nothing is known.
    pub const NONE: Self = Self {
        pid: ABSENT,
        comm: ABSENT,
        total_vm: ABSENT,
        anon_rss: ABSENT,
        file_rss: ABSENT,
        shmem_rss: ABSENT,
        uid: ABSENT,
        pgtables: ABSENT,
        oom_score_adj: ABSENT,
        reserved: 0,
    };
}
