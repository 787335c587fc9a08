//! One `repr(C)` struct per record. Sizes are multiples of 8, no implicit padding
//! (`IntoBytes` proves it at compile time).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Record kinds: `EventHeader::kind`.
pub mod kind {
    /// [`super::InvocationEvent`].
    pub const INVOCATION: u32 = 1;
    /// [`super::CandidatesHead`], then that many [`super::CandidateEntry`].
    pub const CANDIDATES: u32 = 2;
    /// [`super::PathHead`], then that many bytes of names.
    pub const PATH: u32 = 3;
    /// [`super::VictimEvent`].
    pub const VICTIM: u32 = 4;
    /// [`super::EndEvent`].
    pub const END: u32 = 5;
    /// [`super::LevelsHead`], then that many [`super::LevelEntry`].
    pub const LEVELS: u32 = 6;
    /// [`super::RepeatsEvent`].
    pub const REPEATS: u32 = 7;
    /// [`super::ReclaimedEvent`].
    pub const RECLAIMED: u32 = 8;
    /// [`super::CgroupEvent`].
    pub const CGROUP: u32 = 9;
    /// [`super::StatEvent`].
    pub const STAT: u32 = 10;
    /// [`super::AfterEvent`].
    pub const AFTER: u32 = 11;
    /// [`super::WaitEvent`].
    pub const WAIT: u32 = 12;
    /// [`super::ContextHead`], then that many bytes.
    pub const CONTEXT: u32 = 13;
    /// [`super::GrowerEvent`].
    pub const GROWER: u32 = 14;
    /// [`super::MarkEvent`].
    pub const MARK: u32 = 16;
    /// The highest of them.
    pub const LAST: u32 = MARK;
}

/// Length of `task_struct.comm`, `TASK_COMM_LEN`. Bytes behind the first NUL are stale.
pub const COMM_LEN: usize = 16;
/// Frames kept of a kernel stack.
pub const KERNEL_FRAMES: usize = 64;
/// Frames kept of a user stack.
pub const USER_FRAMES: usize = 32;
/// Bytes kept of the kernel's message ("Memory cgroup out of memory").
pub const MESSAGE_LEN: usize = 64;
/// Candidates kept of one invocation: the ones with the most points.
pub const MAX_CANDIDATES: usize = 32;
/// Levels of a cgroup hierarchy that are kept, leaf first: 16, and the root.
pub const MAX_LEVELS: usize = 17;
/// Bytes of a path record's names.
pub const PATH_BYTES: usize = 4096;
/// Longest name of one cgroup with its NUL: `NAME_MAX` + 1.
pub const NAME_LEN: usize = 256;
/// Counters kept of a memcg's statistics: more than any kernel has (7.3: 57).
pub const STAT_COUNTERS: usize = 64;
/// Entries kept of the kernel's table of their places: more than any kernel has (7.3: 75).
pub const STAT_PLACES: usize = 128;
/// Bytes of one part of a task's context: a command line, a path.
pub const CONTEXT_BYTES: usize = 1024;
/// Ancestors kept of a task, its parent first.
pub const PARENTS: usize = 8;
/// Order of `mm_struct` counters in [`VictimEvent::counts`]: the kernel's `MM_FILEPAGES`...
pub mod mm {
    /// `MM_FILEPAGES`.
    pub const FILE: usize = 0;
    /// `MM_ANONPAGES`.
    pub const ANON: usize = 1;
    /// `MM_SWAPENTS`.
    pub const SWAP: usize = 2;
    /// `MM_SHMEMPAGES`.
    pub const SHMEM: usize = 3;
    /// Number of counters.
    pub const COUNT: usize = 4;
}

