//! The records: one `repr(C)` struct per kind. Sizes are multiples of 8, without implicit padding
//! (`IntoBytes` proves it at compile time).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Record kinds, the values of `EventHeader::kind`. Kind 15 is not in use.
pub mod kind {
    /// The record is an [`super::InvocationEvent`].
    pub const INVOCATION: u32 = 1;
    /// A [`super::CandidatesHead`], then `recorded` entries of [`super::CandidateEntry`].
    pub const CANDIDATES: u32 = 2;
    /// A [`super::PathHead`], then `len` bytes of names.
    pub const PATH: u32 = 3;
    /// The record is a [`super::VictimEvent`].
    pub const VICTIM: u32 = 4;
    /// The record is an [`super::EndEvent`].
    pub const END: u32 = 5;
    /// A [`super::LevelsHead`], then `recorded` entries of [`super::LevelEntry`].
    pub const LEVELS: u32 = 6;
    /// The record is a [`super::RepeatsEvent`].
    pub const REPEATS: u32 = 7;
    /// The record is a [`super::ReclaimedEvent`].
    pub const RECLAIMED: u32 = 8;
    /// The record is a [`super::CgroupEvent`].
    pub const CGROUP: u32 = 9;
    /// The record is a [`super::StatEvent`].
    pub const STAT: u32 = 10;
    /// The record is a [`super::VictimGoneEvent`].
    pub const VICTIM_GONE: u32 = 11;
    /// The record is a [`super::WaitEvent`].
    pub const WAIT: u32 = 12;
    /// A [`super::ContextHead`], then `len` bytes.
    pub const CONTEXT: u32 = 13;
    /// The record is a [`super::GrowingProcessEvent`].
    pub const GROWING_PROCESS: u32 = 14;
    /// The record is a [`super::MarkEvent`].
    pub const MARK: u32 = 16;
    /// The record is a [`super::KillEvent`], in a ring of its own.
    pub const KILL: u32 = 17;
    /// The highest kind in use.
    pub const LAST: u32 = KILL;
}

/// Length of `task_struct.comm` (`TASK_COMM_LEN`), bytes. The bytes after the first NUL are stale.
pub const COMM_LEN: usize = 16;
/// Innermost frames of a kernel stack that are kept.
pub const KERNEL_FRAMES: usize = 64;
/// Innermost frames of a user stack that are kept.
pub const USER_FRAMES: usize = 32;
/// Bytes of the kernel's message ("Memory cgroup out of memory") that are kept.
pub const MESSAGE_LEN: usize = 64;
/// Candidates of one invocation that are kept: those with the most points.
pub const MAX_CANDIDATES: usize = 32;
/// Levels of a cgroup hierarchy that are kept, leaf first: 16 and the root.
pub const MAX_LEVELS: usize = 17;
/// Bytes of names in a path record.
pub const PATH_BYTES: usize = 4096;
/// Bytes of the text in the record of a new cgroup. The kernel's buffer has 1,024
/// (`TRACE_CGROUP_PATH_LEN`); paths of containers take up to about 300.
pub const KERNEL_PATH_BYTES: usize = 512;
/// Longest name of one cgroup with its NUL (`NAME_MAX` + 1), bytes.
pub const NAME_LEN: usize = 256;
/// Counters of a memcg's statistics that are kept: more than any kernel has (7.3: 57).
pub const STAT_COUNTERS: usize = 64;
/// Entries of the kernel's table that maps statistics to counters: more than any kernel has
/// (7.3: 75).
pub const STAT_FIELDS: usize = 128;
/// Bytes of one part of a task's context (a command line, a path) that are kept.
pub const CONTEXT_BYTES: usize = 1024;
/// Victims, group members and sharers of one invocation that have a [`VictimEvent`]. Further ones
/// have only a [`KillEvent`].
pub const MAX_DETAILED_VICTIMS: u32 = 256;
/// Ancestors of a task that are kept, its parent first.
pub const PARENTS: usize = 8;

