//! The end of a victim: the reaper works on it, it exits, its memory is freed.
//!
//! These hooks run without `oom_lock`. Each exit on the host reaches some of them, and nearly all
//! are exits of other processes: for those the first check ends the program. The code after that
//! check is in functions of its own. Otherwise each run of the program would save the registers
//! that only this code needs.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{
        BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RawTracePointContext,
        RetProbeContext,
    },
};
use oomwhy_common::{
    event::{VictimGoneEvent, kind, victim_gone},
    valid,
};

use super::invocation;
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{
        CALLS, CONTEXT_SHED, Call, VICTIM_MMS, VictimMm, any_victim_dying, forget_victim, load,
    },
    objects::{memory, task},
};

// kernel-proto: include/trace/events/oom.h wake_reaper(int pid)
#[btf_tracepoint]
fn wake_reaper(ctx: BtfTracePointContext) -> i32 {
    reaper(victim_gone::REAPER_WOKEN, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_wake_reaper(ctx: RawTracePointContext) -> i32 {
    reaper(victim_gone::REAPER_WOKEN, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h start_task_reaping(int pid)
#[btf_tracepoint]
fn start_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_STARTED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_start_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_STARTED, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h finish_task_reaping(int pid)
#[btf_tracepoint]
fn finish_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_FINISHED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_finish_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_FINISHED, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h skip_task_reaping(int pid)
#[btf_tracepoint]
fn skip_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_SKIPPED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_skip_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(victim_gone::REAPING_SKIPPED, ctx.arg(0));
    0
}

/// Emits a step of the reaper. The tracepoints pass nothing but the id of a thread.
#[inline(always)]
fn reaper(step: u32, tid: i32) {
    emit::reserved(kind::VICTIM_GONE, 0, |event: &mut VictimGoneEvent| {
        event.step = step;
        event.tid = tid;
        0
    });
}

// kernel-proto (before 6.18): include/trace/events/sched.h sched_process_exit(
//               struct task_struct *p)
// kernel-proto (from 6.18): include/trace/events/sched.h sched_process_exit(
//               struct task_struct *p, bool group_dead)
#[btf_tracepoint]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    exited::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_sched_process_exit(ctx: RawTracePointContext) -> i32 {
    exited::<Untyped>(ctx.arg(0));
    0
}

#[inline(always)]
fn exited<O: Origin>(task: *const u8) {
    if let Some(task) = Object::<O>::new(task)
        && task::is_victim(task)
    {
        victim_exited(task);
    }
}

/// Emits the exit of the process, if all its threads are gone.
#[inline(never)]
fn victim_exited<O: Origin>(task: Object<O>) {
    if task::live_threads(task) != Some(0) {
        return;
    }
    let _ = invocation::settle();
    emit::reserved(kind::VICTIM_GONE, 0, |event: &mut VictimGoneEvent| {
        event.step = victim_gone::EXITED;
        event.tgid = task::tgid(task).unwrap_or_default();
        event.tid = task::tid(task).unwrap_or_default();
        0
    });
}

// kernel-proto: mm/mmap.c void exit_mmap(struct mm_struct *mm)
#[fentry]
fn exit_mmap(ctx: FEntryContext) -> i32 {
    if any_victim_dying()
        && let Some(memory) = Object::<Argument>::new(ctx.arg(0))
    {
        freeing(memory);
    }
    0
}

// kernel-proto: as above
#[fexit]
fn exit_mmap_ret(ctx: FExitContext) -> i32 {
    if any_victim_dying()
        && let Some(memory) = Object::<Argument>::new(ctx.arg(0))
    {
        freed(memory);
    }
    0
}

/// Key in [`CALLS`] of this task's call of `exit_mmap`. Tasks are aligned, so no call of another
/// function has an odd key.
#[inline(always)]
fn call_key() -> u64 {
    kernel::current_address() | 1
}

// kernel-proto: as above
#[kprobe]
fn kprobe_exit_mmap(ctx: ProbeContext) -> u32 {
    if any_victim_dying()
        && let Some(memory) = ctx.arg(0).and_then(Object::<Untyped>::new)
        && freeing(memory)
    {
        let call = Call { object: memory.address() };
        // If no memory is left for the insert, this victim's memory is not seen to be freed.
        let _ = CALLS.insert(call_key(), call, 0);
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_exit_mmap(_ctx: RetProbeContext) -> u32 {
    if any_victim_dying()
        && let Some(call) = CALLS.get_ptr_mut(call_key())
    {
        let Call { object } = load(call);
        let _ = CALLS.remove(call_key());
        if let Some(memory) = Object::<Untyped>::new(object as *const u8) {
            freed(memory);
        }
    }
    0
}

/// `exit_mmap` begins. False if the memory is not a victim's.
#[inline(never)]
fn freeing<O: Origin>(memory: Object<O>) -> bool {
    exit_mmap_step(victim_gone::FREEING, memory).is_some()
}

/// `exit_mmap` returns: the memory is free.
#[inline(never)]
fn freed<O: Origin>(memory: Object<O>) {
    if let Some(VictimMm { seq, oom_memcg_id, .. }) = exit_mmap_step(victim_gone::FREED, memory) {
        invocation::end_wait_for_victim(seq, oom_memcg_id);
        forget_victim(memory.address());
    }
}

/// Emits a step of `exit_mmap`. `None` if the memory is not a victim's.
#[inline(always)]
fn exit_mmap_step<O: Origin>(step: u32, memory: Object<O>) -> Option<VictimMm> {
    let victim = load(VICTIM_MMS.get_ptr_mut(memory.address())?);
    let VictimMm { seq, tgid, tid, sigkill_delivered, .. } = victim;
    let shed = if sigkill_delivered & CONTEXT_SHED == 0 { 0 } else { valid::shed::CONTEXT };
    let _ = invocation::settle();
    emit::reserved(kind::VICTIM_GONE, seq, |event: &mut VictimGoneEvent| {
        event.step = step;
        event.tgid = tgid;
        event.tid = tid;
        event.mm = memory.address();
        let counts = memory::counts(&mut event.counts, memory);
        shed | counts.map_or(0, |()| valid::victim_gone::COUNTS)
    });
    Some(victim)
}
