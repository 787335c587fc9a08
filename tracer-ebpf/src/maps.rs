//! The maps of the OOM path: why this type, why this size.
#![expect(unsafe_code, reason = "hands out the one scratch area; see `state`")]

use core::ptr;

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, RingBuf},
};
use oomwhy_common::{
    counters,
    event::{
        CONTEXT_BYTES, CandidateEntry, CandidatesHead, ContextHead, EndEvent, InvocationEvent,
        LevelEntry, LevelsHead, MAX_CANDIDATES, MAX_LEVELS, NAME_LEN, PATH_BYTES, PathHead,
        RepeatsEvent, StatEvent, VictimEvent,
    },
    maps::{QuietRun, RING_BYTES, Wait},
};

/// One ring buffer for all CPUs: the order is kept, and memory does not grow with the CPUs. The
/// loader may resize it.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// The scratch area of the running invocation. The kernel's `oom_lock` guards it.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// Counts of dropped records, index `oomwhy_common::counters`.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// Runs of invocations without a victim, by cgroup id of the oom_memcg (0: global).
/// LRU: an attacker with many cgroups can only evict runs, which costs one more report each.
#[map]
pub(crate) static QUIET_RUNS: LruHashMap<u64, QuietRun> = LruHashMap::with_max_entries(256, 0);

/// Tasks whose `mem_cgroup_out_of_memory` led to an invocation, until that call returns. LRU: an
/// entry is evicted only if a thousand tasks are between the end of their invocation and that
/// return. Then the call is reported as one without an invocation.
#[map]
pub(crate) static INVOKED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of calls whose return is hooked by a kretprobe, by task: a kretprobe has no
/// arguments. LRU: an evicted call is not seen. Only the kprobe tier uses it; in the other tiers
/// the loader gives it one entry.
#[map]
pub(crate) static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of one hooked call.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Address in the first argument.
    pub(crate) object: u64,
    /// `gfp_mask` of `mem_cgroup_out_of_memory`.
    pub(crate) gfp_mask: u32,
    /// `order` of `mem_cgroup_out_of_memory`.
    pub(crate) order: i32,
}

/// Tasks that wait for a memcg whose OOM killer is disabled (cgroup v1), by thread id. LRU: a task
/// that was evicted begins a new wait.
#[map]
pub(crate) static WAITING: LruHashMap<u64, Wait> = LruHashMap::with_max_entries(1024, 0);

/// Memory of victims by the address of its `mm_struct`, until it is freed. LRU: of an evicted
/// victim, nobody sees the memory being freed.
#[map]
pub(crate) static VICTIM_MMS: LruHashMap<u64, VictimMm> = LruHashMap::with_max_entries(1024, 0);

/// The victim that owns an `mm_struct`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VictimMm {
    /// Number of the invocation that killed the victim.
    pub(crate) seq: u64,
    pub(crate) tgid: i32,
    pub(crate) tid: i32,
    /// 1: SIGKILL was delivered to the victim, and its context was emitted.
    pub(crate) sigkill_delivered: u64,
}

/// Where a victim's context is composed, one part after another.
#[map]
pub(crate) static CONTEXT: PerCpuArray<Context> = PerCpuArray::with_max_entries(1, 0);

/// Where the path of a new cgroup is composed. The kernel's `cgroup_mutex` guards it.
#[map]
pub(crate) static NEW_CGROUP: Array<Path> = Array::with_max_entries(1, 0);

/// One part of a task's context as it is emitted, with room for one more name, as in [`Path`].
#[repr(C)]
pub(crate) struct Context {
    pub(crate) head: ContextHead,
    pub(crate) body: [u8; CONTEXT_BYTES + NAME_LEN],
}

/// Candidates of the invocation as they are emitted.
#[repr(C)]
pub(crate) struct Candidates {
    pub(crate) head: CandidatesHead,
    pub(crate) list: [CandidateEntry; MAX_CANDIDATES],
}

/// One path as it is emitted, with room for one more name, so that the last copy needs no special
/// case.
#[repr(C)]
pub(crate) struct Path {
    pub(crate) head: PathHead,
    pub(crate) names: [u8; PATH_BYTES + NAME_LEN],
}

/// The chain of limits as it is emitted.
#[repr(C)]
pub(crate) struct Levels {
    pub(crate) head: LevelsHead,
    pub(crate) list: [LevelEntry; MAX_LEVELS],
}