/// Indexes of the `mm_struct.rss_stat` counters in arrays such as [`VictimEvent::counts`].
pub mod mm {
    /// Resident file pages, the kernel's `MM_FILEPAGES`.
    pub const FILE: usize = 0;
    /// Resident anonymous pages, the kernel's `MM_ANONPAGES`.
    pub const ANON: usize = 1;
    /// Swapped-out pages, the kernel's `MM_SWAPENTS`.
    pub const SWAP: usize = 2;
    /// Resident shared memory pages, the kernel's `MM_SHMEMPAGES`.
    pub const SHMEM: usize = 3;
    /// Number of these counters.
    pub const COUNT: usize = 4;
}

/// The header at the start of every record.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventHeader {
    /// Time at which the record was written, `CLOCK_BOOTTIME` ns.
    pub boottime_ns: u64,
    /// Number of the invocation, counted from 1 since the probes were loaded. All records of one
    /// invocation have the same number.
    pub seq: u64,
    /// Validity bits, see [`crate::valid`].
    pub valid: u64,
    /// Kind of the record, one of [`kind`].
    pub kind: u32,
    /// Length of the whole record with this header, bytes.
    pub size: u32,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// Size of the page tables of the process in a [`KillEvent`], KiB. 0 in every other record.
    pub reserved: u32,
}

/// The identity of a task, and how the OOM killer may treat it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct TaskFacts {
    /// `task_struct.start_boottime`, ns. Together with the tgid it stays unique if a pid is reused.
    pub start_boottime_ns: u64,
    /// `kernfs_node.id` of the memory cgroup that the task is in.
    pub cgroup_id: u64,
    /// Process id, `task_struct.tgid`.
    pub tgid: i32,
    /// Thread id, `task_struct.pid`.
    pub tid: i32,
    /// Real user id in the initial user namespace, `cred.uid`.
    pub uid: u32,
    /// Value of `signal_struct.oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Name of the thread, `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// The memcg whose limit was hit. All amounts are in pages.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MemcgFacts {
    /// Id of the cgroup, `kernfs_node.id`.
    pub id: u64,
    /// Memory in use, `mem_cgroup.memory.usage`.
    pub usage: u64,
    /// Memory limit, `mem_cgroup.memory.max`.
    pub max: u64,
    /// Swap in use, `mem_cgroup.swap.usage` (cgroup v1: `memsw`, memory and swap together).
    pub swap_usage: u64,
    /// Swap limit, `mem_cgroup.swap.max` (cgroup v1: `memsw`).
    pub swap_max: u64,
    /// Value of `mem_cgroup.oom_group`, 0 or 1.
    pub oom_group: u64,
}

/// One run of the OOM killer as of the choice (`oom_kill_process` entry). If no task was chosen, as
/// of its entry, or as of the kernel's own report that no task can be killed.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InvocationEvent {
    /// Header of kind [`kind::INVOCATION`].
    pub header: EventHeader,
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    /// Size of the OOM domain in pages, not its usage, `oom_control.totalpages`.
    pub totalpages: u64,
    /// Points of the chosen task in pages, `oom_control.chosen_points`.
    pub chosen_points: i64,
    /// The current task, whose allocation invoked the OOM killer.
    pub trigger: TaskFacts,
    /// The task that the kernel chose, `oom_control.chosen`.
    pub chosen: TaskFacts,
    /// The memcg whose limit was hit, `oom_control.memcg`.
    pub oom_memcg: MemcgFacts,
    /// Bit n for node n up to node 63, `oom_control.nodemask`. 0 if the allocation has no mask.
    pub nodemask: u64,
    /// Bit n for node n up to node 63, `task_struct.mems_allowed` of the trigger.
    pub mems_allowed: u64,
    /// Flags of the allocation, `oom_control.gfp_mask`.
    pub gfp_mask: u32,
    /// Order of the allocation, `oom_control.order`. -1 for sysrq-f.
    pub order: i32,
    /// An `enum oom_constraint`, `oom_control.constraint`.
    pub constraint: u32,
    /// Tasks that the kernel evaluated in this invocation, recorded or not.
    pub considered: u32,
    /// 1 if the record was written at `oom_kill_process` entry, so the kernel intended to kill.
    pub choice_made: u32,
    /// Number of frames in `kernel_stack`.
    pub kernel_frames: u32,
    /// Number of frames in `user_stack`.
    pub user_frames: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
    /// NUL-terminated second argument of `oom_kill_process`.
    pub message: [u8; MESSAGE_LEN],
    /// Return addresses of the trigger in the kernel, innermost first.
    pub kernel_stack: [u64; KERNEL_FRAMES],
    /// Return addresses of the trigger in user space, innermost first. The record ends behind the
    /// last of `user_frames` frames, so no field can follow this one.
    pub user_stack: [UserFrame; USER_FRAMES],
}

