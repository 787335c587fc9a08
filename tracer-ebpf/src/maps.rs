//! The maps of the OOM path: why this type, why this size.
#![expect(unsafe_code, reason = "hands out the one scratch area; see `state`")]

use core::{mem, ptr};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use oomwhy_common::{
    counters,
    event::{
        CONTEXT_BYTES, CandidateEntry, CandidatesHead, ContextHead, EndEvent, InvocationEvent,
        KillEvent, LevelEntry, LevelsHead, MAX_CANDIDATES, MAX_LEVELS, NAME_LEN, PATH_BYTES,
        PathHead, ReclaimedEvent, RepeatsEvent, StatEvent, VictimEvent,
    },
    maps::{
        HINTS_BYTES, InvocationState, KILLS_BYTES, QuietRun, RING_BYTES, STATE_BYTES, Wait, hint,
    },
};

/// The details of invocations. One ring buffer for all CPUs: the order is kept, and memory does not
/// grow with the CPUs. The loader may resize it.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// One compact record per killed process, so that no kill is lost when details have no room.
#[map]
pub(crate) static KILLS: RingBuf = RingBuf::with_byte_size(KILLS_BYTES, 0);

/// Hints. They have a ring of their own, so that a storm of new cgroups takes no room from kills.
#[map]
pub(crate) static HINTS: RingBuf = RingBuf::with_byte_size(HINTS_BYTES, 0);

/// 1 while a tracer reads hints. Userspace writes it.
#[map]
pub(crate) static HINTS_WANTED: Array<u64> = Array::with_max_entries(1, 0);

/// Token buckets that limit the rate of hints, index `oomwhy_common::maps::hint`.
#[map]
pub(crate) static HINT_BUDGETS: Array<HintBudget> = Array::with_max_entries(hint::COUNT, 0);

/// A token bucket.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HintBudget {
    /// Hints that may be written at once.
    pub(crate) left: u64,
    /// The time up to which hints were earned, `CLOCK_BOOTTIME` ns.
    pub(crate) counted_ns: u64,
}

/// The scratch area of the running invocation. The kernel's `oom_lock` guards it.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// Counts of records that were not written, index `oomwhy_common::counters`.
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// Counts of kills without a record, index `oomwhy_common::counters::kills`. Not per CPU, because
/// its writers hold `oom_lock`.
#[map]
pub(crate) static KILLS_LOST: Array<u64> = Array::with_max_entries(counters::kills::COUNT, 0);

/// Runs of invocations without a victim, by cgroup id of the oom_memcg (0: global).
/// LRU: an attacker with many cgroups can only evict runs, which costs one more report each.
#[map]
pub(crate) static QUIET_RUNS: LruHashMap<u64, QuietRun> = LruHashMap::with_max_entries(256, 0);

/// Calls of `mem_cgroup_out_of_memory` that have not led to an invocation yet, by task. The value
/// is the record that is emitted if the call never leads to one. LRU: an entry is evicted only if
/// hundreds of tasks wait for `oom_lock`; then that call is not reported if it needs no invocation.
#[map]
pub(crate) static MEMCG_CALLS: LruHashMap<u64, ReclaimedEvent> =
    LruHashMap::with_max_entries(256, 0);

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
}

/// Tasks that wait for a memcg whose OOM killer is disabled (cgroup v1), by thread id. LRU: a task
/// that was evicted begins a new wait.
#[map]
pub(crate) static WAITING: LruHashMap<u64, Wait> = LruHashMap::with_max_entries(1024, 0);

/// Memory of victims by the address of its `mm_struct`, until it is freed. LRU: of an evicted
/// victim, nobody sees the memory being freed.
#[map]
pub(crate) static VICTIM_MMS: LruHashMap<u64, VictimMm> = LruHashMap::with_max_entries(1024, 0);

/// Counts the victims in [`VICTIM_MMS`] whose memory is not freed yet.
#[map]
static DYING: Array<Dying> = Array::with_max_entries(1, 0);

/// Slots that count freed memory: more CPUs than this share them.
const FREED_SLOTS: usize = 64;

/// Two counts that are equal while no victim is dying. BPF code from rustc has no atomic add, so
/// each count has one writer at a time. If CPUs that share a slot lose a count, or an entry is
/// evicted, the counts stay different. Then each exit pays for a look-up in [`VICTIM_MMS`], and
/// nothing is missed.
#[repr(C)]
struct Dying {
    /// Number of entries added to [`VICTIM_MMS`]. Its writers hold `oom_lock`.
    registered: u64,
    /// The value of `registered` for which all memory was freed.
    all_freed: u64,
    /// Number of entries whose memory was freed, by CPU.
    freed: [u64; FREED_SLOTS],
}

/// Whether any victim's memory is not freed yet. Every exit of a process checks this first, because
/// a look-up in [`VICTIM_MMS`] takes ten times as long.
#[inline(always)]
pub(crate) fn any_victim_dying() -> bool {
    DYING.get_ptr(0).is_some_and(|dying| {
        // SAFETY: a live map value. Each word is read whole.
        let dying = unsafe { &*dying };
        read_volatile(&dying.registered) != read_volatile(&dying.all_freed)
    })
}

