//! The kernel evaluated a task: `oom_badness` returned its points. On kernels whose selection loop
//! calls a split clone of `oom_badness` that no probe sees (5.10), `oom_evaluate_task` returned.
//!
//! The list keeps the [`MAX_CANDIDATES`] tasks with the most points. Of equal tasks it keeps the
//! first ones. Tasks that must not be killed are listed while there is room.
//!
//! The kernel chooses the last one of equal tasks (`oom_evaluate_task` passes over a task only if
//! it has fewer points). If the list followed that rule, each of hundreds of equal tasks would
//! replace an entry. So the probe keeps the latest best task outside the list, and adds it when the
//! kernel has chosen: [`list_chosen`].

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::event::{CandidateEntry, MAX_CANDIDATES, candidate, mm};

use crate::{
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{Best, State, own_invocation},
    objects::{memory, oom_control, task},
    threads,
};

/// The return value of `oom_badness` for a task that must not be killed.
const LONG_MIN: i64 = i64::MIN;
/// The kernel's `OOM_SCORE_ADJ_MIN`: never kill.
const OOM_SCORE_ADJ_MIN: i32 = -1000;

// kernel-proto: mm/oom_kill.c long oom_badness(struct task_struct *p, unsigned long totalpages)
#[fexit]
fn oom_badness_ret(ctx: FExitContext) -> i32 {
    // Reads of /proc/PID/oom_score come here too, at any time: they end at the first comparison.
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<Argument>::new(ctx.arg(0))
    {
        // Slot 2 is the return value: behind the two arguments.
        let points = ctx.arg::<u64>(2) as i64;
        evaluated(state, task, points, candidate::POINTS_RETURNED);
    }
    0
}

// kernel-proto: mm/oom_kill.c int oom_evaluate_task(struct task_struct *task, void *arg)
#[fexit]
fn oom_evaluate_task_ret(ctx: FExitContext) -> i32 {
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<Argument>::new(ctx.arg(0))
    {
        recomputed(state, task, ctx.arg(1));
    }
    0
}

// kernel-proto: mm/oom_kill.c long oom_badness(struct task_struct *p, unsigned long totalpages)
// kernel-proto: mm/oom_kill.c int oom_evaluate_task(struct task_struct *task, void *arg)
//
// At either entry: keeps the task for the return, which has no arguments.
#[kprobe]
fn kprobe_candidate(ctx: ProbeContext) -> u32 {
    if let Some(state) = own_invocation() {
        state.evaluated_task = ctx.arg(0).unwrap_or_default();
    }
    0
}

// kernel-proto: mm/oom_kill.c long oom_badness(struct task_struct *p, unsigned long totalpages)
// Or the part of it that the selection loop calls. It may have other arguments, but returns points.
#[kretprobe]
fn kretprobe_oom_badness(ctx: RetProbeContext) -> u32 {
    if let Some(state) = own_invocation()
        && let Some(task) = take_evaluated_task(state)
    {
        evaluated(state, task, ctx.ret(), candidate::POINTS_RETURNED);
    }
    0
}

// kernel-proto: mm/oom_kill.c int oom_evaluate_task(struct task_struct *task, void *arg)
#[kretprobe]
fn kretprobe_oom_evaluate_task(_ctx: RetProbeContext) -> u32 {
    if let Some(state) = own_invocation()
        && let Some(task) = take_evaluated_task(state)
    {
        let oc = state.oom_control as *const u8;
        recomputed(state, task, oc);
    }
    0
}

/// Takes the task of the latest entry: a second return must not see it again.
#[inline(always)]
fn take_evaluated_task(state: &mut State) -> Option<Object<Untyped>> {
    let task = state.evaluated_task as *const u8;
    state.evaluated_task = 0;
    Object::new(task)
}

/// Lists a task whose points no probe sees.
#[inline(always)]
fn recomputed<O: Origin>(state: &mut State, task: Object<O>, oc: *const u8) {
    if is_skipped(task) {
        return;
    }
    let totalpages = oom_control::from_void(oc).and_then(oom_control::totalpages);
    let (points, flags) = points(task, totalpages);
    evaluated(state, task, points, flags);
}

/// Whether `oom_evaluate_task` skips the task without asking for its points: kernel threads, init
/// and victims of an earlier invocation.
#[inline(always)]
fn is_skipped<O: Origin>(task: Object<O>) -> bool {
    task::is_kthread(task) || task::tgid(task) == Some(1) || task::is_victim(task)
}

/// Recomputes the points of a task as `oom_badness` does in every supported kernel. Returns them
/// with bits of [`candidate`].
#[inline(always)]
fn points<O: Origin>(of: Object<O>, totalpages: Option<u64>) -> (i64, u32) {
    if let Some(mm) = task::mm(of) {
        return points_of_thread(of, mm, totalpages);
    }
    if let Some(thread) = threads::with_memory(of)
        && let Some(mm) = task::mm(thread)
    {
        return points_of_thread(thread, mm, totalpages);
    }
    // The memory is gone, or a thread that was not found has it.
    let is_only_thread = task::thread_count(of) == Some(1);
    (LONG_MIN, if is_only_thread { 0 } else { candidate::POINTS_UNKNOWN })
}