/// One frame of a user stack, the kernel's `struct bpf_stack_build_id`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct UserFrame {
    /// `BPF_STACK_BUILD_ID_*`: 0 empty, 1 valid (build id and file offset), 2 address only.
    pub status: i32,
    /// GNU build id of the file.
    pub build_id: [u8; 20],
    /// File offset in bytes (status 1) or address (status 2).
    pub offset_or_ip: u64,
}

/// Head of the table of candidates.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CandidatesHead {
    /// Header of kind [`kind::CANDIDATES`].
    pub header: EventHeader,
    /// Number of entries that follow.
    pub recorded: u32,
    /// Tasks that the kernel evaluated, recorded or not.
    pub considered: u32,
}

/// Size of a [`CandidateEntry`] in the oldest wire version, bytes.
pub const OLDEST_CANDIDATE_BYTES: usize = 96;

/// One task that the kernel evaluated. Amounts are in pages unless stated otherwise.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CandidateEntry {
    /// Return value of `oom_badness`: `LONG_MIN` for a task that must not be killed.
    pub points: i64,
    /// Counters of `mm_struct.rss_stat`, index [`mm`].
    pub counts: [i64; mm::COUNT],
    /// Page tables in bytes, `mm_struct.pgtables_bytes`.
    pub pgtables_bytes: u64,
    /// Virtual size, `mm_struct.total_vm`.
    pub total_vm: u64,
    /// Bits of [`candidate`]: which fields are known, and why the task may not be eligible.
    pub flags: u32,
    /// Process id, `task_struct.tgid`.
    pub tgid: i32,
    /// Thread id, `task_struct.pid`.
    pub tid: i32,
    /// Real user id in the initial user namespace, `cred.uid`.
    pub uid: u32,
    /// Value of `signal_struct.oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Position in the order in which the kernel evaluated the tasks, from 0.
    pub order: u32,
    /// Name of the thread, `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// Bits of [`CandidateEntry::flags`].
pub mod candidate {
    /// `counts`, `pgtables_bytes` and `total_vm` were read.
    pub const MM: u32 = 1 << 0;
    /// The field `uid` was read.
    pub const UID: u32 = 1 << 1;
    /// The field `oom_score_adj` was read.
    pub const ADJ: u32 = 1 << 2;
    /// `points` is the kernel's return value. Without this bit the probe recomputed it from the
    /// fields that it read.
    pub const POINTS_RETURNED: u32 = 1 << 3;
    /// `points` means nothing: the kernel did not return it and an input could not be read.
    pub const POINTS_UNKNOWN: u32 = 1 << 4;
    /// The task is the global init: tgid 1 of the initial pid namespace.
    pub const INIT: u32 = 1 << 6;
    /// The memory of the task was already reaped, `MMF_OOM_SKIP`.
    pub const OOM_SKIP: u32 = 1 << 7;
    /// The task runs on the memory of its parent, which waits for it, `in_vfork`.
    pub const VFORK: u32 = 1 << 8;
    /// The leader has no mm: it has exited, but other threads may live. If [`MM`] is set too,
    /// `tid`, `comm` and the memory are those of the first thread that has an mm.
    pub const NO_MM: u32 = 1 << 9;
    /// The task is already a victim: `signal_struct.oom_mm` is set.
    pub const VICTIM: u32 = 1 << 10;
}

/// Head of a cgroup's path. `len` bytes follow: the names, leaf first, each with its NUL. With
/// [`crate::valid::path::KERNEL_TEXT`] they are the kernel's text of the path from the root, and
/// the bytes after its NUL are stale.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct PathHead {
    /// Header of kind [`kind::PATH`].
    pub header: EventHeader,
    /// Id of the cgroup, `kernfs_node.id`.
    pub cgroup_id: u64,
    /// Number of bytes that follow.
    pub len: u32,
    /// 1 if the path has more levels or bytes than are kept.
    pub truncated: u32,
}

