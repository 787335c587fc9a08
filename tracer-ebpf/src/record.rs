//! Fills the records that more than one probe writes: task identity, memcg counters, victims,
//! paths, the chain of limits.
#![expect(unsafe_code, reason = "hands map memory to the string helper")]

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use oomwhy_common::{
    event::{
        KillEvent, LevelEntry, LevelsHead, MAX_DETAILED_VICTIMS, MAX_LEVELS, MemcgFacts, NAME_LEN,
        PATH_BYTES, PathHead, TaskFacts, VictimEvent, kind, mm,
    },
    valid,
};

use crate::{
    emit,
    kernel::{self, Object, Origin, offset},
    maps::{Levels, Path, State, read_volatile},
    objects::{cgroup, memcg, task},
};

/// Fills in the current task, by helpers that every kernel has and then through its task.
/// Returns bits of [`valid::trigger`].
#[inline(always)]
pub(crate) fn trigger(facts: &mut TaskFacts) -> u64 {
    let pid_tgid = bpf_get_current_pid_tgid();
    facts.tgid = (pid_tgid >> 32) as i32;
    facts.tid = pid_tgid as i32;
    facts.uid = bpf_get_current_uid_gid() as u32;
    facts.comm = bpf_get_current_comm().unwrap_or_default();
    let Some(current) = kernel::current() else {
        return 0;
    };
    let mut known = 0;
    if let (Some(start), Some(adj)) = (task::start_boottime(current), task::oom_score_adj(current))
    {
        facts.start_boottime_ns = start;
        facts.oom_score_adj = adj;
        known |= valid::trigger::TASK;
    }
    if let Some(id) = task::memory_cgroup(current).and_then(cgroup::id) {
        facts.cgroup_id = id;
        known |= valid::trigger::CGROUP;
    }
    known
}

/// Fills in pid, name and uid of another task, without which no record about it makes sense.
#[inline(always)]
pub(crate) fn identity<O: Origin>(facts: &mut TaskFacts, of: Object<O>) -> Option<()> {
    facts.tgid = task::tgid(of)?;
    facts.tid = task::tid(of)?;
    facts.comm = task::comm(of)?;
    facts.uid = task::uid(of)?;
    Some(())
}

/// Fills in start time and oom_score_adj of another task.
#[inline(always)]
pub(crate) fn start_and_adj<O: Origin>(facts: &mut TaskFacts, of: Object<O>) -> Option<()> {
    facts.start_boottime_ns = task::start_boottime(of)?;
    facts.oom_score_adj = task::oom_score_adj(of)?;
    Some(())
}

/// Fills in the id of another task's memory cgroup.
#[inline(always)]
pub(crate) fn cgroup_id<O: Origin>(facts: &mut TaskFacts, of: Object<O>) -> Option<()> {
    facts.cgroup_id = task::memory_cgroup(of).and_then(cgroup::id)?;
    Some(())
}

/// Fills in id and counters of a memcg. Returns bits of [`valid::oom_memcg`].
#[inline(always)]
pub(crate) fn memcg<O: Origin>(facts: &mut MemcgFacts, of: Object<O>) -> u64 {
    let mut known = 0;
    if let Some(id) = memcg::cgroup(of).and_then(cgroup::id) {
        facts.id = id;
        known |= valid::oom_memcg::ID;
    }
    if let Some(counter) = memcg::memory(of)
        && let (Some(usage), Some(max)) = (memcg::usage(counter), memcg::max(counter))
    {
        facts.usage = usage;
        facts.max = max;
        known |= valid::oom_memcg::COUNTERS;
    }
    if let Some(counter) = memcg::swap(of)
        && let (Some(usage), Some(max)) = (memcg::usage(counter), memcg::max(counter))
    {
        facts.swap_usage = usage;
        facts.swap_max = max;
        known |= valid::oom_memcg::SWAP;
    }
    if let Some(group) = memcg::oom_group(of) {
        facts.oom_group = u64::from(group);
        known |= valid::oom_memcg::OOM_GROUP;
    }
    known
}

