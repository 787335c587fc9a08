//! A task is marked to die: `oom:mark_victim`, under the victim's `task_lock`, so its memory is
//! still whole and cannot shrink while it is read.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe, raw_tracepoint},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext},
};
use oomwhy_common::{
    event::{VictimEvent, kind, mm},
    valid,
};

use super::{context, stat};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    log::probe_log,
    maps::{MARKED, Marked, State, own_invocation},
    objects::{memory, task},
    record, threads,
};

// kernel-proto: mm/oom_kill.c void __oom_kill_process(struct task_struct *victim,
//               const char *message)
#[fentry]
fn oom_kill_task(ctx: FEntryContext) -> i32 {
    if let Some(state) = own_invocation() {
        shot::<Argument>(state, ctx.arg(0));
    }
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_task(ctx: ProbeContext) -> u32 {
    if let Some(state) = own_invocation()
        && let Some(task) = ctx.arg(0)
    {
        shot::<Untyped>(state, task);
    }
    0
}

#[inline(always)]
fn shot<O: Origin>(state: &mut State, task: *const u8) {
    state.shots += 1;
    state.marked = 0;
    stat::before_shot(state);
    // Where mark_victim passes a bare pid, what is read here goes out there.
    if kernel::victim_by_pid()
        && let Some(task) = Object::<O>::new(task)
        && let Some(known) = describe_process(&mut state.victim, task)
    {
        state.victim.header.valid = known;
        state.victim_ready = 1;
    }
    // Here and not where the choice is made: whatever is done there is walked again by the
    // verifier for each way that leads out of this.
    if state.shots == 1 {
        context::trigger(state);
    }
}

// kernel-proto (from 5.10): include/trace/events/oom.h mark_victim(struct task_struct *task,
//               uid_t uid)
#[btf_tracepoint]
fn mark_victim_task(ctx: BtfTracePointContext) -> i32 {
    probe_log!(&ctx, "mark_victim");
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<Argument>::new(ctx.arg(0))
        && let Some(known) = describe(&mut state.victim, task)
    {
        emit_victim(state, known);
    }
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_mark_victim_task(ctx: RawTracePointContext) -> i32 {
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<Untyped>::new(ctx.arg(0))
        && let Some(known) = describe(&mut state.victim, task)
    {
        emit_victim(state, known);
    }
    0
}

// kernel-proto (before 5.10): include/trace/events/oom.h mark_victim(int pid)
// It has had a task since 6.9, and since the stable releases that took this over.
#[btf_tracepoint]
fn mark_victim_pid(ctx: BtfTracePointContext) -> i32 {
    if let Some(state) = own_invocation() {
        mark_pid(state, ctx.arg::<i32>(0));
    }
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_mark_victim_pid(ctx: RawTracePointContext) -> i32 {
    if let Some(state) = own_invocation() {
        mark_pid(state, ctx.arg::<i32>(0));
    }
    0
}

#[inline(always)]
fn mark_pid(state: &mut State, tid: i32) {
    let mut known = state.victim.header.valid;
    if state.victim_ready == 0 {
        // Marked without __oom_kill_process: the trigger or the chosen one is dying anyway.
        let mut facts = state.invocation.trigger;
        known = record::trigger(&mut facts);
        if facts.tid != tid {
            facts = state.invocation.chosen;
            known = 0;
        }
        state.victim.task = facts;
        state.victim.mm = 0;
        known = if known & valid::TRIGGER == 0 { 0 } else { valid::VICTIM_TASK };
    }
    // find_lock_task_mm() may have moved on to another thread of the process.
    state.victim.task.tid = tid;
    state.victim_ready = 0;
    emit_victim(state, known);
}

#[inline(always)]
fn emit_victim(state: &mut State, known: u64) {
    state.victims += 1;
    state.marked = 1;
    if state.victim.mm != 0 {
        let task = &state.victim.task;
        mark(state.victim.mm, Marked { seq: state.seq, tgid: task.tgid, tid: task.tid, met: 0 });
    }
    let size = size_of::<VictimEvent>();
    state.victim.header = emit::header(kind::VICTIM, state.seq, emit::now(), known, size);
    emit::record(&state.victim, size, kind::VICTIM);
}

/// Notes whose memory it is, unless that was done when the signal was sent.
#[inline(always)]
fn mark(mm: u64, marked: Marked) {
    let known = MARKED.get_ptr_mut(mm).map(crate::maps::load);
    if known.is_none_or(|known| known.seq != marked.seq) {
        // Without memory for it, nobody sees this victim's memory come back.
        let _ = MARKED.insert(mm, marked, 0);
    }
}

// kernel-proto: include/trace/events/signal.h signal_generate(int sig, struct kernel_siginfo *info,
//               struct task_struct *task, int group, int result)
#[btf_tracepoint]
fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL {
        killed::<Argument>(ctx.arg(2));
    }
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_signal_generate(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL {
        killed::<Untyped>(ctx.arg(2));
    }
    0
}

const SIGKILL: i32 = 9;

#[inline(always)]
fn killed<O: Origin>(task: *const u8) {
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<O>::new(task)
    {
        if state.marked == 0 {
            let _ = condemned(state.seq, task);
        } else {
            sharer(state, task);
        }
    }
}

/// The victim, before it is marked: it may meet the signal on another CPU as soon as the caller lets
/// go of `siglock`, and is known by then.
#[inline(always)]
fn condemned<O: Origin>(seq: u64, task: Object<O>) -> Option<()> {
    let (tgid, tid) = (task::tgid(task)?, task::tid(task)?);
    mark(task::mm(task)?.address(), Marked { seq, tgid, tid, met: 0 });
    Some(())
}

/// Another process that shares the memory of the victim just marked: killed without a word in the
/// log, and without a mark. Its memory is the victim's, so it is not counted once more.
#[inline(always)]
fn sharer<O: Origin>(state: &mut State, task: Object<O>) -> Option<()> {
    record::identity(&mut state.victim.task, task)?;
    let mut known = valid::VICTIM_SHARES_MM;
    if record::circumstances(&mut state.victim.task, task).is_some() {
        known |= valid::VICTIM_TASK;
    }
    if record::home(&mut state.victim.task, task).is_some() {
        known |= valid::VICTIM_CGROUP;
    }
    if let Some(vpid) = task::vpid(task) {
        state.victim.vpid = vpid;
        known |= valid::VICTIM_VPID;
    }
    let size = size_of::<VictimEvent>();
    state.victim.header = emit::header(kind::VICTIM, state.seq, emit::now(), known, size);
    emit::record(&state.victim, size, kind::VICTIM);
    Some(())
}

/// Describes the thread that is going to be marked: the given one, or where that has exited the one
/// with the memory.
#[inline(always)]
fn describe_process<O: Origin>(victim: &mut VictimEvent, of: Object<O>) -> Option<u64> {
    if task::mm(of).is_none()
        && let Some(thread) = threads::with_memory(of)
    {
        return describe(victim, thread);
    }
    describe(victim, of)
}

/// Fills the record but for its header. Returns the validity bits.
#[inline(always)]
pub(super) fn describe<O: Origin>(victim: &mut VictimEvent, of: Object<O>) -> Option<u64> {
    record::identity(&mut victim.task, of)?;
    victim.mm = 0;
    let mut known = 0;
    if record::circumstances(&mut victim.task, of).is_some() {
        known |= valid::VICTIM_TASK;
    }
    if record::home(&mut victim.task, of).is_some() {
        known |= valid::VICTIM_CGROUP;
    }
    if let Some(vpid) = task::vpid(of) {
        victim.vpid = vpid;
        known |= valid::VICTIM_VPID;
    }
    if let Some(mm) = task::mm(of) {
        victim.mm = mm.address();
        if counters(victim, mm).is_some() {
            known |= valid::VICTIM_MM;
        }
        if batches(victim, mm).is_some() {
            known |= valid::VICTIM_PER_CPU;
        }
    }
    Some(known)
}

#[inline(always)]
fn counters<O: Origin>(victim: &mut VictimEvent, memory: Object<O>) -> Option<()> {
    for index in 0..mm::COUNT {
        victim.counts[index] = memory::count(memory, index)?;
    }
    victim.total_vm = memory::total_vm(memory)?;
    victim.pgtables_bytes = memory::pgtables_bytes(memory)?;
    Some(())
}

#[inline(always)]
fn batches<O: Origin>(victim: &mut VictimEvent, memory: Object<O>) -> Option<()> {
    for index in 0..mm::COUNT {
        victim.per_cpu[index] = memory::per_cpu(memory, index)?;
    }
    Some(())
}