/// A task was marked as a victim (`oom:mark_victim`).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct VictimEvent {
    /// Header of kind [`kind::VICTIM`].
    pub header: EventHeader,
    /// The thread that was marked. It has the mm, but it is not always the leader.
    pub task: TaskFacts,
    /// Virtual size in pages, `mm_struct.total_vm`.
    pub total_vm: u64,
    /// Counters of `mm_struct.rss_stat` from a plain read, pages, index [`mm`].
    pub counts: [i64; mm::COUNT],
    /// Amounts that are still in the per-CPU batches of these counters, pages, index [`mm`].
    pub per_cpu: [i64; mm::COUNT],
    /// Page tables in bytes, `mm_struct.pgtables_bytes`.
    pub pgtables_bytes: u64,
    /// Address of the `mm_struct`, equal for processes that share it. It is an identity and is
    /// never shown. 0 if unknown.
    pub mm: u64,
    /// Process id in the innermost pid namespace of the task.
    pub vpid: i32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// The compact record of a killed process. Every kill has one, written before its details. It is
/// short, so that the ring `KILLS` holds more than 4,096 of them.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct KillEvent {
    /// Header of kind [`kind::KILL`]. Its last word holds the size of the page tables.
    pub header: EventHeader,
    /// When the process started, `task_struct.start_boottime`, ns.
    pub start_boottime_ns: u64,
    /// `kernfs_node.id` of the memory cgroup that the process is in.
    pub cgroup_id: u64,
    /// `kernfs_node.id` of the cgroup whose limit was hit.
    pub oom_memcg_id: u64,
    /// Process id, `task_struct.tgid`.
    pub tgid: i32,
    /// Id of the thread that was marked, or of the process that shares its memory.
    pub tid: i32,
    /// Real user id in the initial user namespace, `cred.uid`.
    pub uid: u32,
    /// Value of `signal_struct.oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: i16,
    /// Why the process is killed, one of [`cause`].
    pub cause: u8,
    /// What ran out of memory, one of [`domain`].
    pub domain: u8,
    /// Counters of `mm_struct.rss_stat` from a plain read, pages, index [`mm`].
    pub counts: [i32; mm::COUNT],
    /// Name of the thread, `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// Values of [`KillEvent::cause`].
pub mod cause {
    /// The first process that was marked in its invocation.
    pub const MARKED: u8 = 0;
    /// It was marked after another one: its cgroup is killed as a whole (`memory.oom.group`).
    pub const GROUP_MEMBER: u8 = 1;
    /// It was not marked: it shares the memory of the latest victim.
    pub const SHARES_MM: u8 = 2;
}

/// Values of [`KillEvent::domain`].
pub mod domain {
    /// The probe could not read it.
    pub const UNKNOWN: u8 = 0;
    /// The limit of a memcg was hit.
    pub const MEMCG: u8 = 1;
    /// The machine, a cpuset or a memory policy ran out of memory.
    pub const GLOBAL: u8 = 2;
    /// A user requested a kill with sysrq-f.
    pub const SYSRQ: u8 = 3;
}

/// Statistics of oom_memcg before any task is killed.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct StatEvent {
    /// Header of kind [`kind::STAT`].
    pub header: EventHeader,
    /// 1 if the statistics were read while the kernel printed its own report, for which it flushes
    /// them. 0 if they are as old as the latest flush.
    pub fresh: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
    /// Counters of `memcg_vmstats.state` (5.10: `mem_cgroup.vmstats`), each in its own unit.
    pub counters: [i64; STAT_COUNTERS],
    /// The kernel's `mem_cgroup_stats_index`: the index into `counters` of each `enum
    /// node_stat_item` and `memcg_stat_item`. Without [`crate::valid::stat::FIELDS`] the enumerator
    /// itself is the index.
    pub fields: [u8; STAT_FIELDS],
}

/// One step of a victim's end: the reaper works on it, it exits, or its memory is freed. Recorded
/// without `oom_lock`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct VictimGoneEvent {
    /// Header of kind [`kind::VICTIM_GONE`]. `seq` is 0 if only the thread is known.
    pub header: EventHeader,
    /// The step that was reached, one of [`victim_gone`].
    pub step: u32,
    /// Process id of the victim. 0 if only the thread is known.
    pub tgid: i32,
    /// Id of the thread that was marked or that exits.
    pub tid: i32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
    /// Address of the `mm_struct`. 0 if `seq` is 0.
    pub mm: u64,
    /// Counters of `mm_struct.rss_stat` at that time, pages, index [`mm`].
    pub counts: [i64; mm::COUNT],
}