/// First bytes of every record.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventHeader {
    /// `CLOCK_BOOTTIME` when the record was written, ns.
    pub boottime_ns: u64,
    /// Number of the invocation since the probes were loaded, from 1; same in all its records.
    pub seq: u64,
    /// Bits of [`crate::valid`].
    pub valid: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// Length of the whole record, bytes.
    pub size: u32,
    /// CPU that wrote it.
    pub cpu: u32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Identity of a task.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct TaskFacts {
    /// `task_struct.start_boottime`, ns: with the tgid it survives pid reuse.
    pub start_boottime_ns: u64,
    /// `kernfs_node.id` of the task's memory cgroup.
    pub cgroup_id: u64,
    /// `task_struct.tgid`.
    pub tgid: i32,
    /// `task_struct.pid`: the thread.
    pub tid: i32,
    /// `cred.uid`, in the initial user namespace.
    pub uid: u32,
    /// `signal_struct.oom_score_adj`.
    pub oom_score_adj: i32,
    /// `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// The memcg whose limit was hit. Pages.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MemcgFacts {
    /// `kernfs_node.id`.
    pub id: u64,
    /// `mem_cgroup.memory.usage`.
    pub usage: u64,
    /// `mem_cgroup.memory.max`.
    pub max: u64,
    /// `mem_cgroup.swap.usage` (cgroup v1: `memsw`, memory and swap together).
    pub swap_usage: u64,
    /// `mem_cgroup.swap.max` (cgroup v1: `memsw`).
    pub swap_max: u64,
    /// `mem_cgroup.oom_group`: 0 or 1.
    pub oom_group: u64,
}

/// One run of the OOM killer, as of the moment the choice was made (`oom_kill_process` entry),
/// or as it ends when nobody was chosen (`out_of_memory` return).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InvocationEvent {
    /// Kind [`kind::INVOCATION`].
    pub header: EventHeader,
    /// `CLOCK_BOOTTIME` at entry into `out_of_memory`, ns.
    pub started_ns: u64,
    /// `oom_control.totalpages`: size of the domain, not anyone's usage. Pages.
    pub totalpages: u64,
    /// `oom_control.chosen_points`. Pages.
    pub chosen_points: i64,
    /// Current: the task whose allocation invoked the OOM killer.
    pub trigger: TaskFacts,
    /// `oom_control.chosen`.
    pub chosen: TaskFacts,
    /// `oom_control.memcg`.
    pub oom_memcg: MemcgFacts,
    /// `oom_control.nodemask`: bit n for node n, as far as node 63. 0: none given.
    pub nodemask: u64,
    /// `task_struct.mems_allowed` of current, likewise.
    pub mems_allowed: u64,
    /// `oom_control.gfp_mask`.
    pub gfp_mask: u32,
    /// `oom_control.order`; -1 for sysrq-f.
    pub order: i32,
    /// `oom_control.constraint`: `enum oom_constraint`.
    pub constraint: u32,
    /// Tasks weighed in this invocation, listed or not.
    pub considered: u32,
    /// 1 when the record was written at `oom_kill_process` entry: the killer meant to kill.
    pub choice_made: u32,
    /// Frames in `kernel_stack`.
    pub kernel_frames: u32,
    /// Frames in `user_stack`.
    pub user_frames: u32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
    /// Second argument of `oom_kill_process`, NUL-terminated.
    pub message: [u8; MESSAGE_LEN],
    /// Return addresses of current in the kernel, innermost first.
    pub kernel_stack: [u64; KERNEL_FRAMES],
    /// Return addresses of current in user space, innermost first. The record ends behind the last
    /// of the `user_frames` that there are.
    pub user_stack: [UserFrame; USER_FRAMES],
}

/// `struct bpf_stack_build_id`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct UserFrame {
    /// `BPF_STACK_BUILD_ID_*`: 0 empty, 1 valid (build id and file offset), 2 ip only.
    pub status: i32,
    /// The file's GNU build id.
    pub build_id: [u8; 20],
    /// File offset (status 1) or address (status 2).
    pub offset_or_ip: u64,
}

/// Head of the candidate table.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CandidatesHead {
    /// Kind [`kind::CANDIDATES`].
    pub header: EventHeader,
    /// Entries that follow.
    pub recorded: u32,
    /// Tasks weighed.
    pub considered: u32,
}

/// One task that was weighed. Pages unless said otherwise.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CandidateEntry {
    /// What `oom_badness` returned, `LONG_MIN` for a task that must not be killed.
    pub points: i64,
    /// `mm_struct.rss_stat` counters, index [`mm`].
    pub counts: [i64; mm::COUNT],
    /// `mm_struct.pgtables_bytes`. Bytes.
    pub pgtables_bytes: u64,
    /// `mm_struct.total_vm`.
    pub total_vm: u64,
    /// Bits of [`candidate`]: what is known of this entry, and why it may not be eligible.
    pub flags: u32,
    /// `task_struct.tgid`.
    pub tgid: i32,
    /// `task_struct.pid`.
    pub tid: i32,
    /// `cred.uid`.
    pub uid: u32,
    /// `signal_struct.oom_score_adj`.
    pub oom_score_adj: i32,
    /// Position in the order in which the kernel weighed them, from 0.
    pub order: u32,
    /// `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// Bits of [`CandidateEntry::flags`].