/// Stores the victim that owns this memory. The caller holds `oom_lock`.
#[inline(always)]
pub(crate) fn register_victim(mm: u64, victim: VictimMm) {
    let known = VICTIM_MMS.get_ptr_mut(mm).map(load);
    if known.is_some_and(|known| known.seq == victim.seq) {
        return;
    }
    // If the insert fails for lack of memory, this victim's memory is not seen to be freed.
    if VICTIM_MMS.insert(mm, victim, 0).is_ok()
        && known.is_none()
        && let Some(dying) = DYING.get_ptr_mut(0)
    {
        // SAFETY: a live map value, and a word that only owners of `oom_lock` write.
        unsafe { (*dying).registered += 1 };
    }
}

/// Removes the entry of a victim whose memory was freed.
#[inline(always)]
pub(crate) fn forget_victim(mm: u64) {
    if VICTIM_MMS.remove(mm).is_err() {
        return;
    }
    let Some(dying) = DYING.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a live map value. Other CPUs write it at the same time; see [`Dying`].
    let dying = unsafe { &mut *dying };
    let slot = crate::emit::cpu() as usize % FREED_SLOTS;
    dying.freed[slot] += 1;
    let registered = read_volatile(&dying.registered);
    let mut freed = 0;
    for count in &dying.freed {
        freed += read_volatile(count);
    }
    if freed == registered {
        dying.all_freed = registered;
    }
}

/// The victim that owns an `mm_struct`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VictimMm {
    /// Number of the invocation that killed the victim.
    pub(crate) seq: u64,
    /// Cgroup id of that invocation's oom_memcg. 0 for a global OOM.
    pub(crate) oom_memcg_id: u64,
    pub(crate) tgid: i32,
    pub(crate) tid: i32,
    /// Bit 0: the victim began to exit because of SIGKILL, and its context was emitted or shed. Bit
    /// 1 ([`CONTEXT_SHED`]): its context was shed.
    pub(crate) sigkill_delivered: u64,
}

/// A bit of [`VictimMm::sigkill_delivered`].
pub(crate) const CONTEXT_SHED: u64 = 2;

/// Victims whose context can be composed at the same time. Fixed, so that memory does not grow with
/// the CPUs.
const CONTEXTS: u32 = 16;
/// Number of slots that a victim tries.
const CONTEXT_TRIES: u32 = 4;

/// Slots in which the contexts of victims are composed, one part after another.
#[map]
static CONTEXT: Array<Context> = Array::with_max_entries(CONTEXTS, 0);

/// The slots of [`CONTEXT`] in use. An insert with `BPF_NOEXIST` is the only test-and-set that
/// every kernel has.
#[map]
static CONTEXT_BUSY: HashMap<u32, u32> = HashMap::with_max_entries(CONTEXTS, 0);

/// Takes a slot of [`CONTEXT`], to be returned with [`return_context`]. `None` if the nearest ones
/// are in use.
#[inline(always)]
pub(crate) fn take_context() -> Option<(u32, &'static mut Context)> {
    for attempt in 0..CONTEXT_TRIES {
        let slot = crate::emit::cpu().wrapping_add(attempt) % CONTEXTS;
        if CONTEXT_BUSY.insert(slot, slot, u64::from(BPF_NOEXIST)).is_ok() {
            let context = CONTEXT.get_ptr_mut(slot)?;
            // SAFETY: a live map value, which the entry in CONTEXT_BUSY makes this task's own.
            return Some((slot, unsafe { &mut *context }));
        }
    }
    None
}

/// Returns a slot of [`take_context`].
#[inline(always)]
pub(crate) fn return_context(slot: u32) {
    // It is there: only its owner removes it.
    let _ = CONTEXT_BUSY.remove(slot);
}

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