/// Values of [`VictimGoneEvent::step`].
pub mod victim_gone {
    /// The victim was queued for the reaper, `oom:wake_reaper`.
    pub const REAPER_WOKEN: u32 = 1;
    /// The reaper starts, `oom:start_task_reaping`.
    pub const REAPING_STARTED: u32 = 2;
    /// The reaper has finished, `oom:finish_task_reaping`.
    pub const REAPING_FINISHED: u32 = 3;
    /// The reaper skips the victim because its memory is freed elsewhere, `oom:skip_task_reaping`.
    pub const REAPING_SKIPPED: u32 = 4;
    /// The last thread of the victim exits, `sched:sched_process_exit`.
    pub const EXITED: u32 = 5;
    /// `exit_mmap` begins: no task uses the memory any more.
    pub const FREEING: u32 = 6;
    /// `exit_mmap` returned: the memory is free again.
    pub const FREED: u32 = 7;
}

/// A task waits in `mem_cgroup_oom_synchronize` because the OOM killer of its memcg is disabled
/// (cgroup v1, `memory.oom_control` 1). `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct WaitEvent {
    /// Header of kind [`kind::WAIT`].
    pub header: EventHeader,
    /// The current task, which asked for memory.
    pub trigger: TaskFacts,
    /// The memcg over its limit, `task_struct.memcg_in_oom`.
    pub oom_memcg: MemcgFacts,
    /// 1 if the task stopped waiting. Only userspace writes such records.
    pub ended: u16,
    /// Order of the allocation, `task_struct.memcg_oom_order`.
    pub order: i16,
    /// Flags of the allocation, `task_struct.memcg_oom_gfp_mask`.
    pub gfp_mask: u32,
}

/// Head of one part of a task's context, read while that task runs. `len` bytes follow. Without
/// [`crate::valid::context::READ`] the probe tried to read the part and failed.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ContextHead {
    /// Header of kind [`kind::CONTEXT`].
    pub header: EventHeader,
    /// Process id of the current task, `task_struct.tgid`.
    pub tgid: i32,
    /// Thread id of the current task, `task_struct.pid`.
    pub tid: i32,
    /// Which part follows, one of [`context`].
    pub part: u32,
    /// Number of bytes that follow.
    pub len: u32,
    /// 1 if only the beginning of the part is kept.
    pub truncated: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Values of [`ContextHead::part`].
pub mod context {
    /// The command line: the bytes from `mm_struct.arg_start` on, arguments each with their NUL.
    pub const CMDLINE: u32 = 1;
    /// The path of the executable, `mm_struct.exe_file`: names, leaf first, each with its NUL.
    pub const EXE: u32 = 2;
    /// The ancestors by `task_struct.real_parent`, as [`super::ParentEntry`], nearest first.
    pub const PARENTS: u32 = 3;
    /// The user stack as [`super::UserFrame`], innermost first. Only for victims: the user stack of
    /// the trigger is in the [`super::InvocationEvent`].
    pub const USER_STACK: u32 = 4;
}

/// One ancestor of a task.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ParentEntry {
    /// Process id, `task_struct.tgid`.
    pub tgid: i32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
    /// Name of the thread, `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// An invocation is over. Nothing is hooked at the return of `out_of_memory`: the frame of such a