pub mod candidate {
    /// `counts`, `pgtables_bytes`, `total_vm` were read.
    pub const MM: u32 = 1 << 0;
    /// `uid` was read.
    pub const UID: u32 = 1 << 1;
    /// `oom_score_adj` was read.
    pub const ADJ: u32 = 1 << 2;
    /// `points` is what the kernel returned; without it they are the sum of the parts read.
    pub const POINTS_RETURNED: u32 = 1 << 3;
    /// `points` means nothing: neither returned nor computable.
    pub const POINTS_UNKNOWN: u32 = 1 << 4;
    /// tgid 1 of the initial pid namespace: the global init.
    pub const INIT: u32 = 1 << 6;
    /// `MMF_OOM_SKIP`: its memory was already reaped.
    pub const OOM_SKIP: u32 = 1 << 7;
    /// It runs on the memory of its parent, which waits for it: `in_vfork`.
    pub const VFORK: u32 = 1 << 8;
    /// The leader has no mm: it has exited, other threads may live. With [`MM`], `tid`, `comm` and the
    /// memory are those of the first that has it.
    pub const NO_MM: u32 = 1 << 9;
    /// `signal_struct.oom_mm` set: already a victim.
    pub const VICTIM: u32 = 1 << 10;
}

/// Head of a cgroup's path; behind it `len` bytes: the names, leaf first, each with its NUL.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct PathHead {
    /// Kind [`kind::PATH`].
    pub header: EventHeader,
    /// `kernfs_node.id` of the cgroup.
    pub cgroup_id: u64,
    /// Bytes that follow.
    pub len: u32,
    /// 1 when the path has more levels or bytes than are kept.
    pub truncated: u32,
}

/// A task was marked to die (`oom:mark_victim`).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct VictimEvent {
    /// Kind [`kind::VICTIM`].
    pub header: EventHeader,
    /// The task that was marked: a thread with the mm, not always the leader.
    pub task: TaskFacts,
    /// `mm_struct.total_vm`. Pages.
    pub total_vm: u64,
    /// `mm_struct.rss_stat` counters as a plain read gives them, index [`mm`]. Pages.
    pub counts: [i64; mm::COUNT],
    /// What sits in the counters' per-CPU batches besides. Pages.
    pub per_cpu: [i64; mm::COUNT],
    /// `mm_struct.pgtables_bytes`. Bytes.
    pub pgtables_bytes: u64,
    /// `mm_struct` address: same for processes that share it. An identity, not shown. 0: not known.
    pub mm: u64,
    /// tgid in the task's own pid namespace.
    pub vpid: i32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Statistics of oom_memcg before anybody was killed.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct StatEvent {
    /// Kind [`kind::STAT`].
    pub header: EventHeader,
    /// 1: read as the kernel's own report was printed, which flushes them first. 0: as old as the
    /// latest flush.
    pub fresh: u32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
    /// `memcg_vmstats.state` (5.10: `mem_cgroup.vmstats`), in the units of each.
    pub counters: [i64; STAT_COUNTERS],
    /// `mem_cgroup_stats_index`: place in `counters` by `enum node_stat_item` and
    /// `memcg_stat_item`. Without [`crate::valid::STAT_PLACES`] the enumerator itself is the place.
    pub places: [u8; STAT_PLACES],
}

/// What became of a victim after it was marked. Not under `oom_lock`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct AfterEvent {
    /// Kind [`kind::AFTER`]; `seq` is that of the invocation, 0 where only the thread is known.
    pub header: EventHeader,
    /// One of [`after`].
    pub what: u32,
    /// The victim, where `seq` is known or it exits.
    pub tgid: i32,
    /// The thread that was marked, or that exits.
    pub tid: i32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
    /// `mm_struct` address, where `seq` is known.
    pub mm: u64,
    /// `mm_struct.rss_stat` counters then, index [`mm`]. Pages.
    pub counts: [i64; mm::COUNT],
}

