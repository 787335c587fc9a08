//! Validity bits of `EventHeader::valid`: one per group of fields that may be unknown, one module
//! per record or part of a record.
//!
//! Unknown is not zero: a probe sets a bit only after it has read every field of the group.
//!
//! A bit is unique within its record, and a part that several records share uses the same bits in
//! all of them. Different records may use the same bit: `mark::VICTIM_REPORTED` and `context::READ`
//! are both bit 36. Recordings store these bits, so a bit never changes its value.

/// The task whose allocation invoked the OOM killer: `trigger` of `InvocationEvent`,
/// `ReclaimedEvent` and `WaitEvent`.
pub mod trigger {
    /// `start_boottime_ns` and `oom_score_adj` of the trigger.
    pub const TASK: u64 = 1 << 1;
    /// `cgroup_id` of the trigger.
    pub const CGROUP: u64 = 1 << 2;
}

/// The memcg whose limit was hit: `oom_memcg` of `InvocationEvent`, `ReclaimedEvent` and
/// `WaitEvent`.
pub mod oom_memcg {
    /// `usage` and `max`. Set only if a memcg's limit was hit and its counters were read.
    pub const COUNTERS: u64 = 1 << 3;
    /// The pair `swap_usage` and `swap_max`.
    pub const SWAP: u64 = 1 << 4;
    /// The flag `oom_group` of the memcg.
    pub const OOM_GROUP: u64 = 1 << 5;
    /// The pointer to the memcg was read, null or not, so the kind of OOM is known.
    pub const POINTER: u64 = 1 << 10;
    /// The `id` of the memcg, which can be known without its counters.
    pub const ID: u64 = 1 << 11;
}

/// Groups of `InvocationEvent`, besides [`trigger`] and [`oom_memcg`].
pub mod invocation {
    /// `totalpages`, `chosen_points`, `gfp_mask`, `order` and `constraint`.
    pub const OOM_CONTROL: u64 = 1 << 0;
    /// The kernel's `message` for this kill.
    pub const MESSAGE: u64 = 1 << 6;
    /// The array `kernel_stack` and its length.
    pub const KERNEL_STACK: u64 = 1 << 7;
    /// The array `user_stack` and its length.
    pub const USER_STACK: u64 = 1 << 8;
    /// `chosen`: the kernel chose a task, and its identity was read.
    pub const CHOSEN: u64 = 1 << 9;
    /// The `nodemask` of the allocation.
    pub const NODEMASK: u64 = 1 << 12;
    /// The `mems_allowed` of the trigger.
    pub const MEMS_ALLOWED: u64 = 1 << 13;
    /// [`OOM_CONTROL`] is as of the entry: `totalpages`, `chosen_points` and `constraint` were not
    /// computed yet.
    pub const AT_ENTRY: u64 = 1 << 14;
}

/// Groups of `EndEvent`.
pub mod end {
    /// `facts` and `facts_known`, in place of `result`, `chosen` and `selected`.
    pub const FACTS: u64 = 1 << 40;
    /// `processes`: the number of killed processes.
    pub const PROCESSES: u64 = 1 << 41;
}

/// Format of the bytes of a path record.
pub mod path {
    /// The kernel's text of the path from the root, instead of names from the leaf.
    pub const KERNEL_TEXT: u64 = 1 << 0;
}

/// Groups of `VictimEvent`.
pub mod victim {
    /// `cgroup_id` of the victim.
    pub const CGROUP: u64 = 1 << 16;
    /// `total_vm`, `counts` and `pgtables_bytes`.
    pub const MM: u64 = 1 << 17;
    /// `per_cpu`: the parts of the counters that are still in per-CPU batches.
    pub const PER_CPU: u64 = 1 << 18;
    /// `vpid`: the process id in the innermost pid namespace.
    pub const VPID: u64 = 1 << 19;
    /// `start_boottime_ns` and `oom_score_adj` of the victim.
    pub const TASK: u64 = 1 << 20;
    /// The task was not marked: it is killed because it shares the memory of the latest victim.
    pub const SHARES_MM: u64 = 1 << 21;
    /// `counts` has no swap, although [`MM`] is set.
    pub const NO_SWAP: u64 = 1 << 22;
    /// `oom_score_adj` of the victim is known without the rest of [`TASK`].
    pub const ADJ: u64 = 1 << 23;
}

/// Groups of `KillEvent`. It uses `CGROUP`, `TASK` and `ADJ` of [`victim`] and `ID` of
/// [`oom_memcg`] too.
pub mod kill {
    /// `counts`, and the page tables in the last word of the header.
    pub const MM: u64 = 1 << 17;
}

/// Details of an invocation that were shed because their ring was short of room. All later records
/// of the invocation have these bits, and so has [`victim_gone`].
pub mod shed {
    /// The record of the candidates.
    pub const CANDIDATES: u64 = 1 << 48;
    /// Command line, executable, parents and user stack of the trigger or a victim.
    pub const CONTEXT: u64 = 1 << 49;
    /// The statistics of the oom_memcg.
    pub const STAT: u64 = 1 << 50;
    /// The paths of cgroups.
    pub const PATHS: u64 = 1 << 51;
    /// The chain of limits.
    pub const LEVELS: u64 = 1 << 52;
    /// The stacks of the trigger.
    pub const STACKS: u64 = 1 << 53;
    /// `VictimEvent`s beyond `event::MAX_DETAILED_VICTIMS`.
    pub const VICTIMS: u64 = 1 << 54;
}

/// Groups of every `LevelEntry` behind a `LevelsHead`.
pub mod levels {
    /// The pair `swap_usage` and `swap_max`.
    pub const SWAP: u64 = 1 << 24;
    /// The pair `kmem_usage` and `kmem_max`.
    pub const KMEM: u64 = 1 << 25;
}

/// Groups of `StatEvent`.
pub mod stat {
    /// `fields`: the kernel's table of the indexes into `counters`.
    pub const FIELDS: u64 = 1 << 28;
}

/// Groups of `WaitEvent`, besides [`trigger`] and [`oom_memcg`].
pub mod wait {
    /// The pair `gfp_mask` and `order`.
    pub const REQUEST: u64 = 1 << 30;
}

/// Groups of `VictimGoneEvent`.
pub mod victim_gone {
    /// `counts`: the memory that the victim still has.
    pub const COUNTS: u64 = 1 << 32;
}

/// Groups of `MarkEvent`.
pub mod mark {
    /// A `VictimEvent` of the marked task precedes this record.
    pub const VICTIM_REPORTED: u64 = 1 << 36;
    /// `comm`, `uid`, `oom_score_adj` and all sizes.
    pub const FIELDS: u64 = 1 << 37;
    /// `tgid`, `comm`, `uid` and `cgroup_id`: the marked task is the current one.
    pub const CURRENT: u64 = 1 << 38;
}

/// Groups of `ContextHead`.
pub mod context {
    /// The bytes behind the head were read.
    pub const READ: u64 = 1 << 36;
}
