//! What becomes of a victim: the reaper looks at it, it exits, its memory comes back.
//!
//! Not under `oom_lock`, and reached by tasks that nobody wants to kill: who is no victim ends at
//! the first question.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{
        BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RawTracePointContext,
        RetProbeContext,
    },
};
use oomwhy_common::{
    event::{AfterEvent, after, kind, mm},
    valid,
};

use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{CALLS, Call, MARKED, Marked},
    objects::{memory, task},
};

// kernel-proto: include/trace/events/oom.h wake_reaper(int pid)
#[btf_tracepoint]
fn wake_reaper(ctx: BtfTracePointContext) -> i32 {
    reaper(after::REAPER_WOKEN, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_wake_reaper(ctx: RawTracePointContext) -> i32 {
    reaper(after::REAPER_WOKEN, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h start_task_reaping(int pid)
#[btf_tracepoint]
fn start_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(after::REAPING_STARTED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_start_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(after::REAPING_STARTED, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h finish_task_reaping(int pid)
#[btf_tracepoint]
fn finish_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(after::REAPING_FINISHED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_finish_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(after::REAPING_FINISHED, ctx.arg(0));
    0
}

// kernel-proto: include/trace/events/oom.h skip_task_reaping(int pid)
#[btf_tracepoint]
fn skip_task_reaping(ctx: BtfTracePointContext) -> i32 {
    reaper(after::REAPING_SKIPPED, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_skip_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(after::REAPING_SKIPPED, ctx.arg(0));
    0
}

/// The tracepoints pass the id of a thread, nothing else.
#[inline(always)]
fn reaper(what: u32, tid: i32) {
    emit::reserved(kind::AFTER, 0, |event: &mut AfterEvent| {
        event.what = what;
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
        && task::live_threads(task) == Some(0)
    {
        emit::reserved(kind::AFTER, 0, |event: &mut AfterEvent| {
            event.what = after::EXITED;
            event.tgid = task::tgid(task).unwrap_or_default();
            event.tid = task::tid(task).unwrap_or_default();
            0
        });
    }
}

// kernel-proto: mm/mmap.c void exit_mmap(struct mm_struct *mm)
#[fentry]
fn exit_mmap(ctx: FEntryContext) -> i32 {
    if let Some(memory) = Object::<Argument>::new(ctx.arg(0))
        && let Some(marked) = MARKED.get_ptr_mut(memory.address())
    {
        freeing(after::FREEING, crate::maps::load(marked), memory);
    }
    0
}

// kernel-proto: as above
#[fexit]
fn exit_mmap_ret(ctx: FExitContext) -> i32 {
    if let Some(memory) = Object::<Argument>::new(ctx.arg(0))
        && let Some(marked) = MARKED.get_ptr_mut(memory.address())
    {
        freeing(after::FREED, crate::maps::load(marked), memory);
        let _ = MARKED.remove(memory.address());
    }
    0
}

/// Key in [`CALLS`] of this task's call of `exit_mmap`: tasks are aligned, so no other call has it.
#[inline(always)]
fn call_key() -> u64 {
    kernel::current_address() | 1
}

// kernel-proto: as above
#[kprobe]
fn kprobe_exit_mmap(ctx: ProbeContext) -> u32 {
    if let Some(memory) = ctx.arg(0).and_then(Object::<Untyped>::new)
        && let Some(marked) = MARKED.get_ptr_mut(memory.address())
    {
        freeing(after::FREEING, crate::maps::load(marked), memory);
        let call = Call { object: memory.address(), gfp_mask: 0, order: 0 };
        // Without memory for it, this victim's memory is not seen to be back.
        let _ = CALLS.insert(call_key(), call, 0);
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_exit_mmap(_ctx: RetProbeContext) -> u32 {
    if let Some(call) = CALLS.get_ptr_mut(call_key()) {
        let Call { object, .. } = crate::maps::load(call);
        let _ = CALLS.remove(call_key());
        if let Some(memory) = Object::<Untyped>::new(object as *const u8)
            && let Some(marked) = MARKED.get_ptr_mut(object)
        {
            freeing(after::FREED, crate::maps::load(marked), memory);
            let _ = MARKED.remove(object);
        }
    }
    0
}

#[inline(always)]
fn freeing<O: Origin>(what: u32, marked: Marked, memory: Object<O>) {
    emit::reserved(kind::AFTER, marked.seq, |event: &mut AfterEvent| {
        event.what = what;
        event.tgid = marked.tgid;
        event.tid = marked.tid;
        event.mm = memory.address();
        if counts(event, memory).is_some() { valid::AFTER_COUNTS } else { 0 }
    });
}

#[inline(always)]
fn counts<O: Origin>(event: &mut AfterEvent, memory: Object<O>) -> Option<()> {
    for index in 0..mm::COUNT {
        event.counts[index] = memory::count(memory, index)?;
    }
    Some(())
}