/// Values of [`AfterEvent::what`].
pub mod after {
    /// `oom:wake_reaper`: the reaper shall look at it.
    pub const REAPER_WOKEN: u32 = 1;
    /// `oom:start_task_reaping`.
    pub const REAPING_STARTED: u32 = 2;
    /// `oom:finish_task_reaping`.
    pub const REAPING_FINISHED: u32 = 3;
    /// `oom:skip_task_reaping`: somebody else frees it.
    pub const REAPING_SKIPPED: u32 = 4;
    /// `sched:sched_process_exit` of its last thread.
    pub const EXITED: u32 = 5;
    /// `exit_mmap` begins: nobody uses the memory any more.
    pub const FREEING: u32 = 6;
    /// `exit_mmap` returned: the memory is back.
    pub const FREED: u32 = 7;
}

/// A task waits because its memcg's OOM killer is disabled (cgroup v1, `memory.oom_control` 1):
/// `mem_cgroup_oom_synchronize`. `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct WaitEvent {
    /// Kind [`kind::WAIT`].
    pub header: EventHeader,
    /// Current.
    pub trigger: TaskFacts,
    /// `task_struct.memcg_in_oom`.
    pub oom_memcg: MemcgFacts,
    /// 1: it stopped waiting.
    pub ended: u16,
    /// `task_struct.memcg_oom_order`.
    pub order: i16,
    /// `task_struct.memcg_oom_gfp_mask`.
    pub gfp_mask: u32,
}

/// Head of one part of what a task was, read in its own context; behind it `len` bytes. Without
/// [`crate::valid::CONTEXT_READ`] it was tried and could not be read.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ContextHead {
    /// Kind [`kind::CONTEXT`].
    pub header: EventHeader,
    /// `task_struct.tgid` of current.
    pub tgid: i32,
    /// `task_struct.pid` of current.
    pub tid: i32,
    /// One of [`context`].
    pub part: u32,
    /// Bytes that follow.
    pub len: u32,
    /// 1 when there is more of it than is kept.
    pub truncated: u32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
}

/// Values of [`ContextHead::part`].
pub mod context {
    /// The bytes from `mm_struct.arg_start` on: arguments, each with its NUL.
    pub const CMDLINE: u32 = 1;
    /// The path of `mm_struct.exe_file`: names, leaf first, each with its NUL.
    pub const EXE: u32 = 2;
    /// `task_struct.real_parent` and on: [`super::ParentEntry`], nearest first.
    pub const PARENTS: u32 = 3;
    /// The stack in user space: [`super::UserFrame`], innermost first. Of victims only; the
    /// trigger's is in its [`super::InvocationEvent`].
    pub const USER_STACK: u32 = 4;
}

/// An ancestor of a task.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ParentEntry {
    /// `task_struct.tgid`.
    pub tgid: i32,
    /// Nothing; keeps the size a multiple of 8.
    pub reserved: u32,
    /// `task_struct.comm`.
    pub comm: [u8; COMM_LEN],
}

/// `out_of_memory` returned after something had been written for this invocation.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EndEvent {
    /// Kind [`kind::END`].
    pub header: EventHeader,
    /// `out_of_memory`'s return value, masked to a bool.
    pub result: u32,
    /// One of [`chosen`].
    pub chosen: u32,
    /// Entries into `oom_kill_process`.
    pub kill_calls: u32,
    /// `mark_victim` seen.
    pub victims: u32,
    /// 1 when totalpages was computed: the selection was reached.
    pub selected: u32,
    /// Entries into `__oom_kill_process`; `u32::MAX` where it is not hooked.
    pub shots: u32,
}

/// Values of [`EndEvent::chosen`]: `oom_control.chosen` when `out_of_memory` returns.
pub mod chosen {
    /// NULL.
    pub const NOBODY: u32 = 0;
    /// A task.
    pub const TASK: u32 = 1;
    /// `(void *)-1`: the selection was aborted, an earlier victim is still dying.
    pub const ABORTED: u32 = 2;
    /// The field could not be read.
    pub const UNKNOWN: u32 = 3;
}

/// Head of the limit chain, leaf first.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LevelsHead {
    /// Kind [`kind::LEVELS`].
    pub header: EventHeader,
    /// `kernfs_node.id` of the first level's cgroup.
    pub cgroup_id: u64,
    /// Entries that follow.
    pub recorded: u32,
    /// 1 when there are more levels up to the root.
    pub truncated: u32,
}

