//! Every map: why this type, why this size.
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
};

/// One ring for all CPUs: order is kept, memory does not grow with the CPUs. A full report takes
/// about 7 KiB at most, mostly 3, so 512 KiB hold a storm of 100 kills nobody reads. The loader
/// may resize it.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// The scratch area of the invocation that runs; guarded by the kernel's `oom_lock`.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// What was emitted and lost, index `oomwhy_common::counters`.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// Runs of invocations without a victim, by cgroup id of the oom_memcg (0: global).
/// LRU: an attacker with many cgroups can only push runs out, which costs a report more.
#[map]
pub(crate) static QUIET_RUNS: LruHashMap<u64, QuietRun> = LruHashMap::with_max_entries(256, 0);

/// Tasks whose `mem_cgroup_out_of_memory` led to an invocation, until it returns. LRU: only if a
/// thousand tasks were between the end of their invocation and that return would one be lost, and
/// its call be told as one that found room.
#[map]
pub(crate) static INVOKED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// Arguments of calls whose return is hooked by a kretprobe, which has none, by task. LRU: a
/// call that is pushed out goes unseen. Used by the kprobe tier only; elsewhere the loader makes it
/// as small as can be.
#[map]
pub(crate) static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(1024, 0);

/// What a call was given.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Address of its first argument.
    pub(crate) object: u64,
    /// `mem_cgroup_out_of_memory`: gfp_mask.
    pub(crate) gfp_mask: u32,
    /// `mem_cgroup_out_of_memory`: order.
    pub(crate) order: i32,
}

/// Tasks that wait for a memcg whose OOM killer is disabled (cgroup v1), by thread id. LRU: what is
/// pushed out begins a new wait.
#[map]
pub(crate) static WAITING: LruHashMap<u64, Wait> = LruHashMap::with_max_entries(1024, 0);

/// One wait.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Wait {
    /// Its begin, `CLOCK_BOOTTIME` ns.
    pub(crate) since_ns: u64,
    /// When it was entered or left last.
    pub(crate) last_ns: u64,
    /// 1: inside `mem_cgroup_oom_synchronize`.
    pub(crate) inside: u64,
}

/// Memory of victims, by its address, until it is given back. LRU: what is pushed out is a victim
/// whose memory nobody sees come back.
#[map]
pub(crate) static MARKED: LruHashMap<u64, Marked> = LruHashMap::with_max_entries(1024, 0);

/// Whose memory it is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Marked {
    /// Of the invocation.
    pub(crate) seq: u64,
    pub(crate) tgid: i32,
    pub(crate) tid: i32,
    /// 1: it has met its SIGKILL and told who it was.
    pub(crate) met: u64,
}

/// Where a victim's context is put together, one part after another.
#[map]
pub(crate) static CONTEXT: PerCpuArray<Context> = PerCpuArray::with_max_entries(1, 0);

/// Where the path of a new cgroup is put together; guarded by the kernel's `cgroup_mutex`.
#[map]
pub(crate) static NEW_CGROUP: Array<Path> = Array::with_max_entries(1, 0);

/// One part of a task's context, as it goes out. Room for one more name, as in [`Path`].
#[repr(C)]
pub(crate) struct Context {
    pub(crate) head: ContextHead,
    pub(crate) body: [u8; CONTEXT_BYTES + NAME_LEN],
}

/// Invocations in a row that ended alike without a victim.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct QuietRun {
    /// `seq` of the first.
    pub(crate) seq: u64,
    /// How they ended: see `probes::invocation::ending`.
    pub(crate) ending: u64,
    /// How many.
    pub(crate) count: u64,
    /// When the latest ended, `CLOCK_BOOTTIME` ns.
    pub(crate) last_ns: u64,
}

/// Candidates of the invocation, as they go out.
#[repr(C)]
pub(crate) struct Candidates {
    pub(crate) head: CandidatesHead,
    pub(crate) list: [CandidateEntry; MAX_CANDIDATES],
}

/// One path, as it goes out. Room for one more name, so that the last copy needs no special case.
#[repr(C)]
pub(crate) struct Path {
    pub(crate) head: PathHead,
    pub(crate) names: [u8; PATH_BYTES + NAME_LEN],
}

/// The limit chain, as it goes out.
#[repr(C)]
pub(crate) struct Levels {
    pub(crate) head: LevelsHead,
    pub(crate) list: [LevelEntry; MAX_LEVELS],
}

/// Scratch of one invocation, from `out_of_memory` entry to its return.
#[repr(C)]
pub(crate) struct State {
    /// Address of the task inside `out_of_memory`; 0 between invocations.
    pub(crate) task: u64,
    /// Number of the invocation.
    pub(crate) seq: u64,
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub(crate) started_ns: u64,
    /// Entries into `oom_kill_process`.
    pub(crate) kill_calls: u32,
    /// Entries into `__oom_kill_process`.
    pub(crate) shots: u32,
    /// `mark_victim` seen.
    pub(crate) victims: u32,
    /// Slot of the listed candidate with the fewest points, once the list is full.
    pub(crate) least_slot: u32,
    /// 1: `victim` was filled at `__oom_kill_process`, for the old layout of `mark_victim`.
    pub(crate) victim_ready: u32,
    /// 1: the latest `__oom_kill_process` has marked its victim; who is sent SIGKILL from then on
    /// shares the victim's memory.
    pub(crate) marked: u32,
    /// Address of the oom_memcg; 0 for a global OOM.
    pub(crate) oom_memcg: u64,
    /// Cgroup id of the oom_memcg, of the chosen task's and of the trigger's memcg; 0: not known, or
    /// none.
    pub(crate) oom_memcg_id: u64,
    pub(crate) task_memcg: u64,
    pub(crate) trigger_memcg: u64,
    /// Address of the `oom_control`, for hooks that have no arguments.
    pub(crate) oom_control: u64,
    /// Address of the task that is being weighed, likewise; 0: none.
    pub(crate) weighed: u64,
    /// 1: `stat` was filled in this invocation, 2: and emitted.
    pub(crate) stat_stage: u32,
    pub(crate) reserved: u32,
    /// Its points.
    pub(crate) least_points: i64,
    /// Most points so far.
    pub(crate) best_points: i64,
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

/// The scratch area, for `out_of_memory` entry: the caller holds `oom_lock`.
#[inline(always)]
pub(crate) fn state() -> Option<&'static mut State> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: a live map value; the caller runs under oom_lock, so nobody else borrows it.
    Some(unsafe { &mut *state })
}

/// The scratch area, if the current task is the one inside `out_of_memory`: the first thing that
/// every other hook asks, since some are reached from elsewhere too (`/proc/PID/oom_score`).
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

/// Writes `value` as the entry `index` of a list in `bytes`; `None` where there is no room.
#[inline(always)]
pub(crate) fn put<T: Copy>(bytes: &mut [u8], index: usize, value: T) -> Option<()> {
    let start = index * size_of::<T>();
    let room = bytes.get_mut(start..start + size_of::<T>())?;
    // SAFETY: `room` is as long as `T`; no alignment is asked for.
    unsafe { room.as_mut_ptr().cast::<T>().write_unaligned(value) };
    Some(())
}
