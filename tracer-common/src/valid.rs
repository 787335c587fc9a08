//! Validity bits: one per optional group of fields, in `EventHeader::valid`.
//!
//! Unknown is not zero: a probe sets a bit only after every field of the group was read.

/// `InvocationEvent::totalpages`, `gfp_mask`, `order`, `constraint`.
pub const OOM_CONTROL: u64 = 1 << 0;
/// `InvocationEvent::trigger`'s `start_boottime_ns` and `oom_score_adj`.
pub const TRIGGER: u64 = 1 << 1;
/// `InvocationEvent::trigger.cgroup_id`.
pub const TRIGGER_CGROUP: u64 = 1 << 2;
/// `InvocationEvent::oom_memcg`: set only when a memcg's limit was hit and its counters read.
pub const OOM_MEMCG: u64 = 1 << 3;
/// `InvocationEvent::oom_memcg`'s `swap_usage` and `swap_max`.
pub const OOM_MEMCG_SWAP: u64 = 1 << 4;
/// `InvocationEvent::oom_memcg.oom_group`.
pub const OOM_GROUP: u64 = 1 << 5;
/// `InvocationEvent::message`.
pub const MESSAGE: u64 = 1 << 6;
/// `InvocationEvent::kernel_stack`.
pub const KERNEL_STACK: u64 = 1 << 7;
/// `InvocationEvent::user_stack`.
pub const USER_STACK: u64 = 1 << 8;
/// `InvocationEvent::chosen` and `chosen_points`: a task was chosen.
pub const CHOSEN: u64 = 1 << 9;
/// The oom_memcg pointer itself was read (whether null or not): the kind of OOM is known.
pub const DOMAIN: u64 = 1 << 10;
/// `InvocationEvent::oom_memcg.id`, apart from its counters.
pub const OOM_MEMCG_ID: u64 = 1 << 11;
/// `InvocationEvent::nodemask`.
pub const NODEMASK: u64 = 1 << 12;
/// `InvocationEvent::mems_allowed`.
pub const MEMS_ALLOWED: u64 = 1 << 13;

/// `VictimEvent::task.cgroup_id`.
pub const VICTIM_CGROUP: u64 = 1 << 16;
/// `VictimEvent`'s `total_vm`, `counts` and `pgtables_bytes`.
pub const VICTIM_MM: u64 = 1 << 17;
/// `VictimEvent::per_cpu`: the parts of the counters that sit in per-CPU batches.
pub const VICTIM_PER_CPU: u64 = 1 << 18;
/// `VictimEvent::vpid`.
pub const VICTIM_VPID: u64 = 1 << 19;
/// `VictimEvent::task`'s `start_boottime_ns` and `oom_score_adj`.
pub const VICTIM_TASK: u64 = 1 << 20;
/// Not marked: killed because it shares the memory of the victim before it.
pub const VICTIM_SHARES_MM: u64 = 1 << 21;

/// `VictimEvent::counts` without swap, though [`VICTIM_MM`] is set.
pub const VICTIM_NO_SWAP: u64 = 1 << 22;
/// `VictimEvent::task`'s `oom_score_adj` alone.
pub const VICTIM_ADJ: u64 = 1 << 23;

/// `LevelsEvent`'s `swap_usage` and `swap_max`.
pub const LEVELS_SWAP: u64 = 1 << 24;
/// `LevelsEvent`'s `kmem_usage` and `kmem_max`.
pub const LEVELS_KMEM: u64 = 1 << 25;

/// `StatEvent::places`.
pub const STAT_PLACES: u64 = 1 << 28;

/// `WaitEvent`'s `gfp_mask` and `order`.
pub const WAIT_REQUEST: u64 = 1 << 30;
/// A `VictimEvent` of the marked task went before the `MarkEvent`.
pub const MARK_TOLD: u64 = 1 << 36;
/// `MarkEvent::comm`, `uid`, `oom_score_adj` and all sizes.
pub const MARK_FIELDS: u64 = 1 << 37;
/// `MarkEvent::tgid`, `comm`, `uid` and `cgroup_id`: the marked task is current.
pub const MARK_CURRENT: u64 = 1 << 38;

/// `AfterEvent::counts`.
pub const AFTER_COUNTS: u64 = 1 << 32;

/// The bytes behind a `ContextHead`.
pub const CONTEXT_READ: u64 = 1 << 36;