/// hook would be in the stack that the kernel prints. So the probes write the record at the next
/// event that proves the end. It has facts in place of the return value of `out_of_memory`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EndEvent {
    /// Header of kind [`kind::END`].
    pub header: EventHeader,
    /// Return value of `out_of_memory`, 0 or 1. Not set if [`crate::valid::end::FACTS`] is.
    pub result: u32,
    /// State of the choice, one of [`chosen`]. Not set if [`crate::valid::end::FACTS`] is.
    pub chosen: u32,
    /// Number of entries into `oom_kill_process`.
    pub kill_calls: u32,
    /// Number of `oom:mark_victim` events.
    pub victims: u32,
    /// 1 if the kernel computed `totalpages`, so it reached the selection. Not set if
    /// [`crate::valid::end::FACTS`] is.
    pub selected: u32,
    /// Number of entries into `__oom_kill_process`. `u32::MAX` if that function is not hooked.
    pub oom_kill_calls: u32,
    /// Bits of [`end_facts`] that hold.
    pub facts: u32,
    /// Bits of [`end_facts`] that are known. The other bits of `facts` have no meaning.
    pub facts_known: u32,
    /// Number of killed processes, each counted once: the victims, and the processes that share
    /// their memory. Set only if [`crate::valid::end::PROCESSES`] is.
    pub processes: u32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Bits of [`EndEvent::facts`]. They decide the outcome of an invocation that kills no process.
pub mod end_facts {
    /// At entry the trigger was a victim already, `signal_struct.oom_mm`.
    pub const TRIGGER_IS_VICTIM: u32 = 1 << 0;
    /// At entry the trigger was exiting or had been sent SIGKILL.
    pub const TRIGGER_IS_DYING: u32 = 1 << 1;
    /// At entry the OOM killer was disabled because the machine suspends, `oom_killer_disabled`.
    pub const SUSPENDED: u32 = 1 << 2;
    /// A driver may free memory when it is notified, `oom_notify_list`.
    pub const HAS_NOTIFIERS: u32 = 1 << 3;
    /// The allocation is without `__GFP_FS`.
    pub const WITHOUT_FS: u32 = 1 << 4;
    /// A memcg's limit was hit.
    pub const IS_MEMCG: u32 = 1 << 5;
    /// The kernel evaluated a task, so it reached the selection.
    pub const EVALUATED: u32 = 1 << 6;
    /// The kernel printed the memcg's memory, `mem_cgroup_print_oom_meminfo`.
    pub const PRINTED: u32 = 1 << 7;
}

/// Values of [`EndEvent::chosen`]: `oom_control.chosen` when `out_of_memory` returns.
pub mod chosen {
    /// NULL: no task was chosen.
    pub const NOBODY: u32 = 0;
    /// A pointer to a task.
    pub const TASK: u32 = 1;
    /// `(void *)-1`: the selection was aborted because an earlier victim is still dying.
    pub const ABORTED: u32 = 2;
    /// The probe could not read the field.
    pub const UNKNOWN: u32 = 3;
}

/// Head of the chain of limits from a cgroup up to the root.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LevelsHead {
    /// Header of kind [`kind::LEVELS`].
    pub header: EventHeader,
    /// `kernfs_node.id` of the cgroup of the first level.
    pub cgroup_id: u64,
    /// Number of entries that follow, leaf first.
    pub recorded: u32,
    /// 1 if there are more levels up to the root.
    pub truncated: u32,
}

/// Size of a [`LevelEntry`] in the oldest wire version, bytes.
pub const OLDEST_LEVEL_BYTES: usize = 72;

/// The `page_counter`s of one level, pages.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LevelEntry {
    /// Memory in use, `memory.usage`.
    pub usage: u64,
    /// Memory limit, `memory.max`.
    pub max: u64,
    /// Throttling limit, `memory.high`.
    pub high: u64,
    /// Best-effort protection, `memory.low`.
    pub low: u64,
    /// Hard protection, `memory.min`.
    pub min: u64,
    /// Swap in use, `swap.usage` (cgroup v1: `memsw`).
    pub swap_usage: u64,
    /// Swap limit, `swap.max` (cgroup v1: `memsw`).
    pub swap_max: u64,
    /// Kernel memory in use, `kmem.usage` (cgroup v1 only).
    pub kmem_usage: u64,
    /// Kernel memory limit, `kmem.max` (cgroup v1 only).
    pub kmem_max: u64,
}

/// Consecutive invocations for the same memcg that ended alike, without a victim.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct RepeatsEvent {
    /// Header of kind [`kind::REPEATS`]. `seq` is that of the first invocation of the run.
    pub header: EventHeader,
    /// Number of invocations in the run so far, including the first.
    pub count: u64,
    /// Return of the latest invocation, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
}