/// One level's `page_counter`s, pages.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LevelEntry {
    /// `memory.usage`.
    pub usage: u64,
    /// `memory.max`.
    pub max: u64,
    /// `memory.high`.
    pub high: u64,
    /// `memory.low`.
    pub low: u64,
    /// `memory.min`.
    pub min: u64,
    /// `swap.usage` (v1: memsw).
    pub swap_usage: u64,
    /// `swap.max` (v1: memsw).
    pub swap_max: u64,
    /// `kmem.usage` (v1 only).
    pub kmem_usage: u64,
    /// `kmem.max` (v1 only).
    pub kmem_max: u64,
}

/// Invocations in a row that ended alike, without a victim, for the same memcg.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct RepeatsEvent {
    /// Kind [`kind::REPEATS`]; `seq` is that of the run's first invocation.
    pub header: EventHeader,
    /// Invocations in the run so far, the first included.
    pub count: u64,
    /// Return of the latest one, `CLOCK_BOOTTIME`, ns.
    pub last_ns: u64,
}

/// `mem_cgroup_out_of_memory` returned without an invocation: there was room again. (A caller that is
/// dying itself returns so as well, and is not told.) `seq` is 0. Only the first of a run, then at every power of two of `count`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ReclaimedEvent {
    /// Kind [`kind::RECLAIMED`].
    pub header: EventHeader,
    /// Current.
    pub trigger: TaskFacts,
    /// The memcg that was over its limit.
    pub oom_memcg: MemcgFacts,
    /// Such returns in a row for this memcg, this one included.
    pub count: u64,
    /// Third argument.
    pub order: i32,
    /// Second argument.
    pub gfp_mask: u32,
}

/// A cgroup was made (only emitted where paths cannot be read in the kernel). `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CgroupEvent {
    /// Kind [`kind::CGROUP`].
    pub header: EventHeader,
    /// `kernfs_node.id` of the new cgroup.
    pub id: u64,
    /// `kernfs_node.id` of its parent.
    pub parent_id: u64,
}

/// `oom:mark_victim`, where nothing else is hooked: the last record of its `seq`. Every other record
/// of a victim is one of many in an invocation; here it is all there is.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MarkEvent {
    /// Kind [`kind::MARK`].
    pub header: EventHeader,
    /// Virtual size. KiB.
    pub total_vm_kib: u64,
    /// KiB.
    pub anon_kib: u64,
    /// KiB.
    pub file_kib: u64,
    /// KiB.
    pub shmem_kib: u64,
    /// KiB.
    pub pgtables_kib: u64,
    /// `kernfs_node.id` of its cgroup in the unified hierarchy, where it is current.
    pub cgroup_id: u64,
    /// The thread that was marked.
    pub tid: i32,
    /// Its process.
    pub tgid: i32,
    /// Real uid.
    pub uid: u32,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Its name.
    pub comm: [u8; COMM_LEN],
}

/// A process grows in a memcg near its limit: said once, so that userspace can look at its files while
/// it is there. `seq` is 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct GrowerEvent {
    /// Kind [`kind::GROWER`].
    pub header: EventHeader,
    /// The process.
    pub tgid: i32,
    /// Nothing.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<GrowerEvent>() == 48);
    assert!(size_of::<EventHeader>() == 40);
    assert!(size_of::<TaskFacts>() == 48);
    assert!(size_of::<MemcgFacts>() == 48);
    assert!(size_of::<UserFrame>() == 32);
    assert!(size_of::<CandidateEntry>() == 96);
    assert!(size_of::<CandidatesHead>() == 48);
    assert!(size_of::<PathHead>() == 56);
    assert!(size_of::<LevelEntry>() == 72);
    assert!(size_of::<LevelsHead>() == 56);
    assert!(size_of::<EndEvent>() == 64);
    assert!(size_of::<RepeatsEvent>() == 56);
    assert!(size_of::<StatEvent>() == 688);
    assert!(size_of::<AfterEvent>() == 96);
    assert!(size_of::<WaitEvent>() == 144);
    assert!(size_of::<MarkEvent>() == 120);
    assert!(size_of::<ContextHead>() == 64);
    assert!(size_of::<ParentEntry>() == 24);
    assert!(CONTEXT_BYTES == USER_FRAMES * size_of::<UserFrame>());
};