/// Fills in all of `victim` that describes the task rather than its memory. Returns bits of
/// [`valid::victim`].
#[inline(always)]
pub(crate) fn victim_task<O: Origin>(victim: &mut VictimEvent, of: Object<O>) -> Option<u64> {
    identity(&mut victim.task, of)?;
    let mut known = 0;
    if start_and_adj(&mut victim.task, of).is_some() {
        known |= valid::victim::TASK;
    }
    if cgroup_id(&mut victim.task, of).is_some() {
        known |= valid::victim::CGROUP;
    }
    if let Some(vpid) = task::vpid(of) {
        victim.vpid = vpid;
        known |= valid::victim::VPID;
    }
    Some(known)
}

/// Stores the current pressure of the ring. Within an invocation it only rises: several programs
/// write the details, and a detail that one of them has shed must not be written by another one.
#[inline(always)]
pub(crate) fn raise_pressure(state: &mut State) {
    let pressure = emit::pressure();
    if pressure > state.pressure {
        state.pressure = pressure;
    }
}

/// Marks details as shed, bits of [`valid::shed`], and counts them once.
#[inline(always)]
pub(crate) fn shed(state: &mut State, details: u64) {
    if state.shed & details == 0 {
        emit::count_shed();
    }
    state.shed |= details;
}

/// Emits the compact record of the victim in the scratch area. `known` are bits of
/// [`valid::victim`].
#[inline(always)]
pub(crate) fn kill(state: &mut State, now: u64, known: u64, cause: u8) {
    const SAME: u64 = valid::victim::CGROUP | valid::victim::TASK | valid::victim::ADJ;
    let (victim, kill) = (&state.victim, &mut state.kill);
    kill.start_boottime_ns = victim.task.start_boottime_ns;
    kill.cgroup_id = victim.task.cgroup_id;
    kill.oom_memcg_id = state.oom_memcg_id;
    kill.tgid = victim.task.tgid;
    kill.tid = victim.task.tid;
    kill.uid = victim.task.uid;
    kill.oom_score_adj = victim.task.oom_score_adj as i16;
    kill.cause = cause;
    kill.domain = state.domain as u8;
    kill.comm = victim.task.comm;
    let mut valid = known & SAME | state.shed;
    if kill.oom_memcg_id != 0 {
        valid |= valid::oom_memcg::ID;
    }
    let mut pgtables_kib = 0;
    if known & valid::victim::MM != 0 {
        pgtables_kib = (victim.pgtables_bytes >> 10) as u32;
        // Counts that do not fit stay unknown. No process of today has so many pages.
        let mut beyond = victim.pgtables_bytes >> 42;
        for index in 0..mm::COUNT {
            let pages = victim.counts[index];
            kill.counts[index] = pages as i32;
            beyond |= (pages.unsigned_abs()) >> 31;
        }
        if beyond == 0 {
            valid |= valid::kill::MM;
        }
    }
    let size = size_of::<KillEvent>();
    kill.header = emit::header(kind::KILL, state.seq, now, valid, size);
    kill.header.reserved = pgtables_kib;
    emit::kill(kill, cause);
}

/// Emits the victim in the scratch area, unless the invocation has too many victims.
#[inline(always)]
pub(crate) fn victim(state: &mut State, now: u64, known: u64) {
    if state.detailed_victims >= MAX_DETAILED_VICTIMS {
        state.shed |= valid::shed::VICTIMS;
        return;
    }
    state.detailed_victims += 1;
    let size = size_of::<VictimEvent>();
    let known = known | state.shed;
    state.victim.header = emit::header(kind::VICTIM, state.seq, now, known, size);
    emit::record(&state.victim, size);
}

/// Emits the path of a cgroup: names from the leaf up, each with its NUL.
#[inline(always)]
pub(crate) fn path<O: Origin>(path: &mut Path, seq: u64, now: u64, of: Object<O>) {
    let (Some(node), Some(id)) = (cgroup::node(of), cgroup::id(of)) else {
        return;
    };
    path.head.len = 0;
    path.head.truncated = 1;
    if names(path, node).is_none() {
        return;
    }
    // If the last name exceeds PATH_BYTES, the path is cut there and `truncated` stays 1.
    let len = read_volatile(&path.head.len).min(PATH_BYTES as u32);
    let size = size_of::<PathHead>() + len as usize;
    path.head.header = emit::header(kind::PATH, seq, now, 0, size);
    path.head.cgroup_id = id;
    path.head.len = len;
    emit::record(path, size);
}