/// A call of `mem_cgroup_out_of_memory` needed no invocation: usage was below the limit again.
///
/// Such a call is detected when the same task calls again, or when userspace reads the map
/// `MEMCG_CALLS`. The probes emit the first call of a run, then each call whose `count` is a power
/// of two. A dying task needs no invocation either, and its calls are not recorded. `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ReclaimedEvent {
    /// Header of kind [`kind::RECLAIMED`].
    pub header: EventHeader,
    /// The current task, which asked for memory.
    pub trigger: TaskFacts,
    /// The memcg that had been over its limit.
    pub oom_memcg: MemcgFacts,
    /// Number of such calls in a row for this memcg, including this one.
    pub count: u64,
    /// Order of the allocation, the third argument.
    pub order: i32,
    /// Flags of the allocation, the second argument.
    pub gfp_mask: u32,
}

/// A cgroup was created. Emitted only if the probes cannot read paths. `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CgroupEvent {
    /// Header of kind [`kind::CGROUP`].
    pub header: EventHeader,
    /// `kernfs_node.id` of the new cgroup.
    pub id: u64,
    /// `kernfs_node.id` of the parent cgroup.
    pub parent_id: u64,
}

/// `oom:mark_victim` if nothing else is hooked: the last record of its `seq`. In the other tiers a
/// victim is one of many records of an invocation; here the mark is the whole event.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MarkEvent {
    /// Header of kind [`kind::MARK`].
    pub header: EventHeader,
    /// Virtual size of the victim.
    pub total_vm_kib: u64,
    /// Resident anonymous memory.
    pub anon_kib: u64,
    /// Resident pages of files.
    pub file_kib: u64,
    /// Resident shared memory.
    pub shmem_kib: u64,
    /// Memory of page tables.
    pub pgtables_kib: u64,
    /// `kernfs_node.id` of its cgroup in the unified hierarchy, if it is the current task.
    pub cgroup_id: u64,
    /// Id of the thread that was marked.
    pub tid: i32,
    /// Process id, if the marked thread is the current task.
    pub tgid: i32,
    /// Real user id of the process.
    pub uid: u32,
    /// Value of oom_score_adj, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Name of the thread.
    pub comm: [u8; COMM_LEN],
}

/// A process allocates memory in a memcg near its limit. Emitted once per process, so that
/// userspace opens its files while it lives. `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct GrowingProcessEvent {
    /// Header of kind [`kind::GROWING_PROCESS`].
    pub header: EventHeader,
    /// Id of the growing process.
    pub tgid: i32,
    /// Always 0; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Sizes in bytes. A field that is appended as the documentation of the crate describes changes a
/// size only. Any other change of a layout raises the wire version too.
const _: () = {
    assert!(size_of::<GrowingProcessEvent>() == 48);
    assert!(size_of::<EventHeader>() == 40);
    assert!(size_of::<TaskFacts>() == 48);
    assert!(size_of::<MemcgFacts>() == 48);
    assert!(size_of::<UserFrame>() == 32);
    assert!(size_of::<InvocationEvent>() == 1856);
    assert!(size_of::<VictimEvent>() == 184);
    assert!(size_of::<CandidateEntry>() == 96);
    assert!(size_of::<CandidatesHead>() == 48);
    assert!(size_of::<PathHead>() == 56);
    assert!(size_of::<LevelEntry>() == 72);
    assert!(size_of::<LevelsHead>() == 56);
    assert!(size_of::<EndEvent>() == 80);
    assert!(size_of::<RepeatsEvent>() == 56);
    assert!(size_of::<ReclaimedEvent>() == 152);
    assert!(size_of::<CgroupEvent>() == 56);
    assert!(size_of::<StatEvent>() == 688);
    assert!(size_of::<VictimGoneEvent>() == 96);
    assert!(size_of::<WaitEvent>() == 144);
    assert!(size_of::<MarkEvent>() == 120);
    assert!(size_of::<KillEvent>() == 112);
    // A record in a ring buffer has a head of 8 bytes, and one byte of the buffer stays free.
    assert!(
        4096 * (size_of::<KillEvent>() + size_of::<EndEvent>() + 2 * 8)
            < crate::maps::KILLS_BYTES as usize
    );
    assert!(size_of::<ContextHead>() == 64);
    assert!(size_of::<ParentEntry>() == 24);
    assert!(CONTEXT_BYTES == USER_FRAMES * size_of::<UserFrame>());
};
