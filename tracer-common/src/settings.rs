//! Settings of the probes. Userspace decides them before it loads the programs and freezes them in
//! `.rodata`, so the verifier prunes the branches that they rule out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::offsets::ABSENT;

/// Switches and addresses, read-only once the programs are loaded.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Address of the kernel's `__per_cpu_offset` array (kallsyms). 0 if kallsyms hides it.
    pub per_cpu_offsets: u64,
    /// Address of the kernel's `mem_cgroup_stats_index` (kallsyms). 0 if this kernel has no such
    /// table or kallsyms hides it.
    pub stat_fields: u64,
    /// Highest possible CPU id plus one: the entries of `__per_cpu_offset` in use.
    pub possible_cpus: u32,
    /// 1: plain loads through typed pointers (fentry, fexit, tp_btf). 0: `bpf_probe_read_kernel`.
    pub typed_loads: u32,
    /// 1: probes may call `bpf_probe_read_kernel`. lockdown=confidentiality forbids it.
    pub probe_read: u32,
    /// 1: the kernel has `bpf_get_current_task_btf` (5.11+), which returns a typed pointer.
    pub current_task_btf: u32,
    /// 1: `__oom_kill_process` is hooked, so `EndEvent::oom_kill_calls` is counted.
    pub kill_task_hooked: u32,
    /// 1: `mark_victim` passes a bare pid, so the victim is read at `__oom_kill_process`.
    pub victim_by_pid: u32,
    /// 1: plain loads reach the rss counters too. 5.10's verifier does not follow their typedef.
    pub typed_counters: u32,
    /// Growth is recorded if usage is at or above this share of a limit, percent.
    pub growth_above_percent: u32,
    /// 1: command lines, which may hold secrets, are not read.
    pub no_cmdlines: u32,
    /// The bits of `event::end_facts` that depend on a hook, if that hook is attached.
    pub end_facts: u32,
    /// Address of the kernel's `oom_lock` (kallsyms). 0 if kallsyms hides it.
    pub oom_lock: u64,
    /// Address of the kernel's `oom_killer_disabled` (kallsyms). 0 if kallsyms hides it.
    pub oom_killer_disabled: u64,
    /// Address of the kernel's `oom_notify_list` (kallsyms). 0 if kallsyms hides it.
    pub oom_notify_list: u64,
    /// 1: invocations that wait for a victim are counted with its kill. 0: each run of them is
    /// emitted, because the report of the kill is closed too early to include a count.
    pub counts_waits: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Settings>() == 88);

/// Offsets of the fields in the record of the tracepoint `oom:mark_victim`, from tracefs. Bytes
/// from the start of the record, or [`ABSENT`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MarkLayout {
    /// Id of the marked thread, `int`.
    pub pid: u32,
    /// Name of the thread, `__data_loc char[]`.
    pub comm: u32,
    /// Virtual size in KiB, `unsigned long`.
    pub total_vm: u32,
    /// Anonymous memory in KiB, `unsigned long`.
    pub anon_rss: u32,
    /// Resident file pages in KiB, `unsigned long`.
    pub file_rss: u32,
    /// Resident shared memory in KiB, `unsigned long`.
    pub shmem_rss: u32,
    /// Real user id, `uid_t`.
    pub uid: u32,
    /// Page tables in KiB, `unsigned long`.
    pub pgtables: u32,
    /// The task's oom_score_adj, `short`.
    pub oom_score_adj: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

impl MarkLayout {
    /// The layout of a record whose fields are all unknown.
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
