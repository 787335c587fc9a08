//! Map values and constants that both halves must agree on: the probes write the maps, userspace
//! reads them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{EndEvent, InvocationEvent, KillEvent, RepeatsEvent, StatEvent, VictimEvent};

/// Size of the ring of details, bytes, unless `--ring-size` sets another one. The details of a kill
/// take at most 7 KiB and usually 3 KiB, so it holds the details of 100 unread kills.
pub const RING_BYTES: u32 = 512 << 10;

/// Size of the ring of kills, bytes. It has room for 4,096 unread kills, even if each is the only
/// one of its invocation and the ring of details has no room for the ends.
pub const KILLS_BYTES: u32 = 1 << 20;

/// The part of the ring of kills that only ends of invocations use, bytes.
pub const ENDS_BYTES: u32 = 64 << 10;

/// Size of the ring of hints, bytes. A hint is a new cgroup or a growing process. Userspace looks
/// it up while it exists.
pub const HINTS_BYTES: u32 = 64 << 10;

/// Highest rate of hints of one kind, per second. Also the largest burst of them.
pub const HINTS_PER_SECOND: u64 = 200;

/// Indexes of the map `HINT_BUDGETS`.
pub mod hint {
    /// Hints of new cgroups.
    pub const CGROUP: u32 = 0;
    /// Hints of processes that grow near a limit.
    pub const GROWING_PROCESS: u32 = 1;
    /// Number of kinds.
    pub const COUNT: u32 = 2;
}

/// A run of invocations without a victim ends after this much silence. A later invocation starts
/// a new run, which is reported again. ns.
pub const RUN_ENDS_AFTER_NS: u64 = 10_000_000_000;

/// A task that enters `mem_cgroup_oom_synchronize` again within this time was woken but found no
/// memory, so its wait continues. ns.
pub const WAIT_CONTINUES_WITHIN_NS: u64 = 1_000_000_000;

/// Invocations of a memcg are counted as waiting for its victims for this long after the kill. A
/// later invocation starts a run of its own. ns.
pub const WAITS_FOR_VICTIM_NS: u64 = 2_000_000_000;

/// `QuietRun::ending` of invocations that wait for the victims of the kill `QuietRun::seq`. No
/// other ending has this value.
pub const WAITS_FOR_VICTIM: u64 = 1 << 62;

/// Size of a value of the map `STATE`, bytes. It begins with an [`InvocationState`], an
/// `InvocationEvent` and a `CandidatesHead`; the rest is scratch.
pub const STATE_BYTES: usize = size_of::<InvocationState>()
    + size_of::<InvocationEvent>()
    + size_of::<VictimEvent>()
    + size_of::<KillEvent>()
    + size_of::<StatEvent>()
    + size_of::<RepeatsEvent>()
    + size_of::<EndEvent>()
    + ONLY_IN_PROBES_BYTES;

/// Bytes of `STATE` that are no record of their own. The probes compare the sum with their layout.
const ONLY_IN_PROBES_BYTES: usize = 10_272;

/// The start of the only value of the map `STATE`: the current or latest invocation. Written under
/// the kernel's `oom_lock`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InvocationState {
    /// Address of the task that entered `out_of_memory` last. 0 if none has.
    pub task: u64,
    /// Number of the invocation.
    pub seq: u64,
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    /// Cgroup id of the oom_memcg. 0 for a global OOM, or if it is unknown.
    pub oom_memcg_id: u64,
    /// Validity bits of the `InvocationEvent` that follows, as far as it is filled.
    pub described: u64,
    /// Details that were shed so far, bits of `valid::shed`.
    pub shed: u64,
    /// Number of entries into `oom_kill_process`.
    pub kill_calls: u32,
    /// Number of entries into `__oom_kill_process`.
    pub oom_kill_calls: u32,
    /// Number of `mark_victim` events.
    pub victims: u32,
    /// Bits of `event::end_facts` that hold.
    pub facts: u32,
    /// Bits of `event::end_facts` that are known.
    pub facts_known: u32,
    /// Number of killed processes, each counted once.
    pub processes: u32,
    /// Number of the latest invocation whose end was emitted, or that was counted in a run. Not a
    /// flag: a writer without `oom_lock` may set it after the next invocation has begun.
    pub ended_seq: u64,
}

/// Value of the map `QUIET_RUNS`: consecutive invocations that ended alike without a victim.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct QuietRun {
    /// `seq` of the first invocation of the run.
    pub seq: u64,
    /// How the invocations ended, as the probes encode it. Userspace does not read it.
    pub ending: u64,
    /// Number of invocations in the run.
    pub count: u64,
    /// Entry of the latest invocation, `CLOCK_BOOTTIME` ns. With [`WAITS_FOR_VICTIM`], entry of the
    /// invocation that killed.
    pub last_ns: u64,
}

/// Value of the map `WAITING`: a task that waits for a memcg whose OOM killer is disabled.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Wait {
    /// Start of the wait, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// Latest entry into or return from `mem_cgroup_oom_synchronize`, `CLOCK_BOOTTIME` ns.
    pub last_ns: u64,
    /// 1 while the task is inside `mem_cgroup_oom_synchronize`.
    pub inside: u64,
}

const _: () = {
    assert!(size_of::<QuietRun>() == 32);
    assert!(size_of::<Wait>() == 24);
    assert!(size_of::<InvocationState>() == 80);
};