#[inline(always)]
fn points_of_thread<O: Origin>(
    of: Object<O>,
    mm: Object<O>,
    totalpages: Option<u64>,
) -> (i64, u32) {
    let adj = task::oom_score_adj(of).unwrap_or_default();
    if adj == OOM_SCORE_ADJ_MIN || memory::oom_skip(mm) || task::in_vfork(of) {
        return (LONG_MIN, 0);
    }
    let mut points = memory::pgtables_bytes(mm).unwrap_or_default() as i64 >> 12;
    for counter in 0..mm::COUNT {
        points += memory::count(mm, counter).unwrap_or_default();
    }
    match totalpages {
        Some(pages) => (points + i64::from(adj) * (pages / 1000) as i64, 0),
        None => (points, candidate::POINTS_UNKNOWN),
    }
}

/// Lists an evaluated task if it is worth a slot. `flags` are bits of [`candidate`].
#[inline(always)]
fn evaluated<O: Origin>(state: &mut State, task: Object<O>, points: i64, flags: u32) {
    let order = state.candidates.head.considered;
    // A task that has left `out_of_memory` may read a /proc/PID/oom_score. Checked for the first
    // task only: once a task is evaluated, the kernel chooses or waits, and the list is not used
    // after that.
    if order == 0 && kernel::holds_oom_lock() == Some(false) {
        return;
    }
    state.candidates.head.considered = order + 1;
    let recorded = state.candidates.head.recorded;
    let is_full = recorded >= MAX_CANDIDATES as u32;
    // A tie with the lowest is not worth a slot.
    let is_listed = !is_full || points > state.least_points;
    if points >= state.best.points && points != LONG_MIN {
        state.best =
            Best { points, task: task.address(), order, flags, is_listed: u64::from(is_listed) };
    }
    if is_listed {
        list(state, task, points, flags, order);
    }
}

/// Lists the chosen task if a tie with the best left it out.
#[inline(always)]
pub(super) fn list_chosen<O: Origin>(state: &mut State, chosen: Object<O>) {
    let Best { points, task, order, flags, is_listed } = state.best;
    if is_listed == 0 && task == chosen.address() {
        state.best.is_listed = 1;
        list(state, chosen, points, flags, order);
    }
}

/// Fills a free entry, or the one with the fewest points.
#[inline(always)]
fn list<O: Origin>(state: &mut State, task: Object<O>, points: i64, flags: u32, order: u32) {
    let recorded = state.candidates.head.recorded;
    let free_or_least = if recorded < MAX_CANDIDATES as u32 {
        state.candidates.head.recorded = recorded + 1;
        recorded
    } else {
        state.least_slot
    };
    // verifier: MAX_CANDIDATES is a power of two, the mask bounds the index.
    let slot = free_or_least as usize & (MAX_CANDIDATES - 1);
    fill(&mut state.candidates.list[slot], task, points, flags, order);
    if recorded + 1 >= MAX_CANDIDATES as u32 {
        find_least(state);
    }
}

#[inline(always)]
fn fill<O: Origin>(
    entry: &mut CandidateEntry,
    of: Object<O>,
    points: i64,
    mut flags: u32,
    order: u32,
) {
    entry.points = points;
    entry.order = order;
    entry.tgid = task::tgid(of).unwrap_or_default();
    if let Some(uid) = task::uid(of) {
        entry.uid = uid;
        flags |= candidate::UID;
    }
    if let Some(adj) = task::oom_score_adj(of) {
        entry.oom_score_adj = adj;
        flags |= candidate::ADJ;
    }
    let is_refused = points == LONG_MIN;
    flags |= if task::mm(of).is_some() {
        thread(entry, of, is_refused)
    } else {
        candidate::NO_MM
            | match threads::with_memory(of) {
                Some(holder) => thread(entry, holder, is_refused),
                None => thread(entry, of, is_refused),
            }
    };
    if is_refused && entry.tgid == 1 {
        flags |= candidate::INIT;
    }
    entry.flags = flags;
}

/// Fills in the thread that stands for its process. Returns bits of [`candidate`].
#[inline(always)]
fn thread<O: Origin>(entry: &mut CandidateEntry, of: Object<O>, is_refused: bool) -> u32 {
    entry.tid = task::tid(of).unwrap_or_default();
    entry.comm = task::comm(of).unwrap_or_default();
    let known = if fill_memory(entry, of).is_some() { candidate::MM } else { 0 };
    if is_refused { known | reasons_against(of) } else { known }
}

#[inline(always)]
fn fill_memory<O: Origin>(entry: &mut CandidateEntry, of: Object<O>) -> Option<()> {
    let mm = task::mm(of)?;
    memory::counts(&mut entry.counts, mm)?;
    entry.pgtables_bytes = memory::pgtables_bytes(mm)?;
    entry.total_vm = memory::total_vm(mm)?;
    Some(())
}

/// Facts for which `oom_badness` refuses a task, as bits of [`candidate`].
#[inline(always)]
fn reasons_against<O: Origin>(of: Object<O>) -> u32 {
    let mut flags = 0;
    if task::in_vfork(of) {
        flags |= candidate::VFORK;
    }
    if task::is_victim(of) {
        flags |= candidate::VICTIM;
    }
    if task::mm(of).is_some_and(memory::oom_skip) {
        flags |= candidate::OOM_SKIP;
    }
    flags
}

/// Finds the listed candidate to replace next: the oldest one of those with the fewest points.
#[inline(always)]
fn find_least(state: &mut State) {
    let mut least_points = i64::MAX;
    let mut least_slot = 0;
    for slot in 0..MAX_CANDIDATES {
        let points = state.candidates.list[slot].points;
        if points < least_points {
            least_points = points;
            least_slot = slot as u32;
        }
    }
    state.least_points = least_points;
    state.least_slot = least_slot;
}