/// Copies the names. `len` and `truncated` of the head show how far it got.
#[inline(always)]
fn names<O: Origin>(path: &mut Path, mut node: Object<O>) -> Option<()> {
    let mut len = 0_usize;
    for _ in 0..MAX_LEVELS {
        let Some(parent) = node.follow(offset!(kernfs_parent)) else {
            // The root, whose name is empty.
            path.head.truncated = 0;
            break;
        };
        let name = node.get::<*const u8>(offset!(kernfs_name))?;
        // verifier: the mask bounds the index; `names` has room for one name behind PATH_BYTES.
        let start = len & (PATH_BYTES - 1);
        // SAFETY: `start` + 256 is within `names`.
        let copied = unsafe {
            kernel::read_string(name, path.names.as_mut_ptr().wrapping_add(start), NAME_LEN as u32)
        };
        len = start + copied? as usize;
        path.head.len = len as u32;
        if len >= PATH_BYTES {
            break;
        }
        node = parent;
    }
    Some(())
}

/// Emits the limits from `of` up to the root, along the parents of its `page_counter`s.
#[inline(always)]
pub(crate) fn levels<O: Origin>(
    levels: &mut Levels,
    seq: u64,
    now: u64,
    cgroup_id: u64,
    of: Object<O>,
) {
    levels.head.recorded = 0;
    levels.head.truncated = 1;
    levels.head.header.valid = valid::levels::SWAP | valid::levels::KMEM;
    if counters(levels, of).is_none() {
        return;
    }
    let recorded = read_volatile(&levels.head.recorded).min(MAX_LEVELS as u32);
    let size = size_of::<LevelsHead>() + recorded as usize * size_of::<LevelEntry>();
    let known = levels.head.header.valid;
    levels.head.header = emit::header(kind::LEVELS, seq, now, known, size);
    levels.head.cgroup_id = cgroup_id;
    emit::record(levels, size);
}

/// Copies the counters of each level. The head holds their number and validity bits.
#[inline(always)]
fn counters<O: Origin>(levels: &mut Levels, of: Object<O>) -> Option<()> {
    let mut memory = memcg::memory(of)?;
    for index in 0..MAX_LEVELS {
        memory_level(levels.list.get_mut(index)?, memory)?;
        levels.head.recorded = index as u32 + 1;
        let Some(parent) = memory.follow(offset!(counter_parent)) else {
            levels.head.truncated = 0;
            break;
        };
        memory = parent;
    }
    // verifier: a loop for each counter. In one loop, the verifier of 5.10 walks through every
    // combination of present counters, 264,669 instructions in all.
    if more_counters(levels, memcg::swap(of), swap_level).is_none() {
        levels.head.header.valid &= !valid::levels::SWAP;
    }
    if more_counters(levels, memcg::kmem(of), kmem_level).is_none() {
        levels.head.header.valid &= !valid::levels::KMEM;
    }
    Some(())
}

/// Copies one more counter of each recorded level. `None` if a level does not have it.
#[inline(always)]
fn more_counters<O: Origin>(
    levels: &mut Levels,
    first: Option<Object<O>>,
    copy: impl Fn(&mut LevelEntry, Object<O>) -> Option<()>,
) -> Option<()> {
    let mut counter = first?;
    let recorded = read_volatile(&levels.head.recorded);
    for index in 0..MAX_LEVELS {
        copy(levels.list.get_mut(index)?, counter)?;
        if index as u32 + 1 >= recorded {
            break;
        }
        counter = counter.follow(offset!(counter_parent))?;
    }
    Some(())
}

#[inline(always)]
fn memory_level<O: Origin>(entry: &mut LevelEntry, counter: Object<O>) -> Option<()> {
    entry.usage = memcg::usage(counter)?;
    entry.max = memcg::max(counter)?;
    entry.high = counter.get(offset!(counter_high))?;
    entry.low = counter.get(offset!(counter_low))?;
    entry.min = counter.get(offset!(counter_min))?;
    Some(())
}

#[inline(always)]
fn swap_level<O: Origin>(entry: &mut LevelEntry, counter: Object<O>) -> Option<()> {
    entry.swap_usage = memcg::usage(counter)?;
    entry.swap_max = memcg::max(counter)?;
    Some(())
}

#[inline(always)]
fn kmem_level<O: Origin>(entry: &mut LevelEntry, counter: Object<O>) -> Option<()> {
    entry.kmem_usage = memcg::usage(counter)?;
    entry.kmem_max = memcg::max(counter)?;
    Some(())
}