/// Scratch of one invocation, from one `out_of_memory` entry to the next.
#[repr(C)]
pub(crate) struct State {
    /// Address of the task that entered `out_of_memory` last. 0 if none has.
    pub(crate) task: u64,
    /// Number of the invocation.
    pub(crate) seq: u64,
    /// Entry into `out_of_memory`, `CLOCK_BOOTTIME` ns.
    pub(crate) started_ns: u64,
    /// Cgroup id of the oom_memcg. 0 if it is unknown or there is none.
    pub(crate) oom_memcg_id: u64,
    /// Validity bits of `invocation`, as far as it is filled.
    pub(crate) described: u64,
    /// Details that were shed so far, bits of `oomwhy_common::valid::shed`.
    pub(crate) shed: u64,
    /// Number of entries into `oom_kill_process`.
    pub(crate) kill_calls: u32,
    /// Number of entries into `__oom_kill_process`.
    pub(crate) oom_kill_calls: u32,
    /// Number of `mark_victim` events.
    pub(crate) victims: u32,
    /// Bits of `end_facts` that hold.
    pub(crate) facts: u32,
    /// Bits of `end_facts` that are known.
    pub(crate) facts_known: u32,
    /// Number of killed processes, each counted once.
    pub(crate) processes: u32,
    /// Number of the latest invocation whose end was emitted, or that was counted in a run.
    pub(crate) ended_seq: u64,
    // Userspace reads the fields above and the next two.
    pub(crate) invocation: InvocationEvent,
    pub(crate) candidates: Candidates,
    /// Slot of the listed candidate with the fewest points, once the list is full.
    pub(crate) least_slot: u32,
    /// 1: `victim` was filled at `__oom_kill_process`, for the old layout of `mark_victim`.
    pub(crate) victim_ready: u32,
    /// 1: the latest `__oom_kill_process` has marked its victim, whose record was not written
    /// before. A task that is sent SIGKILL from then on shares the victim's memory.
    pub(crate) marked: u32,
    /// State of `stat` in this invocation: 0 not filled, 1 filled, 2 emitted.
    pub(crate) stat_stage: u32,
    /// Address of the oom_memcg. 0 for a global OOM.
    pub(crate) oom_memcg: u64,
    /// Cgroup id of the chosen task's memcg. 0 if it is unknown or there is none.
    pub(crate) task_memcg: u64,
    /// Cgroup id of the trigger's memcg, likewise.
    pub(crate) trigger_memcg: u64,
    /// Address of the `oom_control`, for hooks that have no arguments. Valid only inside
    /// `out_of_memory`.
    pub(crate) oom_control: u64,
    /// Address of the task that is being evaluated, for hooks that have no arguments. 0 if none.
    pub(crate) evaluated_task: u64,
    /// How short of room the ring is, see `record::raise_pressure`.
    pub(crate) pressure: u32,
    /// Number of victims and sharers that have a `VictimEvent`.
    pub(crate) detailed_victims: u32,
    /// What ran out of memory, one of `oomwhy_common::event::domain`.
    pub(crate) domain: u32,
    /// 1: the paths of the oom_memcg and the trigger were emitted or shed.
    pub(crate) paths_emitted: u32,
    /// Process id of the first victim.
    pub(crate) first_tgid: i32,
    /// 1: a process that shares a victim's memory was recorded.
    pub(crate) has_sharers: u32,
    /// Points of the candidate in `least_slot`.
    pub(crate) least_points: i64,
    pub(crate) best: Best,
    pub(crate) path: Path,
    pub(crate) levels: Levels,
    pub(crate) victim: VictimEvent,
    pub(crate) kill: KillEvent,
    pub(crate) stat: StatEvent,
    pub(crate) context: Context,
    pub(crate) repeats: RepeatsEvent,
    pub(crate) end: EndEvent,
}

const _: () = {
    use mem::offset_of;
    assert!(size_of::<State>() == STATE_BYTES);
    assert!(offset_of!(State, seq) == offset_of!(InvocationState, seq));
    assert!(offset_of!(State, oom_memcg_id) == offset_of!(InvocationState, oom_memcg_id));
    assert!(offset_of!(State, shed) == offset_of!(InvocationState, shed));
    assert!(offset_of!(State, kill_calls) == offset_of!(InvocationState, kill_calls));
    assert!(offset_of!(State, victims) == offset_of!(InvocationState, victims));
    assert!(offset_of!(State, facts_known) == offset_of!(InvocationState, facts_known));
    assert!(offset_of!(State, processes) == offset_of!(InvocationState, processes));
    assert!(offset_of!(State, ended_seq) == offset_of!(InvocationState, ended_seq));
    assert!(offset_of!(State, invocation) == size_of::<InvocationState>());
    let candidates = size_of::<InvocationState>() + size_of::<InvocationEvent>();
    assert!(offset_of!(State, candidates) == candidates);
};

/// The candidate that the kernel would choose now: the latest one of those with the most points.
#[repr(C)]
pub(crate) struct Best {
    pub(crate) points: i64,
    /// Address of its task.
    pub(crate) task: u64,
    /// Its place in the order of evaluation.
    pub(crate) order: u32,
    /// Bits of `oomwhy_common::event::candidate` that show the source of the points.
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

/// The scratch area if the current task is the one that entered `out_of_memory` last. Every other
/// hook asks this first, since some are reached from elsewhere too (`/proc/PID/oom_score`).
///
/// Nothing shows that the task has left, so hooks that the same task may reach later from elsewhere
/// must not assume that it is inside.
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

/// The start of the scratch area, for hooks without `oom_lock`. Another CPU may change it
/// meanwhile.
#[inline(always)]
pub(crate) fn shared_state() -> Option<*mut InvocationState> {
    STATE.get_ptr_mut(0).map(<*mut State>::cast)
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

/// Copies the start of the scratch area, which another CPU may change meanwhile.
#[inline(always)]
pub(crate) fn load_shared(state: *mut InvocationState) -> InvocationState {
    // SAFETY: a live map value. A field is seen whole or not at all.
    unsafe { ptr::read_volatile(state) }
}

/// Stores in the scratch area that this invocation is over.
#[inline(always)]
pub(crate) fn mark_ended(state: *mut InvocationState, seq: u64) {
    // SAFETY: a field of a live map value.
    let ended_seq = unsafe { &raw mut (*state).ended_seq };
    // SAFETY: an aligned u64, which others see whole or not at all.
    unsafe { ended_seq.write_volatile(seq) };
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