/// Scratch of one invocation, from `out_of_memory` entry to its return.
#[repr(C)]
pub(crate) struct State {
    /// Address of the task inside `out_of_memory`. 0 between invocations.
    pub(crate) task: u64,
    /// Number of the invocation.
    pub(crate) seq: u64,
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub(crate) started_ns: u64,
    /// Number of entries into `oom_kill_process`.
    pub(crate) kill_calls: u32,
    /// Number of entries into `__oom_kill_process`.
    pub(crate) oom_kill_calls: u32,
    /// Number of `mark_victim` events.
    pub(crate) victims: u32,
    /// Slot of the listed candidate with the fewest points, once the list is full.
    pub(crate) least_slot: u32,
    /// 1: `victim` was filled at `__oom_kill_process`, for the old layout of `mark_victim`.
    pub(crate) victim_ready: u32,
    /// 1: the latest `__oom_kill_process` has marked its victim. A task that is sent SIGKILL from
    /// then on shares the victim's memory.
    pub(crate) marked: u32,
    /// Address of the oom_memcg. 0 for a global OOM.
    pub(crate) oom_memcg: u64,
    /// Cgroup id of the oom_memcg. 0 if it is unknown or there is none.
    pub(crate) oom_memcg_id: u64,
    /// Cgroup id of the chosen task's memcg, likewise.
    pub(crate) task_memcg: u64,
    /// Cgroup id of the trigger's memcg, likewise.
    pub(crate) trigger_memcg: u64,
    /// Address of the `oom_control`, for hooks that have no arguments.
    pub(crate) oom_control: u64,
    /// Address of the task that is being evaluated, for hooks that have no arguments. 0 if none.
    pub(crate) evaluated_task: u64,
    /// How far `stat` got in this invocation: 0, 1 filled, 2 emitted.
    pub(crate) stat_stage: u32,
    pub(crate) reserved: u32,
    /// Points of the candidate in `least_slot`.
    pub(crate) least_points: i64,
    pub(crate) best: Best,
    pub(crate) invocation: InvocationEvent,
    pub(crate) candidates: Candidates,
    pub(crate) path: Path,
    pub(crate) levels: Levels,
    pub(crate) victim: VictimEvent,
    pub(crate) stat: StatEvent,
    pub(crate) context: Context,
    pub(crate) repeats: RepeatsEvent,
    pub(crate) end: EndEvent,
}

/// The candidate that the kernel would choose now: the latest one of those with the most points.
#[repr(C)]
pub(crate) struct Best {
    pub(crate) points: i64,
    /// Address of its task.
    pub(crate) task: u64,
    /// Its place in the order of evaluation.
    pub(crate) order: u32,
    /// Bits of `oomwhy_common::event::candidate` that tell where the points are from.
    pub(crate) flags: u32,
    /// 1: it is in the list.
    pub(crate) is_listed: u64,
}

/// The scratch area, for `out_of_memory` entry: the caller holds `oom_lock`.
#[inline(always)]
pub(crate) fn state() -> Option<&'static mut State> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: a live map value; the caller runs under oom_lock, so nobody else borrows it.
    Some(unsafe { &mut *state })
}

/// The scratch area if the current task is the one inside `out_of_memory`. Every other hook asks
/// this first, since some are reached from elsewhere too (`/proc/PID/oom_score`).
#[inline(always)]
pub(crate) fn own_invocation() -> Option<&'static mut State> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: a live map value, and a field of it.
    let owner = unsafe { &raw const (*state).task };
    // SAFETY: an aligned u64, so a concurrent write is seen whole or not at all.
    let owner = unsafe { ptr::read_volatile(owner) };
    if owner != crate::kernel::current_address() {
        return None;
    }
    // SAFETY: as in `state`: the owner holds oom_lock.
    Some(unsafe { &mut *state })
}

/// Copies a map value.
#[inline(always)]
pub(crate) fn load<T: Copy>(value: *mut T) -> T {
    // SAFETY: callers pass a live map value just looked up; RCU keeps it while the program runs.
    unsafe { *value }
}

/// Overwrites a map value.
#[inline(always)]
pub(crate) fn store<T: Copy>(value: *mut T, new: T) {
    // SAFETY: as in `load`. Two CPUs racing here can lose a count, never memory.
    unsafe { *value = new };
}

/// Adds 1 to a counter of this CPU.
#[inline(always)]
pub(crate) fn increment(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(value) = counters.get_ptr_mut(index) {
        // SAFETY: this CPU's own slot of a per-CPU array.
        unsafe { *value += 1 };
    }
}

/// Reads a number from map memory as an opaque value, about which the verifier knows nothing.
///
/// verifier: a count kept in a register has one range for each exit of the loop that made it, and
/// the verifier walks all that follows again for each of these ranges.
#[inline(always)]
pub(crate) fn read_volatile<T: Copy>(value: &T) -> T {
    // SAFETY: a live, aligned field.
    unsafe { ptr::read_volatile(value) }
}

/// Writes `value` as the entry `index` of a list in `bytes`. `None` if there is no room.
#[inline(always)]
pub(crate) fn put<T: Copy>(bytes: &mut [u8], index: usize, value: T) -> Option<()> {
    let start = index * size_of::<T>();
    let room = bytes.get_mut(start..start + size_of::<T>())?;
    // SAFETY: `room` is as long as `T`; no alignment is asked for.
    unsafe { room.as_mut_ptr().cast::<T>().write_unaligned(value) };
    Some(())
}
